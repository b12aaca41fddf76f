//! The command line. `--help` teaches by example; every value is checked by `config`, so that all
//! problems are reported together.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};

use crate::config::{FlagValue, Sources, parse_duration};

const AFTER_HELP: &str = "\
Examples:
  rookery                                     start with everything in one process, for development
  rookery serve --data /var/lib/rookery       keep the data elsewhere
  rookery serve --listen 127.0.0.1:0 --ready-file ready.json
                                              take a free port and write it down
  rookery serve --set gateway.heartbeat_interval=10s
                                              any setting of docs/configuration.md
  rookery config                              what is in effect, and where it comes from
  rookery check                               is the configuration sound, and the data?
  rookery token --user alice --ttl 1h         a token to log in with
  rookery migrate --cql db1:9042              prepare a cluster's database
  rookery copy --from sqlite --to cql --cql db1:9042
                                              move an embedded installation there
  rookery serve --role gateway --nats nats://n1:4222
  rookery serve --role rooms,presence --node n1 --nats nats://n1:4222 --cql db1:9042
                                              parts of a cluster

Exit codes:
  0 clean   1 failed   64 command line or configuration wrong
  69 NATS or the database cannot be used as it is
  75 not stopped within shutdown.grace   130, 143 ended at once by a second signal";

/// A chat server: one binary, ordered and durable rooms.
#[derive(Debug, Parser)]
#[command(
    name = "rookery",
    version,
    after_help = AFTER_HELP,
    args_conflicts_with_subcommands = true
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: ServeArgs,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve clients (what happens without a command)
    #[command(after_help = "\
SIGTERM or SIGINT stops: readiness goes first, then clients are told to move, rooms finish what is \
in flight, and the store closes. A second signal ends the process at once.")]
    Serve(ServeArgs),
    /// Make a token to log in with, for development and scripts
    #[command(after_help = "\
Examples:
  rookery token --user alice --name Alice --ttl 12h
  rookery token --user bot --grant 'news-*=write' --grant 'lobby=read'
  rookery token --user alice --algorithm EdDSA --key-file private.pem

Signs with the first HS256 key of the configuration, the one named by --key, or --key-file.")]
    Token(TokenArgs),
    /// Print the configuration in effect, with the source of every value
    Config(ConfigArgs),
    /// Check the configuration and the data, without serving
    #[command(after_help = "\
Embedded: stop the server first, the data is checked as nobody else has it open. In a cluster NATS \
and the database are asked instead. Exit code 0: sound, 1: the data is not, 64: the configuration \
is not, 69: NATS or the database is not.")]
    Check(CheckArgs),
    /// Make a cluster's keyspace and tables, or bring them up to date
    #[command(after_help = "\
Examples:
  rookery migrate --cql db1:9042 --dry-run    what would be done?
  rookery migrate --cql 127.0.0.1:9042 --set cql.replication=1
                                              a database of one node, for development

May be repeated, also by several processes at once. A keyspace that is there keeps its replication.")]
    Migrate(MigrateArgs),
    /// Move an embedded installation into a cluster's database
    #[command(after_help = "\
Examples:
  rookery migrate --cql db1:9042
  rookery copy --from sqlite --to cql --data /var/lib/rookery --cql db1:9042

Stop the server first: the source must not change. The keyspace must be empty, and nobody serves from \
it before the copy is finished and was compared with the source. Killed, it goes on when it is \
started again.")]
    Copy(CopyArgs),
}

/// `serve`
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Write {"url": …, "admin": …} to this file once clients can connect
    #[arg(long, value_name = "PATH")]
    pub(crate) ready_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) settings: SettingFlags,
}

/// `token`
#[derive(Debug, Args)]
pub(crate) struct TokenArgs {
    /// The user's id (the token's `sub`)
    #[arg(long)]
    pub(crate) user: String,
    /// The user's display name
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// How long the token is good for
    #[arg(long, default_value = "12h", value_parser = duration)]
    pub(crate) ttl: Duration,
    /// A right in channels: ROOM=read|write|admin; ROOM may end in * (repeat for more)
    #[arg(long = "grant", value_name = "ROOM=RIGHT", value_parser = grant)]
    pub(crate) grants: Vec<(String, String)>,
    /// The configured key to sign with, by its `kid`
    #[arg(long, value_name = "KID", conflicts_with = "key_file")]
    pub(crate) key: Option<String>,
    /// Sign with this file: a private key in PEM, or for HS256 the secret
    #[arg(long, value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
    /// Algorithm of --key-file
    #[arg(long, default_value = "HS256", requires = "key_file",
        value_parser = ["HS256", "RS256", "ES256", "EdDSA"])]
    pub(crate) algorithm: String,
    /// `kid` of a token signed with --key-file
    #[arg(long, value_name = "KID", requires = "key_file")]
    pub(crate) key_id: Option<String>,
    #[command(flatten)]
    pub(crate) settings: SettingFlags,
}

/// `config`
#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    /// Print the reference page (docs/configuration.md) instead
    #[arg(long)]
    pub(crate) reference: bool,
    #[command(flatten)]
    pub(crate) settings: SettingFlags,
}

/// `check`
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    pub(crate) settings: SettingFlags,
}

/// `migrate`
#[derive(Debug, Args)]
pub(crate) struct MigrateArgs {
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) settings: SettingFlags,
}

/// `copy`
#[derive(Debug, Args)]
pub(crate) struct CopyArgs {
    /// Where from: the embedded database in the folder of the data
    #[arg(long, value_name = "STORE", value_parser = ["sqlite"])]
    from: String,
    /// Where to: the cluster's database
    #[arg(long, value_name = "STORE", value_parser = ["cql"])]
    to: String,
    #[command(flatten)]
    pub(crate) settings: SettingFlags,
}

/// Flags that set settings. They stay text here; `config` reads them.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Settings")]
pub(crate) struct SettingFlags {
    /// Configuration file [default: rookery.toml if it exists]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where clients connect (server.listen) [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Where probes and metrics answer (admin.listen) [default: 127.0.0.1:9090]
    #[arg(long, value_name = "ADDRESS")]
    admin_listen: Option<String>,
    /// Folder of the data (data) [default: ./rookery-data]
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
    /// What this process does: gateway, rooms, presence (roles) [default: all]
    #[arg(long = "role", value_name = "ROLE")]
    roles: Vec<String>,
    /// Its name in a cluster (node.name) [default: the host's name]
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    /// A NATS server of the cluster (nats.servers; repeat for more)
    #[arg(long, value_name = "URL")]
    nats: Vec<String>,
    /// A node of the cluster's database (cql.nodes; repeat for more)
    #[arg(long, value_name = "HOST:PORT")]
    cql: Vec<String>,
    /// Development mode: a name is enough to log in (dev) [default: auto]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    dev: Option<String>,
    /// What is logged (log.level) [default: info]
    #[arg(long, value_name = "FILTER")]
    log_level: Option<String>,
    /// text or json (log.format) [default: text]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// Any setting of docs/configuration.md (repeat for more)
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    set: Vec<(String, String)>,
}

impl Cli {
    /// The command; `serve` when none is named.
    pub(crate) fn command(self) -> Command {
        self.command.unwrap_or(Command::Serve(self.serve))
    }
}

impl SettingFlags {
    /// All places of configuration, the environment being that of this process.
    pub(crate) fn sources(self) -> Sources {
        let list = |items: Vec<String>| (!items.is_empty()).then(|| items.join(","));
        let short = [
            ("--role", "roles", list(self.roles)),
            ("--node", "node.name", self.node),
            ("--nats", "nats.servers", list(self.nats)),
            ("--cql", "cql.nodes", list(self.cql)),
            ("--listen", "server.listen", self.listen),
            ("--admin-listen", "admin.listen", self.admin_listen),
            ("--data", "data", self.data),
            ("--dev", "dev", self.dev),
            ("--log-level", "log.level", self.log_level),
            ("--log-format", "log.format", self.log_format),
        ];
        let long = self
            .set
            .into_iter()
            .map(|(key, text)| (format!("--set {key}"), key, text));
        let short = short
            .into_iter()
            .filter_map(|(flag, key, text)| Some((flag.to_owned(), key.to_owned(), text?)));
        let flags: Vec<FlagValue> = long.chain(short).collect();
        Sources {
            file: self.config,
            environment: std::env::vars_os().collect(),
            flags,
        }
    }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write it as KEY=VALUE")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "write it like \"12h\" (units: ms, s, m, h, d)".to_owned())
}

fn grant(text: &str) -> Result<(String, String), String> {
    let wanted = "write it as ROOM=read, ROOM=write or ROOM=admin";
    let (room, right) = text.rsplit_once('=').ok_or(wanted)?;
    if room.is_empty() || !["read", "write", "admin"].contains(&right) {
        return Err(wanted.to_owned());
    }
    Ok((room.to_owned(), right.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Command {
        let all = ["rookery"].iter().chain(arguments);
        Cli::try_parse_from(all).expect("parses").command()
    }

    #[test]
    fn the_command_line_is_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn without_a_command_it_serves_with_the_same_flags() {
        for arguments in [
            &[
                "--listen",
                "127.0.0.1:0",
                "--dev",
                "--set",
                "log.level=debug",
            ][..],
            &[
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--dev",
                "--set",
                "log.level=debug",
            ][..],
        ] {
            let Command::Serve(serve) = parse(arguments) else {
                panic!("{arguments:?} serves");
            };
            let flags = serve.settings.sources().flags;
            let expected = [
                ("--set log.level", "log.level", "debug"),
                ("--listen", "server.listen", "127.0.0.1:0"),
                ("--dev", "dev", "true"),
            ];
            let expected = expected.map(|(a, b, c)| (a.to_owned(), b.to_owned(), c.to_owned()));
            assert_eq!(flags, expected);
        }
    }

    #[test]
    fn lists_are_given_by_commas_or_again() {
        let Command::Serve(serve) = parse(&[
            "--role",
            "rooms",
            "--role",
            "presence,gateway",
            "--nats",
            "nats://a:1",
            "--nats",
            "nats://b:1",
            "--cql",
            "db:9042",
            "--node",
            "n1",
        ]) else {
            panic!("it serves");
        };
        let flags = serve.settings.sources().flags;
        let flags: Vec<_> = flags
            .iter()
            .map(|(_, key, text)| (&**key, &**text))
            .collect();
        assert_eq!(
            flags,
            [
                ("roles", "rooms,presence,gateway"),
                ("node.name", "n1"),
                ("nats.servers", "nats://a:1,nats://b:1"),
                ("cql.nodes", "db:9042"),
            ]
        );
    }

    #[test]
    fn grants_and_durations_are_checked() {
        assert_eq!(
            grant("news-*=write"),
            Ok(("news-*".to_owned(), "write".to_owned()))
        );
        assert!(grant("news").is_err());
        assert!(grant("news=own").is_err());
        assert!(grant("=read").is_err());
        assert!(duration("1").is_err());
        let refused = Cli::try_parse_from(["rookery", "token", "--user", "a", "--ttl", "soon"]);
        assert!(refused.is_err());
    }
}
