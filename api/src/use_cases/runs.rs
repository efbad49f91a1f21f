//! Runs as people see them: what waits for a second person, how far one is, and how it is halted and let go on.

use chrono::{DateTime, Utc};
use redress_domain::run::{RunMove, RunState};
use redress_store::run_lifecycle;
use redress_store::runs::RunRow;
use redress_store::{Connection, StoreError, audit};
use serde::Serialize;
use utoipa::ToSchema;

use super::issue;
use super::staff;
use crate::app::{Actor, App};
use crate::error::{AppError, AppResult};
use crate::rights::Right;

/// How many digits of a plan's hash are shown, and are enough to name it.
pub const HASH_SHOWN: usize = 16;
/// How many runs a list has.
pub const PAGE: i64 = 50;
/// How many workers of a server share a run.
const SERVER_WORKERS: usize = 2;
/// A run and how far it is.
#[derive(Debug, Serialize, ToSchema)]
pub struct RunView {
    /// Its number.
    pub id: i64,
    /// The incident.
    pub incident: String,
    /// Where it stands.
    #[schema(value_type = String, example = "running")]
    pub state: RunState,
    /// Why it stands there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Which policies; null means all.
    #[schema(value_type = Option<Vec<String>>)]
    pub scope: serde_json::Value,
    /// Who started it.
    pub started_by: String,
    /// When.
    pub started_at: DateTime<Utc>,
    /// Whether it is above a limit.
    pub needs_approval: bool,
    /// The hash of its plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// Who approved it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approved_by: Option<String>,
    /// When.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approved_at: Option<DateTime<Utc>>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<DateTime<Utc>>,
    /// How far it is.
    pub progress: ProgressView,
}

/// How far a run is.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProgressView {
    /// How many chunks it has.
    pub chunks: i64,
    /// How many are done.
    pub done: i64,
    /// Credits issued.
    pub issued: i64,
    /// Credits a second of late, while it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credits_per_second: Option<i64>,
    /// Seconds until it is done, at this rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds_left: Option<i64>,
    /// Subjects set aside for a person, by reason.
    pub set_aside: Vec<SetAside>,
}

/// Subjects that were set aside for one reason.
#[derive(Debug, Serialize, ToSchema)]
pub struct SetAside {
    /// Why.
    pub reason: String,
    /// How many.
    pub subjects: i64,
}

/// Opens a run for the servers. The same request again, told by its key, gets the same run; another order under that key
/// gets none.
pub fn start(app: &App, order: &issue::Order, key: &str, actor: &Actor) -> AppResult<Option<RunView>> {
    let key = format!("{}/{key}", actor.name);
    let known = app.store.with(|connection| run_lifecycle::of_request(connection, &key))?;
    match known {
        Some(id) => {
            let run = show(app, id)?;
            let same = run.incident == order.incident.as_str() && run.scope == order.scope();
            Ok(same.then_some(run))
        }
        None => show(app, issue::open_for_servers(app, order, &key, actor)?.id).map(Some),
    }
}

/// A run.
pub fn show(app: &App, id: i64) -> AppResult<RunView> {
    app.store.with(|connection| {
        let (run, incident) = run_lifecycle::find(connection, id)?;
        view(connection, run, incident)
    })
}

/// The plan of a run, where a limit asked for one.
pub fn plan_of(app: &App, id: i64) -> AppResult<Option<issue::Plan>> {
    let (run, _) = app.store.with(|connection| run_lifecycle::find(connection, id))?;
    run.plan.is_some().then(|| issue::plan_of(&run)).transpose()
}

/// The newest runs, before one when it is given.
pub fn list(app: &App, before: Option<i64>) -> AppResult<Vec<RunView>> {
    app.store.with(|connection| {
        let rows = run_lifecycle::list(connection, before, PAGE)?;
        rows.into_iter().map(|(run, incident)| view(connection, run, incident)).collect()
    })
}

fn view(connection: &mut Connection, run: RunRow, incident: String) -> AppResult<RunView> {
    let state = run.state()?;
    let progress = run_lifecycle::progress(connection, run.id)?;
    let runs = state == RunState::Running;
    let set_aside = run_lifecycle::set_aside(connection, run.id)?;
    Ok(RunView {
        id: run.id,
        incident,
        state,
        note: run.note,
        scope: run.scope,
        started_by: run.started_by,
        started_at: run.started_at,
        needs_approval: run.needs_approval,
        plan: run.plan_hash,
        approved_by: run.approved_by,
        approved_at: run.approved_at,
        ended_at: run.ended_at,
        progress: ProgressView {
            chunks: progress.chunks,
            done: progress.done,
            issued: progress.issued,
            credits_per_second: progress.credits_per_second.filter(|_| runs),
            seconds_left: progress.seconds_left.filter(|_| runs),
            set_aside: set_aside.into_iter().map(|(reason, subjects)| SetAside { reason, subjects }).collect(),
        },
    })
}

/// Approves a run as somebody else than who started it. `plan` is the hash of what was seen, or its first digits.
pub fn approve(app: &App, id: i64, plan: &str, actor: &Actor) -> AppResult<RunView> {
    app.store.with(|connection| staff::require_everywhere(connection, &actor.name, Right::ApproveRuns))?;
    let (seen, incident) = app.store.with(|connection| run_lifecycle::find(connection, id))?;
    let hash = seen.plan_hash.clone().unwrap_or_default();
    if seen.state()? != RunState::Planned {
        return Err(AppError::Refused(format!("run {id} is {}; there is nothing to approve", seen.state)));
    }
    if plan.len() < HASH_SHOWN || !hash.starts_with(plan) {
        return Err(AppError::Refused(format!(
            "that is not the plan of run {id}, which is {}: redress run show {id} says what you would approve",
            hash.get(..HASH_SHOWN).unwrap_or(&hash)
        )));
    }
    if let Some(what) = issue::void_reason(app, &seen, &incident, actor)? {
        return Err(AppError::Refused(format!(
            "{what} changed after run {id} was planned, so the plan is void: redress issue --incident {incident} plans anew"
        )));
    }
    app.store.transaction(|connection| {
        let entry = actor.entry(RunMove::Approve.action(), format!("run {id}"), serde_json::json!({ "plan": hash }));
        let approved = run_lifecycle::approve(connection, id, &hash, &actor.name, entry.at)?;
        let run = approved.ok_or_else(|| StoreError::Contention(format!("run {id} was decided meanwhile")))?;
        audit::append(connection, &[entry.before(&seen.state).after(&run.state)])?;
        view(connection, run, incident)
    })
}

/// Halts a run: every worker of every machine ends after the chunk it is at.
pub fn pause(app: &App, id: i64, actor: &Actor) -> AppResult<RunView> {
    steer(app, id, RunMove::Pause, false, actor)
}

/// Lets a halted run go on; with `served`, the servers execute it from then on.
pub fn resume(app: &App, id: i64, served: bool, actor: &Actor) -> AppResult<RunView> {
    steer(app, id, RunMove::Resume, served, actor)
}

/// Ends a run: what was issued stands, and nothing more is issued by it.
pub fn cancel(app: &App, id: i64, actor: &Actor) -> AppResult<RunView> {
    steer(app, id, RunMove::Cancel, false, actor)
}

fn steer(app: &App, id: i64, action: RunMove, served: bool, actor: &Actor) -> AppResult<RunView> {
    app.store.transaction(|connection| {
        staff::require_everywhere(connection, &actor.name, Right::RunIssue)?;
        let (before, incident) = run_lifecycle::lock(connection, id)?;
        let note = (action != RunMove::Resume).then(|| format!("{} by {}", action.done(), actor.name));
        let entry = actor.entry(action.action(), format!("run {id}"), serde_json::json!({}));
        let run = run_lifecycle::advance(connection, id, action, note.as_deref(), entry.at)?.ok_or_else(|| {
            AppError::Refused(format!("run {id} is {}, so it cannot be {}", before.state, action.done()))
        })?;
        if served {
            run_lifecycle::serve(connection, id)?;
        }
        audit::append(connection, &[entry.before(&before.state).after(&run.state)])?;
        view(connection, run, incident)
    })
}

/// Executes what is handed over to the servers and may be issued; returns how many credits that made. A run that fails
/// keeps no other from being executed.
pub fn execute_served(app: &App, watcher: &dyn issue::Watcher) -> AppResult<u64> {
    let (mut issued, mut failed) = (0, Ok(()));
    for id in app.store.with(run_lifecycle::served)? {
        let actor = Actor { name: "system".into(), origin: "worker".into() };
        match issue::go_on(app, id, SERVER_WORKERS, &actor, watcher) {
            Ok(report) => issued += report.issued,
            Err(AppError::Refused(reason)) => {
                // A plan that is void would be tried for ever: it stands where a person sees it.
                app.store.with(|connection| {
                    run_lifecycle::advance(connection, id, RunMove::Stop, Some(&reason), Utc::now())
                })?;
            }
            Err(error) => failed = Err(error),
        }
    }
    failed.map(|()| issued)
}
