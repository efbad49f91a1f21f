//! One chunk of a run: load all, decide by pure functions, write all.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use chrono::Utc;
use redress_domain::id::{CustomerId, HoldingRef, PolicyId, ServiceId};
use redress_domain::ledger::{TransferCode, credit_id};
use redress_domain::policy::{IncidentView, Outcome, Subject};
use redress_domain::{Amount, AssetCode, Attributes, Holding};
use redress_store::claims::{self, GrantedClaim};
use redress_store::holdings::{self, HoldingRow};
use redress_store::ledger::{self, TransferRow};
use redress_store::notices::{self, NoticeRow};
use redress_store::runs::{self, Chunk, ExceptionRow};
use redress_store::{Connection, StoreError};
use rust_decimal::Decimal;
use uuid::Uuid;

use super::{Context, Tally};
use crate::error::{AppError, AppResult};
use crate::policy_cache::ActivePolicy;
use crate::use_cases::claims::StoredAssessment;

/// A credit that is due.
#[derive(Debug)]
struct Due {
    customer: CustomerId,
    service_key: i32,
    version_key: i32,
    policy: PolicyId,
    subject: String,
    asset: AssetCode,
    /// What was credited to the subject before.
    before: Amount,
    /// What it is raised by.
    raise: Amount,
}

/// What a chunk comes to, before anything is written.
#[derive(Debug, Default)]
pub(super) struct Planned {
    due: Vec<Due>,
    exceptions: Vec<ExceptionRow>,
    claims: Vec<(String, Uuid)>,
    pub(super) tally: Tally,
}

/// What was credited so far, by (customer, policy, subject, asset).
type Credited = HashMap<(CustomerId, PolicyId, String, AssetCode), i64>;

/// Decides a chunk; reads only.
pub(super) fn plan(context: &Context<'_>, connection: &mut Connection, chunk: &Chunk) -> AppResult<Planned> {
    let (from, till) = (chunk.from.as_deref(), chunk.till.as_deref());
    let held = holdings::of_range(connection, context.incident.key, from, till)?;
    let granted = claims::granted_of_range(connection, context.incident.key, from, till)?;
    let mut plan = Plan { context, credited: credited(context, connection, from, till)?, planned: Planned::default() };
    for customer in held.chunk_by(|a, b| a.customer_id == b.customer_id) {
        plan.customer(customer)?;
    }
    for claim in &granted {
        plan.claim(claim)?;
    }
    Ok(plan.planned)
}

fn credited(
    context: &Context<'_>,
    connection: &mut Connection,
    from: Option<&str>,
    till: Option<&str>,
) -> AppResult<Credited> {
    let mut credited = Credited::new();
    for row in ledger::credited_of_range(connection, from, till)? {
        let (Some(policy), Some((asset, _))) =
            (context.names.get(&row.policy_version_id), context.accounts.assets.get(&row.asset_id))
        else {
            let what = format!("a credit of customer {} has no policy or asset", row.customer_id);
            return Err(StoreError::corrupt(what).into());
        };
        let customer = CustomerId::parse(&row.customer_id).map_err(StoreError::corrupt)?;
        *credited.entry((customer, policy.clone(), row.subject, asset.clone())).or_default() += row.amount;
    }
    Ok(credited)
}

struct Plan<'a> {
    context: &'a Context<'a>,
    credited: Credited,
    planned: Planned,
}

impl Plan<'_> {
    /// Applies the automatic policies to what a customer held.
    fn customer(&mut self, rows: &[HoldingRow]) -> AppResult<()> {
        let mut granted = BTreeSet::new();
        for service in rows.chunk_by(|a, b| a.service_id == b.service_id) {
            let Some(first) = service.first() else { continue };
            let Some(policies) = self.context.policies.get(&first.service_id) else { continue };
            let Some((service_id, view)) = self.context.views.get(&first.service_id) else { continue };
            let held: Vec<Holding> = service.iter().map(|row| holding(row, service_id)).collect::<AppResult<_>>()?;
            let account = held.iter().find(|holding| &*holding.kind == "account").map(|holding| &holding.attributes);
            for active in policies.iter().filter(|active| active.is_automatic()) {
                for holding in &held {
                    if self.holding(active, view, holding, account)? {
                        granted.insert(active.version_key);
                    }
                }
                if granted.contains(&active.version_key) {
                    self.planned.tally.policies.entry(active.policy.id().to_string()).or_default().customers += 1;
                }
            }
        }
        Ok(())
    }

    /// Applies one policy to one holding; true when something is granted.
    fn holding(
        &mut self,
        active: &ActivePolicy,
        view: &IncidentView,
        holding: &Holding,
        account: Option<&Attributes>,
    ) -> AppResult<bool> {
        let subject = Subject { incident: Some(view), holding: Some(holding), account, ..Subject::default() };
        let outcome = active.policy.assess(&subject);
        let name = format!("holding/{}", holding.reference);
        let tally = self.planned.tally.policies.entry(active.policy.id().to_string()).or_default();
        match outcome {
            Ok(Outcome::Award { awards, .. }) => {
                tally.granted += 1;
                for award in awards.iter() {
                    self.due(&holding.customer, active, &name, award.asset.code(), award.amount)?;
                }
                return Ok(true);
            }
            Ok(Outcome::Decline { rule, .. }) => *tally.declined.entry(rule.as_str().to_owned()).or_default() += 1,
            Ok(Outcome::Review { queue, .. }) => {
                tally.review += 1;
                self.except(&holding.customer, active.version_key, name, format!("review: {queue}"));
            }
            Ok(Outcome::Pending { .. }) => {}
            Err(error) => {
                tally.failed += 1;
                self.except(&holding.customer, active.version_key, name, error.to_string());
            }
        }
        Ok(false)
    }

    /// Takes over what was granted to a claim.
    fn claim(&mut self, claim: &GrantedClaim) -> AppResult<()> {
        // The version may be retired since: what it granted stands, as long as its policy is in this run's scope.
        let Some(policy) = claim.policy_version_id.and_then(|version| self.context.names.get(&version)) else {
            return Ok(());
        };
        let in_scope = self.context.policies.get(&claim.service_id).into_iter().flatten();
        let Some(active) = in_scope.into_iter().find(|active| active.policy.id() == policy).cloned() else {
            return Ok(());
        };
        let customer = CustomerId::parse(&claim.customer_id).map_err(StoreError::corrupt)?;
        let assessment: StoredAssessment = serde_json::from_value(claim.trace.clone()).map_err(StoreError::corrupt)?;
        let subject = format!("claim/{}", claim.id);
        for award in &assessment.awards {
            let asset = AssetCode::parse(&award.asset).map_err(StoreError::corrupt)?;
            let amount = Decimal::from_str_exact(&award.amount).map_err(StoreError::corrupt)?;
            let scale = u8::try_from(self.context.scale_of(&asset)).map_err(StoreError::corrupt)?;
            let amount = Amount::from_decimal(amount, scale).map_err(StoreError::corrupt)?;
            self.due(&customer, &active, &subject, &asset, amount)?;
        }
        let tally = self.planned.tally.policies.entry(policy.to_string()).or_default();
        tally.granted += 1;
        tally.customers += 1;
        self.planned.claims.push((claim.customer_id.clone(), claim.id));
        Ok(())
    }

    /// Notes what is missing between what is granted and what was credited; never takes anything back.
    fn due(
        &mut self,
        customer: &CustomerId,
        active: &ActivePolicy,
        subject: &str,
        asset: &AssetCode,
        granted: Amount,
    ) -> AppResult<()> {
        let policy = active.policy.id();
        let key = (customer.clone(), policy.clone(), subject.to_owned(), asset.clone());
        let before = Amount::from_minor(self.credited.get(&key).copied().unwrap_or(0));
        let Some(raise) = granted.checked_sub(before).filter(|raise| *raise > Amount::ZERO) else { return Ok(()) };
        self.planned.tally.credit(policy, asset, raise)?;
        let (customer, policy, subject, asset) = key;
        let (service_key, version_key) = (active.service_key, active.version_key);
        self.planned.due.push(Due { customer, service_key, version_key, policy, subject, asset, before, raise });
        Ok(())
    }

    fn except(&mut self, customer: &CustomerId, version_key: i32, subject: String, reason: String) {
        self.planned.tally.exceptions += 1;
        self.planned.exceptions.push(ExceptionRow {
            run_id: 0,
            customer_id: customer.to_string(),
            policy_version_id: version_key,
            subject,
            reason,
        });
    }
}

/// A stored row as the domain has it, checked again: a corrupt row fails loudly.
fn holding(row: &HoldingRow, service: &ServiceId) -> AppResult<Holding> {
    Ok(Holding {
        customer: CustomerId::parse(&row.customer_id).map_err(StoreError::corrupt)?,
        service: service.clone(),
        reference: HoldingRef::parse(&row.reference).map_err(StoreError::corrupt)?,
        kind: row.kind.as_str().into(),
        product: row.product.as_str().into(),
        valid_from: row.valid_from,
        valid_until: row.valid_until,
        attributes: row.attributes.0.clone(),
    })
}

/// Writes a chunk. The caller's transaction makes it all or nothing.
pub(super) fn commit(
    context: &Context<'_>,
    connection: &mut Connection,
    run_id: i64,
    seq: i32,
    planned: &Planned,
) -> AppResult<()> {
    let at = Utc::now();
    let mut exceptions = planned.exceptions.clone();
    exceptions.iter_mut().for_each(|row| row.run_id = run_id);
    runs::set_aside(connection, &exceptions)?;
    if claims::mark_issued(connection, &planned.claims, at)? != planned.claims.len() {
        // A claim was withdrawn or decided anew since it was read: the chunk is planned again.
        return Err(StoreError::Contention("a claim changed meanwhile".into()).into());
    }
    let rows: Vec<NoticeRow> = planned
        .claims
        .iter()
        .map(|(customer, id)| NoticeRow::queued(customer, Uuid::now_v7(), *id, "credited", at))
        .collect();
    notices::queue(connection, &rows)?;
    let tally = serde_json::to_value(&planned.tally).map_err(StoreError::corrupt)?;
    runs::finish_chunk(connection, run_id, seq, &tally, at)?;
    if planned.due.is_empty() { Ok(()) } else { record(context, connection, run_id, seq, planned) }
}

/// Records the transfers of a chunk, and takes their sums from the budgets last.
fn record(
    context: &Context<'_>,
    connection: &mut Connection,
    run_id: i64,
    seq: i32,
    planned: &Planned,
) -> AppResult<()> {
    let posting = ledger::open_posting(connection, Some((run_id, seq)))?;
    let mut spent: BTreeMap<i32, (i64, &Due)> = BTreeMap::new();
    let mut seen: HashSet<Uuid> = HashSet::with_capacity(planned.due.len());
    let mut transfers = Vec::with_capacity(planned.due.len());
    for due in &planned.due {
        let budget = context.accounts.budgets.get(&(due.service_key, due.asset.clone()));
        let (Some(budget), Some(owed)) = (budget, context.accounts.owed.get(&due.asset)) else {
            return Err(used_up(context, due));
        };
        let incident = &context.incident.incident.id;
        let id = credit_id(incident, &due.policy, &due.customer, &due.subject, &due.asset, due.before).0;
        if !seen.insert(id) {
            let what = format!("{} of customer {} stands twice", due.subject, due.customer);
            return Err(StoreError::corrupt(what).into());
        }
        let sum = &mut spent.entry(budget.key).or_insert((0, due)).0;
        *sum = sum
            .checked_add(due.raise.minor())
            .ok_or_else(|| StoreError::corrupt("the total of a chunk is beyond what can be stored"))?;
        transfers.push(TransferRow {
            customer_id: due.customer.to_string(),
            id,
            posting_id: posting.id(),
            amount: due.raise.minor(),
            debit_account: budget.provision_account,
            credit_account: *owed,
            asset_id: budget.asset_key,
            policy_version_id: due.version_key,
            code: TransferCode::Issue.number(),
            subject: due.subject.clone(),
        });
    }
    ledger::record(connection, &transfers)?;
    for (budget_key, (amount, due)) in spent {
        ledger::spend(connection, budget_key, amount).map_err(|error| match error.constraint() {
            Some("budget_never_negative") => used_up(context, due),
            _ => error.into(),
        })?;
    }
    Ok(posting.seal(connection)?)
}

/// The clear message of a budget that does not suffice; nothing of the chunk is written.
fn used_up(context: &Context<'_>, due: &Due) -> AppError {
    let incident = &context.incident.incident.id;
    let service = context.incident.service_name(due.service_key);
    let asset = &due.asset;
    AppError::Refused(format!(
        "stopped before the budget of {service} for {asset} would go below zero; what was issued stands. \
         redress issue --incident {incident} --dry-run says what is missing; redress budget authorise --incident \
         {incident} --service {service} --asset {asset} --amount N --as NAME, approved by another, makes room"
    ))
}
