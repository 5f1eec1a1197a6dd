//! How much memory the process has used.

/// The largest resident set of this process so far, in bytes; none where the system does not tell.
pub fn peak_memory_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    high_water_mark(&status)
}

/// `VmHWM` of proc(5)'s status file, given there in KiB.
fn high_water_mark(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_linuxs_status() {
        let status = "VmPeak:\t  9000 kB\nVmHWM:\t  8456 kB\nVmRSS:\t 1 kB\n";
        assert_eq!(high_water_mark(status), Some(8456 * 1024));
        assert_eq!(high_water_mark("Name:\tnormed\n"), None);
    }
}
