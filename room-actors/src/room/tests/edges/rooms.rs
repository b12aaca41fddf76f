//! Opening, joining, leaving, listening.

use rookery_proto::{ids::Offset, link::packet};

use super::*;
use crate::room::{
    command::{Fact, Need, ResyncAsk, Who},
    effects::Output,
};

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
fn resume_takes_up_what_the_user_has_and_makes_no_member() {
    let group = |public| {
        let mut sim = sim();
        run(&mut sim, 0, create(Kind::Group, &[1], public)).unwrap();
        sim
    };
    let direct = || {
        let mut sim = sim();
        run(&mut sim, 0, create(Kind::Direct, &[1], false)).unwrap();
        sim
    };
    let left = |public| {
        let mut sim = group(public);
        run(&mut sim, 1, leave(false)).unwrap();
        sim
    };
    let cases: [(&str, Sim, usize, Grant, Option<Code>); 10] = [
        ("member", group(true), 1, Grant::None, None),
        ("member, private", group(false), 1, Grant::None, None),
        ("left", left(true), 1, Grant::None, Some(Code::NotMember)),
        (
            "left, private",
            left(false),
            1,
            Grant::None,
            Some(Code::NotMember),
        ),
        (
            "stranger",
            group(true),
            2,
            Grant::None,
            Some(Code::NotMember),
        ),
        ("of two", direct(), 1, Grant::None, None),
        ("third", direct(), 2, Grant::None, Some(Code::NotMember)),
        ("granted", channel(), 2, Grant::Read, None),
        (
            "not granted",
            channel(),
            2,
            Grant::None,
            Some(Code::Forbidden),
        ),
        ("nowhere", sim(), 1, Grant::None, Some(Code::NotFound)),
    ];
    for (name, mut sim, user, grant, refused) in cases {
        let head = sim.state.head();
        let answer = sim.run(Sim::who(user, 9, grant), resume(0));
        match refused {
            None => assert_eq!(joined(answer).head, head.0, "{name}"),
            Some(code) => {
                let error = answer.expect_err(name);
                let field = error.field.unwrap_or_default();
                assert_eq!((error.code, field), (code, "join.room"), "{name}");
            }
        }
        assert_eq!(sim.state.head(), head, "{name}: nothing is appended");
        assert_eq!(
            sim.state.listener_count(),
            usize::from(refused.is_none()),
            "{name}"
        );
    }
    let mut sim = left(true);
    assert_eq!(
        joined(run(&mut sim, 1, join(Some(v1::join::From::AfterOffset(0))))).head,
        3,
        "who asks for it is a member again"
    );
}

#[test]
fn resume_behind_a_leave_is_answered_when_the_leave_is_durable() {
    for public in [false, true] {
        let mut sim = sim();
        run(&mut sim, 0, create(Kind::Group, &[1], public)).unwrap();
        let left = sim.apply(Sim::who(1, 1, Grant::None), leave(false));
        let resumed = sim.apply(Sim::who(1, 4, Grant::None), resume(1));
        assert!(sim.answers.is_empty(), "nothing is durable yet");
        sim.commit_all();
        assert!(sim.answers.remove(&left).unwrap().is_ok());
        let answer = sim.answers.remove(&resumed).unwrap();
        check_refused(answer, Code::NotMember, "join.room");
        assert_eq!((sim.state.head().0, sim.state.listener_count()), (2, 0));
    }
}

#[test]
fn leave_that_a_takeover_voids_does_not_end_a_resume() {
    let mut sim = group();
    sim.apply(Sim::who(1, 1, Grant::None), leave(false));
    sim.apply(Sim::who(1, 4, Grant::None), resume(1));
    sim.crash(0);
    assert!(sim.answers.is_empty(), "nobody was told");
    assert_eq!(joined(run(&mut sim, 1, resume(1))).head, 1);
}

#[test]
fn resume_from_beyond_the_head_is_refused_only_by_the_owner() {
    let sim = group();
    let needs = |user, after| {
        let who = Sim::who(user, 9, Grant::None);
        sim.state.needs(&resume(after), &who, sim.now)
    };
    assert_eq!(needs(2, 1), None);
    assert_eq!(needs(2, 2), Some(Need::Fence));
    assert_eq!(needs(1, 2), Some(Need::Fence), "as for a member");
}

/// Answers a resync, having read the fence where `owner` says so.
fn resync(sim: &mut Sim, after: Option<u64>, sessions: &[Who], owner: bool) -> Vec<packet::Body> {
    let ask = ResyncAsk {
        lane: 1,
        after: after.map(Offset),
        number: 7,
    };
    while let Some(need) = sim.state.needs_resync(ask, sessions) {
        assert_eq!(need, Need::Fence);
        if !owner {
            break;
        }
        sim.state.learn(Fact::NotFenced).unwrap();
    }
    let mut fx = Effects::default();
    sim.state.resync(&gateway(), ask, sessions, &mut fx);
    let bodies = fx.outputs.into_iter().map(|output| match output {
        Output::ToGateway { body, .. } => body,
        other => panic!("unexpected {other:?}"),
    });
    bodies.collect()
}

#[test]
fn resync_replaces_a_lane_and_brings_what_was_missed() {
    let mut sim = group();
    sim.join(1, 1, 0);
    let who = Sim::who(1, 4, Grant::None);
    let answers = resync(&mut sim, Some(0), std::slice::from_ref(&who), true);
    assert!(matches!(
        &answers[..],
        [packet::Body::RoomEvents(events)]
            if (events.number, events.reset, events.events.len()) == (7, false, 1)
    ));
    let more = [Sim::who(0, 5, Grant::None)];
    assert!(resync(&mut sim, None, &more, true).is_empty());
    assert_eq!(sim.state.listener_count(), 2);
    sim.state.detach(&gateway(), 5, &mut Effects::default());
    assert_eq!(
        sim.state.listener_count(),
        1,
        "the session that was not announced is gone"
    );
}

#[test]
fn resync_names_who_is_no_member_and_serves_the_others() {
    let mut sim = sim();
    run(&mut sim, 0, create(Kind::Group, &[1], true)).unwrap();
    run(&mut sim, 1, leave(false)).unwrap();
    let sessions = [
        Sim::who(0, 4, Grant::None),
        Sim::who(1, 5, Grant::None),
        Sim::who(2, 6, Grant::None),
    ];
    let answers = resync(&mut sim, Some(1), &sessions, true);
    let [
        packet::Body::RoomRefused(refused),
        packet::Body::RoomEvents(events),
    ] = &answers[..]
    else {
        panic!("{answers:?}");
    };
    assert_eq!(
        (&refused.sessions[..], refused.number, refused.lane),
        (&[5, 6][..], 7, 1)
    );
    assert_eq!(refused.epoch, sim.epoch.0);
    assert_eq!((events.reset, events.events.len()), (false, 1));
    assert_eq!((sim.state.head().0, sim.state.listener_count()), (2, 1));
    // More of it, which would not fit.
    let more = [Sim::who(1, 7, Grant::None), Sim::who(0, 8, Grant::None)];
    let answers = resync(&mut sim, None, &more, true);
    assert!(matches!(
        &answers[..],
        [packet::Body::RoomRefused(refused)] if refused.sessions == [7]
    ));
    assert_eq!(sim.state.listener_count(), 2);
    // Also where the others must join again.
    let answers = resync(&mut sim, Some(99), &sessions, true);
    assert!(matches!(
        &answers[..],
        [packet::Body::RoomRefused(refused), packet::Body::RoomEvents(events)]
            if refused.sessions == [5, 6] && events.reset
    ));
}

#[test]
fn resync_that_cannot_read_the_fence_lets_all_join_again() {
    for after in [Some(1), None] {
        let mut sim = group();
        let sessions = [Sim::who(0, 4, Grant::None), Sim::who(2, 5, Grant::None)];
        let answers = resync(&mut sim, after, &sessions, false);
        assert!(matches!(
            &answers[..],
            [packet::Body::RoomEvents(events)] if events.reset && events.number == 7
        ));
        assert_eq!(sim.state.listener_count(), 0);
    }
}

#[test]
fn resync_of_who_is_leaving_goes_on_until_the_leave_is_durable() {
    let mut sim = group();
    sim.apply(Sim::who(1, 1, Grant::None), leave(false));
    let who = Sim::who(1, 4, Grant::None);
    let answers = resync(&mut sim, Some(1), std::slice::from_ref(&who), true);
    assert!(matches!(
        &answers[..],
        [packet::Body::RoomEvents(events)] if !events.reset
    ));
    assert_eq!(sim.state.listener_count(), 1);
    sim.commit_all();
    assert_eq!(sim.state.listener_count(), 0, "it had to hear of the leave");
}
