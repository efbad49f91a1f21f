//! The batch job: what the policies grant and was not credited yet is credited, chunk by chunk, exactly once.
//!
//! A run is cut into ranges of customers. A worker takes a range nobody works on, loads what is known of its customers,
//! decides by pure functions while the server takes in what was decided before, and writes transfers, totals, claims, notices
//! and the chunk's own mark in one transaction. Whatever dies, a chunk is done or it never happened; and a credit's id follows from what it is for, so
//! that even a chunk done twice could not credit twice.

mod begin;
mod chunk;
mod commit;
mod context;
mod plan;
mod subjects;
mod tally;
mod verdict;

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use chrono::Utc;
use redress_domain::id::{IncidentId, PolicyId};
use redress_domain::run::{RunMove, RunState};
use redress_store::failpoint::{Point, reach};
use redress_store::runs::{self, RunRow};
use redress_store::{StoreError, audit, incidents, policies, run_lifecycle};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use self::begin::Begun;
pub(super) use self::begin::{plan_of, void_reason};
use self::context::Context;
pub use self::plan::{Basis, Plan, plan};
pub use self::tally::{CreditTally, PolicyTally, Tally};
use crate::app::{Actor, App};
use crate::error::{AppError, AppResult};
use crate::rights::Right;

/// The most holdings and claims a chunk has, about: a tenth of a second's work, small enough to be lost without regret, and large
/// enough that its commit and its single statements cost little beside its rows.
const CHUNK_SIZE: i64 = 40_000;
/// How many workers share a job unless it is told otherwise.
pub const WORKERS: u16 = 2;
/// How long to wait for chunks that other workers hold before looking again.
const WAIT_FOR_OTHERS: Duration = Duration::from_millis(50);

/// How often a chunk that met another transaction is tried again.
const MAX_TRIES: u32 = 50;

/// What to issue.
#[derive(Debug, Clone)]
pub struct Order {
    /// The incident.
    pub incident: IncidentId,
    /// Only these policies; all when empty.
    pub policies: BTreeSet<PolicyId>,
    /// How many workers share the job.
    pub workers: usize,
}

impl Order {
    pub(crate) fn scope(&self) -> serde_json::Value {
        if self.policies.is_empty() { serde_json::Value::Null } else { serde_json::json!(self.policies) }
    }

    /// The order that a run was opened for.
    pub fn of_run(run: &RunRow, incident: &str, workers: usize) -> AppResult<Self> {
        let policies: Option<BTreeSet<PolicyId>> =
            serde_json::from_value(run.scope.clone()).map_err(StoreError::corrupt)?;
        let incident = IncidentId::parse(incident).map_err(StoreError::corrupt)?;
        Ok(Self { incident, policies: policies.unwrap_or_default(), workers })
    }
}

/// Somebody who wants to see how far the job is.
pub trait Watcher: Sync {
    /// The job has so many chunks, and so many are done.
    fn begin(&self, chunks: u64, done: u64);
    /// One more chunk is done; so many credits are issued by this execution.
    fn advance(&self, credits: u64);
    /// Whether this process is about to end: then the run is left to the next one.
    fn is_leaving(&self) -> bool {
        false
    }
}

/// Watches in silence.
pub struct Nobody;

impl Watcher for Nobody {
    fn begin(&self, _chunks: u64, _done: u64) {}
    fn advance(&self, _credits: u64) {}
}

/// What an execution did, or would do.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Report {
    /// The run; none for a plan.
    pub run: Option<i64>,
    /// Where the run stands; none for a plan.
    #[schema(value_type = Option<String>)]
    pub state: Option<RunState>,
    /// The plan's hash, which an approval names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// Whether an earlier execution was gone on with.
    pub resumed: bool,
    /// Credits issued by this execution.
    pub issued: u64,
    /// Why it stopped before the end, if it did.
    pub stopped: Option<String>,
    /// The figures of this execution.
    pub tally: Tally,
    /// The budgets it draws on.
    pub budgets: Vec<BudgetState>,
}

/// How a budget stands against what is or would be issued.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BudgetState {
    /// The service.
    pub service: String,
    /// The asset.
    pub asset: String,
    /// Its minor digits.
    pub scale: i16,
    /// Minor units that this execution issued or would issue.
    pub needed: i64,
    /// Minor units approved and not issued.
    pub left: i64,
}

/// Issues what is owed. An open run of the same scope is gone on with; when nothing is owed, 0 are issued. A run above a
/// limit is only opened, and waits for a second person.
pub fn run(app: &App, order: &Order, actor: &Actor, watcher: &dyn Watcher) -> AppResult<Report> {
    may_issue(app, actor)?;
    super::policies::assess_overlooked(app, actor)?;
    let context = Context::load(app, order, actor)?;
    match begin::begin(&context, order, watcher)? {
        Begun::Waits(report) => Ok(*report),
        Begun::Run { run, resumed } => execute(context, order, &run, resumed, watcher),
    }
}

/// Goes on with one run that is approved, running or stopped; refuses any other.
pub fn go_on(app: &App, run_id: i64, workers: usize, actor: &Actor, watcher: &dyn Watcher) -> AppResult<Report> {
    let (row, incident) = app.store.with(|connection| run_lifecycle::find(connection, run_id))?;
    let order = Order::of_run(&row, &incident, workers)?;
    let context = Context::load(app, &order, actor)?;
    let run = begin::go_on(&context, run_id)?;
    execute(context, &order, &run, true, watcher)
}

/// Opens a run that the servers execute, as soon as it may be.
pub fn open_for_servers(app: &App, order: &Order, key: &str, actor: &Actor) -> AppResult<RunRow> {
    may_issue(app, actor)?;
    super::policies::assess_overlooked(app, actor)?;
    begin::open_for_servers(&Context::load(app, order, actor)?, order, key)
}

fn may_issue(app: &App, actor: &Actor) -> AppResult<()> {
    if actor.name == "system" {
        return Ok(());
    }
    app.store.with(|connection| super::staff::require_everywhere(connection, &actor.name, Right::RunIssue)).map(drop)
}

/// Works on a run until no chunk is left or somebody has to stop. When other versions of policies come into force meanwhile,
/// the chunks that are left go by those.
fn execute<'a>(
    context: Context<'a>,
    order: &'a Order,
    run: &RunRow,
    resumed: bool,
    watcher: &dyn Watcher,
) -> AppResult<Report> {
    let app = context.app;
    let (done, all) = app.store.with(|connection| runs::tallies(connection, run.id))?;
    watcher.begin(u64::try_from(all).unwrap_or(0), u64::try_from(done.len()).unwrap_or(0));
    let mut work = Work {
        context,
        run: run.id,
        watcher,
        stop: AtomicBool::new(false),
        overtaken: AtomicBool::new(false),
        at_work: AtomicUsize::new(0),
        issued: AtomicU64::new(0),
        tally: Mutex::default(),
    };
    reach(Point::Opened);
    let (state, stopped) = loop {
        let failure = work.by_all(order.workers).or_else(|| work.catch_up(order, run).err());
        reach(Point::Closing);
        let tally = work.tally();
        if watcher.is_leaving() && failure.is_none() && !work.is_over()? {
            break (RunState::Running, Some("this process ends; the next one goes on".to_owned()));
        }
        let has_failed = failure.is_some();
        let closed = close(&work.context, run.id, &tally, failure)?;
        // It was overtaken, or somebody paused it and let it go on while the workers came home: there is more to do.
        if closed.0 != RunState::Running || has_failed {
            break closed;
        }
    };
    let tally = work.tally();
    let budgets = app.store.with(|connection| work.context.budget_states(connection, &tally))?;
    let plan = run.plan_hash.clone();
    let (run, state) = (Some(run.id), Some(state));
    Ok(Report { run, state, plan, resumed, issued: tally.credits, stopped, tally, budgets })
}

/// Ends an execution: done when no chunk is left, else stopped, with the reason that a person reads. A run that somebody
/// paused or cancelled meanwhile stays so.
fn close(
    context: &Context<'_>,
    run_id: i64,
    tally: &Tally,
    failure: Option<AppError>,
) -> AppResult<(RunState, Option<String>)> {
    let (action, reason) = match failure {
        None => (RunMove::Finish, None),
        // A budget that is used up is an orderly stop; everything else is an error of this command.
        Some(AppError::Refused(reason)) => (RunMove::Stop, Some(reason)),
        Some(error) => return Err(error),
    };
    context.app.store.transaction(|connection| {
        let at = Utc::now();
        let is_unfinished = action == RunMove::Finish && runs::chunks_left(connection, run_id)? > 0;
        if !is_unfinished && let Some(run) = run_lifecycle::advance(connection, run_id, action, reason.as_deref(), at)?
        {
            let detail = serde_json::json!({ "credits": tally.credits, "exceptions": tally.exceptions });
            let entry = context.actor.entry(action.action(), format!("run {run_id}"), detail);
            audit::append(connection, &[entry.before(&RunState::Running.as_str()).after(&run.state)])?;
            return Ok((run.state()?, reason));
        }
        let (run, _) = run_lifecycle::find(connection, run_id)?;
        let state = run.state()?;
        Ok((state, reason.or_else(|| (state != RunState::Done).then(|| begin::halted(&run, state)))))
    })
}

/// Whether an error says that another transaction was quicker: planned again, the chunk sees what that one did. A
/// credit that is there already is such a case, when two policies' runs or a decision meet at one subject.
fn met_another(error: &StoreError) -> bool {
    matches!(error, StoreError::Contention(_)) || error.constraint() == Some("transfer_pkey")
}

/// What came of looking for a chunk.
enum Next {
    /// One was done, with these figures.
    Done(Tally),
    /// None is free.
    NoneFree,
    /// Other versions are in force, or the incident has other windows.
    Overtaken,
}

/// What the workers of one execution share.
struct Work<'a> {
    context: Context<'a>,
    run: i64,
    watcher: &'a dyn Watcher,
    stop: AtomicBool,
    /// Whether other versions are in force than those of the context, or other windows.
    overtaken: AtomicBool,
    /// How many workers still look for chunks.
    at_work: AtomicUsize,
    issued: AtomicU64,
    tally: Mutex<Tally>,
}

impl<'a> Work<'a> {
    /// Works with so many workers until each has come home; the first failure, if any.
    fn by_all(&self, workers: usize) -> Option<AppError> {
        // Each has a connection of its own, and somebody may have to look at the run meanwhile.
        let most = usize::try_from(self.context.app.settings.pool_size).unwrap_or(usize::MAX).saturating_sub(1);
        let workers = workers.clamp(1, most.max(1));
        self.at_work.store(workers, Ordering::Relaxed);
        self.stop.store(false, Ordering::Relaxed);
        let outcomes: Vec<AppResult<()>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..workers).map(|_| scope.spawn(|| self.until_done())).collect();
            threads
                .into_iter()
                .map(|thread| {
                    let panicked = |_| Err(AppError::Refused("a worker of the batch job panicked".into()));
                    thread.join().unwrap_or_else(panicked)
                })
                .collect()
        });
        outcomes.into_iter().find_map(Result::err)
    }

    /// Where other versions came into force, or other windows, takes those up; refuses that for a run whose plan somebody approved.
    fn catch_up(&mut self, order: &'a Order, run: &RunRow) -> AppResult<()> {
        if self.overtaken.swap(false, Ordering::Relaxed) {
            self.context = Context::load(self.context.app, order, &self.context.actor)?;
            begin::must_stand(&self.context, run)?;
        }
        Ok(())
    }

    /// What was issued so far.
    fn tally(&self) -> Tally {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Works until no chunk is left, whoever did them, or until somebody has to stop. Where one fails, the others stop too.
    fn until_done(&self) -> AppResult<()> {
        /// Stops the others unless it is told that all went well: an error and a panic alike.
        struct Bell<'a>(&'a AtomicBool);
        impl Drop for Bell<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let bell = Bell(&self.stop);
        self.chunk_by_chunk()?;
        std::mem::forget(bell);
        Ok(())
    }

    fn chunk_by_chunk(&self) -> AppResult<()> {
        let (mut tries, mut met) = (0, chunk::Met::default());
        while !self.stop.load(Ordering::Relaxed) && !self.watcher.is_leaving() {
            match self.next_chunk(&mut met) {
                Ok(Next::Done(part)) => {
                    reach(Point::Committed);
                    tries = 0;
                    let issued = self.issued.fetch_add(part.credits, Ordering::Relaxed) + part.credits;
                    self.tally.lock().unwrap_or_else(PoisonError::into_inner).add(&part)?;
                    self.watcher.advance(issued);
                }
                Ok(Next::Overtaken) => {
                    self.overtaken.store(true, Ordering::Relaxed);
                    self.stop.store(true, Ordering::Relaxed);
                }
                Ok(Next::NoneFree) if self.others_look_on() || self.is_over()? => return Ok(()),
                Ok(Next::NoneFree) => std::thread::sleep(WAIT_FOR_OTHERS),
                Err(AppError::Store(error)) if met_another(&error) && tries < MAX_TRIES => tries += 1,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Ends a worker that finds no chunk free, unless it is the last of this process: that one waits for what others of other
    /// processes may leave undone.
    fn others_look_on(&self) -> bool {
        let fewer = |workers: usize| workers.checked_sub(1).filter(|left| *left > 0);
        self.at_work.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer).is_ok()
    }

    /// Does one chunk whole, under the versions and windows that hold until it is committed.
    fn next_chunk(&self, met: &mut chunk::Met) -> AppResult<Next> {
        self.context.app.store.transaction(|connection| {
            let Some(chunk) = runs::take_chunk(connection, self.run)? else { return Ok(Next::NoneFree) };
            let incident = &self.context.incident;
            if policies::hold_in_force(connection, incident.key)? != self.context.versions()
                || incidents::source_hash(connection, &incident.incident.id)?.as_ref() != Some(&incident.source_hash)
            {
                return Ok(Next::Overtaken);
            }
            let loaded = chunk::load(&self.context, connection, &chunk, met)?;
            reach(Point::Loaded);
            commit::commit(&self.context, connection, self.run, chunk.seq, loaded).map(Next::Done)
        })
    }

    /// Whether no chunk is left, or somebody has halted the run.
    fn is_over(&self) -> AppResult<bool> {
        Ok(self.context.app.store.with(|connection| {
            let (run, _) = run_lifecycle::find(connection, self.run)?;
            Ok::<_, StoreError>(run.state()? != RunState::Running || runs::chunks_left(connection, self.run)? == 0)
        })?)
    }
}
