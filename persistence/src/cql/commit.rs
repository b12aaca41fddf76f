//! One group commit: all its batches in flight, done when every one is at quorum.
//!
//! Batches that stay without an answer for [`limits::CQL_SPECULATIVE_AFTER`] are sent again, so
//! that a paused replica costs that and not a timeout. The driver can do so for each request, at a
//! third of the rate of commits; here one timer serves a whole group.

use std::{pin::pin, sync::Arc, time::Instant};

use futures_util::{StreamExt, stream::FuturesUnordered};
use rookery_proto::ids::{Offset, RoomId};
use scylla::errors::ExecutionError;
use tokio::time::{Instant as Deadline, sleep};

use super::{
    Open,
    error::Attempts,
    writes::{Batches, PartitionBatch, bucket},
};
use crate::{RoomWrite, StoreError, limits, metrics};

/// A batch of the group and what became of it.
struct Sending {
    attempts: Arc<Attempts>,
    /// Times it was sent and not answered yet.
    pending: usize,
    answer: Option<Result<(), StoreError>>,
}

impl Open {
    pub(super) async fn commit(&self, group: &[RoomWrite]) -> Result<(), StoreError> {
        let began = Instant::now();
        let batches = Batches::of_group(group);
        let rows = batches.iter().map(|batch| batch.writes.len()).sum();
        combined(self.send_all(&batches).await).inspect_err(|error| {
            metrics::commit_failed(match error {
                StoreError::Failed { .. } => "not_done",
                _ => "unknown",
            });
        })?;
        metrics::committed(group.len(), rows, began.elapsed());
        for (room, bucket) in begun_buckets(group) {
            self.keep_head(room, bucket).await;
        }
        Ok(())
    }

    /// The answers to all batches.
    async fn send_all(&self, batches: &[PartitionBatch<'_>]) -> Vec<Result<(), StoreError>> {
        let mut sent: Vec<_> = batches
            .iter()
            .map(|_| Sending {
                attempts: Arc::new(Attempts::default()),
                pending: 1,
                answer: None,
            })
            .collect();
        let mut waiting = sent.len();
        let mut requests = FuturesUnordered::new();
        for (index, sending) in sent.iter().enumerate() {
            requests.push(self.send(&batches[index], index, &sending.attempts, false));
        }
        let mut again = pin!(sleep(limits::CQL_SPECULATIVE_AFTER));
        let mut repetitions = limits::CQL_COMMIT_REPETITIONS_MAX;
        while waiting > 0 {
            tokio::select! {
                biased;
                Some((index, answer)) = requests.next() => {
                    let sending = &mut sent[index];
                    sending.pending -= 1;
                    match answer {
                        Ok(()) if sending.answer.is_none() => sending.answer = Some(Ok(())),
                        Err(error) if sending.answer.is_none() && sending.pending == 0 => {
                            sending.answer = Some(Err(sending.attempts.failed("commit", error)));
                        }
                        _ => continue,
                    }
                    waiting -= 1;
                }
                () = &mut again, if repetitions > 0 => {
                    repetitions -= 1;
                    again.as_mut().reset(Deadline::now() + limits::CQL_SPECULATIVE_AFTER);
                    metrics::requests_repeated(waiting);
                    for (index, sending) in sent.iter_mut().enumerate() {
                        if sending.answer.is_none() {
                            sending.pending += 1;
                            let batch = &batches[index];
                            requests.push(self.send(batch, index, &sending.attempts, true));
                        }
                    }
                }
            }
        }
        let answers = sent.into_iter().map(|sending| sending.answer);
        answers
            .map(|answer| answer.expect("none is waiting"))
            .collect()
    }

    /// A repetition does not wait for a place: those that it repeats may hold all of them.
    fn send<'a>(
        &'a self,
        batch: &'a PartitionBatch<'_>,
        index: usize,
        attempts: &Arc<Attempts>,
        repetition: bool,
    ) -> impl Future<Output = (usize, Result<(), ExecutionError>)> + use<'a> {
        let attempts = Arc::clone(attempts);
        async move {
            let _place = if repetition {
                None
            } else {
                Some(self.place().await)
            };
            let profile = &self.profiles.commit;
            (
                index,
                self.send_batch(&batch.writes, profile, attempts).await,
            )
        }
    }
}

/// What the answers to all batches of a commit are together: it failed for sure only when every
/// one of them did.
fn combined(answers: Vec<Result<(), StoreError>>) -> Result<(), StoreError> {
    let sent = answers.len();
    let (mut failed, mut unknown) = (Vec::new(), None);
    for error in answers.into_iter().filter_map(Result::err) {
        match error {
            StoreError::Failed { .. } => failed.push(error),
            other => unknown = Some(other),
        }
    }
    if let Some(unknown) = unknown {
        return Err(unknown);
    }
    let all_failed = failed.len() == sent;
    match failed.pop() {
        None => Ok(()),
        Some(StoreError::Failed { what, source }) if !all_failed => {
            Err(StoreError::Unknown { what, source })
        }
        Some(error) => Err(error),
    }
}

/// The rooms whose log enters a new bucket, with its number.
fn begun_buckets(group: &[RoomWrite]) -> impl Iterator<Item = (&RoomId, u64)> {
    group.iter().filter_map(|write| {
        let first = |offset: Offset| offset.0.is_multiple_of(limits::BUCKET_OFFSETS);
        let begun = write.log.iter().rev().find(|row| first(row.offset))?;
        Some((&write.room, bucket(begun.offset)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed() -> Result<(), StoreError> {
        Err(StoreError::Failed {
            what: "commit",
            source: "refused".into(),
        })
    }

    fn unknown() -> Result<(), StoreError> {
        Err(StoreError::Unknown {
            what: "commit",
            source: "timeout".into(),
        })
    }

    #[test]
    fn commit_failed_for_sure_only_when_all_of_it_did() {
        assert!(combined(vec![]).is_ok());
        assert!(combined(vec![Ok(()), Ok(())]).is_ok());
        let sure = combined(vec![failed(), failed()]);
        assert!(matches!(sure, Err(StoreError::Failed { .. })));
        for answers in [
            vec![failed(), Ok(())],
            vec![unknown(), failed()],
            vec![failed(), unknown(), Ok(())],
        ] {
            let half = combined(answers);
            assert!(matches!(half, Err(StoreError::Unknown { .. })), "{half:?}");
        }
    }
}
