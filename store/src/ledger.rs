//! The ledger: accounts, budgets, postings and transfers. Rows are only ever added.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::Write;

use chrono::{DateTime, Utc};
use diesel::pg::CopyFormat;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Timestamptz};
use redress_domain::AssetCode;
use redress_domain::id::{IncidentId, ServiceId};
use redress_domain::ledger::{TransferCode, expense_account, owed_account, provision_account};
use uuid::Uuid;

use crate::connection::Connection;
use crate::copy::BinaryRows;
use crate::error::{StoreError, StoreResult};
use crate::failpoint::{Guard, Point, is_without, reach};
use crate::log::{ClosedSeal, Seal};
pub use crate::programmes::{add_programme_use, programme_use};
use crate::runs::Customers;
use crate::schema::{account, asset, budget, credit_movement, incident, posting, posting_total, service, transfer};
use crate::word::Word;

/// A transfer as a row.
#[derive(Debug, Clone, Queryable, QueryableByName, Insertable)]
#[diesel(table_name = transfer, treat_none_as_default_value = false)]
pub struct TransferRow {
    /// The customer whose account it touches; empty where none is.
    pub customer_id: Word,
    /// Derived from what it is for.
    pub id: Uuid,
    /// The posting that recorded it.
    pub posting_id: i64,
    /// Minor units, more than none.
    pub amount: i64,
    /// The account that gives.
    pub debit_account: i32,
    /// The account that receives.
    pub credit_account: i32,
    /// The asset's key.
    pub asset_id: i32,
    /// The policy version it follows from; 0 where none does.
    pub policy_version_id: i32,
    /// What it does.
    pub code: i16,
    /// What it is for: a holding's reference, a claim's id, a budget request.
    pub subject: Word,
}

/// The `policy_version_id` of a transfer that follows from no policy.
pub const NO_POLICY: i32 = 0;

/// An asset as it is stored.
#[derive(Debug, Clone, Queryable)]
pub struct StoredAsset {
    /// Its key.
    pub key: i32,
    /// Its code.
    pub code: String,
    /// Its class.
    pub class: String,
    /// Its minor digits.
    pub scale: i16,
}

/// Every asset.
pub fn assets(connection: &mut Connection) -> StoreResult<Vec<StoredAsset>> {
    Ok(asset::table.order(asset::code).load(connection)?)
}

/// Assets by code, at most so many after one.
pub fn assets_after(connection: &mut Connection, after: &str, limit: i64) -> StoreResult<Vec<StoredAsset>> {
    Ok(asset::table.filter(asset::code.gt(after)).order(asset::code).limit(limit).load(connection)?)
}

/// The asset of this code; created when new, refused when known with another scale.
pub fn ensure_asset(connection: &mut Connection, wanted: &redress_domain::Asset) -> StoreResult<i32> {
    let code = wanted.code().as_str();
    diesel::insert_into(asset::table)
        .values((
            asset::code.eq(code),
            asset::class.eq(wanted.code().class().as_str()),
            asset::scale.eq(i16::from(wanted.scale())),
        ))
        .on_conflict_do_nothing()
        .execute(connection)?;
    let (key, scale): (i32, i16) =
        asset::table.filter(asset::code.eq(code)).select((asset::id, asset::scale)).first(connection)?;
    if scale != i16::from(wanted.scale()) {
        return Err(StoreError::Refused(format!("asset_scale_fixed: {code} is kept with {scale} digits")));
    }
    Ok(key)
}

/// The key of the account of this name; created when new.
pub(crate) fn ensure_account(connection: &mut Connection, name: &str, kind: &str, asset_key: i32) -> StoreResult<i32> {
    diesel::insert_into(account::table)
        .values((account::name.eq(name), account::kind.eq(kind), account::asset_id.eq(asset_key)))
        .on_conflict_do_nothing()
        .execute(connection)?;
    Ok(account::table.filter(account::name.eq(name)).select(account::id).first(connection)?)
}

/// The keys of a budget and its accounts.
#[derive(Debug, Clone, Queryable)]
pub struct BudgetRow {
    /// The budget's key.
    pub key: i32,
    /// The service's key.
    pub service_key: i32,
    /// The asset's key.
    pub asset_key: i32,
    /// The account that the budget is recognised from.
    pub expense_account: i32,
    /// The account that holds what is left.
    pub provision_account: i32,
    /// Minor units approved so far.
    pub approved: i64,
    /// Minor units issued so far.
    pub spent: i64,
}

/// The budget of (incident, service, asset), with its accounts; created empty when new.
pub fn ensure_budget(
    connection: &mut Connection,
    (incident_key, incident_id): (i32, &IncidentId),
    (service_key, service_id): (i32, &ServiceId),
    (asset_key, asset_code): (i32, &AssetCode),
) -> StoreResult<BudgetRow> {
    let expense =
        ensure_account(connection, &expense_account(incident_id, service_id, asset_code), "expense", asset_key)?;
    let provision =
        ensure_account(connection, &provision_account(incident_id, service_id, asset_code), "provision", asset_key)?;
    ensure_account(connection, &owed_account(asset_code), "owed", asset_key)?;
    diesel::insert_into(budget::table)
        .values((
            budget::incident_id.eq(incident_key),
            budget::service_id.eq(service_key),
            budget::asset_id.eq(asset_key),
            budget::expense_id.eq(expense),
            budget::provision_id.eq(provision),
        ))
        .on_conflict_do_nothing()
        .execute(connection)?;
    Ok(budget::table
        .filter(budget::incident_id.eq(incident_key).and(budget::service_id.eq(service_key)))
        .filter(budget::asset_id.eq(asset_key))
        .select((
            budget::id,
            budget::service_id,
            budget::asset_id,
            budget::expense_id,
            budget::provision_id,
            budget::approved,
            budget::spent,
        ))
        .first(connection)?)
}

/// The budgets of an incident.
pub fn budgets(connection: &mut Connection, incident_key: i32) -> StoreResult<Vec<BudgetRow>> {
    Ok(budget::table
        .filter(budget::incident_id.eq(incident_key))
        .select((
            budget::id,
            budget::service_id,
            budget::asset_id,
            budget::expense_id,
            budget::provision_id,
            budget::approved,
            budget::spent,
        ))
        .load(connection)?)
}

/// The key of the account of all that is owed of an asset.
pub fn owed_account_key(connection: &mut Connection, code: &AssetCode) -> StoreResult<i32> {
    account::table
        .filter(account::name.eq(owed_account(code)))
        .select(account::id)
        .first(connection)
        .optional()?
        .ok_or_else(|| StoreError::NotFound(format!("account {}", owed_account(code))))
}

/// The advisory lock that orders postings against questions about the past.
const POSTING_LOCK: i64 = 0x0070_6f73_7469_6e67;

/// A posting under way: its transfers may be recorded, and it counts from [`Posting::seal`] on. One that is forgotten
/// is refused by the database when its transaction ends.
#[derive(Debug)]
#[must_use = "a posting that is not sealed is refused at commit"]
pub struct Posting {
    id: i64,
    chunk: Option<(i64, i32)>,
}

impl Posting {
    /// Its key, which its transfers carry.
    #[must_use]
    pub fn id(&self) -> i64 {
        self.id
    }

    /// Gives it its time; the last thing before the commit. The time is read under a lock that a question about the
    /// past takes for an instant ([`settle`]), so that no posting with an earlier time can commit after the answer;
    /// and since nothing is waited for between lock and commit, neither side holds the other up.
    pub fn seal(self, connection: &mut Connection) -> StoreResult<()> {
        use diesel::connection::SimpleConnection;
        connection.batch_execute(&format!("SELECT pg_advisory_xact_lock_shared({POSTING_LOCK})"))?;
        diesel::insert_into(posting::table)
            .values((
                posting::id.eq(self.id),
                posting::run_id.eq(self.chunk.map(|(run, _)| run)),
                posting::chunk_seq.eq(self.chunk.map(|(_, seq)| seq)),
                posting::recorded_at.eq(diesel::dsl::sql::<Timestamptz>("clock_timestamp()")),
            ))
            .execute(connection)?;
        reach(Point::Sealed);
        Ok(())
    }
}

/// Opens a posting, for a chunk of a run or for a single command.
pub fn open_posting(connection: &mut Connection, chunk: Option<(i64, i32)>) -> StoreResult<Posting> {
    let id = diesel::select(diesel::dsl::sql::<BigInt>("nextval(pg_get_serial_sequence('posting', 'id'))"))
        .get_result(connection)?;
    Ok(Posting { id, chunk: chunk.filter(|_| !is_without(Guard::Mark)) })
}

/// The instant up to which the ledger is settled: whatever will ever be recorded at or before it is committed now.
pub fn settle(connection: &mut Connection) -> StoreResult<DateTime<Utc>> {
    crate::connection::in_transaction(connection, |connection| {
        use diesel::connection::SimpleConnection;
        connection.batch_execute(&format!("SELECT pg_advisory_xact_lock({POSTING_LOCK})"))?;
        Ok(diesel::select(diesel::dsl::sql::<Timestamptz>("clock_timestamp()")).get_result(connection)?)
    })
}

/// Debit, credit, code, policy version.
type TotalKey = (i32, i32, i16, i32);

/// Records the transfers of one posting, all at once, with their totals and their seal.
pub fn record(connection: &mut Connection, transfers: &[TransferRow]) -> StoreResult<()> {
    let Some(first) = transfers.first() else { return Ok(()) };
    record_with(connection, first.posting_id, transfers.len(), |recorder| {
        transfers.iter().try_for_each(|row| recorder.take(row))
    })
}

/// Takes the transfers of one posting, each as it is decided: the server takes in the ones before meanwhile. By COPY, since a
/// credit is a row and there are millions.
pub struct Recorder<'w> {
    rows: BinaryRows<'w>,
    posting_id: i64,
    seal: Seal,
    totals: BTreeMap<TotalKey, (i64, i64)>,
    taken: usize,
}

impl<'w> Recorder<'w> {
    fn new(out: &'w mut dyn Write, posting_id: i64, about: usize) -> Self {
        let seal = Seal::of(posting_id, about);
        Self { rows: BinaryRows::new(out), posting_id, seal, totals: BTreeMap::new(), taken: 0 }
    }

    /// Takes the next transfer, in any order.
    pub fn take(&mut self, row: &TransferRow) -> StoreResult<()> {
        if row.posting_id != self.posting_id {
            return Err(StoreError::corrupt("transfers of several postings cannot be recorded as one"));
        }
        let key = (row.debit_account, row.credit_account, row.code, row.policy_version_id);
        let (count, amount) = self.totals.entry(key).or_default();
        *count += 1;
        *amount = amount
            .checked_add(row.amount)
            .ok_or_else(|| StoreError::corrupt("the total of a posting is beyond what can be stored"))?;
        write(&mut self.rows, row).map_err(unwritten)?;
        self.seal.take(row);
        self.taken += 1;
        Ok(())
    }

    fn finish(self) -> StoreResult<Recorded> {
        let Self { rows, seal, totals, taken, .. } = self;
        if !rows.has_kept_back() {
            rows.finish().map_err(unwritten)?;
            return Ok(Recorded { seal: seal.close(), totals, taken });
        }
        // While the last rows go out and the server takes them in; afterwards where there is no thread to be had.
        let mut open = Some(seal);
        let closed = std::thread::scope(|scope| -> std::io::Result<_> {
            let closing = std::thread::Builder::new().spawn_scoped(scope, || open.take().map(Seal::close)).ok();
            rows.finish()?;
            Ok(closing.and_then(|closing| closing.join().ok()).flatten())
        })
        .map_err(unwritten)?;
        match (closed, open) {
            (Some(seal), _) => Ok(Recorded { seal, totals, taken }),
            (None, Some(open)) => Ok(Recorded { seal: open.close(), totals, taken }),
            (None, None) => Err(StoreError::corrupt("sealing a posting panicked")),
        }
    }
}

/// What is written after the transfers of a posting.
struct Recorded {
    seal: Option<ClosedSeal>,
    totals: BTreeMap<TotalKey, (i64, i64)>,
    taken: usize,
}

fn unwritten(error: std::io::Error) -> StoreError {
    diesel::result::Error::SerializationError(error.into()).into()
}

/// Records the transfers that are decided meanwhile, about so many, as one posting with their totals and their seal. Where
/// deciding fails, nothing is recorded.
pub fn record_with<T, E: From<StoreError>>(
    connection: &mut Connection,
    posting_id: i64,
    about: usize,
    decide: impl FnOnce(&mut Recorder<'_>) -> Result<T, E>,
) -> Result<T, E> {
    let (decide, decided) = (Cell::new(Some(decide)), Cell::new(None));
    let copied = diesel::copy_from(transfer::table)
        .from_raw_data(transfer::table, |out| {
            let mut recorder = Recorder::new(out, posting_id, about);
            // Diesel does not promise to ask only once; who has decided has nothing more to say.
            let Some(decide) = decide.take() else { return Err(diesel::result::Error::RollbackTransaction) };
            let outcome = decide(&mut recorder).and_then(|value| Ok((value, recorder.finish()?)));
            let end = outcome.as_ref().map_or(Err(diesel::result::Error::RollbackTransaction), |_| Ok(()));
            decided.set(Some(outcome));
            end
        })
        .with_format(CopyFormat::Binary)
        .execute(connection)
        .map_err(StoreError::from);
    let (value, recorded) = match decided.into_inner() {
        // Whoever failed to decide says more than the statement that failed with it.
        Some(Err(error)) => return Err(error),
        Some(Ok(decided)) => decided,
        None => return Err(copied.err().unwrap_or_else(|| StoreError::corrupt("COPY asked for no rows")).into()),
    };
    let copied = copied?;
    if copied != recorded.taken {
        return Err(StoreError::corrupt(format!("COPY took {copied} of {} transfers", recorded.taken)).into());
    }
    if let Some(seal) = recorded.seal {
        write_totals(connection, posting_id, recorded.totals)?;
        seal.write(connection)?;
    }
    reach(Point::Copied);
    Ok(value)
}

/// Writes the number and sum of the transfers that move the same way.
fn write_totals(
    connection: &mut Connection,
    posting_id: i64,
    totals: BTreeMap<TotalKey, (i64, i64)>,
) -> StoreResult<()> {
    let rows: Vec<_> = totals
        .into_iter()
        .map(|((debit, credit, code, version), (count, amount))| {
            (
                posting_total::posting_id.eq(posting_id),
                posting_total::debit_account.eq(debit),
                posting_total::credit_account.eq(credit),
                posting_total::code.eq(code),
                posting_total::policy_version_id.eq(version),
                posting_total::transfers.eq(count),
                posting_total::amount.eq(amount),
            )
        })
        .collect();
    diesel::insert_into(posting_total::table).values(rows).execute(connection)?;
    Ok(())
}

/// Writes a transfer column by column, in the order of the table.
fn write(rows: &mut BinaryRows<'_>, row: &TransferRow) -> std::io::Result<()> {
    rows.row(10)?;
    rows.text(&row.customer_id)?;
    rows.uuid(row.id)?;
    rows.int8(row.posting_id)?;
    rows.int8(row.amount)?;
    rows.int4(row.debit_account)?;
    rows.int4(row.credit_account)?;
    rows.int4(row.asset_id)?;
    rows.int4(row.policy_version_id)?;
    rows.int2(row.code)?;
    rows.text(&row.subject)
}

/// Takes an amount from a budget, last thing before a commit so that the row is held for an instant only. The
/// database refuses to go below zero.
pub fn spend(connection: &mut Connection, budget_key: i32, amount: i64) -> StoreResult<()> {
    diesel::update(budget::table.find(budget_key)).set(budget::spent.eq(budget::spent + amount)).execute(connection)?;
    reach(Point::Spent);
    Ok(())
}

/// Gives an amount back to a budget, under the same rule as [`spend`].
pub fn give_back(connection: &mut Connection, budget_key: i32, amount: i64) -> StoreResult<()> {
    diesel::update(budget::table.find(budget_key)).set(budget::spent.eq(budget::spent - amount)).execute(connection)?;
    Ok(())
}

/// What was credited to a subject so far, by policy version and asset.
#[derive(Debug, Clone)]
pub struct CreditedRow {
    /// To whom.
    pub customer_id: String,
    /// By which version.
    pub policy_version_id: i32,
    /// For what.
    pub subject: String,
    /// The asset's key.
    pub asset_id: i32,
    /// Minor units.
    pub amount: i64,
    /// What of it was taken back, in minor units.
    pub reversed: i64,
}

/// What was ever credited to the customers of a range under these versions, each credit a row.
pub fn credited_of_range(
    connection: &mut Connection,
    customers: Customers<'_>,
    versions: &[i32],
) -> StoreResult<Vec<CreditedRow>> {
    if is_without(Guard::Memory) {
        return Ok(Vec::new());
    }
    let found: Vec<(String, i32, String, i32, i64, Option<i64>)> = transfer::table
        .left_join(
            credit_movement::table.on(credit_movement::customer_id
                .eq(transfer::customer_id)
                .and(credit_movement::original_id.eq(transfer::id.nullable()))),
        )
        .filter(transfer::code.eq(TransferCode::Issue.number()))
        .filter(transfer::customer_id.ge(customers.from).and(transfer::customer_id.lt(customers.till)))
        .filter(transfer::policy_version_id.eq_any(versions))
        .select((
            transfer::customer_id,
            transfer::policy_version_id,
            transfer::subject,
            transfer::asset_id,
            transfer::amount,
            credit_movement::amount.nullable(),
        ))
        .load(connection)?;
    Ok(found
        .into_iter()
        .map(|(customer_id, policy_version_id, subject, asset_id, amount, reversed)| CreditedRow {
            customer_id,
            policy_version_id,
            subject,
            asset_id,
            amount,
            reversed: reversed.unwrap_or(0),
        })
        .collect())
}

/// A budget as people see it.
#[derive(Debug, Clone, Queryable)]
pub struct BudgetView {
    /// The incident.
    pub incident: String,
    /// The service.
    pub service: String,
    /// The asset.
    pub asset: String,
    /// Its minor digits.
    pub scale: i16,
    /// Minor units approved.
    pub approved: i64,
    /// Minor units issued.
    pub spent: i64,
}

/// All budgets of an incident by service and asset.
pub fn budget_views(connection: &mut Connection, incident_key: i32) -> StoreResult<Vec<BudgetView>> {
    Ok(budget::table
        .inner_join(incident::table.on(incident::id.eq(budget::incident_id)))
        .inner_join(service::table.on(service::id.eq(budget::service_id)))
        .inner_join(asset::table.on(asset::id.eq(budget::asset_id)))
        .filter(budget::incident_id.eq(incident_key))
        .order((service::name, asset::code))
        .select((incident::name, service::name, asset::code, asset::scale, budget::approved, budget::spent))
        .load(connection)?)
}
