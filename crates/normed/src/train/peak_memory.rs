//! The peak memory of this process.

use std::path::Path;

use crate::files::{CONFIG_LIMIT, read_text};

/// The largest resident set of this process so far, in bytes; none where the system does not report it.
pub fn peak_memory_bytes() -> Option<u64> {
    let status = read_text(Path::new("/proc/self/status"), CONFIG_LIMIT).ok()?;
    parse_peak(&status)
}

/// The value of `VmHWM` in the status file of proc(5), which is in KiB there.
fn parse_peak(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_parses_linux_status_files() {
        let status = "VmPeak:\t  9000 kB\nVmHWM:\t  8456 kB\nVmRSS:\t 1 kB\n";
        assert_eq!(parse_peak(status), Some(8456 * 1024));
        assert_eq!(parse_peak("Name:\tnormed\n"), None);
    }
}
