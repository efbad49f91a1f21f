//! Configuration: flags, then environment, then `<data-dir>/redress.toml`. Secrets also come from files.

mod rates;

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::cli::{Format, Global};
use crate::error::{AppError, AppResult};

pub use self::rates::{Proxies, RateLimits};

/// The file in the data folder that flags and environment override.
pub const FILE_NAME: &str = "redress.toml";
/// Where the server listens unless told otherwise.
const DEFAULT_LISTEN: &str = "127.0.0.1:8080";
const DEFAULT_POOL_SIZE: u32 = 16;

/// The settings of one installation.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The data folder.
    pub data_dir: PathBuf,
    /// The database to use instead of the private one.
    pub database_url: Option<String>,
    /// How results are printed.
    pub format: Format,
    /// Whether what is fine on a laptop only is refused.
    pub production: bool,
    /// Where the server listens.
    pub listen: String,
    /// The most connections to the database.
    pub pool_size: u32,
    /// Where mail goes; into a folder of `.eml` files when none.
    pub smtp_url: Option<String>,
    /// Who mail is from.
    pub mail_from: String,
    /// How much one client may ask.
    pub rates: RateLimits,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct SettingsFile {
    database_url: Option<String>,
    production: Option<bool>,
    listen: Option<String>,
    pool_size: Option<u32>,
    smtp_url: Option<String>,
    mail_from: Option<String>,
    #[serde(default)]
    limits: rates::RatesFile,
}

impl Settings {
    /// Puts the settings together; `listen` is the command's own flag.
    pub fn load(global: &Global, listen: Option<String>) -> AppResult<Self> {
        let file = read_file(&global.data_dir.join(FILE_NAME))?;
        let database_url = match (&global.database_url, &global.database_url_file) {
            (Some(url), _) => Some(url.clone()),
            (None, Some(path)) => Some(read_secret(path)?),
            (None, None) => file.database_url,
        };
        if database_url.as_ref().is_some_and(|url| url.trim().is_empty()) {
            // Most likely a variable that was not set: libpq would take it for the machine's own server.
            return Err(AppError::Usage("--database-url is empty; leave it out for the private database".into()));
        }
        let pool_size = match variable("REDRESS_POOL_SIZE")? {
            Some(text) => text
                .parse()
                .map_err(|_| AppError::Usage(format!("REDRESS_POOL_SIZE must be a whole number, not {text:?}")))?,
            None => file.pool_size.unwrap_or(DEFAULT_POOL_SIZE),
        };
        if !(2..=500).contains(&pool_size) {
            return Err(AppError::Invalid(format!("pool_size must be from 2 to 500, not {pool_size}")));
        }
        let smtp_url = match secret_variable("REDRESS_SMTP_URL")? {
            Some(url) => Some(url),
            None => file.smtp_url,
        };
        let production = global.production || file.production.unwrap_or(false);
        Ok(Self {
            rates: RateLimits::load(&file.limits, production)?,
            data_dir: global.data_dir.clone(),
            database_url,
            format: global.format,
            production,
            listen: listen.or(file.listen).unwrap_or_else(|| DEFAULT_LISTEN.to_owned()),
            pool_size,
            smtp_url,
            mail_from: variable("REDRESS_MAIL_FROM")?
                .or(file.mail_from)
                .unwrap_or_else(|| "Redress <redress@localhost>".to_owned()),
        })
    }
}

fn read_file(path: &Path) -> AppResult<SettingsFile> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(SettingsFile::default()),
        Err(error) => return Err(AppError::io(format!("reading {}", path.display()))(error)),
    };
    toml::from_str(&text).map_err(|error| {
        let (line, column) = redress_domain::source::position(&text, error.span().map_or(0, |span| span.start));
        AppError::Invalid(format!("{}:{line}:{column}: {}", path.display(), error.message()))
    })
}

/// A variable of the environment; set but not UTF-8 is an error, empty is the same as not set.
fn variable(name: &str) -> AppResult<Option<String>> {
    match std::env::var(name) {
        Ok(text) if text.is_empty() => Ok(None),
        Ok(text) => Ok(Some(text)),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => Err(AppError::Invalid(format!("{name} is not UTF-8"))),
    }
}

/// A secret: `NAME`, or the content of the file that `NAME_FILE` names.
pub fn secret_variable(name: &str) -> AppResult<Option<String>> {
    if let Some(value) = variable(name)? {
        return Ok(Some(value));
    }
    match variable(&format!("{name}_FILE"))? {
        Some(path) => read_secret(Path::new(&path)).map(Some),
        None => Ok(None),
    }
}

fn read_secret(path: &Path) -> AppResult<String> {
    let text = std::fs::read_to_string(path).map_err(AppError::io(format!("reading {}", path.display())))?;
    let text = text.trim_end_matches(['\r', '\n']).to_owned();
    if text.is_empty() { Err(AppError::Invalid(format!("{} is empty", path.display()))) } else { Ok(text) }
}
