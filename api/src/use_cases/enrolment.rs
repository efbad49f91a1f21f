//! How a member comes by password and second factor: a token that works once, given by whoever adds or resets him; then
//! a password of his own, an authenticator, and its first code. Or, by whoever runs the machine, at the command line.

use chrono::{DateTime, Duration, SubsecRound, Utc};
use redress_store::credentials::{self, CredentialRow};
use redress_store::{Connection, StoreResult, api_keys, audit, sessions as rows, staff as members};
use serde::Serialize;
use utoipa::ToSchema;

use super::sessions::{self, Started};
use super::sign_in::{totp_context, use_code};
use crate::app::{Actor, App};
use crate::error::{AppError, AppResult};
use crate::{passwords, second_factor};

/// How long a token to set oneself up works.
const INVITATION: Duration = Duration::days(3);

/// A token to set oneself up, shown once.
#[derive(Debug, Serialize, ToSchema)]
pub struct Invitation {
    /// For POST /v1/session/setup.
    pub setup_token: String,
    /// Until when.
    pub setup_until: DateTime<Utc>,
}

/// What an authenticator needs, shown once.
#[derive(Debug, Serialize, ToSchema)]
pub struct Enrolment {
    /// The member.
    pub name: String,
    /// For the authenticator, as a link or in a QR code.
    #[schema(example = "otpauth://totp/Redress:ann?secret=…&issuer=Redress")]
    pub otpauth_uri: String,
}

/// Invites a member to set himself up; whatever he had before does not work any more.
pub(super) fn invite(connection: &mut Connection, name: &str, at: DateTime<Utc>) -> StoreResult<Invitation> {
    let setup_token = format!("redress_setup_{}", hex::encode(rand::random::<[u8; 32]>()));
    let setup_until = (at + INVITATION).trunc_subsecs(6);
    credentials::save(
        connection,
        &CredentialRow {
            staff: name.to_owned(),
            setup_hash: Some(sessions::hash_of(&setup_token)),
            setup_until: Some(setup_until),
            password: None,
            totp: None,
            totp_step: 0,
            recovery: serde_json::json!([]),
            changed_at: at,
        },
    )?;
    Ok(Invitation { setup_token, setup_until })
}

/// Invites a member anew: password, second factor, sessions and keys are gone.
pub fn reset(app: &App, name: &str, actor: &Actor) -> AppResult<Invitation> {
    app.store.transaction(|connection| {
        let member = members::find_active(connection, name)?;
        let entry = actor.entry("staff.reset", format!("staff {name}"), serde_json::json!({}));
        let invitation = invite(connection, &member.name, entry.at)?;
        rows::end_all(connection, name, entry.at)?;
        api_keys::revoke_all(connection, name, entry.at)?;
        audit::append(connection, &[entry])?;
        Ok(invitation)
    })
}

/// Takes the password of whoever holds a token, and gives him a second factor to set up; none when the token is none.
pub fn begin(app: &App, token: &str, password: &str) -> AppResult<Option<Enrolment>> {
    let now = Utc::now();
    let hash = sessions::hash_of(token);
    let found = app.store.transaction(|connection| credentials::lock_by_setup(connection, &hash, now))?;
    let Some(found) = found else { return Ok(None) };
    passwords::check(&found.staff, password).map_err(|why| AppError::Field("/password".into(), why))?;
    let password = passwords::hash(&app.secrets, password)?;
    let (totp, enrolment) = new_factor(app, &found.staff)?;
    app.store.transaction(|connection| {
        let Some(row) = credentials::lock_by_setup(connection, &hash, now)? else { return Ok(None) };
        credentials::save(
            connection,
            &CredentialRow { password: Some(password), totp: Some(totp), changed_at: now, ..row },
        )?;
        Ok(Some(enrolment))
    })
}

/// Takes the first code of the authenticator. The token is used up, the recovery codes are shown once, and the member is
/// signed in; none when token or code are none.
pub fn finish(app: &App, token: &str, code: &str) -> AppResult<Option<(Vec<String>, Started)>> {
    let now = Utc::now();
    let hash = sessions::hash_of(token);
    app.store.transaction(|connection| {
        let Some(row) = credentials::lock_by_setup(connection, &hash, now)? else { return Ok(None) };
        let name = row.staff.clone();
        if !use_code(app, connection, row, code, now)? {
            return Ok(None);
        }
        let (codes, kept) = second_factor::new_recovery_codes();
        let row = credentials::lock(connection, &name)?;
        let done = CredentialRow {
            setup_hash: None,
            setup_until: None,
            recovery: serde_json::json!(kept),
            changed_at: now,
            ..row
        };
        credentials::save(connection, &done)?;
        let actor = Actor { name: name.clone(), origin: "http".into() };
        let entry = actor.entry("staff.set_up", format!("staff {name}"), serde_json::json!({}));
        audit::append(connection, &[entry])?;
        Ok(Some((codes, sessions::start(connection, &name, "password", Some(now))?)))
    })
}

/// A password set at the command line, and what belongs to it.
#[derive(Debug, Serialize)]
pub struct PasswordSet {
    /// The second factor, unless the one before was kept.
    #[serde(flatten)]
    pub enrolment: Option<Enrolment>,
    /// The recovery codes that belong to it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub recovery_codes: Vec<String>,
}

/// Sets a member's password and gives him a new second factor, unless his own is kept; all his sessions end.
pub fn set_password(app: &App, name: &str, password: &str, keep_factor: bool, actor: &Actor) -> AppResult<PasswordSet> {
    passwords::check(name, password).map_err(|why| AppError::Invalid(format!("the password {why}")))?;
    let password = Some(passwords::hash(&app.secrets, password)?);
    let (totp, enrolment) = new_factor(app, name)?;
    let (recovery_codes, kept) = second_factor::new_recovery_codes();
    app.store.transaction(|connection| {
        members::find_active(connection, name)?;
        let entry =
            actor.entry("staff.passwd", format!("staff {name}"), serde_json::json!({ "kept_factor": keep_factor }));
        let before = credentials::find(connection, name)?.filter(|row| row.totp.is_some() && row.setup_hash.is_none());
        let (row, done) = match (keep_factor, before) {
            (true, None) => {
                return Err(AppError::Refused(format!("{name} has no second factor to keep: leave out --keep-factor")));
            }
            (true, Some(row)) => (
                CredentialRow { password, changed_at: entry.at, ..row },
                PasswordSet { enrolment: None, recovery_codes: Vec::new() },
            ),
            (false, _) => (
                CredentialRow {
                    staff: name.to_owned(),
                    setup_hash: None,
                    setup_until: None,
                    password,
                    totp: Some(totp),
                    totp_step: 0,
                    recovery: serde_json::json!(kept),
                    changed_at: entry.at,
                },
                PasswordSet { enrolment: Some(enrolment), recovery_codes },
            ),
        };
        credentials::save(connection, &row)?;
        rows::end_all(connection, name, entry.at)?;
        audit::append(connection, &[entry])?;
        Ok(done)
    })
}

/// A new second factor: sealed, and as an authenticator reads it.
fn new_factor(app: &App, name: &str) -> AppResult<(Vec<u8>, Enrolment)> {
    let secret = second_factor::new_secret();
    let sealed = app.secrets.seal(&secret, &totp_context(name))?;
    Ok((sealed, Enrolment { name: name.to_owned(), otpauth_uri: second_factor::uri(&secret, name)? }))
}
