//! Random faults: takeovers are judged all the while, and in the end all is whole.

use proptest::prelude::*;

use super::world::World;

const NODES: usize = 4;

#[derive(Clone, Debug)]
enum Fault {
    Kill(usize),
    Restart(usize),
    Pause(usize, u64),
    Split(u8),
    Deafen(usize),
    CutDatabase(usize),
    Leave(usize),
    Lossy(u8),
    Heal,
}

fn fault() -> impl Strategy<Value = Fault> {
    let node = 0..NODES;
    prop_oneof![
        node.clone().prop_map(Fault::Kill),
        node.clone().prop_map(Fault::Restart),
        (node.clone(), 100..15_000_u64).prop_map(|(node, ms)| Fault::Pause(node, ms)),
        (1..15_u8).prop_map(Fault::Split),
        node.clone().prop_map(Fault::Deafen),
        node.clone().prop_map(Fault::CutDatabase),
        node.prop_map(Fault::Leave),
        (0..30_u8).prop_map(Fault::Lossy),
        Just(Fault::Heal),
    ]
}

fn strike(world: &mut World, fault: &Fault) {
    match fault {
        Fault::Kill(node) => world.kill(*node),
        Fault::Restart(node) => world.restart(*node),
        Fault::Pause(node, ms) => world.pause(*node, *ms),
        Fault::Split(sides) => {
            for node in 0..NODES {
                world.weather.side.insert(node, sides >> node & 1);
            }
        }
        Fault::Deafen(node) => {
            world.blame(*node);
            world.weather.deaf.insert(*node);
        }
        Fault::CutDatabase(node) => {
            world.blame(*node);
            world.weather.no_database.insert(*node);
        }
        Fault::Leave(node) => world.leave(*node),
        Fault::Lossy(percent) => world.weather.lossy_percent = *percent,
        Fault::Heal => world.weather = Default::default(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    #[test]
    fn takeovers_are_justified_and_all_shards_end_with_one_owner(
        seed in any::<u64>(),
        faults in proptest::collection::vec((fault(), 100..6_000_u64), 1..10),
    ) {
        let mut world = World::new(seed, NODES);
        world.run(6_000);
        for (fault, ms) in &faults {
            strike(&mut world, fault);
            if matches!(fault, Fault::Lossy(_)) {
                // Whose own heartbeats are lost to it is deaf.
                (0..NODES).for_each(|node| world.blame(node));
            }
            world.run(*ms);
        }
        world.weather = Default::default();
        for node in 0..NODES {
            world.restart(node);
        }
        world.run(40_000);
        world.check_settled(&(0..NODES).collect::<Vec<_>>());
    }
}
