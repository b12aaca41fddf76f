//! Shards and fences, by lightweight transactions.
//!
//! ```text
//! read the shard ──► may we? ──► fence its owner ──► epoch + 1, if it is still as read
//!      ▲                │ no                                  │ not, or unknown
//!      │                ▼                                     │
//!      └──────── serially now ◄───────────────────────────────┘
//! ```
//! The fence comes first: so whenever a shard has an owner, every earlier one that did not release
//! it is fenced, whoever crashed in between (ADR 0007). A fence without a claim after it stops a
//! node that was to be replaced anyway. Lightweight transactions are learned at quorum before they
//! return, so a read at quorum that begins later sees them; one whose answer was lost is read
//! serially, which completes it.

use std::time::Duration;

use rookery_proto::{ids::Epoch, shard::Shard};
use scylla::{
    errors::{ExecutionError, RequestAttemptError},
    serialize::row::SerializeRow,
    statement::prepared::PreparedStatement,
    value::{CqlValue, Row},
};
use tokio::time::{Instant, sleep};

use super::{
    Open,
    error::{Unsound, surely_not_done},
    queries::number,
    writes::int,
};
use crate::{
    Claim, Incarnation, ShardKind, StoreError, TakeFrom, limits,
    ownership::{Owner, Step, decide},
};

/// What became of a lightweight transaction.
enum Fate {
    Applied,
    /// Its condition did not hold.
    Refused,
    /// The answer was lost, or many were at it at once.
    Unknown(Box<ExecutionError>),
}

/// Why another try is needed.
type Reason = Box<dyn std::error::Error + Send + Sync>;

/// Tries until a deadline, with random pauses that grow.
struct Tries {
    what: &'static str,
    until: Instant,
    pause: Duration,
}

impl Tries {
    fn new(what: &'static str, timeout: Duration) -> Self {
        Self {
            what,
            until: Instant::now() + timeout,
            pause: Duration::from_millis(2),
        }
    }

    /// Pauses before the next try.
    async fn again(&mut self, reason: Option<Reason>) -> Result<(), StoreError> {
        if Instant::now() >= self.until {
            let source = reason.unwrap_or_else(|| "others were ahead each time".into());
            return Err(StoreError::Unknown {
                what: self.what,
                source,
            });
        }
        sleep(self.pause.mul_f64(fastrand::f64())).await;
        self.pause = (self.pause * 2).min(limits::CQL_CONFLICT_PAUSE_MAX);
        Ok(())
    }

    /// The answer to a read, or `None` after a pause when it must be asked again: what a
    /// transaction did must be known before the next.
    async fn answered<T>(&mut self, read: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
        match read {
            Err(StoreError::Failed { source, .. }) => {
                self.again(Some(source)).await?;
                Ok(None)
            }
            outcome => outcome.map(Some),
        }
    }
}

impl Open {
    pub(super) async fn is_fenced(&self, incarnation: Incarnation) -> Result<bool, StoreError> {
        let fenced = self.fence_row(&self.statements.fence, incarnation).await?;
        Ok(fenced.unwrap_or(true))
    }

    pub(super) async fn register_node(
        &self,
        node: &str,
        incarnation: Incarnation,
    ) -> Result<(), StoreError> {
        let what = "register node";
        let mut tries = Tries::new(what, self.config.ownership_timeout);
        let values = (signed(what, incarnation.0)?, node, false);
        loop {
            let insert = &self.statements.insert_node;
            match self.transaction(what, insert, values).await? {
                // Refused: it is there already, by an earlier try or as fenced.
                Fate::Applied | Fate::Refused => return Ok(()),
                Fate::Unknown(error) => tries.again(Some(error)).await?,
            }
        }
    }

    pub(super) async fn take_shard(
        &self,
        shard: (ShardKind, Shard),
        node: &str,
        taker: Incarnation,
        from: TakeFrom,
    ) -> Result<Claim, StoreError> {
        let what = "take shard";
        let mut tries = Tries::new(what, self.config.ownership_timeout);
        let ((kind, number), own) = (key(shard), signed(what, taker.0)?);
        // The transaction finds out when this plain read was behind. A refusal changes nothing that
        // would find out, so it rests on a serial read only.
        let mut row = self.owner(&self.statements.shard, shard).await?;
        let mut serially = false;
        loop {
            let (fence, epoch) = match decide(row, shard.0, taker, from) {
                Step::Take { fence, epoch } => (fence, epoch),
                Step::Refuse(Owner { incarnation, epoch }) if serially => {
                    return Ok(Claim::Refused {
                        owner: incarnation,
                        epoch,
                    });
                }
                Step::Refuse(_) => {
                    row = self.owner_serially(&mut tries, shard).await?;
                    serially = true;
                    continue;
                }
            };
            if let Some(former) = fence {
                self.fence(former).await?;
            }
            let next = signed(what, epoch.0)?;
            let fate = match row {
                None => {
                    let values = (kind, number, next, node, own);
                    let insert = &self.statements.insert_shard;
                    self.transaction(what, insert, values).await?
                }
                Some(former) => {
                    let (last, owner) = (
                        signed(what, former.epoch.0)?,
                        signed(what, former.incarnation.0)?,
                    );
                    let values = (next, node, own, kind, number, last, owner);
                    let update = &self.statements.change_shard;
                    self.transaction(what, update, values).await?
                }
            };
            match fate {
                Fate::Applied => return Ok(Claim::Taken(epoch)),
                Fate::Refused => {
                    tries.again(None).await?;
                    row = self.owner_serially(&mut tries, shard).await?;
                }
                // It may have been ours. If it still is, one epoch is left out, which harms
                // nothing. If it was taken from us since, we are fenced and must not take it back.
                Fate::Unknown(error) => {
                    tries.again(Some(error)).await?;
                    row = self.owner_serially(&mut tries, shard).await?;
                    if let Some(owner) = row.filter(|it| it.incarnation != taker)
                        && self.fence_row(&self.statements.fence, taker).await? == Some(true)
                    {
                        return Ok(Claim::Refused {
                            owner: owner.incarnation,
                            epoch: owner.epoch,
                        });
                    }
                }
            }
            serially = true;
        }
    }

    /// Makes what its owner has nobody's or another's; whether it is that now.
    pub(super) async fn hand_over(
        &self,
        shard: (ShardKind, Shard),
        owner: Owner,
        (node, next): (&str, Owner),
    ) -> Result<bool, StoreError> {
        let what = "hand over shard";
        let mut tries = Tries::new(what, self.config.ownership_timeout);
        let (kind, number) = key(shard);
        let numbers = |it: Owner| Ok((signed(what, it.epoch.0)?, signed(what, it.incarnation.0)?));
        let ((last, own), (epoch, to)) = (numbers(owner)?, numbers(next)?);
        loop {
            let values = (epoch, node, to, kind, number, last, own);
            let update = &self.statements.change_shard;
            match self.transaction(what, update, values).await? {
                Fate::Applied => return Ok(true),
                // It was done before, or another has it.
                Fate::Refused => tries.again(None).await?,
                Fate::Unknown(error) => tries.again(Some(error)).await?,
            }
            let row = self.owner_serially(&mut tries, shard).await?;
            if row != Some(owner) {
                return Ok(row == Some(next));
            }
        }
    }

    /// Fences an incarnation, registered or not.
    async fn fence(&self, incarnation: Incarnation) -> Result<(), StoreError> {
        let mut known = self.fenced.lock().await;
        if known.contains(&incarnation) {
            return Ok(());
        }
        let what = "fence node";
        let mut tries = Tries::new(what, self.config.ownership_timeout);
        let key = signed(what, incarnation.0)?;
        loop {
            let read = self
                .fence_row(&self.statements.fence_serial, incarnation)
                .await;
            let Some(fenced) = tries.answered(read).await? else {
                continue;
            };
            let fate = match fenced {
                Some(true) => break,
                Some(false) => {
                    let update = &self.statements.fence_node;
                    self.transaction(what, update, (key,)).await?
                }
                None => {
                    let insert = &self.statements.insert_node;
                    self.transaction(what, insert, (key, "", true)).await?
                }
            };
            match fate {
                Fate::Applied => {
                    tracing::info!(node.incarnation = incarnation.0, "node fenced");
                    break;
                }
                // Others fenced it, or it registered just now: the next read tells.
                Fate::Refused => tries.again(None).await?,
                Fate::Unknown(error) => tries.again(Some(error)).await?,
            }
        }
        if known.len() == limits::CQL_FENCED_KNOWN_MAX {
            known.pop_front();
        }
        known.push_back(incarnation);
        Ok(())
    }

    async fn transaction(
        &self,
        what: &'static str,
        statement: &PreparedStatement,
        values: impl SerializeRow,
    ) -> Result<Fate, StoreError> {
        let place = self.place().await;
        let result = self.session.execute_unpaged(statement, values).await;
        drop(place);
        let result = match result {
            Ok(result) => result,
            Err(error) if is_final(&error) => {
                let source = Box::new(error);
                return Err(StoreError::Failed { what, source });
            }
            Err(error) => return Ok(Fate::Unknown(Box::new(error))),
        };
        let applied = || -> Result<bool, Unsound> {
            let rows = result.into_rows_result()?;
            let row = rows.rows::<Row>()?.next().transpose()?;
            // The other columns differ from one database to the other.
            match row.and_then(|row| row.columns.into_iter().next()?) {
                Some(CqlValue::Boolean(applied)) => Ok(applied),
                other => Err(Unsound::Meaning(format!("not an outcome: {other:?}"))),
            }
        };
        match applied().map_err(|unsound| unsound.corrupt(what))? {
            true => Ok(Fate::Applied),
            false => Ok(Fate::Refused),
        }
    }

    async fn fence_row(
        &self,
        statement: &PreparedStatement,
        incarnation: Incarnation,
    ) -> Result<Option<bool>, StoreError> {
        let what = "read fence";
        let mut fenced = None;
        let values = (signed(what, incarnation.0)?,);
        self.read(what, statement, values, |page| {
            for row in page.rows::<(bool,)>()? {
                fenced = Some(row?.0);
            }
            Ok(std::ops::ControlFlow::Continue(()))
        })
        .await?;
        Ok(fenced)
    }

    async fn owner(
        &self,
        statement: &PreparedStatement,
        shard: (ShardKind, Shard),
    ) -> Result<Option<Owner>, StoreError> {
        let mut owner = None;
        self.read("read shard", statement, key(shard), |page| {
            for row in page.rows::<(i64, i64)>()? {
                let (epoch, incarnation) = row?;
                owner = Some(Owner {
                    epoch: Epoch(number(epoch)?),
                    incarnation: Incarnation(number(incarnation)?),
                });
            }
            Ok(std::ops::ControlFlow::Continue(()))
        })
        .await?;
        Ok(owner)
    }

    /// Settles what earlier transactions did to the shard, and tells.
    async fn owner_serially(
        &self,
        tries: &mut Tries,
        shard: (ShardKind, Shard),
    ) -> Result<Option<Owner>, StoreError> {
        loop {
            let read = self.owner(&self.statements.shard_serial, shard).await;
            if let Some(owner) = tries.answered(read).await? {
                return Ok(owner);
            }
        }
    }
}

/// The key of a shard's row.
fn key((kind, shard): (ShardKind, Shard)) -> (i8, i32) {
    (kind as i8, i32::from(shard.number()))
}

/// Whether another try would end the same. Too few replicas may pass, so they are not final.
pub(super) fn is_final(error: &ExecutionError) -> bool {
    match error {
        ExecutionError::BadQuery(_) | ExecutionError::PrepareError(_) => true,
        ExecutionError::LastAttemptError(RequestAttemptError::DbError(
            scylla::errors::DbError::Unavailable { .. } | scylla::errors::DbError::IsBootstrapping,
            _,
        )) => false,
        ExecutionError::LastAttemptError(error) => surely_not_done(error),
        _ => false,
    }
}

fn signed(what: &'static str, value: u64) -> Result<i64, StoreError> {
    int(value).map_err(|error| StoreError::Failed {
        what,
        source: Box::new(error),
    })
}
