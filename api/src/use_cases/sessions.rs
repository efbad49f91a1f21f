//! Sessions and keys of staff: random tokens, kept as hashes, that lead to a member and what he may do.

use chrono::{DateTime, Duration, Utc};
use redress_store::api_keys::{self, ApiKeyRow};
use redress_store::sessions::{self, SessionRow};
use redress_store::staff::StaffMember;
use redress_store::{Connection, StoreError, StoreResult, audit};
use serde::Serialize;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::app::{Actor, App};
use crate::error::AppResult;
use crate::rights::{Member, Right};

/// A session that nobody uses ends after this.
pub const IDLE: Duration = Duration::minutes(30);
/// A session ends after this, however busy.
pub const LONGEST: Duration = Duration::hours(12);
/// How long a second factor that was shown counts as fresh.
pub const FRESH: Duration = Duration::minutes(15);
/// How often the time of the last use is written.
const NOTED_EVERY: Duration = Duration::minutes(1);
const SESSION_PREFIX: &str = "redress_session_";
pub(super) const KEY_PREFIX: &str = "redress_key_";

/// A member who showed who he is.
#[derive(Debug, Clone)]
pub struct SignedIn {
    /// The member.
    pub member: Member,
    /// How he showed it.
    pub means: Means,
}

/// How a member showed who he is.
#[derive(Debug, Clone)]
pub enum Means {
    /// He signed in.
    Session {
        /// The session.
        id: Uuid,
        /// Whether the second factor was shown a short time ago.
        verified: bool,
        /// When it ends at the latest.
        ends_at: DateTime<Utc>,
    },
    /// A program has a key of his.
    Key {
        /// The key.
        id: Uuid,
        /// What the key may.
        scopes: Vec<Right>,
    },
}

/// Whether a text has the form of a session's or key's token; a claimant's has not.
#[must_use]
pub fn is_token(text: &str) -> bool {
    text.starts_with(SESSION_PREFIX) || text.starts_with(KEY_PREFIX)
}

/// The member that a token leads to; none when it leads nowhere any more.
pub fn who(app: &App, token: &str) -> AppResult<Option<SignedIn>> {
    let now = Utc::now();
    let hash = hash_of(token);
    app.store.with(|connection| {
        let found = if token.starts_with(KEY_PREFIX) {
            of_key(connection, &hash, now)?
        } else {
            of_session(connection, &hash, now)?
        };
        let signed_in = found.map(|(member, means)| Ok(SignedIn { member: Member::try_from(member)?, means }));
        signed_in.transpose()
    })
}

/// What a session came to be with.
#[derive(Debug)]
pub struct Started {
    /// Its token, which is shown this once.
    pub token: String,
    /// Whose it is.
    pub name: String,
}

/// Starts a session of a member who has shown who he is, and his second factor at a time, if it is known.
pub(super) fn start(
    connection: &mut Connection,
    name: &str,
    method: &str,
    shown_at: Option<DateTime<Utc>>,
) -> AppResult<Started> {
    let token = format!("{SESSION_PREFIX}{}", hex::encode(rand::random::<[u8; 32]>()));
    let id = Uuid::now_v7();
    let actor = Actor { name: name.to_owned(), origin: "http".into() };
    let entry = actor.entry("session.start", format!("session {id}"), serde_json::json!({ "method": method }));
    let row = SessionRow {
        id,
        token_hash: hash_of(&token),
        staff: name.to_owned(),
        method: method.to_owned(),
        started_at: entry.at,
        seen_at: entry.at,
        // A time that is unknown is too long ago; one to come is a clock that goes wrong.
        verified_at: shown_at.unwrap_or(entry.at - FRESH).min(entry.at),
        ends_at: entry.at + LONGEST,
        ended_at: None,
    };
    sessions::start(connection, &row)?;
    audit::append(connection, &[entry])?;
    Ok(Started { token, name: name.to_owned() })
}

/// What is kept of a token: it is random, so a plain hash tells nothing.
pub(super) fn hash_of(token: &str) -> Vec<u8> {
    Sha256::digest(token).to_vec()
}

type Found = Option<(StaffMember, Means)>;

fn of_session(connection: &mut Connection, hash: &[u8], now: DateTime<Utc>) -> StoreResult<Found> {
    let Some((row, member)) = sessions::find(connection, hash, now, now - IDLE)? else { return Ok(None) };
    if row.seen_at < now - NOTED_EVERY {
        sessions::seen(connection, row.id, now)?;
    }
    let SessionRow { id, verified_at, ends_at, .. } = row;
    Ok(Some((member, Means::Session { id, verified: verified_at > now - FRESH, ends_at })))
}

fn of_key(connection: &mut Connection, hash: &[u8], now: DateTime<Utc>) -> StoreResult<Found> {
    let Some((row, member)) = api_keys::find(connection, hash, now)? else { return Ok(None) };
    if row.used_at.is_none_or(|used| used < now - NOTED_EVERY) {
        api_keys::used(connection, row.id, now)?;
    }
    let ApiKeyRow { id, scopes, .. } = row;
    let scopes = serde_json::from_value(scopes).map_err(StoreError::corrupt)?;
    Ok(Some((member, Means::Key { id, scopes })))
}

/// Ends a session; of this member, if one is named.
pub fn end(app: &App, id: Uuid, of: Option<&str>, actor: &Actor) -> AppResult<()> {
    app.store.transaction(|connection| {
        let entry = actor.entry("session.end", format!("session {id}"), serde_json::json!({}));
        sessions::end(connection, id, of, entry.at)?;
        Ok(audit::append(connection, &[entry])?)
    })
}

/// A session that goes on.
#[derive(Debug, Serialize, ToSchema)]
pub struct SessionView {
    /// Its id, which is no secret.
    pub id: Uuid,
    /// Whose it is.
    pub staff: String,
    /// How he signed in.
    #[schema(example = "password")]
    pub method: String,
    /// Since when.
    pub started_at: DateTime<Utc>,
    /// When it was last used, to the minute.
    pub seen_at: DateTime<Utc>,
    /// When it ends at the latest.
    pub ends_at: DateTime<Utc>,
}

/// The sessions that go on, the newest first; of one member or of everybody.
pub fn list(app: &App, of: Option<&str>, limit: i64) -> AppResult<Vec<SessionView>> {
    let now = Utc::now();
    let rows = app.store.with(|connection| sessions::list(connection, of, now, now - IDLE, limit))?;
    let view = |row: SessionRow| {
        let SessionRow { id, staff, method, started_at, seen_at, ends_at, .. } = row;
        SessionView { id, staff, method, started_at, seen_at, ends_at }
    };
    Ok(rows.into_iter().map(view).collect())
}
