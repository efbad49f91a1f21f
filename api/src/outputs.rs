//! Files that a command writes besides its answer: none takes the place of what is read, or of one that is to be kept.

use std::fs::{File, Metadata};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::error::{AppError, AppResult};

/// How many files of one name are kept beside each other.
const MOST_OF_A_NAME: u32 = 10_000;

/// Refuses a flag that would write over what is read, by whichever name or link.
pub fn refuse_input(flag: &str, output: &Path, input: &Path) -> AppResult<()> {
    let place = |file: &Path| file.metadata().ok().map(|found: Metadata| (found.dev(), found.ino()));
    match place(output) {
        Some(found) if place(input) == Some(found) => {
            Err(AppError::Usage(format!("{flag}: {} is the file that is read; name another", output.display())))
        }
        _ => Ok(()),
    }
}

/// Creates `NAME.WHAT.csv` in a folder, with a number where there is one: two files of one name may say different things.
pub fn create_beside(folder: &Path, name: &str, what: &str) -> AppResult<(PathBuf, File)> {
    let writing = |path: &Path| format!("writing {}", path.display());
    std::fs::create_dir_all(folder).map_err(AppError::io(writing(folder)))?;
    for number in 1..=MOST_OF_A_NAME {
        let number = if number == 1 { String::new() } else { format!("-{number}") };
        let path = folder.join(format!("{name}.{what}{number}.csv"));
        match File::create_new(&path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            created => return Ok((path.clone(), created.map_err(AppError::io(writing(&path)))?)),
        }
    }
    let all = format!("{} has {MOST_OF_A_NAME} files {name}.{what}….csv: move them elsewhere", folder.display());
    Err(AppError::Refused(all))
}

/// Writes a file that must not exist.
pub fn write_new(file: &Path, bytes: &[u8], what: &str) -> AppResult<()> {
    let mut created = File::create_new(file).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => {
            AppError::Refused(format!("{} exists; {what} never replaces another file: name another", file.display()))
        }
        _ => AppError::io(format!("writing {}", file.display()))(error),
    })?;
    created.write_all(bytes).map_err(AppError::io(format!("writing {}", file.display())))
}
