//! Signing in with a password and a second factor. Every guess is counted before it is looked at, and the answer to a
//! wrong one is the same whoever it was at.
//!
//! Guesses are counted by name, but on a device that the member has signed in on before, by device. So a stranger who
//! guesses at a name makes the name wait, on his devices and on new ones, and never keeps its owner out of his own.

use chrono::{DateTime, Duration, Utc};
use redress_store::credentials::{self, CredentialRow};
use redress_store::guesses::{self, GuessRow};
use redress_store::{Connection, StoreError, audit, sessions as rows, staff as members};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::sessions::{self, Started};
use super::staff;
use crate::app::{Actor, App};
use crate::error::{AppError, AppResult};
use crate::identity_provider::Person;
use crate::{passwords, second_factor};

/// How many guesses are free.
pub const FREE_GUESSES: i32 = 5;
/// How long the first guess after those has to wait; each one more waits twice as long.
const FIRST_WAIT: Duration = Duration::seconds(30);
/// The longest that a guess has to wait: nobody is locked out for good.
const LONGEST_WAIT: Duration = Duration::minutes(15);
/// After this guesses are forgotten.
const FORGOTTEN: Duration = Duration::days(1);

/// Somebody who says who he is.
#[derive(Debug)]
pub struct Attempt<'a> {
    /// The name.
    pub name: &'a str,
    /// The password.
    pub password: &'a str,
    /// A code of the second factor, or a recovery code.
    pub code: &'a str,
    /// The mark that an earlier sign-in left on this device.
    pub device: Option<&'a str>,
    /// The session's token that this device had so far; it ends.
    pub replaces: Option<&'a str>,
}

/// Signs somebody in; none when he is not who he says, whatever it is that fails.
pub fn sign_in(app: &App, attempt: &Attempt<'_>) -> AppResult<Option<Started>> {
    let now = Utc::now();
    let name = attempt.name;
    let bucket = bucket_of(app, name, attempt.device);
    count(app, &bucket, now)?;
    let credential = app.store.with(|connection| credentials::find(connection, name))?;
    let known = credential.filter(|credential| credential.setup_hash.is_none()).and_then(|known| known.password);
    if !passwords::verify(&app.secrets, attempt.password, known.as_deref())? {
        return Ok(None);
    }
    app.store.transaction(|connection| {
        let credential = credentials::lock(connection, name)?;
        // It may have been changed since it was read.
        if credential.password != known || !use_code(app, connection, credential, attempt.code, now)? {
            return Ok(None);
        }
        guesses::forget(connection, &bucket)?;
        guesses::forget_before(connection, now - FORGOTTEN)?;
        if let Some(token) = attempt.replaces {
            rows::end_of_token(connection, &sessions::hash_of(token), now)?;
        }
        sessions::start(connection, name, "password", Some(now)).map(Some)
    })
}

/// Signs somebody in on the word of the identity provider: adds him at the first time, and gives him the role of the day.
pub fn with_provider(app: &App, person: &Person, replaces: Option<&str>) -> AppResult<Started> {
    app.store.transaction(|connection| {
        let name = match members::find_by_subject(connection, &person.subject)? {
            None => staff::add_of_provider(connection, person)?,
            Some(member) if member.revoked_at.is_some() => {
                return Err(AppError::Forbidden("this member of staff was revoked".into()));
            }
            Some(member) => {
                staff::follow_role(connection, &member, person.role)?;
                member.name
            }
        };
        if let Some(token) = replaces {
            rows::end_of_token(connection, &sessions::hash_of(token), Utc::now())?;
        }
        sessions::start(connection, &name, "oidc", person.shown_at)
    })
}

/// Shows the second factor of a session again; false when the code is none.
pub fn step_up(app: &App, session: Uuid, code: &str, actor: &Actor) -> AppResult<bool> {
    let now = Utc::now();
    let bucket = digest("session", session.as_bytes());
    count(app, &bucket, now)?;
    app.store.transaction(|connection| {
        let credential = credentials::lock(connection, &actor.name).map_err(|error| match error {
            StoreError::NotFound(_) => {
                AppError::Refused("this session has no code of ours: sign in again at your identity provider".into())
            }
            other => other.into(),
        })?;
        if !use_code(app, connection, credential, code, now)? {
            return Ok(false);
        }
        guesses::forget(connection, &bucket)?;
        rows::verified(connection, session, now)?;
        let entry = actor.entry("session.step_up", format!("session {session}"), serde_json::json!({}));
        audit::append(connection, &[entry])?;
        Ok(true)
    })
}

/// Takes a code of the second factor or a recovery code, once.
pub(super) fn use_code(
    app: &App,
    connection: &mut Connection,
    mut credential: CredentialRow,
    code: &str,
    now: DateTime<Utc>,
) -> AppResult<bool> {
    let Some(sealed) = &credential.totp else { return Ok(false) };
    let secret = app.secrets.open(sealed, &totp_context(&credential.staff))?;
    if let Some(step) = second_factor::step_of(&secret, code.trim(), now, credential.totp_step)? {
        credential.totp_step = step;
    } else {
        let left: Vec<String> = serde_json::from_value(credential.recovery.clone()).map_err(StoreError::corrupt)?;
        let Some(left) = second_factor::without_recovery_code(&left, code) else { return Ok(false) };
        credential.recovery = serde_json::json!(left);
    }
    credentials::save(connection, &credential)?;
    Ok(true)
}

/// What a second factor's secret is sealed for.
pub(super) fn totp_context(name: &str) -> String {
    format!("second factor {name}")
}

/// The mark of a device for a name: whoever comes with it is counted apart.
#[must_use]
pub fn new_device(app: &App, name: &str) -> String {
    let device = hex::encode(rand::random::<[u8; 16]>());
    let mac = app.secrets.device_mac(name, &device);
    format!("{device}.{mac}")
}

fn bucket_of(app: &App, name: &str, mark: Option<&str>) -> Vec<u8> {
    let device = mark.and_then(|mark| mark.split_once('.'));
    match device.filter(|(device, mac)| device.len() == 32 && app.secrets.is_device_mac(name, device, mac)) {
        Some((device, _)) => digest("device", device.as_bytes()),
        None => digest("name", name.as_bytes()),
    }
}

fn digest(kind: &str, what: &[u8]) -> Vec<u8> {
    let mut hash = Sha256::new();
    hash.update(kind);
    hash.update([0]);
    hash.update(what);
    hash.finalize().to_vec()
}

/// Counts a guess, or says how long the next one has to wait.
fn count(app: &App, bucket: &[u8], now: DateTime<Utc>) -> AppResult<()> {
    app.store.transaction(|connection| {
        let row = guesses::lock(connection, bucket, now)?;
        let failures = if row.failed_at < now - FORGOTTEN { 0 } else { row.failures };
        let left = row.failed_at + wait_after(failures) - now;
        if failures >= FREE_GUESSES && left > Duration::zero() {
            tracing::warn!(failures, "guesses at a sign-in have to wait");
            return Err(AppError::Later(u64::try_from(left.num_seconds()).unwrap_or_default() + 1));
        }
        Ok(guesses::save(connection, &GuessRow { failures: failures + 1, failed_at: now, ..row })?)
    })
}

/// How long the next guess waits after so many that failed.
fn wait_after(failures: i32) -> Duration {
    let doublings = u32::try_from(failures - FREE_GUESSES).unwrap_or_default().min(10);
    (FIRST_WAIT * 2_i32.pow(doublings)).min(LONGEST_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_doubles_and_is_bounded() {
        assert_eq!(wait_after(FREE_GUESSES), FIRST_WAIT);
        assert_eq!(wait_after(FREE_GUESSES + 1), FIRST_WAIT * 2);
        assert_eq!(wait_after(i32::MAX), LONGEST_WAIT);
    }
}
