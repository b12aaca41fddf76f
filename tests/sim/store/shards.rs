//! Who is registered and fenced, and who owns which shard: lightweight transactions.

use rookery_persistence::{
    Claim, Incarnation, ShardKind, StoreError, TakeFrom,
    ownership::{Owner, Step, decide},
};
use rookery_proto::{ids::Epoch, shard::Shard};
use tokio::time::{Duration, Instant, sleep};

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
        let cell = Cell::Node(incarnation.0);
        let until = Instant::now() + OWNERSHIP_TIMEOUT;
        loop {
            let fate = self
                .quorum
                .transact(&self.process, cell, true, |value| {
                    value.is_none().then_some(Value::Node { fenced: false })
                })
                .await;
            match fate {
                Fate::Applied | Fate::Refused => break,
                Fate::Unknown(error) => self
                    .again(until, error)
                    .await
                    .map_err(unknown("register node"))?,
            }
        }
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
                    Fate::Unknown(error) => self.again(until, error).await?,
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
        self.begin(Point::Other).await?;
        let cell = Cell::Shard(kind as u8, shard.number());
        let until = Instant::now() + OWNERSHIP_TIMEOUT;
        let own = Owner { incarnation, epoch };
        let nobody = Value::Shard {
            epoch: epoch.0,
            incarnation: Incarnation::NOBODY.0,
        };
        loop {
            let fate = self
                .quorum
                .transact(&self.process, cell, true, |value| {
                    (owner_of(value) == Some(own)).then_some(nobody)
                })
                .await;
            match fate {
                Fate::Applied | Fate::Refused => break,
                Fate::Unknown(error) => self
                    .again(until, error)
                    .await
                    .map_err(unknown("release shard"))?,
            }
        }
        self.process.pass().await;
        Ok(())
    }

    async fn fence(&self, incarnation: Incarnation) -> Result<(), NoQuorum> {
        let cell = Cell::Node(incarnation.0);
        let until = Instant::now() + OWNERSHIP_TIMEOUT;
        loop {
            let fate = self
                .quorum
                .transact(&self.process, cell, self.learns(), |value| {
                    (value != Some(Value::Node { fenced: true }))
                        .then_some(Value::Node { fenced: true })
                })
                .await;
            match fate {
                // Refused: it is fenced already, and the transaction saw that learned.
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
        let pause = self.quorum.world.throw(|dice| dice.u64(1..=30));
        sleep(Duration::from_millis(pause)).await;
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
