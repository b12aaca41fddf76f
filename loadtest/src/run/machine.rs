//! The machine as the kernel describes it.

use std::fs;

use crate::outcome::Machine;

/// What is told of it; what the kernel does not say stays empty.
pub(super) fn here() -> Machine {
    let field = |path: &str, name: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        let mut lines = text.lines();
        let value = lines.find_map(|line| line.strip_prefix(name).map(str::to_owned));
        value.unwrap_or_default()
    };
    let first_number = |text: &str| {
        let mut words = text.split_whitespace();
        words.find_map(|word| match word {
            "unlimited" => Some(u64::MAX),
            number => number.parse().ok(),
        })
    };
    let line = |path: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        text.trim().to_owned()
    };
    let model = field("/proc/cpuinfo", "model name");
    let load_average = line("/proc/loadavg");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Machine {
        processor: model.trim_start_matches([' ', '\t', ':']).to_owned(),
        cores: u32::try_from(cores).unwrap_or(u32::MAX),
        memory_bytes: first_number(&field("/proc/meminfo", "MemTotal:")).unwrap_or(0) * 1_024,
        kernel: format!("Linux {}", line("/proc/sys/kernel/osrelease")),
        open_files_max: first_number(&field("/proc/self/limits", "Max open files")).unwrap_or(0),
        load_average: load_average
            .split_whitespace()
            .next()
            .unwrap_or_default()
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn machine_of_this_test_is_described() {
        let machine = super::here();
        assert!(machine.cores > 0 && machine.memory_bytes > 1 << 28 && machine.open_files_max > 0);
        assert!(machine.kernel.len() > "Linux ".len(), "{machine:?}");
        assert!(machine.load_average.parse::<f64>().is_ok(), "{machine:?}");
    }
}
