//! The members of staff by name, and what narrows the role of each.

use chrono::{DateTime, Utc};
use diesel::dsl::exists;
use diesel::prelude::*;

use crate::connection::Connection;
use crate::error::{StoreError, StoreResult};
use crate::schema::{api_key, session, staff, staff_credential};

/// A member of staff.
#[derive(Debug, Clone, Queryable, Selectable, Insertable, serde::Serialize)]
#[diesel(table_name = staff)]
pub struct StaffMember {
    /// The name that `--as` takes.
    pub name: String,
    /// The role: `agent`, `lead`, `policy_author`, `policy_approver`, `finance`, `auditor`, `administrator`.
    pub role: String,
    /// Since when.
    pub added_at: DateTime<Utc>,
    /// Until when, if revoked.
    pub revoked_at: Option<DateTime<Utc>>,
    /// The services the member works for, a list of names; all when none.
    pub services: Option<serde_json::Value>,
    /// The largest amount of money the member decides alone; the role's own limit when none.
    pub decides_up_to: Option<i64>,
    /// Who it is at the identity provider.
    pub subject: Option<String>,
}

/// Adds a member of staff; a name is never used twice, so that the audit log stays true.
pub fn add(connection: &mut Connection, member: &StaffMember) -> StoreResult<()> {
    let added =
        diesel::insert_into(staff::table).values(member).on_conflict(staff::name).do_nothing().execute(connection)?;
    if added == 0 { Err(StoreError::Refused("staff_pkey".into())) } else { Ok(()) }
}

/// Members by name, at most so many after one.
pub fn list(connection: &mut Connection, after: &str, limit: i64) -> StoreResult<Vec<StaffMember>> {
    Ok(staff::table.filter(staff::name.gt(after)).order(staff::name).limit(limit).load(connection)?)
}

/// When the member of this name was revoked; none where nobody has the name or he is active.
pub fn revoked_at(connection: &mut Connection, name: &str) -> StoreResult<Option<DateTime<Utc>>> {
    let found: Option<Option<DateTime<Utc>>> =
        staff::table.filter(staff::name.eq(name)).select(staff::revoked_at).first(connection).optional()?;
    Ok(found.flatten())
}

/// The member of this name who is not revoked.
pub fn find_active(connection: &mut Connection, name: &str) -> StoreResult<StaffMember> {
    staff::table
        .filter(staff::name.eq(name).and(staff::revoked_at.is_null()))
        .first(connection)
        .optional()?
        .ok_or_else(|| StoreError::NotFound(format!("active member of staff {name:?}")))
}

/// The same, kept as it is until the transaction ends: whoever revokes him waits.
pub fn hold_active(connection: &mut Connection, name: &str) -> StoreResult<StaffMember> {
    staff::table
        .filter(staff::name.eq(name).and(staff::revoked_at.is_null()))
        .for_share()
        .first(connection)
        .optional()?
        .ok_or_else(|| StoreError::NotFound(format!("active member of staff {name:?}")))
}

/// Whether a member can come in: he has set himself up, or comes by the identity provider, a session or a key.
pub fn can_come_in(connection: &mut Connection, member: &StaffMember, now: DateTime<Utc>) -> StoreResult<bool> {
    let name = member.name.as_str();
    let set_up = staff_credential::table
        .find(name)
        .filter(staff_credential::password.is_not_null().and(staff_credential::setup_hash.is_null()));
    let session =
        session::table.filter(session::staff.eq(name).and(session::ended_at.is_null()).and(session::ends_at.gt(now)));
    let key = api_key::table
        .filter(api_key::staff.eq(name).and(api_key::revoked_at.is_null()).and(api_key::expires_at.gt(now)));
    let comes = exists(set_up).or(exists(session)).or(exists(key));
    Ok(member.subject.is_some() || diesel::select(comes).get_result(connection)?)
}

/// Takes a member's rights away.
pub fn revoke(connection: &mut Connection, name: &str, at: DateTime<Utc>) -> StoreResult<()> {
    let revoked = diesel::update(staff::table.filter(staff::name.eq(name).and(staff::revoked_at.is_null())))
        .set(staff::revoked_at.eq(at))
        .execute(connection)?;
    if revoked == 0 { Err(StoreError::NotFound(format!("active member of staff {name:?}"))) } else { Ok(()) }
}

/// Who it is that the identity provider speaks of, revoked or not.
pub fn find_by_subject(connection: &mut Connection, subject: &str) -> StoreResult<Option<StaffMember>> {
    Ok(staff::table.filter(staff::subject.eq(subject)).first(connection).optional()?)
}

/// Gives a member another role.
pub fn set_role(connection: &mut Connection, name: &str, role: &str) -> StoreResult<()> {
    diesel::update(staff::table.find(name)).set(staff::role.eq(role)).execute(connection)?;
    Ok(())
}
