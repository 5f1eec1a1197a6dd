//! The memory that a process can still take.

use std::path::Path;

use crate::files::{CONFIG_LIMIT, read_text};

/// The bytes that this machine has left, or the container if that has fewer; none where the system does not report it.
pub fn available_memory_bytes() -> Option<u64> {
    let read = |path: &str| read_text(Path::new(path), CONFIG_LIMIT).ok();
    let machine = parse_available(&read("/proc/meminfo")?)?;
    let number = |path: &str| read(path)?.trim().parse::<u64>().ok();
    // Version 2 of control groups; without a limit the file holds `max`.
    let limit = number("/sys/fs/cgroup/memory.max");
    let used = number("/sys/fs/cgroup/memory.current");
    let container = limit.map(|limit| limit.saturating_sub(used.unwrap_or(0)));
    Some(container.map_or(machine, |container| container.min(machine)))
}

/// The value of `MemAvailable` in proc(5)'s meminfo, which is in KiB there.
fn parse_available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_parses_meminfo() {
        let text = "MemTotal:       16000 kB\nMemFree:  10 kB\nMemAvailable:   8456 kB\n";
        assert_eq!(parse_available(text), Some(8456 * 1024));
        assert_eq!(parse_available("MemTotal: 1 kB\n"), None);
    }
}
