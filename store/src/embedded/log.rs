//! The server's log: one file in the data folder, whose last lines explain a failure better than we could.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::error::EmbeddedError;

/// Above this the log of earlier starts is put aside (one such file is kept).
const ROTATE_BYTES: u64 = 8 << 20;
/// An error message quotes at most so much of the log.
const QUOTED_LINES: usize = 6;
const QUOTED_BYTES: u64 = 8 << 10;

/// The log, opened to be written by a program that is about to start.
pub(super) struct Log {
    path: PathBuf,
    file: File,
    /// Where this program's part begins.
    start: u64,
}

impl Log {
    pub(super) fn open(path: &Path) -> Result<Self, EmbeddedError> {
        if fs::symlink_metadata(path).is_ok_and(|found| found.len() > ROTATE_BYTES) {
            fs::rename(path, path.with_extension("log.1")).map_err(EmbeddedError::io("rename", path))?;
        }
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(0o600).custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
        let file = options.open(path).map_err(EmbeddedError::io("open", path))?;
        let start = file.metadata().map_err(EmbeddedError::io("read", path))?.len();
        Ok(Self { path: path.to_path_buf(), file, start })
    }

    /// A handle for the standard output or error of the program.
    pub(super) fn handle(&self) -> Result<File, EmbeddedError> {
        self.file.try_clone().map_err(EmbeddedError::io("open", &self.path))
    }

    pub(super) fn path(&self) -> PathBuf {
        self.path.clone()
    }

    /// The last lines that the program wrote, as one line without the time and process that each begins with.
    pub(super) fn last_lines(&self) -> String {
        let text = self.read_end().unwrap_or_default();
        let lines: Vec<&str> = text.lines().map(without_prefix).filter(|line| !line.is_empty()).collect();
        lines[lines.len().saturating_sub(QUOTED_LINES)..].join("; ")
    }

    fn read_end(&self) -> std::io::Result<String> {
        let mut file = File::open(&self.path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(self.start.max(length.saturating_sub(QUOTED_BYTES))))?;
        let mut bytes = Vec::new();
        file.take(QUOTED_BYTES).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// `2026-01-31 12:00:00.000 UTC [4711] FATAL:  …` → `FATAL:  …`
fn without_prefix(line: &str) -> &str {
    let line = line.trim();
    match line.split_once("] ") {
        Some((prefix, rest)) if prefix.starts_with(|c: char| c.is_ascii_digit()) && prefix.contains(" [") => rest,
        _ => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn only_what_this_start_wrote_is_quoted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.log");
        fs::write(&path, "2026-01-31 12:00:00.000 UTC [1] FATAL:  an old grief\n").unwrap();
        let log = Log::open(&path).unwrap();
        assert_eq!(log.last_lines(), "");
        let mut file = log.handle().unwrap();
        writeln!(file, "2026-01-31 12:00:01.000 UTC [2] FATAL:  no space\n\nplain [x] line").unwrap();
        assert_eq!(log.last_lines(), "FATAL:  no space; plain [x] line");
    }

    #[test]
    fn a_long_log_is_put_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.log");
        File::create(&path).unwrap().set_len(ROTATE_BYTES + 1).unwrap();
        drop(Log::open(&path).unwrap());
        assert_eq!(fs::metadata(&path).unwrap().len(), 0);
        assert_eq!(fs::metadata(folder.path().join("server.log.1")).unwrap().len(), ROTATE_BYTES + 1);
    }
}
