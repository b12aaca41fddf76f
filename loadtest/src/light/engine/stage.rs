//! A stage: its warm-up, its measured time, and the answers that come after it.

use super::{Engine, Report, connect::Ending};
use crate::{
    light::{
        clock::us,
        connection::{Phase, SeatState},
        orders::StagePart,
        schedule::{Activity, Schedule},
    },
    limits::{LIGHT_DRAIN_DEADLINE, LIGHT_LOOK_INTERVAL, LIGHT_QUIET},
};

/// Microseconds of a second.
const SECOND_US: u64 = 1_000_000;

/// The stage under way.
#[derive(Debug)]
pub(super) struct Running {
    stage: usize,
    schedule: Schedule,
    /// Sends each active connection has under way, where they go by answers and not by a rate.
    pub(super) in_flight: u32,
    pub(super) progress: Progress,
    cut: f64,
    measure_us: u64,
    end_us: u64,
    tick_us: u64,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Warming,
    Measuring,
    /// Nothing is sent any more; what was sent is answered and delivered.
    Draining {
        deadline_us: u64,
        look_us: u64,
    },
}

impl Engine {
    pub(super) fn begin_stage(&mut self, index: usize, now_us: u64) {
        let Some(stage) = self.scenario.stages.get(index) else {
            self.fail(format!("the scenario has no stage {index}"));
            return;
        };
        let people = &self.scenario.people;
        let active = people.active.unwrap_or(people.connections);
        // Who has no active connection has no share.
        let parts = self.parts.min(active);
        let schedule = if self.active > 0 {
            Schedule::new(&stage.rates, self.part, parts, now_us)
        } else {
            Schedule::default()
        };
        let measure_us = now_us + u64::from(stage.warm_up_seconds) * SECOND_US;
        let mut running = Running {
            stage: index,
            schedule,
            in_flight: stage.sends_in_flight.unwrap_or(0),
            progress: Progress::Warming,
            cut: stage.cut,
            measure_us,
            end_us: measure_us + u64::from(stage.seconds) * SECOND_US,
            tick_us: measure_us + SECOND_US,
        };
        if measure_us == now_us {
            self.measure(&mut running, now_us);
        }
        self.running = Some(running);
        for index in 0..self.active {
            self.send_in_flight(index, now_us);
            self.flush(index, now_us);
        }
    }

    pub(super) fn stage_wakes_us(&self) -> Option<u64> {
        let running = self.running.as_ref()?;
        let next = match running.progress {
            Progress::Warming => running.measure_us,
            Progress::Measuring => running.tick_us.min(running.end_us),
            Progress::Draining { look_us, .. } => return Some(look_us),
        };
        // With nobody there, whoever comes back wakes the poll.
        let due = running.schedule.next_us().filter(|_| self.whole_active > 0);
        Some(due.map_or(next, |due_us| due_us.min(next)))
    }

    pub(super) fn run_stage(&mut self, now_us: u64) {
        let Some(mut running) = self.running.take() else {
            return;
        };
        if running.progress == Progress::Warming && now_us >= running.measure_us {
            self.measure(&mut running, now_us);
        }
        if !running.progress.draining() {
            self.do_what_is_due(&mut running, now_us);
        }
        if running.progress == Progress::Measuring {
            self.measured(&mut running, now_us);
        }
        let over = match &mut running.progress {
            Progress::Draining {
                deadline_us,
                look_us,
            } if now_us >= *look_us => {
                *look_us = now_us + us(LIGHT_LOOK_INTERVAL);
                now_us >= *deadline_us || self.drained(now_us)
            }
            _ => false,
        };
        if over {
            self.end_stage(&running);
        } else {
            self.running = Some(running);
        }
    }

    fn measure(&mut self, running: &mut Running, now_us: u64) {
        running.progress = Progress::Measuring;
        running.end_us += now_us - running.measure_us;
        running.measure_us = now_us;
        running.tick_us = now_us + SECOND_US;
        // What was sent in this very moment was sent before.
        self.tally.measure(now_us.max(self.last_due_us + 1));
        self.reports.push(Report::Measuring(running.stage));
        if running.cut > 0.0 {
            for index in 0..self.connections.len() {
                let there = self.connections[index].phase != Phase::Away;
                if there && self.random.f64() < running.cut {
                    self.ended(index, Ending::Cut, now_us);
                }
            }
        }
    }

    fn do_what_is_due(&mut self, running: &mut Running, now_us: u64) {
        while self.whole_active > 0 {
            let Some((activity, due_us)) = running.schedule.take(now_us, running.end_us) else {
                break;
            };
            self.act(activity, due_us, now_us);
        }
    }

    /// A second, or all of it, is over.
    fn measured(&mut self, running: &mut Running, now_us: u64) {
        if now_us >= running.tick_us && running.tick_us <= running.end_us {
            // Whole seconds of the stage, so that its last one is said; a process that fell behind
            // by several says one tick for them.
            let seconds = (now_us - running.measure_us) / SECOND_US;
            running.tick_us = running.measure_us + (seconds + 1) * SECOND_US;
            let tick = self.tally.take_tick(self.whole as u64);
            self.reports.push(Report::Tick(tick));
        }
        let all_whole = running.cut > 0.0 && self.cut_open == 0;
        if now_us < running.end_us && !all_whole {
            return;
        }
        running.end_us = running.end_us.min(now_us);
        // What nobody was there for was due all the same.
        while let Some((activity, due_us)) = running.schedule.take(now_us, running.end_us) {
            if activity == Activity::Send {
                self.tally.due(due_us);
                self.tally.counts.failed += 1;
            }
        }
        running.progress = Progress::Draining {
            deadline_us: now_us + us(LIGHT_DRAIN_DEADLINE),
            look_us: now_us,
        };
    }

    /// Whether nothing is under way that this process knows of. Where events have no offsets,
    /// nobody knows what is: then it is when none came for a while.
    fn drained(&self, now_us: u64) -> bool {
        let answered = |connection: &super::Connection| connection.unanswered == 0;
        let quiet = now_us >= self.unnumbered_us + us(LIGHT_QUIET);
        quiet && self.connections.iter().all(answered) && self.all_have_seen()
    }

    /// Whether each listener has what any of its room has.
    pub(super) fn all_have_seen(&self) -> bool {
        self.seats.iter().all(|seat| {
            seat.last >= self.rooms[seat.room as usize].seen && seat.state == SeatState::Joined
        })
    }

    fn end_stage(&mut self, running: &Running) {
        self.unheard.clear();
        for connection in &mut self.connections {
            let unanswered = std::mem::take(&mut connection.unanswered);
            self.tally.counts.failed += u64::from(unanswered);
        }
        let (counts, latency) = self.tally.take_stage();
        self.reports.push(Report::Stage(StagePart {
            stage: running.stage,
            took_ms: (running.end_us - running.measure_us) / 1_000,
            counts,
            latency,
        }));
    }
}
