//! Requests: sent again to the next owner, when their answer may be lost, and when refused.

use rookery_cluster::EndpointId;
use rookery_proto::{
    link::{UnwatchUser, UserRequest, WatchUser, packet::Body, reply, user_request::Command},
    v1::{self, ack, presence::Status},
};
use tokio::time::{Duration, Instant};

use super::Gateway;

/// When a request is sent again to a node that is not the owner.
const RETRY: Duration = Duration::from_millis(100);
/// When a request is sent again that was refused, or not answered at all.
const REFUSED_RETRY: Duration = Duration::from_secs(1);
/// How long an answer is waited for.
const DEADLINE: Duration = Duration::from_secs(5);

/// Tries of one request.
const TRIES_MAX: u64 = 1 << 16;

/// One thing of a session that is asked until it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    Choose(Status),
    Watch(&'static str),
    Unwatch(&'static str),
}

pub(super) struct Ask {
    pub(super) session: u64,
    what: What,
    /// Whose shard it goes to.
    pub(super) user: &'static str,
    tries: u64,
    /// To whom the newest try went.
    pub(super) sent: Option<EndpointId>,
    again: Instant,
}

impl Gateway {
    /// Asks for the status that is wanted, unless another is asked for.
    pub(super) fn choose(&mut self, session: u64) {
        let asks = |it: &Ask| it.session == session && matches!(it.what, What::Choose(_));
        if let Some(known) = self.sessions.get(&session)
            && let Some(wanted) = known.wanted
            && !self.asks.values().any(asks)
        {
            let user = known.user;
            self.ask(session, What::Choose(wanted), user);
        }
    }

    /// Asks anew, instead of whatever is under way about the same.
    pub(super) fn ask(&mut self, session: u64, what: What, user: &'static str) {
        let watching = |what| matches!(what, What::Watch(_) | What::Unwatch(_));
        self.asks.retain(|_, it| {
            it.session != session || it.user != user || !(watching(it.what) && watching(what))
        });
        let key = self.cluster.world.number();
        let ask = Ask {
            session,
            what,
            user,
            tries: 0,
            sent: None,
            again: Instant::now(),
        };
        self.asks.insert(key, ask);
        self.send(key);
    }

    /// Sends a try, with a number of its own.
    fn send(&mut self, key: u64) {
        let Some(ask) = self.asks.get(&key) else {
            return;
        };
        let owner = self.owner(ask.user);
        let tries = ask.tries + 1;
        if let (Some(owner), Some(caller)) = (&owner, self.caller(ask.session)) {
            let command = match ask.what {
                What::Choose(status) => Command::SetPresence(v1::SetPresence {
                    status: status.into(),
                }),
                What::Watch(_) => Command::Watch(WatchUser {}),
                What::Unwatch(_) => Command::Unwatch(UnwatchUser {}),
            };
            let request = UserRequest {
                request: key * TRIES_MAX + tries,
                caller: Some(caller),
                user: ask.user.to_owned(),
                command: Some(command),
            };
            self.links.to(owner).send(Body::UserRequest(request));
        }
        if let Some(ask) = self.asks.get_mut(&key) {
            ask.again = Instant::now() + if owner.is_some() { DEADLINE } else { RETRY };
            ask.sent = owner;
            ask.tries = tries;
        }
    }

    pub(super) fn send_again(&mut self, which: impl Fn(&Ask) -> bool) {
        let asks = self.asks.iter();
        let again: Vec<u64> = asks
            .filter(|(_, it)| which(it))
            .map(|(it, _)| *it)
            .collect();
        for key in again {
            self.send(key);
        }
    }

    pub(super) fn look_at_time(&mut self) {
        let now = Instant::now();
        self.send_again(|ask| ask.again <= now);
    }

    pub(super) fn replied(
        &mut self,
        from: &EndpointId,
        number: u64,
        result: Option<reply::Result>,
    ) {
        let key = number / TRIES_MAX;
        let Some(ask) = self.asks.get_mut(&key) else {
            return;
        };
        let newest = ask.tries == number % TRIES_MAX;
        let now = Instant::now();
        match result {
            // What an owner answers last it takes for told.
            _ if !newest => {}
            Some(reply::Result::NotOwner(_)) => ask.again = now + RETRY,
            Some(reply::Result::Error(_)) => ask.again = now + REFUSED_RETRY,
            Some(reply::Result::Ack(ack)) => {
                let Ask { session, what, .. } = *ask;
                self.asks.remove(&key);
                match (what, ack.result) {
                    (What::Watch(_), Some(ack::Result::Presence(list))) => {
                        for presence in &list.users {
                            self.tell(from, session, presence, false);
                        }
                    }
                    (What::Choose(status), _) => self.chosen(session, status),
                    (What::Watch(_) | What::Unwatch(_), _) => {}
                }
            }
            None => {}
        }
    }

    fn chosen(&mut self, session: u64, status: Status) {
        if let Some(known) = self.sessions.get_mut(&session) {
            known.status = status;
            if known.wanted == Some(status) {
                known.wanted = None;
            }
            self.choose(session);
        }
    }
}
