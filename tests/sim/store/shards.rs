//! Who is registered and fenced, and who owns which shard: lightweight transactions.

use rookery_persistence::{
    Claim, Incarnation, ShardKind, StoreError, TakeFrom,
    ownership::{Owner, Step, decide},
};
use rookery_proto::{ids::Epoch, shard::Shard};
use tokio::time::{Duration, Instant};

use super::{NodeStore, unknown};
use crate::{
    mutation::Mutation,
    quorum::{Fate, NoQuorum, Point},
    replica::{Cell, Value},
};

/// How long an operation on ownership is tried.
const OWNERSHIP_TIMEOUT: Duration = Duration::from_secs(6);

fn owner_of(value: Option<Value>) -> Option<Owner> {
    match value {
        Some(Value::Shard { epoch, incarnation }) => Some(Owner {
            incarnation: Incarnation(incarnation),
            epoch: Epoch(epoch),
        }),
        _ => None,
    }
}

impl NodeStore {
    pub(super) async fn register(&self, incarnation: Incarnation) -> Result<(), StoreError> {
        self.begin(Point::Other).await?;
        let registered = self.settled(Cell::Node(incarnation.0), true, |value| {
            value.is_none().then_some(Value::Node { fenced: false })
        });
        registered.await.map_err(unknown("register node"))?;
        self.process.pass().await;
        Ok(())
    }

    pub(super) async fn take(
        &self,
        kind: ShardKind,
        shard: Shard,
        taker: Incarnation,
        from: TakeFrom,
    ) -> Result<Claim, StoreError> {
        self.begin(Point::Other).await?;
        let cell = Cell::Shard(kind as u8, shard.number());
        let until = Instant::now() + OWNERSHIP_TIMEOUT;
        let failed = unknown("take shard");
        let attempt = async {
            let mut unsure = false;
            loop {
                let value = match self.quorum.read_serially(&self.process, cell).await {
                    Ok(value) => value,
                    Err(error) => {
                        self.again(until, error).await?;
                        continue;
                    }
                };
                let (fence, epoch) = match decide(owner_of(value), kind, taker, from) {
                    Step::Take { fence, epoch } => (fence, epoch),
                    Step::Refuse(Owner { incarnation, epoch }) => {
                        return Ok(Claim::Refused {
                            owner: incarnation,
                            epoch,
                        });
                    }
                };
                if let (Some(former), true) = (owner_of(value), unsure)
                    && former.incarnation != taker
                    && self
                        .quorum
                        .read_cell(&self.process, Cell::Node(taker.0))
                        .await?
                        == Some(Value::Node { fenced: true })
                {
                    return Ok(Claim::Refused {
                        owner: former.incarnation,
                        epoch: former.epoch,
                    });
                }
                if let Some(former) = fence {
                    self.fence(former).await?;
                }
                let next = Value::Shard {
                    epoch: epoch.0,
                    incarnation: taker.0,
                };
                let fate = self
                    .quorum
                    .transact(&self.process, cell, self.learns(), |now| {
                        (now == value).then_some(next)
                    })
                    .await;
                match fate {
                    Fate::Applied => return Ok(Claim::Taken(epoch)),
                    Fate::Refused => {}
                    // As the real one: was it taken from us, once it was ours?
                    Fate::Unknown(error) => {
                        self.again(until, error).await?;
                        unsure = true;
                    }
                }
            }
        };
        let claim: Result<Claim, NoQuorum> = attempt.await;
        self.process.pass().await;
        if let Ok(Claim::Taken(epoch)) = claim {
            (self.taken)(shard, epoch);
        }
        if !self.quorum.is_cheap(cell) {
            self.quorum
                .world
                .say(|| format!("{:?} takes {kind:?} {shard}: {claim:?}", self.process));
        }
        claim.map_err(failed)
    }

    pub(super) async fn release(
        &self,
        kind: ShardKind,
        shard: Shard,
        incarnation: Incarnation,
        epoch: Epoch,
    ) -> Result<(), StoreError> {
        let own = Owner { incarnation, epoch };
        let released = self.hand_over(kind, shard, own, own.released());
        released.await.map(drop)
    }

    pub(super) async fn give(
        &self,
        kind: ShardKind,
        shard: Shard,
        owner: Owner,
        to: Incarnation,
    ) -> Result<bool, StoreError> {
        self.hand_over(kind, shard, owner, owner.given(to)).await
    }

    async fn hand_over(
        &self,
        kind: ShardKind,
        shard: Shard,
        owner: Owner,
        next: Owner,
    ) -> Result<bool, StoreError> {
        self.begin(Point::Other).await?;
        let cell = Cell::Shard(kind as u8, shard.number());
        let value = Value::Shard {
            epoch: next.epoch.0,
            incarnation: next.incarnation.0,
        };
        let failed = unknown("hand over shard");
        let learns = self.learns();
        let changed = self.settled(cell, learns, |row| {
            (owner_of(row) == Some(owner)).then_some(value)
        });
        if let Err(error) = changed.await {
            return Err(failed(error));
        }
        let row = self.quorum.read_serially(&self.process, cell).await;
        self.process.pass().await;
        if !self.quorum.is_cheap(cell) {
            self.quorum.world.say(|| {
                format!(
                    "{:?} hands over {kind:?} {shard} as {next:?}: {row:?}",
                    self.process
                )
            });
        }
        row.map(|row| row == Some(value)).map_err(failed)
    }

    async fn fence(&self, incarnation: Incarnation) -> Result<(), NoQuorum> {
        let fenced = Value::Node { fenced: true };
        let cell = Cell::Node(incarnation.0);
        // Refused: it is fenced already, and the transaction saw that learned.
        self.settled(cell, self.learns(), |value| {
            (value != Some(fenced)).then_some(fenced)
        })
        .await
    }

    /// Repeats a transaction until it is known whether it was applied or refused.
    async fn settled(
        &self,
        cell: Cell,
        learns: bool,
        change: impl Fn(Option<Value>) -> Option<Value> + Sync,
    ) -> Result<(), NoQuorum> {
        let until = Instant::now() + OWNERSHIP_TIMEOUT;
        loop {
            let fate = self.quorum.transact(&self.process, cell, learns, &change);
            match fate.await {
                Fate::Applied | Fate::Refused => return Ok(()),
                Fate::Unknown(error) => self.again(until, error).await?,
            }
        }
    }

    fn learns(&self) -> bool {
        !self.breaks(Mutation::ClaimNotLearned)
    }

    async fn again(&self, until: Instant, error: NoQuorum) -> Result<(), NoQuorum> {
        self.process.pass().await;
        if Instant::now() >= until {
            return Err(error);
        }
        // Its timeout has passed already: whoever else is at it had time to finish.
        Ok(())
    }

    pub(super) async fn fenced_now(&self, incarnation: Incarnation) -> Result<bool, StoreError> {
        let cell = Cell::Node(incarnation.0);
        let value = self.quorum.read_cell(&self.process, cell).await;
        self.process.pass().await;
        Ok(match value.map_err(unknown("read fence"))? {
            Some(Value::Node { fenced }) => fenced,
            _ => true,
        })
    }
}
