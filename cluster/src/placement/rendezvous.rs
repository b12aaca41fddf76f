//! Rendezvous hashing: every shard goes to the node with the highest weight for it.
//!
//! All who see the same nodes agree without talking, and when a node comes or goes only the
//! shards it gets or had move.

use rookery_proto::shard::Shard;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The weight of a node for a shard. The same on every build.
#[must_use]
pub fn weight(node: &str, shard: Shard) -> u64 {
    xxh3_64_with_seed(node.as_bytes(), u64::from(shard.number()))
}

/// The home of a shard among `nodes`; ties go to the later name. `None`: there are no nodes.
#[must_use]
pub fn home<'a>(shard: Shard, nodes: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    nodes
        .into_iter()
        .max_by_key(|node| (weight(node, shard), *node))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rookery_proto::shard::SHARD_COUNT;

    use super::*;

    fn homes(nodes: &[String]) -> Vec<Option<&str>> {
        Shard::all()
            .map(|shard| home(shard, nodes.iter().map(String::as_str)))
            .collect()
    }

    proptest! {
        #[test]
        fn only_the_shards_of_who_came_or_went_move(
            names in proptest::collection::btree_set("[a-z]{1,8}", 2..12),
            gone in any::<prop::sample::Index>(),
        ) {
            let all: Vec<String> = names.into_iter().collect();
            let gone = gone.get(&all).clone();
            let rest: Vec<String> = all.iter().filter(|name| **name != gone).cloned().collect();
            for (with, without) in homes(&all).into_iter().zip(homes(&rest)) {
                if with != Some(gone.as_str()) {
                    prop_assert_eq!(with, without);
                }
            }
            let reversed: Vec<String> = all.iter().rev().cloned().collect();
            prop_assert_eq!(homes(&all), homes(&reversed));
        }
    }

    #[test]
    fn shards_are_spread_evenly() {
        for count in [2, 3, 5, 10] {
            let nodes: Vec<String> = (0..count).map(|it| format!("node-{it}")).collect();
            let homes = homes(&nodes);
            let fair = usize::from(SHARD_COUNT) / count;
            for node in &nodes {
                let own = homes.iter().filter(|it| **it == Some(node)).count();
                assert!(own > fair / 2 && own < fair * 2, "{node}: {own} of {fair}");
            }
        }
    }

    #[test]
    fn no_node_no_home() {
        assert_eq!(home(Shard::of("general"), []), None);
    }

    /// A change here would move every shard of a cluster that is upgraded node by node.
    #[test]
    fn homes_of_known_names_never_change() {
        let nodes = ["node-0", "node-1", "node-2"];
        let homes: String = Shard::all()
            .take(16)
            .map(|shard| home(shard, nodes).expect("there are nodes"))
            .map(|node| node.trim_start_matches("node-"))
            .collect();
        assert_eq!(homes, HOMES_KNOWN);
    }
    const HOMES_KNOWN: &str = "0211012102111022";
}
