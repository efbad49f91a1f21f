//! Credits and what happened to each: read together, decided by the domain, recorded together. Rows are only ever added.

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Integer, Nullable, SmallInt, Text, Timestamptz, Uuid as SqlUuid};
use redress_domain::credit::{Credit, Movement};
use redress_domain::id::{ServiceId, TransferId};
use redress_domain::ledger::{TransferCode, breakage_account, delivered_account, suspense_account};
use redress_domain::{Amount, AssetCode};
use uuid::Uuid;

use crate::connection::Connection;
use crate::error::{StoreError, StoreResult};
use crate::ledger::ensure_account;
use crate::schema::{credit_movement, policy, policy_version, transfer};

/// The policy under which a claim was credited, where it is another than the one of this version.
pub fn credited_under_another(
    connection: &mut Connection,
    customer: &str,
    claim: Uuid,
    version: i32,
) -> StoreResult<Option<String>> {
    let this = policy_version::table.find(version).select(policy_version::policy_id).first::<i32>(connection)?;
    Ok(transfer::table
        .inner_join(policy_version::table.on(policy_version::id.eq(transfer::policy_version_id)))
        .inner_join(policy::table.on(policy::id.eq(policy_version::policy_id)))
        .filter(transfer::customer_id.eq(customer).and(transfer::code.eq(TransferCode::Issue.number())))
        .filter(transfer::subject.eq(format!("claim/{claim}")).and(policy::id.ne(this)))
        .select(policy::name)
        .first(connection)
        .optional()?)
}

/// A credit with the names and keys that its movements need.
#[derive(Debug, Clone, QueryableByName)]
pub struct CreditRow {
    /// Whose it is.
    #[diesel(sql_type = Text)]
    pub customer_id: String,
    /// Its id.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// Minor units issued.
    #[diesel(sql_type = BigInt)]
    pub amount: i64,
    /// The budget's account that it was taken from.
    #[diesel(sql_type = Integer)]
    pub provision_account: i32,
    /// The account of what is owed.
    #[diesel(sql_type = Integer)]
    pub owed_account: i32,
    /// The asset's key.
    #[diesel(sql_type = Integer)]
    pub asset_id: i32,
    /// The policy version it follows from.
    #[diesel(sql_type = Integer)]
    pub policy_version_id: i32,
    /// What it is for.
    #[diesel(sql_type = Text)]
    pub subject: String,
    /// When it was recorded.
    #[diesel(sql_type = Timestamptz)]
    pub recorded_at: DateTime<Utc>,
    /// The asset's code.
    #[diesel(sql_type = Text)]
    pub asset: String,
    /// The asset's minor digits.
    #[diesel(sql_type = SmallInt)]
    pub scale: i16,
    /// The budget's key.
    #[diesel(sql_type = Integer)]
    pub budget_id: i32,
    /// The incident's name.
    #[diesel(sql_type = Text)]
    pub incident: String,
    /// The service's name.
    #[diesel(sql_type = Text)]
    pub service: String,
    /// The policy's key.
    #[diesel(sql_type = Integer)]
    pub policy_id: i32,
    /// The policy's name.
    #[diesel(sql_type = Text)]
    pub policy: String,
}

/// Everything of a credit, from a source of transfers named `credit` that a caller's query begins with.
const CREDIT: &str = "
    SELECT credit.customer_id, credit.id, credit.amount, credit.debit_account AS provision_account,
           credit.credit_account AS owed_account, credit.asset_id, credit.policy_version_id, credit.subject,
           posting.recorded_at, asset.code AS asset, asset.scale, budget.id AS budget_id, incident.name AS incident,
           service.name AS service, policy.id AS policy_id, policy.name AS policy
    FROM credit JOIN posting ON posting.id = credit.posting_id JOIN asset ON asset.id = credit.asset_id
    JOIN budget ON budget.provision_id = credit.debit_account JOIN incident ON incident.id = budget.incident_id
    JOIN service ON service.id = budget.service_id
    JOIN policy_version ON policy_version.id = credit.policy_version_id
    JOIN policy ON policy.id = policy_version.policy_id
    WHERE credit.code = 2 ORDER BY credit.customer_id, posting.recorded_at, credit.id";

/// A movement of a credit as a row.
#[derive(Debug, Clone, QueryableByName, Insertable)]
#[diesel(table_name = credit_movement, treat_none_as_default_value = false)]
pub struct MovementRow {
    /// Whose credit.
    pub customer_id: String,
    /// The credit.
    pub credit_id: Uuid,
    /// Counts the credit's movements.
    pub seq: i32,
    /// The transfer that records it.
    pub transfer_id: Uuid,
    /// What it does.
    pub code: i16,
    /// What it reverses.
    pub original_id: Option<Uuid>,
    /// Minor units.
    pub amount: i64,
    /// Minor units issued.
    pub issued: i64,
    /// Minor units owed before.
    pub owed_before: i64,
    /// Minor units owed after.
    pub owed_after: i64,
    /// From when it counts for people.
    pub effective_on: NaiveDate,
    /// Why; reversals and write-offs only.
    pub reason: Option<String>,
}

impl MovementRow {
    /// The row of a movement.
    pub fn new(credit: &CreditRow, movement: &Movement, reason: Option<&str>) -> StoreResult<Self> {
        Ok(Self {
            customer_id: credit.customer_id.clone(),
            credit_id: credit.id,
            seq: i32::try_from(movement.seq).map_err(StoreError::corrupt)?,
            transfer_id: movement.transfer.0,
            code: movement.code.number(),
            original_id: movement.original.map(|original| original.0),
            amount: movement.amount.minor(),
            issued: credit.amount,
            owed_before: movement.owed_before.minor(),
            owed_after: movement.owed_after.minor(),
            effective_on: movement.effective_on,
            reason: reason.map(str::to_owned),
        })
    }

    fn movement(&self) -> StoreResult<Movement> {
        Ok(Movement {
            seq: u32::try_from(self.seq).map_err(StoreError::corrupt)?,
            transfer: TransferId(self.transfer_id),
            code: TransferCode::from_number(self.code)
                .ok_or_else(|| StoreError::corrupt(format!("a movement has code {}", self.code)))?,
            original: self.original_id.map(TransferId),
            amount: Amount::from_minor(self.amount),
            owed_before: Amount::from_minor(self.owed_before),
            owed_after: Amount::from_minor(self.owed_after),
            effective_on: self.effective_on,
        })
    }
}

/// A credit with all that happened to it.
#[derive(Debug, Clone)]
pub struct StoredCredit {
    /// The credit.
    pub row: CreditRow,
    /// What the domain knows of it.
    pub credit: Credit,
    /// Its movements as they are stored, with their reasons.
    pub movements: Vec<MovementRow>,
}

/// The credits of these customers and ids, with their movements; what is no credit is left out.
pub fn load(connection: &mut Connection, wanted: &[(String, Uuid)]) -> StoreResult<Vec<StoredCredit>> {
    let customers: Vec<&str> = wanted.iter().map(|(customer, _)| customer.as_str()).collect();
    let ids: Vec<Uuid> = wanted.iter().map(|(_, id)| *id).collect();
    let rows: Vec<CreditRow> = diesel::sql_query(format!(
        "WITH wanted AS (SELECT DISTINCT customer_id COLLATE \"C\" AS customer_id, id
                         FROM unnest($1, $2) AS pair (customer_id, id)),
              credit AS (SELECT transfer.* FROM wanted JOIN transfer USING (customer_id, id)) {CREDIT}"
    ))
    .bind::<Array<Text>, _>(customers)
    .bind::<Array<SqlUuid>, _>(ids)
    .load(connection)?;
    with_movements(connection, rows)
}

/// Credits of a customer, oldest first, at most so many after one of them; none where that is no credit of his.
pub fn of_customer(
    connection: &mut Connection,
    customer: &str,
    after: Option<Uuid>,
    limit: i64,
) -> StoreResult<Vec<StoredCredit>> {
    let rows: Vec<CreditRow> = diesel::sql_query(format!(
        "WITH credit AS (
             SELECT transfer.* FROM transfer JOIN posting ON posting.id = transfer.posting_id
             WHERE customer_id = $1 AND transfer.code = 2
               AND ($2 IS NULL OR (posting.recorded_at, transfer.id) >
                   (SELECT earlier.recorded_at, last.id
                    FROM transfer AS last JOIN posting AS earlier ON earlier.id = last.posting_id
                    WHERE last.customer_id = $1 AND last.id = $2))
             ORDER BY posting.recorded_at, transfer.id LIMIT $3) {CREDIT}"
    ))
    .bind::<Text, _>(customer)
    .bind::<Nullable<SqlUuid>, _>(after)
    .bind::<BigInt, _>(limit)
    .load(connection)?;
    with_movements(connection, rows)
}

fn with_movements(connection: &mut Connection, rows: Vec<CreditRow>) -> StoreResult<Vec<StoredCredit>> {
    let customers: Vec<&str> = rows.iter().map(|row| row.customer_id.as_str()).collect();
    let ids: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
    // Diesel has no words for a join with pairs, and two lists of their own would be tried in every combination.
    let found: Vec<MovementRow> = diesel::sql_query(
        "SELECT movement.* FROM unnest($1, $2) AS pair (customer_id, credit_id)
         JOIN credit_movement AS movement ON movement.customer_id = pair.customer_id COLLATE \"C\"
              AND movement.credit_id = pair.credit_id
         ORDER BY movement.customer_id, movement.credit_id, movement.seq",
    )
    .bind::<Array<Text>, _>(customers)
    .bind::<Array<SqlUuid>, _>(ids)
    .load(connection)?;
    let mut movements: HashMap<(String, Uuid), Vec<MovementRow>> = HashMap::new();
    for row in found {
        movements.entry((row.customer_id.clone(), row.credit_id)).or_default().push(row);
    }
    rows.into_iter()
        .map(|row| {
            let movements = movements.remove(&(row.customer_id.clone(), row.id)).unwrap_or_default();
            let moved = movements.iter().map(MovementRow::movement).collect::<StoreResult<_>>()?;
            let issued_on = row.recorded_at.date_naive();
            let credit = Credit::new(TransferId(row.id), Amount::from_minor(row.amount), issued_on, moved);
            Ok(StoredCredit { row, credit, movements })
        })
        .collect()
}

/// Where a transfer stands: whose it is, and the credit it speaks of, unless it speaks of none.
#[derive(Debug, Clone, QueryableByName)]
pub struct Located {
    /// Whose it is.
    #[diesel(sql_type = Text)]
    pub customer_id: String,
    /// Its id.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// The credit: itself, or the one it moves.
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub credit_id: Option<Uuid>,
}

/// Finds transfers by id. With the customer it is one look into an index; without, the whole ledger is read, since an
/// index by id alone would cost every credit issued and could not be spread over machines.
pub fn locate(connection: &mut Connection, ids: &[Uuid], customer: Option<&str>) -> StoreResult<Vec<Located>> {
    Ok(diesel::sql_query(
        "SELECT found.customer_id, found.id,
                CASE WHEN found.code = 2 THEN found.id
                     ELSE (SELECT credit_id FROM credit_movement AS movement
                           WHERE movement.customer_id = found.customer_id AND movement.transfer_id = found.id) END
                    AS credit_id
         FROM transfer AS found WHERE found.id = ANY ($1) AND ($2 IS NULL OR found.customer_id = $2)",
    )
    .bind::<Array<SqlUuid>, _>(ids)
    .bind::<Nullable<Text>, _>(customer)
    .load(connection)?)
}

/// The account that a movement of this code moves a credit of a service into; created when new.
pub fn target_account(connection: &mut Connection, credit: &CreditRow, code: TransferCode) -> StoreResult<i32> {
    let service = ServiceId::parse(&credit.service).map_err(StoreError::corrupt)?;
    let asset = AssetCode::parse(&credit.asset).map_err(StoreError::corrupt)?;
    let (name, kind) = match code {
        TransferCode::Deliver => (delivered_account(&service, &asset), "delivered"),
        TransferCode::Expire => (breakage_account(&service, &asset), "breakage"),
        TransferCode::WriteOff => (suspense_account(&service, &asset), "suspense"),
        TransferCode::Authorise | TransferCode::Issue | TransferCode::Reverse | TransferCode::Release => {
            return Err(StoreError::corrupt(format!("a movement of code {} has no account of its own", code.as_str())));
        }
    };
    ensure_account(connection, &name, kind, credit.asset_id)
}

/// Records movements. Their chain is checked by the database: who was overtaken by another meets its constraint.
pub fn record_movements(connection: &mut Connection, rows: &[MovementRow]) -> StoreResult<()> {
    let taken = diesel::copy_from(credit_movement::table).from_insertable(rows).execute(connection)?;
    if taken != rows.len() {
        return Err(StoreError::corrupt(format!("COPY took {taken} of {} movements", rows.len())));
    }
    Ok(())
}

/// Whether an error says that another transaction moved the same credit first: read again, and decide again.
#[must_use]
pub fn overtaken(error: &StoreError) -> bool {
    const BY: [&str; 5] = [
        "credit_movement_pkey",
        "credit_movement_link",
        "credit_movement_follows",
        "transfer_reversed_once",
        "transfer_pkey",
    ];
    matches!(error, StoreError::Contention(_)) || error.constraint().is_some_and(|name| BY.contains(&name))
}
