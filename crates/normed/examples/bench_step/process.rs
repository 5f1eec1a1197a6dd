//! The memory and the processor time of this process, from Linux's proc(5).

use std::error::Error;
use std::fs::read_to_string;
use std::hint::black_box;

use normed::tensor::{Elements, Parameters};

/// A value of /proc/self/status in bytes: `VmRSS` is the resident memory, `VmHWM` its maximum.
pub fn memory(key: &str) -> Result<u64, Box<dyn Error>> {
    let status = read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB"));
    let kib: u64 = kib.ok_or_else(|| format!("no {key} in /proc/self/status"))?.trim().parse()?;
    Ok(kib * 1024)
}

/// The processor time of all threads in seconds, in steps of 10 ms (a tick of Linux).
pub fn cpu_time() -> Result<f64, Box<dyn Error>> {
    let stat = read_to_string("/proc/self/stat")?;
    // Fields 14 and 15, user and system time, are the 12th and 13th after the name in parentheses.
    let (_, fields) = stat.rsplit_once(')').ok_or("no name in /proc/self/stat")?;
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
    Ok(ticks.sum::<Result<u64, _>>()? as f64 / 100.0)
}

/// Reads mapped parameters into memory.
pub fn read_into_memory(params: &Parameters) {
    for (_, p) in params.iter() {
        let sum: f32 = match p.value().elements() {
            Elements::F32(data) => data.iter().sum(),
            Elements::Bf16(data) => data.iter().map(|x| x.to_f32()).sum(),
        };
        black_box(sum);
    }
}
