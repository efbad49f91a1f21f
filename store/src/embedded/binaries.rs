//! Finds the programs of PostgreSQL, because systems keep them in different places and often out of PATH.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::error::EmbeddedError;

/// The oldest major version that Redress supports.
pub const MINIMUM_MAJOR: u32 = 15;

/// Folders that hold one sub-folder a version, with the path from there to the programs.
const VERSIONED_PLACES: &[(&str, &str, &str)] = &[
    ("/usr/lib/postgresql", "", "bin"),          // Debian, Ubuntu
    ("/usr", "pgsql-", "bin"),                   // PGDG packages on Fedora, RHEL
    ("/opt/homebrew/opt", "postgresql@", "bin"), // Homebrew, Apple silicon
    ("/usr/local/opt", "postgresql@", "bin"),    // Homebrew, Intel
    ("/home/linuxbrew/.linuxbrew/opt", "postgresql@", "bin"),
    ("/Applications/Postgres.app/Contents/Versions", "", "bin"),
    ("/usr/libexec", "postgresql", ""), // Alpine
];

/// A folder with `postgres` and `initdb`, and their major version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Binaries {
    pub(super) folder: PathBuf,
    pub(super) major: u32,
}

impl Binaries {
    pub(super) fn postgres(&self) -> PathBuf {
        self.folder.join("postgres")
    }

    pub(super) fn initdb(&self) -> PathBuf {
        self.folder.join("initdb")
    }

    /// Whether this build can compress its log with lz4, which costs far less than the default pglz.
    pub(super) fn has_lz4(&self) -> bool {
        run(&self.folder.join("pg_config"), "--configure").is_some_and(|flags| flags.contains("--with-lz4"))
    }
}

/// The folder of the PostgreSQL programs to use for a new database: `REDRESS_POSTGRES_BIN`, else PATH, `pg_config`,
/// and the places where Debian, Fedora, Homebrew and Alpine keep them, newest first.
pub fn find_binaries() -> Result<PathBuf, EmbeddedError> {
    Search::of_this_machine().newest_acceptable().map(|found| found.folder)
}

/// Where to look. A value of its own so that tests can look elsewhere.
pub(super) struct Search {
    pub(super) explicit: Option<OsString>,
    pub(super) path: Option<OsString>,
    pub(super) root: PathBuf,
}

impl Search {
    pub(super) fn of_this_machine() -> Self {
        let explicit = std::env::var_os("REDRESS_POSTGRES_BIN").filter(|value| !value.is_empty());
        Self { explicit, path: std::env::var_os("PATH"), root: PathBuf::from("/") }
    }

    pub(super) fn newest_acceptable(&self) -> Result<Binaries, EmbeddedError> {
        let mut too_old: Option<Binaries> = None;
        for found in self.candidates()? {
            if found.major >= MINIMUM_MAJOR {
                return Ok(found);
            }
            if too_old.as_ref().is_none_or(|other| other.major < found.major) {
                too_old = Some(found);
            }
        }
        Err(match too_old {
            Some(Binaries { folder, major: found }) => {
                EmbeddedError::TooOld { found, folder, minimum: MINIMUM_MAJOR, remedy: install_remedy() }
            }
            None => EmbeddedError::NoBinaries { minimum: MINIMUM_MAJOR, remedy: install_remedy() },
        })
    }

    /// The programs that can open an existing database: only those of the major version that made it can.
    pub(super) fn for_database(&self, data: &Path, made_by: &str) -> Result<Binaries, EmbeddedError> {
        let mut installed = BTreeSet::new();
        for found in self.candidates()? {
            if found.major.to_string() == made_by {
                return Ok(found);
            }
            installed.insert(found.major);
        }
        if installed.is_empty() {
            return Err(EmbeddedError::NoBinaries { minimum: MINIMUM_MAJOR, remedy: install_remedy() });
        }
        let installed = installed.into_iter().collect();
        Err(EmbeddedError::WrongVersion { data: data.to_path_buf(), made_by: made_by.to_owned(), installed })
    }

    /// Every working set of programs, in order of preference. What the user names excludes all others.
    fn candidates(&self) -> Result<Box<dyn Iterator<Item = Binaries> + '_>, EmbeddedError> {
        if let Some(explicit) = &self.explicit {
            let named = PathBuf::from(explicit);
            let folder = if named.is_file() { named.parent().unwrap_or(&named).to_path_buf() } else { named };
            let found = examine(&folder).ok_or(EmbeddedError::BadOverride { folder })?;
            return Ok(Box::new(std::iter::once(found)));
        }
        let path: Vec<PathBuf> = self.path.iter().flat_map(std::env::split_paths).collect();
        let pg_config = path.iter().map(|folder| folder.join("pg_config")).find(|program| program.is_file());
        let configured = pg_config.and_then(|program| run(&program, "--bindir")).map(|line| PathBuf::from(line.trim()));
        let folders = path.into_iter().chain(configured).chain(self.versioned_folders());
        Ok(Box::new(folders.filter_map(|folder| examine(&folder))))
    }

    fn versioned_folders(&self) -> Vec<PathBuf> {
        VERSIONED_PLACES.iter().flat_map(|(place, prefix, suffix)| self.versions_in(place, prefix, suffix)).collect()
    }

    fn versions_in(&self, place: &str, prefix: &str, suffix: &str) -> Vec<PathBuf> {
        let place = self.root.join(place.trim_start_matches('/'));
        let entries = fs::read_dir(&place).into_iter().flatten().flatten();
        let mut versions: Vec<(u32, PathBuf)> = entries
            .filter_map(|entry| {
                let major = entry.file_name().to_str()?.strip_prefix(prefix)?.parse().ok()?;
                Some((major, entry.path().join(suffix)))
            })
            .collect();
        versions.sort_by_key(|(major, _)| std::cmp::Reverse(*major));
        versions.into_iter().map(|(_, folder)| folder).collect()
    }
}

/// A folder counts when its server answers with a version. Links are followed: packagers link single programs into
/// `/usr/local/bin`, and `initdb` then stands only beside the real one.
fn examine(folder: &Path) -> Option<Binaries> {
    let postgres = folder.join("postgres").canonicalize().ok()?;
    let folder = postgres.parent()?.to_path_buf();
    if !folder.join("initdb").is_file() {
        return None;
    }
    let major = parse_major(&run(&postgres, "--version")?)?;
    Some(Binaries { folder, major })
}

/// `postgres (PostgreSQL) 15.18 (Debian …)` → 15; also `17beta1`.
fn parse_major(version: &str) -> Option<u32> {
    let number = version.split_whitespace().find(|word| word.starts_with(|first: char| first.is_ascii_digit()))?;
    let digits = number.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

fn run(program: &Path, argument: &str) -> Option<String> {
    let output = Command::new(program).arg(argument).current_dir("/").output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The one command that installs a server here.
fn install_remedy() -> &'static str {
    let managers = [
        ("/usr/bin/apt-get", "install it with `apt-get install postgresql`"),
        ("/usr/bin/dnf", "install it with `dnf install postgresql-server`"),
        ("/sbin/apk", "install it with `apk add postgresql`"),
        ("/usr/bin/pacman", "install it with `pacman -S postgresql`"),
        ("/opt/homebrew/bin/brew", "install it with `brew install postgresql@17`"),
        ("/usr/local/bin/brew", "install it with `brew install postgresql@17`"),
    ];
    managers
        .iter()
        .find(|(manager, _)| Path::new(manager).exists())
        .map_or("install the PostgreSQL server of your system", |(_, remedy)| remedy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn search(root: &Path, path: &[&str]) -> Search {
        let path = std::env::join_paths(path.iter().map(|part| root.join(part))).unwrap();
        Search { explicit: None, path: Some(path), root: root.to_path_buf() }
    }

    fn install(root: &Path, folder: &str, version: &str) -> PathBuf {
        let folder = root.join(folder);
        fs::create_dir_all(&folder).unwrap();
        for program in ["postgres", "initdb"] {
            let file = folder.join(program);
            fs::write(&file, format!("#!/bin/sh\necho '{program} (PostgreSQL) {version}'\n")).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        }
        folder.canonicalize().unwrap()
    }

    #[test]
    fn versions_are_read_from_what_servers_print() {
        assert_eq!(parse_major("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"), Some(15));
        assert_eq!(parse_major("postgres (PostgreSQL) 18beta2\n"), Some(18));
        assert_eq!(parse_major("postgres: command not found\n"), None);
    }

    #[test]
    fn path_comes_first_then_the_newest_of_debian() {
        let root = tempfile::tempdir().unwrap();
        install(root.path(), "usr/lib/postgresql/9/bin", "9.6.1");
        install(root.path(), "usr/lib/postgresql/16/bin", "16.4");
        let newest = install(root.path(), "usr/lib/postgresql/17/bin", "17.1");
        let found = search(root.path(), &["nowhere"]).newest_acceptable().unwrap();
        assert_eq!(found, Binaries { folder: newest, major: 17 });

        let on_path = install(root.path(), "opt/pg/bin", "15.2");
        let found = search(root.path(), &["nowhere", "opt/pg/bin"]).newest_acceptable().unwrap();
        assert_eq!(found, Binaries { folder: on_path, major: 15 });
    }

    #[test]
    fn a_link_leads_to_the_folder_that_has_initdb_too() {
        let root = tempfile::tempdir().unwrap();
        let real = install(root.path(), "usr/lib/postgresql/16/bin", "16.4");
        fs::create_dir_all(root.path().join("usr/local/bin")).unwrap();
        std::os::unix::fs::symlink(real.join("postgres"), root.path().join("usr/local/bin/postgres")).unwrap();
        let found = search(root.path(), &["usr/local/bin"]).newest_acceptable().unwrap();
        assert_eq!(found.folder, real);
    }

    #[test]
    fn without_a_server_one_line_says_what_to_install() {
        let root = tempfile::tempdir().unwrap();
        let error = search(root.path(), &["nowhere"]).newest_acceptable().unwrap_err().to_string();
        assert!(error.starts_with("no PostgreSQL server (15 or later) found: install"), "{error}");
        assert!(!error.contains('\n'), "{error}");

        install(root.path(), "usr/lib/postgresql/13/bin", "13.9");
        let error = search(root.path(), &["nowhere"]).newest_acceptable().unwrap_err().to_string();
        assert!(error.contains("PostgreSQL 13") && error.contains("too old"), "{error}");
    }

    #[test]
    fn what_the_user_names_is_used_or_refused_but_never_ignored() {
        let root = tempfile::tempdir().unwrap();
        install(root.path(), "usr/lib/postgresql/17/bin", "17.1");
        let named = install(root.path(), "mine", "16.0");
        let mut search = search(root.path(), &["usr/lib/postgresql/17/bin"]);
        search.explicit = Some(named.clone().into_os_string());
        assert_eq!(search.newest_acceptable().unwrap().folder, named);
        search.explicit = Some(named.join("postgres").into_os_string());
        assert_eq!(search.newest_acceptable().unwrap().folder, named);
        search.explicit = Some(root.path().join("nowhere").into_os_string());
        assert!(matches!(search.newest_acceptable(), Err(EmbeddedError::BadOverride { .. })));
    }

    #[test]
    fn an_existing_database_is_opened_by_the_version_that_made_it() {
        let root = tempfile::tempdir().unwrap();
        install(root.path(), "usr/lib/postgresql/17/bin", "17.1");
        let older = install(root.path(), "usr/lib/postgresql/16/bin", "16.4");
        let search = search(root.path(), &["nowhere"]);
        assert_eq!(search.for_database(Path::new("/d"), "16").unwrap().folder, older);
        let error = search.for_database(Path::new("/d"), "15").unwrap_err().to_string();
        assert!(error.contains("made by PostgreSQL 15") && error.contains("16, 17"), "{error}");
    }
}
