//! An engine in a thread of its own, for tests.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    sync::mpsc::{self, UnboundedReceiver},
    time::timeout,
};

use super::{
    Engine, Orders,
    orders::{Order, Report, StagePart, Task, Wire},
};
use crate::{outcome::Counts, scenario::Scenario};

pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Ends with its value.
pub(crate) struct Light {
    pub(crate) orders: Orders,
    reports: UnboundedReceiver<Report>,
}

/// One process with the scenario `mixed`, changed.
pub(crate) fn task(server: SocketAddr, changes: &[&str]) -> Task {
    let changes: Vec<String> = changes.iter().map(|&change| change.to_owned()).collect();
    Task {
        scenario: Scenario::load("mixed", &changes).unwrap(),
        wire: Wire::Rookery,
        gateways: vec![server],
        part: 0,
        parts: 1,
        prefix: "t".to_owned(),
    }
}

impl Light {
    pub(crate) fn start(task: &Task) -> Self {
        let (engine, orders) = Engine::new(task).unwrap();
        let (say, reports) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            engine.run(|report| {
                let _ = say.send(report);
            })
        });
        Self { orders, reports }
    }

    /// Its rooms are there, unless it is not the first process, and its connections joined.
    pub(crate) async fn joined(task: &Task) -> Self {
        let mut light = Self::start(task);
        if task.part == 0 {
            light.orders.give(Order::Open).unwrap();
            light
                .until(|report| matches!(report, Report::Opened).then_some(()))
                .await;
        }
        light.orders.give(Order::Connect).unwrap();
        light
            .until(|report| matches!(report, Report::Joined).then_some(()))
            .await;
        light
    }

    /// Waits for what is wanted.
    pub(crate) async fn until<T>(&mut self, mut wanted: impl FnMut(Report) -> Option<T>) -> T {
        loop {
            let report = timeout(DEADLINE, self.reports.recv()).await;
            let report = report.expect("no report in time").expect("it ended");
            if let Report::Failed(why) = &report {
                panic!("failed: {why}");
            }
            if let Some(found) = wanted(report) {
                return found;
            }
        }
    }

    /// Waits until it cannot go on: why.
    pub(crate) async fn fails(&mut self) -> String {
        loop {
            let report = timeout(DEADLINE, self.reports.recv()).await;
            if let Report::Failed(why) = report.expect("no report in time").expect("it ended") {
                return why;
            }
        }
    }

    /// How far it said it was, until what is wanted.
    pub(crate) async fn counts_until(&mut self, wanted: fn(&Report) -> bool) -> Vec<u64> {
        let mut counts = Vec::new();
        self.until(|report| {
            if let Report::Progress(count) = report {
                counts.push(count);
            }
            wanted(&report).then_some(())
        })
        .await;
        counts
    }

    /// Begins the first stage and waits for its warm-up.
    pub(crate) async fn measuring(&mut self) {
        self.orders.give(Order::Stage(0)).unwrap();
        self.until(|report| matches!(report, Report::Measuring(0)).then_some(()))
            .await;
    }

    /// What the stage says, and what settling finds.
    pub(crate) async fn settled(&mut self) -> (StagePart, Counts) {
        let part = self
            .until(|report| match report {
                Report::Stage(part) => Some(part),
                _ => None,
            })
            .await;
        self.orders.give(Order::Settle).unwrap();
        let counts = self
            .until(|report| match report {
                Report::Settled(counts) => Some(counts),
                _ => None,
            })
            .await;
        (part, counts)
    }
}
