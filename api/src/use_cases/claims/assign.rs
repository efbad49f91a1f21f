//! Who is given a claim to read: only somebody to whom it then comes, or it would stand in nobody's queue.

use chrono::{DateTime, Utc};
use redress_domain::id::ServiceId;
use redress_store::staff::{self, StaffMember};
use redress_store::{Connection, StoreError, incidents, tasks};
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;
use validator::Validate;

use super::case::Case;
use super::desk;
use super::review::{Reader, must_be_another};
use crate::app::Actor;
use crate::error::{AppError, AppResult};
use crate::refusal::Refusal;
use crate::rights::{Member, Right};

/// To whom a claim is given.
#[derive(Debug, Clone, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Assignment {
    /// The member of staff, who must be able to work on it; nobody when null.
    #[validate(length(min = 1, max = 64, message = "must have 1 to 64 characters"))]
    #[schema(min_length = 1, max_length = 64)]
    pub to: Option<String>,
}

/// Gives a claim to a reader, or to nobody.
pub fn assign(
    connection: &mut Connection,
    reader: &Reader,
    id: Uuid,
    to: &Assignment,
    actor: &Actor,
    at: DateTime<Utc>,
) -> AppResult<()> {
    // Whoever revokes somebody locks him before his claims: in the same order nobody waits for each other.
    let wanted = to.to.as_deref().map(|name| staff::hold_active(connection, name));
    let mut case = Case::lock(connection, id)?;
    reader.must_reach(&case, connection)?;
    if let Some(wanted) = wanted {
        let row = wanted.map_err(|error| match error {
            StoreError::NotFound(what) => cannot(format!("there is no {what}")),
            other => other.into(),
        })?;
        must_be_another(&case, &row.name)?;
        must_get_it(connection, &case, row, at)?;
    }
    give(connection, &mut case, to.to.as_deref(), actor, at)
}

/// Refuses somebody to whom the claim would never come.
fn must_get_it(connection: &mut Connection, case: &Case, row: StaffMember, at: DateTime<Utc>) -> AppResult<()> {
    let comes_in = staff::can_come_in(connection, &row, at)?;
    let member = Member::try_from(row)?;
    let name = member.name.as_str();
    if !Right::WorkClaims.is_of(member.role) {
        return Err(cannot(format!("{name} is {} and does not work on claims", member.role.as_str())));
    }
    let service = incidents::service_name(connection, case.claim.service_id)?;
    if !member.works_for(&ServiceId::parse(&service).map_err(StoreError::corrupt)?) {
        return Err(cannot(format!("{name} does not work for the service of this claim")));
    }
    if !comes_in {
        return Err(cannot(format!("{name} has not set himself up yet")));
    }
    if case.task.as_ref().is_some_and(|task| task.is_open && task.queue == desk::SIGNATURES) {
        if !Right::ApproveDecisions.is_of(member.role) {
            return Err(cannot(format!("{name} is {} and gives no second signature", member.role.as_str())));
        }
        if case.proposed().is_some_and(|decision| decision.decided_by == name) {
            return Err(cannot(format!("{name} decided this himself: another has to sign it")));
        }
    }
    Ok(())
}

fn cannot(why: impl std::fmt::Display) -> AppError {
    Refusal::field("/to", why).into()
}

fn give(
    connection: &mut Connection,
    case: &mut Case,
    to: Option<&str>,
    actor: &Actor,
    at: DateTime<Utc>,
) -> AppResult<()> {
    let before = case.seen();
    if !tasks::assign(connection, &case.claim.customer_id, case.claim.id, to)? {
        return Err(Refusal::Conflict("nothing is to be done about this claim".into()).into());
    }
    case.touch(connection, at)?;
    case.log(connection, actor, "claim.assign", serde_json::json!({ "to": to }), &before)
}

/// Gives everybody back what somebody was given who does not work on claims any more; returns how many claims it is. The
/// member must be locked, so that he is given nothing meanwhile.
pub(in crate::use_cases) fn give_back(
    connection: &mut Connection,
    name: &str,
    actor: &Actor,
    at: DateTime<Utc>,
) -> AppResult<usize> {
    let mut given_back = 0;
    for id in tasks::given_to(connection, name)? {
        let mut case = Case::lock(connection, id)?;
        // It may have been closed or given to another before it was locked.
        if case.task.as_ref().is_some_and(|task| task.is_open && task.assignee.as_deref() == Some(name)) {
            give(connection, &mut case, None, actor, at)?;
            given_back += 1;
        }
    }
    Ok(given_back)
}
