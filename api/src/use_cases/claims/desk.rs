//! The desk: claims come to it when a person has to look, each in a queue.

use chrono::{DateTime, Utc};
use redress_domain::claim::{ClaimMove, ClaimState};
use redress_store::claims::{self, ClaimRow};
use redress_store::tasks::{self, NewTask};
use redress_store::{Connection, StoreError};
use uuid::Uuid;

use super::StoredAssessment;
use crate::error::AppResult;

/// Appeals, which somebody reads who did not decide before.
pub const APPEALS: &str = "appeal";
/// Decisions that wait for a second signature.
pub const SIGNATURES: &str = "signature";
/// Enquiries, which claim nothing and are in nobody's way.
pub const ENQUIRIES: &str = "enquiry";
/// Words about claims that nobody is about to decide: they are answered, and the claim stays what it is.
pub const LETTERS: &str = "letter";
/// Claims whose loss is paid elsewhere, and claims that were taken up again.
pub const AGAIN: &str = "again";
/// Claims that look like another's.
pub const ALIKE: &str = "alike";

/// The queue of a claim that its policy leaves to people.
pub(in crate::use_cases) fn queue_of(assessment: &StoredAssessment) -> &str {
    assessment.queue.as_deref().unwrap_or(AGAIN)
}

/// Puts a claim into a queue.
pub(in crate::use_cases) fn put(
    connection: &mut Connection,
    claim: &ClaimRow,
    queue: &str,
    keep_reader: bool,
    at: DateTime<Utc>,
) -> AppResult<()> {
    let (customer, service_key) = (claim.customer_id.as_str(), claim.service_id);
    let task = NewTask { customer, claim: claim.id, service_key, queue, at };
    Ok(tasks::open(connection, &[task], keep_reader)?)
}

/// Sends granted claims of which nothing is due back to people; returns how many stood where that is legal.
pub fn send_back(
    connection: &mut Connection,
    claims: &[(String, Uuid, i32)],
    at: DateTime<Utc>,
) -> Result<usize, StoreError> {
    let keys: Vec<(String, Uuid)> = claims.iter().map(|(customer, id, _)| (customer.clone(), *id)).collect();
    let moved = claims::advance_all(connection, &keys, ClaimMove::Review, ClaimState::InReview, at)?;
    let tasks: Vec<NewTask<'_>> = claims
        .iter()
        .map(|(customer, claim, service_key)| NewTask {
            customer,
            claim: *claim,
            service_key: *service_key,
            queue: AGAIN,
            at,
        })
        .collect();
    tasks::open(connection, &tasks, true)?;
    Ok(moved)
}
