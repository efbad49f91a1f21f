//! The log of all commands and credits: sealed beside the work, read again, and shown to claimants.

use std::path::Path;

use chrono::{DateTime, Utc};
use redress_domain::log::documents::spell;
use redress_domain::log::{KeyChange, Proof, PublicKey, SignedHead};
use redress_domain::merkle::empty_root;
use redress_store::log::seal::{self, Pass, Reach};
use redress_store::log::verify::Trust;
use redress_store::log::{keys, proof};
use redress_store::verify::{self, Check};
use redress_store::{StoreError, audit, claims};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{own_keys, staff};
use crate::app::{Actor, App};
use crate::error::{AppError, AppResult};
use crate::rights::Right;
use crate::secrets::{SIGNING_KEY, Secrets};

/// The file in the data folder that keeps the newest head outside the database.
pub(super) const HEAD_FILE: &str = "log-head.json";

/// Gives what was committed since its place in the log, and keeps the new head outside the database. Where the key was
/// changed by another process, this one goes on with the new key, if it can be had.
pub fn seal(app: &App, reach: Reach) -> AppResult<Pass> {
    let kept = kept_head(app)?;
    let one = || app.store.with(|connection| seal::pass(connection, &app.secrets.signer(), reach, kept.as_ref()));
    let mut pass = one()?;
    if let Some(key) = pass.rotated {
        follow(app, &key)?;
        pass = one()?;
    }
    if pass.refused > 0 {
        tracing::error!(rows = pass.refused, "rows were edited or inserted by hand; redress verify names them");
    }
    if let Some(head) = &pass.head {
        keep_head(app, head)?;
    }
    Ok(pass)
}

/// Goes on with the key that the log names.
fn follow(app: &App, key: &PublicKey) -> AppResult<()> {
    if app.secrets.follow(&app.settings, key)? {
        tracing::info!(%key, "the log's heads are signed by a new key from now on");
        return Ok(());
    }
    Err(AppError::Refused(format!(
        "the log's key was changed to {key}, and this process has the one before it, so it seals nothing: put the new key \
         into {SIGNING_KEY} (or its file) and start it again"
    )))
}

/// Puts a new key in the place of the one that signs the log's heads, by a statement in the log that both have signed.
/// Heads and proofs of before go on holding.
pub fn rotate_key(app: &App, new_key_file: Option<&Path>, actor: &Actor) -> AppResult<KeyChange> {
    app.store.with(|connection| staff::require_everywhere(connection, &actor.name, Right::RotateKeys))?;
    // Whatever was begun before is finished first.
    seal(app, Reach::Recent)?;
    let (old, new) = (app.secrets.signer(), Secrets::next_signer(&app.settings, new_key_file)?);
    let change = KeyChange::sign(&old, &new, spell(Utc::now()));
    let detail = serde_json::to_value(&change).map_err(StoreError::corrupt)?;
    let entry = actor.entry(keys::ACTION, keys::OBJECT.to_owned(), detail);
    let entry = entry.before(&change.old).after(&change.new);
    let kept = kept_head(app)?;
    let pass = app.store.with(|connection| seal::rotate(connection, &old, &change, entry, kept.as_ref()));
    let pass = pass.map_err(|error| match error.constraint() {
        Some("log_key_used_once") => AppError::Refused("that key has signed this log before: make a new one".into()),
        _ => error.into(),
    })?;
    if let Some(head) = &pass.head {
        keep_head(app, head)?;
    }
    if let Some(other) = pass.rotated {
        return Err(AppError::Conflict(format!("the log's key was changed to {other} at the same moment")));
    }
    // Where the key comes from a variable, whoever sets it lets the servers follow.
    app.secrets.follow(&app.settings, &change.new)?;
    Ok(change)
}

/// Every change of the log's key, for whoever holds a proof or a head of before.
pub fn key_changes(app: &App) -> AppResult<Vec<KeyChange>> {
    Ok(app.store.with(keys::changes)?)
}

/// The head that this machine kept; none before the first, or where the data folder does not last.
fn kept_head(app: &App) -> AppResult<Option<SignedHead>> {
    let path = app.settings.data_dir.join(HEAD_FILE);
    if path.exists() { read_head(&path).map(Some) } else { Ok(None) }
}

/// Keeps a head: all of the new file or all of the old one is there, whatever happens.
fn keep_head(app: &App, head: &SignedHead) -> AppResult<()> {
    let folder = &app.settings.data_dir;
    let path = folder.join(HEAD_FILE);
    let writing = || format!("writing {}", path.display());
    std::fs::create_dir_all(folder).map_err(AppError::io(writing()))?;
    let text = serde_json::to_vec_pretty(head).map_err(|error| AppError::io(writing())(error.into()))?;
    let fresh = folder.join(format!("{HEAD_FILE}.{}", Uuid::new_v4().simple()));
    std::fs::write(&fresh, text).and_then(|()| std::fs::rename(&fresh, &path)).map_err(AppError::io(writing()))
}

/// Seals what a command left; the command itself is done, so a failure is only logged.
pub fn seal_after(app: &App) {
    if let Err(error) = seal(app, Reach::Recent) {
        tracing::error!(%error, "the log was not sealed; redress verify says why");
    }
}

/// The newest signed head, over everything that was committed.
pub fn head(app: &App) -> AppResult<SignedHead> {
    seal(app, Reach::All)?;
    let newest = app.store.with(seal::newest_head)?;
    Ok(newest.unwrap_or_else(|| app.secrets.signer().sign(0, empty_root(), spell(chrono::Utc::now()))))
}

/// Reads everything again: the books, the log over them, and a head that was kept elsewhere.
pub fn verify(app: &App, exported: Option<SignedHead>) -> AppResult<Vec<Check>> {
    // Whatever keeps the log from being sealed is what the checks are about to name.
    if let Err(error) = seal(app, Reach::All) {
        tracing::error!(%error, "the log cannot be sealed");
    }
    let kept = kept_head(app)?.map(|head| ("the log continues the head in the data folder", head));
    let exported = exported.map(|head| ("the log continues the exported head", head));
    let trust =
        Trust { public_key: app.secrets.signer().public_key(), kept: [kept, exported].into_iter().flatten().collect() };
    let mut checks = app.store.with(|connection| verify::run(connection, &trust))?;
    checks.push(super::evidence::verify(app)?);
    checks.push(app.store.with(|connection| own_keys::check(connection, &app.secrets))?);
    Ok(checks)
}

/// What shows a claimant that the claim stands in the log; none when there is no such claim.
pub fn proof_of(app: &App, claim: Uuid) -> AppResult<Option<Proof>> {
    let Some(view) = app.store.with(|connection| claims::find(connection, claim))? else { return Ok(None) };
    seal(app, Reach::Recent)?;
    let shown = app.store.with(|connection| -> AppResult<_> {
        let Some(head) = seal::newest_head(connection)? else { return Ok(None) };
        Ok(Some(proof::of_claim(connection, &view.claim.customer_id, claim, head)?))
    })?;
    match shown {
        Some(proof) if !proof.entries.is_empty() => Ok(Some(proof)),
        _ => Err(StoreError::corrupt(format!("claim {claim} has no audit entry in the log")).into()),
    }
}

/// Reads a head that was exported before.
pub fn read_head(path: &Path) -> AppResult<SignedHead> {
    read_json(path, "an exported head of the log")
}

/// Checks a claimant's proof, without the installation; `keys` is a file of the changes of the operator's key.
pub fn check_proof(path: &Path, key: Option<&PublicKey>, keys: Option<&Path>) -> AppResult<Proof> {
    let proof: Proof = read_json(path, "a proof")?;
    let changes: Vec<KeyChange> =
        keys.map_or(Ok(Vec::new()), |file| read_json(file, "what redress audit keys wrote"))?;
    proof.check(key, &changes).map_err(|error| AppError::Refused(format!("the proof does NOT hold: {error}")))?;
    Ok(proof)
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path, what: &str) -> AppResult<T> {
    let text = std::fs::read(path).map_err(AppError::io(format!("reading {}", path.display())))?;
    serde_json::from_slice(&text)
        .map_err(|error| AppError::Refused(format!("{} is not {what}: {error}", path.display())))
}

/// How many entries a page has.
const PAGE: i64 = 100;

/// A page of the audit log, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct EntryPage {
    /// The entries.
    pub entries: Vec<EntryView>,
    /// What `before` takes for the next page; none on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<i64>,
}

/// An entry of the audit log.
#[derive(Debug, Serialize, ToSchema)]
pub struct EntryView {
    /// Its number.
    pub id: i64,
    /// When.
    pub at: DateTime<Utc>,
    /// Who.
    pub actor: String,
    /// From where.
    pub origin: String,
    /// What.
    pub action: String,
    /// On what.
    pub object: String,
    /// The rest of it.
    #[schema(value_type = Object)]
    pub detail: serde_json::Value,
}

/// Entries before one, of one object where it is named.
pub fn page(app: &App, before: Option<i64>, object: Option<&str>) -> AppResult<EntryPage> {
    let rows = app.store.with(|connection| audit::page(connection, before, object, PAGE))?;
    let full = i64::try_from(rows.len()).is_ok_and(|found| found == PAGE);
    let next = rows.last().filter(|_| full).map(|row| row.id);
    let entries = rows.into_iter().map(|row| EntryView {
        id: row.id,
        at: row.at,
        actor: row.actor,
        origin: row.origin,
        action: row.action,
        object: row.object,
        detail: row.detail,
    });
    Ok(EntryPage { entries: entries.collect(), next })
}
