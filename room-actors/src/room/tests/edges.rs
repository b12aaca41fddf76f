//! Edges of the machine, one by one.

use rookery_proto::{
    errors::Code,
    limits::TEXT_BYTES_MAX,
    link::{Grant, room_request::Command},
    v1::{self, ack, notice, room::Kind, signal},
};
use tokio::time::Duration;

use super::sim::{Answer, Sim, create, gateway, user_name};
use crate::{
    limits::{EMOJI_PER_MESSAGE_MAX, IN_FLIGHT_EVENTS_MAX, Memory, RoomLimits},
    request::unavailable,
    room::effects::Effects,
};

fn sim() -> Sim {
    Sim::new(Memory::default())
}

/// A private group of users 0 (owner) and 1.
fn group() -> Sim {
    let mut sim = sim();
    run(&mut sim, 0, create(Kind::Group, &[1], false)).unwrap();
    sim
}

fn channel() -> Sim {
    let mut sim = sim();
    sim.run(
        Sim::who(0, 0, Grant::Admin),
        create(Kind::Channel, &[], false),
    )
    .unwrap();
    sim
}

fn run(sim: &mut Sim, user: usize, command: Command) -> Answer {
    sim.run(Sim::who(user, user as u64, Grant::None), command)
}

fn send(text: &str, client_id: &str) -> Command {
    Command::Send(v1::Send {
        room: "r".into(),
        text: text.into(),
        client_id: client_id.into(),
    })
}

fn edit(target: u64, text: &str) -> Command {
    Command::Edit(v1::Edit {
        room: "r".into(),
        target,
        text: text.into(),
    })
}

fn delete(target: u64) -> Command {
    Command::Delete(v1::Delete {
        room: "r".into(),
        target,
    })
}

fn react(target: u64, emoji: &str) -> Command {
    Command::React(v1::React {
        room: "r".into(),
        target,
        emoji: emoji.into(),
    })
}

fn leave(session_only: bool) -> Command {
    Command::Leave(v1::Leave {
        room: "r".into(),
        session_only,
    })
}

fn join(from: Option<v1::join::From>) -> Command {
    Command::Join(v1::Join {
        room: "r".into(),
        from,
    })
}

fn history(limit: u32) -> Command {
    Command::History(v1::History {
        room: "r".into(),
        limit,
        from: None,
    })
}

fn mark_read(offset: u64) -> Command {
    Command::MarkRead(v1::MarkRead {
        room: "r".into(),
        offset,
    })
}

fn offset(answer: Answer) -> u64 {
    match answer {
        Ok(ack::Result::Appended(appended)) => appended.offset,
        other => panic!("not appended: {other:?}"),
    }
}

fn joined(answer: Answer) -> v1::Joined {
    match answer {
        Ok(ack::Result::Joined(joined)) => joined,
        other => panic!("not joined: {other:?}"),
    }
}

fn check_refused(answer: Answer, code: Code, field: &str) {
    let error = answer.expect_err("must be refused");
    assert_eq!(
        (error.code, error.field.unwrap_or_default()),
        (code, field),
        "{error:?}"
    );
}

#[test]
fn wrong_fields_are_named() {
    let mut sim = group();
    let message = offset(run(&mut sim, 0, send("hello", "")));
    let long = "x".repeat(TEXT_BYTES_MAX + 1);
    let id = "i".repeat(65);
    for (command, code, field) in [
        (send("", ""), Code::Invalid, "send.text"),
        (send(" \n\t", ""), Code::Invalid, "send.text"),
        (send(&long, ""), Code::TooLarge, "send.text"),
        (send("x", &id), Code::Invalid, "send.clientId"),
        (edit(message, ""), Code::Invalid, "edit.text"),
        (edit(99, "x"), Code::NotFound, "edit.target"),
        (edit(0, "x"), Code::NotFound, "edit.target"),
        (edit(1, "x"), Code::Invalid, "edit.target"),
        (delete(1), Code::Invalid, "delete.target"),
        (react(message, ""), Code::Invalid, "react.emoji"),
        (react(message, "a b"), Code::Invalid, "react.emoji"),
        (react(99, "x"), Code::NotFound, "react.target"),
        (mark_read(99), Code::Invalid, "markRead.offset"),
        (history(201), Code::Invalid, "history.limit"),
        (
            join(Some(v1::join::From::Last(201))),
            Code::Invalid,
            "join.last",
        ),
    ] {
        check_refused(run(&mut sim, 0, command), code, field);
    }
    assert_eq!(sim.state.head().0, 2, "nothing was written");
}

#[test]
fn unknown_room_is_not_found_and_private_room_not_open() {
    let mut sim = sim();
    check_refused(run(&mut sim, 0, join(None)), Code::NotFound, "join.room");
    check_refused(run(&mut sim, 0, send("x", "")), Code::NotFound, "send.room");
    let mut sim = group();
    check_refused(run(&mut sim, 2, join(None)), Code::NotMember, "join.room");
    check_refused(
        run(&mut sim, 2, history(1)),
        Code::NotMember,
        "history.room",
    );
    check_refused(
        run(&mut sim, 2, send("x", "")),
        Code::NotMember,
        "send.room",
    );
}

#[test]
fn wrong_create_is_refused_by_field() {
    let mut sim = sim();
    let wrong = |change: &dyn Fn(&mut v1::CreateRoom)| {
        let Command::CreateRoom(mut wanted) = create(Kind::Group, &[], false) else {
            unreachable!()
        };
        change(&mut wanted);
        Command::CreateRoom(wanted)
    };
    for (command, field) in [
        (wrong(&|wanted| wanted.kind = 0), "createRoom.kind"),
        (
            wrong(&|wanted| wanted.name = "x".repeat(129)),
            "createRoom.name",
        ),
        (
            wrong(&|wanted| wanted.name = "a\nb".into()),
            "createRoom.name",
        ),
        (
            wrong(&|wanted| wanted.client_id = "x".repeat(65)),
            "createRoom.clientId",
        ),
        (
            wrong(&|wanted| wanted.members = vec![String::new()]),
            "createRoom.members",
        ),
        (
            wrong(&|wanted| wanted.members = vec!["u".into(); 257]),
            "createRoom.members",
        ),
        (create(Kind::Direct, &[], false), "createRoom.members"),
        (create(Kind::Direct, &[0], false), "createRoom.members"),
        (create(Kind::Direct, &[1, 2], false), "createRoom.members"),
        (create(Kind::Channel, &[1], false), "createRoom.members"),
    ] {
        check_refused(run(&mut sim, 0, command), Code::Invalid, field);
    }
    check_refused(
        sim.run(
            Sim::who(0, 0, Grant::Read),
            create(Kind::Channel, &[], false),
        ),
        Code::Forbidden,
        "createRoom.room",
    );
}

#[test]
fn repeated_create_returns_the_room_and_another_conflicts() {
    for passivate in [false, true] {
        let mut sim = group();
        if passivate {
            sim.passivate();
        }
        assert!(run(&mut sim, 0, create(Kind::Group, &[1], false)).is_ok());
        for other in [
            create(Kind::Group, &[1, 2], false),
            create(Kind::Group, &[1], true),
            create(Kind::Direct, &[1], false),
        ] {
            check_refused(run(&mut sim, 0, other), Code::Conflict, "createRoom.room");
        }
        check_refused(
            run(&mut sim, 1, create(Kind::Group, &[1], false)),
            Code::Conflict,
            "createRoom.room",
        );
        assert_eq!(sim.state.head().0, 1);
    }
}

#[test]
fn create_repeated_in_flight_is_answered_when_it_commits() {
    let mut sim = sim();
    let first = sim.apply(
        Sim::who(0, 0, Grant::None),
        create(Kind::Group, &[1], false),
    );
    let again = sim.apply(
        Sim::who(0, 0, Grant::None),
        create(Kind::Group, &[1], false),
    );
    assert!(sim.answers.is_empty());
    sim.commit_all();
    assert_eq!(sim.answers.remove(&first), sim.answers.remove(&again));
    assert_eq!(sim.state.head().0, 1);
    let told: Vec<_> = sim.notices.iter().map(|(user, _)| user.clone()).collect();
    assert_eq!(told, [user_name(0), user_name(1)]);
}

#[test]
fn direct_room_is_found_again_by_both_and_not_left() {
    let mut sim = sim();
    run(&mut sim, 0, create(Kind::Direct, &[1], false)).unwrap();
    let Ok(ack::Result::RoomCreated(found)) = run(&mut sim, 1, create(Kind::Direct, &[0], false))
    else {
        panic!("the other finds it, too");
    };
    assert_eq!(
        found.room.unwrap().direct_users,
        [user_name(0), user_name(1)]
    );
    check_refused(
        run(&mut sim, 2, create(Kind::Direct, &[0], false)),
        Code::Conflict,
        "createRoom.room",
    );
    check_refused(
        run(&mut sim, 1, leave(false)),
        Code::Invalid,
        "leave.sessionOnly",
    );
    assert!(run(&mut sim, 1, leave(true)).is_ok());
}

#[test]
fn channel_obeys_the_grant() {
    let mut sim = channel();
    for (grant, may_join, may_send) in [
        (Grant::None, false, false),
        (Grant::Read, true, false),
        (Grant::Write, true, true),
        (Grant::Admin, true, true),
    ] {
        assert_eq!(
            sim.run(Sim::who(2, 2, grant), join(None)).is_ok(),
            may_join,
            "{grant:?}"
        );
        assert_eq!(
            sim.run(Sim::who(2, 2, grant), send("x", "")).is_ok(),
            may_send,
            "{grant:?}"
        );
    }
    let message = sim.state.head().0;
    check_refused(
        sim.run(Sim::who(3, 3, Grant::Write), delete(message)),
        Code::Forbidden,
        "delete.target",
    );
    assert!(
        sim.run(Sim::who(3, 3, Grant::Admin), delete(message))
            .is_ok()
    );
}

#[test]
fn same_client_id_is_one_message_also_in_flight_and_after_sleep_and_crash() {
    let mut sim = group();
    let first = sim.apply(Sim::who(0, 0, Grant::None), send("hello", "id"));
    let again = sim.apply(Sim::who(0, 7, Grant::None), send("hello", "id"));
    let other = sim.apply(Sim::who(0, 0, Grant::None), send("other", "id"));
    check_refused(
        sim.answers.remove(&other).unwrap(),
        Code::Conflict,
        "send.clientId",
    );
    assert!(sim.answers.is_empty());
    sim.commit_all();
    assert_eq!(offset(sim.answers.remove(&first).unwrap()), 2);
    let check_again = |answer: Answer| {
        let Ok(ack::Result::Appended(appended)) = answer else {
            panic!("{answer:?}")
        };
        assert_eq!(
            (appended.offset, appended.epoch, appended.duplicate),
            (2, 1, true)
        );
    };
    check_again(sim.answers.remove(&again).unwrap());
    sim.passivate();
    check_again(run(&mut sim, 0, send("hello", "id")));
    sim.crash(0);
    check_again(run(&mut sim, 0, send("hello", "id")));
    check_refused(
        run(&mut sim, 0, send("other", "id")),
        Code::Conflict,
        "send.clientId",
    );
    assert_eq!(
        offset(run(&mut sim, 1, send("hello", "id"))),
        3,
        "another user's id is another"
    );
    sim.now.ms += 24 * 60 * 60 * 1_000;
    assert_eq!(
        offset(run(&mut sim, 0, send("other", "id"))),
        4,
        "a day later it is new"
    );
}

#[test]
fn voided_send_leaves_no_trace() {
    let mut sim = group();
    sim.apply(Sim::who(1, 1, Grant::None), send("lost", "id"));
    sim.apply(Sim::who(1, 1, Grant::None), leave(false));
    sim.crash(0);
    assert_eq!(
        sim.summary(1).unwrap().cursor,
        1,
        "it is a member still, where it was"
    );
    assert_eq!(offset(run(&mut sim, 1, send("found", "id"))), 2);
    sim.passivate();
    let shown = sim.history(0, 10).shows();
    assert_eq!(shown.len(), 1);
    assert_eq!(shown[&2].text, "found");
}

#[test]
fn deleted_text_is_never_read_again() {
    let mut sim = group();
    sim.join(1, 1, 0);
    let message = offset(run(&mut sim, 0, send("secret", "")));
    run(&mut sim, 0, edit(message, "secret two")).unwrap();
    run(&mut sim, 0, delete(message)).unwrap();
    let check = |sim: &mut Sim| {
        let page = run(sim, 1, history(200)).unwrap();
        assert!(!format!("{page:?}").contains("secret"));
        let resumed = joined(run(sim, 1, join(Some(v1::join::From::AfterOffset(0)))));
        assert_eq!(resumed.events.len(), 4);
        assert!(!format!("{resumed:?}").contains("secret"));
        assert_eq!(resumed.unread, 0);
    };
    check(&mut sim);
    sim.passivate();
    check(&mut sim);
    assert_eq!(
        offset(run(&mut sim, 0, delete(message))),
        0,
        "deleting again changes nothing"
    );
    check_refused(
        run(&mut sim, 0, edit(message, "x")),
        Code::NotFound,
        "edit.target",
    );
    check_refused(
        run(&mut sim, 1, react(message, "x")),
        Code::NotFound,
        "react.target",
    );
}

#[test]
fn resume_within_reach_is_raw_and_beyond_it_a_snapshot() {
    let memory = Memory {
        resume_events_max: 10,
        ..Memory::default()
    };
    let mut sim = Sim::new(memory);
    run(&mut sim, 0, create(Kind::Group, &[1], false)).unwrap();
    for n in 0..20 {
        run(&mut sim, 0, send(&format!("text {n}"), "")).unwrap();
    }
    let mut resume = |after| {
        let joined = joined(run(
            &mut sim,
            1,
            join(Some(v1::join::From::AfterOffset(after))),
        ));
        (
            joined.reset,
            joined.events.first().map(|event| event.offset),
            joined.events.len(),
        )
    };
    assert_eq!(resume(21), (false, None, 0));
    assert_eq!(resume(11), (false, Some(12), 10));
    assert_eq!(resume(10), (true, Some(1), 21));
    assert_eq!(
        resume(22),
        (true, Some(1), 21),
        "the client knows more than the log"
    );
}

#[test]
fn last_counts_messages_not_events() {
    let mut sim = group();
    for n in 0..5 {
        let message = offset(run(&mut sim, 0, send(&format!("text {n}"), "")));
        run(&mut sim, 1, react(message, "x")).unwrap();
    }
    for (last, first) in [(1, 10), (3, 6), (5, 2), (6, 1)] {
        let joined = joined(run(&mut sim, 1, join(Some(v1::join::From::Last(last)))));
        assert_eq!(joined.events.first().unwrap().offset, first, "last {last}");
        assert_eq!(joined.events.last().unwrap().offset, joined.head);
    }
    assert!(
        joined(run(&mut sim, 1, join(Some(v1::join::From::Last(0)))))
            .events
            .is_empty()
    );
}

#[test]
fn full_group_is_full_and_reactions_are_bounded() {
    let limits = RoomLimits {
        members_max: 2,
        ..RoomLimits::default()
    };
    let mut sim = Sim::with_limits(limits, Memory::default());
    run(&mut sim, 0, create(Kind::Group, &[1], true)).unwrap();
    check_refused(run(&mut sim, 2, join(None)), Code::RoomFull, "join.room");
    let message = offset(run(&mut sim, 0, send("x", "")));
    for n in 0..EMOJI_PER_MESSAGE_MAX {
        run(&mut sim, 0, react(message, &n.to_string())).unwrap();
    }
    check_refused(
        run(&mut sim, 0, react(message, "more")),
        Code::LimitReached,
        "react.emoji",
    );
    assert!(offset(run(&mut sim, 1, react(message, "0"))) > 0);
}

#[test]
fn too_many_sends_are_told_when_to_come_back() {
    let limits = RoomLimits {
        sends_per_second: 10,
        sends_burst: 3,
        ..RoomLimits::default()
    };
    let mut sim = Sim::with_limits(limits, Memory::default());
    run(&mut sim, 0, create(Kind::Group, &[1], false)).unwrap();
    for _ in 0..3 {
        run(&mut sim, 0, send("x", "")).unwrap();
    }
    let error = run(&mut sim, 0, send("x", "")).unwrap_err();
    assert_eq!(error.code, Code::RateLimited);
    assert!(error.retry_after.unwrap() <= Duration::from_millis(100));
    assert!(run(&mut sim, 1, send("x", "")).is_ok(), "others may");
}

#[test]
fn typing_and_reading_are_signalled_to_others() {
    let mut sim = group();
    sim.join(0, 0, 0);
    sim.join(1, 1, 0);
    let typing = |active| {
        Command::Typing(v1::Typing {
            room: "r".into(),
            active,
        })
    };
    for active in [true, true, false, false] {
        run(&mut sim, 0, typing(active)).unwrap();
    }
    let message = offset(run(&mut sim, 0, send("x", "")));
    run(&mut sim, 1, mark_read(message)).unwrap();
    run(&mut sim, 1, mark_read(1)).unwrap();
    let told: Vec<_> = sim
        .signals
        .iter()
        .map(|(except, told)| match told.body.clone().unwrap() {
            signal::Body::Typing(typing) => (*except, u64::from(typing.active)),
            signal::Body::Read(read) => (*except, read.offset),
            other => panic!("unexpected {other:?}"),
        })
        .collect();
    assert_eq!(told, [(0, 1), (0, 0), (1, message)]);
    let moved = sim
        .notices
        .iter()
        .filter(|(_, told)| matches!(told, notice::Body::CursorMoved(_)));
    assert_eq!(moved.count(), 1);
}

#[test]
fn roster_tells_users_once_and_at_most_each_second() {
    let mut sim = group();
    for session in [0, 3, 6] {
        sim.join(0, session, 0);
    }
    sim.join(1, 1, 0);
    let tick = |sim: &mut Sim, after| {
        sim.signals.clear();
        sim.now.at += Duration::from_millis(after);
        let mut fx = Effects::default();
        sim.state.tick(sim.now.at, &mut fx);
        sim.perform(fx);
        sim.signals
            .iter()
            .map(|(_, told)| match told.body.clone().unwrap() {
                signal::Body::Roster(roster) => {
                    (roster.here_count, roster.came.len(), roster.went.len())
                }
                other => panic!("unexpected {other:?}"),
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(tick(&mut sim, 0), [(2, 2, 0)]);
    sim.detach(1);
    assert_eq!(tick(&mut sim, 500), []);
    assert_eq!(tick(&mut sim, 500), [(1, 0, 1)]);
    sim.detach(3);
    assert_eq!(
        tick(&mut sim, 1_000),
        [],
        "the user has other sessions here"
    );
    sim.join(1, 1, 0);
    sim.detach(1);
    assert_eq!(tick(&mut sim, 1_000), [], "came and went in between");
    let here = joined(run(&mut sim, 1, join(None)));
    assert_eq!((here.here_count, here.here.len()), (2, 2));
}

#[test]
fn leaving_ends_all_sessions_and_tells_the_user() {
    let mut sim = group();
    sim.join(1, 1, 0);
    sim.join(1, 4, 0);
    run(&mut sim, 1, leave(false)).unwrap();
    assert_eq!(sim.state.listener_count(), 0);
    assert!(matches!(
        sim.notices.last().unwrap().1,
        notice::Body::LeftRoom(_)
    ));
    check_refused(
        run(&mut sim, 1, send("x", "")),
        Code::NotMember,
        "send.room",
    );
}

#[test]
fn session_that_closes_before_its_join_is_durable_does_not_listen() {
    let mut sim = sim();
    run(&mut sim, 0, create(Kind::Group, &[], true)).unwrap();
    let ticket = sim.join(2, 2, 0);
    sim.detach(2);
    sim.commit_all();
    check_refused(sim.answers.remove(&ticket).unwrap(), Code::Unavailable, "");
    assert_eq!(sim.state.listener_count(), 0);
    assert!(
        sim.summary(2).is_some(),
        "the user is a member all the same"
    );
}

#[test]
fn failing_store_answers_who_waits_and_refuses_what_is_new() {
    let mut sim = group();
    let waits = sim.apply(Sim::who(0, 0, Grant::None), send("maybe", "id"));
    let reads = sim.apply(Sim::who(1, 1, Grant::None), mark_read(1));
    assert!(
        sim.answers.remove(&reads).is_some(),
        "the cursor is there already"
    );
    sim.state
        .refuse_writes(Some(unavailable("storage unavailable")));
    let mut fx = Effects::default();
    sim.state
        .answer_waiting(&unavailable("storage unavailable"), &mut fx);
    sim.perform(fx);
    check_refused(sim.answers.remove(&waits).unwrap(), Code::Unavailable, "");
    for command in [send("new", ""), send("maybe", "id"), leave(false)] {
        let ticket = sim.apply(Sim::who(0, 0, Grant::None), command);
        check_refused(sim.answers.remove(&ticket).unwrap(), Code::Unavailable, "");
    }
    sim.join(1, 1, 0);
    sim.commit_all();
    assert_eq!(
        sim.clients[&1].last, 2,
        "what was in flight came through, and readers see it"
    );
    sim.state.refuse_writes(None);
    assert_eq!(
        offset(run(&mut sim, 0, send("maybe", "id"))),
        2,
        "a retry finds it"
    );
}

#[test]
fn room_is_full_of_events_in_flight_at_its_bound() {
    let mut sim = group();
    for _ in 0..IN_FLIGHT_EVENTS_MAX {
        assert!(!sim.state.is_full());
        sim.apply(Sim::who(0, 0, Grant::None), edit_free_send());
    }
    assert!(sim.state.is_full());
    sim.commit(1);
    assert!(!sim.state.is_full());
}

fn edit_free_send() -> Command {
    send("x", "")
}

#[test]
fn resync_replaces_a_lane_and_brings_what_was_missed() {
    let mut sim = group();
    sim.join(1, 1, 0);
    let who = Sim::who(1, 4, Grant::None);
    let mut fx = Effects::default();
    sim.state.resync(
        &gateway(),
        who.lane,
        rookery_proto::ids::Offset(0),
        std::slice::from_ref(&who),
        &mut fx,
    );
    assert_eq!(
        sim.state.listener_count(),
        1,
        "the session that was not announced is gone"
    );
    assert_eq!(fx.outputs.len(), 1);
    let stranger = Sim::who(2, 7, Grant::None);
    let mut fx = Effects::default();
    sim.state.resync(
        &gateway(),
        1,
        rookery_proto::ids::Offset(0),
        &[who, stranger],
        &mut fx,
    );
    assert_eq!(
        sim.state.listener_count(),
        0,
        "with a stranger all join again"
    );
}
