//! Opening, joining, leaving, listening.

use rookery_proto::link::packet;

use super::*;
use crate::room::{command::ResyncAsk, effects::Output};

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
fn resync_replaces_a_lane_and_brings_what_was_missed() {
    let mut sim = group();
    sim.join(1, 1, 0);
    let who = Sim::who(1, 4, Grant::None);
    let mut fx = Effects::default();
    let ask = ResyncAsk {
        after: rookery_proto::ids::Offset(0),
        number: 7,
    };
    sim.state.resync(
        &gateway(),
        who.lane,
        ask,
        std::slice::from_ref(&who),
        &mut fx,
    );
    sim.state
        .add_sessions(&[Sim::who(1, 5, Grant::None), Sim::who(2, 6, Grant::None)]);
    assert_eq!(sim.state.listener_count(), 2, "added, but no stranger");
    sim.state.detach(&gateway(), 5, &mut fx);
    assert_eq!(
        sim.state.listener_count(),
        1,
        "the session that was not announced is gone"
    );
    assert!(matches!(
        &fx.outputs[..],
        [Output::ToGateway {
            body: packet::Body::RoomEvents(events),
            ..
        }] if events.number == 7
    ));
    let stranger = Sim::who(2, 7, Grant::None);
    let mut fx = Effects::default();
    sim.state
        .resync(&gateway(), 1, ask, &[who, stranger], &mut fx);
    assert_eq!(
        sim.state.listener_count(),
        0,
        "with a stranger all join again"
    );
}
