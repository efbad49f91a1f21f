//! Telling services to grant what was issued, exactly once in effect. One pass cuts what was issued since into batches,
//! leases those that are due, commits, calls, and records: never a network call in a transaction. A batch that was sent
//! and not answered is sent again under the same id with the same content, so that the service knows it again.

mod acknowledge;
pub mod answer;
mod content;
pub mod desk;

use std::sync::Mutex;

use chrono::{DateTime, Duration, Utc};
use redress_domain::credit::Flow;
use redress_store::Connection;
use redress_store::deliveries::{self, DeliveryRow, Fate, Leased, Reach, RefusalRow};
use redress_store::failpoint::{CallPoint, reach_call};
use redress_store::webhooks::{self, DELIVERIES, WebhookRow};

pub use self::acknowledge::{Acknowledged, Acknowledgement, MAX_RESULTS, acknowledge};
use self::answer::{Answer, Given};
use self::content::Content;
use super::credits::{self, Left};
use super::webhooks::{call_each, note_failed};
use crate::app::{Actor, App};
use crate::error::AppResult;
use crate::outgoing::{Failure, Outgoing, Target};

/// How long a worker may take for a batch before another takes it over: a call and what comes before and after it.
const LEASE: Duration = Duration::minutes(10);
/// How long a service that answered 202 may take before it is told again.
const TERM: Duration = Duration::hours(24);
/// What stands beside a credit of which a service granted a part.
const PARTLY: &str = "partly-delivered";

/// What a pass did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Pass {
    /// Batches that services answered in full.
    pub sent: u64,
    /// Credits in them that were granted.
    pub delivered: u64,
    /// Credits that services refused, or granted in part, and that a person has to see.
    pub refused: u64,
    /// Batches that services took and will acknowledge later.
    pub awaiting: u64,
    /// Batches that are sent again.
    pub postponed: u64,
    /// Batches that a person has to see.
    pub dead: u64,
}

impl Pass {
    fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.delivered += other.delivered;
        self.refused += other.refused;
        self.awaiting += other.awaiting;
        self.postponed += other.postponed;
        self.dead += other.dead;
    }
}

/// Cuts what was issued into batches, and sends those that are due until there is none or `stop` says so. A service that
/// fails is left alone until its time.
pub fn send_due(
    app: &App,
    outgoing: &Outgoing,
    actor: &Actor,
    reach: Reach,
    stop: &(dyn Fn() -> bool + Sync),
) -> AppResult<Pass> {
    while !stop() && app.store.transaction(|connection| deliveries::plan(connection, reach, Utc::now()))? {}
    if reach == Reach::All {
        app.store.with(|connection| deliveries::settle_refused(connection, Utc::now()))?;
    }
    let pass = Mutex::new(Pass::default());
    let worker = Worker { app, outgoing, actor, stop, pass: &pass };
    call_each(due(app)?, |webhook| worker.serve(webhook))?;
    Ok(pass.into_inner().unwrap_or_default())
}

/// The services that may be called and have something due.
fn due(app: &App) -> AppResult<Vec<WebhookRow>> {
    app.store.with(|connection| {
        let now = Utc::now();
        let mut due = Vec::new();
        for webhook in webhooks::callable(connection, DELIVERIES, now)? {
            if let Some(service) = webhook.service_id
                && deliveries::has_due(connection, service, now)?
            {
                due.push(webhook);
            }
        }
        Ok(due)
    })
}

struct Worker<'a> {
    app: &'a App,
    outgoing: &'a Outgoing,
    actor: &'a Actor,
    stop: &'a (dyn Fn() -> bool + Sync),
    pass: &'a Mutex<Pass>,
}

impl Worker<'_> {
    /// Sends what is due at one service, until a call fails.
    fn serve(&self, webhook: &WebhookRow) -> AppResult<()> {
        let Some(service) = webhook.service_id else { return Ok(()) };
        let target = Target::open(&self.app.secrets, webhook, Utc::now())?;
        while !(self.stop)() {
            let now = Utc::now();
            let leased =
                self.app.store.transaction(|connection| deliveries::lease(connection, service, now, now + LEASE))?;
            let Some(leased) = leased else { break };
            reach_call(CallPoint::Leased);
            let (done, went) = self.send(webhook, &target, &leased)?;
            if let Ok(mut pass) = self.pass.lock() {
                pass.add(done);
            }
            if !went {
                break;
            }
        }
        Ok(())
    }

    /// Sends a batch and records what came of it; says whether the service may be called again at once.
    fn send(&self, webhook: &WebhookRow, target: &Target, leased: &Leased) -> AppResult<(Pass, bool)> {
        let content = Content::load(self.app, leased)?;
        if content.is_answered() {
            // Delivered by hand meanwhile, or nothing of it was owed when it was to be sent.
            return Ok((self.record(webhook, leased, &content, &Answer::nothing_more())?, true));
        }
        let answer = self.outgoing.post(target, leased.row.id, &content.body()?).and_then(|taken| {
            Answer::read(&taken, &content).map_err(|why| Failure { why, reached: true, retry_after: None, gone: false })
        });
        reach_call(CallPoint::Answered);
        match answer {
            Ok(answer) => Ok((self.record(webhook, leased, &content, &answer)?, true)),
            Err(failure) => Ok((self.fail(webhook, leased, &failure)?, false)),
        }
    }

    /// Records an answer: what was granted moves in the ledger, what was refused is kept for a person, and the batch ends,
    /// all together or not at all.
    fn record(&self, webhook: &WebhookRow, leased: &Leased, content: &Content, answer: &Answer) -> AppResult<Pass> {
        let pass = credits::decide(self.app, |connection| {
            let now = Utc::now();
            // What others may hold comes first: once a posting has its time, nothing is waited for.
            webhooks::note_success(connection, webhook.id)?;
            deliveries::lock(connection, leased.row.id)?;
            let settled = settle(connection, content, &answer.given, self.actor)?;
            let mut pass = Pass { delivered: settled.delivered, refused: settled.refused, ..Pass::default() };
            let remind_at = answer.later.then_some(now + TERM);
            match conclude(connection, &leased.row, leased.as_of, remind_at, now)? {
                Conclusion::Ended => pass.sent = 1,
                Conclusion::Awaits => pass.awaiting = 1,
            }
            reach_call(CallPoint::Recording);
            Ok(pass)
        })?;
        reach_call(CallPoint::Recorded);
        if pass.refused > 0 {
            tracing::warn!(delivery = %leased.row.id, refused = pass.refused, "a service refused credits");
        }
        Ok(pass)
    }

    /// Records that a call failed: the batch goes again at its time, the service is left alone until then, and after too
    /// many failures a person has to see it.
    fn fail(&self, webhook: &WebhookRow, leased: &Leased, failure: &Failure) -> AppResult<Pass> {
        let now = Utc::now();
        let (id, attempts) = (leased.row.id, leased.row.attempts);
        let pass = self.app.store.transaction(|connection| -> AppResult<Pass> {
            let verdict = note_failed(connection, webhook, failure, attempts, now)?;
            let fate = verdict.again.map_or(Fate::Dead, Fate::Again);
            deliveries::postpone(connection, leased, &failure.why, fate, failure.reached)?;
            let mut pass = Pass::default();
            if fate == Fate::Dead {
                pass.dead = 1
            } else {
                pass.postponed = 1
            }
            if verdict.given_up {
                pass.dead += deliveries::give_up(connection, leased.row.service_id, &failure.why)? as u64;
            }
            Ok(pass)
        })?;
        tracing::warn!(delivery = %id, attempts, why = failure.why, dead = pass.dead, "a delivery did not go");
        Ok(pass)
    }
}

/// What came of an answer in the books.
#[derive(Debug, Default)]
struct Settled {
    delivered: u64,
    refused: u64,
}

/// Takes what a service said of credits of a batch into the books: the delivered ones move, the others stand beside it.
fn settle(connection: &mut Connection, content: &Content, given: &[Given], actor: &Actor) -> AppResult<Settled> {
    let at = Utc::now();
    let refusal = |given: &Given, reason: String| RefusalRow {
        customer_id: given.leaving.customer.to_string(),
        delivery_id: content.id(),
        credit_id: given.leaving.credit.0,
        reason,
        refused_at: at,
    };
    let granted: Vec<&Given> = given.iter().filter(|given| given.refused.is_none()).collect();
    let items: Vec<_> = granted.iter().map(|given| given.leaving.clone()).collect();
    let mut rows: Vec<RefusalRow> =
        given.iter().filter_map(|given| given.refused.clone().map(|reason| refusal(given, reason))).collect();
    let mut left = Left::default();
    if !items.is_empty() {
        left = credits::leave_in(connection, Flow::Deliver, &items, actor, Some(format!("delivery {}", content.id())))?;
    }
    // Granted, the service says, but the books have it otherwise: somebody has to look, and nothing is hidden.
    rows.extend(left.refused.iter().filter_map(|no| Some(refusal(granted.get(no.index)?, no.code.to_owned()))));
    rows.extend(left.partly.iter().filter_map(|place| Some(refusal(granted.get(*place)?, PARTLY.to_owned()))));
    let refused = deliveries::refuse(connection, &rows)?;
    Ok(Settled { delivered: left.recorded as u64, refused: refused as u64 })
}

enum Conclusion {
    Ended,
    Awaits,
}

/// Ends a batch when every credit has its answer; else it awaits the rest until then, or as long as it did before.
fn conclude(
    connection: &mut Connection,
    row: &DeliveryRow,
    as_of: DateTime<Utc>,
    remind_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> AppResult<Conclusion> {
    if deliveries::has_outstanding(connection, row, as_of)? {
        if let Some(at) = remind_at {
            deliveries::await_acknowledgement(connection, row.id, at)?;
        }
        return Ok(Conclusion::Awaits);
    }
    let open = deliveries::refused(connection, row.id)?.iter().any(|credit| credit.owed > 0);
    deliveries::end(connection, row.id, if open { "refused" } else { "done" }, now)?;
    Ok(Conclusion::Ended)
}
