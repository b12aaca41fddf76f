//! Each packet to the shard of the user it is about, or to where that shard is.

use bytes::Bytes;
use prost::Message as _;
use rookery_cluster::{EndpointId, Role, holdings::Place};
use rookery_proto::{
    ids::{Epoch, UserId},
    link::{NotOwner, SessionClosed, SessionOpened, ToUser, UserRequest, packet::Body},
    shard::Shard,
};
use tokio::time::Instant;

use super::{Host, Rejected};
use crate::{
    limits::{SHARD_REQUESTS_MAX, SHARD_SESSION_PACKETS_MAX},
    metrics,
    refusal::Refusal,
    shard::{ShardMessage, Work},
    user::{Address, SessionKey},
};

impl Host {
    pub(super) async fn route(&mut self, from: &EndpointId, body: Option<Body>) {
        match body {
            Some(Body::SessionClosed(closed)) => {
                for part in by_user(closed) {
                    self.route_one(from, Body::SessionClosed(part)).await;
                }
            }
            Some(body) => self.route_one(from, body).await,
            // Of a newer version.
            None => tracing::debug!(peer.id = %from, "packet not known"),
        }
    }

    /// `body` is about one user at most.
    async fn route_one(&mut self, from: &EndpointId, body: Body) {
        let Some(user) = subject(&body) else {
            tracing::debug!(peer.id = %from, "packet not for presence");
            return;
        };
        let user = match UserId::parse(user) {
            Ok(user) => user,
            Err(error) => {
                let (field, reason) = ("user", error.to_string());
                if let Body::UserRequest(request) = body {
                    self.refuse(from, &request, Refusal::Invalid { field, reason });
                } else {
                    tracing::warn!(peer.id = %from, "packet names no sound user id");
                }
                return;
            }
        };
        let shard = Shard::of(user.as_str());
        match self.place(shard) {
            Place::Here(_) => self.deliver(from, shard, user, body).await,
            Place::Soon => {
                if let Some(body) = self.parking.park(shard, from, body) {
                    self.rejected(from, body, &Rejected::Full);
                }
            }
            Place::Elsewhere { epoch, to } => self.send_on(from, body, epoch, to),
        }
    }

    fn place(&mut self, shard: Shard) -> Place {
        let territory = &mut self.territory;
        match territory.holdings.place(shard, Instant::now()) {
            Place::Elsewhere { epoch, to: None } => {
                let owner = territory.placement.owner(Role::Presence, shard);
                let to = owner.filter(|owner| owner != self.links.me());
                Place::Elsewhere { epoch, to }
            }
            place => place,
        }
    }

    async fn deliver(&mut self, from: &EndpointId, shard: Shard, user: UserId, body: Body) {
        let mut max = SHARD_SESSION_PACKETS_MAX;
        let work = match body {
            Body::UserRequest(request) => return self.request(from, shard, user, request).await,
            Body::SessionOpened(SessionOpened {
                caller: Some(caller),
                status,
            }) => Work::Opened { caller, status },
            Body::SessionClosed(SessionClosed {
                session, watched, ..
            }) if watched.is_empty() => Work::Closed { session },
            Body::SessionClosed(SessionClosed { session, .. }) => Work::WatcherClosed { session },
            Body::ToUser(ToUser {
                notice: Some(notice),
                except_session,
                ..
            }) => {
                max = SHARD_REQUESTS_MAX;
                Work::Notify {
                    notice: Bytes::from(notice.encode_to_vec()),
                    except_session,
                }
            }
            _ => return,
        };
        let is_notice = matches!(work, Work::Notify { .. });
        let sent = self.send(shard, max, |place| ShardMessage::Work {
            from: from.clone(),
            user,
            work,
            place,
        });
        match sent.await {
            Ok(()) => {}
            Err(_) if is_notice => metrics::refused("notice"),
            Err(rejected) => self.session_rejected(from, &rejected),
        }
    }

    async fn request(
        &mut self,
        from: &EndpointId,
        shard: Shard,
        user: UserId,
        request: UserRequest,
    ) {
        let (to, number) = (asker(from, &request), request.request);
        let sent = self.send(shard, SHARD_REQUESTS_MAX, |place| ShardMessage::Request {
            from: from.clone(),
            user,
            request: Box::new(request),
            place,
        });
        if let Err(rejected) = sent.await {
            metrics::refused("request");
            let refusal = rejected.into();
            self.ports.outbox.refuse(&to, number, refusal);
        }
    }

    /// The user is not here.
    fn send_on(&self, from: &EndpointId, body: Body, epoch: Epoch, to: Option<EndpointId>) {
        match (body, to) {
            (Body::UserRequest(request), to) => {
                let elsewhere = NotOwner {
                    epoch: epoch.0,
                    owner: to.map_or_else(String::new, |owner| owner.as_str().to_owned()),
                };
                let at = asker(from, &request);
                let outbox = &self.ports.outbox;
                outbox.not_owner(&at, request.request, elsewhere);
            }
            // Once: two nodes that each think the other has it must not play ball.
            (body @ Body::ToUser(_), Some(to)) if from.role() != Some(Role::Presence) => {
                self.links.to(&to).send(body);
            }
            (Body::ToUser(_), _) => metrics::refused("notice"),
            // Gateways announce to the owner they know, and again when it asks.
            _ => metrics::refused("session"),
        }
    }

    fn rejected(&mut self, from: &EndpointId, body: Body, rejected: &Rejected) {
        match body {
            Body::UserRequest(request) => {
                metrics::refused("request");
                self.refuse(from, &request, Refusal::Overloaded);
            }
            Body::ToUser(_) => metrics::refused("notice"),
            _ => self.session_rejected(from, rejected),
        }
    }

    fn session_rejected(&mut self, from: &EndpointId, rejected: &Rejected) {
        metrics::refused("session");
        match rejected {
            // Its next start asks all gateways to announce.
            Rejected::Restarting => {}
            Rejected::Full => self.gateways.packet_dropped(from),
        }
    }

    fn refuse(&self, from: &EndpointId, request: &UserRequest, refusal: Refusal) {
        let to = asker(from, request);
        self.ports.outbox.refuse(&to, request.request, refusal);
    }
}

impl From<Rejected> for Refusal {
    fn from(rejected: Rejected) -> Self {
        match rejected {
            Rejected::Full => Self::Overloaded,
            Rejected::Restarting => Self::Restarting,
        }
    }
}

fn asker(from: &EndpointId, request: &UserRequest) -> Address {
    let caller = request.caller.as_ref();
    let (session, lane) = caller.map_or((0, 0), |caller| (caller.session, caller.lane));
    Address {
        key: SessionKey {
            gateway: from.clone(),
            session,
        },
        lane,
    }
}

/// Whom a packet is about.
fn subject(body: &Body) -> Option<&str> {
    match body {
        Body::UserRequest(request) => Some(&request.user),
        Body::SessionOpened(opened) => Some(&opened.caller.as_ref()?.user),
        Body::SessionClosed(closed) => Some(closed.watched.first().unwrap_or(&closed.user)),
        Body::ToUser(to_user) => Some(&to_user.user),
        Body::RoomRequest(_)
        | Body::RoomDetach(_)
        | Body::RoomResync(_)
        | Body::Reply(_)
        | Body::RoomEvent(_)
        | Body::RoomEvents(_)
        | Body::RoomSignal(_)
        | Body::UserDelivery(_)
        | Body::Reannounce(_)
        | Body::RoomRefused(_) => None,
    }
}

/// One for the session's own user, and one for each it watched.
fn by_user(closed: SessionClosed) -> impl Iterator<Item = SessionClosed> {
    let SessionClosed {
        session,
        user,
        watched,
    } = closed;
    // A gateway may tell an owner only of those watched there.
    let own = (!user.is_empty()).then_some(SessionClosed {
        session,
        user,
        watched: Vec::new(),
    });
    let watched = watched.into_iter().map(move |user| SessionClosed {
        session,
        user: String::new(),
        watched: vec![user],
    });
    own.into_iter().chain(watched)
}
