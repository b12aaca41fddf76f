use super::*;

fn demand() -> Demand {
    Demand {
        users: 100_000.0,
        rooms: 5_000.0,
        audience: Audience::Known(50.0),
        sends: Sends::Total(2_000.0),
        commands: 500.0,
        session_minutes: 60.0,
        text_bytes: 100.0,
        replicas: 3.0,
        retention_days: 30.0,
        utilisation: 0.5,
        cores_each: 4.0,
        connections_each: 20_000.0,
        spare: 1.0,
    }
}

fn cost(value: f64) -> Cost {
    Cost {
        value,
        from: "run.json".to_owned(),
        date: "2026-11-21".to_owned(),
        machine: "a machine".to_owned(),
        load: "a load".to_owned(),
    }
}

/// Every cost with a number of its own.
fn full() -> Costs {
    let mut costs = Costs::default();
    for (kind, value) in CostKind::ALL.iter().zip([
        2.0, 20.0, 10.0, 100.0, 1.0, 2_000.0, 1e7, 30.0, 5.0, 4_000.0, 10_000.0, 1_500.0, 2e7, 5.0,
        50.0, 4.0, 40.0, 300.0,
    ]) {
        costs.set(*kind, cost(value));
    }
    costs
}

fn result<'a>(plan: &'a Plan, what: &str) -> &'a Line {
    let found = plan.lines.iter().find(|line| line.what == what);
    found.unwrap_or_else(|| panic!("{what}"))
}

#[test]
fn a_plan_is_what_one_computes_by_hand() {
    let plan = plan(&demand(), &full()).unwrap();
    let connects = 100_000.0 / 3_600.0;
    let gateway_cpu =
        100_000.0 * 2.0 + 2_000.0 * 20.0 + 500.0 * 10.0 + connects * 100.0 + 100_000.0;
    for (what, expected) in [
        ("sends", 2_000.0),
        ("deliveries", 100_000.0),
        ("connects", connects),
        ("cores of gateways", gateway_cpu / 1e6 / 0.5),
        ("gateways", 6.0),
        ("memory of each gateway", 1e7 + 20_000.0 * 2_000.0),
        ("bytes to clients a second", 100_000.0 * 150.0),
        ("cores of nodes", (2_000.0 * 30.0 + 500.0 * 5.0) / 1e6 / 0.5),
        ("nodes", 2.0),
        ("rooms awake", 2_000.0),
        ("rooms that are hot", 2_000.0),
        (
            "memory of each node",
            2e7 + 2_000.0 * 10_000.0 + 100_000.0 * 1_500.0,
        ),
        ("gateways a send reaches, at most", 6.0),
        ("NATS messages", 2_000.0 * 8.0 + 500.0 * 2.0),
        ("NATS bytes a second", 2_000.0 * 7.0 * 150.0),
        ("cores of NATS", 17_000.0 * 5.0 / 1e6 / 0.5),
        ("rows written", 8_000.0),
        ("rows written on all replicas", 24_000.0),
        ("cores of the database", 24_000.0 * 40.0 / 1e6 / 0.5),
        (
            "disk of the database a day",
            2_000.0 * 86_400.0 * 400.0 * 3.0,
        ),
        (
            "disk of the database in the end",
            2_000.0 * 86_400.0 * 400.0 * 3.0 * 30.0,
        ),
    ] {
        let line = result(&plan, what);
        let value = line.value.unwrap();
        assert!(
            (value / expected - 1.0).abs() < 1e-9,
            "{what}: {value}, not {expected}"
        );
        assert!(line.missing.is_empty(), "{what}");
    }
    let text = plan.to_string();
    for shown in [
        "deliveries = sends × people a send reaches\n           = 2,000 × 50\n           = 100,000 /s\n",
        "rows written = 2,000 × 4",
        "Connections decide",
        "gateway_cpu_us_per_send = 20: run.json, 2026-11-21, a machine; a load",
    ] {
        let shown = shown.replace("rows written = 2", "             = 2");
        assert!(text.contains(&shown), "{shown} in\n{text}");
    }
    assert!(!text.contains("nobody measured"), "{text}");
}

#[test]
fn what_nobody_measured_is_named_and_makes_results_lower_bounds() {
    let mut costs = Costs::default();
    costs.set(CostKind::GatewayCpuPerDelivery, cost(2.0));
    let plan = plan(&demand(), &costs).unwrap();
    let gateways = result(&plan, "cores of gateways");
    assert_eq!(gateways.shown(), "at least 0.4 cores");
    assert!(gateways.missing.contains(&CostKind::GatewayCpuPerConnect));
    // What builds on it is a lower bound as well.
    assert_eq!(result(&plan, "gateways").shown(), "at least 6");
    assert_eq!(result(&plan, "cores of NATS").shown(), "not known");
    let text = plan.to_string();
    let named = "node_cpu_us_per_send: CPU of a node for each send it commits";
    let (_, missing) = text.split_once("nobody measured").unwrap();
    assert!(missing.contains(named), "{text}");
}

#[test]
fn audiences_of_rooms_of_one_size_and_by_zipf_count_the_sender() {
    let people = |audience: Audience| {
        let plan = plan(
            &Demand {
                audience,
                ..demand()
            },
            &full(),
        )
        .unwrap();
        result(&plan, "people a send reaches").value.unwrap()
    };
    assert_eq!(people(Audience::Even { rooms_each: 2.0 }), 40.0);
    assert_eq!(people(Audience::Even { rooms_each: 0.01 }), 1.0);
    let zipf = people(Audience::Zipf {
        rooms_each: 2.0,
        exponent: 1.0,
    });
    assert!(zipf > 1_000.0, "few rooms are large: {zipf}");
}

#[test]
fn a_rate_a_user_is_by_the_hour() {
    let sends = Sends::PerUserHour(36.0);
    let plan = plan(&Demand { sends, ..demand() }, &full()).unwrap();
    assert_eq!(result(&plan, "sends").value, Some(1_000.0));
}

#[test]
fn a_demand_that_cannot_be_names_every_flag() {
    let wrong = Demand {
        users: 0.0,
        utilisation: 1.5,
        replicas: f64::NAN,
        audience: Audience::Known(0.0),
        ..demand()
    };
    let DemandError(problems) = plan(&wrong, &full()).unwrap_err();
    let flags: Vec<&str> = problems
        .iter()
        .filter_map(|of| of.split(' ').next())
        .collect();
    assert_eq!(
        flags,
        ["--users", "--members", "--replicas", "--utilisation"]
    );
}
