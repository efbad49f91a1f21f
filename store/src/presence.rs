//! Who of the staff has a claim open, so that two do not answer it side by side.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use uuid::Uuid;

use crate::connection::Connection;
use crate::error::StoreResult;
use crate::schema::looking;

/// Notes that a member of staff has a claim open, and returns the others who had it open after `since`, by name.
pub fn look(
    connection: &mut Connection,
    (customer, claim): (&str, Uuid),
    staff: &str,
    at: DateTime<Utc>,
    since: DateTime<Utc>,
) -> StoreResult<Vec<(String, DateTime<Utc>)>> {
    diesel::insert_into(looking::table)
        .values((
            looking::customer_id.eq(customer),
            looking::claim_id.eq(claim),
            looking::staff.eq(staff),
            looking::seen_at.eq(at),
        ))
        .on_conflict((looking::customer_id, looking::claim_id, looking::staff))
        .do_update()
        .set(looking::seen_at.eq(at))
        .execute(connection)?;
    Ok(looking::table
        .filter(looking::customer_id.eq(customer).and(looking::claim_id.eq(claim)))
        .filter(looking::staff.ne(staff).and(looking::seen_at.gt(since)))
        .order(looking::staff)
        .select((looking::staff, looking::seen_at))
        .load(connection)?)
}

/// Forgets who looked at claims before an instant.
pub fn forget(connection: &mut Connection, before: DateTime<Utc>) -> StoreResult<usize> {
    Ok(diesel::delete(looking::table.filter(looking::seen_at.lt(before))).execute(connection)?)
}
