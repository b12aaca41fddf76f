//! Ctrl-C while `run` and `verify` work: everything they started ends, and what there is is said.

use std::{
    fs,
    io::{self, BufRead as _, BufReader},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use rookery_loadtest::outcome::Outcome;

use super::tool;

/// For what is waited for to be said, or for the tool to end; a debug build on a busy machine is slow.
const DEADLINE: Duration = Duration::from_secs(120);
/// For a tool whose test has failed to end by itself.
const MERCY: Duration = Duration::from_secs(10);
/// Between two looks whether it has ended.
const LOOK: Duration = Duration::from_millis(20);

/// The tool in a group of its own, as a shell starts a command.
struct Tool {
    child: Child,
    said: mpsc::Receiver<String>,
    output: Option<JoinHandle<io::Result<String>>>,
}

impl Tool {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(tool())
            .args(arguments)
            .args(["--rookery", env!("CARGO_BIN_EXE_rookery")])
            .process_group(0)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the tool was built");
        let (tell, said) = mpsc::channel();
        let stderr = child.stderr.take().expect("it was asked for");
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let _ = tell.send(line);
            }
        });
        let stdout = child.stdout.take().expect("it was asked for");
        let output = Some(std::thread::spawn(|| io::read_to_string(stdout)));
        Self {
            child,
            said,
            output,
        }
    }

    fn waits_for(&self, words: &str) {
        let until = Instant::now() + DEADLINE;
        let mut all = String::new();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let line = self.said.recv_timeout(left);
            let line = line.unwrap_or_else(|error| panic!("no {words:?}: {error} after\n{all}"));
            if line.contains(words) {
                return;
            }
            all += &line;
            all.push('\n');
        }
    }

    /// What a terminal does: the whole group hears it.
    fn ctrl_c(&self) -> bool {
        let kill = format!("kill -s INT -- -{}", self.child.id());
        let status = Command::new("sh").args(["-c", &kill]).status();
        status.is_ok_and(|status| status.success())
    }

    /// Whether it ends by then.
    fn has_ended(&mut self, within: Duration) -> bool {
        let until = Instant::now() + within;
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() >= until {
                return false;
            }
            std::thread::park_timeout(LOOK);
        }
        true
    }

    /// Its processes by their ids.
    fn children(&self) -> Vec<u32> {
        let all = fs::read_dir("/proc").expect("this is Linux").flatten();
        let ids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        ids.filter(|id| parent_of(*id) == Some(self.child.id()))
            .collect()
    }

    /// Waits for its end; gives its exit status, what it said on its output, and the rest of what it
    /// complained.
    fn ends(mut self) -> (Option<i32>, String, String) {
        assert!(self.has_ended(DEADLINE), "it goes on for {DEADLINE:?}");
        let status = self.child.wait().expect("it is a child");
        let output = self.output.take().expect("taken once").join();
        let output = output.expect("no panic").expect("it is text");
        let complained: Vec<String> = self.said.iter().collect();
        (status.code(), output, complained.join("\n"))
    }
}

impl Drop for Tool {
    /// A test that failed: what it started ends as well. `verify` wants to be told twice.
    fn drop(&mut self) {
        if self.has_ended(Duration::ZERO) {
            return;
        }
        let children = self.children();
        for _ in 0..2 {
            self.ctrl_c();
            if self.has_ended(MERCY) {
                return;
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        for child in children {
            let _ = Command::new("kill")
                .args(["-9", &child.to_string()])
                .status();
        }
    }
}

fn parent_of(id: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // Behind the name, which may have spaces: state, parent.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

/// It must end with 130, and all that it had started with it; gives what it said, and complained.
fn check_interrupted(tool: Tool, children: &[u32]) -> (String, String) {
    let (code, output, complained) = tool.ends();
    assert_eq!(code, Some(130), "{output}\n{complained}");
    let left: Vec<&u32> = children
        .iter()
        .filter(|id| Path::new(&format!("/proc/{id}")).exists())
        .collect();
    assert!(left.is_empty(), "{left:?} of {children:?} are left");
    (output, complained)
}

#[test]
fn run_that_is_interrupted_ends_all_it_started_and_tells_what_it_has() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let out = folder.path().join("out.json");
    let tool = Tool::start(&[
        "run",
        "mixed",
        "people.connections=10",
        "stage.0.seconds=600",
        "--against",
        "floor",
        "--processes",
        "2",
        "--out",
        &out.to_string_lossy(),
    ]);
    tool.waits_for("rookery mixed ");
    let children = tool.children();
    assert_eq!(children.len(), 3, "a server and two light processes");
    assert!(tool.ctrl_c());
    let (output, complained) = check_interrupted(tool, &children);
    assert!(complained.contains("interrupted"), "{complained}");
    assert!(
        output.contains("NOT CHECKED mixed/lost of rookery at most 0: the run ended before"),
        "{output}"
    );
    let outcome = Outcome::read(&out).expect("what there is was written");
    assert_eq!(outcome.ended_early.as_deref(), Some("interrupted"));
    assert_eq!(outcome.names(), ["rookery"]);
}

#[test]
fn verify_that_is_interrupted_judges_its_window_and_ends_all_it_started() {
    let tool = Tool::start(&["verify", "quiet", "--hours", "1"]);
    tool.waits_for("window 0 is sound");
    let children = tool.children();
    assert_eq!(children.len(), 1, "a server");
    assert!(tool.ctrl_c());
    let (output, _) = check_interrupted(tool, &children);
    assert!(output.contains("interrupted; sound until then"), "{output}");
}

#[test]
fn verify_that_is_interrupted_twice_ends_at_once() {
    let tool = Tool::start(&["verify", "embedded", "--hours", "1"]);
    // The first fault of the plan has happened: the window goes on.
    tool.waits_for("  ");
    let children = tool.children();
    assert!(tool.ctrl_c());
    tool.waits_for("stopping");
    assert!(tool.ctrl_c());
    check_interrupted(tool, &children);
}
