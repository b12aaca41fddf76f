//! `plan`: from a demand and measured costs to processes and load.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Subcommand};
use rookery_loadtest::{
    plan::{Audience, Demand, Sends, costs::Costs, learn, learn::Learned, plan},
    shown::number,
};
use rookery_proto::errors::chain;

use super::{BAD_INPUT, UNSOUND, complain, report::outcomes, say};

pub(crate) const EXAMPLE: &str =
    "Example: 100,000 users, each in 5 of 20,000 rooms, 2,000 messages a second:
  rookery-loadtest plan --users 100000 --rooms 20000 --rooms-each 5 --rate 2000
  rookery-loadtest plan learn fanout.json idle.json storm.json --out costs.toml

Exit status: 0 answered, 1 the runs tell no cost (`learn`), 64 bad arguments or file.
Every result stands with its formula, the numbers put in, and where each cost was measured. Costs
that nobody measured are named, and results that need them say \"at least\".";

#[derive(Args)]
// A number below zero is a value that is told by its flag, not a flag of its own.
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    allow_negative_numbers = true
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    learn: Option<Learning>,
    #[command(flatten)]
    asked: Asked,
}

#[derive(Subcommand)]
enum Learning {
    /// Take unit costs from results of `run` into a file.
    ///
    /// Costs that the runs do not tell stay in the file as they are. A cost is taken from stages
    /// in which little else happened; of several the highest.
    Learn {
        /// Results of `run`.
        #[arg(value_name = "RUN.json", required = true)]
        runs: Vec<PathBuf>,
        /// The file of costs; made if there is none.
        #[arg(long, value_name = "FILE.toml")]
        out: PathBuf,
    },
}

#[derive(Args)]
struct Asked {
    /// Users online at the same time, each with one connection.
    #[arg(long, required = true)]
    users: Option<f64>,
    /// Rooms.
    #[arg(long, required = true)]
    rooms: Option<f64>,
    /// Messages a second, of all users together.
    #[arg(
        long,
        required_unless_present = "rate_per_user",
        conflicts_with = "rate_per_user"
    )]
    rate: Option<f64>,
    /// Messages an hour of each user online, instead of --rate.
    #[arg(long)]
    rate_per_user: Option<f64>,
    /// People online in the room a message goes to, on average; without it they follow from
    /// --rooms-each.
    #[arg(long, conflicts_with_all = ["rooms_each", "zipf"])]
    members: Option<f64>,
    /// Rooms each user listens to.
    #[arg(long, default_value_t = 1.0)]
    rooms_each: f64,
    /// Room sizes follow Zipf's law with this exponent; without it all rooms are as large.
    #[arg(long, value_name = "EXPONENT")]
    zipf: Option<f64>,
    /// Other commands a second that a room answers: reads, history, typing.
    #[arg(long, default_value_t = 0.0)]
    commands: f64,
    /// Minutes that a connection lives.
    #[arg(long, default_value_t = 60.0)]
    session_minutes: f64,
    /// Bytes of a message's text.
    #[arg(long, default_value_t = 100.0)]
    text_bytes: f64,
    /// Copies of each row in the database.
    #[arg(long, default_value_t = 3.0)]
    replicas: f64,
    /// Days that messages are kept.
    #[arg(long, default_value_t = 365.0)]
    retention_days: f64,
    /// Share of its cores that a process shall use at most.
    #[arg(long, default_value_t = 0.5)]
    utilisation: f64,
    /// Cores of each gateway and node.
    #[arg(long, default_value_t = 4.0)]
    cores_each: f64,
    /// Connections of one gateway at most; 15,000 is what docs/performance.md measured on one.
    #[arg(long, default_value_t = 15_000.0)]
    connections_each: f64,
    /// Gateways, and nodes, that may fail while the others carry all.
    #[arg(long, default_value_t = 1.0)]
    spare: f64,
    /// A file of unit costs; without it those of docs/performance.md.
    #[arg(long, value_name = "FILE.toml")]
    costs: Option<PathBuf>,
}

pub(crate) fn run(arguments: Arguments) -> ExitCode {
    match arguments.learn {
        Some(Learning::Learn { runs, out }) => take(&runs, &out),
        None => answer(&arguments.asked),
    }
}

fn take(paths: &[PathBuf], out: &Path) -> ExitCode {
    let runs = match outcomes(paths) {
        Ok(runs) => runs,
        Err(error) => {
            complain(&error);
            return BAD_INPUT.into();
        }
    };
    let learned = match learn::into_file(&runs, out) {
        Ok(learned) => learned,
        Err(error) => {
            complain(&error);
            return BAD_INPUT.into();
        }
    };
    told(&learned, out);
    if learned.is_empty() {
        return UNSOUND.into();
    }
    ExitCode::SUCCESS
}

/// Says what was learned, and where it is.
pub(super) fn told(learned: &[Learned], out: &Path) {
    for one in learned {
        let (value, load) = (number(one.cost.value), &one.cost.load);
        say(&format!(
            "{} = {value}: {}, {load}",
            one.kind, one.cost.from
        ));
    }
    if learned.is_empty() {
        say("these runs tell no cost: they need a side `rookery` and stages that do one thing");
    } else {
        say(&format!("{} costs in {}", learned.len(), out.display()));
    }
}

fn answer(asked: &Asked) -> ExitCode {
    let costs = match asked
        .costs
        .as_deref()
        .map_or_else(|| Ok(Costs::built_in()), Costs::read)
    {
        Ok(costs) => costs,
        Err(error) => {
            say(&format!("error: --costs: {}", chain(&error)));
            return BAD_INPUT.into();
        }
    };
    match plan(&asked.demand(), &costs) {
        Ok(plan) => {
            // A closed pipe is the reader's wish.
            let _ = write!(std::io::stdout(), "{plan}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(&error);
            BAD_INPUT.into()
        }
    }
}

impl Asked {
    fn demand(&self) -> Demand {
        let rooms_each = self.rooms_each;
        // clap has seen to what is required; 0 would be refused with its flag.
        Demand {
            users: self.users.unwrap_or_default(),
            rooms: self.rooms.unwrap_or_default(),
            audience: match (self.members, self.zipf) {
                (Some(members), _) => Audience::Known(members),
                (None, None) => Audience::Even { rooms_each },
                (None, Some(exponent)) => Audience::Zipf {
                    rooms_each,
                    exponent,
                },
            },
            sends: match self.rate_per_user {
                Some(rate) => Sends::PerUserHour(rate),
                None => Sends::Total(self.rate.unwrap_or_default()),
            },
            commands: self.commands,
            session_minutes: self.session_minutes,
            text_bytes: self.text_bytes,
            replicas: self.replicas,
            retention_days: self.retention_days,
            utilisation: self.utilisation,
            cores_each: self.cores_each,
            connections_each: self.connections_each,
            spare: self.spare,
        }
    }
}
