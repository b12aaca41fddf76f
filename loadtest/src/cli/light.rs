//! `light`: a process of connections, told what to do on its standard input. `run` starts it.

use std::{io::Write as _, process::ExitCode};

use rookery_loadtest::light::{
    Engine,
    orders::{Order, Report, Task},
};

use super::{BAD_INPUT, UNSOUND, complain, say};

pub(crate) fn run() -> ExitCode {
    let mut line = String::new();
    let task = match std::io::stdin().read_line(&mut line) {
        Ok(_) => serde_json::from_str::<Task>(&line).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    let task = match task {
        Ok(task) => task,
        Err(error) => return bad(&format!("the first line must be a task: {error}")),
    };
    let (engine, orders) = match Engine::new(&task) {
        Ok(engine) => engine,
        Err(error) => return bad(&error.to_string()),
    };
    // The loop must not wait for lines, so a thread does. It ends with the input or the process.
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            let given = match serde_json::from_str::<Order>(&line) {
                Ok(order) => orders.give(order).is_ok(),
                Err(error) => {
                    say(&format!("error: no order: {line:.100}: {error}"));
                    false
                }
            };
            if !given {
                return;
            }
        }
    });
    match engine.run(tell) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            UNSOUND.into()
        }
    }
}

fn tell(report: Report) {
    let line = serde_json::to_string(&report).expect("a report has only string keys");
    // Who does not listen any more has closed the input, too.
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn bad(why: &str) -> ExitCode {
    tell(Report::Failed(why.to_owned()));
    say(&format!("error: {why}"));
    BAD_INPUT.into()
}
