//! Which pieces make a cluster, and which do not go together.

use rookery_cluster::NatsCredentials;

use super::{super::cluster::Roles, *};

const NATS: (&str, &str) = ("nats.servers", "nats://a:4222,tls://b:4222");
const CQL: (&str, &str) = ("cql.nodes", "db1:9042, db2:9042");

fn cluster(flags: &[(&str, &str)]) -> Cluster {
    let (config, _) = check("", &[], flags).expect("sound");
    match config.installation {
        Installation::Cluster(cluster) => *cluster,
        Installation::Embedded => panic!("{flags:?} make a cluster"),
    }
}

#[test]
fn pieces_follow_their_table() {
    let nats = Err("nats.servers: ");
    let cql = Err("cql.nodes: rooms and presence");
    for (pieces, roles, expected) in [
        (&[][..], "gateway,rooms,presence", Ok("embedded")),
        (&[NATS, CQL], "gateway,rooms,presence", Ok("with a store")),
        (&[NATS, CQL], "rooms", Ok("with a store")),
        (&[NATS, CQL], "gateway", Ok("without")),
        (&[NATS], "gateway", Ok("without")),
        (&[NATS], "gateway,rooms,presence", cql),
        (&[NATS], "presence", cql),
        (&[CQL], "gateway,rooms,presence", nats),
        (&[CQL], "rooms", nats),
        (&[], "gateway", nats),
    ] {
        let flags: Vec<_> = [&[("roles", roles)], pieces].concat();
        let loaded = check("", &[], &flags).map(|(config, _)| match config.installation {
            Installation::Embedded => "embedded",
            Installation::Cluster(cluster) if cluster.cql.is_some() => "with a store",
            Installation::Cluster(_) => "without",
        });
        match (loaded, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{flags:?}"),
            (Err(problems), Err(words)) => {
                assert_eq!(problems.len(), 1, "{flags:?}: {problems:?}");
                assert!(problems[0].starts_with(words), "{flags:?}: {problems:?}");
            }
            other => panic!("{flags:?}: {other:?}"),
        }
    }
}

#[test]
fn role_that_needs_both_pieces_misses_both() {
    let problems = check("", &[], &[("roles", "rooms,presence")]).expect_err("two pieces");
    assert_eq!(
        problems,
        [
            "nats.servers: rooms and presence alone is a part of a cluster, whose processes reach \
             each other by NATS; set nats.servers (--nats), or leave roles out (flag --set roles)",
            "cql.nodes: rooms and presence of a cluster keep their data in ScyllaDB or Cassandra; \
             set cql.nodes (--cql) (flag --set roles)",
        ]
    );
}

#[test]
fn every_setting_of_a_cluster_arrives() {
    let cluster = cluster(&[
        NATS,
        CQL,
        ("roles", "presence,gateway"),
        ("node.name", "n1"),
        ("nats.user", "ada"),
        ("nats.password", "hunter2"),
        ("nats.tls_ca", "ca.pem"),
        ("nats.tls_cert", "cert.pem"),
        ("nats.tls_key", "key.pem"),
        ("nats.subject_prefix", "chat"),
        ("cql.keyspace", "chat"),
        ("cql.ownership_keyspace", "chat_lwt"),
        ("cql.user", "bob"),
        ("cql.password", "hunter3"),
        ("cql.datacenter", "east"),
        ("cql.replication", "2"),
        ("cql.connect_timeout", "3s"),
    ]);
    let roles = Roles {
        gateway: true,
        rooms: false,
        presence: true,
    };
    assert_eq!((cluster.roles, &*cluster.node), (roles, "n1"));
    let (nats, cql) = (cluster.nats, cluster.cql.expect("presence needs it"));
    assert_eq!(nats.servers, ["nats://a:4222", "tls://b:4222"]);
    assert!(
        matches!(&nats.credentials, NatsCredentials::Password { user, password }
            if user == "ada" && password == "hunter2")
    );
    assert_eq!(nats.prefix, "chat");
    assert_eq!(nats.tls.ca.expect("set"), PathBuf::from("ca.pem"));
    let identity = nats.tls.client.expect("set");
    assert_eq!(identity.certificate, PathBuf::from("cert.pem"));
    assert_eq!(identity.key, PathBuf::from("key.pem"));
    assert_eq!(cql.contact_points, ["db1:9042", "db2:9042"]);
    assert_eq!(cql.keyspace, "chat");
    assert_eq!(cql.ownership_keyspace.as_deref(), Some("chat_lwt"));
    let credentials = cql.credentials.expect("set");
    assert_eq!(
        (&*credentials.user, &*credentials.password),
        ("bob", "hunter3")
    );
    assert_eq!(cql.datacenter.as_deref(), Some("east"));
    assert_eq!(cql.replication_factor, 2);
    assert_eq!(cql.connect_timeout, Duration::from_secs(3));
}

#[test]
fn node_without_a_name_has_that_of_its_host() {
    let cluster = cluster(&[NATS, CQL]);
    assert_eq!(cluster.node, crate::process::host_name());
    assert!(!cluster.node.is_empty());
}

#[test]
fn settings_that_do_not_go_together_are_named() {
    for (flags, expected) in [
        (
            &[("nats.token", "t"), ("nats.credentials_file", "c")][..],
            "nats.credentials_file: nats.token is set too; log in by one of them \
             (flag --set nats.credentials_file)",
        ),
        (
            &[("nats.user", "ada")],
            "nats.password: is not set, and nats.user is (flag --set nats.user)",
        ),
        (
            &[("nats.tls_key", "key.pem")],
            "nats.tls_cert: is not set, and nats.tls_key is (flag --set nats.tls_key)",
        ),
        (
            &[("cql.password", "secret")],
            "cql.user: is not set, and cql.password is (flag --set cql.password)",
        ),
        (
            &[("cql.keyspace", "Chat; DROP")],
            "cql.keyspace: \"Chat; DROP\" is not a name for a keyspace: a lower-case letter, then \
             up to 47 of a-z, 0-9 and _ (flag --set cql.keyspace)",
        ),
        (
            &[("roles", "gateway,kitchen")],
            "roles: \"kitchen\" is not one of \"gateway\", \"rooms\", \"presence\" \
             (flag --set roles)",
        ),
    ] {
        let flags = [&[NATS, CQL], flags].concat();
        let problems = check("", &[], &flags).expect_err("does not go together");
        assert_eq!(problems, [expected], "{flags:?}");
    }
}

#[test]
fn variable_of_the_scripts_names_a_database_and_makes_no_cluster() {
    let scripts = ("ROOKERY_CQL", "script:1");
    let nodes = |environment: &[(&str, &str)], flags: &[(&str, &str)]| {
        let (config, _) = check("", environment, flags).expect("sound");
        let embedded = matches!(config.installation, Installation::Embedded);
        (embedded, config.cql.expect("a database").contact_points)
    };
    let of = |node: &str| vec![node.to_owned()];
    assert_eq!(nodes(&[scripts], &[]), (true, of("script:1")));
    assert_eq!(nodes(&[scripts], &[NATS]), (false, of("script:1")));
    let ours = ("ROOKERY_CQL__NODES", "ours:1");
    assert_eq!(nodes(&[ours, scripts], &[NATS]), (false, of("ours:1")));
    assert_eq!(nodes(&[scripts, ours], &[NATS]), (false, of("ours:1")));
}

#[test]
fn work_on_the_database_needs_its_address_alone() {
    let open = ("server.listen", "0.0.0.0:8080");
    check_for(Purpose::Database, "", &[], &[CQL, open]).expect("sound");
    let problems = check_for(Purpose::Database, "", &[], &[]).expect_err("no database");
    assert_eq!(
        problems,
        ["cql.nodes: no database is named; set cql.nodes (--cql HOST:PORT)"]
    );
}

#[test]
fn process_without_clients_needs_no_keys() {
    let open = ("server.listen", "0.0.0.0:8080");
    check("", &[], &[NATS, CQL, open, ("roles", "rooms")]).expect("sound");
    check("", &[], &[NATS, CQL, open]).expect_err("a gateway needs keys");
}

#[test]
fn printed_configuration_hides_the_secrets_of_a_cluster() {
    let flags = [
        NATS,
        CQL,
        ("nats.token", "hunter2"),
        ("cql.user", "bob"),
        ("cql.password", "hunter3"),
    ];
    let (config, resolved) = check("", &[], &flags).expect("sound");
    let page = effective(&resolved);
    assert!(
        page.contains("token = \"***\" # flag --set nats.token"),
        "{page}"
    );
    assert!(
        page.contains("nodes = [\"db1:9042\", \"db2:9042\"]"),
        "{page}"
    );
    let shown = format!("{page} {config:?} {resolved:?}");
    assert!(!shown.contains("hunter"), "{shown}");
}
