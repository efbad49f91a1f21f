//! Filing away what is over: a claim that is decided and paid, or declined, whose time for an appeal has passed and of which
//! nothing is owed any more. It can still be reopened.

use chrono::{DateTime, Duration, Utc};
use redress_domain::claim::{ClaimMove, ClaimState};
use redress_domain::review::APPEAL_DAYS;
use redress_store::claims::{self, Resting};
use redress_store::{Connection, incidents, presence};

use super::case::Case;
use super::now;
use crate::app::{Actor, App};
use crate::error::AppResult;

/// How many claims one transaction closes.
const BATCH: i64 = 200;

/// Closes what is over; returns how many claims it was. Who looked at claims is forgotten on the way.
pub fn pass(app: &App, actor: &Actor) -> AppResult<u64> {
    let since = now() - Duration::days(APPEAL_DAYS);
    let mut closed = 0;
    for service_key in app.store.with(incidents::all_service_keys)? {
        for state in ClaimMove::Close.legal_from() {
            let mut resting = Resting { service_key, state, since, after: None };
            while let Some(last) = app.store.transaction(|connection| close_some(connection, &resting, actor))? {
                closed += last.closed;
                resting.after = Some(last.id);
            }
        }
    }
    app.store.with(|connection| presence::forget(connection, now() - Duration::hours(1)))?;
    Ok(closed)
}

/// What a batch did.
struct Batch {
    closed: u64,
    id: uuid::Uuid,
}

/// Closes a batch; none when nothing is left to look at.
fn close_some(connection: &mut Connection, resting: &Resting, actor: &Actor) -> AppResult<Option<Batch>> {
    let ids = claims::resting(connection, resting, BATCH)?;
    let Some(id) = ids.last().copied() else { return Ok(None) };
    let mut closed = 0;
    for id in ids {
        closed += u64::from(close(connection, id, resting.since, actor, now())?);
    }
    Ok(Some(Batch { closed, id }))
}

/// Closes one claim, unless somebody moved it meanwhile.
fn close(
    connection: &mut Connection,
    id: uuid::Uuid,
    since: DateTime<Utc>,
    actor: &Actor,
    at: DateTime<Utc>,
) -> AppResult<bool> {
    let mut case = Case::lock(connection, id)?;
    let state: ClaimState = case.claim.state()?;
    if state.after(ClaimMove::Close).is_err() || case.claim.updated_at >= since {
        return Ok(false);
    }
    let before = case.seen();
    case.step(connection, ClaimMove::Close, at)?;
    case.log(connection, actor, "claim.close", serde_json::json!({}), &before)?;
    Ok(true)
}
