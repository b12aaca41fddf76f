//! Scenarios are read and changed, and what is wrong with one is named.

use super::*;
use crate::document::Document;

#[test]
fn every_built_in_scenario_can_be_used_and_bears_its_name() {
    for (name, _) in BUILT_IN {
        let scenario = Scenario::load(name, &[]).unwrap();
        assert_eq!(scenario.name, name);
    }
}

#[test]
fn scenarios_beside_the_built_in_can_be_used() {
    for name in ["commands", "idle-100k", "room-memory", "rooms", "sends"] {
        let path = format!("scenarios/more/{name}.toml");
        assert_eq!(Scenario::load(&path, &[]).unwrap().name, name);
    }
}

#[test]
fn changes_reach_tables_and_lists() {
    let changes = ["people.connections=7", "stage.0.rates.sends=3", "about=x y"];
    let scenario = Scenario::load("fanout", &changes.map(str::to_owned)).unwrap();
    assert_eq!(scenario.people.connections, 7);
    assert!((scenario.stages[0].rates.sends - 3.0).abs() < f64::EPSILON);
    assert_eq!(scenario.about, "x y");
}

#[test]
fn a_scenario_written_as_toml_reads_as_the_same() {
    for (name, _) in BUILT_IN {
        let scenario = Scenario::load(name, &[]).unwrap();
        let text = toml::to_string(&scenario).unwrap();
        let document = Document {
            kind: "scenario",
            name,
        };
        assert_eq!(Scenario::parse(document, &text, &[]).unwrap(), scenario);
    }
}

#[test]
fn problems_name_their_keys() {
    for (change, named) in [
        ("people.connection=1", "connection"),
        ("people.connections=0", "people.connections"),
        ("people.connections=many", "connections"),
        ("people.connections=4294967295", "people.connections"),
        ("people.rooms=4294967295", "people.rooms "),
        ("people.rooms_each=9", "people.rooms_each"),
        ("people.text_bytes=31", "people.text_bytes"),
        ("people.text_bytes=4294967295", "people.text_bytes"),
        ("stage.0.name=connect", "stage.0.name"),
        ("stage.0.seconds=0", "stage.0.seconds"),
        ("stage.0.seconds=4294967295", "stage.0.seconds"),
        (
            "stage.0.warm_up_seconds=4294967295",
            "stage.0.warm_up_seconds",
        ),
        ("stage.0.rates.sends=-1", "stage.0.rates.sends"),
        ("stage.9.seconds=1", "stage.9.seconds=1"),
        ("people", "people"),
    ] {
        let error = Scenario::load("fanout", &[change.to_owned()]).unwrap_err();
        assert!(error.to_string().contains(named), "{change}: {error}");
    }
    let seats = ["connections", "rooms", "rooms_each"].map(|key| format!("people.{key}=65001"));
    let error = Scenario::load("fanout", &seats).unwrap_err().to_string();
    assert!(error.contains("people.rooms_each must be"), "{error}");
    assert!(error.contains("people.connections times"), "{error}");
    let error = Scenario::load("fan-out", &[]).unwrap_err().to_string();
    assert!(error.contains("fanout, idle, chat"), "{error}");
}
