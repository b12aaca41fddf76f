//! `load`: how many sends are acknowledged, and when.

use std::{io::Write as _, num::NonZeroU32, process::ExitCode, time::Duration};

use clap::{Args, builder::RangedU64ValueParser};
use rookery_loadtest::{
    client::ServerAddress,
    load::{Asked, Load},
};
use rookery_proto::limits::TEXT_BYTES_MAX;

use super::{BAD_INPUT, SECONDS_MAX, UNSOUND, complain, count, say, size};

pub(crate) const EXAMPLE: &str = "Example, over two gateways, 5,000 sends a second:
  rookery-loadtest load --url http://127.0.0.1:8080 --url http://127.0.0.1:8081 --in-flight 8 --rate 5000

For a whole scenario, with the server's CPU and memory, use `run`.
Exit status: 0 measured, 1 the run failed, 64 bad arguments.";

#[derive(Args)]
pub(crate) struct Arguments {
    /// Where a gateway is: `http://HOST:PORT`; repeat it for each. They must accept development
    /// logins by name.
    #[arg(long = "url", value_name = "URL", required = true)]
    urls: Vec<ServerAddress>,
    /// Rooms.
    #[arg(long, default_value_t = 64, value_parser = count())]
    rooms: u32,
    /// Connections that send.
    #[arg(long, default_value_t = 200, value_parser = count())]
    senders: u32,
    /// Sends one connection has in flight at most.
    #[arg(long, default_value_t = 1, value_parser = size())]
    in_flight: usize,
    /// Bytes of each text.
    #[arg(long, default_value_t = 100, value_parser = RangedU64ValueParser::<usize>::new().range(..=TEXT_BYTES_MAX as u64))]
    text_bytes: usize,
    /// Sends a second of all together; latency then counts from when a send was due. Without it
    /// each sends when its last was acknowledged.
    #[arg(long)]
    rate: Option<NonZeroU32>,
    /// Seconds before it is measured.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(0..=SECONDS_MAX))]
    warm_up: u64,
    /// Seconds measured.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=SECONDS_MAX))]
    seconds: u64,
}

pub(crate) async fn run(arguments: Arguments) -> ExitCode {
    if arguments.rooms > arguments.senders {
        say("--rooms must not be more than --senders: each room is opened by one of them");
        return BAD_INPUT.into();
    }
    let load = Load {
        asked: Asked::Send,
        prefix: format!("load-{:06x}", fastrand::u32(..1 << 24)),
        rooms: arguments.rooms,
        senders: arguments.senders,
        in_flight_max: arguments.in_flight,
        text_bytes: arguments.text_bytes,
        rate: arguments.rate,
        warm_up: Duration::from_secs(arguments.warm_up),
        measure: Duration::from_secs(arguments.seconds),
    };
    match load.run(&arguments.urls).await {
        Ok(report) => {
            let _ = writeln!(std::io::stdout(), "{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(&error);
            UNSOUND.into()
        }
    }
}
