//! Every state of a small cluster, by `stateright`.

use stateright::{Checker, HasDiscoveries, Model, Property};

use super::{
    cluster::Cluster,
    reduce::reduce,
    rule::Rule,
    setting,
    state::{Broken, Epoch, OFFSETS_MAX, Phase, REPLICAS, Read, State},
    step::{Act, Replica, Step, Steps},
};

/// 3 replicas, 2 owners, 2 rows on their way at once.
const SMALL: Cluster = Cluster {
    owners: 2,
    offsets: 2,
    in_flight_max: 2,
    rule: Rule::AsDesigned,
};

/// One thing that happens. A read of a quorum is one step here: two replicas answer, one does not.
/// (In the random schedules they answer one after the other.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Move {
    Step(Step),
    QuorumRead {
        owner: Epoch,
        read: Read,
        without: Replica,
    },
}

impl Model for Cluster {
    type State = State;
    type Action = Move;

    fn init_states(&self) -> Vec<State> {
        let mut first = State::default();
        reduce(self, &mut first);
        vec![first]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Move>) {
        let all_over = (1..=self.owners).all(|owner| self.is_over(state, owner));
        if all_over || state.broken != Broken::NOTHING {
            return;
        }
        let mut steps = Steps::new();
        self.steps(state, &mut steps);
        for &step in steps.as_slice() {
            actions.push(match step {
                Step::Act {
                    owner,
                    act: Act::Read(read, without),
                } => Move::QuorumRead {
                    owner,
                    read,
                    without,
                },
                step => Move::Step(step),
            });
        }
    }

    fn next_state(&self, last: &State, action: Move) -> Option<State> {
        let mut state = *last;
        match action {
            Move::Step(step) => self.apply(&mut state, step),
            Move::QuorumRead {
                owner,
                read,
                without,
            } => {
                for replica in 0..REPLICAS as Replica {
                    // It ends when the first answer shows the fence.
                    if replica != without && state.owner(owner).phase != Phase::Stopped {
                        let act = Act::Read(read, replica);
                        self.apply(&mut state, Step::Act { owner, act });
                    }
                }
            }
        }
        reduce(self, &mut state);
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(
                "an acknowledged event stays at its offset for every later owner",
                |_, state: &State| !state.broken.has(Broken::LOST),
            ),
            Property::always("no offset is served as two events", |_, state: &State| {
                !state.broken.has(Broken::TWO_EVENTS)
            }),
            Property::always(
                "a row that an owner did not adopt never comes back",
                |_, state: &State| !state.broken.has(Broken::REVIVED),
            ),
            // The search is worth something only where these happen.
            Property::sometimes(
                "the first owner acknowledges all its rows",
                |cluster: &Self, state: &State| {
                    state.owner(1).acked.count_ones() == u32::from(cluster.offsets)
                },
            ),
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
                "a room at rest is served without being written again",
                |cluster: &Self, state: &State| {
                    let last = state.owner(cluster.owners);
                    last.at_rest && last.adopted > 0 && last.served
                },
            ),
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
fn small_cluster_keeps_every_promise_in_every_state() {
    let cluster = Cluster {
        offsets: setting("ROOKERY_MODEL_OFFSETS").unwrap_or(SMALL.offsets),
        ..SMALL
    };
    assert!(
        (2..=OFFSETS_MAX).contains(&cluster.offsets),
        "2 to 4 offsets"
    );
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let checker = cluster.checker().threads(threads).spawn_bfs().join();
    println!(
        "{} offsets: {} states, {} steps between them, at most {} deep",
        cluster.offsets,
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth()
    );
    checker.assert_properties();
}

#[test]
fn small_cluster_breaks_a_promise_without_fence_reads() {
    let cluster = Cluster {
        rule: Rule::NoFenceRead,
        ..SMALL
    };
    let checker = cluster
        .checker()
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let lost = "an acknowledged event stays at its offset for every later owner";
    checker.assert_any_discovery(lost);
}
