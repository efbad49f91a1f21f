//! The system account that runs the server: PostgreSQL refuses to run as root, Redress does not.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use super::error::EmbeddedError;

/// Tried in this order when root owns everything.
const UNPRIVILEGED: [&str; 2] = ["postgres", "nobody"];

/// Variables that the programs of PostgreSQL may need. All others stay here: some hold secrets, and a stray `PGDATA`
/// or `LC_ALL` would change what the server does.
const PASSED_ON: [&str; 4] = ["PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH"];

/// Who runs the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Account {
    /// The user who runs Redress.
    Same,
    /// Another user, since we are root.
    Other { uid: u32, gid: u32 },
}

impl Account {
    /// Root takes the owner of an existing database, else the owner of the data folder, else `postgres` or `nobody`.
    pub(super) fn choose(data: &Path, data_dir: &Path) -> Result<Self, EmbeddedError> {
        let me = rustix::process::geteuid();
        let owner = fs::metadata(data).ok();
        if !me.is_root() {
            return match owner {
                Some(owner) if owner.uid() != me.as_raw() => {
                    let data = data.to_path_buf();
                    Err(EmbeddedError::NotOwner { data, owner: owner.uid(), me: me.as_raw() })
                }
                _ => Ok(Self::Same),
            };
        }
        let owner_of_database = owner.map(|owner| (owner.uid(), owner.gid())).filter(|(uid, _)| *uid != 0);
        // initdb wants a user that the system knows, unlike the owner of a folder that is mounted into a container.
        let owner_of_folder = || look_up(&fs::metadata(data_dir).ok()?.uid().to_string());
        let (uid, gid) = owner_of_database
            .or_else(owner_of_folder)
            .or_else(|| UNPRIVILEGED.iter().find_map(|name| look_up(name)))
            .ok_or(EmbeddedError::NoAccount)?;
        Ok(Self::Other { uid, gid })
    }

    pub(super) fn uid(self) -> u32 {
        match self {
            Self::Same => rustix::process::geteuid().as_raw(),
            Self::Other { uid, .. } => uid,
        }
    }

    /// For messages.
    pub(super) fn describe(self) -> String {
        format!("user {}", self.uid())
    }

    /// A command that runs as this account, with nothing but what it needs of our environment.
    pub(super) fn command(self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("LC_ALL", "C").current_dir("/").stdin(Stdio::null());
        command.envs(PASSED_ON.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        if let Self::Other { uid, gid } = self {
            command.uid(uid).gid(gid);
        }
        command
    }

    /// Hands a file or folder to this account.
    pub(super) fn give(self, path: &Path) -> Result<(), EmbeddedError> {
        match self {
            Self::Same => Ok(()),
            Self::Other { uid, gid } => std::os::unix::fs::lchown(path, Some(uid), Some(gid))
                .map_err(EmbeddedError::io("change the owner of", path)),
        }
    }

    /// Whether this account can really write in a folder of its own below `parent`. Only trying tells: permissions of
    /// all folders above count, and some file systems know no owners.
    pub(super) fn can_use(self, parent: &Path) -> bool {
        if self == Self::Same {
            return true;
        }
        let private = &parent.join(".probe");
        let _ = fs::remove_dir_all(private); // of a process that was killed while it tried
        let tried = super::place::make_folder(private, 0o700).and_then(|()| self.give(private)).is_ok() && {
            let mut shell = self.command(Path::new("/bin/sh"));
            shell.args(["-c", "cd -- \"$0\" && : >probe && rm probe"]).arg(private);
            shell.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
        };
        let _ = fs::remove_dir_all(private);
        tracing::debug!(folder = %parent.display(), uid = self.uid(), usable = tried, "tried whether the server's account can use the folder");
        tried
    }
}

/// Asks the system for a user other than root by name or number, whatever keeps its accounts.
fn look_up(name: &str) -> Option<(u32, u32)> {
    let ask = |flag: &str| -> Option<u32> {
        let output = Command::new("id").args([flag, name]).stderr(Stdio::null()).output().ok()?;
        String::from_utf8(output.stdout).ok()?.trim().parse().ok()
    };
    let uid = ask("-u").filter(|uid| *uid != 0)?;
    Some((uid, ask("-g")?))
}
