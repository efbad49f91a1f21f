//! Keys of machine clients: each acts as a member with some of his rights, none that takes a second factor, for a time.

use chrono::{DateTime, Duration, Utc};
use redress_store::api_keys::{self, ApiKeyRow};
use redress_store::{Connection, StoreError, audit, staff};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::sessions::{KEY_PREFIX, hash_of};
use crate::app::{Actor, App};
use crate::error::{AppError, AppResult};
use crate::rights::{Member, Right};

/// The most keys of one member.
pub const MAX_KEYS: usize = 20;
/// The most days that a key works before it has to be rotated.
pub const MAX_DAYS: i16 = 365;
/// How long the token before works on after a rotation.
const OVERLAP: Duration = Duration::days(1);

/// A key that is to be.
#[derive(Debug)]
pub struct NewKey {
    /// As whom it acts.
    pub staff: String,
    /// What it is for.
    pub label: String,
    /// What it may do.
    pub scopes: Vec<Right>,
    /// How many days it works.
    pub days: i16,
}

/// A key, without its token.
#[derive(Debug, Serialize, ToSchema)]
pub struct KeyView {
    /// Its id, which is no secret.
    pub id: Uuid,
    /// As whom it acts.
    pub staff: String,
    /// What it is for.
    pub label: String,
    /// What it may do.
    pub scopes: Vec<Right>,
    /// Since when.
    pub created_at: DateTime<Utc>,
    /// Until when.
    pub expires_at: DateTime<Utc>,
    /// When it was last used, to the minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used_at: Option<DateTime<Utc>>,
    /// Until when the token before the last rotation works.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous_until: Option<DateTime<Utc>>,
}

impl TryFrom<ApiKeyRow> for KeyView {
    type Error = StoreError;

    fn try_from(row: ApiKeyRow) -> Result<Self, StoreError> {
        let ApiKeyRow { id, staff, label, scopes, created_at, expires_at, used_at, previous_until, .. } = row;
        let scopes = serde_json::from_value(scopes).map_err(StoreError::corrupt)?;
        Ok(Self { id, staff, label, scopes, created_at, expires_at, used_at, previous_until })
    }
}

/// A key with its token, which is shown this once.
#[derive(Debug, Serialize, ToSchema)]
pub struct KeyWithToken {
    /// For `Authorization: Bearer`.
    pub token: String,
    /// The key.
    #[serde(flatten)]
    pub key: KeyView,
}

/// Makes a key.
pub fn create(connection: &mut Connection, new: NewKey, actor: &Actor) -> AppResult<KeyWithToken> {
    let token = new_token();
    let member = Member::try_from(staff::find_active(connection, &new.staff)?)?;
    if let Some((index, right)) = new.scopes.iter().enumerate().find(|(_, right)| !may_have(&member, **right)) {
        let why = if right.needs_step_up() {
            "takes a second factor, which a program has not"
        } else {
            "is not a right of the member's"
        };
        return Err(AppError::Field(format!("/scopes/{index}"), format!("{} {why}", right.as_str())));
    }
    if api_keys::list(connection, Some(&new.staff), i64::MAX)?.len() >= MAX_KEYS {
        return Err(AppError::Conflict(format!("{} has {MAX_KEYS} keys: revoke one first", new.staff)));
    }
    let id = Uuid::now_v7();
    let detail = serde_json::json!({ "staff": new.staff, "scopes": new.scopes, "days": new.days });
    let entry = actor.entry("api_key.create", format!("api key {id}"), detail);
    let row = ApiKeyRow {
        id,
        staff: new.staff,
        label: new.label,
        scopes: serde_json::json!(new.scopes),
        token_hash: hash_of(&token),
        previous_hash: None,
        previous_until: None,
        days: new.days,
        created_by: actor.name.clone(),
        created_at: entry.at,
        expires_at: entry.at + Duration::days(i64::from(new.days)),
        used_at: None,
        revoked_at: None,
    };
    api_keys::add(connection, &row)?;
    audit::append(connection, &[entry])?;
    Ok(KeyWithToken { token, key: row.try_into()? })
}

fn may_have(member: &Member, right: Right) -> bool {
    right.is_of(member.role) && !right.needs_step_up()
}

/// Gives a key another token and as long a life again. The token before works on for a day; the one before that is gone.
pub fn rotate(connection: &mut Connection, id: Uuid, of: Option<&str>, actor: &Actor) -> AppResult<KeyWithToken> {
    let token = new_token();
    let row = api_keys::lock(connection, id, of)?;
    let entry = actor.entry("api_key.rotate", format!("api key {id}"), serde_json::json!({}));
    let previous_until = row.expires_at.min(entry.at + OVERLAP);
    let hash = hash_of(&token);
    let expires_at = entry.at + Duration::days(i64::from(row.days));
    api_keys::rotate(connection, &row, &hash, previous_until, expires_at)?;
    audit::append(connection, &[entry])?;
    let row = ApiKeyRow { expires_at, previous_until: Some(previous_until), ..row };
    Ok(KeyWithToken { token, key: row.try_into()? })
}

/// Revokes a key, at once and for good.
pub fn revoke(app: &App, id: Uuid, of: Option<&str>, actor: &Actor) -> AppResult<()> {
    app.store.transaction(|connection| {
        let row = api_keys::lock(connection, id, of)?;
        let detail = serde_json::json!({ "staff": row.staff });
        let entry = actor.entry("api_key.revoke", format!("api key {id}"), detail);
        api_keys::revoke(connection, id, entry.at)?;
        Ok(audit::append(connection, &[entry])?)
    })
}

/// The keys that are not revoked; of one member or of everybody.
pub fn list(app: &App, of: Option<&str>, limit: i64) -> AppResult<Vec<KeyView>> {
    let rows = app.store.with(|connection| api_keys::list(connection, of, limit))?;
    Ok(rows.into_iter().map(KeyView::try_from).collect::<Result<_, _>>()?)
}

fn new_token() -> String {
    format!("{KEY_PREFIX}{}", hex::encode(rand::random::<[u8; 32]>()))
}
