//! Joining, leaving and splits: what moves, and what must not.

use std::{collections::BTreeMap, time::Duration};

use rookery_proto::{ids::Epoch, link::Load, shard::Shard};
use tokio::time::Instant;

use super::world::World;
use crate::{
    endpoint::{EndpointId, Role},
    membership::{
        Beat, Claims, Duty, HandOver, NodeState, Standing, Step, Suspended, Told,
        member::{Effect, Input, Member, Myself},
    },
    placement::rendezvous::home,
};

fn moved(before: &BTreeMap<Shard, usize>, after: &BTreeMap<Shard, usize>) -> Vec<(usize, usize)> {
    before
        .iter()
        .filter(|(shard, owner)| after[*shard] != **owner)
        .map(|(shard, owner)| (*owner, after[shard]))
        .collect()
}

fn myself(node: &str, role: Role, incarnation: u64) -> Myself {
    Myself {
        node: node.to_owned(),
        role,
        incarnation,
        has_table: false,
    }
}

/// A heartbeat of a node that serves, as a member hears it.
fn beat(role: Role, incarnation: u64, number: u64, claims: Claims) -> Input {
    Input::Heard(Told::Beat(Beat {
        node: format!("node-{incarnation}"),
        role,
        incarnation,
        state: NodeState::Serving,
        number,
        membership_epoch: 0,
        claims,
        load: Load::default(),
    }))
}

/// That a node has given a shard to the next, as a member hears it.
fn given(role: Role, (from, to): (u64, u64), shard: Shard, epoch: u64) -> Input {
    Input::Heard(Told::HandOver(HandOver {
        from: EndpointId::new(role, from),
        to: EndpointId::new(role, to),
        shard,
        epoch: Epoch(epoch),
        step: Step::Given,
    }))
}

#[test]
fn fresh_cluster_spreads_its_shards_and_rests() {
    let mut world = World::new(1, 3);
    world.run(5_000);
    world.check_settled(&[0, 1, 2]);
    let taken = world.taken;
    world.run(60_000);
    assert_eq!(
        (world.taken, world.released, world.taken_over),
        (taken, 0, 0)
    );
}

#[test]
fn joining_node_gets_its_share_and_nothing_else_moves() {
    let mut world = World::new(2, 2);
    world.run(10_000);
    let before = world.owners();
    let new = world.join();
    world.run(30_000);
    world.check_settled(&[0, 1, new]);
    let moved = moved(&before, &world.owners());
    assert!(moved.len() > 100, "{} moved", moved.len());
    assert!(
        moved.iter().all(|(_, to)| *to == new),
        "only to the new one"
    );
    assert_eq!(world.taken_over, 0, "no fence is needed");
    assert_eq!(world.refused, 0, "nobody asks for what another has");
}

#[test]
fn leaving_node_hands_over_all_it_has_and_nothing_else_moves() {
    let mut world = World::new(3, 3);
    world.run(10_000);
    let before = world.owners();
    world.leave(1);
    world.run(10_000);
    assert_eq!(world.standing(1), Standing::Left);
    world.check_settled(&[0, 2]);
    let moved = moved(&before, &world.owners());
    assert!(moved.iter().all(|(from, _)| *from == 1));
    assert_eq!(world.taken_over, 0, "no fence is needed");
    assert_eq!(world.refused, 0, "nobody asks for what another has");
}

#[test]
fn last_node_that_leaves_releases_what_the_next_one_takes_without_a_fence() {
    let mut world = World::new(4, 1);
    world.run(5_000);
    world.check_settled(&[0]);
    world.leave(0);
    world.run(5_000);
    assert_eq!(world.standing(0), Standing::Left);
    world.kill(0);
    let next = world.join();
    world.run(5_000);
    world.check_settled(&[next]);
    assert_eq!(world.taken_over, 0);
}

#[test]
fn killed_nodes_shards_are_taken_within_four_seconds() {
    for seed in 0..5 {
        let mut world = World::new(seed, 3);
        world.run(10_000);
        let before = world.owners();
        world.kill(2);
        world.run(4_000);
        world.check_settled(&[0, 1]);
        let moved = moved(&before, &world.owners());
        assert!(moved.iter().all(|(from, _)| *from == 2));
    }
}

#[test]
fn cluster_killed_as_a_whole_starts_again() {
    let mut world = World::new(5, 3);
    world.run(10_000);
    for node in 0..3 {
        world.kill(node);
    }
    world.run(5_000);
    for node in 0..3 {
        world.restart(node);
    }
    world.run(20_000);
    world.check_settled(&[0, 1, 2]);
}

#[test]
fn split_of_the_bus_moves_nothing_while_the_table_lives() {
    let mut world = World::new(6, 4);
    world.run(10_000);
    let before = world.owners();
    let done = (world.taken, world.released);
    world.weather.side = BTreeMap::from([(2, 1), (3, 1)]);
    world.run(60_000);
    for node in 0..4 {
        assert_eq!(world.standing(node), Standing::Serving);
    }
    world.check_settled(&[0, 1, 2, 3]);
    world.weather.side.clear();
    world.run(20_000);
    assert_eq!((world.taken, world.released), done, "nothing moved");
    assert_eq!(world.owners(), before);
}

#[test]
fn bus_that_dies_for_all_stops_all_and_moves_nothing() {
    let mut world = World::new(7, 3);
    world.run(10_000);
    let done = (world.taken, world.released);
    world.weather.deaf = [0, 1, 2].into();
    world.run(10_000);
    for node in 0..3 {
        assert_eq!(world.standing(node), Standing::Suspended(Suspended::Deaf));
    }
    // They come back one after the other, as their connections do.
    for node in 0..3 {
        world.weather.deaf.remove(&node);
        world.run(600);
    }
    world.run(20_000);
    world.check_settled(&[0, 1, 2]);
    assert_eq!((world.taken, world.released), done, "nothing moved");
}

#[test]
fn database_that_dies_for_all_stops_all_and_moves_nothing() {
    let mut world = World::new(8, 3);
    world.run(10_000);
    let done = (world.taken, world.released);
    world.weather.no_database = [0, 1, 2].into();
    world.run(10_000);
    for node in 0..3 {
        assert!(matches!(world.standing(node), Standing::Suspended(_)));
    }
    world.weather.no_database.clear();
    world.run(20_000);
    world.check_settled(&[0, 1, 2]);
    assert_eq!((world.taken, world.released), done, "nothing moved");
}

#[test]
fn node_cut_off_the_bus_or_the_database_is_replaced() {
    for cut_database in [false, true] {
        let mut world = World::new(9, 3);
        world.run(10_000);
        world.blame(0);
        if cut_database {
            world.weather.no_database.insert(0);
        } else {
            world.weather.deaf.insert(0);
        }
        world.run(8_000);
        assert!(matches!(world.standing(0), Standing::Suspended(_)) || !cut_database);
        assert!(world.taken_over > 0);
        assert!(world.owners().values().all(|owner| *owner != 0));
        world.weather = Default::default();
        world.run(40_000);
        world.check_settled(&[0, 1, 2]);
    }
}

#[test]
fn paused_node_that_comes_back_rejoins_as_a_new_incarnation() {
    let mut world = World::new(10, 3);
    world.run(10_000);
    world.pause(1, 15_000);
    world.run(10_000);
    assert!(world.owners().values().all(|owner| *owner != 1));
    world.run(40_000);
    world.check_settled(&[0, 1, 2]);
}

#[test]
fn shards_of_one_number_given_by_both_roles_are_both_sought_at_their_next_owners() {
    let now = Instant::now();
    let mut member = Member::new(myself("gateway-9", Role::Gateway, 9), now);
    let shard = Shard::of("general");
    let roles = [Role::Rooms, Role::Presence];
    for role in roles {
        let claims = Claims::from([(shard, Epoch(4))]);
        member.handle(beat(role, 1, 1, claims), now);
    }
    for role in roles {
        member.handle(given(role, (1, 2), shard, 5), now);
    }
    for role in roles {
        let next = EndpointId::new(role, 2);
        assert_eq!(member.owners().owner(role, shard), Some(&next));
    }
}

#[test]
fn gift_that_is_told_late_does_not_hide_a_later_one() {
    let now = Instant::now();
    let mut member = Member::new(myself("gateway-9", Role::Gateway, 9), now);
    let shard = Shard::of("general");
    for (from, to, epoch) in [(2, 3, 5), (1, 2, 4)] {
        member.handle(given(Role::Rooms, (from, to), shard, epoch), now);
    }
    let next = EndpointId::new(Role::Rooms, 3);
    assert_eq!(member.owners().owner(Role::Rooms, shard), Some(&next));
}

#[test]
fn shard_that_another_owns_under_a_higher_epoch_is_let_go_at_once() {
    let start = Instant::now();
    let role = Role::Rooms;
    let mut member = Member::new(myself("node-1", role, 1), start);
    let shard = Shard::of("general");
    let mut duties = Vec::new();
    for (ms, input) in [
        (0, beat(role, 1, 1, Claims::new())),
        (1_000, beat(role, 1, 2, Claims::new())),
        (2_000, beat(role, 1, 3, Claims::new())),
        (2_100, Input::Tick),
        (
            2_150,
            Input::Taken {
                shard,
                epoch: Epoch(5),
            },
        ),
        (2_200, beat(role, 2, 1, Claims::from([(shard, Epoch(4))]))),
        (2_300, beat(role, 2, 2, Claims::from([(shard, Epoch(6))]))),
    ] {
        let effects = member.handle(input, start + Duration::from_millis(ms));
        duties.extend(effects.into_iter().filter_map(|effect| match effect {
            Effect::Duty(duty) => Some((ms, duty)),
            _ => None,
        }));
    }
    let take = Duty::Take { shard, from: None };
    assert!(duties.contains(&(2_100, take)));
    assert_eq!(duties.last(), Some(&(2_300, Duty::Lost { shard })));
    assert!(!member.claims().contains_key(&shard));
}

/// One of two nodes that serve, a shard that is at home at the other, and the time.
fn serving() -> (Member, Shard, Instant) {
    let start = Instant::now();
    let mut member = Member::new(myself("node-1", Role::Rooms, 1), start);
    for number in 1..4 {
        let at = start + Duration::from_secs(number);
        for node in [1, 2] {
            member.handle(beat(Role::Rooms, node, number, Claims::new()), at);
        }
    }
    let others = |shard: &Shard| home(*shard, ["node-1", "node-2"]) == Some("node-2");
    let shard = Shard::all().find(others).expect("it has half of them");
    (member, shard, start + Duration::from_secs(3))
}

#[test]
fn gift_that_is_told_again_or_late_is_not_believed() {
    let (mut member, shard, now) = serving();
    let hear = |member: &mut Member, to, epoch| {
        let effects = member.handle(given(Role::Rooms, (9, to), shard, epoch), now);
        let gifts = effects.into_iter().filter_map(|effect| match effect {
            Effect::Duty(Duty::Given { shard, epoch }) => Some((shard, epoch)),
            _ => None,
        });
        gifts.collect::<Vec<_>>()
    };
    assert_eq!(hear(&mut member, 2, 5), [], "another's");
    assert_eq!(hear(&mut member, 1, 5), [(shard, Epoch(5))]);
    assert_eq!(member.claims().get(&shard), Some(&Epoch(5)));
    assert_eq!(hear(&mut member, 1, 5), []);
    let claims = Claims::from([(shard, Epoch(6))]);
    member.handle(beat(Role::Rooms, 2, 9, claims), now);
    assert_eq!(member.claims().get(&shard), None, "another took it");
    for epoch in [4, 5] {
        assert_eq!(hear(&mut member, 1, epoch), [], "{epoch}");
    }
    assert_eq!(hear(&mut member, 1, 7), [(shard, Epoch(7))]);
    member.handle(Input::Fenced, now);
    assert_eq!(hear(&mut member, 1, 9), [], "fenced");
}

#[test]
fn owner_that_does_not_know_of_its_gift_is_told_by_who_asked_in_vain() {
    let (mut member, shard, now) = serving();
    let epoch = Epoch(5);
    for (owner, lives) in [(2, true), (3, false)] {
        let refused = Input::TakeRefused {
            shard,
            owner,
            epoch,
        };
        let effects = member.handle(refused, now);
        let told = effects.into_iter().find_map(|effect| match effect {
            Effect::Say(Told::HandOver(said)) if said.step == Step::Given => Some(said),
            _ => None,
        });
        let wanted = lives.then(|| HandOver {
            from: EndpointId::new(Role::Rooms, 1),
            to: EndpointId::new(Role::Rooms, owner),
            shard,
            epoch,
            step: Step::Given,
        });
        assert_eq!(told, wanted, "owner {owner}");
    }
}
