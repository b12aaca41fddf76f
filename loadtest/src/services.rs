//! What tests need of other people's servers, and may not find: for tests.
//!
//! Where something is missing a test is skipped and says so, past the capture of output; with
//! `ROOKERY_REQUIRE_SERVICES=1` that is a failure.

use std::{
    env, fs,
    io::Write as _,
    net::{IpAddr, Ipv4Addr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use crate::{limits::NATS_READY_DEADLINE, ports, wait::eventually_blocking};

/// A variable of the environment, when it is set and not empty.
#[must_use]
pub fn variable(name: &str) -> Option<String> {
    let value = env::var_os(name)?.into_string().ok()?;
    (!value.is_empty()).then_some(value)
}

/// Says that a test did not run.
///
/// # Panics
/// All services are required.
pub fn skip(test: &str, why: &str) {
    let required = variable("ROOKERY_REQUIRE_SERVICES").as_deref() == Some("1");
    assert!(!required, "{test}: {why}");
    say(&format!("SKIPPED: {test}: {why}"));
}

/// Says something past the capture of output: a run of minutes shows what it does.
pub fn say(line: &str) {
    // Nobody can be told when this fails.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// The program `nats-server`: the one that `ROOKERY_NATS_SERVER` names, that `scripts/services` has
/// built, or that is on the PATH. `None`: it was said that the test is skipped.
#[must_use]
pub fn nats_program(test: &str) -> Option<PathBuf> {
    let found = find_nats_program();
    if found.is_none() {
        let why = "there is no nats-server (scripts/services start nats)";
        skip(test, why);
    }
    found
}

fn find_nats_program() -> Option<PathBuf> {
    if let Some(named) = variable("ROOKERY_NATS_SERVER") {
        return Some(named.into());
    }
    let services = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/services");
    let built = fs::read_dir(services).into_iter().flatten().flatten();
    let built = built.map(|entry| entry.path().join("nats-server"));
    let path = env::var_os("PATH").unwrap_or_default();
    let installed = env::split_paths(&path).map(|folder| folder.join("nats-server"));
    built.chain(installed).find(|binary| binary.is_file())
}

/// A NATS server on loopback, of one test; ended with its value.
#[derive(Debug)]
pub struct NatsServer {
    program: PathBuf,
    folder: TempDir,
    port: u16,
    process: Child,
}

impl NatsServer {
    /// Starts one with these further lines of configuration and waits until it serves. `None`: it
    /// was said that the test is skipped.
    ///
    /// # Panics
    /// It does not start.
    #[must_use]
    pub fn start(test: &str, lines: &str) -> Option<Self> {
        let program = nats_program(test)?;
        let port = free_port();
        let folder = TempDir::new().expect("a folder can be made");
        let configuration = format!("listen: 127.0.0.1:{port}\n{lines}\n");
        fs::write(folder.path().join("nats.conf"), configuration).expect("a file can be written");
        let process = launch(&program, folder.path());
        let mut server = Self {
            program,
            folder,
            port,
            process,
        };
        server.wait();
        Some(server)
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How clients name it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Ends it at once, as a crash would.
    pub fn kill(&mut self) {
        // Errors mean that it is gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Starts it again after [`kill`](Self::kill), on the same port.
    ///
    /// # Panics
    /// It does not start.
    pub fn restart(&mut self) {
        self.process = launch(&self.program, self.folder.path());
        self.wait();
    }

    fn wait(&mut self) {
        eventually_blocking("nats-server starts", NATS_READY_DEADLINE, || {
            let ended = self.process.try_wait().expect("the process can be asked");
            let log = self.folder.path().join("log");
            assert!(
                ended.is_none(),
                "nats-server does not start: {}",
                fs::read_to_string(log).unwrap_or_default()
            );
            TcpStream::connect(("127.0.0.1", self.port)).is_ok()
        });
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn launch(program: &Path, folder: &Path) -> Child {
    let log = fs::File::create(folder.join("log")).expect("a file can be made");
    let errors = log.try_clone().expect("a file can be shared");
    Command::new(program)
        .arg("-c")
        .arg(folder.join("nats.conf"))
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        .spawn()
        .expect("nats-server can be started")
}

/// A port of the loopback address that nobody has.
///
/// # Panics
/// There is none.
#[must_use]
pub fn free_port() -> u16 {
    ports::free_port(&[IpAddr::V4(Ipv4Addr::LOCALHOST)]).expect("there is a free port")
}
