//! The bus: drops, doubles, delays and turns messages around, and is cut between processes.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use bytes::Bytes;
use fastrand::Rng;
use rookery_cluster::{
    Broadcast, Bus, BusError, EndpointId, Subscription,
    task::{TaskKind, spawn},
};
use tokio::{
    sync::mpsc,
    time::{Duration, Instant, sleep_until},
};

use crate::{
    presence::Fact,
    world::{Process, World, mostly_short},
};

/// Messages that wait at one inbox. Beyond, they are lost.
const INBOX_MESSAGES_MAX: usize = 4_096;

/// How bad the bus is, in thousandths of the messages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    pub(crate) lost: u32,
    pub(crate) doubled: u32,
    /// Overtaken by later messages of the same sender.
    pub(crate) overtaken: u32,
    pub(crate) delay_ms_max: u64,
}

impl Weather {
    pub(crate) const FAIR: Self = Self {
        lost: 0,
        doubled: 0,
        overtaken: 0,
        delay_ms_max: 2,
    };
}

/// The wires between all processes.
pub(crate) struct Net {
    world: Arc<World>,
    state: Mutex<State>,
}

struct State {
    dice: Rng,
    weather: Weather,
    inboxes: BTreeMap<EndpointId, (Arc<Process>, mpsc::Sender<Bytes>)>,
    /// With a name each.
    listeners: Vec<(Arc<Process>, String, mpsc::Sender<Bytes>)>,
    /// Names of processes that do not hear each other.
    cuts: BTreeSet<(String, String)>,
    /// Incarnations on one side of a split.
    one_side: BTreeSet<u64>,
    /// By sender and receiver: what is under way in order, and when the last of it arrives.
    pipes: BTreeMap<(String, String), Pipe>,
}

#[derive(Default)]
struct Pipe {
    under_way: VecDeque<Bytes>,
    last: Option<Instant>,
}

impl Net {
    pub(crate) fn new(world: &Arc<World>) -> Arc<Self> {
        Arc::new(Self {
            world: Arc::clone(world),
            state: Mutex::new(State {
                dice: world.own_dice(),
                weather: Weather::FAIR,
                inboxes: BTreeMap::new(),
                listeners: Vec::new(),
                cuts: BTreeSet::new(),
                one_side: BTreeSet::new(),
                pipes: BTreeMap::new(),
            }),
        })
    }

    pub(crate) fn weather(&self, weather: Weather) {
        self.world.say(|| format!("bus {weather:?}"));
        let loses = weather.lost > 0 || weather.overtaken > 0;
        self.world.note(Fact::Losing(loses));
        self.state.lock().expect("no panic while held").weather = weather;
    }

    /// Two processes do not hear each other any more.
    pub(crate) fn cut(&self, one: &Process, other: &Process) {
        self.world.say(|| format!("cut {one:?} {other:?}"));
        self.world
            .note(Fact::Cut(one.incarnation, other.incarnation));
        let mut state = self.state.lock().expect("no panic while held");
        for (from, to) in [(one, other), (other, one)] {
            state.cuts.insert((from.name.clone(), to.name.clone()));
        }
    }

    /// The bus falls into two halves: each process is in one or the other, those that start now
    /// in the same. `alone`: nothing else is wrong.
    pub(crate) fn split(&self, dice: &mut Rng, alone: bool) {
        self.world.note(Fact::Split { alone });
        let mut state = self.state.lock().expect("no panic while held");
        let inboxes = state.inboxes.values().map(|(process, _)| process);
        let all: BTreeSet<u64> = inboxes.map(|it| it.incarnation).collect();
        let one_side: BTreeSet<u64> = all.into_iter().filter(|_| dice.bool()).collect();
        self.world.say(|| format!("one half: {one_side:?}"));
        state.one_side = one_side;
    }

    pub(crate) fn heal(&self) {
        self.world.note(Fact::Healed);
        let mut state = self.state.lock().expect("no panic while held");
        state.cuts.clear();
        state.one_side.clear();
    }

    /// Sends one message, however it fares.
    fn send(
        self: &Arc<Self>,
        from: &Arc<Process>,
        to: &Arc<Process>,
        inbox: &mpsc::Sender<Bytes>,
        name: &str,
        payload: &Bytes,
    ) {
        let mut state = self.state.lock().expect("no panic while held");
        let weather = state.weather;
        if state.dice.u32(0..1_000) < weather.lost {
            return;
        }
        let copies = 1 + u32::from(state.dice.u32(0..1_000) < weather.doubled);
        for _ in 0..copies {
            let now = Instant::now();
            let mut at = now + mostly_short(&mut state.dice, weather.delay_ms_max);
            let alone = state.dice.u32(0..1_000) < weather.overtaken;
            let pair = (from.name.clone(), name.to_owned());
            if alone {
                at += Duration::from_millis(state.dice.u64(1..=50));
            } else {
                let pipe = state.pipes.entry(pair.clone()).or_default();
                at = pipe.last.map_or(at, |last| last.max(at));
                pipe.last = Some(at);
                pipe.under_way.push_back(payload.clone());
            }
            let message = alone.then(|| payload.clone());
            let (net, inbox) = (Arc::clone(self), inbox.clone());
            let (from, to) = (Arc::clone(from), Arc::clone(to));
            spawn(TaskKind::Passing, "message", async move {
                sleep_until(at).await;
                if !to.is_dead() {
                    to.pass().await;
                }
                net.arrive(&pair, message, (&from, &to), &inbox);
            });
        }
    }

    fn arrive(
        &self,
        pair: &(String, String),
        alone: Option<Bytes>,
        (from, to): (&Process, &Process),
        inbox: &mpsc::Sender<Bytes>,
    ) {
        let mut state = self.state.lock().expect("no panic while held");
        let message = match alone {
            Some(message) => message,
            None => {
                let pipe = state.pipes.get_mut(pair);
                let message = pipe.and_then(|pipe| pipe.under_way.pop_front());
                message.expect("each arrival was put there")
            }
        };
        let cut = (from.name.clone(), to.name.clone());
        let [one, other] = [from, to].map(|it| state.one_side.contains(&it.incarnation));
        if !to.is_dead() && !state.cuts.contains(&cut) && one == other {
            // Full or closed: lost.
            let _ = inbox.try_send(message);
        }
    }
}

/// The bus as one process has it.
#[derive(Clone)]
pub(crate) struct NetPort {
    net: Arc<Net>,
    process: Arc<Process>,
}

impl NetPort {
    pub(crate) fn new(net: &Arc<Net>, process: &Arc<Process>) -> Self {
        Self {
            net: Arc::clone(net),
            process: Arc::clone(process),
        }
    }
}

#[async_trait]
impl Bus for NetPort {
    async fn publish(&self, to: &EndpointId, payload: Bytes) -> Result<(), BusError> {
        self.process.pass().await;
        let inbox = self
            .net
            .state
            .lock()
            .expect("no panic while held")
            .inboxes
            .get(to)
            .cloned();
        if let Some((process, inbox)) = inbox {
            self.net
                .send(&self.process, &process, &inbox, to.as_str(), &payload);
        }
        Ok(())
    }

    async fn subscribe(&self, inbox: &EndpointId) -> Result<Subscription, BusError> {
        self.process.pass().await;
        let (sender, receiver) = mpsc::channel(INBOX_MESSAGES_MAX);
        let mut state = self.net.state.lock().expect("no panic while held");
        let entry = (Arc::clone(&self.process), sender);
        state.inboxes.insert(inbox.clone(), entry);
        Ok(Subscription::new(receiver))
    }
}

#[async_trait]
impl Broadcast for NetPort {
    async fn announce(&self, payload: Bytes) -> Result<(), BusError> {
        self.process.pass().await;
        let listeners = self
            .net
            .state
            .lock()
            .expect("no panic while held")
            .listeners
            .clone();
        for (process, name, inbox) in listeners {
            self.net
                .send(&self.process, &process, &inbox, &name, &payload);
        }
        Ok(())
    }

    async fn listen(&self) -> Result<Subscription, BusError> {
        self.process.pass().await;
        let (sender, receiver) = mpsc::channel(INBOX_MESSAGES_MAX);
        let mut state = self.net.state.lock().expect("no panic while held");
        state.listeners.retain(|(process, ..)| !process.is_dead());
        let name = format!("listener {}", self.net.world.number());
        state
            .listeners
            .push((Arc::clone(&self.process), name, sender));
        Ok(Subscription::new(receiver))
    }
}
