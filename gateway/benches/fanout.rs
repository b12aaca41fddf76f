//! What a delivery costs: one room, a thousand listeners, one lane, against a bare loop that
//! writes the same bytes to as many sockets in the same run.
//!
//! `cargo bench -p rookery-gateway --bench fanout`
//!
//! The clients are a process of their own, so that their CPU is not counted. Hub CPU is that of
//! the lane's thread, from the kernel's account of it; process CPU adds the inbox, the links and
//! the script that publishes.
#![expect(clippy::print_stdout, reason = "a bench reports on stdout")]

mod scripted;

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    time::{Duration, Instant},
};

use scripted::clients::{Clients, run_as_client};

const LISTENERS: usize = 1_000;
/// A short chat line.
const TEXT: &str = "the quick brown fox jumps over the lazy dog";
/// Events of one batch of the link when flat out, and frames of one write of the bare loop.
const BURST: u64 = 16;
/// Bursts of a flat-out round.
const BURSTS: u64 = 300;
/// How long a paced round takes.
const PACED: Duration = Duration::from_secs(5);

/// As the server does.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() {
    // `cargo test --benches` runs this too; measuring an unoptimised build says nothing.
    if run_as_client() || !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let frame_bytes = hub();
    bare(frame_bytes);
}

/// Measures the gateway and returns the bytes of one frame.
fn hub() -> u64 {
    let runtime = scripted::runtime();
    let scripted = runtime.block_on(scripted::start(1));
    let clients = Clients::start(scripted.addr(), LISTENERS);
    runtime.block_on(scripted.wait_for_listeners("room", LISTENERS));
    let lanes = scripted.lanes("room");
    let mut offset = 0;
    let mut publish = |count: u64| {
        let events = (offset + 1..=offset + count)
            .map(|offset| scripted::event("room", offset, lanes, TEXT))
            .collect();
        offset += count;
        runtime.block_on(scripted.publish(events));
    };
    // The first event also tells how large a frame is.
    let before = clients.settled();
    publish(1);
    let frame_bytes = (clients.settled() - before) / LISTENERS as u64;
    println!("hub, {LISTENERS} listeners, frames of {frame_bytes} bytes");
    let measure = |name: &str, count: u64, publish: &mut dyn FnMut(u64)| {
        let (hub, process, since) = (hub_cpu(), process_cpu(), Instant::now());
        let expected = clients.received() + count * frame_bytes * LISTENERS as u64;
        publish(expected);
        let took = since.elapsed();
        let deliveries = (count * LISTENERS as u64) as f64;
        println!(
            "  {name:>9}  {:>9.0} deliveries/s  hub {:.3} µs  process {:.3} µs a delivery",
            deliveries / took.as_secs_f64(),
            (hub_cpu() - hub).as_secs_f64() * 1e6 / deliveries,
            (process_cpu() - process).as_secs_f64() * 1e6 / deliveries,
        );
    };
    for per_second in [50, 200] {
        let count = per_second * PACED.as_secs();
        let mut paced = |expected| {
            let start = Instant::now();
            for n in 0..count {
                sleep_until(start + Duration::from_secs(1) * n as u32 / per_second as u32);
                publish(1);
            }
            clients.wait_for(expected);
        };
        measure(&format!("{per_second}/s"), count, &mut paced);
    }
    let mut flat_out = |expected: u64| {
        let burst_bytes = BURST * frame_bytes * LISTENERS as u64;
        for n in (0..BURSTS).rev() {
            publish(BURST);
            clients.wait_for(expected - n * burst_bytes);
        }
    };
    measure("flat out", BURST * BURSTS, &mut flat_out);
    drop(clients);
    runtime.shutdown_background();
    frame_bytes
}

/// The same bytes, written by a loop to as many sockets.
fn bare(frame_bytes: u64) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = listener.local_addr().expect("is bound");
    let clients = Clients::start(addr, LISTENERS);
    let mut sockets = Vec::with_capacity(LISTENERS);
    for _ in 0..LISTENERS {
        let (mut socket, _) = listener.accept().expect("a client comes");
        // What the client sends to a gateway is of no interest here.
        let _ = socket.read(&mut [0; 1024]).expect("a request");
        socket.set_nodelay(true).expect("is a TCP socket");
        socket.set_nonblocking(true).expect("is a socket");
        sockets.push(socket);
    }
    println!("bare write loop, same bytes");
    let measure = |name: &str, frames: u64, writes: u64, pace: Option<u32>| {
        let bytes = vec![0x81; usize::try_from(frames * frame_bytes).expect("is small")];
        let (cpu, start) = (thread_cpu(), Instant::now());
        let round_bytes = bytes.len() as u64 * LISTENERS as u64;
        let mut expected = clients.received();
        let mut waiting = Duration::ZERO;
        for n in 0..writes {
            if let Some(per_second) = pace {
                sleep_until(start + Duration::from_secs(1) * n as u32 / per_second);
            }
            for socket in &mut sockets.iter() {
                let written = (&mut &*socket).write(&bytes).expect("there is room");
                assert_eq!(written, bytes.len(), "there is room for all");
            }
            expected += round_bytes;
            if pace.is_none() {
                let cpu = thread_cpu();
                clients.wait_for(expected);
                waiting += thread_cpu() - cpu;
            }
        }
        let took = start.elapsed();
        let cpu = thread_cpu() - cpu - waiting;
        clients.wait_for(expected);
        let deliveries = (frames * writes * LISTENERS as u64) as f64;
        println!(
            "  {name:>9}  {:>9.0} deliveries/s  {:.3} µs a delivery",
            deliveries / took.as_secs_f64(),
            cpu.as_secs_f64() * 1e6 / deliveries,
        );
    };
    for per_second in [50, 200] {
        let writes = u64::from(per_second) * PACED.as_secs();
        measure(&format!("{per_second}/s"), 1, writes, Some(per_second));
    }
    measure("flat out", BURST, BURSTS, None);
}

fn sleep_until(at: Instant) {
    std::thread::sleep(at.saturating_duration_since(Instant::now()));
}

// ---- CPU ---------------------------------------------------------------------------------------

fn run_time(path: &str) -> Duration {
    let text = fs::read_to_string(path).unwrap_or_default();
    let ns = text.split(' ').next().and_then(|ns| ns.parse().ok());
    Duration::from_nanos(ns.unwrap_or(0))
}

fn thread_cpu() -> Duration {
    run_time("/proc/thread-self/schedstat")
}

/// Of all threads that are called `hub-…`, or of all.
fn cpu_of(prefix: &str) -> Duration {
    let tasks = fs::read_dir("/proc/self/task").expect("is Linux");
    let paths = tasks.map(|task| task.expect("is readable").path());
    let ours = paths.filter(|path| {
        fs::read_to_string(path.join("comm")).is_ok_and(|name| name.starts_with(prefix))
    });
    ours.map(|path| run_time(path.join("schedstat").to_str().expect("is ASCII")))
        .sum()
}

fn hub_cpu() -> Duration {
    cpu_of("hub-")
}

fn process_cpu() -> Duration {
    cpu_of("")
}
