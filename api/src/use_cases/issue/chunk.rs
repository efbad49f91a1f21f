//! One chunk of a run: load all, decide by pure functions, write all.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::Utc;
use redress_domain::claim::{ClaimMove, ClaimState};
use redress_domain::id::{CustomerId, HoldingRef, PolicyId, ServiceId};
use redress_domain::ledger::{TransferCode, credit_id};
use redress_domain::notice::Event;
use redress_domain::policy::{
    CapScope, Change, ClaimView, Entry, Facts, Given, Input, Outcome, Programme, Settled, Subject, Used, settle,
};
use redress_domain::{Amount, Asset, AssetCode, Holding};
use redress_store::claims;
use redress_store::failpoint::{Guard, is_without};
use redress_store::granted::{self, GrantedClaim};
use redress_store::holdings::{self, HoldingRow};
use redress_store::ledger::{self, TransferRow};
use redress_store::notices::{self, NoticeRow};
use redress_store::runs::{self, Chunk, ExceptionRow};
use redress_store::{Connection, StoreError, run_lifecycle};
use rust_decimal::Decimal;
use uuid::Uuid;

use super::{Context, Tally};
use crate::error::{AppError, AppResult};
use crate::policy_cache::ActivePolicy;
use crate::use_cases::claims::{AwardView, desk, stated_facts};

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

/// What a chunk takes of a policy's cap over everybody.
#[derive(Debug)]
struct ProgrammePart {
    policy_key: i32,
    asset: Asset,
    /// What everybody had when the chunk was planned, and what the chunk adds.
    read: Used,
    added: Used,
    /// Whether the cap cut something off: then the plan is right only for what was read.
    cut: bool,
    /// The limits.
    takers: Option<u64>,
    at_most: Option<Amount>,
}

/// What a chunk comes to, before anything is written.
#[derive(Debug, Default)]
pub(super) struct Planned {
    due: Vec<Due>,
    exceptions: Vec<ExceptionRow>,
    /// Claims that get their credit.
    claims: Vec<(String, Uuid)>,
    /// Claims that go back to a person, since nothing is due for them, each with its service.
    returned: Vec<(String, Uuid, i32)>,
    programme: Vec<ProgrammePart>,
    pub(super) tally: Tally,
}

/// What was credited before to one customer, by policy and subject.
type Credited = HashMap<(PolicyId, String), Vec<Given>>;

/// Decides a chunk; reads only.
pub(super) fn plan(context: &Context<'_>, connection: &mut Connection, chunk: &Chunk) -> AppResult<Planned> {
    let (from, till) = (chunk.from.as_deref(), chunk.till.as_deref());
    let held = holdings::of_range(connection, context.incident.key, from, till)?;
    let granted = granted::of_range(connection, context.incident.key, from, till)?;
    let mut credited = credited(context, connection, from, till)?;
    let mut plan = Plan::new(context, connection)?;
    let mut granted = granted.chunk_by(|a, b| a.customer_id == b.customer_id).peekable();
    for rows in held.chunk_by(|a, b| a.customer_id == b.customer_id) {
        let Some(first) = rows.first() else { continue };
        // Both come by customer: whoever claimed without holding anything stands between.
        while let Some(claims) =
            granted.next_if(|claims| claims.first().is_some_and(|c| c.customer_id < first.customer_id))
        {
            plan.customer(&[], claims, &mut credited)?;
        }
        let claims = granted.next_if(|claims| claims.first().is_some_and(|c| c.customer_id == first.customer_id));
        plan.customer(rows, claims.unwrap_or_default(), &mut credited)?;
    }
    for claims in granted {
        plan.customer(&[], claims, &mut credited)?;
    }
    Ok(plan.finish())
}

/// What was credited before to the customers of a range.
fn credited(
    context: &Context<'_>,
    connection: &mut Connection,
    from: Option<&str>,
    till: Option<&str>,
) -> AppResult<HashMap<String, Credited>> {
    let mut credited: HashMap<String, Credited> = HashMap::new();
    for row in ledger::credited_of_range(connection, from, till)? {
        let (Some(policy), Some((asset, _))) =
            (context.names.get(&row.policy_version_id), context.accounts.assets.get(&row.asset_id))
        else {
            let what = format!("a credit of customer {} has no policy or asset", row.customer_id);
            return Err(StoreError::corrupt(what).into());
        };
        let given = Given { asset: asset.clone(), amount: Amount::from_minor(row.amount) };
        let of_customer = credited.entry(row.customer_id).or_default();
        of_customer.entry((policy.clone(), row.subject)).or_default().push(given);
    }
    Ok(credited)
}

/// A claim that was granted, with what its policy may read.
struct Granted<'a> {
    active: &'a ActivePolicy,
    id: Uuid,
    /// Whether it waits for its credit.
    waits: bool,
    service_key: i32,
    awards: Vec<Given>,
    facts: Facts,
    submitted_at: Option<chrono::DateTime<Utc>>,
}

/// What is settled: a policy applied to one holding or claim.
struct Item<'a> {
    active: &'a ActivePolicy,
    name: String,
    /// The claim, where it is one that waits for its credit.
    claim: Option<Uuid>,
    /// Whether it is there only because it may pay the same loss as another.
    is_history: bool,
    input: Input<'a>,
    given: Vec<Given>,
}

struct Plan<'a> {
    context: &'a Context<'a>,
    programme: Programme,
    planned: Planned,
}

impl<'a> Plan<'a> {
    fn new(context: &'a Context<'a>, connection: &mut Connection) -> AppResult<Self> {
        let mut programme = Programme::default();
        let mut parts = Vec::new();
        let in_scope = |active: &&ActivePolicy| active.has_programme_cap() && context.is_in_scope(active.policy.id());
        for active in context.policies.values().flatten().filter(in_scope) {
            for cap in active.policy.caps().iter().filter(|cap| cap.scope() == CapScope::Programme) {
                let Some(asset) = active.policy.assets().get(cap.asset_place()) else { continue };
                let known = context.accounts.assets.iter().find(|(_, (code, _))| code == asset.code());
                let (takers, amount) = match known {
                    Some((key, _)) => ledger::programme_use(connection, active.policy_key, *key)?,
                    None => (0, 0),
                };
                let takers = u64::try_from(takers).map_err(StoreError::corrupt)?;
                let read = Used { amount: Amount::from_minor(amount), takers };
                programme.set(active.policy.id().as_str(), asset.code(), read);
                parts.push(ProgrammePart {
                    policy_key: active.policy_key,
                    asset: asset.clone(),
                    read,
                    added: Used::default(),
                    cut: false,
                    takers: cap.takers(),
                    at_most: cap.at_most(),
                });
            }
        }
        Ok(Self { context, programme, planned: Planned { programme: parts, ..Planned::default() } })
    }

    fn finish(mut self) -> Planned {
        for part in &mut self.planned.programme {
            let owner = self.context.policies.values().flatten().find(|active| active.policy_key == part.policy_key);
            let Some(owner) = owner else { continue };
            let now = self.programme.used(owner.policy.id().as_str(), part.asset.code());
            part.added = Used {
                amount: now.amount.checked_sub(part.read.amount).unwrap_or_default(),
                takers: now.takers - part.read.takers,
            };
        }
        self.planned
    }

    /// Settles everything of one customer together, so that the same loss is never paid twice.
    fn customer(
        &mut self,
        rows: &[HoldingRow],
        claims: &[GrantedClaim],
        credited: &mut HashMap<String, Credited>,
    ) -> AppResult<()> {
        let name = rows.first().map(|row| &row.customer_id).or_else(|| claims.first().map(|claim| &claim.customer_id));
        let Some(name) = name else { return Ok(()) };
        let customer = CustomerId::parse(name).map_err(StoreError::corrupt)?;
        let mut credited = credited.remove(name).unwrap_or_default();
        let held = self.held(&customer, rows)?;
        let granted: Vec<Granted<'a>> =
            claims.iter().filter_map(|claim| granted(self.context, claim).transpose()).collect::<AppResult<_>>()?;
        let mut items = items(self.context, &held, &granted);
        for item in &mut items {
            let key = (item.active.policy.id().clone(), std::mem::take(&mut item.name));
            item.given = credited.remove(&key).unwrap_or_default();
            item.name = key.1;
        }
        let entries: Vec<Entry<'_>> = items
            .iter()
            .map(|item| Entry {
                policy: &item.active.policy,
                reference: &item.name,
                input: item.input,
                given: &item.given,
            })
            .collect();
        let settled = settle(&entries, &mut self.programme);
        let mut reached: Vec<i32> = Vec::new();
        for (item, settled) in items.iter().zip(settled).filter(|(item, _)| !item.is_history) {
            let owed = self.record(&customer, item, &settled)?;
            if owed && !reached.contains(&item.active.version_key) {
                reached.push(item.active.version_key);
                self.planned.tally.of(item.active).customers += 1;
            }
        }
        Ok(())
    }

    /// What a customer held, service by service.
    fn held(&self, customer: &CustomerId, rows: &[HoldingRow]) -> AppResult<Vec<(i32, Vec<Holding>)>> {
        let mut held = Vec::new();
        for service in rows.chunk_by(|a, b| a.service_id == b.service_id) {
            let Some(first) = service.first() else { continue };
            if !self.context.policies.contains_key(&first.service_id) {
                continue;
            }
            let Some((service_id, _)) = self.context.views.get(&first.service_id) else { continue };
            let holdings = service.iter().map(|row| holding(row, customer, service_id)).collect::<AppResult<_>>()?;
            held.push((first.service_id, holdings));
        }
        Ok(held)
    }

    /// Takes one settled subject over; true when something is granted.
    fn record(&mut self, customer: &CustomerId, item: &Item<'_>, settled: &Settled<'_>) -> AppResult<bool> {
        let tally = self.planned.tally.of(item.active);
        match &settled.outcome {
            Ok(Outcome::Award { .. }) => tally.granted += 1,
            Ok(Outcome::Decline { rule, .. }) => *tally.declined.entry(rule.as_str().to_owned()).or_default() += 1,
            Ok(Outcome::Review { queue, .. }) => {
                tally.review += 1;
                self.except(customer, item, format!("review: {queue}"));
            }
            Ok(Outcome::Pending { .. }) => {}
            Err(error) => {
                tally.failed += 1;
                self.except(customer, item, error.to_string());
            }
        }
        if let Some(claim) = item.claim {
            self.claim(customer, item, claim, settled);
        }
        for due in &settled.due {
            if due.changes.iter().any(|change| matches!(change, Change::Cap { scope: CapScope::Programme, .. })) {
                let parts = self.planned.programme.iter_mut();
                parts.filter(|part| part.policy_key == item.active.policy_key).for_each(|part| part.cut = true);
            }
            if due.to_credit > Amount::ZERO {
                let policy = item.active.policy.id();
                let asset = due.asset.code();
                self.planned.tally.credit(policy, asset, due.to_credit)?;
                self.planned.due.push(Due {
                    customer: customer.clone(),
                    service_key: item.active.service_key,
                    version_key: item.active.version_key,
                    policy: policy.clone(),
                    subject: item.name.clone(),
                    asset: asset.clone(),
                    before: sum_of(&item.given, asset)?,
                    raise: due.to_credit,
                });
            }
        }
        Ok(matches!(settled.outcome, Ok(Outcome::Award { .. })))
    }

    /// A claim is issued when it has a credit; one that gets nothing, since its loss is paid elsewhere, or a cap is
    /// reached, goes back to a person.
    fn claim(&mut self, customer: &CustomerId, item: &Item<'_>, claim: Uuid, settled: &Settled<'_>) {
        let credited = |due: &redress_domain::policy::Due<'_>| due.to_credit > Amount::ZERO || !item.given.is_empty();
        if settled.due.iter().any(credited) {
            self.planned.claims.push((customer.to_string(), claim));
            return;
        }
        let why = settled.due.iter().flat_map(|due| &due.changes).map(|change| match change {
            Change::Stacking { group, policy, subject } => {
                format!("{policy} pays the same loss ({group}) for {subject}")
            }
            Change::Cap { name, .. } => format!("the cap {name} is reached"),
        });
        let why: Vec<String> = why.collect();
        if settled.outcome.is_ok() {
            self.planned.returned.push((customer.to_string(), claim, item.active.service_key));
            self.except(customer, item, format!("nothing is due: {}", why.join("; ")));
        }
    }

    fn except(&mut self, customer: &CustomerId, item: &Item<'_>, reason: String) {
        self.planned.tally.exceptions += 1;
        self.planned.exceptions.push(ExceptionRow {
            run_id: 0,
            customer_id: customer.to_string(),
            policy_version_id: item.active.version_key,
            subject: item.name.clone(),
            reason,
        });
    }
}

/// What was given of an asset; what a stacking group counts as given is not part of it.
fn sum_of(given: &[Given], asset: &AssetCode) -> AppResult<Amount> {
    let mut of_asset = given.iter().filter(|given| given.asset == *asset);
    of_asset
        .try_fold(Amount::ZERO, |sum, given| sum.checked_add(given.amount))
        .ok_or_else(|| StoreError::corrupt(format!("more {asset} was credited than can be stored")).into())
}

/// Everything that is settled of a customer: automatic policies on holdings, and claims that were granted.
fn items<'a>(context: &'a Context<'a>, held: &'a [(i32, Vec<Holding>)], granted: &'a [Granted<'a>]) -> Vec<Item<'a>> {
    let mut items = Vec::new();
    let of_service = |service_key: i32| {
        let holdings = held.iter().find(|(key, _)| *key == service_key).map_or(&[][..], |(_, holdings)| holdings);
        let account = holdings.iter().find(|holding| &*holding.kind == "account");
        Subject {
            incident: context.views.get(&service_key).map(|(_, view)| view),
            account: account.map(|holding| &holding.attributes),
            ..Subject::default()
        }
    };
    for (service_key, holdings) in held {
        let subject = of_service(*service_key);
        let policies = context.policies.get(service_key).into_iter().flatten();
        for active in policies.filter(|active| active.is_automatic()) {
            for holding in holdings {
                let input = Input::Records(Subject { holding: Some(holding), ..subject });
                let name = format!("holding/{}", holding.reference);
                let is_history = !context.is_in_scope(active.policy.id());
                items.push(Item { active, name, claim: None, is_history, input, given: Vec::new() });
            }
        }
    }
    for claim in granted {
        let view = ClaimView { submitted_at: claim.submitted_at, fields: &claim.facts };
        let subject = Subject { claim: Some(view), ..of_service(claim.service_key) };
        let input = Input::Decided { awards: &claim.awards, subject };
        let name = format!("claim/{}", claim.id);
        let waits = claim.waits && context.is_in_scope(claim.active.policy.id());
        let (active, claim) = (claim.active, waits.then_some(claim.id));
        items.push(Item { active, name, claim, is_history: !waits, input, given: Vec::new() });
    }
    items
}

/// What was granted to a claim; none when no version of its policy is in force any more. The version that granted it may
/// be retired since: what it granted stands.
fn granted<'a>(context: &'a Context<'a>, claim: &GrantedClaim) -> AppResult<Option<Granted<'a>>> {
    let Some(policy) = claim.policy_version_id.and_then(|version| context.names.get(&version)) else {
        return Ok(None);
    };
    let in_force = context.policies.get(&claim.service_id).into_iter().flatten();
    let Some(active) = in_force.into_iter().find(|active| active.policy.id() == policy) else { return Ok(None) };
    let awards: Vec<AwardView> = serde_json::from_value(claim.awards.clone()).map_err(StoreError::corrupt)?;
    let awards = awards
        .iter()
        .map(|award| {
            let asset = AssetCode::parse(&award.asset).map_err(StoreError::corrupt)?;
            let amount = Decimal::from_str_exact(&award.amount).map_err(StoreError::corrupt)?;
            let scale = u8::try_from(context.scale_of(&asset)).map_err(StoreError::corrupt)?;
            Ok(Given { asset, amount: Amount::from_decimal(amount, scale).map_err(StoreError::corrupt)? })
        })
        .collect::<AppResult<_>>()?;
    let facts = stated_facts(claim.id, &claim.facts)?.facts;
    let waits = matches!(claim.state.as_str(), "approved" | "partly_approved");
    let (id, service_key, submitted_at) = (claim.id, claim.service_id, claim.submitted_at);
    Ok(Some(Granted { active, id, waits, service_key, awards, facts, submitted_at }))
}

/// A stored row as the domain has it, checked again: a corrupt row fails loudly.
fn holding(row: &HoldingRow, customer: &CustomerId, service: &ServiceId) -> AppResult<Holding> {
    Ok(Holding {
        customer: customer.clone(),
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
    let issued = claims::advance_all(connection, &planned.claims, ClaimMove::Issue, ClaimState::Issued, at)?;
    let returned = desk::send_back(connection, &planned.returned, at)?;
    if issued != planned.claims.len() || returned != planned.returned.len() {
        // A claim was withdrawn or decided anew since it was read: the chunk is planned again.
        return Err(StoreError::Contention("a claim changed meanwhile".into()).into());
    }
    let rows: Vec<NoticeRow> = planned
        .claims
        .iter()
        .map(|(customer, id)| NoticeRow::queued(customer, Uuid::now_v7(), *id, Event::Credited, at))
        .collect();
    notices::queue(connection, &rows)?;
    let tally = serde_json::to_value(&planned.tally).map_err(StoreError::corrupt)?;
    runs::finish_chunk(connection, run_id, seq, &tally, at)?;
    if planned.due.is_empty() {
        return Ok(());
    }
    record(context, connection, run_id, seq, planned)?;
    take_from_programmes(context, connection, planned)
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
        let derived = credit_id(incident, &due.policy, &due.customer, &due.subject, &due.asset, due.before).0;
        let id = if is_without(Guard::Key) { Uuid::new_v4() } else { derived };
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
    for (budget_key, (amount, due)) in &spent {
        ledger::spend(connection, *budget_key, *amount).map_err(|error| match error.constraint() {
            Some("budget_never_negative") => used_up(context, due),
            _ => error.into(),
        })?;
    }
    count_towards_run(connection, run_id, &transfers)?;
    Ok(posting.seal(connection)?)
}

/// Counts the chunk towards what the run may issue, asset by asset in one order, so that no two chunks wait for each
/// other.
fn count_towards_run(connection: &mut Connection, run_id: i64, transfers: &[TransferRow]) -> AppResult<()> {
    let mut sums: BTreeMap<i32, i64> = BTreeMap::new();
    for transfer in transfers {
        let sum = sums.entry(transfer.asset_id).or_default();
        *sum = sum.saturating_add(transfer.amount);
    }
    for (asset, amount) in sums {
        run_lifecycle::count(connection, run_id, asset, amount).map_err(|error| match error.constraint() {
            Some("run_within_allowance") => AppError::Refused(format!(
                "stopped before run {run_id} would issue more than it may: more was granted since it was planned. \
                 redress run cancel {run_id} --as NAME ends it; redress issue then plans what is left"
            )),
            _ => error.into(),
        })?;
    }
    Ok(())
}

/// Counts the chunk towards the caps over everybody. The plan was made without holding anything: it stands when nobody
/// else was counted meanwhile, or when there is room for both; else the chunk is planned again.
fn take_from_programmes(context: &Context<'_>, connection: &mut Connection, planned: &Planned) -> AppResult<()> {
    for part in &planned.programme {
        if part.added == Used::default() && !part.cut {
            continue;
        }
        let Some((asset_key, _)) = context.accounts.assets.iter().find(|(_, (code, _))| code == part.asset.code())
        else {
            continue;
        };
        let takers = i64::try_from(part.added.takers).map_err(StoreError::corrupt)?;
        let amount = part.added.amount.minor();
        let (before_takers, before_amount) =
            ledger::add_programme_use(connection, part.policy_key, *asset_key, takers, amount)?;
        let before_takers = u64::try_from(before_takers).map_err(StoreError::corrupt)?;
        let unchanged = before_takers == part.read.takers && before_amount == part.read.amount.minor();
        let fits = part.takers.is_none_or(|most| before_takers + part.added.takers <= most)
            && part.at_most.is_none_or(|most| before_amount.saturating_add(amount) <= most.minor());
        if !unchanged && (part.cut || !fits) {
            return Err(StoreError::Contention("another chunk was counted towards the same cap".into()).into());
        }
    }
    Ok(())
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
