//! How an execution begins: a run is opened, gone on with, or waits for a second person.

use chrono::Utc;
use redress_domain::run::{RunMove, RunState};
use redress_store::run_lifecycle::{self, LimitRow};
use redress_store::runs::{self, NewRun, RunRow};
use redress_store::{Connection, StoreError, audit};
use rust_decimal::Decimal;

use super::context::Context;
use super::{Basis, CHUNK_SIZE, Order, Plan, Report, Watcher};
use crate::error::{AppError, AppResult};
use crate::use_cases::reports::figure;
use crate::use_cases::runs::HASH_SHOWN;

/// How often a plan is made anew because what it follows from changed under it.
const MAX_PLANS: u32 = 5;

/// What came of beginning.
pub(super) enum Begun {
    /// Workers may begin.
    Run {
        /// The run.
        run: Box<RunRow>,
        /// Whether it was open already.
        resumed: bool,
    },
    /// A second person has to approve it first.
    Waits(Box<Report>),
}

/// Goes on with the incident's open run, or opens one.
pub(super) fn begin(context: &Context<'_>, order: &Order, watcher: &dyn Watcher) -> AppResult<Begun> {
    let known = context.app.store.transaction(|connection| {
        let Some(run) = runs::find_open(connection, context.incident.key)? else { return Ok(None) };
        if run.scope != order.scope() {
            return Err(of_another_scope(&run, order));
        }
        match voided(context, connection, &run)? {
            Some(what) if !has_begun(&run)? => {
                void(context, connection, &run, what)?;
                Ok(None)
            }
            Some(what) => Err(changed_since(&run, what)),
            None if run.state()? == RunState::Planned => waits(context, connection, &run).map(Some),
            None => {
                let run = Box::new(set_running(context, connection, &run)?);
                Ok(Some(Begun::Run { run, resumed: true }))
            }
        }
    })?;
    match known {
        Some(begun) => Ok(begun),
        None => open(context, order, None, watcher),
    }
}

/// Goes on with this run, which must be approved, running or stopped.
pub(super) fn go_on(context: &Context<'_>, run_id: i64) -> AppResult<RunRow> {
    context.app.store.transaction(|connection| {
        let (run, _) = run_lifecycle::lock(connection, run_id)?;
        match voided(context, connection, &run)? {
            Some(what) if !has_begun(&run)? => {
                void(context, connection, &run, what)?;
                Ok(Err(AppError::Refused(format!("{what} changed after run {run_id} was planned, so it is cancelled"))))
            }
            Some(what) => Err(changed_since(&run, what)),
            None => set_running(context, connection, &run).map(Ok),
        }
    })?
}

/// Ends a run that was planned or approved, since what it follows from has changed.
fn void(context: &Context<'_>, connection: &mut Connection, run: &RunRow, what: &str) -> AppResult<()> {
    let note = format!("{what} changed after it was planned");
    let ended = run_lifecycle::advance(connection, run.id, RunMove::Cancel, Some(&note), Utc::now())?;
    record(context, connection, RunMove::Cancel, run, ended.as_ref())
}

/// Opens a run for the servers; refused while another is open.
pub(super) fn open_for_servers(context: &Context<'_>, order: &Order, key: &str) -> AppResult<RunRow> {
    let open_run = context.app.store.transaction(|connection| runs::find_open(connection, context.incident.key))?;
    if let Some(run) = open_run {
        return Err(AppError::Refused(format!(
            "run {} of incident {} is {}; finish or cancel it first",
            run.id, order.incident, run.state
        )));
    }
    match open(context, order, Some(key), &super::Nobody)? {
        Begun::Run { run, .. } => Ok(*run),
        Begun::Waits(report) => {
            let id = report.run.ok_or_else(|| StoreError::corrupt("a run that waits has no number"))?;
            Ok(context.app.store.with(|connection| run_lifecycle::find(connection, id))?.0)
        }
    }
}

/// Opens a run. Where limits are set it is planned first; above one it waits for a second person.
fn open(context: &Context<'_>, order: &Order, request_key: Option<&str>, watcher: &dyn Watcher) -> AppResult<Begun> {
    for _ in 0..MAX_PLANS {
        let limits = context.app.store.with(run_lifecycle::limits)?;
        let plan = match limits.is_empty() {
            true => None,
            false => Some(Plan::make(context, order, watcher)?),
        };
        let opened = context.app.store.transaction(|connection| {
            if runs::find_open(connection, context.incident.key)?.is_some() {
                return Err(AppError::from(StoreError::Contention("a run was opened meanwhile".into())));
            }
            if let Some(plan) = &plan
                && plan.basis.changed(&Basis::of(context, connection)?, false).is_some()
            {
                return Ok(None);
            }
            write(context, connection, order, request_key, plan.as_ref(), &limits).map(Some)
        });
        match opened {
            Ok(Some(begun)) => return Ok(begun),
            Ok(None) => {}
            // Somebody else opened one: it is gone on with.
            Err(AppError::Store(StoreError::Contention(_))) => return begin(context, order, watcher),
            Err(error) => return Err(error),
        }
    }
    Err(AppError::Refused("rosters and budgets change faster than a plan can be made; try again later".into()))
}

/// Writes the run, what it may issue, and its entry.
fn write(
    context: &Context<'_>,
    connection: &mut Connection,
    order: &Order,
    request_key: Option<&str>,
    plan: Option<&Plan>,
    limits: &[LimitRow],
) -> AppResult<Begun> {
    let totals = plan.map(|plan| plan.totals(&context.accounts)).transpose()?.unwrap_or_default();
    let above: Vec<&LimitRow> =
        limits.iter().filter(|limit| totals.get(&limit.asset_key).is_some_and(|total| *total > limit.most)).collect();
    if context.actor.name == "system" && !above.is_empty() {
        return Err(AppError::Refused(format!(
            "this run is above the limit of {}, so a second person has to approve it; say who asks for it with --as NAME",
            above.iter().map(|limit| limit.asset.as_str()).collect::<Vec<_>>().join(", ")
        )));
    }
    let scope = order.scope();
    let entry = context.actor.entry("run.open", String::new(), serde_json::Value::Null);
    let document = plan.map(|plan| Ok::<_, AppError>((to_json(plan)?, plan.hash()?))).transpose()?;
    let new = NewRun {
        incident_key: context.incident.key,
        scope: &scope,
        by: &context.actor.name,
        at: entry.at,
        plan: document.as_ref().map(|(plan, hash)| (plan, hash.as_str())),
        needs_approval: !above.is_empty(),
        request_key,
    };
    let ranges = runs::ranges(connection, context.incident.key, CHUNK_SIZE)?;
    let run = runs::open(connection, &new, &ranges)?;
    // Below every limit a run may issue up to the limits; above one, what its plan says and no more.
    let most: Vec<(i32, i64)> = match above.is_empty() {
        true => limits.iter().map(|limit| (limit.asset_key, limit.most)).collect(),
        false => context.accounts.assets.keys().map(|key| (*key, totals.get(key).copied().unwrap_or(0))).collect(),
    };
    run_lifecycle::allow(connection, run.id, &most)?;
    let detail = serde_json::json!({ "scope": scope, "plan": run.plan_hash });
    let entry = redress_store::audit::AuditEntry { object: format!("run {}", run.id), detail, ..entry };
    audit::append(connection, &[entry.after(&run.state)])?;
    if above.is_empty() {
        return Ok(Begun::Run { run: Box::new(run), resumed: false });
    }
    waits(context, connection, &run)
}

fn to_json(plan: &Plan) -> AppResult<serde_json::Value> {
    Ok(serde_json::to_value(plan).map_err(StoreError::corrupt)?)
}

/// Whether anything was issued by it, or may have been.
fn has_begun(run: &RunRow) -> AppResult<bool> {
    Ok(!matches!(run.state()?, RunState::Planned | RunState::Approved))
}

/// What makes a run's plan void, if anything: only a plan that a second person approves is bound to what it follows from.
fn voided(context: &Context<'_>, connection: &mut Connection, run: &RunRow) -> AppResult<Option<&'static str>> {
    if !run.needs_approval {
        return Ok(None);
    }
    Ok(plan_of(run)?.basis.changed(&Basis::of(context, connection)?, has_begun(run)?))
}

/// Refuses to go on with a run when what its approved plan follows from has changed while it ran.
pub(super) fn must_stand(context: &Context<'_>, run: &RunRow) -> AppResult<()> {
    match context.app.store.with(|connection| voided(context, connection, run))? {
        Some(what) => Err(changed_since(run, what)),
        None => Ok(()),
    }
}

/// The same, for whoever is about to approve it.
pub(in crate::use_cases) fn void_reason(
    app: &crate::app::App,
    run: &RunRow,
    incident: &str,
    actor: &crate::app::Actor,
) -> AppResult<Option<&'static str>> {
    let order = Order::of_run(run, incident, 1)?;
    let context = Context::load(app, &order, actor)?;
    app.store.with(|connection| voided(&context, connection, run))
}

/// The plan that a run was opened with.
pub(in crate::use_cases) fn plan_of(run: &RunRow) -> AppResult<Plan> {
    let plan = run.plan.clone().ok_or_else(|| StoreError::corrupt(format!("run {} has no plan", run.id)))?;
    Ok(serde_json::from_value(plan).map_err(StoreError::corrupt)?)
}

fn set_running(context: &Context<'_>, connection: &mut Connection, run: &RunRow) -> AppResult<RunRow> {
    let begun = run_lifecycle::advance(connection, run.id, RunMove::Begin, None, Utc::now())?;
    let Some(begun) = begun else {
        let state = run.state()?;
        return Err(AppError::Refused(halted(run, state)));
    };
    if run.state()? != RunState::Running {
        record(context, connection, RunMove::Begin, run, Some(&begun))?;
    }
    Ok(begun)
}

fn record(
    context: &Context<'_>,
    connection: &mut Connection,
    action: RunMove,
    before: &RunRow,
    after: Option<&RunRow>,
) -> AppResult<()> {
    let Some(after) = after else { return Ok(()) };
    let detail = serde_json::json!({ "note": after.note });
    let entry = context.actor.entry(action.action(), format!("run {}", before.id), detail);
    Ok(audit::append(connection, &[entry.before(&before.state).after(&after.state)])?)
}

/// Why nothing goes on with a run, and what makes it go on.
pub(super) fn halted(run: &RunRow, state: RunState) -> String {
    let id = run.id;
    let why = run.note.as_deref().map(|note| format!(": {note}")).unwrap_or_default();
    match state {
        RunState::Paused => format!("run {id} is paused{why}. redress run resume {id} --as NAME goes on"),
        RunState::Planned => format!("run {id} waits for a second person: redress run show {id}"),
        _ => format!("run {id} is {state}{why}"),
    }
}

/// What a run above a limit answers with until a second person approves it.
fn waits(context: &Context<'_>, connection: &mut Connection, run: &RunRow) -> AppResult<Begun> {
    let plan = plan_of(run)?;
    let totals = plan.totals(&context.accounts)?;
    let above: Vec<String> = run_lifecycle::limits(connection)?
        .iter()
        .filter_map(|limit| {
            let total = totals.get(&limit.asset_key).filter(|total| **total > limit.most)?;
            let shown = |minor: i64| figure(Decimal::from(minor), limit.scale);
            Some(format!("{} {} (limit {})", shown(*total), limit.asset, shown(limit.most)))
        })
        .collect();
    let hash = run.plan_hash.clone().unwrap_or_default();
    let stopped = format!(
        "run {id}{} waits for somebody other than {}: redress run approve {id} --plan {} --as NAME; \
         then redress issue --incident {} begins it",
        if above.is_empty() { String::new() } else { format!(" would issue {}, and", above.join(" and ")) },
        run.started_by,
        hash.get(..HASH_SHOWN).unwrap_or(&hash),
        context.incident.incident.id,
        id = run.id,
    );
    let report = Report { run: Some(run.id), state: Some(run.state()?), stopped: Some(stopped), ..plan.report()? };
    Ok(Begun::Waits(Box::new(report)))
}

fn of_another_scope(run: &RunRow, order: &Order) -> AppError {
    AppError::Refused(format!(
        "run {} of incident {} is open for {}; finish it first with the same --policy flags",
        run.id,
        order.incident,
        if run.scope.is_null() { "all policies".to_owned() } else { run.scope.to_string() }
    ))
}

fn changed_since(run: &RunRow, what: &str) -> AppError {
    AppError::Refused(format!(
        "{what} changed after run {id} was approved: redress run cancel {id} --as NAME, then redress issue plans anew \
         what is left",
        id = run.id
    ))
}
