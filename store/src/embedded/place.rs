//! Where the private server keeps its things, and who may reach them.
//!
//! ```text
//! DATA_DIR/postgres/            control folder
//!   place                       only if the database had to be kept elsewhere: the path of its home
//!   place.lock                  held while `place` is decided
//!   server.log                  what initdb and the server say
//! HOME/                         the control folder itself, or a folder below Options::fallback_dir
//!   data/                       the database (PGDATA); exists only when initdb has finished
//!   data.partial-*              an initdb that has not; removed by the next start
//!   postgresql.conf pg_hba.conf written anew at each start
//!   socket/                     the socket, or, where that path is too long, `socket.path` names a folder below /tmp
//!   start.lock                  held while the server is started or stopped
//!   users.lock                  shared by all who use the server; who gets it alone at the end stops the server
//! ```

use std::fs::{self, DirBuilder, OpenOptions};
use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::account::Account;
use super::error::EmbeddedError;
use super::lock::Lock;
use super::log::Log;
use super::url::SOCKET_NAME;

/// The longest path of a socket: 107 bytes on Linux, 103 on macOS. The shorter holds everywhere.
const SOCKET_PATH_BYTES: usize = 103;
/// Short socket folders stand here: the one place that every system has and every user may write to.
const SHORT_PLACE: &str = "/tmp";
/// How many names are tried for a short socket folder when others have taken them.
const SHORT_NAMES: u32 = 16;
/// How long to wait for another process that decides where the database lives.
const PLACE_BOUND: Duration = Duration::from_secs(30);
/// Names in `HOME` that begin so belong to an unfinished initdb.
const PARTIAL: &str = "data.partial-";
/// Written beside a database that is kept outside its data folder, so that people know whose it is.
const BELONGS_TO: &str = "belongs-to";

/// The folders of one private server.
#[derive(Debug, Clone)]
pub(super) struct Place {
    control: PathBuf,
    home: PathBuf,
    /// Who runs the server.
    pub(super) account: Account,
    /// Who owns the other files when that is not us: root may work in a folder that its owner wants to use again.
    owner: Account,
}

impl Place {
    /// Finds the place of an existing database, or decides where a new one will live.
    pub(super) fn resolve(data_dir: &Path, fallback_dir: &Path) -> Result<Self, EmbeddedError> {
        let root = rustix::process::geteuid().is_root();
        // Root's server runs as somebody else, who must be able to pass through, though not to list.
        let mode = if root { 0o711 } else { 0o700 };
        make_folders(data_dir, mode)?;
        let data_dir = data_dir.canonicalize().map_err(EmbeddedError::io("resolve", data_dir))?;
        let owner = owner_of(&data_dir, root)?;
        let control = data_dir.join("postgres");
        if !control.is_dir() {
            make_folders(&control, mode)?;
            owner.give(&control)?;
        }
        let lock_path = control.join("place.lock");
        let _deciding = Lock::exclusive(&lock_path, PLACE_BOUND)?;
        owner.give(&lock_path)?;
        let home = recorded_home(&control)?;
        let existing = home.clone().unwrap_or_else(|| control.clone()).join("data");
        let account = Account::choose(&existing, &data_dir)?;
        let mut place = Self { home: home.unwrap_or_else(|| control.clone()), control, account, owner };
        if let Account::Other { .. } = account {
            place.let_through(&data_dir)?;
            place.find_reachable_home(&data_dir, fallback_dir)?;
        }
        Ok(place)
    }

    /// Whether a data folder has a database, here or elsewhere; nothing is made or changed.
    pub(super) fn is_taken(data_dir: &Path) -> bool {
        let control = data_dir.join("postgres");
        control.join("place").exists() || control.join("data").exists()
    }

    pub(super) fn home(&self) -> &Path {
        &self.home
    }

    pub(super) fn data(&self) -> PathBuf {
        self.home.join("data")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.control.join("server.log")
    }

    /// The server's log, to be written by a program that is about to start.
    pub(super) fn open_log(&self) -> Result<Log, EmbeddedError> {
        let log = Log::open(&self.log())?;
        self.owner.give(&self.log())?;
        Ok(log)
    }

    pub(super) fn start_lock(&self, bound: Duration) -> Result<Lock, EmbeddedError> {
        let path = self.home.join("start.lock");
        let lock = Lock::exclusive(&path, bound)?;
        self.owner.give(&path)?;
        Ok(lock)
    }

    pub(super) fn users_lock(&self, bound: Duration) -> Result<Lock, EmbeddedError> {
        let path = self.home.join("users.lock");
        let lock = Lock::shared(&path, bound)?;
        self.owner.give(&path)?;
        Ok(lock)
    }

    /// Whether the database is kept outside the data folder.
    pub(super) fn is_elsewhere(&self) -> bool {
        self.home != self.control
    }

    /// Replaces a file of the home as a whole, readable by the server. Never follows a link.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<PathBuf, EmbeddedError> {
        write_file(&self.home, name, text, self.owner)
    }

    /// A new folder for initdb to work in. Its name is its own, because an initdb whose starter was killed may still run.
    pub(super) fn new_partial(&self) -> Result<PathBuf, EmbeddedError> {
        self.remove_partials();
        let partial = self.home.join(format!("{PARTIAL}{}", random_name()));
        make_folder(&partial, 0o700)?;
        self.account.give(&partial)?;
        Ok(partial)
    }

    /// Removes what interrupted initdbs have left, as far as possible: it is never used, so a failure does no harm.
    fn remove_partials(&self) {
        for entry in fs::read_dir(&self.home).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(PARTIAL) {
                tracing::info!(folder = %entry.path().display(), "removing what an interrupted initdb has left");
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }

    /// The folder for the socket: in the home if the path is short and plain enough, else below /tmp. Nobody but the
    /// server's account (and root) may enter it, which is what protects the server.
    pub(super) fn socket_folder(&self) -> Result<PathBuf, EmbeddedError> {
        let folder = self.home.join("socket");
        if is_fit_for_socket(&folder) {
            match make_folder(&folder, 0o700) {
                Ok(()) => self.account.give(&folder)?,
                Err(_) if self.is_private(&folder) => {}
                Err(error) => return Err(error),
            }
            return Ok(folder);
        }
        let recorded = fs::read_to_string(self.home.join("socket.path")).ok().map(PathBuf::from);
        let derived = (0..SHORT_NAMES).map(|attempt| {
            let mut hasher = DefaultHasher::new();
            (self.home.as_os_str(), attempt).hash(&mut hasher);
            Path::new(SHORT_PLACE).join(format!("redress-{:016x}", hasher.finish()))
        });
        for folder in recorded.into_iter().chain(derived) {
            if make_folder(&folder, 0o700).is_ok() {
                self.account.give(&folder)?;
            } else if !self.is_private(&folder) {
                continue; // somebody else's
            }
            self.write("socket.path", &folder.to_string_lossy())?;
            return Ok(folder);
        }
        let taken = std::io::Error::new(std::io::ErrorKind::AlreadyExists, "all names are taken");
        Err(EmbeddedError::io("create a socket folder in", Path::new(SHORT_PLACE))(taken))
    }

    fn is_private(&self, folder: &Path) -> bool {
        fs::symlink_metadata(folder)
            .is_ok_and(|found| found.is_dir() && found.uid() == self.account.uid() && found.mode() & 0o077 == 0)
    }

    /// Opens root's own folders to the server's account: to pass, not to list.
    fn let_through(&self, data_dir: &Path) -> Result<(), EmbeddedError> {
        for folder in [data_dir, &self.control] {
            let found = fs::metadata(folder).map_err(EmbeddedError::io("read", folder))?;
            if found.uid() == 0 && found.mode() & 0o011 != 0o011 {
                let permissions = fs::Permissions::from_mode(found.mode() & 0o7777 | 0o011);
                fs::set_permissions(folder, permissions).map_err(EmbeddedError::io("open", folder))?;
            }
        }
        Ok(())
    }

    /// Keeps a new database in the data folder if the server's account can reach it there, else below the fallback
    /// (as for `./demo` in /root/redress, since /root is closed to all others). An existing one stays where it is.
    fn find_reachable_home(&mut self, data_dir: &Path, fallback_dir: &Path) -> Result<(), EmbeddedError> {
        if self.account.can_use(&self.home) {
            return Ok(());
        }
        let unreachable = |folder: &Path| EmbeddedError::Unreachable {
            account: self.account.describe(),
            folder: folder.to_path_buf(),
        };
        if self.is_elsewhere() || self.data().exists() {
            return Err(unreachable(&self.home));
        }
        warn_of_orphans(data_dir, fallback_dir);
        let home = fallback_dir.join(format!("data-{}", random_name()));
        make_folders(fallback_dir, 0o755).and_then(|()| make_folder(&home, 0o711))?;
        if !self.account.can_use(&home) {
            let _ = fs::remove_dir(&home);
            return Err(unreachable(data_dir));
        }
        let owner = self.owner;
        write_file(&home, BELONGS_TO, &format!("{}\n", data_dir.display()), owner)?;
        write_file(&self.control, "place", &format!("{}\n", home.display()), owner)?;
        owner.give(&home)?;
        tracing::warn!(
            home = %home.display(), data_dir = %data_dir.display(),
            "the account that runs PostgreSQL cannot enter the data folder, so the database is kept elsewhere"
        );
        self.home = home;
        Ok(())
    }
}

/// Files of a data folder that is not root's belong to its owner, even if root runs Redress there once.
fn owner_of(data_dir: &Path, root: bool) -> Result<Account, EmbeddedError> {
    let found = fs::metadata(data_dir).map_err(EmbeddedError::io("read", data_dir))?;
    Ok(match found.uid() {
        uid if root && uid != 0 => Account::Other { uid, gid: found.gid() },
        _ => Account::Same,
    })
}

/// The home that an earlier start has recorded. A home that is gone is never replaced by an empty one in silence.
fn recorded_home(control: &Path) -> Result<Option<PathBuf>, EmbeddedError> {
    let record = control.join("place");
    let home = match fs::read_to_string(&record) {
        Ok(text) => PathBuf::from(text.trim_end_matches('\n')),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(EmbeddedError::io("read", &record)(error)),
    };
    match home.is_dir() {
        true => Ok(Some(home)),
        false => Err(EmbeddedError::PlaceGone { home, record }),
    }
}

/// A data folder that was removed leaves its outlying database behind. It may also have been renamed, so it is never
/// removed by us.
fn warn_of_orphans(data_dir: &Path, fallback_dir: &Path) {
    for entry in fs::read_dir(fallback_dir).into_iter().flatten().flatten() {
        let owner = fs::read_to_string(entry.path().join(BELONGS_TO)).unwrap_or_default();
        if Path::new(owner.trim_end_matches('\n')) == data_dir {
            tracing::warn!(
                folder = %entry.path().display(),
                "an earlier database of this data folder is still there; remove it when nobody needs it"
            );
        }
    }
}

/// Creates one folder, which must not exist, with exactly this mode, whatever the umask.
pub(super) fn make_folder(path: &Path, mode: u32) -> Result<(), EmbeddedError> {
    DirBuilder::new()
        .mode(mode)
        .create(path)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode)))
        .map_err(EmbeddedError::io("create the folder", path))
}

/// Creates a folder and those above it, unless they exist.
fn make_folders(path: &Path, mode: u32) -> Result<(), EmbeddedError> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::create_dir_all(parent).map_err(EmbeddedError::io("create the folder", parent))?;
    }
    match make_folder(path, mode) {
        Err(_) if path.is_dir() => Ok(()), // another process was faster
        outcome => outcome,
    }
}

fn write_file(folder: &Path, name: &str, text: &str, owner: Account) -> Result<PathBuf, EmbeddedError> {
    let path = folder.join(name);
    let draft = folder.join(format!(".{name}.new"));
    let _ = fs::remove_file(&draft); // of a process that was killed while it wrote
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(&draft)
        .and_then(|mut file| {
            file.set_permissions(fs::Permissions::from_mode(0o644))?; // whatever the umask
            file.write_all(text.as_bytes())?;
            file.sync_all()
        })
        .map_err(EmbeddedError::io("write", &draft))
        .and_then(|()| owner.give(&draft))
        .and_then(|()| fs::rename(&draft, &path).map_err(EmbeddedError::io("write", &path)));
    if let Err(error) = written {
        let _ = fs::remove_file(&draft);
        return Err(error);
    }
    Ok(path)
}

/// The server takes a list of folders, in which commas, spaces and quotes have a meaning: such paths count as unfit.
fn is_fit_for_socket(folder: &Path) -> bool {
    let bytes = folder.as_os_str().as_encoded_bytes();
    let plain = bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"/._-+@".contains(byte));
    plain && bytes.len() + 1 + SOCKET_NAME.len() <= SOCKET_PATH_BYTES
}

fn random_name() -> String {
    format!("{:016x}", RandomState::new().build_hasher().finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_path_must_be_short_and_plain() {
        assert!(is_fit_for_socket(Path::new("/home/a/.redress/postgres/socket")));
        assert!(!is_fit_for_socket(Path::new("/home/a b/.redress/postgres/socket")));
        assert!(!is_fit_for_socket(Path::new("/home/배상/.redress/postgres/socket")));
        let longest = format!("/{}", "x".repeat(SOCKET_PATH_BYTES - 2 - SOCKET_NAME.len()));
        assert!(is_fit_for_socket(Path::new(&longest)));
        assert!(!is_fit_for_socket(Path::new(&format!("{longest}x"))));
    }
}
