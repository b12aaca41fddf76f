//! The real binary in a folder of its own, on free ports.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// For anything the process must do. Generous: the machine may be busy.
const DEADLINE: Duration = Duration::from_secs(30);
/// Between two looks at a condition.
const POLL: Duration = Duration::from_millis(5);

/// Looks again and again until there is something.
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "did not happen in time: {what}");
        thread::sleep(POLL);
    }
}

/// The binary, without the environment of whoever runs the tests.
pub(crate) fn rookery(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rookery"));
    command.env_clear().current_dir(folder).args(arguments);
    command
}

/// Runs it to its end.
pub(crate) fn run(folder: &Path, arguments: &[&str]) -> Output {
    rookery(folder, arguments)
        .output()
        .expect("the binary runs")
}

/// What a finished process said, for assertions.
pub(crate) fn said(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

/// A serving process; killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) folder: TempDir,
    pub(crate) client: SocketAddr,
    pub(crate) admin: SocketAddr,
    /// From the start of the process to its ready file.
    pub(crate) took: Duration,
}

impl Server {
    /// Starts one with more flags and waits until it is ready.
    pub(crate) fn start(flags: &[&str]) -> Self {
        Self::start_in(TempDir::new().expect("a folder"), flags)
    }

    /// Starts one on a folder.
    pub(crate) fn start_in(folder: TempDir, flags: &[&str]) -> Self {
        let log = fs::File::create(folder.path().join("log")).expect("a log file");
        let out = fs::File::create(folder.path().join("out")).expect("a file for its output");
        let mut arguments = vec!["serve", "--listen", "127.0.0.1:0", "--admin-listen"];
        arguments.extend([
            "127.0.0.1:0",
            "--data",
            "data",
            "--ready-file",
            "ready.json",
        ]);
        arguments.extend(flags);
        let ready_file = folder.path().join("ready.json");
        // A run before this one on the folder left its own.
        let _ = fs::remove_file(&ready_file);
        let began = Instant::now();
        let mut child = rookery(folder.path(), &arguments)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(log)
            .spawn()
            .expect("the binary starts");
        let ready = eventually("the ready file", || {
            if let Some(status) = child.try_wait().expect("the process can be asked") {
                panic!(
                    "ended with {status} before it was ready: {}",
                    log_of(folder.path())
                );
            }
            fs::read_to_string(&ready_file).ok()
        });
        let took = began.elapsed();
        let ready: serde_json::Value =
            serde_json::from_str(&ready).expect("the ready file is JSON");
        let address = |field: &str| {
            let url = ready[field].as_str().expect("a URL");
            let address = url.strip_prefix("http://").expect("http");
            address.parse().expect("an address")
        };
        Self {
            client: address("url"),
            admin: address("admin"),
            child,
            folder,
            took,
        }
    }

    pub(crate) fn log(&self) -> String {
        log_of(self.folder.path())
    }

    pub(crate) fn output(&self) -> String {
        fs::read_to_string(self.folder.path().join("out")).expect("its output")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Sends `-TERM`, `-INT` or `-KILL`.
    pub(crate) fn signal(&self, signal: &str) {
        let sent = Command::new("kill")
            .arg(signal)
            .arg(self.child.id().to_string())
            .status();
        assert!(sent.expect("kill runs").success(), "kill {signal}");
    }

    /// Waits for the end of the process.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let child = &mut self.child;
        eventually("the end of the process", || {
            child.try_wait().expect("can be asked")
        })
    }

    /// Stops it and takes its folder.
    pub(crate) fn stop(mut self) -> TempDir {
        self.signal("-TERM");
        assert_eq!(self.wait().code(), Some(0), "{}", self.log());
        let empty = TempDir::new().expect("a folder");
        std::mem::replace(&mut self.folder, empty)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Ended already when the test waited for it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn log_of(folder: &Path) -> String {
    fs::read_to_string(folder.join("log")).unwrap_or_default()
}

/// `GET`: status and body.
pub(crate) fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("connects");
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )
    .expect("sends");
    let mut response = Vec::new();
    stream.read_to_end(&mut response).expect("answers");
    let response = String::from_utf8_lossy(&response).into_owned();
    let status = response.split(' ').nth(1).expect("a status line");
    let body = response.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    (status.parse().expect("a status"), body.to_owned())
}

/// Asks for a WebSocket; the answer is still to be read.
pub(crate) fn open(address: SocketAddr, query: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("connects");
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    write!(
        stream,
        "GET /v1/ws?{query} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    .expect("sends");
    stream
}

/// Logs in by name and returns the socket after the server's `101`.
pub(crate) fn websocket(address: SocketAddr) -> TcpStream {
    let mut stream = open(address, "name=alice");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("answers");
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    stream
}
