//! Shards change owners, links lose and nodes fall silent, while sessions listen and ask.

use rookery_cluster::{EndpointId, Role};
use rookery_proto::{
    errors::Code,
    ids::Offset,
    link::{self, RoomResync, packet::Body as Packet, room_request},
    v1::{self, ack, client_frame::Command, server_frame::Frame},
};

use super::fakes::*;
use crate::{
    hub::input::{LinkPacket, Resynced},
    limits::{DOUBT_GRACE, RESYNC_SESSIONS_MAX},
};

/// How long a lost owner's answer is waited for.
#[expect(clippy::cast_possible_truncation, reason = "a second")]
const GRACE_MS: u64 = DOUBT_GRACE.as_millis() as u64;

fn named(text: &str) -> Command {
    Command::Send(v1::Send {
        room: "r".into(),
        text: text.into(),
        client_id: text.into(),
    })
}

fn edit(target: u64) -> Command {
    Command::Edit(v1::Edit {
        room: "r".into(),
        target,
        text: "new".into(),
    })
}

fn appended(offset: u64) -> link::reply::Result {
    acked(ack::Result::Appended(v1::Appended {
        room: "r".into(),
        offset,
        ..v1::Appended::default()
    }))
}

fn not_owner(owner: &str) -> link::reply::Result {
    link::reply::Result::NotOwner(link::NotOwner {
        epoch: 9,
        owner: owner.to_owned(),
    })
}

/// What was asked of rooms since: to whom, what, under which number.
fn asked(bench: &mut Bench) -> Vec<(EndpointId, String, u64)> {
    let packets: Vec<_> = bench.uplink.packets.borrow_mut().drain(..).collect();
    let asks = packets.into_iter().filter_map(|(to, packet)| match packet {
        Packet::RoomRequest(request) => {
            let what = match request.command.unwrap() {
                room_request::Command::Send(send) => send.text,
                room_request::Command::Edit(edit) => format!("edit {}", edit.target),
                room_request::Command::Join(_) => "join".to_owned(),
                room_request::Command::Leave(_) => "leave".to_owned(),
                other => format!("{other:?}"),
            };
            Some((to, what, request.request))
        }
        _ => None,
    });
    asks.collect()
}

fn check_asked(bench: &mut Bench, to: &EndpointId, expected: &[&str]) -> Vec<u64> {
    let asked = asked(bench);
    let what: Vec<_> = asked.iter().map(|(_, what, _)| what.as_str()).collect();
    assert_eq!(what, expected);
    assert!(asked.iter().all(|(node, ..)| node == to), "{asked:?}");
    asked.into_iter().map(|(.., number)| number).collect()
}

fn resync_to(bench: &mut Bench, to: &EndpointId) -> RoomResync {
    match bench.packet_to() {
        (node, Packet::RoomResync(resync)) if node == *to => resync,
        unexpected => panic!("{unexpected:?}"),
    }
}

fn rooms() -> EndpointId {
    node(Role::Rooms)
}

fn new_rooms() -> EndpointId {
    other(Role::Rooms)
}

#[test]
fn room_of_a_shard_that_moved_is_fetched_from_its_new_owner() {
    let mut bench = Bench::new();
    let ada = bench.login(1, "ada");
    bench.join(1, "r", 1, 4);
    bench.own_rooms(Some(new_rooms()), 2);
    let asked = resync_to(&mut bench, &new_rooms());
    assert_eq!((asked.after_offset, asked.sessions.len()), (4, 1));
    // What the old owner still had to say is part of the log until the new one answers.
    bench.link_from(rooms(), vec![event("r", 1, 5)]);
    bench.link_from(new_rooms(), vec![resynced(&asked, 2, 6)]);
    bench.link_from(rooms(), vec![event("r", 1, 7)]);
    bench.link_from(new_rooms(), vec![event("r", 2, 7)]);
    check(&ada, &["ack j", "event 5", "event 6", "event 7"]);
    bench.wait(5_000);
    bench.no_packet();
}

#[test]
fn owner_that_took_its_shard_again_is_asked_too() {
    let mut bench = Bench::new();
    bench.login(1, "ada");
    bench.join(1, "r", 1, 4);
    bench.own_rooms(Some(rooms()), 2);
    resync_to(&mut bench, &rooms());
}

#[test]
fn room_without_an_owner_is_fetched_once_there_is_one() {
    let mut bench = Bench::new();
    let ada = bench.login(1, "ada");
    bench.join(1, "r", 1, 4);
    bench.own_rooms(None, 0);
    bench.wait(10_000);
    bench.no_packet();
    bench.own_rooms(Some(new_rooms()), 2);
    let asked = resync_to(&mut bench, &new_rooms());
    bench.link_from(new_rooms(), vec![resynced(&asked, 2, 5)]);
    ada.hear(10_000);
    let events: Vec<_> = ada.got().iter().map(Got::words).collect();
    assert!(events.contains(&"event 5".to_owned()), "{events:?}");
}

#[test]
fn resync_answered_by_who_is_not_the_owner_is_repeated_with_pauses() {
    let mut bench = Bench::new();
    let ada = bench.login(1, "ada");
    bench.join(1, "r", 1, 4);
    bench.own_rooms(Some(new_rooms()), 2);
    for pause in [350, 650, 1_250, 2_050, 2_050] {
        let asked = resync_to(&mut bench, &new_rooms());
        let refusal = Resynced {
            room: "r".into(),
            epoch: 0,
            head: 0,
            reset: true,
            events: Vec::new(),
            number: asked.number,
        };
        bench.link_from(new_rooms(), vec![LinkPacket::Resynced(refusal.into())]);
        bench.wait(pause);
    }
    let asked = resync_to(&mut bench, &new_rooms());
    bench.link_from(new_rooms(), vec![resynced(&asked, 2, 4)]);
    ada.hear(bench.now);
    bench.wait(5_000);
    bench.no_packet();
    let words: Vec<_> = ada.got().iter().map(Got::words).collect();
    assert!(
        !words.contains(&"notice resumeRoom".to_owned()),
        "{words:?}"
    );
}

#[test]
fn resync_of_many_sessions_comes_in_parts() {
    let mut bench = Bench::new();
    let count = RESYNC_SESSIONS_MAX as u64 + 1;
    for session in 1..=count {
        bench.login(session, "ada");
        bench.join(session, "r", 1, 4);
    }
    bench.own_rooms(Some(new_rooms()), 2);
    let (whole, rest) = (
        resync_to(&mut bench, &new_rooms()),
        resync_to(&mut bench, &new_rooms()),
    );
    assert!(!whole.adds && rest.adds);
    assert_eq!(whole.sessions.len() + rest.sessions.len(), count as usize);
    bench.no_packet();
}

#[test]
fn send_in_flight_at_a_lost_owner_is_asked_of_the_new_one_and_answered_once() {
    for old_answers in [false, true] {
        let mut bench = Bench::new();
        let ada = bench.login(2, "ada");
        bench.command(2, "1", named("one"));
        let old = check_asked(&mut bench, &rooms(), &["one"])[0];
        bench.own_rooms(None, 0);
        bench.no_packet();
        bench.own_rooms(Some(new_rooms()), 2);
        let new = check_asked(&mut bench, &new_rooms(), &["one"])[0];
        assert_ne!(old, new);
        // A refusal of the first try says nothing about the second.
        let refusal = refused(Code::Unavailable);
        bench.link_from(
            rooms(),
            vec![reply(old, refusal), reply(old, not_owner(""))],
        );
        check(&ada, &[]);
        let answer = reply(if old_answers { old } else { new }, appended(7));
        bench.link_from(new_rooms(), vec![answer, reply(new, appended(7))]);
        check(&ada, &["ack 1"]);
    }
}

#[test]
fn edit_in_flight_at_a_lost_owner_is_unavailable_soon_unless_it_answers() {
    for answers in [false, true] {
        let mut bench = Bench::new();
        let ada = bench.login(2, "ada");
        bench.command(2, "1", edit(3));
        let number = check_asked(&mut bench, &rooms(), &["edit 3"])[0];
        bench.own_rooms(Some(new_rooms()), 2);
        bench.wait(GRACE_MS - 50);
        bench.no_packet();
        check(&ada, &[]);
        if answers {
            bench.link_from(rooms(), vec![reply(number, appended(9))]);
            check(&ada, &["ack 1"]);
            bench.wait(100);
            check(&ada, &[]);
            continue;
        }
        bench.wait(100);
        let got = ada.got();
        assert!(
            matches!(&got[..], [Got::Frame(Frame::Error(error))]
                if error.code() == Code::Unavailable && error.retry_after_ms > 0),
            "{got:?}"
        );
        bench.link_from(rooms(), vec![reply(number, appended(9))]);
        check(&ada, &[]);
        bench.no_packet();
    }
}

#[test]
fn refused_request_is_asked_of_who_is_named_and_so_are_the_next() {
    let mut bench = Bench::new();
    let ada = bench.login(2, "ada");
    bench.command(2, "1", edit(3));
    let first = check_asked(&mut bench, &rooms(), &["edit 3"])[0];
    let named_owner = not_owner(new_rooms().as_str());
    bench.link_from(rooms(), vec![reply(first, named_owner)]);
    let again = check_asked(&mut bench, &new_rooms(), &["edit 3"])[0];
    bench.command(2, "2", named("next"));
    check_asked(&mut bench, &new_rooms(), &["next"]);
    // A refusal of the first try that comes twice means nothing.
    bench.link_from(rooms(), vec![reply(first, not_owner(""))]);
    bench.no_packet();
    bench.link_from(new_rooms(), vec![reply(again, appended(9))]);
    check(&ada, &["ack 1"]);
}

#[test]
fn request_nobody_wants_is_asked_with_growing_pauses_until_its_deadline() {
    let mut bench = Bench::new();
    let ada = bench.login(2, "ada");
    bench.command(2, "1", named("one"));
    let mut tries = 0;
    while bench.now < 10_000 {
        for (from, _, number) in asked(&mut bench) {
            tries += 1;
            bench.link_from(from, vec![reply(number, not_owner(""))]);
        }
        ada.hear(bench.now);
        bench.wait(50);
    }
    bench.wait(100);
    assert!((20..40).contains(&tries), "{tries}");
    let words: Vec<_> = ada.got().iter().map(Got::words).collect();
    assert!(words.contains(&"error 1 UNAVAILABLE".to_owned()));
    assert_eq!(bench.worker.hold_count(), 0);
}

#[test]
fn later_command_of_a_session_waits_for_one_in_doubt_and_others_do_not() {
    let mut bench = Bench::new();
    let (ada, bob) = (bench.login(2, "ada"), bench.login(4, "bob"));
    bench.command(2, "1", edit(3));
    bench.command(2, "2", named("two"));
    bench.command(4, "1", named("bob's"));
    check_asked(&mut bench, &rooms(), &["edit 3", "two", "bob's"]);
    bench.own_rooms(Some(new_rooms()), 2);
    let number = check_asked(&mut bench, &new_rooms(), &["bob's"])[0];
    bench.command(2, "3", named("three"));
    bench.command(4, "2", named("bob's next"));
    check_asked(&mut bench, &new_rooms(), &["bob's next"]);
    bench.link_from(new_rooms(), vec![reply(number, appended(9))]);
    check(&bob, &["ack 1"]);
    bench.wait(GRACE_MS + 100);
    check(&ada, &["error 1 UNAVAILABLE"]);
    check_asked(&mut bench, &new_rooms(), &["two", "three"]);
}

#[test]
fn requests_behind_a_refused_one_keep_their_order() {
    let mut bench = Bench::new();
    bench.login(2, "ada");
    bench.command(2, "1", named("one"));
    bench.command(2, "2", edit(3));
    bench.command(2, "3", named("three"));
    let numbers = check_asked(&mut bench, &rooms(), &["one", "edit 3", "three"]);
    bench.link_from(rooms(), vec![reply(numbers[0], not_owner(""))]);
    bench.no_packet();
    bench.command(2, "4", named("four"));
    bench.no_packet();
    bench.own_rooms(Some(new_rooms()), 2);
    // Whether the old owner took the edit is not known before it says so.
    check_asked(&mut bench, &new_rooms(), &["one"]);
    bench.link_from(rooms(), vec![reply(numbers[1], not_owner(""))]);
    check_asked(&mut bench, &new_rooms(), &["edit 3", "three", "four"]);
    assert_eq!(bench.worker.hold_count(), 0);
}

#[test]
fn link_that_lost_something_is_asked_again_in_order_behind_the_resync() {
    let mut bench = Bench::new();
    let ada = bench.login(2, "ada");
    bench.join(2, "r", 1, 4);
    bench.command(2, "1", named("one"));
    bench.command(2, "2", named("two"));
    check_asked(&mut bench, &rooms(), &["one", "two"]);
    bench.link(Role::Rooms, vec![LinkPacket::Lost]);
    resync_to(&mut bench, &rooms());
    let numbers = check_asked(&mut bench, &rooms(), &["one", "two"]);
    for number in numbers {
        bench.reply(Role::Rooms, number, appended(9));
    }
    check(&ada, &["ack j", "ack 1", "ack 2"]);
}

#[test]
fn silent_node_leaves_no_edit_waiting_for_its_deadline() {
    let mut bench = Bench::new();
    let ada = bench.login(2, "ada");
    bench.command(2, "1", edit(3));
    bench.link(Role::Rooms, vec![LinkPacket::Silent]);
    bench.wait(GRACE_MS + 100);
    check(&ada, &["error 1 UNAVAILABLE"]);
}

#[test]
fn leave_that_was_done_by_a_try_whose_answer_was_lost_is_done() {
    let mut bench = Bench::new();
    let ada = bench.login(2, "ada");
    bench.join(2, "r", 1, 4);
    let leave = || {
        Command::Leave(v1::Leave {
            room: "r".into(),
            session_only: false,
        })
    };
    bench.command(2, "1", leave());
    check_asked(&mut bench, &rooms(), &["leave"]);
    bench.own_rooms(Some(new_rooms()), 2);
    let again = check_asked(&mut bench, &new_rooms(), &["leave"])[0];
    bench.link_from(new_rooms(), vec![reply(again, refused(Code::NotMember))]);
    check(&ada, &["ack j", "ack 1"]);
    bench.link_from(new_rooms(), vec![event("r", 2, 5)]);
    check(&ada, &[]);
    bench.command(2, "2", leave());
    let number = check_asked(&mut bench, &new_rooms(), &["leave"])[0];
    bench.link_from(new_rooms(), vec![reply(number, refused(Code::NotMember))]);
    check(&ada, &["error 2 NOT_MEMBER"]);
}

#[test]
fn join_under_way_is_asked_of_the_new_owner_whose_answer_counts() {
    let mut bench = Bench::new();
    let ada = bench.login(2, "ada");
    bench.command(2, "j", join("r"));
    let old = check_asked(&mut bench, &rooms(), &["join"])[0];
    bench.own_rooms(Some(new_rooms()), 2);
    let new = check_asked(&mut bench, &new_rooms(), &["join"])[0];
    bench.link_from(rooms(), vec![reply(old, joined("r", 1, 4))]);
    check(&ada, &[]);
    bench.link_from(new_rooms(), vec![reply(new, joined("r", 2, 4))]);
    check(&ada, &["ack j"]);
    bench.no_packet();
}

#[test]
fn join_answered_by_an_owner_that_was_one_before_is_announced_to_who_is_now() {
    let mut bench = Bench::new();
    let ada = bench.login(2, "ada");
    bench.command(2, "j", join("r"));
    let number = check_asked(&mut bench, &rooms(), &["join"])[0];
    bench.own_rooms(None, 0);
    bench.link_from(rooms(), vec![reply(number, joined("r", 1, 4))]);
    check(&ada, &["ack j"]);
    bench.own_rooms(Some(new_rooms()), 2);
    let asked = resync_to(&mut bench, &new_rooms());
    assert_eq!(Offset(asked.after_offset), Offset(4));
}
