//! Lightweight transactions: Paxos in its three phases.

use std::sync::Arc;

use rookery_cluster::task::{TaskKind, spawn};
use tokio::time::{Duration, Instant, sleep, timeout};

use super::{NoQuorum, QUORUM, Quorum};
use crate::{
    replica::{Ballot, Cell, Proposed, Value},
    world::Process,
};

/// A transaction on a cell that nobody contends for.
const CHEAP_TRANSACTION: Duration = Duration::from_millis(3);
/// How long a lightweight transaction is tried.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(3);

/// What became of a lightweight transaction.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fate {
    Applied,
    Refused,
    Unknown(NoQuorum),
}

impl Quorum {
    /// Changes a cell if `decide` says to what. With `learned` it returns only when a quorum has
    /// learned of it.
    pub(crate) async fn transact(
        self: &Arc<Self>,
        from: &Process,
        cell: Cell,
        learned: bool,
        decide: impl Fn(Option<Value>) -> Option<Value> + Send,
    ) -> Fate {
        if self.is_cheap(cell) {
            // Simulated time: what three phases on a quiet day take.
            sleep(CHEAP_TRANSACTION).await;
            let cheap = &mut self.state().cheap;
            let Some(value) = decide(cheap.get(&cell).copied()) else {
                return Fate::Refused;
            };
            cheap.insert(cell, value);
            return Fate::Applied;
        }
        let until = Instant::now() + TRANSACTION_TIMEOUT;
        let origin = self.world.number();
        let mut proposed = false;
        let (ballot, value) = loop {
            let (ballot, current) = match self.prepared(from, cell, until).await {
                Ok(prepared) => prepared,
                Err(error) => return Fate::Unknown(error),
            };
            if current.is_some_and(|(_, by)| by == origin) {
                // Another has finished it for us.
                return Fate::Applied;
            }
            let Some(value) = decide(current.map(|(value, _)| value)) else {
                return if proposed {
                    Fate::Unknown(NoQuorum(0))
                } else {
                    Fate::Refused
                };
            };
            let value = (value, origin);
            match self.accepted(from, cell, ballot, value).await {
                Ok(true) => break (ballot, value),
                // Another was ahead, and may finish what some replica accepted, and another replace
                // that: what Cassandra calls a write of unknown outcome.
                Ok(false) => proposed = true,
                Err(error) => return Fate::Unknown(error),
            }
        };
        if learned {
            return match self.commit(from, cell, ballot, value).await {
                Ok(()) => Fate::Applied,
                Err(error) => Fate::Unknown(error),
            };
        }
        let later = Duration::from_millis(self.state().dice.u64(0..3_000));
        let quorum = Arc::clone(self);
        let learn = async move {
            sleep(later).await;
            for replica in &mut quorum.state().replicas {
                replica.commit(cell, ballot, value);
            }
            quorum.let_next_go(cell);
        };
        spawn(TaskKind::Passing, "learned later", learn);
        Fate::Applied
    }

    /// A serial read: settles what earlier transactions did.
    pub(crate) async fn read_serially(
        self: &Arc<Self>,
        from: &Process,
        cell: Cell,
    ) -> Result<Option<Value>, NoQuorum> {
        if self.is_cheap(cell) {
            return Ok(self.state().cheap.get(&cell).copied());
        }
        let until = Instant::now() + TRANSACTION_TIMEOUT;
        let (_, value) = self.prepared(from, cell, until).await?;
        Ok(value.map(|(value, _)| value))
    }

    /// A read at quorum of what was learned.
    pub(crate) async fn read_cell(
        self: &Arc<Self>,
        from: &Process,
        cell: Cell,
    ) -> Result<Option<Value>, NoQuorum> {
        let answers = self
            .ask(from, QUORUM, move |replica| replica.cell(cell))
            .await?;
        Ok(newest(answers))
    }

    /// A ballot that a quorum promised to, and the value that is committed before it.
    async fn prepared(
        self: &Arc<Self>,
        from: &Process,
        cell: Cell,
        until: Instant,
    ) -> Result<(Ballot, Option<Proposed>), NoQuorum> {
        loop {
            let ballot = self.world.number();
            let answers = self
                .ask(from, QUORUM, move |it| it.prepare(cell, ballot))
                .await?;
            if Instant::now() >= until {
                return Err(NoQuorum(0));
            }
            if answers.iter().any(|(promised, _)| !promised) {
                self.let_rival_finish(cell).await;
                continue;
            }
            let committed = answers.iter().filter_map(|(_, it)| it.committed);
            let committed = committed.max_by_key(|(ballot, _)| *ballot);
            let done = committed.map_or(0, |(ballot, _)| ballot);
            let accepted = answers.iter().filter_map(|(_, it)| it.accepted);
            let open = accepted
                .filter(|(ballot, _)| *ballot > done)
                .max_by_key(|(ballot, _)| *ballot);
            if let Some((_, value)) = open {
                // Somebody's transaction is under way: it is finished first.
                if self.accepted(from, cell, ballot, value).await? {
                    self.commit(from, cell, ballot, value).await?;
                }
                continue;
            }
            if let Some((ballot, value)) = committed
                && answers
                    .iter()
                    .any(|(_, it)| it.committed.is_none_or(|(known, _)| known < ballot))
            {
                self.commit(from, cell, ballot, value).await?;
            }
            return Ok((ballot, committed.map(|(_, value)| value)));
        }
    }

    /// Lets a quorum learn of what was accepted.
    async fn commit(
        self: &Arc<Self>,
        from: &Process,
        cell: Cell,
        ballot: Ballot,
        value: Proposed,
    ) -> Result<(), NoQuorum> {
        self.ask(from, QUORUM, move |it| it.commit(cell, ballot, value))
            .await?;
        self.let_next_go(cell);
        Ok(())
    }

    /// Another proposer is ahead: as a database's coordinator, it waits until something is
    /// committed, or for a while, as the other may be dead.
    async fn let_rival_finish(&self, cell: Cell) {
        let (committed, patience) = {
            let state = &mut *self.state();
            let patience = Duration::from_millis(state.dice.u64(1..=20));
            (
                Arc::clone(state.contended.entry(cell).or_default()),
                patience,
            )
        };
        // Too long: its own ballot is tried anew.
        let _ = timeout(patience, committed.notified()).await;
    }

    /// One of those who wait goes on: all at once would meet again.
    fn let_next_go(&self, cell: Cell) {
        if let Some(committed) = self.state().contended.get(&cell) {
            committed.notify_one();
        }
    }

    async fn accepted(
        self: &Arc<Self>,
        from: &Process,
        cell: Cell,
        ballot: Ballot,
        value: Proposed,
    ) -> Result<bool, NoQuorum> {
        let answers = self
            .ask(from, QUORUM, move |it| it.propose(cell, ballot, value))
            .await?;
        Ok(answers.into_iter().all(|accepted| accepted))
    }
}

fn newest(answers: Vec<Option<(Ballot, Proposed)>>) -> Option<Value> {
    let known = answers.into_iter().flatten();
    known
        .max_by_key(|(ballot, _)| *ballot)
        .map(|(_, (value, _))| value)
}
