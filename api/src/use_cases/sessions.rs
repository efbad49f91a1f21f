//! Sessions and keys of staff: random tokens, kept as hashes, that lead to a member and what he may do.

use chrono::{DateTime, Duration, Utc};
use redress_store::api_keys::{self, ApiKeyRow};
use redress_store::sessions::{self, SessionRow};
use redress_store::staff::StaffMember;
use redress_store::{Connection, StoreError, StoreResult, audit};
use sha2::{Digest, Sha256};
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
const KEY_PREFIX: &str = "redress_key_";

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

/// Ends a session of the actor's own.
pub fn end(app: &App, id: Uuid, actor: &Actor) -> AppResult<()> {
    app.store.transaction(|connection| {
        let entry = actor.entry("session.end", format!("session {id}"), serde_json::json!({}));
        sessions::end(connection, id, Some(&actor.name), entry.at)?;
        Ok(audit::append(connection, &[entry])?)
    })
}
