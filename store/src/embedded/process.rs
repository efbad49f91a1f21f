//! The server as a process: is it there, is it ours, and how to end it.
//!
//! The server's own `postmaster.pid` is the truth, since the server may have been started by a Redress that is long
//! gone. But the file survives a crash, and after a reboot its number may belong to anybody: so the process itself is
//! asked whether it serves this database.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use super::error::EmbeddedError;

/// How often a process is looked at while something is awaited from it.
pub(super) const POLL: Duration = Duration::from_millis(10);
/// How long a fast shutdown may take: it writes the whole cache to the disk.
const FAST_STOP_BOUND: Duration = Duration::from_secs(60);
/// How long an immediate shutdown may take, and then the end by force. The next start recovers from either.
const HARD_STOP_BOUND: Duration = Duration::from_secs(5);

/// What `postmaster.pid` says of a running server.
#[derive(Debug, Clone)]
pub(super) struct Server {
    pub(super) pid: Pid,
    data: PathBuf,
    /// Where its socket is; absent in its first moments.
    pub(super) socket_folder: Option<PathBuf>,
    /// Whether it says that it takes connections.
    pub(super) ready: bool,
}

impl Server {
    /// The server that runs on this database now, if any.
    pub(super) fn find(data: &Path) -> Option<Self> {
        let text = fs::read_to_string(data.join("postmaster.pid")).ok()?;
        let lines: Vec<&str> = text.lines().collect();
        // The first line is negative for a stand-alone backend.
        let pid = lines.first()?.trim().parse::<i32>().ok().and_then(|pid| Pid::from_raw(pid.abs()))?;
        let socket_folder = lines.get(4).filter(|line| !line.is_empty()).map(PathBuf::from);
        let ready = lines.get(7).is_some_and(|line| line.trim() == "ready");
        let server = Self { pid, data: data.to_path_buf(), socket_folder, ready };
        server.is_alive().then_some(server)
    }

    fn is_alive(&self) -> bool {
        let exists = match test_kill_process(self.pid) {
            Ok(()) => true,
            Err(error) => error == rustix::io::Errno::PERM,
        };
        exists && serves(self.pid, &self.data)
    }

    /// Ends the server: politely, then quickly, then by force, each for a bounded time.
    pub(super) fn stop(&self) -> Result<(), EmbeddedError> {
        let steps = [(Signal::INT, FAST_STOP_BOUND), (Signal::QUIT, HARD_STOP_BOUND), (Signal::KILL, HARD_STOP_BOUND)];
        for (signal, bound) in steps {
            if signal != Signal::INT {
                tracing::warn!(pid = self.pid.as_raw_nonzero().get(), ?signal, "PostgreSQL has not stopped yet");
            }
            let _ = kill_process(self.pid, signal); // it may have ended by itself
            let deadline = Instant::now() + bound;
            while Instant::now() < deadline {
                if !self.is_still_there() {
                    return Ok(());
                }
                std::thread::sleep(POLL);
            }
        }
        let bound = FAST_STOP_BOUND + 2 * HARD_STOP_BOUND;
        Err(EmbeddedError::Stop { pid: self.pid.as_raw_nonzero().get(), bound })
    }

    fn is_still_there(&self) -> bool {
        Self::find(&self.data).is_some_and(|found| found.pid == self.pid)
    }
}

/// The process number that a crashed server has left behind, whoever has it now.
pub(super) fn stale_pid(data: &Path) -> Option<String> {
    let text = fs::read_to_string(data.join("postmaster.pid")).ok()?;
    Some(text.lines().next()?.trim().to_owned()).filter(|pid| !pid.is_empty())
}

/// Whether a process is a server of this database. A zombie is not: it has ended, only nobody has taken note yet.
fn serves(pid: Pid, data: &Path) -> bool {
    let pid = pid.as_raw_nonzero();
    let folder = PathBuf::from(format!("/proc/{pid}"));
    let Ok(status) = fs::read_to_string(folder.join("stat")) else {
        return !Path::new("/proc/self/stat").exists() && serves_by_ps(pid.get(), data);
    };
    let state = status.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    if matches!(state, None | Some('Z' | 'X')) {
        return false;
    }
    // In a container even root may not see the working folder of another user's process, but everyone its arguments.
    let works_there = fs::read_link(folder.join("cwd")).is_ok_and(|cwd| cwd == data);
    let arguments = fs::read(folder.join("cmdline")).unwrap_or_default();
    works_there || arguments.split(|byte| *byte == 0).any(|argument| argument == data.as_os_str().as_encoded_bytes())
}

/// The same where there is no /proc, as on macOS.
fn serves_by_ps(pid: i32, data: &Path) -> bool {
    let output = std::process::Command::new("ps").args(["-o", "stat=,command=", "-p", &pid.to_string()]).output();
    let line = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let line = line.trim_start();
    !line.starts_with('Z') && line.contains(&*data.to_string_lossy())
}
