//! Configuration: flags, then environment, then `<data-dir>/redress.toml`. Secrets also come from files.

mod provider;
mod rates;

use std::path::{Path, PathBuf};
use std::time::Duration;

use redress_store::embedded;
use serde::Deserialize;

use crate::cli::{Format, Global};
use crate::error::{AppError, AppResult};
use crate::https::Trust;

pub use self::provider::ProviderSettings;
pub use self::rates::{Proxies, RateLimits};

/// The file in the data folder that flags and environment override.
pub const FILE_NAME: &str = "redress.toml";
/// Where the server listens unless told otherwise.
const DEFAULT_LISTEN: &str = "127.0.0.1:8080";
const DEFAULT_POOL_SIZE: u32 = 16;
/// How many reports wait to be filed before more are asked to come back: a third of a second's work of a small machine.
const DEFAULT_INTAKE_QUEUE: usize = 1_000;
/// Each may be as large as a body may be.
const MAX_INTAKE_QUEUE: usize = 100_000;
/// How long the mail server may take for one step.
const DEFAULT_SMTP_SECONDS: u64 = 30;
/// How long whoever is told over HTTP may take to answer.
const DEFAULT_WEBHOOK_SECONDS: u64 = 30;
/// How long an upload may take: ten megabytes over a slow telephone.
const DEFAULT_UPLOAD_SECONDS: u64 = 120;

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
    /// The most reports that wait to be filed.
    pub intake_queue: usize,
    /// Where mail goes; into a folder of `.eml` files when none.
    pub smtp_url: Option<String>,
    /// How long the mail server may take for one step.
    pub smtp_timeout: Duration,
    /// Who mail is from.
    pub mail_from: String,
    /// Where claimants' files go: a folder in the data folder when none.
    pub evidence_url: Option<String>,
    /// The virus scanner, as `tcp://host:port` or `unix:/path`; nothing is scanned when none.
    pub clamd: Option<String>,
    /// How long an upload may take.
    pub upload_timeout: Duration,
    /// How long a service or a webhook may take to answer.
    pub webhook_timeout: Duration,
    /// How the operator's sign-in says who a customer is; nobody's word is taken when none.
    pub customer_tokens: Option<CustomerTokenSettings>,
    /// Whether claims are taken for any customer from whoever sends them.
    pub open_filing: bool,
    /// How much one client may ask.
    pub rates: RateLimits,
    /// The identity provider of the staff, if there is one.
    pub provider: Option<ProviderSettings>,
    /// Who may vouch for the certificates of servers that are called.
    pub trust: Trust,
}

/// How the operator's tokens of customers are checked.
#[derive(Debug, Clone)]
pub struct CustomerTokenSettings {
    /// The set of keys (JWKS): a file or a URL.
    pub keys: String,
    /// Whom tokens must be meant for.
    pub audience: String,
    /// Who must have issued them, if it is said.
    pub issuer: Option<String>,
    /// Who may vouch for the certificate of the keys' server.
    pub trust: Trust,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct SettingsFile {
    database_url: Option<String>,
    production: Option<bool>,
    listen: Option<String>,
    pool_size: Option<u32>,
    intake_queue: Option<usize>,
    smtp_url: Option<String>,
    smtp_seconds: Option<u64>,
    mail_from: Option<String>,
    evidence_url: Option<String>,
    clamd: Option<String>,
    upload_seconds: Option<u64>,
    webhook_seconds: Option<u64>,
    ca_file: Option<PathBuf>,
    customer_keys: Option<String>,
    customer_audience: Option<String>,
    customer_issuer: Option<String>,
    open_filing: Option<bool>,
    #[serde(default)]
    limits: rates::RatesFile,
    #[serde(default)]
    oidc: provider::ProviderFile,
}

impl Settings {
    /// Puts the settings together; `listen` is the command's own flag.
    pub fn load(global: &Global, listen: Option<String>) -> AppResult<Self> {
        let file = read_file(&global.data_dir.join(FILE_NAME))?;
        let trust = match variable("REDRESS_CA_FILE")?.map(PathBuf::from).or(file.ca_file.clone()) {
            Some(path) => Trust::read(&path)?,
            None => Trust::default(),
        };
        let customer_tokens = customer_tokens(&file, &trust)?;
        let database_url = match (&global.database_url, &global.database_url_file) {
            (Some(url), _) => Some(url.clone()),
            (None, Some(path)) => Some(read_secret(path)?),
            (None, None) => file.database_url,
        };
        if database_url.as_ref().is_some_and(|url| url.trim().is_empty()) {
            // Most likely a variable that was not set: libpq would take it for the machine's own server.
            return Err(AppError::Usage("--database-url is empty; leave it out for the private database".into()));
        }
        let pool_size = number("REDRESS_POOL_SIZE")?.or(file.pool_size).unwrap_or(DEFAULT_POOL_SIZE);
        if !(4..=500).contains(&pool_size) {
            return Err(AppError::Invalid(format!("pool_size must be from 4 to 500, not {pool_size}")));
        }
        let intake_queue = number("REDRESS_INTAKE_QUEUE")?.or(file.intake_queue).unwrap_or(DEFAULT_INTAKE_QUEUE);
        if !(1..=MAX_INTAKE_QUEUE).contains(&intake_queue) {
            return Err(AppError::Invalid(format!(
                "intake_queue must be from 1 to {MAX_INTAKE_QUEUE}, not {intake_queue}"
            )));
        }
        let smtp_url = match secret_variable("REDRESS_SMTP_URL")? {
            Some(url) => Some(url),
            None => file.smtp_url,
        };
        let open_filing =
            variable("REDRESS_OPEN_FILING")?.map(|text| truth("REDRESS_OPEN_FILING", &text)).transpose()?;
        let production = global.production || file.production.unwrap_or(false);
        Ok(Self {
            rates: RateLimits::load(&file.limits, production)?,
            provider: ProviderSettings::load(&file.oidc, production, &trust)?,
            open_filing: open_filing.or(file.open_filing).unwrap_or(customer_tokens.is_none()),
            customer_tokens,
            trust,
            data_dir: global.data_dir.clone(),
            database_url,
            format: global.format,
            production,
            listen: listen.or(file.listen).unwrap_or_else(|| DEFAULT_LISTEN.to_owned()),
            pool_size,
            intake_queue,
            smtp_url,
            smtp_timeout: Duration::from_secs(
                number("REDRESS_SMTP_SECONDS")?.or(file.smtp_seconds).unwrap_or(DEFAULT_SMTP_SECONDS),
            ),
            mail_from: variable("REDRESS_MAIL_FROM")?
                .or(file.mail_from)
                .unwrap_or_else(|| "Redress <redress@localhost>".to_owned()),
            evidence_url: variable("REDRESS_EVIDENCE_URL")?.or(file.evidence_url),
            clamd: variable("REDRESS_CLAMD")?.or(file.clamd),
            upload_timeout: Duration::from_secs(
                number("REDRESS_UPLOAD_SECONDS")?.or(file.upload_seconds).unwrap_or(DEFAULT_UPLOAD_SECONDS),
            ),
            webhook_timeout: crate::outgoing::timeout(
                number("REDRESS_WEBHOOK_SECONDS")?.or(file.webhook_seconds).unwrap_or(DEFAULT_WEBHOOK_SECONDS),
            )?,
        })
    }
}

impl Settings {
    /// Why there is no installation here, if there is none. Where the operator's own database is used, the data folder
    /// need not last.
    #[must_use]
    pub fn lacks_installation(&self) -> Option<String> {
        let folder = self.data_dir.display();
        match &self.database_url {
            None if !self.data_dir.exists() => Some(format!("{folder} does not exist")),
            None if !embedded::exists(&self.data_dir) => Some(format!("{folder} holds no installation")),
            _ => None,
        }
    }
}

fn customer_tokens(file: &SettingsFile, trust: &Trust) -> AppResult<Option<CustomerTokenSettings>> {
    let Some(keys) = variable("REDRESS_CUSTOMER_KEYS")?.or(file.customer_keys.clone()) else { return Ok(None) };
    if keys.starts_with("http://") {
        return Err(AppError::Usage("REDRESS_CUSTOMER_KEYS: keys are fetched over https:// only".into()));
    }
    let audience = variable("REDRESS_CUSTOMER_AUDIENCE")?.or(file.customer_audience.clone());
    let audience = audience.ok_or_else(|| {
        AppError::Usage("REDRESS_CUSTOMER_KEYS needs REDRESS_CUSTOMER_AUDIENCE: whom the tokens are meant for".into())
    })?;
    let issuer = variable("REDRESS_CUSTOMER_ISSUER")?.or(file.customer_issuer.clone());
    Ok(Some(CustomerTokenSettings { keys, audience, issuer, trust: trust.clone() }))
}

fn truth(name: &str, text: &str) -> AppResult<bool> {
    text.parse().map_err(|_| AppError::Usage(format!("{name} must be true or false, not {text:?}")))
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

fn number<T: std::str::FromStr>(name: &str) -> AppResult<Option<T>> {
    let parse = |text: String| {
        text.parse().map_err(|_| AppError::Usage(format!("{name} must be a whole number, not {text:?}")))
    };
    variable(name)?.map(parse).transpose()
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
