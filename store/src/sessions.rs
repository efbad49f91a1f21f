//! Sessions of staff: found by the hash of a random token, bounded in time, ended for good.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use uuid::Uuid;

use crate::connection::Connection;
use crate::error::{StoreError, StoreResult};
use crate::schema::{session, staff};
use crate::staff::StaffMember;

/// A session.
#[derive(Debug, Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = session)]
pub struct SessionRow {
    /// Its id, which is no secret.
    pub id: Uuid,
    /// The hash of its token.
    pub token_hash: Vec<u8>,
    /// Whose it is.
    pub staff: String,
    /// How he signed in: `password` or `oidc`.
    pub method: String,
    /// Since when.
    pub started_at: DateTime<Utc>,
    /// When it was last used, to the minute.
    pub seen_at: DateTime<Utc>,
    /// When the second factor was last shown.
    pub verified_at: DateTime<Utc>,
    /// When it ends at the latest.
    pub ends_at: DateTime<Utc>,
    /// When it was ended.
    pub ended_at: Option<DateTime<Utc>>,
}

/// Keeps a new session.
pub fn start(connection: &mut Connection, row: &SessionRow) -> StoreResult<()> {
    diesel::insert_into(session::table).values(row).execute(connection)?;
    Ok(())
}

/// The session of a token that goes on at `now`, used since `idle_since`, and its member, if he is not revoked.
pub fn find(
    connection: &mut Connection,
    token_hash: &[u8],
    now: DateTime<Utc>,
    idle_since: DateTime<Utc>,
) -> StoreResult<Option<(SessionRow, StaffMember)>> {
    Ok(session::table
        .inner_join(staff::table.on(staff::name.eq(session::staff)))
        .filter(session::token_hash.eq(token_hash).and(session::ended_at.is_null()))
        .filter(session::ends_at.gt(now).and(session::seen_at.gt(idle_since)))
        .filter(staff::revoked_at.is_null())
        .select((SessionRow::as_select(), StaffMember::as_select()))
        .first(connection)
        .optional()?)
}

/// Notes that a session was used.
pub fn seen(connection: &mut Connection, id: Uuid, now: DateTime<Utc>) -> StoreResult<()> {
    diesel::update(session::table.find(id)).set(session::seen_at.eq(now)).execute(connection)?;
    Ok(())
}

/// Those that go on, the newest first; of one member or of everybody.
pub fn list(
    connection: &mut Connection,
    of: Option<&str>,
    now: DateTime<Utc>,
    idle_since: DateTime<Utc>,
    limit: i64,
) -> StoreResult<Vec<SessionRow>> {
    let mut query = session::table
        .filter(session::ended_at.is_null())
        .filter(session::ends_at.gt(now).and(session::seen_at.gt(idle_since)))
        .order(session::started_at.desc())
        .limit(limit)
        .into_boxed();
    if let Some(name) = of {
        query = query.filter(session::staff.eq(name.to_owned()));
    }
    Ok(query.load(connection)?)
}

/// Ends a session, of this member if one is named; returns whose it was.
pub fn end(connection: &mut Connection, id: Uuid, of: Option<&str>, at: DateTime<Utc>) -> StoreResult<String> {
    let found: Option<String> = session::table
        .filter(session::id.eq(id).and(session::ended_at.is_null()))
        .select(session::staff)
        .for_update()
        .first(connection)
        .optional()?;
    let whose = found.filter(|whose| of.is_none_or(|of| of == whose));
    let whose = whose.ok_or_else(|| StoreError::NotFound("such session".into()))?;
    diesel::update(session::table.find(id)).set(session::ended_at.eq(at)).execute(connection)?;
    Ok(whose)
}

/// Ends all sessions of a member; returns how many there were.
pub fn end_all(connection: &mut Connection, of: &str, at: DateTime<Utc>) -> StoreResult<usize> {
    let theirs = session::table.filter(session::staff.eq(of).and(session::ended_at.is_null()));
    Ok(diesel::update(theirs).set(session::ended_at.eq(at)).execute(connection)?)
}

/// Notes that the second factor of a session was shown.
pub fn verified(connection: &mut Connection, id: Uuid, at: DateTime<Utc>) -> StoreResult<()> {
    diesel::update(session::table.find(id)).set(session::verified_at.eq(at)).execute(connection)?;
    Ok(())
}

/// Ends the session of a token, if it goes on.
pub fn end_of_token(connection: &mut Connection, token_hash: &[u8], at: DateTime<Utc>) -> StoreResult<()> {
    diesel::update(session::table.filter(session::token_hash.eq(token_hash).and(session::ended_at.is_null())))
        .set(session::ended_at.eq(at))
        .execute(connection)?;
    Ok(())
}
