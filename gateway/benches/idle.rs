//! What an idle connection costs: resident memory of the gateway's process at ten thousand
//! connections that are authenticated, welcomed and joined to a room.
//!
//! `cargo bench -p rookery-gateway --bench idle`
#![expect(clippy::print_stdout, reason = "a bench reports on stdout")]

mod scripted;

use std::fs;

use scripted::clients::{Clients, run_as_client};

/// Half of the files a process commonly may open.
const CONNECTIONS: usize = 10_000;
/// Connections before the count starts, so that what a process needs once is not counted.
const WARM_UP: usize = 500;

/// As the server does.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() {
    // `cargo test --benches` runs this too; measuring an unoptimised build says nothing.
    if run_as_client() || !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let runtime = scripted::runtime();
    let scripted = runtime.block_on(scripted::start(2));
    let warm_up = Clients::start(scripted.addr(), WARM_UP);
    runtime.block_on(scripted.wait_for_listeners("room", WARM_UP));
    warm_up.settled();
    let before = resident_bytes();
    let clients = Clients::start(scripted.addr(), CONNECTIONS);
    runtime.block_on(scripted.wait_for_listeners("room", WARM_UP + CONNECTIONS));
    let joined = clients.settled();
    let after = resident_bytes();
    println!("{CONNECTIONS} idle connections, authenticated and joined");
    println!(
        "  {} bytes a connection",
        (after - before) / CONNECTIONS as u64
    );
    // They are all really there: an event reaches each of them.
    let event = scripted::event("room", 1, scripted.lanes("room"), "hello");
    runtime.block_on(scripted.publish(vec![event]));
    clients.wait_for(joined + CONNECTIONS as u64);
    let event_bytes = clients.settled() - joined;
    assert_eq!(event_bytes % CONNECTIONS as u64, 0, "everyone got the same");
    assert!(event_bytes > 0, "everyone got the event");
    println!(
        "  {} bytes a connection after an event to all",
        (resident_bytes() - before) / CONNECTIONS as u64
    );
}

fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("is Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kib.and_then(|kib| kib.parse::<u64>().ok())
        .expect("is a number")
        * 1024
}
