//! What can be wrong with a scenario's values.

use std::collections::BTreeMap;

use super::{Popularity, Scenario};

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
            people.connections > 0,
            "people.connections must be at least 1",
        );
        must(people.rooms > 0, "people.rooms must be at least 1");
        must(
            (1..=people.rooms).contains(&people.rooms_each),
            "people.rooms_each must be 1 to people.rooms",
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
            people.text_bytes >= 32,
            "people.text_bytes must be at least 32",
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
                stage.seconds > 0,
                &format!("{key}.seconds must be at least 1"),
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
