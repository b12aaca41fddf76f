//! The light processes of a side: told by lines on their standard input, heard by lines of their
//! standard output.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use serde::Serialize;
use tokio::sync::mpsc;

use crate::{
    light::orders::{Order, Report, Task},
    limits::{FLEET_END_DEADLINE, FLEET_REPORTS_MAX, POLL_INTERVAL},
};

/// See the module's words. Killed with its value.
#[derive(Debug)]
pub(super) struct Fleet {
    workers: Vec<Worker>,
    heard: mpsc::Receiver<(usize, Heard)>,
}

#[derive(Debug)]
struct Worker {
    child: Child,
    stdin: ChildStdin,
}

#[derive(Debug)]
enum Heard {
    Report(Box<Report>),
    Garbled(String),
    Ended,
}

impl Fleet {
    /// Starts `task.parts` processes, each with its part.
    pub(super) fn start(tool: &Path, task: &Task) -> Result<Self> {
        let (tell, heard) = mpsc::channel(FLEET_REPORTS_MAX);
        let mut fleet = Self {
            workers: Vec::new(),
            heard,
        };
        for part in 0..task.parts {
            let mut child = Command::new(tool)
                .arg("light")
                // A Ctrl-C is for the run, which then ends its children.
                .process_group(0)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .with_context(|| format!("start {} light", tool.display()))?;
            let stdin = child.stdin.take();
            let stdout = child.stdout.take();
            let stdin = stdin.context("its input was asked for")?;
            let stdout = stdout.context("its output was asked for")?;
            let number = fleet.workers.len();
            fleet.workers.push(Worker { child, stdin });
            let tell = tell.clone();
            // Ends with the process's output, or with the fleet.
            std::thread::spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    let heard = match serde_json::from_str(&line) {
                        Ok(report) => Heard::Report(Box::new(report)),
                        Err(error) => Heard::Garbled(format!("{error} in {line:.200}")),
                    };
                    if tell.blocking_send((number, heard)).is_err() {
                        return;
                    }
                }
                let _ = tell.blocking_send((number, Heard::Ended));
            });
            let task = Task {
                part,
                ..task.clone()
            };
            fleet.say(number, &task)?;
        }
        Ok(fleet)
    }

    pub(super) fn count(&self) -> usize {
        self.workers.len()
    }

    pub(super) fn pids(&self) -> impl Iterator<Item = u32> {
        self.workers.iter().map(|worker| worker.child.id())
    }

    /// Tells the first process alone.
    pub(super) fn tell_first(&mut self, order: Order) -> Result<()> {
        self.say(0, &order)
    }

    /// Tells all processes.
    pub(super) fn tell_all(&mut self, order: Order) -> Result<()> {
        (0..self.workers.len()).try_for_each(|number| self.say(number, &order))
    }

    fn say(&mut self, number: usize, line: &impl Serialize) -> Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        let told = self.workers[number].stdin.write_all(&text);
        told.with_context(|| format!("light process {number} does not listen any more"))
    }

    /// What a process says next. Cancel safe.
    ///
    /// # Errors
    /// A process cannot go on, or ended unasked.
    pub(super) async fn next(&mut self) -> Result<(usize, Report)> {
        let heard = self.heard.recv().await;
        let (number, heard) = heard.context("no light process is left")?;
        match heard {
            Heard::Report(report) => match *report {
                Report::Failed(why) => bail!("light process {number} failed: {why}"),
                report => Ok((number, report)),
            },
            Heard::Garbled(why) => bail!("light process {number} said what is no report: {why}"),
            Heard::Ended => {
                let status = self.workers[number].child.try_wait();
                let status = status.ok().flatten();
                let status = status.map_or_else(String::new, |status| format!(" with {status}"));
                bail!("light process {number} ended unasked{status}")
            }
        }
    }

    /// Asks all to close and end; kills those that do not in time.
    pub(super) async fn end(&mut self) {
        // One that is gone has ended, too.
        let _ = self.tell_all(Order::End);
        let deadline = tokio::time::Instant::now() + FLEET_END_DEADLINE;
        for worker in &mut self.workers {
            while matches!(worker.child.try_wait(), Ok(None))
                && tokio::time::Instant::now() < deadline
            {
                tokio::time::sleep(POLL_INTERVAL).await;
            }
        }
        self.workers.clear();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Errors mean that it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
