//! The process as the operating system sees it: open files, memory, age.

use std::{fs, io, time::Instant};

use metrics::{counter, describe_counter, describe_gauge, gauge};

const RESIDENT: &str = "process_resident_memory_bytes";
const OPEN_FILES: &str = "process_open_fds";
const OPEN_FILES_MAX: &str = "process_max_fds";
const CPU: &str = "process_cpu_seconds_total";
const THREADS: &str = "process_threads";
const UPTIME: &str = "rookery_uptime_seconds";
const BUILD: &str = "rookery_build_info";

/// The soft and the hard bound on open files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OpenFiles {
    /// What the process may have open now.
    pub(crate) soft: u64,
    /// What it may raise that to.
    pub(crate) hard: u64,
}

/// Raises the number of files the process may have open to what it is allowed; every connection is
/// one. Returns what it was and what it is.
///
/// # Errors
/// When the operating system refuses; the old bound stays.
pub(crate) fn raise_open_files() -> io::Result<(OpenFiles, OpenFiles)> {
    let before = open_files()?;
    let wanted = libc::rlimit {
        rlim_cur: before.hard,
        rlim_max: before.hard,
    };
    if before.soft < before.hard {
        // SAFETY: the pointer is to a whole `rlimit` that lives through the call.
        let status = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const wanted) };
        if status != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok((before, open_files()?))
}

fn open_files() -> io::Result<OpenFiles> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the pointer is to a whole `rlimit` that lives through the call.
    let status = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    if status != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(OpenFiles {
        soft: limit.rlim_cur,
        hard: limit.rlim_max,
    })
}

/// The name of this machine; `localhost` when it has none.
pub(crate) fn host_name() -> String {
    // One more than the longest name a system may have: the last byte stays zero.
    let mut name = [0_u8; 257];
    // SAFETY: the pointer is to so many bytes that live through the call.
    let status = unsafe { libc::gethostname(name.as_mut_ptr().cast(), name.len() - 1) };
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(0);
    let name = String::from_utf8_lossy(&name[..end]);
    match status {
        0 if !name.is_empty() => name.into_owned(),
        _ => "localhost".to_owned(),
    }
}

/// Describes what [`record`] records, and the build.
pub(crate) fn describe_metrics() {
    describe_gauge!(RESIDENT, "Memory of the process in RAM, bytes");
    describe_gauge!(OPEN_FILES, "Files and sockets open");
    describe_gauge!(OPEN_FILES_MAX, "Files and sockets that may be open");
    describe_counter!(CPU, "CPU time of all threads, whole seconds");
    describe_gauge!(THREADS, "Threads of the process");
    describe_gauge!(UPTIME, "Seconds since the process started serving");
    describe_gauge!(BUILD, "1; the version is a label");
    gauge!(BUILD, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
}

/// Brings the process's metrics up to date; called when they are asked for. What the system does
/// not tell (there is no `/proc`) is left out.
pub(crate) fn record(started: Instant) {
    gauge!(UPTIME).set(started.elapsed().as_secs_f64());
    if let Ok(limit) = open_files() {
        gauge!(OPEN_FILES_MAX).set(as_float(limit.soft));
    }
    if let Ok(folder) = fs::read_dir("/proc/self/fd") {
        // The folder itself is open while it is counted.
        let open = folder.count().saturating_sub(1);
        gauge!(OPEN_FILES).set(as_float(open as u64));
    }
    let Ok(stat) = fs::read_to_string("/proc/self/stat") else {
        return;
    };
    if let Some(stat) = Stat::parse(&stat) {
        gauge!(RESIDENT).set(as_float(stat.resident_pages * system(libc::_SC_PAGESIZE)));
        gauge!(THREADS).set(as_float(stat.threads));
        let ticks = system(libc::_SC_CLK_TCK).max(1);
        counter!(CPU).absolute(stat.cpu_ticks / ticks);
    }
}

/// Exact up to 2^53, which none of these reaches.
#[expect(clippy::cast_precision_loss, reason = "below 2^53")]
fn as_float(number: u64) -> f64 {
    number as f64
}

fn system(name: libc::c_int) -> u64 {
    // SAFETY: takes and returns plain numbers.
    let value = unsafe { libc::sysconf(name) };
    u64::try_from(value).unwrap_or(0)
}

/// What is needed of `/proc/self/stat`.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    cpu_ticks: u64,
    threads: u64,
    resident_pages: u64,
}

impl Stat {
    fn parse(line: &str) -> Option<Self> {
        // The name in parentheses may hold anything, also parentheses.
        let (_, rest) = line.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
        Some(Self {
            cpu_ticks: number(11)? + number(12)?,
            threads: number(17)?,
            resident_pages: number(21)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stat_line_is_read_past_an_odd_name() {
        let line = "42 (a) b) S 1 42 42 0 -1 4194560 1 2 3 4 700 300 0 0 20 0 9 0 5 1000 77 18446744073709551615 1 1";
        let expected = Stat {
            cpu_ticks: 1000,
            threads: 9,
            resident_pages: 77,
        };
        assert_eq!(Stat::parse(line), Some(expected));
        assert_eq!(Stat::parse("42 (x"), None);
    }

    #[test]
    fn open_files_are_raised_to_the_hard_bound() {
        let (before, after) = raise_open_files().expect("allowed");
        assert_eq!(after.soft, before.hard);
        assert_eq!(after.hard, before.hard);
    }
}
