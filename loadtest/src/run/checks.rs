//! What must hold before anything is started: each failure names the flag, key or setting.

use std::path::{Path, PathBuf};

use super::{FLOOR, Run, Subject};
use crate::{
    limits::{LIGHT_PROCESS_CONNECTIONS_MAX, OPEN_FILES_SPARE},
    outcome::Machine,
};

/// The run cannot be made here.
#[derive(Debug, thiserror::Error)]
pub enum CannotRun {
    /// A program is missing.
    #[error("{flag} {path}: {source}")]
    Program {
        /// The flag that names it.
        flag: &'static str,
        /// Where it should be.
        path: PathBuf,
        /// Why it is not.
        source: std::io::Error,
    },
    /// A process would open more files than it may.
    #[error(
        "people.connections={connections} means {needed} open files for {who}, and a process may \
         open {allowed} here (ulimit -n): {advice}"
    )]
    OpenFiles {
        /// Of the scenario.
        connections: u32,
        /// Files of one process.
        needed: u64,
        /// Which process.
        who: &'static str,
        /// What it may open.
        allowed: u64,
        /// What would help.
        advice: &'static str,
    },
    /// A side that this run does not have.
    #[error("--side {side}: this run has the sides `{subject}` and `{FLOOR}`")]
    Side {
        /// Asked for.
        side: String,
        /// The name of the server that is measured.
        subject: &'static str,
    },
    /// A server that cannot be restarted on its data.
    #[error("people.rooms_cold needs servers that this run starts and that keep rooms: {0}")]
    RoomsCold(&'static str),
    /// A process to look at is not there.
    #[error("--pid {role}={pid}: there is no such process")]
    NoProcess {
        /// Its role.
        role: String,
        /// Its id.
        pid: u32,
    },
}

/// As many processes as so many connections need.
pub(super) fn processes_for(connections: u32) -> u32 {
    connections.div_ceil(LIGHT_PROCESS_CONNECTIONS_MAX)
}

pub(super) fn check(run: &Run, machine: &Machine) -> Result<(), CannotRun> {
    let subject = run.subject.name();
    for side in &run.sides {
        if side != subject && side != FLOOR {
            let side = side.clone();
            return Err(CannotRun::Side { side, subject });
        }
    }
    if run.scenario.people.rooms_cold {
        if run.sides().iter().any(|side| side == FLOOR) {
            return Err(CannotRun::RoomsCold("the floor keeps none"));
        }
        if matches!(run.subject, Subject::Attached { .. }) {
            return Err(CannotRun::RoomsCold("--url names one that runs already"));
        }
    }
    match &run.subject {
        Subject::Attached { processes, .. } => {
            for (role, pid) in processes {
                if !Path::new(&format!("/proc/{pid}")).exists() {
                    let role = role.clone();
                    return Err(CannotRun::NoProcess { role, pid: *pid });
                }
            }
        }
        Subject::Embedded { rookery } => program("--rookery", rookery)?,
        Subject::Cluster {
            rookery,
            nats_server,
            ..
        } => {
            program("--rookery", rookery)?;
            on_path("--nats-server", nats_server)?;
        }
    }
    open_files(run, machine.open_files_max)
}

fn program(flag: &'static str, path: &Path) -> Result<(), CannotRun> {
    match path.metadata() {
        Ok(_) => Ok(()),
        Err(source) => Err(CannotRun::Program {
            flag,
            path: path.to_owned(),
            source,
        }),
    }
}

/// A bare name is looked for on the PATH.
fn on_path(flag: &'static str, path: &Path) -> Result<(), CannotRun> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = std::env::split_paths(&folders);
    if path.components().count() == 1 && folders.any(|folder| folder.join(path).is_file()) {
        return Ok(());
    }
    program(flag, path)
}

fn open_files(run: &Run, allowed: u64) -> Result<(), CannotRun> {
    let connections = run.scenario.people.connections;
    let check = |processes: u64, who, advice| {
        let needed = u64::from(connections).div_ceil(processes.max(1)) + OPEN_FILES_SPARE;
        if needed <= allowed {
            return Ok(());
        }
        Err(CannotRun::OpenFiles {
            connections,
            needed,
            who,
            allowed,
            advice,
        })
    };
    let processes = run.light_processes().into();
    let more = "raise it, or use more --processes";
    check(processes, "each light process", more)?;
    for side in run.sides() {
        if side == FLOOR {
            check(1, "the floor", "raise it, or connect fewer")?;
            continue;
        }
        match &run.subject {
            // Its own affair.
            Subject::Attached { .. } => {}
            Subject::Embedded { .. } => {
                let more = "raise it, or start a cluster with --gateways";
                check(1, "the server", more)?;
            }
            Subject::Cluster { gateways, .. } => {
                check(*gateways as u64, "each gateway", "use more --gateways")?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{light::orders::Wire, scenario::Scenario};

    fn run(connections: u32) -> Run {
        let change = format!("people.connections={connections}");
        Run {
            scenario: Scenario::load("idle", &[change]).unwrap(),
            subject: Subject::Embedded {
                rookery: std::env::current_exe().unwrap(),
            },
            sides: Vec::new(),
            rounds: std::num::NonZeroU32::MIN,
            processes: None,
            tool: PathBuf::new(),
        }
    }

    fn machine(open_files_max: u64) -> Machine {
        Machine {
            open_files_max,
            ..Machine::default()
        }
    }

    #[test]
    fn what_is_missing_is_told_by_its_flag() {
        assert!(check(&run(15_000), &machine(20_000)).is_ok());
        let told = |run: &Run, files| check(run, &machine(files)).unwrap_err().to_string();

        let error = told(&run(15_000), 1_024);
        assert!(error.contains("people.connections=15000"), "{error}");
        assert!(error.contains("1024") && error.contains("--processes"));

        // The light processes are enough, the one server is not.
        let error = told(&run(40_000), 20_000);
        assert!(error.contains("the server") && error.contains("--gateways"));

        let mut few = run(40_000);
        few.processes = Some(2);
        let error = told(&few, 20_000);
        assert!(error.contains("each light process"), "{error}");

        let mut nowhere = run(10);
        nowhere.subject = Subject::Embedded {
            rookery: "/no/such/rookery".into(),
        };
        let error = told(&nowhere, 20_000);
        assert!(error.contains("--rookery /no/such/rookery"), "{error}");

        let mut cold = run(10);
        cold.scenario.people.rooms_cold = true;
        assert!(check(&cold, &machine(20_000)).is_ok());
        cold.sides = vec!["rookery".to_owned(), FLOOR.to_owned()];
        let error = told(&cold, 20_000);
        assert!(error.contains("rooms_cold") && error.contains("the floor"));
        cold.sides.clear();
        cold.subject = Subject::Attached {
            urls: Vec::new(),
            wire: Wire::Rookery,
            processes: Vec::new(),
            admins: Vec::new(),
        };
        let error = told(&cold, 20_000);
        assert!(error.contains("rooms_cold") && error.contains("--url"));

        let mut sides = run(10);
        sides.sides = vec!["ceiling".to_owned()];
        let error = told(&sides, 20_000);
        assert!(error.contains("--side ceiling"), "{error}");
    }
}
