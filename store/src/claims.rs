//! Claims, what is sealed of them, and their assessments.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, Binary, Bool, Integer, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use redress_domain::claim::{ClaimMove, ClaimState};
use uuid::Uuid;

use crate::connection::Connection;
use crate::error::{StoreError, StoreResult};
use crate::json::JsonText;
use crate::prepared::prepared;
use crate::schema::{assessment, claim, incident, personal, policy, policy_version, service, task};

/// A claim as a row.
#[derive(Debug, Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = claim, treat_none_as_default_value = false)]
pub struct ClaimRow {
    /// Whose it is.
    pub customer_id: String,
    /// Its id.
    pub id: Uuid,
    /// The reference a person reads out on the telephone.
    pub reference: String,
    /// The incident's key.
    pub incident_id: i32,
    /// The service's key.
    pub service_id: i32,
    /// Where it stands.
    pub state: String,
    /// What is claimed; nothing personal.
    pub facts: serde_json::Value,
    /// Counts its changes; the ETag.
    pub version: i32,
    /// When it was begun.
    pub created_at: DateTime<Utc>,
    /// When it was sent.
    pub submitted_at: Option<DateTime<Utc>>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
    /// `damage` or `enquiry`.
    pub kind: String,
    /// How it came: `web`, `chat`, `phone`, `post` or `file`.
    pub channel: String,
    /// What is claimed, hashed: a customer claims the same loss once.
    pub loss: Option<Uuid>,
    /// The claim that said the same before.
    pub duplicate_of: Option<Uuid>,
    /// When its first credit was issued.
    pub credited_at: Option<DateTime<Utc>>,
}

impl ClaimRow {
    /// Where it stands, as the domain says it.
    pub fn state(&self) -> StoreResult<ClaimState> {
        self.state.parse().map_err(StoreError::corrupt)
    }
}

/// An assessment as a row.
#[derive(Debug, Clone, Queryable, Insertable)]
#[diesel(table_name = assessment, treat_none_as_default_value = false)]
pub struct AssessmentRow {
    /// Whose claim it is of.
    pub customer_id: String,
    /// The claim.
    pub claim_id: Uuid,
    /// Counts the assessments of a claim.
    pub seq: i32,
    /// The version that was applied; none while no policy is in force.
    pub policy_version_id: Option<i32>,
    /// `award`, `decline`, `review` or `pending`.
    pub outcome: String,
    /// The assessment whole, with the trace that explains it.
    pub trace: JsonText,
    /// When.
    pub assessed_at: DateTime<Utc>,
}

/// What is sealed of a claim, as a row.
#[derive(Debug, Clone, Insertable)]
#[diesel(table_name = personal, treat_none_as_default_value = false)]
pub struct PersonalRow {
    /// Whose claim it is of.
    pub customer_id: String,
    /// The claim.
    pub claim_id: Uuid,
    /// What is sealed.
    pub sealed: Vec<u8>,
    /// The keyed hash by which its address is found again.
    pub address: Option<String>,
}

/// What adds claims.
pub(crate) fn insertion(claims: &[ClaimRow]) -> InsertClaims<'_> {
    let mut insert = InsertClaims::with_capacity(claims.len());
    for row in claims {
        insert.push(
            &row.customer_id,
            row.id,
            &row.reference,
            row.incident_id,
            row.service_id,
            &row.state,
            &row.facts,
            row.version,
            row.created_at,
            row.submitted_at,
            row.updated_at,
            &row.kind,
            &row.channel,
            row.loss,
            row.duplicate_of,
            row.credited_at,
        );
    }
    insert
}

/// What adds that which is sealed of claims.
pub(crate) fn personal_insertion(personal: &[PersonalRow]) -> InsertPersonal<'_> {
    let mut insert = InsertPersonal::with_capacity(personal.len());
    for row in personal {
        insert.push(&row.customer_id, row.claim_id, &row.sealed, row.address.as_deref());
    }
    insert
}

prepared! {
    pub(crate) InsertClaims {
        customer_id: &'a str => Text,
        id: Uuid => SqlUuid,
        reference: &'a str => Text,
        incident_id: i32 => Integer,
        service_id: i32 => Integer,
        state: &'a str => Text,
        facts: &'a serde_json::Value => Jsonb,
        version: i32 => Integer,
        created_at: DateTime<Utc> => Timestamptz,
        submitted_at: Option<DateTime<Utc>> => Nullable<Timestamptz>,
        updated_at: DateTime<Utc> => Timestamptz,
        kind: &'a str => Text,
        channel: &'a str => Text,
        loss: Option<Uuid> => Nullable<SqlUuid>,
        duplicate_of: Option<Uuid> => Nullable<SqlUuid>,
        credited_at: Option<DateTime<Utc>> => Nullable<Timestamptz>,
    } into "claim"
}

prepared! {
    pub(crate) InsertPersonal {
        customer_id: &'a str => Text,
        claim_id: Uuid => SqlUuid,
        sealed: &'a [u8] => Binary,
        address: Option<&'a str> => Nullable<Text>,
    } into "personal"
}

/// Adds an assessment.
pub fn insert_assessment(connection: &mut Connection, row: &AssessmentRow) -> StoreResult<()> {
    assessments_insertion(std::slice::from_ref(row)).execute(connection)?;
    Ok(())
}

/// What adds assessments.
pub(crate) fn assessments_insertion(rows: &[AssessmentRow]) -> InsertAssessments<'_> {
    let mut insert = InsertAssessments::with_capacity(rows.len());
    for row in rows {
        insert.push(
            &row.customer_id,
            row.claim_id,
            row.seq,
            row.policy_version_id,
            &row.outcome,
            &row.trace,
            row.assessed_at,
        );
    }
    insert
}

prepared! {
    pub(crate) InsertAssessments {
        customer_id: &'a str => Text,
        claim_id: Uuid => SqlUuid,
        seq: i32 => Integer,
        policy_version_id: Option<i32> => Nullable<Integer>,
        outcome: &'a str => Text,
        trace: &'a JsonText => Text,
        assessed_at: DateTime<Utc> => Timestamptz,
    } into "assessment"
}

/// A claim with the names of its incident and service, and its last assessment.
#[derive(Debug, Clone)]
pub struct ClaimView {
    /// The claim.
    pub claim: ClaimRow,
    /// The incident's name.
    pub incident: String,
    /// The service's name.
    pub service: String,
    /// The last assessment.
    pub assessment: Option<AssessmentRow>,
}

/// A claim by its id.
pub fn find(connection: &mut Connection, id: Uuid) -> StoreResult<Option<ClaimView>> {
    let found: Option<(ClaimRow, String, String)> = claim::table
        .inner_join(incident::table.on(incident::id.eq(claim::incident_id)))
        .inner_join(service::table.on(service::id.eq(claim::service_id)))
        .filter(claim::id.eq(id))
        .select((ClaimRow::as_select(), incident::name, service::name))
        .first(connection)
        .optional()?;
    let Some((claim, incident, service)) = found else { return Ok(None) };
    let assessment = last_assessment(connection, &claim.customer_id, id)?;
    Ok(Some(ClaimView { claim, incident, service, assessment }))
}

/// What its policy said last of a claim.
pub fn last_assessment(connection: &mut Connection, customer: &str, id: Uuid) -> StoreResult<Option<AssessmentRow>> {
    Ok(assessment::table
        .filter(assessment::customer_id.eq(customer).and(assessment::claim_id.eq(id)))
        .order(assessment::seq.desc())
        .first(connection)
        .optional()?)
}

/// A claim by its id, locked until the transaction ends: whoever moves it next waits for this one.
pub fn lock(connection: &mut Connection, id: Uuid) -> StoreResult<Option<ClaimRow>> {
    Ok(claim::table.filter(claim::id.eq(id)).select(ClaimRow::as_select()).for_update().first(connection).optional()?)
}

/// Counts a change of a claim that moves it nowhere: what a reader saw of it before is stale.
pub fn touch(connection: &mut Connection, customer: &str, id: Uuid, at: DateTime<Utc>) -> StoreResult<()> {
    diesel::update(claim::table.find((id, customer)))
        .set((claim::version.eq(claim::version + 1), claim::updated_at.eq(at)))
        .execute(connection)?;
    Ok(())
}

/// Whose a claim is.
pub fn customer_of(connection: &mut Connection, id: Uuid) -> StoreResult<String> {
    claim::table
        .filter(claim::id.eq(id))
        .select(claim::customer_id)
        .first(connection)
        .optional()?
        .ok_or_else(|| StoreError::NotFound("such claim".into()))
}

/// Makes a claim that was merged into another one of its own again.
pub fn unmerge(connection: &mut Connection, customer: &str, id: Uuid) -> StoreResult<()> {
    diesel::update(claim::table.find((id, customer))).set(claim::duplicate_of.eq(None::<Uuid>)).execute(connection)?;
    Ok(())
}

/// The claim in which a customer claimed this loss before.
pub fn of_loss(connection: &mut Connection, customer: &str, loss: Uuid) -> StoreResult<Option<ClaimRow>> {
    Ok(claim::table
        .filter(claim::customer_id.eq(customer).and(claim::loss.eq(loss)))
        .select(ClaimRow::as_select())
        .first(connection)
        .optional()?)
}

/// Changes what a draft says.
pub fn redraft(
    connection: &mut Connection,
    row: &ClaimRow,
    facts: &serde_json::Value,
    sealed: &[u8],
    address: Option<&str>,
) -> StoreResult<()> {
    let draft = claim::table.find((row.id, &row.customer_id)).filter(claim::state.eq("draft"));
    diesel::update(draft).set(claim::facts.eq(facts)).execute(connection)?;
    diesel::update(personal::table.find((&row.customer_id, row.id)))
        .set((personal::sealed.eq(sealed), personal::address.eq(address)))
        .execute(connection)?;
    Ok(())
}

/// Marks a draft as sent: when, and what is claimed.
pub fn mark_submitted(
    connection: &mut Connection,
    row: &ClaimRow,
    loss: Option<Uuid>,
    at: DateTime<Utc>,
) -> StoreResult<()> {
    diesel::update(claim::table.find((row.id, &row.customer_id)))
        .set((claim::submitted_at.eq(at), claim::loss.eq(loss)))
        .execute(connection)?;
    Ok(())
}

/// Marks a claim as handled in another one.
pub fn mark_merged(connection: &mut Connection, row: &ClaimRow, into: Uuid) -> StoreResult<()> {
    diesel::update(claim::table.find((row.id, &row.customer_id)))
        .set((claim::duplicate_of.eq(into), claim::loss.eq(None::<Uuid>)))
        .execute(connection)?;
    Ok(())
}

/// A claim with what [`find`] adds, locked until the transaction ends.
pub fn find_locked(connection: &mut Connection, customer: &str, id: Uuid) -> StoreResult<Option<ClaimView>> {
    let locked: Option<Uuid> =
        claim::table.find((id, customer)).select(claim::id).for_update().first(connection).optional()?;
    match locked {
        Some(id) => find(connection, id),
        None => Ok(None),
    }
}

/// A claim by its reference. Two may have the same once in a great many; then neither is found by it.
pub fn find_by_reference(connection: &mut Connection, reference: &str) -> StoreResult<Option<ClaimView>> {
    let ids: Vec<Uuid> =
        claim::table.filter(claim::reference.eq(reference)).select(claim::id).limit(2).load(connection)?;
    match ids.as_slice() {
        [id] => find(connection, *id),
        _ => Ok(None),
    }
}

/// The newest claims of a customer.
pub fn of_customer(connection: &mut Connection, customer: &str, limit: i64) -> StoreResult<Vec<ClaimView>> {
    let ids: Vec<Uuid> = claim::table
        .filter(claim::customer_id.eq(customer))
        .order(claim::id.desc())
        .limit(limit)
        .select(claim::id)
        .load(connection)?;
    views(connection, &ids)
}

/// The newest claims that have an address, by its keyed hash.
pub fn of_address(connection: &mut Connection, address: &str, limit: i64) -> StoreResult<Vec<ClaimView>> {
    let ids: Vec<Uuid> = personal::table
        .filter(personal::address.eq(address))
        .order(personal::claim_id.desc())
        .limit(limit)
        .select(personal::claim_id)
        .load(connection)?;
    views(connection, &ids)
}

/// Whether a claim has an address, by its keyed hash.
pub fn has_address(connection: &mut Connection, customer: &str, id: Uuid, address: &str) -> StoreResult<bool> {
    Ok(diesel::select(diesel::dsl::exists(personal::table.find((customer, id)).filter(personal::address.eq(address))))
        .get_result(connection)?)
}

/// Claims with the names of their incidents and services, the newest first; without their assessments.
fn views(connection: &mut Connection, ids: &[Uuid]) -> StoreResult<Vec<ClaimView>> {
    let found: Vec<(ClaimRow, String, String)> = claim::table
        .inner_join(incident::table.on(incident::id.eq(claim::incident_id)))
        .inner_join(service::table.on(service::id.eq(claim::service_id)))
        .filter(claim::id.eq_any(ids))
        .order(claim::id.desc())
        .select((ClaimRow::as_select(), incident::name, service::name))
        .load(connection)?;
    let view = |(claim, incident, service)| ClaimView { claim, incident, service, assessment: None };
    Ok(found.into_iter().map(view).collect())
}

/// What is sealed of a claim; none once it was destroyed.
pub fn sealed(connection: &mut Connection, customer: &str, id: Uuid) -> StoreResult<Option<Vec<u8>>> {
    Ok(personal::table.find((customer, id)).select(personal::sealed).first(connection).optional()?)
}

/// Any claim with what is sealed of it, to try a key on.
pub fn any_personal(connection: &mut Connection) -> StoreResult<Option<(ClaimRow, Vec<u8>)>> {
    Ok(claim::table
        .inner_join(
            personal::table.on(personal::customer_id.eq(claim::customer_id).and(personal::claim_id.eq(claim::id))),
        )
        .select((ClaimRow::as_select(), personal::sealed))
        .first(connection)
        .optional()?)
}

/// Replaces what is sealed of a claim; false when it was destroyed.
pub fn reseal(connection: &mut Connection, customer: &str, id: Uuid, sealed: &[u8]) -> StoreResult<bool> {
    let resealed =
        diesel::update(personal::table.find((customer, id))).set(personal::sealed.eq(sealed)).execute(connection)?;
    Ok(resealed == 1)
}

/// Moves a claim; the update filters on the states from which the move is legal, so that two movers cannot both win.
/// Returns false when the claim does not stand in one of them.
pub fn advance(
    connection: &mut Connection,
    customer: &str,
    id: Uuid,
    action: ClaimMove,
    to: ClaimState,
    at: DateTime<Utc>,
) -> StoreResult<bool> {
    Ok(advance_all(connection, &[(customer, id)], action, to, at)? == 1)
}

/// Claims of a service that wait for a policy, by id after `after`, locked until the transaction ends; a claim that
/// somebody works on is left to them.
pub fn waiting(
    connection: &mut Connection,
    incident_key: i32,
    service_key: i32,
    after: Option<Uuid>,
    limit: i64,
) -> StoreResult<Vec<ClaimRow>> {
    Ok(claim::table
        .filter(claim::incident_id.eq(incident_key).and(claim::service_id.eq(service_key)))
        .filter(claim::state.eq("pending_policy").and(claim::id.gt(after.unwrap_or_else(Uuid::nil))))
        .order(claim::id)
        .limit(limit)
        .select(ClaimRow::as_select())
        .for_update()
        .skip_locked()
        .load(connection)?)
}

/// The claims of a service that were sent and not withdrawn, by id after `after`.
pub fn of_service(
    connection: &mut Connection,
    incident_key: i32,
    service_key: i32,
    after: Option<Uuid>,
    limit: i64,
) -> StoreResult<Vec<ClaimRow>> {
    Ok(claim::table
        .filter(claim::incident_id.eq(incident_key).and(claim::service_id.eq(service_key)))
        .filter(claim::state.ne_all(["draft", "withdrawn"]).and(claim::id.gt(after.unwrap_or_else(Uuid::nil))))
        .order(claim::id)
        .limit(limit)
        .select(ClaimRow::as_select())
        .load(connection)?)
}

/// Which claims are at rest: of one service, in one state, unchanged since then, by id after another.
#[derive(Debug, Clone, Copy)]
pub struct Resting {
    /// The service's key.
    pub service_key: i32,
    /// The state.
    pub state: ClaimState,
    /// Since when nothing happened to them.
    pub since: DateTime<Utc>,
    /// The last one that was looked at.
    pub after: Option<Uuid>,
}

/// Claims at rest of whose credits nothing is owed any more.
pub fn resting(connection: &mut Connection, wanted: &Resting, limit: i64) -> StoreResult<Vec<Uuid>> {
    // Diesel has no words for the last movement of each credit.
    let settled = diesel::dsl::sql::<Bool>(
        "NOT EXISTS (SELECT FROM transfer WHERE transfer.customer_id = claim.customer_id AND transfer.code = 2
                     AND transfer.subject = 'claim/' || claim.id
                     AND coalesce((SELECT movement.owed_after FROM credit_movement AS movement
                                   WHERE movement.customer_id = transfer.customer_id AND movement.credit_id = transfer.id
                                   ORDER BY movement.seq DESC LIMIT 1), transfer.amount) > 0)",
    );
    let unanswered = task::table
        .filter(task::customer_id.eq(claim::customer_id).and(task::claim_id.eq(claim::id)).and(task::is_open));
    Ok(claim::table
        .filter(claim::service_id.eq(wanted.service_key).and(claim::state.eq(wanted.state.as_str())))
        .filter(claim::id.gt(wanted.after.unwrap_or_else(Uuid::nil)).and(claim::updated_at.lt(wanted.since)))
        .filter(settled)
        .filter(diesel::dsl::not(diesel::dsl::exists(unanswered)))
        .order(claim::id)
        .limit(limit)
        .select(claim::id)
        .load(connection)?)
}

/// Where claims wait for a policy although one is in force: incident and service by name.
pub fn overlooked(connection: &mut Connection) -> StoreResult<Vec<(String, String)>> {
    Ok(claim::table
        .inner_join(incident::table.on(incident::id.eq(claim::incident_id)))
        .inner_join(service::table.on(service::id.eq(claim::service_id)))
        .inner_join(
            policy::table.on(policy::incident_id.eq(claim::incident_id).and(policy::service_id.eq(claim::service_id))),
        )
        .inner_join(policy_version::table.on(policy_version::policy_id.eq(policy::id)))
        .filter(claim::state.eq("pending_policy").and(policy::basis.ne("undecided")))
        .filter(policy_version::approved_at.is_not_null().and(policy_version::retired_at.is_null()))
        .select((incident::name, service::name))
        .distinct()
        .load(connection)?)
}

/// How many assessments a claim has had.
pub fn assessments(connection: &mut Connection, customer: &str, id: Uuid) -> StoreResult<i32> {
    let last: Option<i32> = assessment::table
        .filter(assessment::customer_id.eq(customer).and(assessment::claim_id.eq(id)))
        .select(diesel::dsl::max(assessment::seq))
        .first(connection)?;
    Ok(last.unwrap_or(0))
}

/// Moves several claims the same way, as [`advance`] does one; returns how many stood where that is legal.
pub fn advance_all(
    connection: &mut Connection,
    claims: &[(impl AsRef<str>, Uuid)],
    action: ClaimMove,
    to: ClaimState,
    at: DateTime<Utc>,
) -> StoreResult<usize> {
    let from: Vec<&str> = action.legal_from().map(ClaimState::as_str).collect();
    let (customers, ids): (Vec<&str>, Vec<Uuid>) = claims.iter().map(|(customer, id)| (customer.as_ref(), *id)).unzip();
    // What was credited cannot be taken back; what is taken back may be claimed again. Diesel has no words for an update that joins
    // a list of pairs.
    Ok(diesel::sql_query(
        "UPDATE claim SET state = $3, version = version + 1, updated_at = $4,
                          credited_at = CASE WHEN $5 THEN coalesce(credited_at, $4) ELSE credited_at END,
                          loss = CASE WHEN $7 THEN NULL ELSE loss END
         FROM unnest($1, $2) AS pair (customer_id, id)
         WHERE claim.customer_id = pair.customer_id COLLATE \"C\" AND claim.id = pair.id AND claim.state = ANY ($6)
           AND NOT ($7 AND claim.credited_at IS NOT NULL)",
    )
    .bind::<Array<Text>, _>(customers)
    .bind::<Array<SqlUuid>, _>(ids)
    .bind::<Text, _>(to.as_str())
    .bind::<Timestamptz, _>(at)
    .bind::<Bool, _>(action == ClaimMove::Issue)
    .bind::<Array<Text>, _>(from)
    .bind::<Bool, _>(action == ClaimMove::Withdraw)
    .execute(connection)?)
}
