//! The batch job: what the policies grant and was not credited yet is credited, chunk by chunk, exactly once.
//!
//! A run is cut into ranges of customers. A worker takes a range nobody works on, loads what is known of its customers,
//! decides by pure functions, and writes transfers, totals, claims, notices and the chunk's own mark in one
//! transaction. Whatever dies, a chunk is done or it never happened; and a credit's id follows from what it is for, so
//! that even a chunk done twice could not credit twice.

mod begin;
mod chunk;
mod plan;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use chrono::Utc;
use redress_domain::id::{IncidentId, PolicyId, ServiceId};
use redress_domain::policy::IncidentView;
use redress_domain::run::{RunMove, RunState};
use redress_domain::{Amount, AssetCode};
use redress_store::failpoint::{Point, reach};
use redress_store::incidents::{self, StoredIncident};
use redress_store::ledger::{self, BudgetRow};
use redress_store::runs::{self, RunRow};
use redress_store::{Connection, StoreError, audit, policies, run_lifecycle};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use self::begin::Begun;
pub(super) use self::begin::{plan_of, void_reason};
pub use self::plan::{Basis, Plan, plan};
use crate::app::{Actor, App};
use crate::error::{AppError, AppResult};
use crate::policy_cache::ActivePolicy;
use crate::rights::Right;

/// How many holdings and claims a chunk has, about: small enough to be lost without regret, large enough for COPY.
const CHUNK_SIZE: i64 = 5_000;
/// How long to wait for chunks that other workers hold before looking again.
const WAIT_FOR_OTHERS: Duration = Duration::from_millis(200);

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

/// What one policy came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PolicyTally {
    /// Subjects that are granted something.
    pub granted: u64,
    /// Subjects that get nothing, by the rule that says so.
    pub declined: BTreeMap<String, u64>,
    /// Subjects that a person has to look at.
    pub review: u64,
    /// Subjects that could not be assessed.
    pub failed: u64,
    /// Customers who are granted something.
    pub customers: u64,
}

/// What was or would be credited of an asset at a service under a policy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CreditTally {
    /// How many credits.
    pub credits: u64,
    /// Minor units.
    pub minor: i64,
}

impl CreditTally {
    fn add(&mut self, asset: &str, other: &Self) -> AppResult<()> {
        self.credits += other.credits;
        self.minor = self
            .minor
            .checked_add(other.minor)
            .ok_or_else(|| StoreError::corrupt(format!("the total of {asset} is beyond what can be stored")))?;
        Ok(())
    }
}

/// The figures of a chunk, a run or a plan.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Tally {
    /// How many credits.
    pub credits: u64,
    /// Subjects set aside, each with its reason.
    pub exceptions: u64,
    /// By policy.
    pub policies: BTreeMap<String, PolicyTally>,
    /// By policy and asset.
    pub assets: BTreeMap<String, BTreeMap<String, CreditTally>>,
}

impl Tally {
    /// The figures of a policy.
    fn of(&mut self, active: &ActivePolicy) -> &mut PolicyTally {
        self.policies.entry(active.policy.id().to_string()).or_default()
    }

    /// Counts a credit.
    fn credit(&mut self, policy: &PolicyId, asset: &AssetCode, amount: Amount) -> AppResult<()> {
        self.credits += 1;
        let part = CreditTally { credits: 1, minor: amount.minor() };
        self.assets
            .entry(policy.to_string())
            .or_default()
            .entry(asset.to_string())
            .or_default()
            .add(asset.as_str(), &part)
    }

    fn add(&mut self, other: &Self) -> AppResult<()> {
        self.credits += other.credits;
        self.exceptions += other.exceptions;
        for (policy, theirs) in &other.policies {
            let ours = self.policies.entry(policy.clone()).or_default();
            ours.granted += theirs.granted;
            ours.review += theirs.review;
            ours.failed += theirs.failed;
            ours.customers += theirs.customers;
            for (rule, count) in &theirs.declined {
                *ours.declined.entry(rule.clone()).or_default() += count;
            }
        }
        for (policy, assets) in &other.assets {
            for (asset, theirs) in assets {
                self.assets.entry(policy.clone()).or_default().entry(asset.clone()).or_default().add(asset, theirs)?;
            }
        }
        Ok(())
    }
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

/// What is the same for all chunks of an execution.
struct Context<'a> {
    app: &'a App,
    incident: StoredIncident,
    /// Only these policies are issued; all when empty. The others still count where they pay the same loss.
    scope: &'a BTreeSet<PolicyId>,
    /// The policies in force, by the service's key.
    policies: HashMap<i32, Vec<ActivePolicy>>,
    /// The policy's name of every version ever published: what earlier versions credited counts.
    names: HashMap<i32, PolicyId>,
    /// The incident as the policies of each service see it, by the service's key.
    views: HashMap<i32, (ServiceId, IncidentView)>,
    accounts: Accounts,
    actor: Actor,
}

/// The keys that a credit's row is made of.
#[derive(Default)]
struct Accounts {
    budgets: HashMap<(i32, AssetCode), BudgetRow>,
    owed: HashMap<AssetCode, i32>,
    assets: HashMap<i32, (AssetCode, i16)>,
}

impl Accounts {
    fn load(connection: &mut Connection, incident_key: i32) -> AppResult<Self> {
        let mut accounts = Self::default();
        for asset in ledger::assets(connection)? {
            let code = AssetCode::parse(&asset.code).map_err(StoreError::corrupt)?;
            accounts.assets.insert(asset.key, (code, asset.scale));
        }
        for budget in ledger::budgets(connection, incident_key)? {
            let Some((code, _)) = accounts.assets.get(&budget.asset_key) else {
                return Err(StoreError::corrupt(format!("budget {} has no asset", budget.key)).into());
            };
            if !accounts.owed.contains_key(code) {
                accounts.owed.insert(code.clone(), ledger::owed_account_key(connection, code)?);
            }
            accounts.budgets.insert((budget.service_key, code.clone()), budget);
        }
        Ok(accounts)
    }
}

impl<'a> Context<'a> {
    fn load(app: &'a App, order: &'a Order, actor: &Actor) -> AppResult<Self> {
        let mut connection = app.store.connection()?;
        let incident = incidents::find(&mut connection, &order.incident)?;
        let mut active: HashMap<i32, Vec<ActivePolicy>> = HashMap::new();
        let mut found = BTreeSet::new();
        for version in policies::in_force(&mut connection, incident.key)? {
            let compiled = app.policies.compile(&version)?;
            let name = compiled.policy.id().clone();
            active.entry(version.service_key).or_default().push(compiled);
            found.insert(name);
        }
        if let Some(missing) = order.policies.iter().find(|name| !found.contains(*name)) {
            return Err(AppError::Refused(format!(
                "no version of policy {missing} is in force for incident {}: redress policy publish, then approve",
                order.incident
            )));
        }
        let names = policies::version_names(&mut connection)?
            .into_iter()
            .map(|version| Ok((version.key, PolicyId::parse(&version.policy).map_err(StoreError::corrupt)?)))
            .collect::<AppResult<_>>()?;
        let accounts = Accounts::load(&mut connection, incident.key)?;
        let views = incident
            .service_keys
            .iter()
            .map(|(id, key)| (*key, (id.clone(), IncidentView::new(&incident.incident, id))))
            .collect();
        Ok(Self {
            app,
            incident,
            scope: &order.policies,
            policies: active,
            names,
            views,
            accounts,
            actor: actor.clone(),
        })
    }

    fn is_in_scope(&self, policy: &PolicyId) -> bool {
        self.scope.is_empty() || self.scope.contains(policy)
    }

    /// The budgets that a tally draws on.
    fn budget_states(&self, connection: &mut Connection, tally: &Tally) -> AppResult<Vec<BudgetState>> {
        let mut needed: BTreeMap<(i32, AssetCode), i64> = BTreeMap::new();
        for active in self.policies.values().flatten() {
            for (asset, sum) in tally.assets.get(active.policy.id().as_str()).into_iter().flatten() {
                let code = AssetCode::parse(asset).map_err(StoreError::corrupt)?;
                *needed.entry((active.service_key, code)).or_default() += sum.minor;
            }
        }
        let budgets = Accounts::load(connection, self.incident.key)?.budgets;
        let mut states = Vec::with_capacity(needed.len());
        for ((service_key, code), needed) in needed {
            let left = budgets.get(&(service_key, code.clone())).map_or(0, |row| row.approved - row.spent);
            states.push(BudgetState {
                service: self.incident.service_name(service_key),
                scale: self.scale_of(&code),
                asset: code.to_string(),
                needed,
                left,
            });
        }
        states.sort_by(|a, b| (&a.service, &a.asset).cmp(&(&b.service, &b.asset)));
        Ok(states)
    }

    /// The scale of an asset: the stored one, else what the policies say.
    fn scale_of(&self, code: &AssetCode) -> i16 {
        let stored = self.accounts.assets.values().find(|(known, _)| known == code).map(|(_, scale)| *scale);
        stored.unwrap_or_else(|| {
            let assets = || self.policies.values().flatten().flat_map(|active| active.policy.assets());
            let declared = assets().find(|asset| asset.code() == code);
            i16::from(declared.map_or(code.default_scale(), redress_domain::Asset::scale))
        })
    }
}

/// Issues what is owed. An open run of the same scope is gone on with; when nothing is owed, 0 are issued. A run above a
/// limit is only opened, and waits for a second person.
pub fn run(app: &App, order: &Order, actor: &Actor, watcher: &dyn Watcher) -> AppResult<Report> {
    may_issue(app, actor)?;
    super::policies::assess_overlooked(app, actor)?;
    let context = Context::load(app, order, actor)?;
    match begin::begin(&context, order, watcher)? {
        Begun::Waits(report) => Ok(*report),
        Begun::Run { run, resumed } => execute(&context, order, &run, resumed, watcher),
    }
}

/// Goes on with one run that is approved, running or stopped; refuses any other.
pub fn go_on(app: &App, run_id: i64, workers: usize, actor: &Actor, watcher: &dyn Watcher) -> AppResult<Report> {
    let (row, incident) = app.store.with(|connection| run_lifecycle::find(connection, run_id))?;
    let order = Order::of_run(&row, &incident, workers)?;
    let context = Context::load(app, &order, actor)?;
    let run = begin::go_on(&context, run_id)?;
    execute(&context, &order, &run, true, watcher)
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
    app.store.with(|connection| super::staff::require(connection, &actor.name, Right::RunIssue, None)).map(drop)
}

/// Works on a run until no chunk is left or somebody has to stop.
fn execute(
    context: &Context<'_>,
    order: &Order,
    run: &RunRow,
    resumed: bool,
    watcher: &dyn Watcher,
) -> AppResult<Report> {
    let app = context.app;
    let (done, all) = app.store.with(|connection| runs::tallies(connection, run.id))?;
    watcher.begin(u64::try_from(all).unwrap_or(0), u64::try_from(done.len()).unwrap_or(0));
    let work = Work {
        context,
        run: run.id,
        watcher,
        stop: AtomicBool::new(false),
        issued: AtomicU64::new(0),
        tally: Mutex::default(),
    };
    reach(Point::Opened);
    let outcomes: Vec<AppResult<()>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..order.workers.max(1)).map(|_| scope.spawn(|| work.until_done())).collect();
        threads
            .into_iter()
            .map(|thread| {
                thread.join().unwrap_or_else(|_| Err(AppError::Refused("a worker of the batch job panicked".into())))
            })
            .collect()
    });
    let failure = outcomes.into_iter().find_map(Result::err);
    reach(Point::Closing);
    let is_left = watcher.is_leaving() && failure.is_none() && !work.is_over()?;
    let tally = work.tally.into_inner().unwrap_or_else(PoisonError::into_inner);
    let (state, stopped) = match is_left {
        true => (RunState::Running, Some("this process ends; the next one goes on".to_owned())),
        false => close(context, run.id, &tally, failure)?,
    };
    let budgets = app.store.with(|connection| context.budget_states(connection, &tally))?;
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
        if let Some(run) = run_lifecycle::advance(connection, run_id, action, reason.as_deref(), at)? {
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

/// What the workers of one execution share.
struct Work<'a> {
    context: &'a Context<'a>,
    run: i64,
    watcher: &'a dyn Watcher,
    stop: AtomicBool,
    issued: AtomicU64,
    tally: Mutex<Tally>,
}

impl Work<'_> {
    /// Works until no chunk is left, whoever did them, or until somebody has to stop.
    fn until_done(&self) -> AppResult<()> {
        let mut tries = 0;
        while !self.stop.load(Ordering::Relaxed) && !self.watcher.is_leaving() {
            match self.next_chunk() {
                Ok(Some(part)) => {
                    reach(Point::Committed);
                    tries = 0;
                    let issued = self.issued.fetch_add(part.credits, Ordering::Relaxed) + part.credits;
                    self.tally.lock().unwrap_or_else(PoisonError::into_inner).add(&part)?;
                    self.watcher.advance(issued);
                }
                Ok(None) if self.is_over()? => return Ok(()),
                Ok(None) => std::thread::sleep(WAIT_FOR_OTHERS),
                Err(AppError::Store(error)) if met_another(&error) && tries < MAX_TRIES => tries += 1,
                Err(error) => {
                    self.stop.store(true, Ordering::Relaxed);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Does one chunk whole; none when no other is free.
    fn next_chunk(&self) -> AppResult<Option<Tally>> {
        self.context.app.store.transaction(|connection| {
            let Some(chunk) = runs::take_chunk(connection, self.run)? else { return Ok(None) };
            let planned = chunk::plan(self.context, connection, &chunk)?;
            reach(Point::Planned);
            chunk::commit(self.context, connection, self.run, chunk.seq, &planned)?;
            Ok(Some(planned.tally))
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
