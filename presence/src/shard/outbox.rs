//! What leaves a shard for gateways.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message as _;
use rookery_cluster::{EndpointId, Links};
use rookery_proto::{
    ids::UserId,
    link::{NotOwner, Reply, UserDelivery, packet::Body, reply, user_delivery},
    v1,
};

use crate::{
    limits::DELIVERY_SESSIONS_MAX,
    metrics,
    refusal::Refusal,
    user::{Address, Shown},
};

/// Encodes once and groups by (gateway, lane).
#[derive(Clone)]
pub(crate) struct Outbox {
    links: Links,
}

impl Outbox {
    pub(crate) fn new(links: Links) -> Self {
        Self { links }
    }

    pub(crate) fn ack(&self, to: &Address, request: u64, result: v1::ack::Result) {
        let ack = v1::Ack {
            id: String::new(),
            result: Some(result),
        };
        self.reply(to, request, reply::Result::Ack(ack));
    }

    pub(crate) fn refuse(&self, to: &Address, request: u64, refusal: Refusal) {
        self.reply(to, request, reply::Result::Error(refusal.into_frame()));
    }

    /// Sends the request to another node.
    pub(crate) fn not_owner(&self, to: &Address, request: u64, elsewhere: NotOwner) {
        self.reply(to, request, reply::Result::NotOwner(elsewhere));
    }

    /// Answers a watch.
    pub(super) fn answer(&self, to: &Address, request: u64, user: &UserId, shown: Shown) {
        let list = v1::PresenceList {
            users: vec![presence(user, shown)],
        };
        self.ack(to, request, v1::ack::Result::Presence(list));
    }

    /// Tells watchers how a user looks now.
    pub(super) fn show(&self, user: &UserId, shown: Shown, to: &[Address]) {
        let body = v1::signal::Body::Presence(presence(user, shown));
        let signal = v1::Signal {
            room: String::new(),
            body: Some(body),
        };
        metrics::updates_sent(to.len());
        self.deliver_body(
            &user_delivery::Body::Signal(signal.encode_to_vec().into()),
            to,
        );
    }

    /// Gives a notice to a user's sessions.
    pub(super) fn deliver(&self, notice: Bytes, to: &[Address]) {
        metrics::notices_sent(to.len());
        self.deliver_body(&user_delivery::Body::Notice(notice), to);
    }

    fn deliver_body(&self, body: &user_delivery::Body, to: &[Address]) {
        let mut groups: BTreeMap<(&EndpointId, u32), Vec<u64>> = BTreeMap::new();
        for address in to {
            let group = groups
                .entry((&address.key.gateway, address.lane))
                .or_default();
            group.push(address.key.session);
        }
        for ((gateway, lane), sessions) in groups {
            let link = self.links.to(gateway);
            for sessions in sessions.chunks(DELIVERY_SESSIONS_MAX) {
                link.send(Body::UserDelivery(UserDelivery {
                    lane,
                    sessions: sessions.to_vec(),
                    body: Some(body.clone()),
                }));
            }
        }
    }

    fn reply(&self, to: &Address, request: u64, result: reply::Result) {
        let reply = Reply {
            request,
            lane: to.lane,
            result: Some(result),
        };
        self.links.to(&to.key.gateway).send(Body::Reply(reply));
    }
}

fn presence(user: &UserId, shown: Shown) -> v1::Presence {
    v1::Presence {
        user: user.as_str().to_owned(),
        status: shown.status.into(),
        last_seen_ms: shown.last_seen_ms,
    }
}
