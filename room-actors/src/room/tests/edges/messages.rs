//! Messages, marks, cursors, resume, and a store that fails.

use super::*;

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
fn mark_that_changes_nothing_is_answered_once_what_it_repeats_is_durable() {
    let mut sim = group();
    let message = offset(run(&mut sim, 0, send("hello", "")));
    run(&mut sim, 0, react(message, "b")).unwrap();
    for mark in [
        edit(message, "hello two"),
        react(message, "a"),
        unreact(message, "b"),
        delete(message),
    ] {
        let first = sim.apply(Sim::who(0, 0, Grant::None), mark.clone());
        let again = sim.apply(Sim::who(0, 7, Grant::None), mark.clone());
        assert!(sim.answers.is_empty(), "{mark:?}: {:?}", sim.answers);
        sim.commit_all();
        assert_ne!(offset(sim.answers.remove(&first).unwrap()), 0, "{mark:?}");
        assert_eq!(offset(sim.answers.remove(&again).unwrap()), 0, "{mark:?}");
        let later = sim.apply(Sim::who(0, 7, Grant::None), mark.clone());
        assert_eq!(offset(sim.answers.remove(&later).unwrap()), 0, "{mark:?}");
    }
}

#[test]
fn mark_repeated_while_it_was_in_flight_is_done_after_a_takeover_that_voids_it() {
    let mut sim = group();
    let message = offset(run(&mut sim, 0, send("hello", "")));
    sim.apply(Sim::who(0, 0, Grant::None), react(message, "a"));
    let again = sim.apply(Sim::who(0, 7, Grant::None), react(message, "a"));
    sim.crash(0);
    assert!(!sim.answers.contains_key(&again), "{:?}", sim.answers);
    assert_ne!(offset(run(&mut sim, 0, react(message, "a"))), 0);
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
        sim.apply(Sim::who(0, 0, Grant::None), send("x", ""));
    }
    assert!(sim.state.is_full());
    sim.commit(1);
    assert!(!sim.state.is_full());
}
