//! Random lives of one user, judged by a model that knows only what must hold.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use proptest::prelude::*;
use rookery_cluster::{EndpointId, Role};
use rookery_proto::v1::presence::Status;
use tokio::time::Instant;

use super::*;
use crate::limits;

const GATEWAYS: u64 = 3;
const START_MS: u64 = 1_700_000_000_000;

#[derive(Clone, Copy, Debug)]
enum Step {
    Open {
        session: u64,
        device: usize,
        choice: usize,
    },
    Close {
        session: u64,
    },
    Choose {
        session: u64,
        choice: usize,
    },
    Watch {
        session: u64,
    },
    Unwatch {
        session: u64,
    },
    Gone {
        gateway: u64,
    },
    /// Packets were lost: everything is announced again, except what the gateway closed.
    Reannounce {
        gateway: u64,
        lost_close: Option<u64>,
    },
    StoreFails {
        fails: bool,
    },
    ClockBack {
        ms: u64,
    },
    Pass {
        ms: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let session = 0..12_u64;
    prop_oneof![
        4 => (session.clone(), 0..3_usize, 0..Choice::COUNT)
            .prop_map(|(session, device, choice)| Step::Open { session, device, choice }),
        4 => session.clone().prop_map(|session| Step::Close { session }),
        3 => (session.clone(), 0..Choice::COUNT)
            .prop_map(|(session, choice)| Step::Choose { session, choice }),
        2 => session.clone().prop_map(|session| Step::Watch { session }),
        1 => session.clone().prop_map(|session| Step::Unwatch { session }),
        1 => (0..GATEWAYS).prop_map(|gateway| Step::Gone { gateway }),
        1 => (0..GATEWAYS, proptest::option::of(session))
            .prop_map(|(gateway, lost_close)| Step::Reannounce { gateway, lost_close }),
        1 => any::<bool>().prop_map(|fails| Step::StoreFails { fails }),
        1 => (0..5_000_u64).prop_map(|ms| Step::ClockBack { ms }),
        6 => (1..4_000_u64).prop_map(|ms| Step::Pass { ms }),
    ]
}

fn gateway(number: u64) -> EndpointId {
    EndpointId::new(Role::Gateway, number)
}

fn key(session: u64) -> SessionKey {
    SessionKey {
        gateway: gateway(session % GATEWAYS),
        session,
    }
}

fn device(number: usize) -> Arc<str> {
    format!("device {number}").into()
}

fn choice(number: usize) -> Choice {
    [Choice::Dnd, Choice::Online, Choice::Away, Choice::Invisible][number]
}

/// A watcher as it stands.
#[derive(Debug, Default)]
struct Seen {
    shown: Option<Shown>,
    updated_at: Option<Instant>,
}

struct Life {
    user: User,
    rules: Rules,
    now: Instant,
    wall_ms: u64,
    store_fails: bool,
    stored_ms: u64,
    /// Connected sessions and their device, as the gateways know them.
    connected: BTreeMap<u64, usize>,
    chosen: BTreeMap<usize, Choice>,
    watchers: BTreeMap<u64, Seen>,
    last_seen_shown: u64,
}

impl Life {
    fn new() -> Self {
        let now = Instant::now();
        let rules = Rules {
            grace: limits::GRACE,
            throttle: limits::THROTTLE,
            store_retry: limits::STORE_RETRY,
            known_from: now + limits::REANNOUNCE_GRACE,
        };
        Self {
            user: User::default(),
            rules,
            now,
            wall_ms: START_MS,
            store_fails: false,
            stored_ms: 0,
            connected: BTreeMap::new(),
            chosen: BTreeMap::new(),
            watchers: BTreeMap::new(),
            last_seen_shown: 0,
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Open {
                session,
                device: number,
                choice: chosen,
            } => {
                let number = *self.connected.entry(session).or_insert(number);
                self.apply(Command::Opened {
                    at: Address {
                        key: key(session),
                        lane: 0,
                    },
                    device: device(number),
                    choice: choice(chosen),
                });
            }
            Step::Close { session } => {
                self.connected.remove(&session);
                self.apply(Command::Closed {
                    session: key(session),
                });
            }
            Step::Choose {
                session,
                choice: chosen,
            } => {
                if let Some(number) = self.connected.get(&session).copied() {
                    self.chosen.insert(number, choice(chosen));
                    self.apply(Command::Choose {
                        at: Address {
                            key: key(session),
                            lane: 0,
                        },
                        device: device(number),
                        choice: choice(chosen),
                    });
                }
            }
            Step::Watch { session } => {
                self.watchers.entry(session).or_default();
                let at = Address {
                    key: key(session),
                    lane: 0,
                };
                self.apply(Command::Watch {
                    at,
                    request: session,
                    own: false,
                });
            }
            Step::Unwatch { session } => {
                self.watchers.remove(&session);
                self.apply(Command::Unwatch {
                    session: key(session),
                });
            }
            Step::Gone { gateway: number } => {
                self.apply(Command::GatewaySilent {
                    gateway: gateway(number),
                });
                self.pass(limits::GRACE);
                self.connected
                    .retain(|session, _| session % GATEWAYS != number);
                self.watchers
                    .retain(|session, _| session % GATEWAYS != number);
                self.apply(Command::GatewayGone {
                    gateway: gateway(number),
                });
            }
            Step::Reannounce {
                gateway: number,
                lost_close,
            } => {
                if let Some(session) = lost_close.filter(|session| session % GATEWAYS == number) {
                    self.connected.remove(&session);
                }
                self.apply(Command::GatewayDoubted {
                    gateway: gateway(number),
                });
                let announced: Vec<_> = self
                    .connected
                    .iter()
                    .filter(|(session, _)| *session % GATEWAYS == number)
                    .map(|(session, device)| (*session, *device))
                    .collect();
                for (session, number) in announced {
                    let choice = self.chosen.get(&number).copied().unwrap_or(Choice::Online);
                    let at = Address {
                        key: key(session),
                        lane: 0,
                    };
                    self.apply(Command::Opened {
                        at,
                        device: device(number),
                        choice,
                    });
                }
                self.pass(limits::REANNOUNCE_GRACE);
                self.apply(Command::GatewaySwept {
                    gateway: gateway(number),
                });
            }
            Step::StoreFails { fails } => self.store_fails = fails,
            Step::ClockBack { ms } => self.wall_ms -= ms,
            Step::Pass { ms } => self.pass(Duration::from_millis(ms)),
        }
    }

    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        let mut ticks = 0;
        while let Some(due) = self.user.deadline(self.moment(), &self.rules)
            && due <= until
        {
            ticks += 1;
            assert!(ticks < 1_000, "deadlines move on");
            self.advance(due.max(self.now));
            self.apply(Command::Tick);
        }
        self.advance(until);
    }

    fn advance(&mut self, to: Instant) {
        self.wall_ms += u64::try_from((to - self.now).as_millis()).unwrap();
        self.now = to;
    }

    fn moment(&self) -> Now {
        Now {
            instant: self.now,
            wall_ms: self.wall_ms,
        }
    }

    fn apply(&mut self, command: Command) {
        let mut commands = vec![command];
        while let Some(command) = commands.pop() {
            for effect in self.user.apply(command, self.moment(), &self.rules) {
                commands.extend(self.perform(effect));
            }
            if self.user.is_idle() {
                self.user = User::default();
            }
        }
    }

    /// Does what the actor would; returns what it would be told.
    fn perform(&mut self, effect: Effect) -> Option<Command> {
        match effect {
            Effect::Answer { to, shown, .. } => {
                self.judge(shown);
                let watcher = self.watchers.get_mut(&to.key.session).expect("who asked");
                watcher.shown = Some(shown);
            }
            Effect::Refuse { to, .. } => {
                assert!(self.store_fails);
                // Two watches of one session may both be refused: the first has removed it.
                let watcher = self.watchers.get(&to.key.session);
                if watcher.is_some_and(|watcher| watcher.shown.is_none()) {
                    self.watchers.remove(&to.key.session);
                }
            }
            Effect::Show { shown, to } => {
                self.judge(shown);
                for address in to {
                    let now = self.now;
                    let watcher = self
                        .watchers
                        .get_mut(&address.key.session)
                        .expect("who watches");
                    assert_ne!(watcher.shown, Some(shown), "told what it knows");
                    if let Some(before) = watcher.updated_at.replace(now) {
                        assert!(now - before >= limits::THROTTLE, "two updates in 2 s");
                    }
                    watcher.shown = Some(shown);
                }
            }
            Effect::Read => {
                let stored_ms = (!self.store_fails).then_some(self.stored_ms);
                return Some(Command::LastSeenRead { stored_ms });
            }
            Effect::Write { last_seen_ms } => {
                let stored = !self.store_fails;
                if stored {
                    self.stored_ms = self.stored_ms.max(last_seen_ms);
                }
                return Some(Command::LastSeenWritten {
                    last_seen_ms,
                    stored,
                });
            }
            Effect::Deliver { .. } | Effect::Push { .. } | Effect::SessionRefused => {
                panic!("nothing was sent to the user")
            }
        }
        None
    }

    /// What may never be shown.
    fn judge(&mut self, shown: Shown) {
        if shown.status == Status::Offline {
            assert!(self.now >= self.rules.known_from, "offline while unknown");
            let visible = self
                .best_connected()
                .is_some_and(|best| best != Choice::Invisible);
            assert!(!visible, "offline while connected");
        } else {
            assert_eq!(shown.last_seen_ms, 0);
            assert_ne!(shown.status, Status::Invisible);
        }
    }

    /// The best of the connected devices, by the machine's own record of what each chose.
    fn best_connected(&self) -> Option<Choice> {
        let devices: BTreeSet<_> = self.connected.values().copied().collect();
        devices
            .into_iter()
            .filter_map(|number| self.user.choice_of(&device(number)))
            .min()
    }

    /// After all graces: what watchers and store must have.
    fn judge_end(&mut self) {
        self.store_fails = false;
        self.pass(Duration::from_secs(60));
        let expected = match self.best_connected() {
            None | Some(Choice::Invisible) => Status::Offline,
            Some(Choice::Dnd) => Status::Dnd,
            Some(Choice::Online) => Status::Online,
            Some(Choice::Away) => Status::Away,
        };
        for (session, watcher) in &self.watchers {
            let shown = watcher.shown.expect("every watch is answered in the end");
            assert_eq!(shown.status, expected, "watcher {session}");
            if shown.status == Status::Offline {
                assert_eq!(shown.last_seen_ms, self.stored_ms, "watcher {session}");
            }
        }
        assert!(
            self.stored_ms >= self.last_seen_shown,
            "last seen moved back"
        );
        if self.connected.is_empty() && self.watchers.is_empty() {
            assert!(self.user.is_idle(), "memory is given back");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn watchers_end_with_the_truth_and_are_never_misled(
        steps in proptest::collection::vec(step(), 1..60)
    ) {
        let mut life = Life::new();
        for step in steps {
            life.take(step);
            life.last_seen_shown = life.last_seen_shown.max(life.stored_ms);
        }
        life.judge_end();
    }
}
