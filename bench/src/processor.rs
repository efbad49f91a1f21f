//! Processor time of other processes, as Linux counts it (proc(5)): what a busy machine does not change.
#![allow(clippy::float_arithmetic, reason = "times; no money is counted here")]

use std::fs;

/// Linux counts processor time in hundredths of a second, whatever the machine.
const TICKS: f64 = 100.0;

/// A process as `/proc/PID/stat` has it.
struct Stat {
    parent: u32,
    /// Its own ticks, and those of its children that have ended.
    own: f64,
    ended_children: f64,
}

impl Stat {
    /// None when the process is gone.
    fn read(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in brackets may hold spaces: what follows it is counted.
        let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
        let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
        Some(Self {
            parent: fields.get(1)?.parse().ok()?,
            own: ticks(11)? + ticks(12)?,
            ended_children: ticks(13)? + ticks(14)?,
        })
    }
}

/// Seconds that a process and its children used so far, those that have ended included.
pub(crate) fn seconds_of(pid: u32) -> Result<f64, String> {
    let stat = Stat::read(pid).ok_or_else(|| format!("process {pid} does not run"))?;
    let processes = fs::read_dir("/proc").map_err(|error| format!("/proc: {error}"))?;
    let others = processes.filter_map(|entry| Stat::read(entry.ok()?.file_name().to_str()?.parse().ok()?));
    let living: f64 = others.filter(|other| other.parent == pid).map(|child| child.own + child.ended_children).sum();
    Ok((stat.own + stat.ended_children + living) / TICKS)
}
