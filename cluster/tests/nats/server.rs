//! NATS servers of the tests' own.

use std::{
    env, fs,
    io::Write as _,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// A server on loopback; ended with its value.
pub(crate) struct Server {
    binary: PathBuf,
    folder: TempDir,
    port: u16,
    process: Child,
}

impl Server {
    /// Starts one with these further lines of configuration. `None`: there is no server here,
    /// and it was said that the test is skipped.
    pub(crate) fn start(test: &str, lines: &str) -> Option<Self> {
        let Some(binary) = binary() else {
            skip(
                test,
                "there is no nats-server (scripts/services start nats)",
            );
            return None;
        };
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let folder = tempfile::tempdir().unwrap();
        let configuration = format!("listen: 127.0.0.1:{port}\n{lines}\n");
        fs::write(folder.path().join("nats.conf"), configuration).unwrap();
        let process = launch(&binary, folder.path());
        let mut server = Self {
            binary,
            folder,
            port,
            process,
        };
        server.wait();
        Some(server)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Ends it at once, as a crash would.
    pub(crate) fn kill(&mut self) {
        let _ = self.process.kill();
        self.process.wait().unwrap();
    }

    /// Starts it again after [`kill`](Self::kill), on the same port.
    pub(crate) fn restart(&mut self) {
        self.process = launch(&self.binary, self.folder.path());
        self.wait();
    }

    fn wait(&mut self) {
        let until = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let ended = self.process.try_wait().unwrap();
            let log = self.folder.path().join("log");
            assert!(
                ended.is_none() && Instant::now() < until,
                "nats-server does not start: {}",
                fs::read_to_string(log).unwrap_or_default()
            );
            std::thread::yield_now();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn launch(binary: &Path, folder: &Path) -> Child {
    let log = fs::File::create(folder.join("log")).unwrap();
    Command::new(binary)
        .arg("-c")
        .arg(folder.join("nats.conf"))
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

fn binary() -> Option<PathBuf> {
    if let Some(named) = env::var_os("ROOKERY_NATS_SERVER") {
        return Some(named.into());
    }
    let services = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/services");
    let built = fs::read_dir(services).into_iter().flatten().flatten();
    let built = built.map(|entry| entry.path().join("nats-server"));
    let path = env::var_os("PATH").unwrap_or_default();
    let installed = env::split_paths(&path).map(|folder| folder.join("nats-server"));
    built.chain(installed).find(|binary| binary.is_file())
}

/// Says, past the capture of output, that a test did not run.
pub(crate) fn skip(test: &str, why: &str) {
    let required = env::var_os("ROOKERY_REQUIRE_SERVICES").is_some_and(|value| value == "1");
    assert!(!required, "{test}: {why}");
    let mut past_the_capture = std::io::stderr();
    writeln!(past_the_capture, "SKIPPED: {test}: {why}").unwrap();
}
