//! Memory: what of it is for rooms, and what the kernel holds.

use std::fs;

use super::processes::Processes;
use crate::outcome::LOAD;

/// Processes that are not ours.
const OF_OTHERS: [&str; 3] = [LOAD, "nats", "database"];

/// Memory of the server's own processes at the newest look; `None`: none of them is known.
pub(super) fn of_rooms(processes: &Processes) -> Option<u64> {
    let by_role = processes.memory_bytes().into_iter();
    let ours = by_role.filter(|(role, _)| !OF_OTHERS.contains(&role.as_str()));
    ours.map(|(_, bytes)| bytes)
        .reduce(|sum, bytes| sum + bytes)
}

/// Memory that the kernel holds for everybody: its objects (sockets, files, what polls look at) and
/// what waits in sockets. No process's resident memory has any of it.
pub(super) fn of_kernel() -> Option<u64> {
    let objects = kibibytes(&fs::read_to_string("/proc/meminfo").ok()?, "Slab:")? * 1_024;
    let sockets = fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
    let page = u64::try_from(rustix::param::page_size()).ok()?;
    Some(objects + pages_of_tcp(&sockets) * page)
}

fn kibibytes(text: &str, field: &str) -> Option<u64> {
    let mut lines = text.lines();
    let rest = lines.find_map(|line| line.strip_prefix(field))?;
    rest.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// Pages with bytes on their way, as `sockstat` tells them.
fn pages_of_tcp(text: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix("TCP:"));
    let mut words = line.unwrap_or_default().split_whitespace();
    let after = words.by_ref().find(|word| *word == "mem");
    let pages = after.and_then(|_| words.next()?.parse().ok());
    pages.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_holds_is_read_from_its_words() {
        let meminfo = "MemTotal:  24105 kB\nSlab:             592316 kB\nSReclaimable: 1 kB\n";
        assert_eq!(kibibytes(meminfo, "Slab:"), Some(592_316));
        assert_eq!(kibibytes(meminfo, "Nothing:"), None);
        let sockstat = "sockets: used 25\nTCP: inuse 1 orphan 0 tw 0 alloc 3 mem 17\nUDP: mem 4\n";
        assert_eq!(pages_of_tcp(sockstat), 17);
        assert_eq!(pages_of_tcp(""), 0);
        assert!(of_kernel().is_some_and(|bytes| bytes > 1 << 20));
    }
}
