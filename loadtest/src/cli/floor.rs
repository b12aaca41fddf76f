//! `floor`: the bare server that ratios are taken against.

use std::{io::Write as _, net::SocketAddr, process::ExitCode};

use rookery_loadtest::floor::Floor;

use super::{BAD_INPUT, UNSOUND, complain, say};

pub(crate) fn run(listen: SocketAddr) -> ExitCode {
    let floor = match Floor::bind(listen) {
        Ok(floor) => floor,
        Err(error) => {
            say(&format!("error: --listen {listen}: {error}"));
            return BAD_INPUT.into();
        }
    };
    let listening = serde_json::json!({ "listening": floor.address().to_string() });
    let _ = writeln!(std::io::stdout(), "{listening}");
    match floor.serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            UNSOUND.into()
        }
    }
}
