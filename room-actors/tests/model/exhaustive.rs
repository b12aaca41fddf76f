//! Every state of a small cluster, by `stateright`.

use stateright::{Checker, Model, Property};

use super::{
    cluster::Cluster,
    rule::Rule,
    state::{Broken, Phase, State},
    step::{Step, Steps},
};

/// 3 replicas, 2 owners, 2 rows on their way at once.
const SMALL: Cluster = Cluster {
    owners: 2,
    offsets: 2,
    in_flight_max: 2,
    rule: Rule::AsDesigned,
};

impl Model for Cluster {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State::default()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Step>) {
        let all_over = (1..=self.owners).all(|owner| self.is_over(state, owner));
        if all_over || state.broken != Broken::NOTHING {
            return;
        }
        let mut steps = Steps::new();
        self.steps(state, &mut steps);
        actions.extend_from_slice(steps.as_slice());
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        let mut state = *last;
        self.apply(&mut state, step);
        // Replicas have no names: one order of them stands for all six.
        state.replicas.sort_unstable();
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(
                "an acknowledged event stays at its offset for every later owner",
                |_, state: &State| !state.broken.has(Broken::LOST),
            ),
            Property::always(
                "no offset is served as two events",
                |_, state: &State| !state.broken.has(Broken::TWO_EVENTS),
            ),
            Property::always(
                "a row that an owner did not adopt never comes back",
                |_, state: &State| !state.broken.has(Broken::REVIVED),
            ),
            // The search is worth something only where these happen.
            Property::sometimes("the first owner acknowledges all its rows", |cluster: &Self, state: &State| {
                state.owner(1).acked.count_ones() == u32::from(cluster.offsets)
            }),
            Property::sometimes(
                "the last owner adopts one row and acknowledges another",
                |cluster: &Self, state: &State| {
                    let last = state.owner(cluster.owners);
                    last.adopted == 1 && last.acked != 0
                },
            ),
            Property::sometimes("a row that was sent is void", |_, state: &State| {
                state.void & state.sent != 0
            }),
            Property::sometimes(
                "the first owner stops with a row on its way",
                |_, state: &State| {
                    let first = state.owner(1);
                    first.phase == Phase::Stopped && first.appended > 0
                },
            ),
        ]
    }
}
#[test]
fn probe_ex() {
    for (o, f, w) in [(2, 2, 2), (2, 3, 2)] {
        let start = std::time::Instant::now();
        let c = Cluster { owners: o, offsets: f, in_flight_max: w, rule: Rule::AsDesigned };
        let checker = c.checker().threads(2).timeout(std::time::Duration::from_secs(120)).spawn_bfs().join();
        println!("{o} {f} {w}: unique {} total {} depth {} {:?}", checker.unique_state_count(), checker.state_count(), checker.max_depth(), start.elapsed());
        checker.assert_properties();
    }
}
