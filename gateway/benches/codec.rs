//! What decoding costs: nanoseconds a frame, and gigabytes a second of unmasking.
//!
//! `cargo bench -p rookery-gateway --bench codec`
#![expect(clippy::print_stdout, reason = "a bench reports on stdout")]

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use rookery_gateway::ws::{Decoder, Input, mask};

/// Long enough for the clock, short enough to be run on each change.
const ROUND: Duration = Duration::from_millis(200);
/// The best of so many: what disturbs a round only makes it slower.
const ROUNDS: usize = 5;
/// As much as a connection's reader takes at once.
const READ_BYTES: usize = 64 * 1024;

fn main() {
    // `cargo test --benches` runs this too; measuring an unoptimised build says nothing.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    println!("unmasking, GB/s");
    for len in [16, 64, 256, 1024, 16 * 1024, 64 * 1024] {
        let mut bytes = vec![0x55; len];
        let ns = best_ns(|| {
            mask::unmask(black_box(&mut bytes), black_box([1, 2, 3, 4]));
        });
        println!("  {len:>6} bytes  {:>7.2}", len as f64 / ns);
    }
    println!("decoding whole frames from reads of 64 KiB, ns a frame (copying the read left out)");
    for len in [0, 32, 125, 126, 512, 4096] {
        let (frames, per_read) = read_of(0x81, len);
        report(len, decode_ns(&frames, READ_BYTES) / per_read as f64);
    }
    println!("decoding frames cut into reads of 1000 bytes, ns a frame");
    for len in [32, 125, 512, 4096] {
        let (frames, per_read) = read_of(0x81, len);
        report(len, decode_ns(&frames, 1000) / per_read as f64);
    }
}

fn report(len: usize, ns: f64) {
    println!("  {len:>6} bytes  {ns:>7.1}  {:>6.2} GB/s", len as f64 / ns);
}

/// As many frames as fit one read, and their number.
fn read_of(first: u8, len: usize) -> (Vec<u8>, usize) {
    let mut frame = vec![first];
    if len < 126 {
        frame.push(0x80 | len as u8);
    } else {
        frame.push(0x80 | 126);
        frame.extend((len as u16).to_be_bytes());
    }
    let key = [0x11, 0x22, 0x33, 0x44];
    frame.extend(key);
    frame.extend((0..len).map(|at| b'x' ^ key[at % 4]));
    let count = READ_BYTES / frame.len();
    (frame.repeat(count), count)
}

/// Nanoseconds to decode all of `frames`, read by read.
fn decode_ns(frames: &[u8], read_bytes: usize) -> f64 {
    let mut buffer = frames.to_vec();
    let mut decoder = Decoder::new(1024 * 1024);
    let decode = best_ns(|| {
        buffer.copy_from_slice(frames);
        for read in buffer.chunks_mut(read_bytes) {
            let mut input = Input::new(read);
            while let Some(message) = decoder.next(&mut input).expect("frames are good") {
                black_box(message);
            }
        }
    });
    let mut buffer = frames.to_vec();
    let copy = best_ns(|| black_box(&mut buffer).copy_from_slice(black_box(frames)));
    decode - copy
}

/// Nanoseconds of one call, in the best round.
fn best_ns(mut call: impl FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        let mut calls = 0_u32;
        while begin.elapsed() < ROUND {
            for _ in 0..64 {
                call();
            }
            calls += 64;
        }
        best = best.min(begin.elapsed().as_nanos() as f64 / f64::from(calls));
    }
    best
}
