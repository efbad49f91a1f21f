//! What a policy would do, before it is published: counts, cost, who gets nothing and why, and who gains or loses
//! against the version in force. Reads a roster's file and the claims on file; writes nothing.

use std::path::Path;

use redress_domain::id::{CustomerId, ServiceId};
use redress_domain::policy::{
    Basis, ClaimView, Comparison, ComparisonReport, IncidentView, Policy, Simulation, SimulationReport, Subject,
};
use redress_domain::{Attributes, Holding, Incident, incident_file};
use redress_store::holdings::CommonFacts;
use redress_store::{StoreError, claims, holdings, incidents, policies, runs};
use serde::Serialize;

use super::claims::stated_facts;
use super::policies::compile_file;
use crate::app::App;
use crate::error::{AppError, AppResult};
use crate::roster_file;

/// How many claims are read at once.
const BATCH: i64 = 1_000;
/// About how many holdings are read at once.
const RANGE: i64 = 5_000;
/// The most holdings of one customer at one service that are looked at together.
const MAX_TOGETHER: usize = 100_000;

/// What a simulation showed.
#[derive(Debug, Serialize)]
pub struct Simulated {
    /// Counts, cost, and who gets nothing.
    pub simulation: SimulationReport,
    /// Against the version in force, where there is one.
    pub compared: Option<ComparisonReport>,
    /// Rows of the roster that were read and are of the policy's service.
    pub holdings: u64,
    /// Claims on file that were assessed.
    pub claims: u64,
    /// Rows of the roster that cannot be used.
    pub refused: u64,
    /// What to bear in mind.
    pub notes: Vec<String>,
}

/// Where the incident and the version in force are found.
pub enum Ground<'a> {
    /// In an installation's database, with the claims on file.
    Installation(&'a App),
    /// In the incident's own file: no database is needed.
    IncidentFile(&'a Path),
}

/// Simulates a policy over a roster's file.
pub fn run(ground: &Ground<'_>, policy_file: &Path, roster: &Path) -> AppResult<Simulated> {
    let policy = compile_file(policy_file)?;
    let (incident, before) = match ground {
        Ground::IncidentFile(file) => (read_incident(file)?, None),
        Ground::Installation(app) => stored(app, &policy)?,
    };
    let service = service_of(&policy)?;
    let mut run = Run::new(policy, before, &incident, &service);
    if run.policy.basis() == Basis::Automatic {
        roster_file::each_row(roster, &mut |_, row| {
            match row {
                Ok(holding) if holding.service == service => run.take(holding),
                Ok(_) => {}
                Err(_) => run.refused += 1,
            }
            Ok(())
        })?;
        run.customer_ends();
    } else if let Ground::Installation(app) = ground {
        run.claims(app, &incident)?;
    } else {
        run.notes.push("the policy is applied to claims, and there are none without an installation".into());
    }
    Ok(run.finish())
}

/// Simulates a policy over the holdings and claims on record.
pub fn on_record(app: &App, policy: Policy) -> AppResult<Simulated> {
    let (incident, before) = stored(app, &policy)?;
    let service = service_of(&policy)?;
    let mut run = Run::new(policy, before, &incident, &service);
    if run.policy.basis() == Basis::Automatic {
        run.holdings_on_record(app, &incident, &service)?;
    } else {
        run.claims(app, &incident)?;
    }
    Ok(run.finish())
}

fn service_of(policy: &Policy) -> AppResult<ServiceId> {
    let missing = || AppError::Invalid(format!("policy {} names no service, so no roster fits it", policy.id()));
    policy.service().cloned().ok_or_else(missing)
}

fn read_incident(file: &Path) -> AppResult<Incident> {
    let source = std::fs::read_to_string(file).map_err(AppError::io(format!("reading {}", file.display())))?;
    incident_file::parse(&source, &file.display().to_string()).map_err(|error| AppError::Invalid(error.to_string()))
}

/// The incident of a policy as it is loaded, and the version of the policy in force.
fn stored(app: &App, policy: &Policy) -> AppResult<(Incident, Option<Policy>)> {
    let id = policy.incident().ok_or_else(|| AppError::Invalid(format!("policy {} names no incident", policy.id())))?;
    app.store.with(|connection| {
        let found = incidents::find(connection, id)?;
        let versions = policies::in_force(connection, found.key)?;
        let version = versions.iter().find(|version| version.name == policy.id().as_str());
        let before = version.map(|version| app.policies.compile(version)).transpose()?;
        Ok((found.incident, before.map(|active| Policy::clone(&active.policy))))
    })
}

struct Run {
    policy: Policy,
    before: Option<Policy>,
    view: IncidentView,
    simulation: Simulation,
    comparison: Option<Comparison>,
    /// The holdings of the customer that is being read.
    together: Vec<Holding>,
    last: Option<String>,
    sorted: bool,
    holdings: u64,
    claims: u64,
    refused: u64,
    notes: Vec<String>,
}

impl Run {
    fn new(policy: Policy, before: Option<Policy>, incident: &Incident, service: &ServiceId) -> Self {
        Self {
            view: IncidentView::new(incident, service),
            simulation: Simulation::new(&policy),
            comparison: before.as_ref().map(|before| Comparison::new(before, &policy)),
            before,
            policy,
            together: Vec::new(),
            last: None,
            sorted: true,
            holdings: 0,
            claims: 0,
            refused: 0,
            notes: Vec::new(),
        }
    }

    /// Reads all holdings of the service, range by range as a run would.
    fn holdings_on_record(&mut self, app: &App, incident: &Incident, service: &ServiceId) -> AppResult<()> {
        let found = app.store.with(|connection| incidents::find(connection, &incident.id))?;
        let service_key = found.service_key(service)?;
        let ranges = app.store.with(|connection| runs::ranges(connection, found.key, RANGE))?;
        let mut common = CommonFacts::default();
        for range in ranges {
            app.store.with(|connection| {
                for row in holdings::of_range(connection, found.key, range.customers(), &mut common)? {
                    if row.service_id == service_key {
                        let customer = CustomerId::parse(&row.customer_id).map_err(StoreError::corrupt)?;
                        self.take(row.holding(&customer, service).map_err(|(_, error)| error)?);
                    }
                }
                Ok::<_, StoreError>(())
            })?;
        }
        self.customer_ends();
        Ok(())
    }

    fn take(&mut self, holding: Holding) {
        let customer = holding.customer.as_str();
        if self.last.as_deref() != Some(customer) || self.together.len() >= MAX_TOGETHER {
            self.sorted &= self.last.as_deref().is_none_or(|last| last <= customer);
            self.last = Some(customer.to_owned());
            self.customer_ends();
        }
        self.holdings += 1;
        self.together.push(holding);
    }

    fn customer_ends(&mut self) {
        let held = std::mem::take(&mut self.together);
        let account = account_of(&held);
        for holding in &held {
            let subject = Subject { incident: Some(&self.view), holding: Some(holding), account, ..Subject::default() };
            let after = self.policy.assess(&subject);
            let example = || format!("{}/{}", holding.customer, holding.reference);
            self.simulation.add(&after, example);
            if let (Some(before), Some(comparison)) = (&self.before, &mut self.comparison) {
                comparison.add(&before.assess(&subject), &after, example);
            }
        }
        // The room is used again: a roster has millions of customers.
        self.together = held;
        self.together.clear();
    }

    fn claims(&mut self, app: &App, incident: &Incident) -> AppResult<()> {
        let mut after = None;
        loop {
            let batch = app.store.with(|connection| -> AppResult<_> {
                let found = incidents::find(connection, &incident.id)?;
                let service_key = match self.policy.service() {
                    Some(service) => found.service_key(service)?,
                    None => return Ok(Vec::new()),
                };
                let rows = claims::of_service(connection, found.key, service_key, after, BATCH)?;
                rows.into_iter()
                    .map(|claim| {
                        let held = holdings::of_customer(connection, found.key, &claim.customer_id, service_key)?;
                        Ok((claim, held))
                    })
                    .collect::<AppResult<Vec<_>>>()
            })?;
            let Some((last, _)) = batch.last() else { return Ok(()) };
            after = Some(last.id);
            for (claim, held) in &batch {
                let facts = stated_facts(claim.id, &claim.facts)?.facts;
                let account =
                    held.iter().find(|row| row.facts.is_account()).map(|row| row.facts.attributes()).transpose()?;
                let subject = Subject {
                    incident: Some(&self.view),
                    customer: Some(&claim.customer_id),
                    account,
                    claim: Some(ClaimView { submitted_at: claim.submitted_at, fields: &facts }),
                    evidence: Some(&[]),
                    ..Subject::default()
                };
                let outcome = self.policy.assess(&subject);
                let example = || claim.reference.clone();
                self.simulation.add(&outcome, example);
                if let (Some(before), Some(comparison)) = (&self.before, &mut self.comparison) {
                    comparison.add(&before.assess(&subject), &outcome, example);
                }
                self.claims += 1;
            }
        }
    }

    fn finish(mut self) -> Simulated {
        let reads_account = self.policy.facts().any(|fact| fact.name.starts_with("customer."));
        if reads_account && !self.sorted {
            let note =
                "the roster is not sorted by customer: account rows that stand apart from the others were not seen";
            self.notes.push(note.into());
        }
        if self.refused > 0 {
            self.notes.push(format!("{} rows of the roster cannot be used; importing it says which", self.refused));
        }
        Simulated {
            simulation: self.simulation.report(),
            compared: self.comparison.map(|comparison| comparison.report()),
            holdings: self.holdings,
            claims: self.claims,
            refused: self.refused,
            notes: self.notes,
        }
    }
}

fn account_of(held: &[Holding]) -> Option<&Attributes> {
    held.iter().find(|holding| &*holding.kind == "account").map(|holding| &holding.attributes)
}
