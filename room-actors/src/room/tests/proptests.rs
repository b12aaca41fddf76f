//! Random commands of several users, commits that complete late and in random groups, sleeps and
//! crashes in between: the machine must say what the naive model says.

use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*};
use rookery_proto::{
    link::{Grant, room_request},
    v1::{self, ack},
};

use super::{
    model::{Command, Event, Expected, Kind, Model},
    sim::{Sim, create, user_name},
};
use crate::limits::{DERIVED_FLUSH_INTERVAL, Memory};

const USERS: usize = 4;
/// Listens from the start to the end, when nothing stops it.
const ALWAYS: u64 = 100;

#[derive(Clone, Debug)]
enum Op {
    Do(usize, Command),
    Commit(usize),
    /// Time passes, and what is derived is handed over.
    Wait,
    WriteDerived,
    Detach(usize),
    Passivate,
    Crash(usize),
    Look,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let target = 1..30_u64;
    let text = prop_oneof!["[ab]", "[a-z]{1,8}"];
    let client_id = prop_oneof![Just(String::new()), "[xyz]", "[a-z]{4}"];
    let emoji = "[pq]";
    let command = prop_oneof![
        6 => (text.clone(), client_id)
            .prop_map(|(text, client_id)| Command::Send { text, client_id }),
        2 => (target.clone(), text).prop_map(|(target, text)| Command::Edit { target, text }),
        2 => target.clone().prop_map(|target| Command::Delete { target }),
        2 => (target.clone(), emoji).prop_map(|(target, emoji)| Command::React { target, emoji }),
        1 => (target.clone(), emoji).prop_map(|(target, emoji)| Command::Unreact { target, emoji }),
        2 => target.prop_map(|offset| Command::MarkRead { offset }),
        3 => Just(Command::Join),
        2 => Just(Command::Resume),
        1 => Just(Command::Leave),
    ];
    let op = prop_oneof![
        12 => (0..USERS, command).prop_map(|(user, command)| Op::Do(user, command)),
        5 => (1..6_usize).prop_map(Op::Commit),
        1 => Just(Op::Wait),
        1 => Just(Op::WriteDerived),
        1 => (0..USERS).prop_map(Op::Detach),
        1 => Just(Op::Passivate),
        1 => (0..4_usize).prop_map(Op::Crash),
        1 => Just(Op::Look),
    ];
    vec(op, 1..150)
}

struct Run {
    sim: Sim,
    model: Model,
    /// What the answer to a ticket must be once it comes, and whose it is.
    expected: BTreeMap<usize, (usize, Expected, u64)>,
    /// Furthest cursor each user was shown.
    shown_cursors: BTreeMap<usize, u64>,
}

impl Run {
    fn new(public: bool, memory: Memory) -> Self {
        let mut sim = Sim::new(memory);
        let answer = sim.run(
            Sim::who(0, 0, Grant::None),
            create(v1::room::Kind::Group, &[1], public),
        );
        assert!(
            matches!(answer, Ok(ack::Result::RoomCreated(_))),
            "{answer:?}"
        );
        let mut model = Model {
            public,
            head: 1,
            ..Model::default()
        };
        model.events.push(Event {
            actor: 0,
            kind: Kind::Opened {
                members: vec![0, 1],
            },
        });
        let mut run = Self {
            sim,
            model,
            expected: BTreeMap::new(),
            shown_cursors: BTreeMap::new(),
        };
        let ticket = run.sim.join(1, ALWAYS, 0);
        run.sim
            .answers
            .remove(&ticket)
            .expect("answered at once")
            .unwrap();
        run
    }

    fn step(&mut self, op: Op) {
        match op {
            Op::Do(user, command) => self.command(user, &command),
            Op::Commit(count) => self.sim.commit(count),
            Op::Wait => {
                self.sim.now.at += DERIVED_FLUSH_INTERVAL;
                self.sim.hand_over(false);
            }
            Op::WriteDerived => self.sim.write_derived(),
            Op::Detach(user) => self.sim.detach(user as u64),
            Op::Passivate => {
                self.sim.passivate();
                self.catch_up();
                self.rejoin();
            }
            Op::Crash(landed) => self.crash(landed),
            Op::Look => self.look(),
        }
        self.catch_up();
    }

    fn command(&mut self, user: usize, command: &Command) {
        let expected = self.model.expect(user, command);
        let session = user as u64;
        let last = self.sim.clients.get(&session).map(|client| client.last);
        let after = last.unwrap_or(0);
        let ticket = match command {
            Command::Join => self.sim.join(user, session, after),
            Command::Resume => self.sim.resume(user, session, after),
            _ => {
                let who = Sim::who(user, session, Grant::None);
                self.sim.apply(who, wire(command))
            }
        };
        let mut offset = 0;
        if let Expected::Appends(kind) = &expected {
            self.model.events.push(Event {
                actor: user,
                kind: kind.clone(),
            });
            offset = self.model.events.len() as u64;
        }
        self.expected.insert(ticket, (user, expected, offset));
    }

    /// Compares heads and every answer that came.
    fn catch_up(&mut self) {
        let head = self.sim.state.head().0;
        assert!(head >= self.model.head && head <= self.model.events.len() as u64);
        self.model.head = head;
        for (ticket, answer) in std::mem::take(&mut self.sim.answers) {
            let (user, expected, offset) = self.expected.remove(&ticket).expect("asked once");
            self.check_answer(user, &expected, offset, &answer);
        }
    }

    fn check_answer(
        &mut self,
        user: usize,
        expected: &Expected,
        offset: u64,
        answer: &Result<ack::Result, rookery_proto::errors::WireError>,
    ) {
        match (expected, answer) {
            (Expected::Refused(code), Err(error)) => assert_eq!(*code, error.code),
            (Expected::Appends(Kind::Left), Ok(ack::Result::Done(_))) => {}
            (Expected::Appends(Kind::Joined) | Expected::Listens, Ok(ack::Result::Joined(_))) => {}
            // It left again before its joining was durable, or closed its session.
            (Expected::Appends(Kind::Joined) | Expected::Listens, Err(error)) => assert!(
                matches!(
                    error.code,
                    rookery_proto::errors::Code::NotMember
                        | rookery_proto::errors::Code::Unavailable
                ),
                "{error:?}"
            ),
            (Expected::Appends(_), Ok(ack::Result::Appended(appended))) => {
                assert_eq!((appended.offset, appended.duplicate), (offset, false));
            }
            (Expected::Same(first), Ok(ack::Result::Appended(appended))) => {
                assert_eq!((appended.offset, appended.duplicate), (*first, true));
            }
            (Expected::Unchanged(since), Ok(ack::Result::Appended(appended))) => {
                assert_eq!((appended.offset, appended.duplicate), (0, false));
                assert!(
                    *since <= self.model.head,
                    "told of {since} before it is durable"
                );
            }
            (Expected::Cursor(at), Ok(ack::Result::Cursor(cursor))) => {
                let read = self.model.read.entry(user).or_default();
                *read = (*read).max(*at);
                assert!(cursor.offset >= *at, "{cursor:?} after markRead({at})");
                self.show_cursor(user, cursor.offset);
            }
            other => panic!("user {user}: {other:?}"),
        }
    }

    fn show_cursor(&mut self, user: usize, offset: u64) {
        let shown = self.shown_cursors.entry(user).or_default();
        assert!(
            offset >= *shown,
            "cursor of {user} went back from {shown} to {offset}"
        );
        *shown = offset;
    }

    fn crash(&mut self, landed: usize) {
        let landed = landed.min(self.sim.flying.len());
        // A cursor that landed counts, though nobody was told.
        let reads: Vec<_> = self
            .sim
            .flying
            .iter()
            .take(landed)
            .flat_map(|(_, write)| write.cursors.clone())
            .collect();
        self.sim.crash(landed);
        for row in reads {
            let user = (0..USERS)
                .find(|&user| user_name(user) == row.user.as_str())
                .unwrap();
            let read = self.model.read.entry(user).or_default();
            *read = (*read).max(row.offset.0);
        }
        self.model.events.truncate(self.sim.state.head().0 as usize);
        self.expected.clear();
        self.catch_up();
        self.rejoin();
    }

    fn rejoin(&mut self) {
        if self
            .model
            .member_since(1, self.model.events.len() as u64)
            .is_some_and(|at| at <= self.model.head)
        {
            let after = self
                .sim
                .clients
                .get(&ALWAYS)
                .map_or(0, |client| client.last);
            let ticket = self.sim.resume(1, ALWAYS, after);
            self.sim.answers.remove(&ticket);
        }
    }

    /// Compares everything that can be seen with what the model computes from all events.
    fn look(&mut self) {
        self.catch_up();
        let head = self.model.head;
        let messages: BTreeMap<_, _> = (1..=head)
            .filter_map(|offset| Some((offset, self.model.message(offset, head)?)))
            .collect();
        for user in 0..USERS {
            let visible = self
                .model
                .member_since(user, self.model.events.len() as u64);
            let summary = self.sim.summary(user);
            assert_eq!(
                summary.is_some(),
                visible.is_some_and(|since| since <= head)
            );
            let Some(summary) = summary else { continue };
            assert_eq!(summary.head, head);
            assert_eq!(summary.cursor, self.model.cursor(user), "cursor of {user}");
            assert_eq!(summary.unread, self.model.unread(user), "unread of {user}");
            self.show_cursor(user, summary.cursor);
            for limit in [3, 200] {
                let shown = self.sim.history(user, limit).shows();
                assert_eq!(shown.len(), messages.len());
                for (offset, message) in &messages {
                    let shown = &shown[offset];
                    let reactions = message.reactions.iter();
                    let reactions = reactions
                        .map(|(emoji, user)| (emoji.clone(), user_name(*user)))
                        .collect();
                    assert_eq!(shown.actor, user_name(message.actor));
                    assert_eq!(shown.text, message.text, "text of {offset}");
                    assert_eq!(shown.deleted, message.deleted);
                    assert_eq!(shown.reactions, reactions, "reactions on {offset}");
                }
            }
            self.check_clients(user);
        }
    }

    /// Clients that listen, and one that resumes from anywhere, show what history shows.
    fn check_clients(&mut self, user: usize) {
        let history = self.sim.history(user, 200).shows();
        for client in self.sim.clients.values().filter(|client| client.listening) {
            for (offset, message) in client.shows() {
                assert_eq!(
                    history[&offset], message,
                    "message {offset} of a live client"
                );
            }
        }
        let resumed = 500 + user as u64;
        let ticket = self.sim.resume(user, resumed, 0);
        self.sim
            .answers
            .remove(&ticket)
            .expect("answered at once")
            .unwrap();
        let shown = self.sim.clients[&resumed].shows();
        for (offset, message) in shown {
            assert_eq!(
                history[&offset], message,
                "message {offset} of a resumed client"
            );
        }
        self.sim.detach(resumed);
        self.sim.clients.remove(&resumed);
    }
}

fn wire(command: &Command) -> room_request::Command {
    let room = "r".to_owned();
    match command.clone() {
        Command::Send { text, client_id } => room_request::Command::Send(v1::Send {
            room,
            text,
            client_id,
        }),
        Command::Edit { target, text } => {
            room_request::Command::Edit(v1::Edit { room, target, text })
        }
        Command::Delete { target } => room_request::Command::Delete(v1::Delete { room, target }),
        Command::React { target, emoji } => room_request::Command::React(v1::React {
            room,
            target,
            emoji,
        }),
        Command::Unreact { target, emoji } => room_request::Command::Unreact(v1::Unreact {
            room,
            target,
            emoji,
        }),
        Command::MarkRead { offset } => {
            room_request::Command::MarkRead(v1::MarkRead { room, offset })
        }
        Command::Leave => room_request::Command::Leave(v1::Leave {
            room,
            session_only: false,
        }),
        Command::Join | Command::Resume => unreachable!("joined by the sim"),
    }
}

fn check(public: bool, memory: Memory, ops: Vec<Op>) {
    let mut run = Run::new(public, memory);
    for op in ops {
        run.step(op);
    }
    run.sim.commit_all();
    run.look();
    assert!(
        run.expected.is_empty(),
        "every request is answered: {:?}",
        run.expected
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn room_says_what_the_model_says(public: bool, ops in ops()) {
        check(public, Memory::default(), ops);
    }

    #[test]
    fn room_with_little_memory_says_the_same(public: bool, ops in ops()) {
        let memory = Memory {
            ring_events_max: 5,
            resume_events_max: 20,
            messages_kept_max: 4,
            sent_results_max: 3,
            sent_load_max: 3,
        };
        check(public, memory, ops);
    }
}
