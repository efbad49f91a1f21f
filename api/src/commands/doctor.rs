//! `redress doctor`: what is wrong with this installation, and the remedy.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::ExitCode;

use redress_store::{Connection, embedded, health, migrations, runs, webhooks};

use super::print::{document, finding};
use crate::app::Database;
use crate::blobs::Blobs;
use crate::clamd;
use crate::cli::{Format, Global};
use crate::error::AppResult;
use crate::mail::Mailer;
use crate::secrets::{KeyFault, Secrets};
use crate::settings::Settings;
use crate::use_cases::own_keys;

/// The oldest PostgreSQL that is supported.
const MINIMUM_POSTGRES: u32 = 15;

/// One thing that was looked at.
#[derive(Debug, serde::Serialize)]
pub struct Finding {
    /// What.
    pub subject: &'static str,
    /// Whether it is as it should be.
    pub ok: bool,
    /// What was seen.
    pub seen: String,
    /// What mends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Finding {
    fn good(subject: &'static str, seen: impl Into<String>) -> Self {
        Self { subject, ok: true, seen: seen.into(), remedy: None }
    }

    fn bad(subject: &'static str, seen: impl std::fmt::Display, remedy: impl Into<String>) -> Self {
        Self { subject, ok: false, seen: seen.to_string(), remedy: Some(remedy.into()) }
    }
}

/// Looks at everything, even when something is broken, and exits 1 if anything is.
pub fn run(global: &Global) -> AppResult<ExitCode> {
    let mut findings = Vec::new();
    match Settings::load(global, None) {
        Err(error) => findings.push(Finding::bad("configuration", error, "mend the file, flag or variable it names")),
        Ok(settings) => examine(&settings, &mut findings),
    }
    let healthy = findings.iter().all(|finding| finding.ok);
    match global.format {
        Format::Json => document(&serde_json::json!({ "healthy": healthy, "findings": findings })),
        Format::Text => findings.iter().for_each(finding),
    }
    Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn examine(settings: &Settings, findings: &mut Vec<Finding>) {
    findings.push(Finding::good("configuration", if settings.production { "production" } else { "not production" }));
    let missing = (!settings.data_dir.exists()).then(|| format!("{} does not exist", settings.data_dir.display()));
    if let Some(why) = settings.lacks_installation().or(missing) {
        let remedy = "name the right folder with --data-dir, or begin one: redress serve, or redress demo";
        findings.push(Finding::bad("data folder", why, remedy));
        return;
    }
    findings.push(data_folder(&settings.data_dir));
    let keys = Secrets::load(settings, false);
    if let Some(finding) = secrets(&keys) {
        findings.push(finding);
    }
    findings.push(match Mailer::new(settings) {
        Ok(mailer) => Finding::good("mail", format!("goes to {}", mailer.describe())),
        Err(error) => Finding::bad("mail", error, "set REDRESS_SMTP_URL, such as smtps://user:password@host"),
    });
    findings.push(match Blobs::open(settings) {
        Ok(_) => {
            Finding::good("evidence", settings.evidence_url.as_deref().unwrap_or("lies sealed in the data folder"))
        }
        Err(error) => {
            Finding::bad("evidence", error, "mend REDRESS_EVIDENCE_URL, or give this user the right to write")
        }
    });
    if let Some(address) = &settings.clamd {
        findings.push(match clamd::scan(address, b"") {
            Ok(_) => Finding::good("virus scanner", address.clone()),
            Err(error) => {
                Finding::bad("virus scanner", error, "start clamd, or mend REDRESS_CLAMD: uploads are refused")
            }
        });
    }
    if settings.database_url.is_none() {
        findings.push(match embedded::find_binaries() {
            Ok(folder) => Finding::good("PostgreSQL", format!("binaries in {}", folder.display())),
            Err(error) => {
                findings.push(Finding::bad("PostgreSQL", error, "install it, or use --database-url"));
                return;
            }
        });
    }
    match Database::open(settings).and_then(|database| database.owner().map(|owner| (database, owner))) {
        Err(error) => {
            findings.push(Finding::bad("database", error, "start it, or mend --database-url"));
            if let Err(fault @ KeyFault::Missing(..)) = &keys {
                findings.push(Finding::bad("secrets", fault, fault.remedy()));
            }
        }
        Ok((database, mut owner)) => {
            if let Some(server) = database.embedded() {
                findings.push(Finding::good("private server", format!("log in {}", server.log_file().display())));
            }
            let examined =
                examine_keys(&mut owner, &keys, findings).and_then(|()| examine_database(&mut owner, findings));
            if let Err(error) = examined {
                findings.push(Finding::bad("database", error, "see the database's own log"));
            }
        }
    }
}

/// What the keys are by themselves; whether a missing one may be missing the database knows.
fn secrets(keys: &Result<Secrets, KeyFault>) -> Option<Finding> {
    match keys {
        Ok(_) => {
            Some(Finding::good("secrets", "the master and signing keys are there and only their owner reads them"))
        }
        Err(KeyFault::Missing(..)) => None,
        Err(fault) => Some(Finding::bad("secrets", fault, fault.remedy())),
    }
}

/// The keys, held against what lies in the database.
fn examine_keys(
    owner: &mut Connection,
    keys: &Result<Secrets, KeyFault>,
    findings: &mut Vec<Finding>,
) -> AppResult<()> {
    match keys {
        Err(fault @ KeyFault::Missing(..)) if health::is_used(owner)? => {
            findings.push(Finding::bad("secrets", fault, fault.remedy()));
        }
        Err(KeyFault::Missing(..)) => findings.push(Finding::good("secrets", "the first command makes them")),
        Ok(secrets) if health::is_used(owner)? && migrations::pending(owner)?.is_empty() => {
            let foreign = own_keys::foreign(owner, secrets)?;
            findings.extend(foreign.into_iter().map(|key| Finding::bad("keys", key.seen, key.remedy)));
        }
        _ => {}
    }
    Ok(())
}

fn data_folder(folder: &Path) -> Finding {
    let probe = folder.join(".doctor");
    let written = std::fs::write(&probe, b"").and_then(|()| std::fs::remove_file(&probe));
    match (written, std::fs::metadata(folder)) {
        (Err(error), _) | (_, Err(error)) => {
            Finding::bad("data folder", format!("{}: {error}", folder.display()), "give this user the right to write")
        }
        (Ok(()), Ok(metadata)) if metadata.permissions().mode() & 0o022 != 0 => Finding::bad(
            "data folder",
            format!("{} can be written by others", folder.display()),
            format!("chmod go-w {}", folder.display()),
        ),
        _ => Finding::good("data folder", folder.display().to_string()),
    }
}

fn examine_database(owner: &mut Connection, findings: &mut Vec<Finding>) -> AppResult<()> {
    let version = health::server_version(owner)?;
    let major = version.split(['.', ' ']).next().and_then(|major| major.parse::<u32>().ok()).unwrap_or(0);
    findings.push(if major >= MINIMUM_POSTGRES {
        Finding::good("database", format!("PostgreSQL {version}"))
    } else {
        Finding::bad("database", format!("PostgreSQL {version}"), format!("use {MINIMUM_POSTGRES} or later"))
    });
    findings.push(if health::is_durable(owner)? {
        Finding::good("durability", "a commit is on disk when it is acknowledged")
    } else {
        let remedy = "set fsync = on and synchronous_commit = on: what is acknowledged can be lost";
        Finding::bad("durability", "fsync or synchronous_commit is off", remedy)
    });
    let pending = migrations::pending(owner)?;
    if !pending.is_empty() {
        findings.push(Finding::bad("migrations", format!("{} are pending", pending.len()), "redress migrate"));
        return Ok(());
    }
    findings.push(Finding::good("migrations", "up to date"));
    let outbox = health::outbox(owner)?;
    findings.push(if outbox.dead == 0 {
        Finding::good("notices", format!("{} wait", outbox.queued))
    } else {
        Finding::bad("notices", format!("{} could not be sent", outbox.dead), "read last_error of the dead notices")
    });
    examine_deliveries(owner, findings)?;
    for (incident, state, started) in runs::open_runs(owner)? {
        let remedy = match state.as_str() {
            "planned" => "redress run list, then a second person: redress run approve RUN --plan HASH --as NAME".into(),
            "paused" => "redress run list, then redress run resume RUN --as NAME, or cancel".into(),
            _ => format!("redress issue --incident {incident} goes on where it stopped"),
        };
        let seen = format!("the run of {incident} begun {started} is {state} and not done");
        findings.push(Finding::bad("run", seen, remedy));
    }
    Ok(())
}

fn examine_deliveries(owner: &mut Connection, findings: &mut Vec<Finding>) -> AppResult<()> {
    let standing = health::deliveries(owner)?;
    findings.push(match (standing.dead, standing.refused) {
        (0, 0) => Finding::good("deliveries", format!("{} wait, {} await", standing.queued, standing.awaiting)),
        (dead, refused) => Finding::bad(
            "deliveries",
            format!("{dead} did not go, {refused} were refused in part"),
            "redress deliver --list says why; mend it, then redress deliver --retry --as NAME",
        ),
    });
    let (queued, dead) = health::webhook_messages(owner)?;
    findings.push(if dead == 0 {
        Finding::good("webhooks", format!("{queued} messages wait"))
    } else {
        let remedy = "redress webhook list says why; mend it, then redress webhook redeliver WEBHOOK --as NAME";
        Finding::bad("webhooks", format!("{dead} messages did not go"), remedy)
    });
    for (webhook, service) in webhooks::list(owner, false)? {
        if let (Some(since), Some(why)) = (webhook.failing_since, &webhook.last_error) {
            let whose = service.unwrap_or_else(|| format!("webhook {}", webhook.id));
            let seen = format!("calls to {whose} fail since {since}: {why}");
            findings.push(Finding::bad("webhook", seen, "mend the service, or redress webhook remove and add another"));
        }
    }
    Ok(())
}
