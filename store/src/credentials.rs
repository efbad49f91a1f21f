//! How members of staff show who they are: password, second factor, and the token that sets them up.

use chrono::{DateTime, Utc};
use diesel::prelude::*;

use crate::connection::Connection;
use crate::error::{StoreError, StoreResult};
use crate::schema::{staff, staff_credential};

/// What a member shows who he is with.
#[derive(Debug, Clone, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = staff_credential, treat_none_as_null = true)]
pub struct CredentialRow {
    /// Whose it is.
    pub staff: String,
    /// The hash of the token that sets it up; while there is one, nobody signs in.
    pub setup_hash: Option<Vec<u8>>,
    /// Until when that works.
    pub setup_until: Option<DateTime<Utc>>,
    /// The password's hash, with its own salt and parameters.
    pub password: Option<String>,
    /// The secret of the second factor, sealed.
    pub totp: Option<Vec<u8>>,
    /// The newest time step whose code was used.
    pub totp_step: i64,
    /// The hashes of the recovery codes that are left.
    pub recovery: serde_json::Value,
    /// Since when it is so.
    pub changed_at: DateTime<Utc>,
}

/// Replaces what a member shows who he is with.
pub fn save(connection: &mut Connection, row: &CredentialRow) -> StoreResult<()> {
    diesel::insert_into(staff_credential::table)
        .values(row)
        .on_conflict(staff_credential::staff)
        .do_update()
        .set(row)
        .execute(connection)?;
    Ok(())
}

/// Of a member who is not revoked.
pub fn find(connection: &mut Connection, name: &str) -> StoreResult<Option<CredentialRow>> {
    Ok(staff_credential::table
        .inner_join(staff::table.on(staff::name.eq(staff_credential::staff)))
        .filter(staff_credential::staff.eq(name).and(staff::revoked_at.is_null()))
        .select(CredentialRow::as_select())
        .first(connection)
        .optional()?)
}

/// The same, locked for a change.
pub fn lock(connection: &mut Connection, name: &str) -> StoreResult<CredentialRow> {
    staff_credential::table
        .find(name)
        .select(CredentialRow::as_select())
        .for_update()
        .first(connection)
        .optional()?
        .ok_or_else(|| StoreError::NotFound(format!("password of {name:?}")))
}

/// Those that a token sets up until after `now`, locked for a change.
pub fn lock_by_setup(
    connection: &mut Connection,
    setup_hash: &[u8],
    now: DateTime<Utc>,
) -> StoreResult<Option<CredentialRow>> {
    Ok(staff_credential::table
        .inner_join(staff::table.on(staff::name.eq(staff_credential::staff)))
        .filter(staff_credential::setup_hash.eq(setup_hash).and(staff_credential::setup_until.gt(now)))
        .filter(staff::revoked_at.is_null())
        .select(CredentialRow::as_select())
        .for_update()
        .first(connection)
        .optional()?)
}
