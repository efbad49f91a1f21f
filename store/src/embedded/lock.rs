//! Advisory locks on files: the system releases them when a process dies, however it dies.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, OFlags, flock};

use super::error::EmbeddedError;

/// How often a lock that another process holds is tried again.
const POLL: Duration = Duration::from_millis(10);

/// A lock that is held until it is dropped.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
}

impl Lock {
    /// Waits, for a bounded time, until nobody else holds the lock.
    pub(super) fn exclusive(path: &Path, bound: Duration) -> Result<Self, EmbeddedError> {
        Self::open(path)?.wait_for(FlockOperation::NonBlockingLockExclusive, path, bound)
    }

    /// Waits, for a bounded time, until nobody holds the lock exclusively.
    pub(super) fn shared(path: &Path, bound: Duration) -> Result<Self, EmbeddedError> {
        Self::open(path)?.wait_for(FlockOperation::NonBlockingLockShared, path, bound)
    }

    /// Tries to become the only holder. When that fails, the shared lock may be lost: the caller is leaving or gives up.
    pub(super) fn try_upgrade(&self) -> bool {
        flock(&self.file, FlockOperation::NonBlockingLockExclusive).is_ok()
    }

    /// Becomes a sharer again after `try_upgrade`.
    pub(super) fn downgrade(&self) -> bool {
        flock(&self.file, FlockOperation::NonBlockingLockShared).is_ok()
    }

    fn open(path: &Path) -> Result<Self, EmbeddedError> {
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true).mode(0o600).custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
        let file = options.open(path).map_err(EmbeddedError::io("open", path))?;
        Ok(Self { file })
    }

    fn wait_for(self, operation: FlockOperation, path: &Path, bound: Duration) -> Result<Self, EmbeddedError> {
        let deadline = Instant::now() + bound;
        loop {
            match flock(&self.file, operation) {
                Ok(()) => return Ok(self),
                Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => {}
                Err(error) => return Err(EmbeddedError::io("lock", path)(error.into())),
            }
            if Instant::now() >= deadline {
                let folder = path.parent().unwrap_or(path).to_path_buf();
                return Err(EmbeddedError::Busy { folder, bound });
            }
            std::thread::sleep(POLL);
        }
    }
}

impl Drop for Lock {
    /// Unlocks by name instead of by closing: a child that is just being started may still share the open file.
    fn drop(&mut self) {
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}
