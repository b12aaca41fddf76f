//! Tables over the machine of one user.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use rookery_cluster::{EndpointId, Role};
use rookery_proto::v1::presence::Status;
use tokio::time::Instant;

use super::*;
use crate::{limits, refusal::Refusal};

const START_MS: u64 = 1_700_000_000_000;

/// One user, its clock, and what watchers and store were told.
struct Bench {
    user: User,
    rules: Rules,
    start: Instant,
    elapsed: Duration,
    log: Vec<String>,
}

fn gateway(number: u64) -> EndpointId {
    EndpointId::new(Role::Gateway, number)
}

fn key(session: u64) -> SessionKey {
    SessionKey {
        gateway: gateway(session / 100),
        session,
    }
}

fn at(session: u64) -> Address {
    Address {
        key: key(session),
        lane: u32::try_from(session % 4).unwrap(),
    }
}

impl Bench {
    /// A user of a shard whose gateways have announced all.
    fn known() -> Self {
        Self::new(Duration::ZERO)
    }

    fn new(known_from: Duration) -> Self {
        let start = Instant::now();
        let rules = Rules {
            grace: limits::GRACE,
            throttle: limits::THROTTLE,
            store_retry: limits::STORE_RETRY,
            known_from: start + known_from,
        };
        Self {
            user: User::default(),
            rules,
            start,
            elapsed: Duration::ZERO,
            log: Vec::new(),
        }
    }

    fn now(&self) -> Now {
        let elapsed_ms = u64::try_from(self.elapsed.as_millis()).unwrap();
        Now {
            instant: self.start + self.elapsed,
            wall_ms: START_MS + elapsed_ms,
        }
    }

    /// Applies a command at a time (in milliseconds), with all deadlines before it.
    fn at(&mut self, ms: u64, command: Command) -> &mut Self {
        let until = Duration::from_millis(ms);
        while let Some(due) = self.user.deadline(self.now(), &self.rules)
            && due <= self.start + until
        {
            let due = due.saturating_duration_since(self.start);
            assert!(
                due > self.elapsed || self.elapsed == due,
                "deadlines are not in the past"
            );
            self.elapsed = due.max(self.elapsed);
            self.apply(Command::Tick);
        }
        self.elapsed = until;
        self.apply(command);
        self
    }

    fn apply(&mut self, command: Command) {
        for effect in self.user.apply(command, self.now(), &self.rules) {
            let line = describe(&effect);
            self.log
                .push(format!("{} {line}", self.elapsed.as_millis()));
        }
    }

    fn open(&mut self, ms: u64, session: u64, device: &str, choice: Choice) -> &mut Self {
        self.at(
            ms,
            Command::Opened {
                at: at(session),
                device: device.into(),
                choice,
            },
        )
    }

    fn close(&mut self, ms: u64, session: u64) -> &mut Self {
        self.at(
            ms,
            Command::Closed {
                session: key(session),
            },
        )
    }

    fn choose(&mut self, ms: u64, session: u64, device: &str, choice: Choice) -> &mut Self {
        self.at(
            ms,
            Command::Choose {
                at: at(session),
                device: device.into(),
                choice,
            },
        )
    }

    fn watch(&mut self, ms: u64, session: u64) -> &mut Self {
        self.at(
            ms,
            Command::Watch {
                at: at(session),
                request: session,
                own: false,
            },
        )
    }

    fn tick(&mut self, ms: u64) -> &mut Self {
        self.at(ms, Command::Tick)
    }

    fn check(&self, expected: &[&str]) {
        assert_eq!(self.log, expected);
    }
}

fn describe(effect: &Effect) -> String {
    let shown = |shown: &Shown| match shown.last_seen_ms {
        0 => shown.status.as_str_name().to_owned(),
        ms => format!(
            "{}@{}",
            shown.status.as_str_name(),
            ms.saturating_sub(START_MS)
        ),
    };
    let all = |to: &[Address]| {
        to.iter()
            .map(|to| to.key.session.to_string())
            .collect::<Vec<_>>()
            .join(",")
    };
    match effect {
        Effect::Answer {
            to, shown: state, ..
        } => format!("answer {} {}", to.key.session, shown(state)),
        Effect::Refuse { to, refusal, .. } => format!("refuse {} {refusal}", to.key.session),
        Effect::Show { shown: state, to } => format!("show {} {}", all(to), shown(state)),
        Effect::Deliver { to, .. } => format!("deliver {}", all(to)),
        Effect::Push { .. } => "push".to_owned(),
        Effect::SessionRefused => "session refused".to_owned(),
        Effect::Read => "read".to_owned(),
        Effect::Write { last_seen_ms } => format!("write {}", last_seen_ms - START_MS),
    }
}

fn stored(ms: u64) -> Command {
    Command::LastSeenRead {
        stored_ms: Some(ms),
    }
}

#[test]
fn status_is_the_best_of_the_devices() {
    use Choice::*;
    let cases: &[(&[Choice], Status, Status)] = &[
        (&[Online], Status::Online, Status::Online),
        (&[Away, Online], Status::Online, Status::Online),
        (&[Online, Dnd, Away], Status::Dnd, Status::Dnd),
        (&[Away, Invisible], Status::Away, Status::Away),
        (&[Invisible], Status::Offline, Status::Invisible),
        (&[Invisible, Invisible], Status::Offline, Status::Invisible),
    ];
    for (choices, others, own) in cases {
        let mut bench = Bench::known();
        for (session, choice) in (1..).zip(*choices) {
            bench.open(1, session, &format!("device {session}"), *choice);
        }
        bench.at(2, stored(7)).watch(3, 101);
        bench.at(
            4,
            Command::Watch {
                at: at(102),
                request: 1,
                own: true,
            },
        );
        let last_seen = if *others == Status::Offline { "@0" } else { "" };
        bench.check(&[
            &format!("3 answer 101 {}{last_seen}", others.as_str_name()),
            &format!("4 answer 102 {}", own.as_str_name()),
        ]);
    }
}

#[test]
fn closing_one_of_two_devices_changes_nothing() {
    let mut bench = Bench::known();
    bench
        .open(0, 1, "phone", Choice::Online)
        .open(0, 2, "laptop", Choice::Online);
    bench.watch(1, 101).close(2, 1).tick(60_000);
    bench.check(&["1 answer 101 ONLINE"]);
}

#[test]
fn user_without_session_is_offline_after_the_grace_and_last_seen_at_the_close() {
    let mut bench = Bench::known();
    bench
        .open(0, 1, "phone", Choice::Online)
        .watch(0, 101)
        .close(1_000, 1);
    bench.tick(5_999).check(&["0 answer 101 ONLINE"]);
    bench.tick(6_000).check(&[
        "0 answer 101 ONLINE",
        "6000 write 1000",
        "6000 show 101 OFFLINE@1000",
    ]);
    assert!(!bench.user.is_idle(), "watched, and not yet stored");
}

#[test]
fn reconnect_inside_the_grace_tells_nothing_and_keeps_the_choice() {
    let mut bench = Bench::known();
    bench
        .open(0, 1, "phone", Choice::Online)
        .choose(1, 1, "phone", Choice::Dnd);
    bench
        .watch(2, 101)
        .close(1_000, 1)
        .open(5_999, 2, "phone", Choice::Online)
        .tick(60_000);
    bench.check(&["2 answer 101 DND"]);
}

#[test]
fn choice_is_forgotten_after_the_grace() {
    let mut bench = Bench::known();
    bench
        .open(0, 1, "phone", Choice::Online)
        .choose(1, 1, "phone", Choice::Dnd)
        .close(2, 1);
    bench
        .open(6_000, 2, "phone", Choice::Online)
        .watch(6_001, 101);
    bench.check(&["5002 write 2", "6001 answer 101 ONLINE"]);
}

#[test]
fn changes_within_the_throttle_become_one_update_with_the_latest_state() {
    let mut bench = Bench::known();
    bench.open(0, 1, "phone", Choice::Online).watch(0, 101);
    bench.choose(100, 1, "phone", Choice::Away);
    bench
        .choose(200, 1, "phone", Choice::Dnd)
        .choose(300, 1, "phone", Choice::Online);
    bench.tick(10_000);
    bench.check(&[
        "0 answer 101 ONLINE",
        "100 show 101 AWAY",
        "2100 show 101 ONLINE",
    ]);
}

#[test]
fn state_that_came_back_within_the_throttle_is_told_only_to_who_saw_another() {
    let mut bench = Bench::known();
    bench.open(0, 1, "phone", Choice::Online).watch(0, 101);
    bench
        .choose(100, 1, "phone", Choice::Away)
        .choose(200, 1, "phone", Choice::Dnd);
    bench
        .watch(300, 102)
        .choose(400, 1, "phone", Choice::Away)
        .tick(10_000);
    bench.check(&[
        "0 answer 101 ONLINE",
        "100 show 101 AWAY",
        "300 answer 102 DND",
        "2100 show 102 AWAY",
    ]);
}

#[test]
fn invisible_user_looks_offline_since_then_and_leaves_no_later_trace() {
    let mut bench = Bench::known();
    bench.open(0, 1, "phone", Choice::Online).watch(0, 101);
    bench.at(
        0,
        Command::Watch {
            at: at(1),
            request: 9,
            own: true,
        },
    );
    bench
        .choose(3_000, 1, "phone", Choice::Invisible)
        .close(9_000, 1)
        .tick(60_000);
    bench.check(&[
        "0 answer 101 ONLINE",
        "0 answer 1 ONLINE",
        "3000 write 3000",
        "3000 show 101 OFFLINE@3000",
        "3000 show 1 INVISIBLE",
        "14000 show 1 OFFLINE@3000",
    ]);
}

#[test]
fn user_never_seen_here_is_answered_from_the_store() {
    let mut bench = Bench::known();
    bench
        .watch(0, 101)
        .watch(1, 102)
        .at(2, stored(START_MS - 5))
        .watch(3, 103);
    bench.check(&[
        "0 read",
        "2 answer 101 OFFLINE@0",
        "2 answer 102 OFFLINE@0",
        "3 answer 103 OFFLINE@0",
    ]);
}

#[test]
fn user_that_opens_while_the_store_is_read_answers_the_watch() {
    let mut bench = Bench::known();
    bench
        .watch(0, 101)
        .open(1, 1, "phone", Choice::Away)
        .at(2, stored(1));
    bench.check(&["0 read", "1 answer 101 AWAY"]);
}

#[test]
fn failed_read_refuses_the_watch_and_forgets_the_watcher() {
    let mut bench = Bench::known();
    bench
        .watch(0, 101)
        .at(1, Command::LastSeenRead { stored_ms: None });
    bench.check(&["0 read", "1 refuse 101 store did not answer in time"]);
    assert!(bench.user.is_idle());
}

#[test]
fn failed_write_is_tried_again_until_it_is_stored() {
    let mut bench = Bench::known();
    bench
        .open(0, 1, "phone", Choice::Online)
        .close(0, 1)
        .tick(5_000);
    bench.at(
        5_100,
        Command::LastSeenWritten {
            last_seen_ms: START_MS,
            stored: false,
        },
    );
    bench.tick(6_100);
    bench.check(&["5000 write 0", "6100 write 0"]);
    assert!(!bench.user.is_idle());
    bench.at(
        6_200,
        Command::LastSeenWritten {
            last_seen_ms: START_MS,
            stored: true,
        },
    );
    assert!(bench.user.is_idle());
}

#[test]
fn unknown_is_not_offline() {
    let mut bench = Bench::new(limits::REANNOUNCE_GRACE);
    bench
        .watch(0, 101)
        .tick(9_999)
        .check(&["0 answer 101 STATUS_UNSPECIFIED"]);
    bench.tick(10_000).at(10_001, stored(START_MS + 2));
    bench.check(&[
        "0 answer 101 STATUS_UNSPECIFIED",
        "10000 read",
        "10001 show 101 OFFLINE@2",
    ]);
}

#[test]
fn user_announced_in_time_is_never_shown_offline() {
    let mut bench = Bench::new(limits::REANNOUNCE_GRACE);
    bench
        .watch(0, 101)
        .open(9_000, 1, "phone", Choice::Dnd)
        .tick(60_000);
    bench.check(&["0 answer 101 STATUS_UNSPECIFIED", "9000 show 101 DND"]);
}

#[test]
fn gone_gateway_takes_sessions_and_watchers_at_once() {
    let mut bench = Bench::known();
    bench
        .open(0, 1, "phone", Choice::Online)
        .watch(0, 2)
        .watch(0, 101);
    bench.at(
        3_000,
        Command::GatewaySilent {
            gateway: gateway(0),
        },
    );
    bench
        .at(
            8_000,
            Command::GatewayGone {
                gateway: gateway(0),
            },
        )
        .tick(60_000);
    bench.check(&[
        "0 answer 2 ONLINE",
        "0 answer 101 ONLINE",
        "8000 write 3000",
        "8000 show 101 OFFLINE@3000",
    ]);
}

#[test]
fn sweep_ends_only_what_was_not_announced_again() {
    let mut bench = Bench::known();
    bench
        .open(0, 1, "phone", Choice::Online)
        .open(0, 2, "laptop", Choice::Dnd)
        .watch(0, 101);
    bench.at(
        1_000,
        Command::GatewayDoubted {
            gateway: gateway(0),
        },
    );
    bench.open(2_000, 1, "phone", Choice::Online);
    bench
        .at(
            11_000,
            Command::GatewaySwept {
                gateway: gateway(0),
            },
        )
        .tick(60_000);
    bench.check(&["0 answer 101 DND", "11000 show 101 ONLINE"]);
}

#[test]
fn notice_reaches_all_sessions_but_the_origin() {
    let notify = |except_session| Command::Notify {
        notice: Bytes::from_static(b"n"),
        except_session,
    };
    let mut bench = Bench::known();
    bench
        .at(0, notify(0))
        .open(1, 1, "phone", Choice::Online)
        .open(1, 102, "laptop", Choice::Away);
    bench
        .at(2, notify(0))
        .at(3, notify(1))
        .close(4, 102)
        .at(5, notify(1));
    bench
        .at(
            6,
            Command::GatewaySilent {
                gateway: gateway(0),
            },
        )
        .at(7, notify(0));
    bench.check(&[
        "0 push",
        "2 deliver 1,102",
        "3 deliver 102",
        "7 push",
        "7 deliver 1",
    ]);
}

#[test]
fn unwatched_session_is_not_told() {
    let mut bench = Bench::known();
    bench.open(0, 1, "phone", Choice::Online).watch(0, 101);
    bench
        .at(1, Command::Unwatch { session: key(101) })
        .choose(2, 1, "phone", Choice::Away);
    bench.check(&["0 answer 101 ONLINE"]);
}

#[test]
fn repeated_announcement_and_close_change_nothing() {
    let mut bench = Bench::known();
    bench
        .open(0, 1, "phone", Choice::Away)
        .open(1, 1, "phone", Choice::Online)
        .watch(2, 101);
    bench.close(3, 1).close(4, 1).tick(4_999);
    bench.check(&["2 answer 101 AWAY"]);
    bench.tick(6_000);
    bench.check(&[
        "2 answer 101 AWAY",
        "5003 write 3",
        "5003 show 101 OFFLINE@3",
    ]);
}

#[test]
fn watchers_and_sessions_are_bounded() {
    let mut bench = Bench::known();
    let device: Arc<str> = "phone".into();
    for session in 0..limits::SESSIONS_MAX as u64 {
        bench.open(0, session, &device, Choice::Online);
        bench.watch(0, session);
    }
    bench.log.clear();
    bench
        .open(1, 70_000, &device, Choice::Dnd)
        .watch(1, 70_000)
        .watch(1, 5);
    bench.check(&[
        "1 session refused",
        &format!("1 refuse 70000 {}", Refusal::TooManyWatchers),
        "1 answer 5 ONLINE",
    ]);
}

#[test]
fn clock_that_steps_back_does_not_take_last_seen_back() {
    let mut bench = Bench::known();
    bench
        .open(0, 1, "phone", Choice::Online)
        .close(0, 1)
        .tick(5_000);
    bench.at(
        5_001,
        Command::LastSeenWritten {
            last_seen_ms: START_MS,
            stored: true,
        },
    );
    bench
        .watch(5_002, 101)
        .open(8_000, 2, "phone", Choice::Online);
    let back = Now {
        instant: bench.now().instant,
        wall_ms: 1,
    };
    bench
        .user
        .apply(Command::Closed { session: key(2) }, back, &bench.rules);
    bench.tick(20_000);
    bench.check(&[
        "5000 write 0",
        "5002 answer 101 OFFLINE@0",
        "8000 show 101 ONLINE",
        "13000 write 0",
        "13000 show 101 OFFLINE@0",
    ]);
}

#[test]
fn stopping_node_stores_who_is_seen_now() {
    let mut bench = Bench::known();
    assert_eq!(bench.user.last_seen_at_stop(bench.now()), None);
    bench.open(0, 1, "phone", Choice::Online).tick(700);
    assert_eq!(
        bench.user.last_seen_at_stop(bench.now()),
        Some(START_MS + 700)
    );
    bench.choose(800, 1, "phone", Choice::Invisible).tick(900);
    assert_eq!(
        bench.user.last_seen_at_stop(bench.now()),
        Some(START_MS + 800)
    );
}
