//! Pages of claims for those who work on them. A page costs the same wherever it stands and however many claims there
//! are: a search is cut into cells of one service and one state, each an ordered range of an index, and a page is the
//! smallest of the heads of these ranges. There are a few hundred cells at most, since both are small tables.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Integer, Nullable, SmallInt, Text, Timestamptz, Uuid as SqlUuid};
use redress_domain::claim::ClaimState;
use uuid::Uuid;

use crate::connection::Connection;
use crate::error::StoreResult;
use crate::schema::{claim, service};

/// What a text of a search names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// Claims by reference.
    Reference(String),
    /// Claims by id.
    Claim(Uuid),
    /// All claims of a customer.
    Customer(String),
    /// Claims that have something in common with what was looked for: kind and keyed hash.
    Trait(&'static str, i64),
}

/// A search.
#[derive(Debug, Clone, Default)]
pub struct Search {
    /// Only in these states; in any when empty.
    pub states: Vec<ClaimState>,
    /// Only of these services, by key; of any when none.
    pub services: Option<Vec<i32>>,
    /// Only what was given to this reader.
    pub assignee: Option<String>,
    /// Only what the text names, in any of these ways; everything when none.
    pub named: Option<Vec<Named>>,
    /// Newest first.
    pub newest_first: bool,
    /// Only what comes after this claim.
    pub after: Option<Uuid>,
    /// At most so many.
    pub limit: i64,
}

/// A claim in a list.
#[derive(Debug, Clone, QueryableByName)]
pub struct Listed {
    /// Its id.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// Its reference.
    #[diesel(sql_type = Text)]
    pub reference: String,
    /// Whose it is.
    #[diesel(sql_type = Text)]
    pub customer_id: String,
    /// The service.
    #[diesel(sql_type = Text)]
    pub service: String,
    /// Where it stands.
    #[diesel(sql_type = Text)]
    pub state: String,
    /// `damage` or `enquiry`.
    #[diesel(sql_type = Text)]
    pub kind: String,
    /// How it came.
    #[diesel(sql_type = Text)]
    pub channel: String,
    /// When it was sent.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub submitted_at: Option<DateTime<Utc>>,
    /// When it last changed.
    #[diesel(sql_type = Timestamptz)]
    pub updated_at: DateTime<Utc>,
    /// The queue it stands in.
    #[diesel(sql_type = Nullable<Text>)]
    pub queue: Option<String>,
    /// Whose it is to read.
    #[diesel(sql_type = Nullable<Text>)]
    pub assignee: Option<String>,
    /// Who looks at it now.
    #[diesel(sql_type = Nullable<Text>)]
    pub reader: Option<String>,
    /// Until when its claimant may answer.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub due_at: Option<DateTime<Utc>>,
    /// What was found beside it.
    #[diesel(sql_type = SmallInt)]
    pub findings: i16,
}

/// One page, by id, which is the order in which claims were begun.
pub fn page(connection: &mut Connection, search: &Search) -> StoreResult<Vec<Listed>> {
    let keys = match (&search.named, &search.assignee) {
        (Some(named), _) => named_keys(connection, named)?,
        (None, Some(_)) => of_reader(connection, search)?,
        (None, None) => of_cells(connection, search)?,
    };
    show(connection, search, &keys)
}

/// The first claims of each cell after the cursor, merged.
fn of_cells(connection: &mut Connection, search: &Search) -> StoreResult<Vec<Uuid>> {
    let (after, direction) = direction(search);
    let every: Vec<ClaimState> = ClaimState::ALL.to_vec();
    let states: Vec<&str> =
        if search.states.is_empty() { &every } else { &search.states }.iter().map(|state| state.as_str()).collect();
    if search.states.is_empty() && search.services.is_none() {
        // Everything is one range.
        let query = format!("SELECT id FROM claim WHERE {after} ORDER BY id {direction} LIMIT $2");
        let rows: Vec<Key> = diesel::sql_query(query)
            .bind::<Nullable<SqlUuid>, _>(search.after)
            .bind::<BigInt, _>(search.limit)
            .load(connection)?;
        return Ok(rows.into_iter().map(|row| row.id).collect());
    }
    let services: Vec<i32> = match &search.services {
        Some(services) => services.clone(),
        None => service::table.select(service::id).load(connection)?,
    };
    // Keys and names of ours, so they may stand in the text. Diesel has no words for a union of any number.
    let cells: Vec<String> = services
        .iter()
        .flat_map(|service| states.iter().map(move |state| (service, state)))
        .map(|(service, state)| {
            format!(
                "(SELECT id FROM claim WHERE service_id = {service} AND state = '{state}' AND {after}
                  ORDER BY id {direction} LIMIT $2)"
            )
        })
        .collect();
    if cells.is_empty() {
        return Ok(Vec::new());
    }
    let query = format!("SELECT id FROM ({}) AS head ORDER BY id {direction} LIMIT $2", cells.join(" UNION ALL "));
    let rows: Vec<Key> = diesel::sql_query(query)
        .bind::<Nullable<SqlUuid>, _>(search.after)
        .bind::<BigInt, _>(search.limit)
        .load(connection)?;
    Ok(rows.into_iter().map(|row| row.id).collect())
}

/// The condition on the cursor, which is the first bind, and the order.
fn direction(search: &Search) -> (&'static str, &'static str) {
    match (search.newest_first, search.after.is_some()) {
        (false, true) => ("id > $1", "ASC"),
        (true, true) => ("id < $1", "DESC"),
        (false, false) => ("$1 IS NULL", "ASC"),
        (true, false) => ("$1 IS NULL", "DESC"),
    }
}

/// What was given to a reader; the states and services are looked at claim by claim, since a reader has thousands at
/// most.
fn of_reader(connection: &mut Connection, search: &Search) -> StoreResult<Vec<Uuid>> {
    let (after, direction) = direction(search);
    let after = after.replace("id ", "task.claim_id ");
    let query = format!(
        "SELECT task.claim_id AS id FROM task JOIN claim ON claim.customer_id = task.customer_id AND claim.id = task.claim_id
         WHERE task.assignee = $3 AND ($4::int[] IS NULL OR task.service_id = ANY($4))
           AND (cardinality($5::text[]) = 0 OR claim.state = ANY($5)) AND {after}
         ORDER BY task.claim_id {direction} LIMIT $2"
    );
    let rows: Vec<Key> = diesel::sql_query(query)
        .bind::<Nullable<SqlUuid>, _>(search.after)
        .bind::<BigInt, _>(search.limit)
        .bind::<Nullable<Text>, _>(search.assignee.as_ref())
        .bind::<Nullable<Array<Integer>>, _>(search.services.as_ref())
        .bind::<Array<Text>, _>(search.states.iter().map(|state| state.as_str()).collect::<Vec<_>>())
        .load(connection)?;
    Ok(rows.into_iter().map(|row| row.id).collect())
}

/// The most claims that one text can name: what is common to more of them is no name.
const MAX_NAMED: i64 = 1_000;

fn named_keys(connection: &mut Connection, named: &[Named]) -> StoreResult<Vec<Uuid>> {
    use crate::schema::claim_trait;
    let mut keys = Vec::new();
    for one in named {
        let found: Vec<Uuid> = match one {
            Named::Reference(reference) => claim::table
                .filter(claim::reference.eq(reference))
                .limit(MAX_NAMED)
                .select(claim::id)
                .load(connection)?,
            Named::Claim(id) => claim::table.filter(claim::id.eq(id)).select(claim::id).load(connection)?,
            Named::Customer(customer) => claim::table
                .filter(claim::customer_id.eq(customer))
                .limit(MAX_NAMED)
                .select(claim::id)
                .load(connection)?,
            Named::Trait(kind, hash) => claim_trait::table
                .filter(claim_trait::kind.eq(kind).and(claim_trait::hash.eq(hash)))
                .limit(MAX_NAMED)
                .select(claim_trait::claim_id)
                .load(connection)?,
        };
        keys.extend(found);
    }
    Ok(keys)
}

/// The claims of a page with what stands beside them.
fn show(connection: &mut Connection, search: &Search, keys: &[Uuid]) -> StoreResult<Vec<Listed>> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let (after, direction) = direction(search);
    let after = after.replace("id ", "claim.id ");
    let query = format!(
        "SELECT claim.id, claim.reference, claim.customer_id, service.name AS service, claim.state, claim.kind, claim.channel,
                claim.submitted_at, claim.updated_at, CASE WHEN task.is_open THEN task.queue END AS queue, task.assignee,
                CASE WHEN task.leased_until > now() THEN task.leased_by END AS reader, task.due_at,
                coalesce(jsonb_array_length(triage.findings), 0)::smallint AS findings
         FROM claim JOIN service ON service.id = claim.service_id
         LEFT JOIN task ON task.customer_id = claim.customer_id AND task.claim_id = claim.id
         LEFT JOIN triage ON triage.customer_id = claim.customer_id AND triage.claim_id = claim.id
         WHERE claim.id = ANY($3) AND {after} AND ($4::int[] IS NULL OR claim.service_id = ANY($4))
           AND (cardinality($5::text[]) = 0 OR claim.state = ANY($5))
           AND ($6::text IS NULL OR task.assignee = $6)
         ORDER BY claim.id {direction} LIMIT $2"
    );
    Ok(diesel::sql_query(query)
        .bind::<Nullable<SqlUuid>, _>(search.after)
        .bind::<BigInt, _>(search.limit)
        .bind::<Array<SqlUuid>, _>(keys)
        .bind::<Nullable<Array<Integer>>, _>(search.services.as_ref())
        .bind::<Array<Text>, _>(search.states.iter().map(|state| state.as_str()).collect::<Vec<_>>())
        .bind::<Nullable<Text>, _>(search.assignee.as_ref())
        .load(connection)?)
}

#[derive(QueryableByName)]
struct Key {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
}
