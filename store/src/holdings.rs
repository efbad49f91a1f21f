//! Rosters and the holdings they bring.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use diesel::connection::DefaultLoadingMode;
use diesel::prelude::*;
use diesel::sql_types::{Integer, Json, Nullable, Text};
use redress_domain::Holding;
use redress_domain::id::{CustomerId, HoldingRef, IdError, ServiceId};
use smol_str::SmolStr;

use crate::connection::Connection;
use crate::error::{StoreError, StoreResult};
use crate::held_facts::keep_common;
pub use crate::held_facts::{CommonFacts, HeldFacts};
use crate::runs::Customers;
use crate::schema::{common_facts, holding, holding_incoming, roster};
use crate::word::Word;

/// A holding as it is stored: nothing of it is looked into before [`HeldRow::holding`], so that one corrupt row is set aside and
/// does not end a run.
#[derive(Debug, Clone, Queryable)]
pub struct HeldRow {
    /// Who held it.
    pub customer_id: Word,
    /// The service's key.
    pub service_id: i32,
    /// The operator's id of it.
    pub reference: Word,
    /// What it is.
    pub facts: HeldFacts,
}

diesel::define_sql_function! {
    /// The first that is not null; of a holding one of the two never is, and where a hand at the database made them so the
    /// facts cannot be read.
    fn coalesce(one: Nullable<Json>, other: Nullable<Json>) -> Json;
}

/// The types of a [`HeldRow`]'s columns.
pub(crate) type HeldColumns = (Text, Integer, Text, Json);

impl HeldRow {
    /// Whether its reference is one: a hand at the database may have made it anything.
    #[must_use]
    pub fn is_named(&self) -> bool {
        HoldingRef::try_from(SmolStr::from(self.reference.clone())).is_ok()
    }

    /// The row as the domain has it, checked again. A row that is corrupt is named by its reference.
    pub fn holding(&self, customer: &CustomerId, service: &ServiceId) -> Result<Holding, (SmolStr, StoreError)> {
        let said = self.facts.read().map_err(|error| (self.reference.clone().into(), error))?;
        let corrupt = |error: IdError| (error.value().into(), StoreError::corrupt(error));
        let reference = HoldingRef::try_from(SmolStr::from(self.reference.clone())).map_err(corrupt)?;
        Ok(Holding {
            customer: customer.clone(),
            service: service.clone(),
            reference,
            kind: said.kind.clone(),
            product: said.product.clone(),
            valid_from: said.valid_from,
            valid_until: said.valid_until,
            attributes: said.attributes.clone(),
        })
    }
}

/// The file behind a roster.
#[derive(Debug, Clone)]
pub struct RosterFile<'a> {
    /// The incident's key.
    pub incident_key: i32,
    /// The file's name, without its folder.
    pub name: &'a str,
    /// SHA-256 of the file, in hex.
    pub hash: &'a str,
    /// When it was imported.
    pub at: DateTime<Utc>,
}

/// A row on its way in, with the line of the file it stands on.
#[derive(Debug, Clone, Insertable)]
#[diesel(table_name = holding_incoming, treat_none_as_default_value = false)]
pub struct IncomingRow {
    /// The line of the file, counted from 1.
    pub line: i64,
    /// The incident's key.
    pub incident_id: i32,
    /// Who held it.
    pub customer_id: String,
    /// The service's key.
    pub service_id: i32,
    /// The operator's id of it.
    pub reference: String,
    /// What it is.
    pub facts: HeldFacts,
}

/// When a file of this content was last imported for an incident, if it was.
pub fn imported_before(
    connection: &mut Connection,
    incident_key: i32,
    hash: &str,
) -> StoreResult<Option<DateTime<Utc>>> {
    Ok(roster::table
        .filter(roster::incident_id.eq(incident_key).and(roster::file_hash.eq(hash)))
        .select(diesel::dsl::max(roster::imported_at))
        .first(connection)?)
}

/// Makes room for incoming rows; they are gone when the transaction ends.
pub fn begin_import(connection: &mut Connection) -> StoreResult<()> {
    use diesel::connection::SimpleConnection;
    connection.batch_execute(
        "CREATE TEMPORARY TABLE holding_incoming (
             line bigint NOT NULL, incident_id integer NOT NULL, customer_id text COLLATE \"C\" NOT NULL,
             service_id integer NOT NULL, reference text COLLATE \"C\" NOT NULL, facts json NOT NULL
         ) ON COMMIT DROP",
    )?;
    Ok(())
}

/// Takes a batch of rows in.
pub fn take_in(connection: &mut Connection, rows: &[IncomingRow]) -> StoreResult<()> {
    let taken = diesel::copy_from(holding_incoming::table).from_insertable(rows).execute(connection)?;
    if taken == rows.len() {
        Ok(())
    } else {
        Err(StoreError::corrupt(format!("COPY took {taken} of {} rows", rows.len())))
    }
}

/// The lines that repeat a holding named on an earlier line of the same file; at most `limit` of them, with the
/// earlier line.
pub fn repeated_lines(connection: &mut Connection, limit: i64) -> StoreResult<Vec<(i64, i64)>> {
    use diesel::sql_types::BigInt;
    #[derive(QueryableByName)]
    struct Repeated {
        #[diesel(sql_type = BigInt)]
        line: i64,
        #[diesel(sql_type = BigInt)]
        first_line: i64,
    }
    // Diesel has no words for window functions over a temporary table's groups.
    let rows: Vec<Repeated> = diesel::sql_query(
        "SELECT line, first_line FROM (
             SELECT line, min(line) OVER (PARTITION BY customer_id, service_id, reference) AS first_line
             FROM holding_incoming) AS incoming
         WHERE line > first_line ORDER BY line LIMIT $1",
    )
    .bind::<BigInt, _>(limit)
    .load(connection)?;
    Ok(rows.into_iter().map(|row| (row.line, row.first_line)).collect())
}

/// Moves the incoming rows into the holdings under a new roster; a holding known from an earlier roster is replaced.
/// Returns the number of holdings taken and the number of lines that repeated an earlier one.
pub fn finish_import(
    connection: &mut Connection,
    file: &RosterFile<'_>,
    refused_before: i64,
) -> StoreResult<(i64, i64)> {
    use diesel::sql_types::BigInt;
    let incoming: i64 = holding_incoming::table.count().get_result(connection)?;
    let roster_id: i64 = diesel::select(diesel::dsl::sql::<BigInt>("nextval(pg_get_serial_sequence('roster', 'id'))"))
        .get_result(connection)?;
    keep_common(connection, incoming)?;
    let taken = diesel::sql_query(
        "INSERT INTO holding (incident_id, customer_id, service_id, reference, facts, common_id, roster_id)
         SELECT DISTINCT ON (incident_id, customer_id, service_id, reference)
                incident_id, customer_id, service_id, reference, CASE WHEN id IS NULL THEN incoming.facts END, id, $1
         FROM holding_incoming AS incoming LEFT JOIN common_facts ON common_facts.facts::text = incoming.facts::text
         ORDER BY incident_id, customer_id, service_id, reference, line
         ON CONFLICT (incident_id, customer_id, service_id, reference) DO UPDATE SET
             facts = EXCLUDED.facts, common_id = EXCLUDED.common_id, roster_id = EXCLUDED.roster_id",
    )
    .bind::<BigInt, _>(roster_id)
    .execute(connection)?;
    let taken = i64::try_from(taken).map_err(StoreError::corrupt)?;
    let repeated = incoming - taken;
    diesel::sql_query(
        "INSERT INTO roster (id, incident_id, file_name, file_hash, accepted, refused, imported_at)
         OVERRIDING SYSTEM VALUE VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind::<BigInt, _>(roster_id)
    .bind::<diesel::sql_types::Integer, _>(file.incident_key)
    .bind::<diesel::sql_types::Text, _>(file.name)
    .bind::<diesel::sql_types::Text, _>(file.hash)
    .bind::<BigInt, _>(taken)
    .bind::<BigInt, _>(refused_before + repeated)
    .bind::<diesel::sql_types::Timestamptz, _>(file.at)
    .execute(connection)?;
    Ok((taken, repeated))
}

/// Brings statistics and visibility up to date after a large import, so that the batch job reads by the index, and cuts
/// its chunks from the index alone. Takes the owner's connection, outside of a transaction.
pub fn tidy(connection: &mut Connection) -> StoreResult<()> {
    use diesel::connection::SimpleConnection;
    Ok(connection.batch_execute("VACUUM (ANALYZE) holding")?)
}

/// What one customer held at one service.
pub fn of_customer(
    connection: &mut Connection,
    incident_key: i32,
    customer: &str,
    service_key: i32,
) -> StoreResult<Vec<HeldRow>> {
    Ok(holding::table
        .left_join(common_facts::table.on(holding::common_id.eq(common_facts::id.nullable())))
        .filter(holding::incident_id.eq(incident_key).and(holding::customer_id.eq(customer)))
        .filter(holding::service_id.eq(service_key))
        .order(holding::reference)
        .select((
            holding::customer_id,
            holding::service_id,
            holding::reference,
            coalesce(holding::facts, common_facts::facts.nullable()),
        ))
        .load::<HeldRow>(connection)?)
}

/// What the customers of a range held, by customer, service and reference.
pub fn of_range(
    connection: &mut Connection,
    incident_key: i32,
    customers: Customers<'_>,
    common: &mut CommonFacts,
) -> StoreResult<Vec<HeldRow>> {
    let rows = holding::table
        .filter(holding::incident_id.eq(incident_key))
        .filter(holding::customer_id.ge(customers.from).and(holding::customer_id.lt(customers.till)))
        .order((holding::customer_id, holding::service_id, holding::reference))
        .select((holding::customer_id, holding::service_id, holding::reference, holding::facts, holding::common_id))
        .load_iter::<(Word, i32, Word, Option<HeldFacts>, Option<i32>), DefaultLoadingMode>(connection)?;
    let mut held = Vec::with_capacity(rows.size_hint().0);
    // What is met for the first time can be asked for when all rows are read.
    let (mut unknown, mut places) = (BTreeSet::new(), Vec::new());
    for row in rows {
        let (customer_id, service_id, reference, own, common_id) = row?;
        let facts = own.or_else(|| common_id.and_then(|id| common.known(id)));
        if let (None, Some(id)) = (&facts, common_id) {
            unknown.insert(id);
            places.push((held.len(), id));
        }
        held.push(HeldRow { customer_id, service_id, reference, facts: facts.unwrap_or_default() });
    }
    common.meet(connection, &unknown)?;
    for (place, id) in places {
        if let (Some(row), Some(facts)) = (held.get_mut::<usize>(place), common.known(id)) {
            row.facts = facts;
        }
    }
    Ok(held)
}

/// The number of customers and holdings of an incident.
pub fn count(connection: &mut Connection, incident_key: i32) -> StoreResult<(i64, i64)> {
    Ok(holding::table
        .filter(holding::incident_id.eq(incident_key))
        .select((diesel::dsl::count(holding::customer_id).aggregate_distinct(), diesel::dsl::count_star()))
        .first(connection)?)
}
