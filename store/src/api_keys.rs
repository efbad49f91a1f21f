//! Keys of machine clients: each acts as a member of staff with less than his rights.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use uuid::Uuid;

use crate::connection::Connection;
use crate::error::{StoreError, StoreResult};
use crate::schema::{api_key, staff};
use crate::staff::StaffMember;

/// A key.
#[derive(Debug, Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = api_key)]
pub struct ApiKeyRow {
    /// Its id, which is no secret.
    pub id: Uuid,
    /// As whom it acts.
    pub staff: String,
    /// What it is for.
    pub label: String,
    /// The rights it has, a list of names.
    pub scopes: serde_json::Value,
    /// The hash of its token.
    pub token_hash: Vec<u8>,
    /// The hash of the token before the last rotation.
    pub previous_hash: Option<Vec<u8>>,
    /// Until when that one works.
    pub previous_until: Option<DateTime<Utc>>,
    /// How many days a token works.
    pub days: i16,
    /// Who made it.
    pub created_by: String,
    /// Since when.
    pub created_at: DateTime<Utc>,
    /// Until when.
    pub expires_at: DateTime<Utc>,
    /// When it was last used, to the minute.
    pub used_at: Option<DateTime<Utc>>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
}

/// Keeps a new key.
pub fn add(connection: &mut Connection, row: &ApiKeyRow) -> StoreResult<()> {
    diesel::insert_into(api_key::table).values(row).execute(connection)?;
    Ok(())
}

/// The key of a token that works at `now`, and its member, if he is not revoked.
pub fn find(
    connection: &mut Connection,
    token_hash: &[u8],
    now: DateTime<Utc>,
) -> StoreResult<Option<(ApiKeyRow, StaffMember)>> {
    let of_token = api_key::token_hash.eq(token_hash).or(api_key::previous_hash
        .is_not_distinct_from(token_hash)
        .and(api_key::previous_until.gt(now).assume_not_null()));
    Ok(api_key::table
        .inner_join(staff::table.on(staff::name.eq(api_key::staff)))
        .filter(of_token)
        .filter(api_key::expires_at.gt(now).and(api_key::revoked_at.is_null()))
        .filter(staff::revoked_at.is_null())
        .select((ApiKeyRow::as_select(), StaffMember::as_select()))
        .first(connection)
        .optional()?)
}

/// Notes that a key was used.
pub fn used(connection: &mut Connection, id: Uuid, now: DateTime<Utc>) -> StoreResult<()> {
    diesel::update(api_key::table.find(id)).set(api_key::used_at.eq(now)).execute(connection)?;
    Ok(())
}

/// Those that are not revoked, the newest first; of one member or of everybody.
pub fn list(connection: &mut Connection, of: Option<&str>, limit: i64) -> StoreResult<Vec<ApiKeyRow>> {
    let mut query = api_key::table
        .filter(api_key::revoked_at.is_null())
        .order(api_key::created_at.desc())
        .limit(limit)
        .into_boxed();
    if let Some(name) = of {
        query = query.filter(api_key::staff.eq(name.to_owned()));
    }
    Ok(query.load(connection)?)
}

/// A key that is not revoked, locked for a change; of this member if one is named.
pub fn lock(connection: &mut Connection, id: Uuid, of: Option<&str>) -> StoreResult<ApiKeyRow> {
    let found: Option<ApiKeyRow> = api_key::table
        .filter(api_key::id.eq(id).and(api_key::revoked_at.is_null()))
        .for_update()
        .first(connection)
        .optional()?;
    found.filter(|key| of.is_none_or(|of| of == key.staff)).ok_or_else(|| StoreError::NotFound("such API key".into()))
}

/// Gives a key another token; the one before works until `previous_until`.
pub fn rotate(
    connection: &mut Connection,
    key: &ApiKeyRow,
    token_hash: &[u8],
    previous_until: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> StoreResult<()> {
    diesel::update(api_key::table.find(key.id))
        .set((
            api_key::token_hash.eq(token_hash),
            api_key::previous_hash.eq(&key.token_hash),
            api_key::previous_until.eq(previous_until),
            api_key::expires_at.eq(expires_at),
        ))
        .execute(connection)?;
    Ok(())
}

/// Revokes a key.
pub fn revoke(connection: &mut Connection, id: Uuid, at: DateTime<Utc>) -> StoreResult<()> {
    diesel::update(api_key::table.find(id)).set(api_key::revoked_at.eq(at)).execute(connection)?;
    Ok(())
}

/// Revokes all keys of a member; returns how many there were.
pub fn revoke_all(connection: &mut Connection, of: &str, at: DateTime<Utc>) -> StoreResult<usize> {
    let theirs = api_key::table.filter(api_key::staff.eq(of).and(api_key::revoked_at.is_null()));
    Ok(diesel::update(theirs).set(api_key::revoked_at.eq(at)).execute(connection)?)
}
