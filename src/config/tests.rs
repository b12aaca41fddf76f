//! Layers, all problems at once, and the rules of development mode.

use std::path::Path;

use super::*;

mod cluster;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Loads from a file's text, variables and flags.
fn check(
    file: &str,
    environment: &[(&str, &str)],
    flags: &[(&str, &str)],
) -> Result<(Config, Resolved), Vec<String>> {
    check_for(Purpose::Serve, file, environment, flags)
}

fn check_for(
    purpose: Purpose,
    file: &str,
    environment: &[(&str, &str)],
    flags: &[(&str, &str)],
) -> Result<(Config, Resolved), Vec<String>> {
    let mut problems = Vec::new();
    let mut layers = layers::toml_text(Path::new("rookery.toml"), file, &mut problems);
    let environment = environment
        .iter()
        .map(|(name, value)| (name.into(), value.into()));
    layers.extend(layers::environment(environment, &mut problems));
    let flags = flags.iter().map(|(key, text)| {
        (
            format!("--set {key}"),
            (*key).to_owned(),
            (*text).to_owned(),
        )
    });
    layers.extend(layers::flags(flags.collect(), &mut problems));
    let shown = |error: ConfigError| error.problems.iter().map(ToString::to_string).collect();
    resolve(layers, problems, purpose).map_err(shown)
}

fn key() -> String {
    format!("[[auth.keys]]\nalg = \"HS256\"\nsecret = \"{SECRET}\"\n")
}

#[test]
fn without_anything_it_is_development_on_loopback() {
    let (config, resolved) = check("", &[], &[]).expect("sound");
    assert!(config.gateway.dev);
    assert_eq!(config.gateway.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.admin_listen.to_string(), "127.0.0.1:9090");
    assert_eq!(config.grace, settings::GRACE_DEV);
    assert_eq!(resolved.get("shutdown.grace").1, Source::DevDefault);
}

#[test]
fn flags_win_over_the_environment_over_the_file_over_defaults() {
    let file = "[log]\nlevel = \"warn\"\nformat = \"json\"\n[shutdown]\ngrace = \"10s\"\n\
                [gateway]\nheartbeat_interval = \"7s\"\n";
    let environment = [
        ("ROOKERY_LOG__LEVEL", "error"),
        ("ROOKERY_SHUTDOWN__GRACE", "20s"),
    ];
    let flags = [("shutdown.grace", "30s")];
    let (config, resolved) = check(file, &environment, &flags).expect("sound");
    assert_eq!(config.gateway.heartbeat_interval, Duration::from_secs(7));
    assert_eq!(config.log.filter, "error");
    assert!(config.log.json);
    assert_eq!(config.grace, Duration::from_secs(30));
    assert_eq!(resolved.get("auth.issuer").1, Source::Default);
    for (key, source) in [
        ("log.format", "rookery.toml line 3"),
        ("log.level", "environment variable ROOKERY_LOG__LEVEL"),
        ("shutdown.grace", "flag --set shutdown.grace"),
    ] {
        assert_eq!(resolved.get(key).1.to_string(), source);
    }
}

#[test]
fn all_problems_of_all_layers_are_reported_together() {
    let file = "colour = \"red\"\n[server]\nlisten = \"here\"\nlisten_on = 5\n\
                [gateway]\nheartbeat_interval = 25\n[[auth.keys]]\nalg = \"HS256\"\nsecret = \"short\"\n";
    let environment = [
        ("ROOKERY_LOG__FORMAT", "xml"),
        ("ROOKERY_LISTEN", "127.0.0.1:1"),
        ("ROOKERY_GATEWAY__COMMANDS_BURST", "1"),
        ("ROOKERY_BIN", "not a setting"),
        ("ROOKERY_SERVICES_DIR", "not a setting"),
        ("ROOKERY_PORT_8080_TCP_ADDR", "10.0.0.1"),
        ("ROOKERY_GATEWAY_SERVICE_HOST", "10.0.0.1"),
        ("ROOKERY_PORT", "tcp://10.0.0.1:8080"),
        ("PATH", "/bin"),
    ];
    let flags = [("shutdown.grace", "1ms"), ("log.levle", "info")];
    let problems = check(file, &environment, &flags).expect_err("many problems");
    for expected in [
        "colour: no such setting (rookery.toml line 1)",
        "server.listen_on: no such setting; did you mean \"server.listen\"? (rookery.toml line 4)",
        "server.listen: \"here\" is not an address; write it like \"127.0.0.1:8080\" (rookery.toml line 3)",
        "gateway.heartbeat_interval: 25 is not a duration; write it like \"30s\" (units: ms, s, m, h, d) (rookery.toml line 6)",
        "auth.keys[0].secret: must have at least 32 bytes (rookery.toml line 7)",
        "gateway.commands_burst: must be at least commands_per_second (environment variable ROOKERY_GATEWAY__COMMANDS_BURST)",
        "log.format: \"xml\" is not one of \"text\", \"json\" (environment variable ROOKERY_LOG__FORMAT)",
        "listen: no such setting; did you mean \"server.listen\"? (environment variable ROOKERY_LISTEN)",
        "shutdown.grace: 1ms is too small; it must be 1s to 1h (flag --set shutdown.grace)",
        "log.levle: no such setting; did you mean \"log.level\"? (flag --set log.levle)",
    ] {
        assert!(
            problems.iter().any(|p| p == expected),
            "{expected}\nin {problems:#?}"
        );
    }
    assert_eq!(problems.len(), 10, "{problems:#?}");
}

#[test]
fn a_file_that_is_not_toml_names_its_lines() {
    let problems = check("[server\nlisten = \"127.0.0.1:1\"\n", &[], &[]).expect_err("broken");
    assert!(
        problems[0].starts_with("rookery.toml: not TOML: "),
        "{problems:#?}"
    );
    assert!(problems[0].contains("rookery.toml line 1"), "{problems:#?}");
}

#[test]
fn a_named_file_that_is_missing_is_a_problem_and_the_default_one_is_not() {
    let missing = Sources {
        file: Some(PathBuf::from("/nonexistent/rookery.toml")),
        ..Sources::default()
    };
    let error = load(missing, Purpose::Serve).expect_err("missing");
    assert!(
        error
            .to_string()
            .contains("cannot read the configuration file"),
        "{error}"
    );
    assert!(layers::file(None, &mut Vec::new()).is_empty());
}

#[test]
fn development_mode_follows_its_table() {
    let on = Ok(true);
    let off = Ok(false);
    let open = "0.0.0.0:8080";
    let local = "127.0.0.1:8080";
    let table = [
        (false, local, "auto", on),
        (false, local, "true", on),
        (false, local, "false", Err("nobody could log in")),
        (
            false,
            open,
            "auto",
            Err("not a loopback address and auth.keys is empty"),
        ),
        (
            false,
            open,
            "true",
            Err("not a loopback address; listen on 127.0.0.1"),
        ),
        (false, open, "false", Err("nobody could log in")),
        (true, local, "auto", off),
        (true, local, "true", Err("auth.keys is set")),
        (true, local, "false", off),
        (true, open, "auto", off),
        (true, open, "true", Err("auth.keys is set")),
        (true, open, "false", off),
        (false, "[::1]:8080", "auto", on),
        (false, "[::]:8080", "auto", Err("not a loopback address")),
    ];
    for (keys, listen, dev, expected) in table {
        let file = if keys { key() } else { String::new() };
        let loaded = check(&file, &[], &[("server.listen", listen), ("dev", dev)]);
        let case = format!("keys {keys}, {listen}, dev {dev}: {loaded:?}");
        match (loaded, expected) {
            (Ok((config, _)), Ok(dev)) => assert_eq!(config.gateway.dev, dev, "{case}"),
            (Err(problems), Err(words)) => {
                assert_eq!(problems.len(), 1, "{case}");
                assert!(problems[0].contains(words), "{case}");
            }
            _ => panic!("{case}"),
        }
    }
}

#[test]
fn one_address_for_both_listeners_is_refused() {
    let flags = [("admin.listen", "127.0.0.1:8080")];
    let problems = check("", &[], &flags).expect_err("same");
    assert!(problems[0].contains("is server.listen too"), "{problems:?}");
    check(
        "",
        &[],
        &[
            ("admin.listen", "127.0.0.1:0"),
            ("server.listen", "127.0.0.1:0"),
        ],
    )
    .expect("two free ports are two ports");
}

#[test]
fn the_printed_configuration_names_sources_masks_secrets_and_is_a_file_again() {
    let (_, resolved) = check(&key(), &[("ROOKERY_LOG__LEVEL", "debug")], &[]).expect("sound");
    let page = effective(&resolved);
    assert!(
        page.contains("level = \"debug\" # environment variable ROOKERY_LOG__LEVEL"),
        "{page}"
    );
    assert!(page.contains("secret = \"***\""), "{page}");
    assert!(!page.contains(SECRET), "{page}");
    let mut problems = Vec::new();
    let again = layers::toml_text(Path::new("again.toml"), &page, &mut problems);
    assert!(problems.is_empty(), "{problems:?}");
    assert_eq!(again.len(), SETTINGS.len());
}
