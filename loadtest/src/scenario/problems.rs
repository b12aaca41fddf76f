//! What can be wrong with a scenario's values.

use std::collections::BTreeMap;

use rookery_proto::limits::TEXT_BYTES_MAX;

use super::{Popularity, Scenario};
use crate::limits::{
    SCENARIO_CONNECTIONS_MAX, SCENARIO_ROOMS_EACH_MAX, SCENARIO_ROOMS_MAX, SCENARIO_SEATS_MAX,
    SCENARIO_SECONDS_MAX,
};

impl Scenario {
    /// Values that cannot be, each with its key.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut must = |holds: bool, problem: &str| {
            if !holds {
                problems.push(problem.to_owned());
            }
        };
        let people = &self.people;
        must(
            (1..=SCENARIO_CONNECTIONS_MAX).contains(&people.connections),
            &format!("people.connections must be 1 to {SCENARIO_CONNECTIONS_MAX}"),
        );
        must(
            (1..=SCENARIO_ROOMS_MAX).contains(&people.rooms),
            &format!("people.rooms must be 1 to {SCENARIO_ROOMS_MAX}"),
        );
        must(
            (1..=people.rooms.min(SCENARIO_ROOMS_EACH_MAX)).contains(&people.rooms_each),
            &format!(
                "people.rooms_each must be 1 to people.rooms, at most {SCENARIO_ROOMS_EACH_MAX}"
            ),
        );
        must(
            u64::from(people.connections) * u64::from(people.rooms_each) <= SCENARIO_SEATS_MAX,
            &format!(
                "people.connections times people.rooms_each must be at most {SCENARIO_SEATS_MAX}"
            ),
        );
        must(
            people
                .active
                .is_none_or(|active| (1..=people.connections).contains(&active)),
            "people.active must be 1 to people.connections",
        );
        must(
            (0.0..=1.0).contains(&people.json),
            "people.json must be 0 to 1",
        );
        must(
            (32..=TEXT_BYTES_MAX).contains(&(people.text_bytes as usize)),
            &format!("people.text_bytes must be 32 to {TEXT_BYTES_MAX}"),
        );
        must(
            people.connects_per_second > 0,
            "people.connects_per_second must be at least 1",
        );
        if let Popularity::Zipf(exponent) = people.popularity {
            must(
                exponent.is_finite() && exponent > 0.0,
                "people.popularity.zipf must be above 0",
            );
        }
        must(
            !self.stages.is_empty(),
            "there must be at least one [[stage]]",
        );
        let mut names = BTreeMap::new();
        for (index, stage) in self.stages.iter().enumerate() {
            let key = format!("stage.{index}");
            must(
                names.insert(&stage.name, index).is_none() && !stage.name.contains('/'),
                &format!("{key}.name must be its own, and without `/`"),
            );
            must(
                stage.name != "connect",
                &format!("{key}.name must not be `connect`: so are the figures before it named"),
            );
            must(
                (1..=SCENARIO_SECONDS_MAX).contains(&stage.seconds),
                &format!("{key}.seconds must be 1 to {SCENARIO_SECONDS_MAX}"),
            );
            must(
                stage.warm_up_seconds <= SCENARIO_SECONDS_MAX,
                &format!("{key}.warm_up_seconds must be at most {SCENARIO_SECONDS_MAX}"),
            );
            must(
                (0.0..=1.0).contains(&stage.cut),
                &format!("{key}.cut must be 0 to 1"),
            );
            must(
                stage.sends_in_flight != Some(0),
                &format!("{key}.sends_in_flight must be at least 1"),
            );
            must(
                stage.sends_in_flight.is_none() || stage.rates.sends == 0.0,
                &format!("{key}: sends_in_flight and rates.sends exclude each other"),
            );
            for (name, rate) in stage.rates.named() {
                must(
                    (0.0..=1e7).contains(&rate),
                    &format!("{key}.rates.{name} must be 0 to 10000000 a second"),
                );
            }
        }
        for (index, bound) in self.bounds.iter().enumerate() {
            must(
                bound.max.is_some() || bound.min.is_some(),
                &format!("bound.{index}: max or min is needed"),
            );
        }
        problems
    }
}
