//! The real server as a child process, for tests and for the load tool's own runs.

mod admin;
mod process;

use std::{
    fs::{self, File},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use serde::Deserialize;
use tokio::time::{Instant, sleep};

use crate::{
    client::{AddressError, ServerAddress},
    limits::{POLL_INTERVAL, READY_DEADLINE, TERMINATE_DEADLINE},
};
pub use admin::{AdminError, metrics_text};
pub use process::{Signal, cpu_time, memory_bytes, peak_memory_bytes, send_signal};

/// How to start a server.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Data directory; also holds the ready file and the log.
    pub data: PathBuf,
    /// Arguments after the usual ones.
    pub args: Vec<String>,
    /// Environment variables to set.
    pub env: Vec<(String, String)>,
    /// Whether `--dev` is given.
    pub dev: bool,
    /// How long it may take to be ready.
    pub ready_deadline: Duration,
}

impl ServerOptions {
    /// A development server on this data directory.
    #[must_use]
    pub fn dev(data: &Path) -> Self {
        Self {
            data: data.to_owned(),
            args: Vec::new(),
            env: Vec::new(),
            dev: true,
            ready_deadline: READY_DEADLINE,
        }
    }

    /// With one more argument.
    #[must_use]
    pub fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.to_owned());
        self
    }
}

/// A running server; killed by its pid when dropped. When dropped by a panicking test, the end of
/// its log is printed.
#[derive(Debug)]
pub struct Server {
    bin: PathBuf,
    options: ServerOptions,
    child: Child,
    address: ServerAddress,
    admin: ServerAddress,
    /// From spawning to the ready file.
    started_in: Duration,
}

/// The server could not be started or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// A file or the process.
    #[error("cannot {what}")]
    Io {
        /// What was tried.
        what: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// It ended instead of becoming ready.
    #[error("the server ended with {status} before it was ready; its log ends:\n{log}")]
    Ended {
        /// How it ended.
        status: ExitStatus,
        /// The end of its log.
        log: String,
    },
    /// It did not become ready, or did not end, in time.
    #[error("the server did not {what} within {after:?}; its log ends:\n{log}")]
    Deadline {
        /// What it should have done.
        what: &'static str,
        /// How long was waited.
        after: Duration,
        /// The end of its log.
        log: String,
    },
    /// The ready file names something that is no address.
    #[error("bad ready file")]
    ReadyFile(#[from] AddressError),
}

#[derive(Deserialize)]
struct Ready {
    /// Absent where no client connects.
    #[serde(default)]
    url: Option<String>,
    admin: String,
}

/// Bytes of the log shown when something fails.
const LOG_TAIL_BYTES: usize = 8 * 1024;

impl Server {
    /// Starts the binary on free ports of the loopback address and waits until it is ready.
    ///
    /// # Errors
    /// It does not start, ends, or is not ready in time.
    pub async fn start(bin: &Path, options: ServerOptions) -> Result<Self, ServerError> {
        Self::spawn(bin, options, "127.0.0.1:0").await
    }

    /// Starts it again on the same port and data, after [`Server::kill9`] or
    /// [`Server::terminate`]; the admin port may be another.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub async fn restart(&mut self) -> Result<(), ServerError> {
        self.kill9();
        let listen = if self.address == self.admin {
            "127.0.0.1:0"
        } else {
            self.address.authority()
        };
        let listen = listen.to_owned();
        *self = Self::spawn(&self.bin, self.options.clone(), &listen).await?;
        Ok(())
    }

    async fn spawn(bin: &Path, options: ServerOptions, listen: &str) -> Result<Self, ServerError> {
        let io = |what: &str| {
            let what = what.to_owned();
            move |source| ServerError::Io { what, source }
        };
        fs::create_dir_all(&options.data).map_err(io("make the data directory"))?;
        let ready_file = options.data.join("ready.json");
        match fs::remove_file(&ready_file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(io("remove the old ready file")(error));
            }
            _ => {}
        }
        let log = File::options()
            .create(true)
            .append(true)
            .open(log_path(&options))
            .map_err(io("open the log"))?;
        let mut command = program(bin);
        command.arg("serve");
        if options.dev {
            command.arg("--dev");
        }
        command
            .args([
                "--listen",
                listen,
                "--admin-listen",
                "127.0.0.1:0",
                "--data",
            ])
            .arg(&options.data)
            .arg("--ready-file")
            .arg(&ready_file)
            .args(&options.args)
            .envs(options.env.iter().cloned())
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(io("share the log"))?)
            .stderr(log);
        let began = Instant::now();
        let child = command
            .spawn()
            .map_err(io(&format!("start {}", bin.display())))?;
        // From here on a failure drops the server, which kills the child.
        let mut server = Self {
            bin: bin.to_owned(),
            options,
            child,
            address: std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into(),
            admin: std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into(),
            started_in: Duration::ZERO,
        };
        let ready = server.ready(&ready_file, began).await?;
        server.started_in = began.elapsed();
        server.admin = ready.admin.parse()?;
        server.address = match ready.url {
            Some(url) => url.parse()?,
            None => server.admin.clone(),
        };
        Ok(server)
    }

    async fn ready(&mut self, file: &Path, began: Instant) -> Result<Ready, ServerError> {
        loop {
            // A half-written file does not parse: look again.
            if let Some(ready) = fs::read(file)
                .ok()
                .and_then(|text| serde_json::from_slice(&text).ok())
            {
                return Ok(ready);
            }
            if let Some(status) = self.exited()? {
                let log = self.log_tail();
                return Err(ServerError::Ended { status, log });
            }
            if began.elapsed() > self.options.ready_deadline {
                return Err(ServerError::Deadline {
                    what: "become ready",
                    after: self.options.ready_deadline,
                    log: self.log_tail(),
                });
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    /// Where clients connect; of a server without clients, its [`Server::admin`].
    #[must_use]
    pub fn address(&self) -> &ServerAddress {
        &self.address
    }

    /// Where `/healthz`, `/readyz` and `/metrics` are.
    #[must_use]
    pub fn admin(&self) -> &ServerAddress {
        &self.admin
    }

    /// From spawning the process to its ready file, to within 5 ms.
    #[must_use]
    pub fn started_in(&self) -> Duration {
        self.started_in
    }

    /// The process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended, and how.
    ///
    /// # Errors
    /// The process cannot be asked.
    pub fn exited(&mut self) -> Result<Option<ExitStatus>, ServerError> {
        self.child.try_wait().map_err(|source| ServerError::Io {
            what: "ask for the server's state".to_owned(),
            source,
        })
    }

    /// Kills it at once (SIGKILL) and waits until it is gone.
    pub fn kill9(&mut self) {
        // Errors mean that it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it to end (SIGTERM) and waits for that.
    ///
    /// # Errors
    /// It does not end in time.
    pub async fn terminate(&mut self) -> Result<ExitStatus, ServerError> {
        self.signal(Signal::Terminate)?;
        let began = Instant::now();
        loop {
            if let Some(status) = self.exited()? {
                return Ok(status);
            }
            if began.elapsed() > TERMINATE_DEADLINE {
                return Err(ServerError::Deadline {
                    what: "end",
                    after: TERMINATE_DEADLINE,
                    log: self.log_tail(),
                });
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// The process is gone.
    pub fn signal(&self, signal: Signal) -> Result<(), ServerError> {
        send_signal(self.pid(), signal).map_err(|source| ServerError::Io {
            what: format!("send {signal:?} to the server"),
            source,
        })
    }

    /// Memory of the process (resident set), in bytes.
    ///
    /// # Errors
    /// The process is gone.
    pub fn memory_bytes(&self) -> Result<u64, ServerError> {
        memory_bytes(self.pid()).map_err(|source| ServerError::Io {
            what: "read the server's memory".to_owned(),
            source,
        })
    }

    /// Processor time the process has used, in seconds.
    ///
    /// # Errors
    /// The process is gone.
    pub fn cpu_seconds(&self) -> Result<f64, ServerError> {
        cpu_time(self.pid())
            .map(|time| time.as_secs_f64())
            .map_err(|source| ServerError::Io {
                what: "read the server's processor time".to_owned(),
                source,
            })
    }

    /// All the server wrote to its log, over restarts.
    #[must_use]
    pub fn log(&self) -> String {
        let bytes = fs::read(log_path(&self.options)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The end of [`Server::log`].
    #[must_use]
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let from = log.len().saturating_sub(LOG_TAIL_BYTES);
        let from = (from..log.len()).find(|at| log.is_char_boundary(*at));
        log[from.unwrap_or(0)..].to_owned()
    }
}

/// Whether children are in groups of their own.
static OWN_GROUPS: AtomicBool = AtomicBool::new(false);

/// From now on a terminal's Ctrl-C reaches this process alone, and not the servers it starts: it
/// decides what becomes of them, and ends them. Whoever does not hear signals leaves it as it is.
pub fn keep_children_from_ctrl_c() {
    OWN_GROUPS.store(true, Relaxed);
}

/// A program to start, in a group of its own where [`keep_children_from_ctrl_c`] asked for that.
pub(crate) fn child(bin: &Path) -> Command {
    let mut command = Command::new(bin);
    if OWN_GROUPS.load(Relaxed) {
        command.process_group(0);
    }
    command
}

/// A child that does not take the tests' variables, nor those of whoever runs them, for settings.
pub(crate) fn program(bin: &Path) -> Command {
    let mut command = child(bin);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ROOKERY_") {
            command.env_remove(name);
        }
    }
    command
}

fn log_path(options: &ServerOptions) -> PathBuf {
    options.data.join("server.log")
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill9();
        if std::thread::panicking() {
            #[expect(clippy::print_stderr, reason = "shown beside the failed test")]
            {
                eprintln!("--- the server's log ends:\n{}\n---", self.log_tail());
            }
        }
    }
}

#[cfg(test)]
mod tests;
