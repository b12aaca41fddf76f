//! Looking at a process and signalling it, without unsafe code.

use std::{
    fs, io,
    process::{Command, Stdio},
    time::Duration,
};

/// Ticks a second in `/proc/PID/stat`: fixed at 100 for programs on Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// Signals the tests send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM.
    Terminate,
    /// SIGINT.
    Interrupt,
    /// SIGSTOP.
    Stop,
    /// SIGCONT.
    Continue,
}

impl Signal {
    const fn name(self) -> &'static str {
        match self {
            Self::Terminate => "TERM",
            Self::Interrupt => "INT",
            Self::Stop => "STOP",
            Self::Continue => "CONT",
        }
    }
}

/// Sends a signal by the shell's own `kill`: no foreign function, and present wherever `sh` is.
///
/// # Errors
/// There is no such process.
pub fn send_signal(pid: u32, signal: Signal) -> io::Result<()> {
    let status = Command::new("sh")
        .arg("-c")
        .arg(format!("kill -{} {pid}", signal.name()))
        .stderr(Stdio::null())
        .status()?;
    if status.success() {
        Ok(())
    } else {
        Err(io::Error::new(
            io::ErrorKind::NotFound,
            format!("no process {pid}"),
        ))
    }
}

/// Resident memory of a process, in bytes.
///
/// # Errors
/// There is no such process.
pub fn memory_bytes(pid: u32) -> io::Result<u64> {
    status_bytes(pid, "VmRSS:")
}

/// The most resident memory a process ever had, in bytes.
///
/// # Errors
/// There is no such process.
pub fn peak_memory_bytes(pid: u32) -> io::Result<u64> {
    status_bytes(pid, "VmHWM:")
}

fn status_bytes(pid: u32, field: &str) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    status
        .lines()
        .find_map(|line| line.strip_prefix(field))
        .and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok())
        .map(|kibibytes| kibibytes * 1024)
        .ok_or_else(|| {
            let ended = format!("no {field} the process ended");
            io::Error::new(io::ErrorKind::InvalidData, ended)
        })
}

/// Processor time of a process, user and system, to within 10 ms.
///
/// # Errors
/// There is no such process.
pub fn cpu_time(pid: u32) -> io::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name is in parentheses and may hold anything; the numbers come after the last one.
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let ticks = |index: usize| {
        fields
            .get(index)
            .and_then(|field| field.parse::<f64>().ok())
    };
    match (ticks(11), ticks(12)) {
        (Some(user), Some(system)) => {
            Ok(Duration::from_secs_f64((user + system) / TICKS_PER_SECOND))
        }
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "unexpected /proc stat",
        )),
    }
}
