//! The server's configuration: right for one program on a laptop, and as durable as a production server.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Where a database is kept that the server's account could not reach in the data folder. Only root needs it.
const FALLBACK_DIR: &str = "/var/lib/redress";
/// A smaller shared-memory file system (Docker's has 64 MB) is too small for parallel queries.
const SHARED_MEMORY_BYTES: u64 = 128 << 20;

/// How the private server is set up. A server that is already running keeps the settings it was started with.
#[derive(Debug, Clone)]
pub struct Options {
    /// Whether what is committed survives a loss of power. Only tests may turn it off.
    pub fsync: bool,
    /// How many connections the server accepts.
    pub max_connections: u32,
    /// The server's page cache, in megabytes.
    pub shared_buffers_mb: u32,
    /// How much log may gather before a checkpoint, in megabytes.
    pub max_wal_size_mb: u32,
    /// Where root keeps a database that the server's account cannot reach in the data folder.
    pub fallback_dir: PathBuf,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            fsync: true,
            max_connections: 100,
            shared_buffers_mb: 256,
            max_wal_size_mb: 2048,
            fallback_dir: PathBuf::from(FALLBACK_DIR),
        }
    }
}

impl Options {
    /// For tests: fast, and safe against everything but a loss of power, a kill of the server included.
    #[must_use]
    pub fn for_tests() -> Self {
        Self { fsync: false, shared_buffers_mb: 128, max_wal_size_mb: 1024, ..Self::default() }
    }

    /// The text of `postgresql.conf`. An operator's `ALTER SYSTEM` goes before it.
    pub(super) fn configuration(&self, has_lz4: bool) -> String {
        let Self { max_connections, shared_buffers_mb, max_wal_size_mb, .. } = self;
        let on_off = if self.fsync { "on" } else { "off" };
        let compression = if has_lz4 { "lz4" } else { "pglz" };
        let shared_memory = if shared_memory_is_unfit() { "mmap" } else { "posix" };
        format!(
            "# Written by Redress at each start of its private server; ALTER SYSTEM goes before it.

# Durability. All on: what was answered with 2xx must survive a loss of power. Tests need only survive a kill, for
# which a commit must still hand its log to the system, but need not wait for the disk.
fsync = {on_off}
synchronous_commit = on
full_page_writes = {on_off}

# Memory. A cache that a laptop does not notice; sorts and hashes of a console page stay in memory, and an index
# over the demo's rows is built in one pass.
shared_buffers = {shared_buffers_mb}MB
work_mem = 16MB
maintenance_work_mem = 128MB
# Not posix where /dev/shm is as small as in a container: parallel queries would fail with \"no space left on device\".
dynamic_shared_memory_type = {shared_memory}

# Log. The batch job writes hundreds of megabytes in seconds: rare checkpoints, small page images, and a writer that is
# awake, so that a chunk's commit finds most of its log written.
wal_writer_delay = 20ms
max_wal_size = {max_wal_size_mb}MB
min_wal_size = 256MB
wal_buffers = 16MB
wal_compression = {compression}

# An assessment explains itself in some kilobytes: packed while its claim is filed.
default_toast_compression = {compression}
checkpoint_timeout = 15min

# Plans. The disk is an SSD; queries are too short to be worth compiling.
random_page_cost = 1.1
jit = off

max_connections = {max_connections}

# The same results on every machine.
timezone = 'UTC'
log_timezone = 'UTC'
lc_messages = 'C'
default_text_search_config = 'pg_catalog.simple'

# The log must hold no personal data: no statements, no parameters, and no DETAIL, which quotes keys.
log_min_error_statement = panic
log_error_verbosity = terse
log_line_prefix = '%m [%p] '
cluster_name = 'redress'
"
        )
    }
}

/// The socket's folder is closed to all but the server's account and root, so whoever reaches the socket is trusted,
/// whatever the user is called. There is no password that could leak, and no way in but the socket.
pub(super) const HOST_BASED_AUTHENTICATION: &str = "\
# Written by Redress. The folder of the socket protects the server; no other way leads to it.
local all         all      trust
local replication postgres trust
";

/// Whether Linux's shared memory is too small, or closed to the server's account, as in a bare chroot.
fn shared_memory_is_unfit() -> bool {
    const EVERYBODY_MAY_WRITE: u32 = 0o002;
    let folder = Path::new("/dev/shm");
    let is_open = std::fs::metadata(folder).is_ok_and(|found| found.mode() & EVERYBODY_MAY_WRITE != 0);
    let bytes = rustix::fs::statvfs(folder).map_or(0, |found| found.f_blocks.saturating_mul(found.f_frsize));
    cfg!(target_os = "linux") && !(is_open && bytes >= SHARED_MEMORY_BYTES)
}
