//! A membership whose part a test plays: it says what is to be done about shards, and hears what
//! came of it.

use std::sync::Arc;

use rookery_proto::{ids::Epoch, shard::Shard};
use tokio::sync::{mpsc, watch};

use super::{
    keeper::Duty,
    member::Input,
    shell::{Duties, Membership, Request},
    standing::Standing,
};
use crate::{
    limits::{DUTIES_MAX, MEMBERSHIP_INBOX_MAX},
    placement::{ClusterPlacement, Owners},
};

/// The test's side.
pub struct Script {
    duties: mpsc::Sender<Duty>,
    standing: watch::Sender<Standing>,
    requests: mpsc::Receiver<Request>,
}

/// What came of a duty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// [`Duty::Take`] succeeded, or the shard was renewed.
    Taken(Shard, Epoch),
    /// [`Duty::Take`] was refused; who has it.
    TakeRefused(Shard, u64),
    /// [`Duty::StopAdmitting`] is done.
    Finished(Shard),
    /// [`Duty::Release`] is done; whether the shard is the next owner's.
    Released(Shard, bool),
    /// It is not known how [`Duty::Release`] ended.
    ReleaseFailed(Shard),
    /// The node wants to hand over everything.
    Leaves,
}

impl Script {
    /// A membership that serves, and its script.
    #[must_use]
    pub fn new() -> (Membership, Duties, Self) {
        let (requests_in, requests) = mpsc::channel(MEMBERSHIP_INBOX_MAX);
        let (duties, duties_out) = mpsc::channel(DUTIES_MAX);
        let (standing, stands) = watch::channel(Standing::Serving);
        let (_, owners) = watch::channel(Arc::<Owners>::default());
        let membership = Membership {
            requests: requests_in,
            standing: stands,
            placement: ClusterPlacement::new(owners),
        };
        let duties_out = Duties { duties: duties_out };
        let script = Self {
            duties,
            standing,
            requests,
        };
        (membership, duties_out, script)
    }

    /// Wants something done. Nobody may be there any more to do it.
    pub fn ask(&self, duty: Duty) {
        let _ = self.duties.try_send(duty);
    }

    /// The node stands so from now on.
    pub fn stand(&self, standing: Standing) {
        self.standing.send_replace(standing);
    }

    /// What came of something; `None` when the node is gone.
    ///
    /// # Cancel safety
    /// Nothing is lost when dropped.
    pub async fn next(&mut self) -> Option<Answer> {
        loop {
            let answer = match self.requests.recv().await? {
                Request::Input(Input::Taken { shard, epoch }) => Answer::Taken(shard, epoch),
                Request::Input(Input::TakeRefused { shard, owner, .. }) => {
                    Answer::TakeRefused(shard, owner)
                }
                Request::Input(Input::Finished { shard }) => Answer::Finished(shard),
                Request::Input(Input::Released { shard, given }) => Answer::Released(shard, given),
                Request::Input(Input::ReleaseFailed { shard }) => Answer::ReleaseFailed(shard),
                Request::Input(Input::Leave) => Answer::Leaves,
                Request::Input(_) | Request::CommitsFailing(_) | Request::Nodes(_) => continue,
            };
            return Some(answer);
        }
    }
}
