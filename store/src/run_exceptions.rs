//! What runs set aside for people, page by page.

use diesel::prelude::*;

use crate::connection::Connection;
use crate::error::StoreResult;
use crate::runs::ExceptionRow;
use crate::schema::{policy, policy_version, run_exception};

/// What a run set aside, with its policy's name and the version's content hash; without them where nothing of a customer could be
/// read.
pub type SetAside = (ExceptionRow, Option<String>, Option<String>);

/// A page of what a run set aside, by customer, after a row of it when one is given.
pub fn page(
    connection: &mut Connection,
    run_id: i64,
    after: Option<(&str, i32, &str)>,
    limit: i64,
) -> StoreResult<Vec<SetAside>> {
    let mut query = run_exception::table
        .left_join(policy_version::table.on(policy_version::id.eq(run_exception::policy_version_id)))
        .left_join(policy::table.on(policy_version::policy_id.eq(policy::id)))
        .filter(run_exception::run_id.eq(run_id))
        .into_boxed();
    if let Some((customer, version, subject)) = after {
        let of_the_version =
            run_exception::policy_version_id.eq(version).and(run_exception::subject.gt(subject.to_owned()));
        let of_the_customer = run_exception::customer_id
            .eq(customer.to_owned())
            .and(run_exception::policy_version_id.gt(version).or(of_the_version));
        query = query
            .filter(run_exception::customer_id.ge(customer.to_owned()))
            .filter(run_exception::customer_id.gt(customer.to_owned()).or(of_the_customer));
    }
    Ok(query
        .order((run_exception::customer_id, run_exception::policy_version_id, run_exception::subject))
        .limit(limit)
        .select((
            (
                run_exception::run_id,
                run_exception::customer_id,
                run_exception::policy_version_id,
                run_exception::subject,
                run_exception::reason,
            ),
            policy::name.nullable(),
            policy_version::hash.nullable(),
        ))
        .load(connection)?)
}
