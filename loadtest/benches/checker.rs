//! What the checker costs an operation, and in memory, as histories grow.
//!
//! `cargo bench -p rookery-loadtest --bench checker [-- OPERATIONS…]`
//!
//! Each size is first made without being judged; that time and memory is not the checker's. Time is
//! the processor's, so that a busy machine changes it little.

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]
#![expect(clippy::cast_precision_loss, reason = "for people to read")]

use std::{process, time::Duration};

use rookery_loadtest::{
    bench::MadeHistory,
    checker,
    server::{cpu_time, peak_memory_bytes},
};

const SIZES: [u64; 2] = [100_000, 1_000_000];
/// Few, so that rooms grow with the history and what is not linear in a room shows.
const ROOMS: u32 = 16;

fn main() {
    let named: Vec<u64> = std::env::args()
        .filter_map(|arg| arg.parse().ok())
        .collect();
    let sizes = if named.is_empty() {
        SIZES.to_vec()
    } else {
        named
    };
    println!(
        "operations    records  made in  judged in  ns/operation  to the first  memory: made  judged"
    );
    let mut first = None;
    for operations in sizes {
        let made = MadeHistory {
            seed: 1,
            rooms: ROOMS,
            operations,
        };
        let began = used();
        let mut records = 0u64;
        // As often as the checker reads it.
        for _ in 0..2 {
            made.tell(&mut |_| records += 1);
        }
        let making = used() - began;
        let memory = peak_mib();
        let began = used();
        let report = checker::check_each(|judge| made.tell(judge));
        let judging = (used() - began).saturating_sub(making);
        assert!(report.is_sound(), "{report}");
        let each = judging.as_nanos() as f64 / operations as f64;
        let ratio = each / *first.get_or_insert(each);
        println!(
            "{operations:>10} {:>10} {:>6.1} s {:>8.1} s {each:>13.0} {ratio:>13.2} {memory:>9} MiB {:>3} MiB",
            records / 2,
            making.as_secs_f64(),
            judging.as_secs_f64(),
            peak_mib()
        );
    }
}

/// Processor time of this process so far.
fn used() -> Duration {
    cpu_time(process::id()).unwrap_or_default()
}

/// The most memory this process ever had.
fn peak_mib() -> u64 {
    peak_memory_bytes(process::id()).unwrap_or_default() >> 20
}
