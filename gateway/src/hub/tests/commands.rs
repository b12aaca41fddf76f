use rookery_cluster::Role;
use rookery_proto::{
    errors::Code,
    link::{self, packet::Body as Packet, room_request, user_request},
    v1::{self, ack, client_frame::Command, presence::Status, server_frame::Frame},
};

use super::fakes::*;
use crate::limits::SESSION_REQUESTS_MAX;

fn done() -> link::reply::Result {
    acked(ack::Result::Done(v1::Done {}))
}

#[test]
fn command_goes_to_the_owner_with_the_callers_grant_and_its_answer_comes_back() {
    let mut bench = Bench::new();
    let wire = bench.login(2, "ada");
    bench.command(2, "7", send("general", "hi"));
    let request = bench.room_request();
    let caller = request.caller.unwrap();
    assert_eq!(
        (caller.session, caller.user.as_str(), caller.name.as_str()),
        (2, "ada", "ADA")
    );
    assert_eq!((caller.lane, caller.grant()), (3, link::Grant::Write));
    assert!(
        matches!(request.command, Some(room_request::Command::Send(send)) if send.text == "hi")
    );
    bench.reply(Role::Rooms, request.request, done());
    check(&wire, &["ack 7"]);
    bench.reply(Role::Rooms, request.request, done());
    check(&wire, &[]);
    bench.command(2, "8", send("general", "hi"));
    let request = bench.room_request().request;
    bench.reply(Role::Rooms, request, refused(Code::NotMember));
    check(&wire, &["error 8 NOT_MEMBER"]);
}

#[test]
fn command_with_a_bad_room_or_a_large_text_is_refused_here() {
    let mut bench = Bench::new();
    let wire = bench.login(2, "ada");
    bench.command(2, "1", send("a b", "hi"));
    bench.command(2, "2", join(""));
    bench.command(2, "3", send("general", &"x".repeat(16_385)));
    let expected = [
        "error 1 INVALID send.room",
        "error 2 INVALID join.room",
        "error 3 TOO_LARGE send.text",
    ];
    check(&wire, &expected);
    bench.no_packet();
}

#[test]
fn request_without_reply_is_unavailable_after_its_deadline() {
    let mut bench = Bench::new();
    let wire = bench.login(2, "ada");
    bench.command(2, "1", send("general", "hi"));
    wire.hear(9_000);
    bench.wait(9_950);
    assert!(wire.got().iter().all(|got| *got == Got::Ping));
    bench.wait(100);
    let got = wire.got();
    let error = got.iter().find_map(|got| match got {
        Got::Frame(Frame::Error(error)) => Some(error),
        _ => None,
    });
    let error = error.expect("an error");
    assert_eq!(
        (error.code(), error.retry_after_ms),
        (Code::Unavailable, 1_000)
    );
}

#[test]
fn full_link_is_overloaded_with_a_hint() {
    let mut bench = Bench::new();
    let wire = bench.login(2, "ada");
    bench.uplink.refuses.set(true);
    bench.command(2, "1", send("general", "hi"));
    let got = wire.got();
    assert!(
        matches!(&got[..], [Got::Frame(Frame::Error(error))]
            if error.code() == Code::Overloaded && error.retry_after_ms > 0),
        "{got:?}"
    );
}

#[test]
fn session_with_too_many_requests_waiting_is_overloaded() {
    let mut bench = Bench::with(|config| config.commands_burst = 10_000);
    let wire = bench.login(2, "ada");
    for _ in 0..SESSION_REQUESTS_MAX {
        bench.command(2, "1", send("general", "hi"));
    }
    check(&wire, &[]);
    bench.command(2, "2", send("general", "hi"));
    check(&wire, &["error 2 OVERLOADED"]);
    let request = bench.room_request().request;
    bench.reply(Role::Rooms, request, done());
    bench.command(2, "3", send("general", "hi"));
    check(&wire, &["ack 1"]);
}

#[test]
fn request_to_a_node_that_is_not_the_owner_is_asked_again() {
    let mut bench = Bench::new();
    let wire = bench.login(2, "ada");
    bench.command(2, "1", send("general", "hi"));
    let request = bench.room_request();
    let not_owner = link::reply::Result::NotOwner(link::NotOwner::default());
    bench.reply(Role::Rooms, request.request, not_owner);
    bench.no_packet();
    bench.wait(100);
    let again = bench.room_request();
    assert_eq!(again.command, request.command);
    bench.reply(Role::Rooms, again.request, done());
    check(&wire, &["ack 1"]);
}

#[test]
fn request_without_an_owner_waits_for_one() {
    let mut bench = Bench::new();
    let wire = bench.login(2, "ada");
    bench.own_rooms(None, 0);
    bench.command(2, "1", send("general", "hi"));
    bench.wait(500);
    bench.no_packet();
    bench.own_rooms(Some(node(Role::Rooms)), 1);
    let request = bench.room_request().request;
    bench.reply(Role::Rooms, request, done());
    check(&wire, &["ack 1"]);
}

#[test]
fn rooms_are_listed_with_what_each_owner_says() {
    let mut bench = Bench::new();
    let wire = bench.login(2, "ada");
    bench.command(2, "1", Command::Rooms(v1::Rooms::default()));
    let request = bench.user_request();
    assert_eq!(request.user, "ada");
    let room = |id: &str, unread| v1::RoomSummary {
        room: Some(v1::Room {
            id: id.to_owned(),
            ..v1::Room::default()
        }),
        unread,
        ..v1::RoomSummary::default()
    };
    let page = |rooms| {
        acked(ack::Result::Rooms(v1::RoomPage {
            rooms,
            next: String::new(),
        }))
    };
    let list = page(vec![room("a", 0), room("b", 0), room("c", 0)]);
    bench.reply(Role::Presence, request.request, list);
    let asked: Vec<_> = (0..3).map(|_| bench.room_request()).collect();
    assert_eq!(
        asked
            .iter()
            .map(|ask| ask.room.as_str())
            .collect::<Vec<_>>(),
        ["a", "b", "c"]
    );
    bench.reply(Role::Rooms, asked[2].request, page(vec![room("c", 3)]));
    bench.reply(Role::Rooms, asked[0].request, page(vec![room("a", 1)]));
    check(&wire, &[]);
    bench.wait(4_100);
    let got = wire.got();
    let [
        Got::Frame(Frame::Ack(v1::Ack {
            id,
            result: Some(ack::Result::Rooms(page)),
        })),
    ] = &got[..]
    else {
        panic!("{got:?}");
    };
    assert_eq!(id, "1");
    let told: Vec<_> = page
        .rooms
        .iter()
        .map(|room| (room.unread, room.unavailable))
        .collect();
    assert_eq!(told, [(1, false), (0, true), (3, false)]);
}

#[test]
fn no_rooms_are_an_empty_list() {
    let mut bench = Bench::new();
    let wire = bench.login(2, "ada");
    bench.command(2, "1", Command::Rooms(v1::Rooms::default()));
    let request = bench.user_request().request;
    bench.reply(
        Role::Presence,
        request,
        acked(ack::Result::Rooms(v1::RoomPage::default())),
    );
    check(&wire, &["ack 1"]);
}

fn watch(users: &[&str]) -> Command {
    Command::WatchPresence(v1::WatchPresence {
        users: users.iter().map(|&user| user.to_owned()).collect(),
    })
}

#[test]
fn watched_users_are_asked_for_once_each_and_told_together() {
    let mut bench = Bench::with(|config| config.watched_users_max = 2);
    let wire = bench.login(2, "ada");
    bench.command(2, "1", watch(&["bob", "eve", "bob"]));
    for user in ["bob", "eve"] {
        let request = bench.user_request();
        assert_eq!(request.user, user);
        assert!(matches!(
            request.command,
            Some(user_request::Command::Watch(_))
        ));
        let users = vec![v1::Presence {
            user: user.to_owned(),
            status: Status::Away.into(),
            last_seen_ms: 0,
        }];
        let answer = acked(ack::Result::Presence(v1::PresenceList { users }));
        bench.reply(Role::Presence, request.request, answer);
    }
    check(&wire, &["ack 1"]);
    bench.command(2, "2", watch(&["bob", "zoe"]));
    check(&wire, &["error 2 LIMIT_REACHED watchPresence.users"]);
    bench.command(2, "3", watch(&["\u{7}"]));
    check(&wire, &["error 3 INVALID watchPresence.users"]);
    let users = vec!["eve".to_owned(), "zoe".to_owned()];
    bench.command(
        2,
        "4",
        Command::UnwatchPresence(v1::UnwatchPresence { users }),
    );
    let request = bench.user_request();
    assert_eq!(request.user, "eve");
    bench.no_packet();
    bench.reply(Role::Presence, request.request, done());
    check(&wire, &["ack 4"]);
    bench.give(crate::hub::Input::Gone {
        session: rookery_proto::ids::SessionId(2),
    });
    assert!(matches!(bench.packet(), Packet::SessionClosed(closed) if closed.watched == ["bob"]));
}

#[test]
fn watch_nobody_answers_is_unavailable() {
    let mut bench = Bench::new();
    let wire = bench.login(2, "ada");
    bench.command(2, "1", watch(&["bob"]));
    wire.hear(9_000);
    bench.wait(10_100);
    let words: Vec<_> = wire.got().iter().map(Got::words).collect();
    assert!(
        words.contains(&"error 1 UNAVAILABLE".to_owned()),
        "{words:?}"
    );
}

#[test]
fn rooms_of_a_session_are_bounded() {
    let mut bench = Bench::with(|config| config.rooms_per_session_max = 2);
    let wire = bench.login(2, "ada");
    bench.join(2, "a", 1, 0);
    bench.command(2, "1", join("b"));
    bench.command(2, "2", join("c"));
    bench.command(2, "3", join("a"));
    check(&wire, &["ack j", "error 2 LIMIT_REACHED join.room"]);
    assert_eq!(bench.room_request().room, "b");
    assert_eq!(bench.room_request().room, "a");
}
