//! The private PostgreSQL of a data folder: without `--database-url`, Redress finds, creates, starts, shares and stops
//! a server of its own, and nobody has to know that it is there.
//!
//! Several processes may use one data folder: they share one server, and the last to leave stops it. When a process is
//! killed, its server goes on and the next start adopts it; when the server is killed, the next start recovers it.

mod account;
mod binaries;
mod cluster;
mod error;
mod lock;
mod log;
mod place;
mod process;
mod settings;
mod url;

use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use diesel::{Connection, PgConnection};

use self::binaries::Binaries;
use self::lock::Lock;
use self::log::Log;
use self::place::Place;
use self::process::{POLL, Server};

pub use self::binaries::{MINIMUM_MAJOR, find_binaries};
pub use self::error::EmbeddedError;
pub use self::settings::Options;
pub use self::url::{DATABASE, Role};

/// How long a start may take: usually 0.1 s, but after a crash the log is replayed first, on a slow disk for minutes.
const START_BOUND: Duration = Duration::from_secs(180);
/// How long to wait while another process starts (initdb included) or stops the server.
const LOCK_BOUND: Duration = Duration::from_secs(310);
/// How long a server may say that it is ready while its socket is not to be seen.
const HIDDEN_BOUND: Duration = Duration::from_secs(2);
/// Said by a server whose crashed predecessor still has children that are about to end.
const PREDECESSOR_LINGERS: &str = "is still in use";

/// A private server that is kept alive by this value. [`Embedded::stop`], or dropping it, stops the server unless
/// another process uses it.
#[derive(Debug)]
pub struct Embedded {
    place: Place,
    options: Options,
    binaries: Binaries,
    socket_folder: PathBuf,
    url: String,
    /// The server, if this process started it: its end must be taken note of.
    child: Mutex<Option<Child>>,
    /// Held as long as we use the server.
    users: Option<Lock>,
}

/// Whether a data folder has a private database; nothing is made or changed.
#[must_use]
pub fn exists(data_dir: &Path) -> bool {
    Place::is_taken(data_dir)
}

impl Embedded {
    /// Starts the server of a data folder, or joins the one that runs already; creates folder and database if needed.
    /// Returns when the server takes connections.
    pub fn start(data_dir: &Path, options: &Options) -> Result<Self, EmbeddedError> {
        let place = Place::resolve(data_dir, &options.fallback_dir)?;
        let starting = place.start_lock(LOCK_BOUND)?;
        let users = place.users_lock(LOCK_BOUND)?;
        let binaries = cluster::open_or_create(&place, options)?;
        let socket_folder = place.socket_folder()?;
        let mut embedded = Self {
            url: url::url(&socket_folder, Role::Owner, DATABASE),
            place,
            options: options.clone(),
            binaries,
            socket_folder,
            child: Mutex::new(None),
            users: Some(users),
        };
        let started = embedded.bring_up().and_then(|mut connection| cluster::provision(&mut connection));
        drop(starting); // before `embedded` may be dropped, which takes this lock to stop the server
        started?;
        embedded.url = embedded.url_for(Role::Owner, DATABASE);
        Ok(embedded)
    }

    /// Removes the database of a data folder, wherever it is kept; refused while another process uses it.
    pub fn remove(data_dir: &Path, options: &Options) -> Result<(), EmbeddedError> {
        let place = Place::resolve(data_dir, &options.fallback_dir)?;
        let _starting = place.start_lock(LOCK_BOUND)?;
        let users = place.users_lock(LOCK_BOUND)?;
        if !users.try_upgrade() {
            return Err(EmbeddedError::InUse { data_dir: data_dir.to_path_buf() });
        }
        // A server that outlived its Redress still runs.
        if let Some(server) = Server::find(&place.data()) {
            server.stop()?;
        }
        match std::fs::remove_dir_all(place.data()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(EmbeddedError::io("remove", &place.data())(error))
            }
            _ => Ok(()),
        }
    }

    /// Where the owner of the database `redress` connects, for migrations.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where any role connects to any database of this server.
    #[must_use]
    pub fn url_for(&self, role: Role, database: &str) -> String {
        url::url(&self.socket_folder, role, database)
    }

    /// Starts the server again if it has ended; says whether that was needed. Cheap when all is well.
    pub fn ensure_running(&self) -> Result<bool, EmbeddedError> {
        if self.is_running() {
            return Ok(false);
        }
        let _starting = self.place.start_lock(LOCK_BOUND)?;
        if self.is_running() {
            return Ok(false); // another process was faster
        }
        tracing::warn!(data = %self.place.data().display(), "the private PostgreSQL has ended; starting it again");
        self.place.socket_folder()?; // it is recorded, so it is the same, but it may have been cleaned away
        self.bring_up_at(&self.socket_folder).map(|_| true)
    }

    /// Whether the server is there and says that it takes connections.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.take_note_of_ended_child();
        Server::find(&self.place.data()).is_some_and(|server| server.ready) && self.socket().exists()
    }

    /// The server's process id, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<i32> {
        Server::find(&self.place.data()).map(|server| server.pid.as_raw_nonzero().get())
    }

    /// The file that the server writes its messages to.
    #[must_use]
    pub fn log_file(&self) -> PathBuf {
        self.place.log()
    }

    /// The folder of the database itself.
    #[must_use]
    pub fn database_folder(&self) -> PathBuf {
        self.place.data()
    }

    /// Whether the database had to be kept outside the data folder (only for root, see [`Options::fallback_dir`]).
    #[must_use]
    pub fn is_outside_data_dir(&self) -> bool {
        self.place.is_elsewhere()
    }

    /// The folder of the PostgreSQL programs in use, such as `pg_dump`.
    #[must_use]
    pub fn binaries(&self) -> &Path {
        &self.binaries.folder
    }

    /// Stops the server unless others use it; says whether it did.
    pub fn stop(mut self) -> Result<bool, EmbeddedError> {
        self.leave()
    }

    /// Leaves the server running for the next start to adopt, as between the processes of one test run.
    pub fn keep_running(mut self) {
        self.users = None;
    }

    fn leave(&mut self) -> Result<bool, EmbeddedError> {
        let Some(users) = self.users.take() else { return Ok(false) };
        // Whoever starts or joins does so under this lock: if we are alone now, we are alone until we let it go.
        let _stopping = self.place.start_lock(LOCK_BOUND)?;
        if !users.try_upgrade() {
            return Ok(false);
        }
        if let Some(server) = Server::find(&self.place.data()) {
            server.stop()?;
        }
        if let Some(mut child) = self.child().take() {
            let _ = child.wait();
        }
        Ok(true)
    }

    fn bring_up(&mut self) -> Result<PgConnection, EmbeddedError> {
        // A running server knows best where its socket is, unless it was moved or removed.
        let running = Server::find(&self.place.data()).and_then(|server| server.socket_folder);
        if let Some(folder) = running.filter(|folder| folder.join(url::SOCKET_NAME).exists()) {
            self.socket_folder = folder;
        }
        self.bring_up_at(&self.socket_folder)
    }

    /// Starts the server if there is none, and waits until it takes connections. The caller holds the start lock.
    fn bring_up_at(&self, socket_folder: &Path) -> Result<PgConnection, EmbeddedError> {
        let data = self.place.data();
        let deadline = Instant::now() + START_BOUND;
        let mut log = self.place.open_log()?;
        if !self.has_living_child() {
            self.child().take(); // one that has served its time, not one that failed to start
        }
        let mut hidden_since: Option<Instant> = None;
        let mut refusal = String::new();
        while Instant::now() < deadline {
            let server = Server::find(&data);
            if server.is_none() && !self.has_living_child() {
                let said = log.last_lines();
                if self.child().take().is_some() && !said.contains(PREDECESSOR_LINGERS) {
                    return Err(EmbeddedError::Start { lines: said, log: log.path() });
                }
                log = self.place.open_log()?;
                *self.child() = Some(self.spawn(socket_folder, &log)?);
            }
            if let Some(server) = server.filter(|server| server.ready) {
                match PgConnection::establish(&self.url_for(Role::Superuser, "postgres")) {
                    Ok(connection) => return Ok(connection),
                    Err(error) => refusal = error.to_string(),
                }
                let hidden = !self.socket().exists();
                let since = *hidden_since.get_or_insert_with(Instant::now);
                if hidden && since.elapsed() > HIDDEN_BOUND {
                    self.end_hidden(&server)?;
                    self.child().take();
                    hidden_since = None;
                }
            }
            std::thread::sleep(POLL);
        }
        let lines = [refusal, log.last_lines()].into_iter().find(|text| !text.is_empty()).unwrap_or_default();
        Err(EmbeddedError::Timeout { what: "the start of PostgreSQL", bound: START_BOUND, lines, log: log.path() })
    }

    /// Ends a server that nobody can reach, because its socket was removed, so that it can be started anew. Not if
    /// others use it: they may see the socket where we do not.
    fn end_hidden(&self, server: &Server) -> Result<(), EmbeddedError> {
        let alone = self.users.as_ref().is_some_and(|users| {
            let alone = users.try_upgrade();
            users.downgrade() && alone
        });
        if !alone {
            let pid = server.pid.as_raw_nonzero().get();
            return Err(EmbeddedError::Hidden { pid, socket: self.socket() });
        }
        tracing::warn!(socket = %self.socket().display(), "the server's socket has been removed; starting it again");
        server.stop()
    }

    fn spawn(&self, socket_folder: &Path, log: &Log) -> Result<Child, EmbeddedError> {
        use std::os::unix::process::CommandExt;

        let data = self.place.data();
        let text = self.options.configuration(self.binaries.has_lz4());
        let configuration = self.place.write("postgresql.conf", &text)?;
        let authentication = self.place.write("pg_hba.conf", settings::HOST_BASED_AUTHENTICATION)?;
        let program = self.binaries.postgres();
        let mut command = self.place.account.command(&program);
        // What the supervisor depends on stands in the arguments, where no ALTER SYSTEM can change it.
        command.arg("-D").arg(&data).arg("-k").arg(socket_folder).args(["-h", "", "-p", url::PORT]);
        for (name, file) in [("config_file", &configuration), ("hba_file", &authentication)] {
            let mut setting = std::ffi::OsString::from(format!("{name}="));
            setting.push(file);
            command.arg("-c").arg(setting);
        }
        command.args(["-c", "unix_socket_permissions=0700"]);
        if let Some(pid) = process::stale_pid(&data) {
            // After a reboot another process of this user may have the number of the crashed server, and PostgreSQL
            // would refuse to start. We know that it does not serve this database; this makes PostgreSQL ignore it,
            // while its stricter check, of the shared memory, stays.
            command.env("PG_GRANDPARENT_PID", pid);
        }
        command.stdout(log.handle()?).stderr(log.handle()?);
        command.process_group(0); // Ctrl-C in the terminal is for Redress, which then stops the server
        cluster::spawn(&mut command, &program)
    }

    fn socket(&self) -> PathBuf {
        self.socket_folder.join(url::SOCKET_NAME)
    }

    fn has_living_child(&self) -> bool {
        self.child().as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    fn take_note_of_ended_child(&self) {
        if let Some(child) = self.child().as_mut() {
            let _ = child.try_wait();
        }
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        if let Err(error) = self.leave() {
            tracing::warn!(%error, "the private PostgreSQL could not be stopped; the next start will adopt it");
        }
    }
}
