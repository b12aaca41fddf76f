//! The parts of several light processes, added up: a stage as one.

use std::collections::VecDeque;

use crate::{
    light::orders::{StagePart, TickPart},
    outcome::{Counts, Latencies, Tick},
};

/// A stage while its parts come in.
#[derive(Debug)]
pub(super) struct Merging {
    parts: Vec<Part>,
    measuring: usize,
    took_ms: u64,
    counts: Counts,
    latency: Latencies,
    ticks: Vec<Tick>,
}

#[derive(Debug, Default)]
struct Part {
    /// Ticks that wait for the other parts' of the same second.
    waiting: VecDeque<TickPart>,
    /// Connections when it was last heard.
    connections: u64,
    done: bool,
}

/// A stage's parts together.
#[derive(Debug)]
pub(super) struct Merged {
    pub(super) took_ms: u64,
    pub(super) counts: Counts,
    pub(super) latency: Latencies,
    pub(super) ticks: Vec<Tick>,
}

impl Merging {
    pub(super) fn new(parts: usize) -> Self {
        Self {
            parts: std::iter::repeat_with(Part::default).take(parts).collect(),
            measuring: 0,
            took_ms: 0,
            counts: Counts::default(),
            latency: Latencies::default(),
            ticks: Vec::new(),
        }
    }

    /// A part's warm-up is over; true when it was the last one's.
    pub(super) fn measures(&mut self) -> bool {
        self.measuring += 1;
        self.measuring == self.parts.len()
    }

    /// A part's second; the whole second when all parts have told theirs.
    pub(super) fn tick(&mut self, part: usize, tick: TickPart, at_ms: u64) -> Option<Tick> {
        self.parts[part].waiting.push_back(tick);
        self.whole_tick(at_ms)
    }

    /// A part is over; true when it was the last one.
    pub(super) fn stage(&mut self, part: usize, stage: &StagePart) -> bool {
        self.parts[part].done = true;
        self.took_ms = self.took_ms.max(stage.took_ms);
        self.counts += stage.counts;
        self.latency.merge(&stage.latency);
        self.parts.iter().all(|part| part.done)
    }

    fn whole_tick(&mut self, at_ms: u64) -> Option<Tick> {
        // A part that is over has no more seconds; its connections are still there.
        let complete = |part: &Part| part.done || !part.waiting.is_empty();
        if !self.parts.iter().all(complete) {
            return None;
        }
        let mut counts = Counts::default();
        let mut latency = Latencies::default();
        let mut any = false;
        for part in &mut self.parts {
            if let Some(tick) = part.waiting.pop_front() {
                any = true;
                counts += tick.counts;
                latency.merge(&tick.latency);
                part.connections = tick.connections;
            }
        }
        let tick = any.then(|| Tick {
            at_ms,
            connections: self.parts.iter().map(|part| part.connections).sum(),
            due: counts.due,
            acked: counts.acked,
            delivered: counts.delivered,
            ack_p50_us: latency.ack.percentile(50.0),
            ack_p99_us: latency.ack.percentile(99.0),
            delivery_p50_us: latency.delivery.percentile(50.0),
            delivery_p99_us: latency.delivery.percentile(99.0),
        });
        self.ticks.extend(tick);
        tick
    }

    /// The stage, when all parts are over.
    pub(super) fn finish(mut self, at_ms: u64) -> Merged {
        while self.whole_tick(at_ms).is_some() {}
        Merged {
            took_ms: self.took_ms,
            counts: self.counts,
            latency: self.latency,
            ticks: self.ticks,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tick(acked: u64, connections: u64, ack_us: u64) -> TickPart {
        let mut tick = TickPart {
            connections,
            ..TickPart::default()
        };
        tick.counts.acked = acked;
        tick.latency.ack.record(ack_us);
        tick
    }

    fn stage(acked: u64, took_ms: u64) -> StagePart {
        let mut stage = StagePart {
            took_ms,
            ..StagePart::default()
        };
        stage.counts.acked = acked;
        stage.latency.ack.record(acked);
        stage
    }

    #[test]
    fn parts_that_come_at_different_times_are_added_by_second() {
        let mut merging = Merging::new(2);
        assert!(!merging.measures());
        assert!(merging.measures());
        assert_eq!(merging.tick(0, tick(1, 10, 5), 1_000), None);
        assert_eq!(merging.tick(0, tick(2, 11, 5), 2_000), None);
        let first = merging.tick(1, tick(100, 20, 90), 2_010).unwrap();
        assert_eq!((first.acked, first.connections), (101, 30));
        assert_eq!((first.ack_p50_us, first.ack_p99_us), (5, 90));
        assert!(!merging.stage(1, &stage(100, 1_400)));
        assert!(merging.stage(0, &stage(3, 2_000)));
        let merged = merging.finish(2_020);
        // The second one's second is short of the part that was over by then.
        let seconds: Vec<(u64, u64)> = merged
            .ticks
            .iter()
            .map(|tick| (tick.acked, tick.connections))
            .collect();
        assert_eq!(seconds, [(101, 30), (2, 31)]);
        assert_eq!((merged.took_ms, merged.counts.acked), (2_000, 103));
        assert_eq!(merged.latency.ack.count(), 2);
    }
}
