//! Users' shards change owners, and what is asked of them is refused or asked again.

use std::sync::Arc;

use prost::Message as _;
use rookery_cluster::{EndpointId, Role};
use rookery_proto::{
    errors::Code,
    ids::SessionId,
    link::{packet::Body as Packet, user_request},
    shard::Shard,
    v1::{self, ack, client_frame::Command, presence::Status},
};

use super::fakes::*;
use crate::{
    hub::input::{Delivery, Input, LinkPacket},
    protocol::{Body, SharedFrame},
};

fn rooms() -> EndpointId {
    node(Role::Rooms)
}

fn watch(users: &[&str]) -> Command {
    let users = users.iter().map(|&user| user.to_owned()).collect();
    Command::WatchPresence(v1::WatchPresence { users })
}

fn away(user: &str) -> v1::Presence {
    v1::Presence {
        user: user.to_owned(),
        status: Status::Away.into(),
        last_seen_ms: 0,
    }
}

fn is_away(user: &str) -> rookery_proto::link::reply::Result {
    let users = vec![away(user)];
    acked(ack::Result::Presence(v1::PresenceList { users }))
}

/// With the database away, an owner refuses to say
/// since when somebody is gone, and forgets who asked: the session was never told of that user.
#[test]
fn watch_that_is_refused_is_repeated_until_it_is_answered() {
    let mut bench = Bench::new();
    let wire = bench.login(2, "ada");
    bench.command(2, "1", watch(&["bob", "eve"]));
    let bob = bench.user_request();
    bench.reply(Role::Presence, bob.request, refused(Code::Unavailable));
    let eve = bench.user_request();
    bench.reply(Role::Presence, eve.request, is_away("eve"));
    check(&wire, &["ack 1"]);
    bench.no_packet();
    // As part of the command, and asked for anew.
    for _ in 0..2 {
        bench.wait(1_100);
        let again = bench.user_request();
        assert_eq!(again.user, "bob");
        bench.no_packet();
        bench.reply(Role::Presence, again.request, refused(Code::Unavailable));
    }
    bench.wait(1_100);
    let again = bench.user_request();
    bench.reply(Role::Presence, again.request, is_away("bob"));
    assert_eq!(wire.got().len(), 1, "told as a signal");
    bench.wait(2_000);
    bench.no_packet();
}

#[test]
fn users_and_watches_of_a_presence_shard_that_moved_are_announced_to_its_new_owner() {
    let mut bench = Bench::new();
    let _ada = bench.login(2, "ada");
    bench.command(2, "w", watch(&["bob"]));
    let number = bench.user_request().request;
    let nobody = acked(ack::Result::Presence(v1::PresenceList::default()));
    bench.reply(Role::Presence, number, nobody);
    let moved = other(Role::Presence);
    bench.own(owned(Some(rooms()), 1, Some(moved.clone()), 2));
    match bench.packet_to() {
        (to, Packet::SessionOpened(opened)) => {
            assert_eq!(to, moved);
            assert_eq!(opened.caller.unwrap().session, 2);
        }
        unexpected => panic!("{unexpected:?}"),
    }
    match bench.packet_to() {
        (to, Packet::UserRequest(request)) => {
            assert_eq!((to, request.user.as_str()), (moved.clone(), "bob"));
            assert!(matches!(
                request.command,
                Some(user_request::Command::Watch(_))
            ));
        }
        unexpected => panic!("{unexpected:?}"),
    }
    bench.no_packet();
    bench.give(Input::Gone {
        session: SessionId(2),
    });
    assert!(matches!(bench.packet_to(), (to, Packet::SessionClosed(_)) if to == moved));
}

/// An owner takes for told what it answers. When the answer to an earlier try counted, the newest
/// was dropped, and with it what had changed in between: it was never told.
#[test]
fn watch_and_status_asked_again_are_answered_by_the_newest_try() {
    let mut bench = Bench::new();
    let ada = bench.login(2, "ada");
    bench.command(2, "w", watch(&["bob"]));
    let status = v1::SetPresence {
        status: Status::Away.into(),
    };
    bench.command(2, "s", Command::SetPresence(status));
    let earlier = [bench.user_request(), bench.user_request()];
    bench.link(Role::Presence, vec![LinkPacket::Lost]);
    let newest = [bench.user_request(), bench.user_request()];
    let done = || acked(ack::Result::Done(v1::Done {}));
    bench.reply(Role::Presence, earlier[0].request, is_away("bob"));
    bench.reply(Role::Presence, earlier[1].request, done());
    check(&ada, &[]);
    for request in newest {
        let answer = if request.user == "bob" {
            is_away("bob")
        } else {
            done()
        };
        bench.reply(Role::Presence, request.request, answer);
    }
    check(&ada, &["ack s", "ack w"]);
}

/// The new owner had told the state; what the former one, which did not know that it was none any
/// more, said after that stayed for good.
#[test]
fn how_a_user_is_counts_only_from_who_owns_it() {
    let mut bench = Bench::new();
    let ada = bench.login(2, "ada");
    let told_by = |bench: &mut Bench, from: EndpointId| {
        let signal = v1::Signal {
            room: String::new(),
            body: Some(v1::signal::Body::Presence(away("bob"))),
        };
        let delivery = Delivery {
            sessions: vec![SessionId(2)],
            frame: SharedFrame::new(Body::Signal, signal.encode_to_vec().into()),
            left_room: None,
            told_of: Some(Shard::of("bob")),
        };
        bench.link_from(from, vec![LinkPacket::Delivery(Arc::new(delivery))]);
    };
    told_by(&mut bench, node(Role::Presence));
    assert_eq!(ada.got().len(), 1);
    let moved = other(Role::Presence);
    bench.own(owned(Some(rooms()), 1, Some(moved.clone()), 2));
    told_by(&mut bench, node(Role::Presence));
    assert_eq!(ada.got().len(), 0, "not the owner any more");
    told_by(&mut bench, moved);
    assert_eq!(ada.got().len(), 1);
}
