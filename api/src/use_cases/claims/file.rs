//! Filing damage reports: many are stored, assessed, audited and answered in one transaction, each once per Idempotency-Key. One
//! report is a batch of one; what cannot be filed spoils nothing for the others.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use redress_domain::claim::{ClaimMove, ClaimState};
use redress_domain::id::ClaimId;
use redress_domain::notice::Event;
use redress_store::claims::{AssessmentRow, ClaimRow};
use redress_store::connection::in_transaction;
use redress_store::failpoint::{self, Guard};
use redress_store::filing::{self, Known, Question};
use redress_store::holdings::HeldRow;
use redress_store::idempotency::SavedAnswer;
use redress_store::{Connection, JsonText, Session, StoreError};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::kept::{self, Kept};
use super::new::ClaimKind;
use super::status::MergedInto;
use super::{ClaimAnswer, NewClaim, aside, desk, duplicates, now};
use crate::app::{Actor, App};
use crate::assess::{self, ClaimFacts, ClaimOutcome};
use crate::error::{AppError, AppResult};
use crate::in_force::{IncidentInForce, Incidents};
use crate::use_cases::policies::move_of;

/// The most reports that one transaction files.
pub const MAX_BATCH: usize = 64;

/// A report that is to be filed once under its key.
#[derive(Debug, Clone)]
pub struct Order {
    /// The report.
    pub new: NewClaim,
    /// The key.
    pub key: String,
    /// Who files it.
    pub actor: Actor,
    request_hash: [u8; 32],
}

impl Order {
    /// `request` is the body as it came, byte for byte.
    #[must_use]
    pub fn new(new: NewClaim, key: String, request: &[u8], actor: Actor) -> Self {
        Self { new, key, actor, request_hash: Sha256::digest(request).into() }
    }

    /// What the answer is sealed for.
    fn context(&self) -> String {
        format!("answer/{}/{}", self.new.customer, self.key)
    }
}

/// What most answers take, so that one grows into no larger room while it is written.
const USUAL_ANSWER: usize = 2048;

/// How often a batch is asked for anew because what is in force changed meanwhile.
const MOST_QUESTIONS: u32 = 5;

/// What filing led to.
#[derive(Debug)]
pub enum Filed {
    /// An answer, new or the same as before.
    Answer {
        /// The body, byte for byte.
        body: Vec<u8>,
        /// Where the claim is.
        location: String,
        /// Whether it was given before.
        replayed: bool,
    },
    /// The key came with another request before.
    KeyReused,
    /// The first request with this key is under way.
    KeyInFlight,
    /// A field cannot be used: its JSON pointer and why.
    Field(String, String),
}

/// Files reports and tells what came of each, by its place, after the commit that it speaks of. A batch that fails is halved until
/// what makes it fail stands alone.
pub fn file(app: &App, session: &mut Session, orders: &[Order], tell: &mut dyn FnMut(usize, AppResult<Filed>)) {
    let all: Vec<usize> = (0..orders.len()).collect();
    let mut left: Vec<Vec<usize>> = all.chunks(MAX_BATCH).rev().map(<[usize]>::to_vec).collect();
    while let Some(batch) = left.pop() {
        let error = match attempt(app, session, orders, &batch, tell) {
            Ok(later) if later.is_empty() => continue,
            Ok(later) => {
                left.push(later);
                continue;
            }
            Err(error) => error,
        };
        match (batch.as_slice(), error) {
            // Nobody of them would fare better alone.
            (_, AppError::Store(StoreError::Unreachable(why))) => {
                batch.iter().for_each(|place| tell(*place, Err(StoreError::Unreachable(why.clone()).into())));
            }
            // The same loss, or the same key, came through another server at the same moment: by now it is there to be merged
            // into, or to be given again.
            ([only], AppError::Store(error))
                if matches!(error.constraint(), Some("claim_once" | "idempotency_pkey")) =>
            {
                if let Err(error) = attempt(app, session, orders, &[*only], tell) {
                    tell(*only, Err(error));
                }
            }
            ([only], error) => tell(*only, Err(error)),
            (batch, _) => {
                let (first, second) = batch.split_at(batch.len() / 2);
                left.extend([second.to_vec(), first.to_vec()]);
            }
        }
    }
}

/// What came of a report in its batch.
enum Step {
    /// This.
    Done(Filed),
    /// It needs what another report of the batch leads to.
    Later,
}

/// Files a batch, all of it or nothing; returns those that have to come after it.
fn attempt(
    app: &App,
    session: &mut Session,
    orders: &[Order],
    batch: &[usize],
    tell: &mut dyn FnMut(usize, AppResult<Filed>),
) -> AppResult<Vec<usize>> {
    let members: Vec<&Order> = batch.iter().map(|place| &orders[*place]).collect();
    let mut later = Vec::new();
    let mut settle = |steps: Vec<Step>| {
        for (place, step) in batch.iter().zip(steps) {
            match step {
                Step::Done(filed) => tell(*place, Ok(filed)),
                Step::Later => later.push(*place),
            }
        }
    };
    let committed = catch_unwind(AssertUnwindSafe(|| {
        let (steps, batch) = session.read(|connection| decide(app, connection, &members))?;
        if failpoint::is_without(Guard::Commit) {
            settle(steps);
            return session.write(|connection| batch.write(app, connection)).map(|()| Vec::new());
        }
        session.write(|connection| batch.write(app, connection)).map(|()| steps)
    }));
    // A mistake of ours in one report is no reason to answer none.
    settle(committed.unwrap_or_else(|_| Err(StoreError::corrupt("filing a report panicked").into()))?);
    Ok(later)
}

/// A report that was read: where it belongs, and what is claimed.
pub(super) struct Report<'a> {
    pub(super) order: &'a Order,
    pub(super) ground: Arc<IncidentInForce>,
    pub(super) service_key: i32,
    pub(super) facts: ClaimFacts,
    /// What is claimed now, as a keyed hash: a draft claims nothing yet, and an enquiry never does.
    loss: Option<Uuid>,
}

/// A field's JSON pointer and what is wrong with it.
type FieldFault = (String, String);

/// What is to be written of a batch.
struct Batch<'a> {
    kept: Vec<Kept>,
    answers: Vec<SavedAnswer>,
    /// Reports of a loss that a claim is there for: that claim, and the report's own.
    merges: Vec<(Uuid, ClaimRow, &'a Order)>,
    has_listeners: bool,
    at: DateTime<Utc>,
}

impl Batch<'_> {
    /// Writes it, all or nothing: mostly by one statement, for which no transaction has to be begun and ended.
    fn write(mut self, app: &App, connection: &mut Connection) -> AppResult<()> {
        // In one order, so that batches of two servers never wait for each other in a ring.
        self.kept.sort_by(|a, b| (&a.claim.customer_id, a.claim.loss).cmp(&(&b.claim.customer_id, b.claim.loss)));
        self.answers.sort_by(|a, b| (&a.customer_id, &a.key).cmp(&(&b.customer_id, &b.key)));
        if self.merges.is_empty() && !self.has_listeners {
            return kept::write(connection, self.kept, self.answers, false);
        }
        in_transaction(connection, |connection| {
            kept::write(connection, self.kept, self.answers, self.has_listeners)?;
            self.merges.sort_by_key(|(first, ..)| *first);
            for (first, second, order) in self.merges {
                duplicates::merge(app, connection, &second, first, &order.new.description, &order.actor, self.at)?;
            }
            Ok(())
        })
    }
}

/// What is known of a batch: of each report what it states, or its fault, and what is stored of it.
struct Loaded<'a> {
    reports: Vec<Result<Report<'a>, FieldFault>>,
    known: Vec<Known>,
    has_listeners: bool,
}

/// Loads all by one question. What reports are read by is what was last seen; where it is no longer so, they are read and asked for
/// again by what is.
fn load<'a>(app: &App, connection: &mut Connection, orders: &[&'a Order]) -> AppResult<Loaded<'a>> {
    let mut incidents = app.in_force.last_seen();
    for _ in 0..MOST_QUESTIONS {
        let reports: Vec<_> = orders.iter().map(|order| read(app, order, &incidents)).collect();
        let questions: Vec<_> = orders.iter().zip(&reports).map(|(order, report)| question(order, report)).collect();
        let (known, state) = filing::ask(connection, &questions)?;
        let now = app.in_force.of(app, connection, &state, orders.iter().map(|order| &order.new.incident))?;
        let is_as_seen = |order: &&Order| match (incidents.get(&order.new.incident), now.get(&order.new.incident)) {
            (Some(seen), Some(now)) => Arc::ptr_eq(seen, now),
            (seen, now) => seen.is_none() && now.is_none(),
        };
        if orders.iter().all(is_as_seen) {
            return Ok(Loaded { reports, known, has_listeners: state.has_listeners });
        }
        incidents = now;
    }
    Err(StoreError::Contention("what is in force changes faster than reports are read".into()).into())
}

/// What has to be known of a report; of one that cannot be read only whether its key was used.
fn question<'q>(order: &'q Order, report: &Result<Report<'_>, FieldFault>) -> Question<'q> {
    let (incident_key, service_key, loss) = match report {
        Ok(report) => (report.ground.found.key, report.service_key, report.loss),
        Err(_) => (0, 0, None),
    };
    Question { customer: order.new.customer.as_str(), key: &order.key, incident_key, service_key, loss }
}

/// Loads all and decides each; reads only.
fn decide<'a>(app: &App, connection: &mut Connection, orders: &[&'a Order]) -> AppResult<(Vec<Step>, Batch<'a>)> {
    let at = now();
    let Loaded { reports, mut known, has_listeners } = load(app, connection, orders)?;
    let mut steps = known_answers(app, orders, &mut known)?;
    let mut losses = HashSet::new();
    let mut due = Vec::with_capacity(orders.len());
    for ((step, report), known) in steps.iter_mut().zip(reports).zip(&known).filter(|((step, _), _)| step.is_none()) {
        match report {
            Ok(report) if report.loss.is_some_and(|loss| !losses.insert((&report.order.new.customer, loss))) => {
                *step = Some(Step::Later);
            }
            Ok(report) => due.push((step, report, known)),
            Err((pointer, detail)) => *step = Some(Step::Done(Filed::Field(pointer, detail))),
        }
    }
    let (mut all, mut answers) = (Vec::with_capacity(due.len()), Vec::with_capacity(due.len()));
    let mut merges = Vec::new();
    for (step, report, known) in due {
        let first = known.first.as_ref();
        let mut kept = match keep(app, &report, first, &known.held, at)? {
            Ok(kept) => kept,
            Err((pointer, detail)) => {
                *step = Some(Step::Done(Filed::Field(pointer, detail)));
                continue;
            }
        };
        let answer = answer(app, &report, &mut kept, first)?;
        let (saved, filed) = saved(app, report.order, &answer, at)?;
        *step = Some(Step::Done(filed));
        if let Some(first) = first {
            merges.push((first.id, kept.claim.clone(), report.order));
        }
        answers.push(saved);
        all.push(kept);
    }
    let done = steps.into_iter().map(|step| step.ok_or_else(|| StoreError::corrupt("a report came to nothing").into()));
    let batch = Batch { kept: all, answers, merges, has_listeners, at };
    Ok((done.collect::<AppResult<_>>()?, batch))
}

/// Answers what was answered before; the others are to be filed.
fn known_answers(app: &App, orders: &[&Order], known: &mut [Known]) -> AppResult<Vec<Option<Step>>> {
    let (mut names, mut steps) = (HashSet::new(), Vec::with_capacity(orders.len()));
    for (order, known) in orders.iter().zip(known) {
        steps.push(match known.given.take() {
            _ if !names.insert((&order.new.customer, &order.key)) => Some(Step::Later),
            None => None,
            Some(saved) if saved.request_hash != order.request_hash => Some(Step::Done(Filed::KeyReused)),
            Some(saved) => {
                let body = app.secrets.open(&saved.body, &order.context())?;
                let location = saved.location.unwrap_or_default();
                Some(Step::Done(Filed::Answer { body, location, replayed: true }))
            }
        });
    }
    Ok(steps)
}

/// Finds where a report belongs and reads what it states.
fn read<'a>(app: &App, order: &'a Order, incidents: &Incidents) -> Result<Report<'a>, FieldFault> {
    let new = &order.new;
    let Some(ground) = incidents.get(&new.incident) else {
        return Err(("/incident".into(), format!("there is no incident {}", new.incident)));
    };
    let Ok(service_key) = ground.found.service_key(&new.service) else {
        return Err(("/service".into(), format!("service {} is not part of incident {}", new.service, new.incident)));
    };
    let facts = assess::claim_facts(&new.facts)?;
    let claims = !new.draft && new.kind == ClaimKind::Damage;
    let loss = claims.then(|| duplicates::loss_of(app, ground.found.key, service_key, &facts.json, &new.description));
    Ok(Report { order, ground: Arc::clone(ground), service_key, facts, loss })
}

/// What is kept of one report.
fn keep(
    app: &App,
    report: &Report<'_>,
    first: Option<&ClaimRow>,
    held: &[HeldRow],
    at: DateTime<Utc>,
) -> AppResult<Result<Kept, FieldFault>> {
    match first {
        _ if report.order.new.draft => aside::draft(app, report, at).map(Ok),
        _ if report.order.new.kind == ClaimKind::Enquiry => aside::enquiry(app, report, at).map(Ok),
        Some(first) => aside::merged(app, report, first, at).map(Ok),
        None => assessed(app, report, held, at),
    }
}

/// A claim that its policy decides, or leaves to people, or that waits for one.
fn assessed(
    app: &App,
    report: &Report<'_>,
    held: &[HeldRow],
    at: DateTime<Utc>,
) -> AppResult<Result<Kept, FieldFault>> {
    let new = &report.order.new;
    let assessed = match assess::claim(&assess::ClaimSubject {
        policies: report.ground.policies_of(report.service_key),
        wanted: new.policy.as_ref(),
        incident: &report.ground.found.incident,
        service: &new.service,
        customer: &new.customer,
        holdings: held,
        facts: &report.facts,
        evidence: &[],
        submitted_at: at,
    })? {
        Ok(assessed) => assessed,
        Err(fault) => return Ok(Err(fault)),
    };
    let said = assessed.assessment;
    let state = state_after(said.outcome)?;
    let mut kept = Kept::new(app, report, state, at)?;
    kept.claim.loss = report.loss;
    kept.assessment = Some(AssessmentRow {
        customer_id: kept.claim.customer_id.clone(),
        claim_id: kept.claim.id,
        seq: 1,
        policy_version_id: assessed.version_key,
        outcome: said.outcome.as_str().to_owned(),
        trace: JsonText::of(&said)?,
        assessed_at: at,
    });
    kept.queue = (state == ClaimState::InReview).then(|| desk::queue_of(&said).to_owned());
    let detail = serde_json::json!({ "status": kept.claim.state, "policy": said.policy, "version": said.version,
                                     "rule": said.rule });
    kept.log(report, "claim.file", detail);
    kept.tell(Event::Received);
    if said.outcome.is_final() {
        kept.tell(Event::Decided);
    }
    kept.said = Some(said);
    Ok(Ok(kept))
}

/// The state of a claim that was just sent and assessed.
fn state_after(outcome: ClaimOutcome) -> AppResult<ClaimState> {
    let submitted = ClaimState::Draft.after(ClaimMove::Submit)?;
    Ok(submitted.after(move_of(outcome).unwrap_or(ClaimMove::AwaitPolicy))?)
}

/// How a report is answered.
fn answer(app: &App, report: &Report<'_>, kept: &mut Kept, first: Option<&ClaimRow>) -> AppResult<ClaimAnswer> {
    let mut answer = kept.answer(report)?;
    // Most of an assessment; it is kept once, with the claim, where whoever wants it finds it.
    if let Some(said) = &mut answer.assessment {
        said.trace = None;
    }
    let token = app.secrets.claimant_token(ClaimId(answer.id));
    // Behind the #, where browsers keep it to themselves: no server and no log on the way sees it.
    answer.link = Some(format!("/claims/{}#{token}", answer.reference));
    answer.token = Some(token);
    if answer.kind == ClaimKind::Enquiry && !report.order.new.draft {
        answer.reply = Some(aside::reply_of(report.ground.policies_of(report.service_key)));
    }
    answer.duplicate_of =
        first.map(|first| MergedInto { reference: first.reference.clone(), status: first.state.clone() });
    Ok(answer)
}

/// The answer as it is kept under its key, and as it is given.
fn saved(app: &App, order: &Order, answer: &ClaimAnswer, at: DateTime<Utc>) -> AppResult<(SavedAnswer, Filed)> {
    let mut body = Vec::with_capacity(USUAL_ANSWER);
    serde_json::to_writer(&mut body, answer).map_err(StoreError::corrupt)?;
    let location = format!("/v1/claims/{}", answer.id);
    let saved = SavedAnswer {
        customer_id: order.new.customer.to_string(),
        key: order.key.clone(),
        request_hash: order.request_hash.to_vec(),
        status: 201,
        location: Some(location.clone()),
        // The answer holds the claimant's token, so it is sealed like everything that opens a claim.
        body: app.secrets.seal(&body, &order.context())?,
        created_at: at,
    };
    Ok((saved, Filed::Answer { body, location, replayed: false }))
}
