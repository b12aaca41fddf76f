//! What a server's own metrics count: the few that explain a figure.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::{client::ServerAddress, server::metrics_text};

/// Each by its name in the exposition; true: by its labels, else their sum.
const COUNTED: [(&str, bool); 20] = [
    // Reads a room waited for: a resumed recent room needs none.
    ("rookery_room_actors_store_reads_total", true),
    ("rookery_room_actors_wakes_total", false),
    ("rookery_room_actors_events_total", false),
    // Group commits: how many, their rows, and how long they took.
    ("rookery_room_actors_commit_groups_total", false),
    ("rookery_room_actors_commit_group_rows_count_sum", false),
    ("rookery_room_actors_commit_seconds_sum", false),
    ("rookery_room_actors_commit_failures_total", false),
    ("rookery_persistence_commits_total", false),
    ("rookery_persistence_rows_total", false),
    ("rookery_persistence_commit_seconds_sum", false),
    ("rookery_persistence_read_seconds_count", false),
    // What went over the sockets, and in how many system calls.
    ("rookery_gateway_frames_received_total", false),
    ("rookery_gateway_frames_sent_total", false),
    ("rookery_gateway_sent_bytes_total", false),
    ("rookery_gateway_writes_total", false),
    ("rookery_gateway_events_total", false),
    ("rookery_gateway_errors_total", true),
    ("rookery_gateway_slow_readers_closed_total", false),
    ("rookery_presence_updates_total", false),
    ("rookery_cluster_link_batches_total", false),
];

const ROOMS_AWAKE: &str = "rookery_room_actors_rooms_awake_count ";

/// What was counted until a look, of each process by itself; `None`: it did not answer.
#[derive(Debug, Default)]
pub(super) struct Counters(Vec<Option<BTreeMap<String, f64>>>);

/// Asks all of them, in this order.
pub(super) async fn ask(admins: &[ServerAddress]) -> Counters {
    let mut counters = Vec::new();
    for admin in admins {
        let text = metrics_text(admin).await;
        counters.push(text.ok().map(|text| counted(&text)));
    }
    Counters(counters)
}

/// Rooms in memory, of all of them together.
pub(super) async fn rooms_awake(admins: &[ServerAddress]) -> Result<u64> {
    let mut sum = 0;
    for admin in admins {
        sum += awake(&metrics_text(admin).await?);
    }
    Ok(sum)
}

/// A process without rooms says nothing of them.
fn awake(text: &str) -> u64 {
    let mut lines = text.lines();
    let said = lines.find_map(|line| line.strip_prefix(ROOMS_AWAKE)?.trim().parse().ok());
    said.unwrap_or(0)
}

fn counted(text: &str) -> BTreeMap<String, f64> {
    let mut sums = BTreeMap::new();
    for line in text.lines() {
        let Some((series, value)) = line.rsplit_once(' ') else {
            continue;
        };
        let name = series.split('{').next().unwrap_or(series);
        let counted = COUNTED.iter().find(|(counted, _)| *counted == name);
        if let (Some((name, labelled)), Ok(value)) = (counted, value.parse::<f64>()) {
            let key = if *labelled { series } else { name };
            *sums.entry(key.to_owned()).or_default() += value;
        }
    }
    sums
}

/// What all processes counted between two looks; what was not is left out, and so is a process that
/// did not answer both times: its counts would be those of its whole life, or less than nothing.
pub(super) fn between(before: &Counters, after: &Counters) -> BTreeMap<String, f64> {
    let mut since = BTreeMap::new();
    for (before, after) in before.0.iter().zip(&after.0) {
        let (Some(before), Some(after)) = (before, after) else {
            continue;
        };
        for (name, value) in after {
            let already = before.get(name).copied().unwrap_or(0.0);
            *since.entry(name.clone()).or_default() += value - already;
        }
    }
    since.retain(|_, value: &mut f64| *value != 0.0);
    since
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_awake_are_read_where_a_process_has_rooms() {
        assert_eq!(
            awake("# TYPE x gauge\nrookery_room_actors_rooms_awake_count 17\n"),
            17
        );
        assert_eq!(awake("rookery_gateway_writes_total 3\n"), 0);
    }

    fn looked(texts: &[Option<&str>]) -> Counters {
        Counters(texts.iter().map(|text| text.map(counted)).collect())
    }

    #[test]
    fn counters_of_two_processes_are_added_and_those_that_did_not_move_left_out() {
        let text = "# TYPE rookery_gateway_writes_total counter\n\
                    rookery_gateway_writes_total{lane=\"0\"} 3\n\
                    rookery_gateway_writes_total{lane=\"1\"} 4\n\
                    rookery_room_actors_store_reads_total{what=\"tail\"} 2\n\
                    rookery_unknown_total 9\n";
        let tail = "rookery_room_actors_store_reads_total{what=\"tail\"}";
        let expected = [("rookery_gateway_writes_total", 7.0), (tail, 2.0)];
        let expected = expected.map(|(name, count)| (name.to_owned(), count));
        assert_eq!(counted(text), expected.into());
        let later = text.replace("} 4", "} 9.5");
        let moved = between(
            &looked(&[Some(text), Some(text)]),
            &looked(&[Some(&later), Some(&later)]),
        );
        let writes = "rookery_gateway_writes_total".to_owned();
        assert_eq!(moved, [(writes, 11.0)].into());
    }

    #[test]
    fn process_that_does_not_answer_once_is_left_out() {
        let [few, many] = [3, 8].map(|count| format!("rookery_gateway_writes_total {count}"));
        let (few, many) = (Some(few.as_str()), Some(many.as_str()));
        for (before, after) in [([few, many], [many, None]), ([few, None], [many, many])] {
            let moved = between(&looked(&before), &looked(&after));
            assert_eq!(moved["rookery_gateway_writes_total"], 5.0);
        }
    }
}
