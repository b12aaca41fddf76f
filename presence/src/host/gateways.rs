//! Which gateways are heard, and until when those in doubt are waited for.
//!
//! ```text
//!                     lost                      sweep_at
//!  opened ──► Live ─────────► Doubted ────────────────────► Live     (unannounced sessions end)
//!              │  ▲ opened: as lost │ silent
//!              └──┼───────► Silent ◄┘ ── gone_at ─────────► forgotten (all sessions end)
//!                 └───────────┘
//! ```

use std::{collections::BTreeMap, time::Duration};

use rookery_cluster::{EndpointId, Role};
use tokio::time::Instant;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Live,
    /// Asked to announce again; asked once more at `repeat_at`, as the question may be lost too.
    Doubted {
        repeat_at: Option<Instant>,
        sweep_at: Instant,
    },
    Silent {
        gone_at: Instant,
    },
}

#[derive(Debug)]
struct Gateway {
    state: State,
    /// A session packet of it was dropped here.
    dropped: bool,
}

/// What is due for a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Start a round of doubt: packets were dropped here.
    Doubt,
    /// Ask once more.
    Repeat,
    /// End what was not announced.
    Sweep,
    /// End all of it.
    Gone,
}

/// All gateways heard and not yet given up.
#[derive(Debug)]
pub(super) struct Gateways {
    known: BTreeMap<EndpointId, Gateway>,
    grace: Duration,
    reannounce_grace: Duration,
}

impl Gateways {
    pub(super) fn new(grace: Duration, reannounce_grace: Duration) -> Self {
        Self {
            known: BTreeMap::new(),
            grace,
            reannounce_grace,
        }
    }

    /// Whether the endpoint holds sessions.
    pub(super) fn is_gateway(endpoint: &EndpointId) -> bool {
        endpoint
            .as_str()
            .strip_prefix(Role::Gateway.as_str())
            .is_some_and(|rest| rest.starts_with('-'))
    }

    /// A gateway is heard. True when it had been silent: then what it said meanwhile is lost.
    pub(super) fn opened(&mut self, gateway: &EndpointId) -> bool {
        match self.known.get(gateway) {
            Some(known) => matches!(known.state, State::Silent { .. }),
            None => {
                let live = Gateway {
                    state: State::Live,
                    dropped: false,
                };
                self.known.insert(gateway.clone(), live);
                false
            }
        }
    }

    /// Starts a round of doubt.
    pub(super) fn doubt(&mut self, gateway: &EndpointId, now: Instant) {
        let repeat_at = Some(now + self.reannounce_grace / 2);
        let state = State::Doubted {
            repeat_at,
            sweep_at: now + self.reannounce_grace,
        };
        self.known.insert(
            gateway.clone(),
            Gateway {
                state,
                dropped: false,
            },
        );
    }

    /// A session packet had to be dropped here; the next [`due`](Self::due) starts a round.
    pub(super) fn packet_dropped(&mut self, gateway: &EndpointId) {
        if let Some(known) = self.known.get_mut(gateway) {
            known.dropped = true;
        }
    }

    pub(super) fn silent(&mut self, gateway: &EndpointId, now: Instant) {
        let state = State::Silent {
            gone_at: now + self.grace,
        };
        self.known.insert(
            gateway.clone(),
            Gateway {
                state,
                dropped: false,
            },
        );
    }

    /// Takes what is due by now. The caller does it.
    pub(super) fn due(&mut self, now: Instant) -> Vec<(EndpointId, Due)> {
        let mut all = Vec::new();
        self.known.retain(|name, gateway| {
            let due = match &mut gateway.state {
                State::Live | State::Doubted { .. } if gateway.dropped => Due::Doubt,
                State::Silent { gone_at } if *gone_at <= now => Due::Gone,
                State::Doubted { sweep_at, .. } if *sweep_at <= now => Due::Sweep,
                State::Doubted { repeat_at, .. } if repeat_at.is_some_and(|at| at <= now) => {
                    *repeat_at = None;
                    Due::Repeat
                }
                State::Live | State::Doubted { .. } | State::Silent { .. } => return true,
            };
            if due == Due::Sweep {
                gateway.state = State::Live;
            }
            all.push((name.clone(), due));
            due != Due::Gone
        });
        all
    }

    /// All that can be asked now.
    pub(super) fn heard(&self) -> impl Iterator<Item = &EndpointId> {
        let heard = |gateway: &Gateway| !matches!(gateway.state, State::Silent { .. });
        self.known
            .iter()
            .filter(move |(_, gateway)| heard(gateway))
            .map(|(name, _)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(5);
    const REANNOUNCE: Duration = Duration::from_secs(10);

    fn gateways() -> (Gateways, EndpointId, Instant) {
        let gateway = EndpointId::new(Role::Gateway, 7);
        let mut gateways = Gateways::new(GRACE, REANNOUNCE);
        assert!(!gateways.opened(&gateway));
        (gateways, gateway, Instant::now())
    }

    #[test]
    fn silent_gateway_is_gone_after_its_grace_and_not_before() {
        let (mut gateways, gateway, now) = gateways();
        gateways.silent(&gateway, now);
        assert_eq!(gateways.heard().count(), 0);
        assert_eq!(gateways.due(now + GRACE - Duration::from_millis(1)), []);
        assert_eq!(gateways.due(now + GRACE), [(gateway.clone(), Due::Gone)]);
        assert!(!gateways.opened(&gateway), "forgotten");
    }

    #[test]
    fn silent_gateway_that_is_heard_again_must_announce_again() {
        let (mut gateways, gateway, now) = gateways();
        gateways.silent(&gateway, now);
        assert!(gateways.opened(&gateway));
        gateways.doubt(&gateway, now);
        assert_eq!(gateways.due(now + GRACE), [(gateway.clone(), Due::Repeat)]);
        assert_eq!(gateways.due(now + GRACE), []);
        assert_eq!(
            gateways.due(now + REANNOUNCE),
            [(gateway.clone(), Due::Sweep)]
        );
        assert_eq!(gateways.due(now + REANNOUNCE * 9), []);
    }

    #[test]
    fn packets_dropped_in_a_round_of_doubt_start_another() {
        let (mut gateways, gateway, now) = gateways();
        gateways.doubt(&gateway, now);
        gateways.packet_dropped(&gateway);
        assert_eq!(
            gateways.due(now + REANNOUNCE),
            [(gateway, Due::Doubt)],
            "no sweep"
        );
    }

    #[test]
    fn only_gateways_are_asked_to_announce() {
        assert!(Gateways::is_gateway(&EndpointId::new(Role::Gateway, 1)));
        assert!(!Gateways::is_gateway(&EndpointId::new(Role::Rooms, 1)));
    }
}
