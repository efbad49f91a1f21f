//! What everybody together has had of an asset under a policy with a cap over the programme. The row in `programme_use`
//! says what the ledger says, so that a chunk need not read the ledger: `redress verify` holds both together.
//!
//! A **place** among the first so many takers belongs to what a customer was credited first (the credits of one posting).
//! It is given back when all of that is reversed whole, and somebody else can have it; what the customer is credited
//! later, such as the difference of a new version, takes no place and gives none back.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Integer, Text, Uuid as SqlUuid};
use uuid::Uuid;

use crate::connection::Connection;
use crate::error::StoreResult;
use crate::schema::programme_use;

/// The credits of policies and assets that a filter chooses: what is left of each after its own reversal, and the posting
/// of what the customer was credited first.
macro_rules! credits_of {
    ($filter:literal) => {
        concat!(
            "SELECT version.policy_id, issued.asset_id, issued.customer_id, issued.id, issued.posting_id,
                    issued.amount - coalesce(back.amount, 0) AS kept,
                    min(issued.posting_id) OVER (PARTITION BY version.policy_id, issued.asset_id, issued.customer_id)
                        AS first_posting
             FROM transfer AS issued JOIN policy_version AS version ON version.id = issued.policy_version_id
             LEFT JOIN credit_movement AS back
                 ON back.customer_id = issued.customer_id AND back.original_id = issued.id
             WHERE issued.code = 2 AND ",
            $filter
        )
    };
}

/// Takers and sum of what a filter chooses, by policy and asset.
macro_rules! use_of {
    ($filter:literal) => {
        concat!(
            "SELECT policy_id, asset_id, count(*) FILTER (WHERE holds_place)::bigint AS takers, sum(kept)::bigint AS amount
             FROM (SELECT policy_id, asset_id, customer_id, sum(kept) AS kept,
                          bool_or(kept > 0 AND posting_id = first_posting) AS holds_place
                   FROM (",
            credits_of!($filter),
            ") AS credit GROUP BY policy_id, asset_id, customer_id) AS taker
             GROUP BY policy_id, asset_id"
        )
    };
}

/// Where `programme_use` and the ledger differ, for `redress verify`.
pub(crate) const FAULTS: &str = concat!(
    "SELECT format('policy %s, asset %s: programme_use says %s takers and %s minor units, the ledger %s and %s',
                   policy.name, asset.code, counted.takers, counted.amount, coalesce(told.takers, 0),
                   coalesce(told.amount, 0)) AS fault
     FROM programme_use AS counted JOIN policy ON policy.id = counted.policy_id
     JOIN asset ON asset.id = counted.asset_id LEFT JOIN (",
    use_of!("(version.policy_id, issued.asset_id) IN (SELECT policy_id, asset_id FROM programme_use)"),
    ") AS told ON told.policy_id = counted.policy_id AND told.asset_id = counted.asset_id
     WHERE counted.takers <> coalesce(told.takers, 0) OR counted.amount <> coalesce(told.amount, 0)"
);

/// The first key of the advisory locks of policies ("prog" in ASCII): whoever reverses credits shares a policy's, and
/// whoever counts it anew has it alone.
const LOCK: i32 = 0x7072_6f67;

#[derive(QueryableByName)]
struct Use {
    #[diesel(sql_type = BigInt)]
    takers: i64,
    #[diesel(sql_type = BigInt)]
    amount: i64,
}

/// What everybody together has had of an asset under a policy: takers and minor units.
pub fn programme_use(connection: &mut Connection, policy_key: i32, asset_key: i32) -> StoreResult<(i64, i64)> {
    Ok(programme_use::table
        .find((policy_key, asset_key))
        .select((programme_use::takers, programme_use::amount))
        .first(connection)
        .optional()?
        .unwrap_or_default())
}

/// Adds to what everybody has had and returns what it was before, holding the row until the transaction ends.
pub fn add_programme_use(
    connection: &mut Connection,
    policy_key: i32,
    asset_key: i32,
    takers: i64,
    amount: i64,
) -> StoreResult<(i64, i64)> {
    let (all_takers, all_amount): (i64, i64) = diesel::insert_into(programme_use::table)
        .values((
            programme_use::policy_id.eq(policy_key),
            programme_use::asset_id.eq(asset_key),
            programme_use::takers.eq(takers),
            programme_use::amount.eq(amount),
        ))
        .on_conflict((programme_use::policy_id, programme_use::asset_id))
        .do_update()
        .set((
            programme_use::takers.eq(programme_use::takers + takers),
            programme_use::amount.eq(programme_use::amount + amount),
        ))
        .returning((programme_use::takers, programme_use::amount))
        .get_result(connection)?;
    Ok((all_takers - takers, all_amount - amount))
}

/// A version of a policy comes into force: of the assets that it caps over everybody, what was had under earlier versions
/// counts, whether those had a cap or not; of the others nothing is counted any more. No chunk is under way meanwhile
/// ([`crate::policies::approve`]), and the next ones know the new version.
pub fn count_anew(connection: &mut Connection, policy_key: i32, capped: &[i32]) -> StoreResult<()> {
    connection.batch_execute(&format!("SELECT pg_advisory_xact_lock({LOCK}, {policy_key})"))?;
    let of_policy = programme_use::table.filter(programme_use::policy_id.eq(policy_key));
    diesel::delete(of_policy.filter(programme_use::asset_id.ne_all(capped))).execute(connection)?;
    for asset in capped {
        // It is there before the ledger is read, for the count that follows.
        add_programme_use(connection, policy_key, *asset, 0, 0)?;
        let told: Option<Use> = diesel::sql_query(use_of!("version.policy_id = $1 AND issued.asset_id = $2"))
            .bind::<Integer, _>(policy_key)
            .bind::<Integer, _>(asset)
            .get_result(connection)
            .optional()?;
        let told = told.unwrap_or(Use { takers: 0, amount: 0 });
        diesel::update(programme_use::table.find((policy_key, *asset)))
            .set((programme_use::takers.eq(told.takers), programme_use::amount.eq(told.amount)))
            .execute(connection)?;
    }
    Ok(())
}

/// A credit that was reversed: whose, which, and how much of it in minor units.
#[derive(Debug, Clone)]
pub struct Returned {
    /// Whose it is.
    pub customer: String,
    /// The credit.
    pub credit: Uuid,
    /// How much was reversed.
    pub amount: i64,
}

/// Gives back to a cap over everybody what reversals, written in this transaction, took from these credits. Nothing
/// happens where the policy has no such cap. Called before the budgets, as a chunk does, so that neither waits for the other
/// in a ring.
pub fn give_back(
    connection: &mut Connection,
    policy_key: i32,
    asset_key: i32,
    returned: &[Returned],
) -> StoreResult<()> {
    connection.batch_execute(&format!("SELECT pg_advisory_xact_lock_shared({LOCK}, {policy_key})"))?;
    let held = programme_use::table
        .find((policy_key, asset_key))
        .select(programme_use::takers)
        .for_update()
        .first::<i64>(connection);
    if held.optional()?.is_none() {
        return Ok(());
    }
    // With the row held: of two who reverse the last two credits of a customer, the second sees both.
    let freed: Use = diesel::sql_query(concat!(
        "SELECT count(*) AS takers, 0::bigint AS amount FROM (
             SELECT customer_id FROM (",
        credits_of!("version.policy_id = $1 AND issued.asset_id = $2 AND issued.customer_id = ANY ($3)"),
        ") AS credit WHERE posting_id = first_posting
             GROUP BY customer_id HAVING max(kept) = 0 AND bool_or(id = ANY ($4))) AS freed"
    ))
    .bind::<Integer, _>(policy_key)
    .bind::<Integer, _>(asset_key)
    .bind::<Array<Text>, _>(returned.iter().map(|one| one.customer.as_str()).collect::<Vec<_>>())
    .bind::<Array<SqlUuid>, _>(returned.iter().map(|one| one.credit).collect::<Vec<_>>())
    .get_result(connection)?;
    let amount: i64 = returned.iter().map(|one| one.amount).sum();
    diesel::update(programme_use::table.find((policy_key, asset_key)))
        .set((
            programme_use::takers.eq(programme_use::takers - freed.takers),
            programme_use::amount.eq(programme_use::amount - amount),
        ))
        .execute(connection)?;
    Ok(())
}
