//! `docs/configuration.md`, written from the table of settings.

use std::fmt::Write as _;

use super::settings::{SECTIONS, SETTINGS};

const OPENING: &str = r#"# Configuration

<!-- Written by `rookery config --reference`; a test wants an empty diff. -->

Rookery runs without any. Each setting can be given in three places; the first wins:

1. a flag: `--set gateway.heartbeat_interval=10s`, or one of the short ones in `rookery --help`;
2. an environment variable: `ROOKERY_` and the key in capitals, `__` for the dot;
3. a TOML file: `--config FILE`, else `rookery.toml` in the working directory if it exists.

```toml
data = "/var/lib/rookery"

[server]
listen = "0.0.0.0:8080"

[[auth.keys]]
alg = "HS256"
kid = "2026"
secret_file = "/run/secrets/rookery"
```

`rookery config` prints what is in effect and where each value comes from; `rookery check` says
whether it is sound, and whether the data is, or a cluster's NATS and database. All problems are reported together, unknown keys
included, and nothing starts then (exit code 64).

Durations are written as `500ms`, `30s`, `5m`, `1h30m`; sizes as `65536` or `"64KiB"`. Relative
paths start at the working directory.

"#;

const CLOSING: &str = r#"## Keys

Each `[[auth.keys]]` table has an `alg` (`HS256`, `RS256`, `ES256` or `EdDSA`) and

| field | for | what |
|---|---|---|
| `kid` | all | its name in token headers; a token that names a key is checked with that one alone. May be left out |
| `secret`, `secret_base64` or `secret_file` | HS256 | at least 32 bytes; of a file, the last line break is cut |
| `public_key_pem` or `public_key_file` | the others | PEM |

In the environment the whole list is one value:
`ROOKERY_AUTH__KEYS='[{ alg = "HS256", secret = "…" }]'`.

## A cluster

| `nats.servers` | `cql.nodes` | `roles` | |
|---|---|---|---|
| no | no | all | embedded: everything in this process, with SQLite in `data` |
| yes | yes | any | part of a cluster |
| yes | no | `["gateway"]` | part of a cluster |
| yes | no | others | refused: rooms and presence need the database |
| no | yes | any | refused: a cluster's processes reach each other by NATS |
| no | any | not all | refused, likewise |

`rookery migrate` makes the keyspace and its tables, or brings them up to date; run it before the
first start and before a newer version's. `ROOKERY_CQL` alone makes no cluster.

## Development mode

| keys configured | `server.listen` | `dev = "auto"` | `dev = true` | `dev = false` |
|---|---|---|---|---|
| no | loopback | on | on | refused: nobody could log in |
| no | other | refused | refused | refused: nobody could log in |
| yes | loopback | off | refused | off |
| yes | other | off | refused | off |

## Exit codes

| code | meaning |
|---|---|
| 0 | did what was asked; stopped cleanly |
| 1 | failed; the reason is on standard error |
| 64 | command line or configuration wrong; nothing was started |
| 69 | NATS or the database is not there, refuses, or is not as it must be (keyspace, schema version, `max_payload`); nothing was started |
| 75 | asked to stop and not done within `shutdown.grace`; what was acknowledged is durable |
| 130, 143 | ended at once by a second SIGINT or SIGTERM |
"#;

/// The whole page.
pub(crate) fn page() -> String {
    let mut page = OPENING.to_owned();
    for (section, about) in SECTIONS {
        let name = match *section {
            "" => String::new(),
            _ => format!(": `[{section}]`"),
        };
        let _ = writeln!(page, "## {about}{name}\n");
        for setting in SETTINGS.iter().filter(|one| one.section() == *section) {
            let default = setting.kind.print(&setting.default_value());
            let _ = writeln!(
                page,
                "**`{}`** = `{default}`: {}.\n{}\n`{}`\n",
                setting.key,
                setting.kind.describe(),
                setting.about,
                setting.variable(),
            );
        }
    }
    page.push_str(CLOSING);
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_page_in_the_tree_is_the_one_written_from_the_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
        let kept = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            kept == page(),
            "docs/configuration.md is old: rookery config --reference > docs/configuration.md"
        );
    }
}
