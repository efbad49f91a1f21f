//! Claims, what is sealed of them, and their assessments.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use redress_domain::claim::{ClaimMove, ClaimState};
use uuid::Uuid;

use crate::connection::Connection;
use crate::error::{StoreError, StoreResult};
use crate::schema::{assessment, claim, incident, personal, policy, policy_version, service};

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
    pub trace: serde_json::Value,
    /// When.
    pub assessed_at: DateTime<Utc>,
}

/// Adds a claim, what is sealed of it, and the keyed hash by which its address is found again.
pub fn insert(connection: &mut Connection, row: &ClaimRow, sealed: &[u8], address: Option<&str>) -> StoreResult<()> {
    diesel::insert_into(claim::table).values(row).execute(connection)?;
    diesel::insert_into(personal::table)
        .values((
            personal::customer_id.eq(&row.customer_id),
            personal::claim_id.eq(row.id),
            personal::sealed.eq(sealed),
            personal::address.eq(address),
        ))
        .execute(connection)?;
    Ok(())
}

/// Adds an assessment.
pub fn insert_assessment(connection: &mut Connection, row: &AssessmentRow) -> StoreResult<()> {
    diesel::insert_into(assessment::table).values(row).execute(connection)?;
    Ok(())
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
    let assessment = assessment::table
        .filter(assessment::customer_id.eq(&claim.customer_id).and(assessment::claim_id.eq(id)))
        .order(assessment::seq.desc())
        .first(connection)
        .optional()?;
    Ok(Some(ClaimView { claim, incident, service, assessment }))
}

/// A claim with what [`find`] adds, locked until the transaction ends.
pub fn find_locked(connection: &mut Connection, customer: &str, id: Uuid) -> StoreResult<Option<ClaimView>> {
    let locked: Option<Uuid> =
        claim::table.find((customer, id)).select(claim::id).for_update().first(connection).optional()?;
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
    let from: Vec<&str> = action.legal_from().map(ClaimState::as_str).collect();
    let moved = diesel::update(claim::table.find((customer, id)).filter(claim::state.eq_any(from)))
        .set((claim::state.eq(to.as_str()), claim::version.eq(claim::version + 1), claim::updated_at.eq(at)))
        .execute(connection)?;
    Ok(moved == 1)
}

/// Counts a change of a claim that moves nothing.
pub fn touch(connection: &mut Connection, customer: &str, id: Uuid, at: DateTime<Utc>) -> StoreResult<()> {
    diesel::update(claim::table.find((customer, id)))
        .set((claim::version.eq(claim::version + 1), claim::updated_at.eq(at)))
        .execute(connection)?;
    Ok(())
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

/// A claim that was granted. One that has its credit still counts: another for the same loss must not be paid too.
#[derive(Debug, Clone, Queryable)]
pub struct GrantedClaim {
    /// Whose it is.
    pub customer_id: String,
    /// Its id.
    pub id: Uuid,
    /// The service's key.
    pub service_id: i32,
    /// Where it stands.
    pub state: String,
    /// What was claimed.
    pub facts: serde_json::Value,
    /// When.
    pub submitted_at: Option<DateTime<Utc>>,
    /// The version that granted it.
    pub policy_version_id: Option<i32>,
    /// The assessment whole.
    pub trace: serde_json::Value,
}

/// The granted claims of the customers of a range, by customer and id, each with the assessment that granted it.
pub fn granted_of_range(
    connection: &mut Connection,
    incident_key: i32,
    from: Option<&str>,
    till: Option<&str>,
) -> StoreResult<Vec<GrantedClaim>> {
    let mut query = claim::table
        .inner_join(
            assessment::table
                .on(assessment::customer_id.eq(claim::customer_id).and(assessment::claim_id.eq(claim::id))),
        )
        .filter(claim::incident_id.eq(incident_key))
        .filter(claim::state.eq_any(["approved", "partly_approved", "issued", "closed"]))
        .filter(assessment::outcome.eq("award"))
        .into_boxed();
    if let Some(from) = from {
        query = query.filter(claim::customer_id.ge(from));
    }
    if let Some(till) = till {
        query = query.filter(claim::customer_id.lt(till));
    }
    let mut granted: Vec<GrantedClaim> = query
        .order((claim::customer_id, claim::id, assessment::seq.desc()))
        .select((
            claim::customer_id,
            claim::id,
            claim::service_id,
            claim::state,
            claim::facts,
            claim::submitted_at,
            assessment::policy_version_id,
            assessment::trace,
        ))
        .load(connection)?;
    // The newest assessment of a claim comes first; the older ones are history.
    granted.dedup_by(|later, first| later.id == first.id);
    Ok(granted)
}

/// Moves several claims the same way; returns how many stood where that is legal.
pub fn advance_all(
    connection: &mut Connection,
    claims: &[(String, Uuid)],
    action: ClaimMove,
    to: ClaimState,
    at: DateTime<Utc>,
) -> StoreResult<usize> {
    let mut moved = 0;
    for (customer, id) in claims {
        moved += usize::from(advance(connection, customer, *id, action, to, at)?);
    }
    Ok(moved)
}
