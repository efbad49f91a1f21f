//! What a claimant does with a claim after it was begun: sends it, takes it back, writes, appeals.

use chrono::{DateTime, Utc};
use redress_domain::claim::{ClaimMove, ClaimState};
use redress_domain::notice::Event;
use redress_store::Connection;
use redress_store::decisions::{self, AppealRow};
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;
use validator::Validate;

use super::case::Case;
use super::desk;
use crate::app::{Actor, App};
use crate::error::AppResult;
use crate::refusal::Refusal;

/// Words of a claimant or a reader.
#[derive(Debug, Clone, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Words {
    /// The words. Encrypted at rest.
    #[validate(length(min = 1, max = 4000, message = "must have 1 to 4000 characters"))]
    #[schema(min_length = 1, max_length = 4000)]
    pub text: String,
}

/// Takes a claim back; it may be claimed again.
pub fn withdraw(connection: &mut Connection, id: Uuid, actor: &Actor, at: DateTime<Utc>) -> AppResult<()> {
    let mut case = Case::lock(connection, id)?;
    let before = case.seen();
    case.step(connection, ClaimMove::Withdraw, at)?;
    redress_store::tasks::close(connection, &case.claim.customer_id, id)?;
    case.log(connection, actor, "claim.withdraw", serde_json::json!({}), &before)?;
    case.tell(connection, Event::Withdrawn, at)
}

/// Keeps what a claimant writes, and brings it before somebody: an answer to a question brings the claim back to its
/// reader at once, a word about an enquiry that was answered brings it to one, and so does one about a claim that is decided.
pub fn write(
    app: &App,
    connection: &mut Connection,
    id: Uuid,
    words: &Words,
    actor: &Actor,
    at: DateTime<Utc>,
) -> AppResult<()> {
    let mut case = Case::lock(connection, id)?;
    let before = case.seen();
    let message = case.write(app, connection, "message", None, &words.text, at)?;
    match case.claim.state()? {
        ClaimState::NeedsInformation => {
            case.step(connection, ClaimMove::Review, at)?;
            let queue = case.task.as_ref().map_or(desk::AGAIN, |task| task.queue.as_str()).to_owned();
            desk::put(connection, &case.claim, &queue, true, at)?;
        }
        ClaimState::Closed if case.claim.kind == "enquiry" => {
            case.step(connection, ClaimMove::Reopen, at)?;
            desk::put(connection, &case.claim, desk::ENQUIRIES, true, at)?;
        }
        ClaimState::Withdrawn => return Err(Refusal::Conflict("this claim was withdrawn".into()).into()),
        // Whoever is about to decide must see it first.
        ClaimState::Draft | ClaimState::Submitted | ClaimState::InReview => case.touch(connection, at)?,
        // Nobody is about to: it comes to somebody as a letter, and the claim stays what it is.
        ClaimState::Approved
        | ClaimState::PartlyApproved
        | ClaimState::Declined
        | ClaimState::Issued
        | ClaimState::Closed
        | ClaimState::PendingPolicy => {
            case.touch(connection, at)?;
            desk::put(connection, &case.claim, desk::LETTERS, true, at)?;
        }
    }
    case.log(connection, actor, "claim.message", serde_json::json!({ "message": message }), &before)
}

/// Appeals against the last decision: once, in time, and somebody else reads it.
pub fn appeal(
    app: &App,
    connection: &mut Connection,
    id: Uuid,
    words: &Words,
    actor: &Actor,
    at: DateTime<Utc>,
) -> AppResult<()> {
    let mut case = Case::lock(connection, id)?;
    let before = case.seen();
    case.claim.state()?.after(ClaimMove::Appeal).map_err(Refusal::Illegal)?;
    let ruling = case.ruling()?.ok_or(Refusal::Appeal(redress_domain::review::AppealRefused::NothingRefused))?;
    let appealed: Vec<i32> = case.appeals.iter().map(|appeal| appeal.against).collect();
    let appeal = ruling.appeal(at, &appealed).map_err(Refusal::Appeal)?;
    let mut deciders = appeal.decided_by().iter();
    let row = AppealRow {
        customer_id: case.claim.customer_id.clone(),
        claim_id: id,
        against: appeal.against(),
        filed_at: at,
        decided_by: deciders.next().cloned(),
        countersigned_by: deciders.next().cloned(),
        read_by: None,
        read_at: None,
        outcome: None,
    };
    decisions::insert_appeal(connection, &row)?;
    case.appeals.push(row);
    case.write(app, connection, "appeal", None, &words.text, at)?;
    case.step(connection, ClaimMove::Appeal, at)?;
    desk::put(connection, &case.claim, desk::APPEALS, false, at)?;
    case.log(connection, actor, "claim.appeal", serde_json::json!({ "against": appeal.against() }), &before)?;
    case.tell(connection, Event::Appealed, at)
}
