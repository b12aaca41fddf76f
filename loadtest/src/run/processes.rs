//! CPU and memory of the processes of a side, looked at some times a second.

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    time::{Duration, Instant},
};

use crate::{
    outcome::{LOAD, ProcessSeries, Sample},
    server::{cpu_time, memory_bytes},
};

#[derive(Debug)]
pub(super) struct Processes {
    began: Instant,
    watched: Vec<Watched>,
}

#[derive(Debug)]
struct Watched {
    role: String,
    pid: u32,
    clock: CpuClock,
    /// The newest look.
    last: Option<Sample>,
}

/// Microseconds or bytes by role.
pub(super) type ByRole = BTreeMap<String, u64>;

impl Processes {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            watched: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, role: &str, pid: u32) {
        self.watched.push(Watched {
            role: role.to_owned(),
            pid,
            clock: CpuClock::default(),
            last: None,
        });
    }

    /// Those that are looked at are gone; others follow.
    pub(super) fn forget(&mut self) {
        self.watched.clear();
    }

    pub(super) fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Looks at each and appends a sample to its series. Of one that is gone nothing is appended.
    pub(super) fn look(&mut self, series: &mut Vec<ProcessSeries>) {
        for watched in &mut self.watched {
            let at_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
            let Ok(sample) = watched.sample(at_ms) else {
                continue;
            };
            watched.last = Some(sample);
            match series.iter_mut().find(|known| known.pid == watched.pid) {
                Some(known) => known.samples.push(sample),
                None => series.push(ProcessSeries {
                    role: watched.role.clone(),
                    pid: watched.pid,
                    samples: vec![sample],
                }),
            }
        }
    }

    /// CPU until the newest look.
    pub(super) fn cpu_us(&self) -> ByRole {
        self.by_role(|sample| sample.cpu_us)
    }

    /// Resident memory at the newest look.
    pub(super) fn memory_bytes(&self) -> ByRole {
        self.by_role(|sample| sample.memory_bytes)
    }

    fn by_role(&self, value: impl Fn(&Sample) -> u64) -> ByRole {
        let mut sums = ByRole::new();
        for watched in &self.watched {
            if let Some(last) = &watched.last {
                *sums.entry(watched.role.clone()).or_default() += value(last);
            }
        }
        sums
    }
}

/// The sum over all roles but the load's; `None`: no process of the server is known.
pub(super) fn of_server(values: &ByRole) -> Option<u64> {
    let servers = values.iter().filter(|(role, _)| *role != LOAD);
    servers
        .map(|(_, value)| *value)
        .reduce(|sum, value| sum + value)
}

impl Watched {
    fn sample(&mut self, at_ms: u64) -> io::Result<Sample> {
        let cpu = self.clock.read(self.pid)?;
        Ok(Sample {
            at_ms,
            cpu_us: u64::try_from(cpu.as_micros()).unwrap_or(u64::MAX),
            memory_bytes: memory_bytes(self.pid)?,
        })
    }
}

/// CPU of a process by nanoseconds: what the scheduler says of each thread, those that ended
/// included as they were last seen. (`/proc/PID/stat` knows 10 ms.)
#[derive(Debug, Default)]
struct CpuClock {
    threads: HashMap<String, u64>,
}

impl CpuClock {
    fn read(&mut self, pid: u32) -> io::Result<Duration> {
        for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
            let thread = thread?;
            // A thread may end while it is looked at.
            let Ok(text) = fs::read_to_string(thread.path().join("schedstat")) else {
                continue;
            };
            if let Some(nanos) = text.split(' ').next().and_then(|word| word.parse().ok()) {
                let id = thread.file_name().to_string_lossy().into_owned();
                self.threads.insert(id, nanos);
            }
        }
        if self.threads.is_empty() {
            // A kernel without that file.
            return cpu_time(pid);
        }
        Ok(Duration::from_nanos(self.threads.values().sum()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_works_is_seen_to_and_one_that_is_gone_ends_its_series() {
        let mut sleeper = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let mut processes = Processes::new();
        processes.add("server", std::process::id());
        processes.add(LOAD, sleeper.id());
        let mut series = Vec::new();
        processes.look(&mut series);
        let before = processes.cpu_us()["server"];
        let began = Instant::now();
        let mut number = 0_u64;
        while began.elapsed() < Duration::from_millis(20) {
            number = std::hint::black_box(number.wrapping_mul(31) + 1);
        }
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
        processes.look(&mut series);
        let after = processes.cpu_us();
        assert!(after["server"] > before, "{after:?}");
        let lengths: Vec<usize> = series.iter().map(|one| one.samples.len()).collect();
        assert_eq!(lengths, [2, 1]);
        let memory = processes.memory_bytes();
        assert_eq!(of_server(&memory), Some(memory["server"]));
        assert!(memory["server"] > 1 << 20);
    }
}
