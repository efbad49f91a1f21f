//! What readers do with the claims on the desk: take the next one, ask its claimant, take it up again, answer it.

use chrono::{DateTime, Duration, Utc};
use redress_domain::claim::ClaimMove;
use redress_domain::id::ServiceId;
use redress_domain::notice::Event;
use redress_domain::review::{ANSWER_DAYS, next_reminder};
use redress_store::notices::{self, NoticeRow};
use redress_store::tasks::{self, Reach};
use redress_store::{Connection, StoreError, claims};
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;
use validator::Validate;

use super::case::Case;
use super::claimant::Words;
use super::{desk, now};
use crate::app::{Actor, App};
use crate::error::AppResult;
use crate::refusal::Refusal;
use crate::whole;

/// How long a claim is a reader's own before another may take it; renewed by asking for it again.
pub const LEASE: Duration = Duration::minutes(15);

/// Who works on claims, and what limits it.
#[derive(Debug, Clone)]
pub struct Reader {
    /// The name.
    pub name: String,
    /// The services he works for; all when none.
    pub services: Option<Vec<ServiceId>>,
    /// The largest amount he decides alone, in won.
    pub decides_up_to: i64,
    /// Whether he gives second signatures.
    pub countersigns: bool,
}

impl Reader {
    /// Refuses a claim of a service that is not his: to him it does not exist.
    pub(super) fn must_reach(&self, case: &Case, connection: &mut Connection) -> AppResult<()> {
        let Some(services) = &self.services else { return Ok(()) };
        let name = redress_store::incidents::service_name(connection, case.claim.service_id)?;
        if services.iter().any(|service| service.as_str() == name) {
            return Ok(());
        }
        Err(StoreError::NotFound("such claim".into()).into())
    }

    /// The keys of the services he works for.
    pub fn service_keys(&self, connection: &mut Connection) -> AppResult<Option<Vec<i32>>> {
        let Some(services) = &self.services else { return Ok(None) };
        let names: Vec<&str> = services.iter().map(ServiceId::as_str).collect();
        Ok(Some(redress_store::incidents::service_keys(connection, &names)?))
    }

    /// Takes the lease of a claim, or refuses while somebody else has it.
    pub(super) fn hold(&self, connection: &mut Connection, case: &Case, at: DateTime<Utc>) -> AppResult<()> {
        let (customer, id) = (case.claim.customer_id.as_str(), case.claim.id);
        match case.task.as_ref().filter(|task| task.is_open) {
            Some(task) if !tasks::lease(connection, customer, id, &self.name, at, at + LEASE)? => {
                Err(Refusal::Held { by: task.leased_by.clone().unwrap_or_default() }.into())
            }
            _ => Ok(()),
        }
    }
}

/// A command of a reader: who gives it, and when.
#[derive(Clone, Copy)]
pub struct Command<'a> {
    /// The installation.
    pub app: &'a App,
    /// Who reads.
    pub reader: &'a Reader,
    /// The same, as the log names him.
    pub actor: &'a Actor,
    /// The time of it all.
    pub at: DateTime<Utc>,
}

/// Leases the next claim of the reader's queue; none when nothing waits.
pub fn next(connection: &mut Connection, reader: &Reader, queue: Option<&str>) -> AppResult<Option<Uuid>> {
    let at = now();
    // Enquiries stand in nobody's way, and signatures are for those who give them.
    let mut not_unasked = vec![desk::ENQUIRIES];
    if !reader.countersigns {
        not_unasked.push(desk::SIGNATURES);
    }
    if queue == Some(desk::SIGNATURES) && !reader.countersigns {
        return Ok(None);
    }
    let reach = Reach { reader: &reader.name, services: reader.service_keys(connection)?, queue, not_unasked };
    Ok(tasks::lease_next(connection, &reach, at, at + LEASE)?.map(|task| task.claim_id))
}

/// Takes the lease of one claim, or renews it.
pub fn lease(connection: &mut Connection, reader: &Reader, id: Uuid) -> AppResult<()> {
    let case = Case::lock(connection, id)?;
    reader.must_reach(&case, connection)?;
    if !case.task.as_ref().is_some_and(|task| task.is_open) {
        return Err(Refusal::Conflict("nothing is to be done about this claim".into()).into());
    }
    reader.hold(connection, &case, now())
}

/// Gives a lease back.
pub fn release(connection: &mut Connection, reader: &Reader, id: Uuid) -> AppResult<()> {
    let case = Case::lock(connection, id)?;
    reader.must_reach(&case, connection)?;
    Ok(tasks::release(connection, &case.claim.customer_id, id, &reader.name)?)
}

/// Refuses the reader of an appeal who decided what it is against.
pub(super) fn must_be_another(case: &Case, name: &str) -> AppResult<()> {
    let decided = |appeal: &redress_store::decisions::AppealRow| {
        [&appeal.decided_by, &appeal.countersigned_by].into_iter().flatten().any(|by| by == name)
    };
    if case.open_appeal().is_some_and(decided) {
        return Err(
            Refusal::FourEyes(format!("{name} decided what is appealed: somebody else reads the appeal")).into()
        );
    }
    Ok(())
}

/// What a claimant is asked.
#[derive(Debug, Clone, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// What is asked. Encrypted at rest.
    #[validate(length(min = 1, max = 4000, message = "must have 1 to 4000 characters"))]
    #[schema(min_length = 1, max_length = 4000)]
    pub text: String,
    /// For how many days the claimant may answer, 3 to 60; 14 unless said.
    #[serde(default = "two_weeks", deserialize_with = "whole::number")]
    #[schema(minimum = 3, maximum = 60, default = 14)]
    pub days: i64,
}

fn two_weeks() -> i64 {
    14
}

/// Asks the claimant; reminders follow, and when the term is over the claim comes back to its reader.
pub fn request_information(
    app: &App,
    connection: &mut Connection,
    reader: &Reader,
    id: Uuid,
    question: &Question,
    actor: &Actor,
    at: DateTime<Utc>,
) -> AppResult<()> {
    if !ANSWER_DAYS.contains(&question.days) {
        let (least, most) = (ANSWER_DAYS.start(), ANSWER_DAYS.end());
        return Err(Refusal::field("/days", format!("must be {least} to {most}")).into());
    }
    let mut case = Case::lock(connection, id)?;
    reader.must_reach(&case, connection)?;
    let before = case.seen();
    case.step(connection, ClaimMove::RequestInformation, at)?;
    reader.hold(connection, &case, at)?;
    case.write(app, connection, "question", Some(&reader.name), &question.text, at)?;
    let due = at + Duration::days(question.days);
    tasks::wait(connection, &case.claim.customer_id, id, due)?;
    case.log(connection, actor, "claim.request-information", serde_json::json!({ "until": due }), &before)?;
    case.tell(connection, Event::InformationWanted, at)
}

/// Writes to the claimant; a letter is answered by it.
pub fn write(
    app: &App,
    connection: &mut Connection,
    reader: &Reader,
    id: Uuid,
    words: &Words,
    actor: &Actor,
    at: DateTime<Utc>,
) -> AppResult<()> {
    let mut case = Case::lock(connection, id)?;
    reader.must_reach(&case, connection)?;
    let before = case.seen();
    let message = case.write(app, connection, "message", Some(&reader.name), &words.text, at)?;
    case.touch(connection, at)?;
    if case.task.as_ref().is_some_and(|task| task.is_open && task.queue == desk::LETTERS) {
        reader.hold(connection, &case, at)?;
        tasks::close(connection, &case.claim.customer_id, id)?;
    }
    case.log(connection, actor, "claim.message", serde_json::json!({ "message": message }), &before)?;
    case.tell(connection, Event::Message, at)
}

/// Answers an enquiry and closes it.
pub fn answer(
    app: &App,
    connection: &mut Connection,
    reader: &Reader,
    id: Uuid,
    words: &Words,
    actor: &Actor,
    at: DateTime<Utc>,
) -> AppResult<()> {
    let mut case = Case::lock(connection, id)?;
    reader.must_reach(&case, connection)?;
    if case.claim.kind != "enquiry" {
        return Err(Refusal::Conflict("this is a claim, not an enquiry: decide it".into()).into());
    }
    let before = case.seen();
    case.step(connection, ClaimMove::Answer, at)?;
    reader.hold(connection, &case, at)?;
    case.write(app, connection, "message", Some(&reader.name), &words.text, at)?;
    tasks::close(connection, &case.claim.customer_id, id)?;
    case.log(connection, actor, "claim.answer", serde_json::json!({}), &before)?;
    case.tell(connection, Event::Message, at)
}

/// Takes a claim up again: what was decided holds until it is decided anew.
pub fn reopen(
    connection: &mut Connection,
    reader: &Reader,
    id: Uuid,
    why: &str,
    actor: &Actor,
    at: DateTime<Utc>,
) -> AppResult<()> {
    let mut case = Case::lock(connection, id)?;
    reader.must_reach(&case, connection)?;
    let before = case.seen();
    if case.claim.duplicate_of.is_some() {
        claims::unmerge(connection, &case.claim.customer_id, id)?;
        case.claim.duplicate_of = None;
    }
    case.step(connection, ClaimMove::Reopen, at)?;
    let queue = if case.claim.kind == "enquiry" { desk::ENQUIRIES } else { desk::AGAIN };
    desk::put(connection, &case.claim, queue, false, at)?;
    case.log(connection, actor, "claim.reopen", serde_json::json!({ "reason": why }), &before)
}

/// What a pass over the terms did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Terms {
    /// Claimants that were reminded.
    pub reminded: u64,
    /// Claims that came back to a reader, since their claimants were silent.
    pub returned: u64,
}

/// How many claims are looked at in one transaction.
const BATCH: i64 = 200;

/// Reminds claimants who were asked, and brings claims whose term is over back to their readers: never declined for
/// silence alone.
pub fn watch_terms(app: &App, actor: &Actor) -> AppResult<Terms> {
    let mut terms = Terms::default();
    loop {
        let changed = app.store.transaction(|connection| watch_some(connection, actor, now()))?;
        terms.reminded += changed.reminded;
        terms.returned += changed.returned;
        if changed == Terms::default() {
            return Ok(terms);
        }
    }
}

fn watch_some(connection: &mut Connection, actor: &Actor, at: DateTime<Utc>) -> AppResult<Terms> {
    let mut terms = Terms::default();
    let reminders = redress_domain::review::REMINDER_DAYS.map(|days| at + Duration::days(days));
    for task in tasks::due(connection, at, &reminders, BATCH)? {
        let Some(due) = task.due_at else { continue };
        if due <= at {
            terms.returned += u64::from(bring_back(connection, task.claim_id, actor, at)?);
            continue;
        }
        // Only the last reminder that is due is sent: whoever was down for a week does not send two at once.
        let mut times = usize::try_from(task.reminded).map_err(StoreError::corrupt)?;
        while next_reminder(due, times).is_some_and(|reminder| reminder <= at) {
            times += 1;
        }
        let times = i16::try_from(times).map_err(StoreError::corrupt)?;
        if tasks::mark_reminded(connection, &task, times)? {
            let notice = NoticeRow::queued(&task.customer_id, Uuid::now_v7(), task.claim_id, Event::Reminder, at);
            // The day on which the term ends tells the terms of one claim apart.
            let occasion = due.timestamp() / 86_400 * 10 + i64::from(times);
            let notice = notice.on_occasion(i32::try_from(occasion).map_err(StoreError::corrupt)?);
            notices::queue(connection, &[notice])?;
            terms.reminded += 1;
        }
    }
    Ok(terms)
}

/// Brings a claim whose term is over back to its reader; false when its claimant answered meanwhile.
fn bring_back(connection: &mut Connection, id: Uuid, actor: &Actor, at: DateTime<Utc>) -> AppResult<bool> {
    let mut case = Case::lock(connection, id)?;
    let is_over = |task: &tasks::TaskRow| task.due_at.is_some_and(|due| due <= at);
    let Some(task) = case.task.clone().filter(is_over) else { return Ok(false) };
    let before = case.seen();
    case.step(connection, ClaimMove::Review, at)?;
    desk::put(connection, &case.claim, &task.queue, true, at)?;
    case.log(connection, actor, "claim.term-over", serde_json::json!({}), &before)?;
    Ok(true)
}
