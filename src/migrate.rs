//! `rookery migrate`: a cluster's keyspace and tables.

use std::fmt::Write as _;

use rookery_persistence::{ConnectError, CqlConfig, CqlMigration, CqlStore};

/// Makes what is missing, or only says what that would be; returns lines for people.
///
/// # Errors
/// [`ConnectError`] names what is wrong and the setting to look at.
pub(crate) async fn run(config: CqlConfig, dry_run: bool) -> Result<String, ConnectError> {
    let (keyspace, factor) = (config.keyspace.clone(), config.replication_factor);
    let report = match dry_run {
        true => CqlStore::plan_migration(config).await?,
        false => CqlStore::migrate(config).await?,
    };
    Ok(told(&report, &keyspace, factor, dry_run))
}

fn told(report: &CqlMigration, keyspace: &str, factor: u8, dry_run: bool) -> String {
    let CqlMigration {
        keyspaces_made,
        from,
        to,
    } = report;
    let mut text = String::new();
    let [made, brought] = match dry_run {
        true => ["would be made", "would be brought"],
        false => ["made", "brought"],
    };
    for name in keyspaces_made {
        let _ = writeln!(
            text,
            "keyspace {name:?} {made}, replication factor {factor}"
        );
    }
    let _ = match from == to {
        true => writeln!(
            text,
            "schema of {keyspace:?} is at version {to}, nothing to do"
        ),
        false => writeln!(
            text,
            "schema of {keyspace:?} {brought} from version {from} to {to}"
        ),
    };
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_is_told_apart_from_what_would_be() {
        let report = CqlMigration {
            keyspaces_made: vec!["chat".to_owned()],
            from: 0,
            to: 1,
        };
        assert_eq!(
            told(&report, "chat", 3, false),
            "keyspace \"chat\" made, replication factor 3\n\
             schema of \"chat\" brought from version 0 to 1\n"
        );
        assert!(told(&report, "chat", 3, true).contains("would be made"));
        let nothing = CqlMigration {
            keyspaces_made: Vec::new(),
            from: 1,
            to: 1,
        };
        assert_eq!(
            told(&nothing, "chat", 3, false),
            "schema of \"chat\" is at version 1, nothing to do\n"
        );
    }
}
