//! One chunk of a run: load all, then decide by pure functions, customer by customer; a credit goes out as it is decided.

use std::collections::HashMap;

use redress_domain::id::CustomerId;
use redress_domain::ledger::TransferCode;
use redress_domain::policy::{CapScope, Change, Due, Entry, Given, Outcome, Programme, Settled, Used, settle};
use redress_domain::{Amount, Asset, AssetCode};
use redress_store::failpoint::{Guard, is_without};
use redress_store::granted::{self, GrantedClaim};
use redress_store::holdings::{self, CommonFacts, HeldRow};
use redress_store::ledger::{self, NO_POLICY, TransferRow};
use redress_store::runs::{Chunk, Customers, ExceptionRow};
use redress_store::word::Word;
use redress_store::{Connection, StoreError};
use uuid::Uuid;

use super::Tally;
use super::context::{Context, Issuing, Route};
use super::subjects::{Corrupt, Credited, Item, granted, held, items, subject_of};
use super::tally::Count;
use super::verdict::{Alike, Said, Told, Verdict};
use crate::error::AppResult;

/// What a chunk credits of one asset under one policy, all together.
pub(super) struct Sum<'a> {
    pub(super) issuing: &'a Issuing,
    pub(super) asset: &'a Asset,
    /// Where it is booked; none without a budget.
    pub(super) route: Option<&'a Route>,
    /// Minor units.
    pub(super) amount: i64,
}

/// What a chunk takes of a policy's cap over everybody.
pub(super) struct ProgrammePart<'a> {
    pub(super) issuing: &'a Issuing,
    pub(super) asset: &'a Asset,
    /// What everybody had when the chunk was planned, and what the chunk adds.
    pub(super) read: Used,
    pub(super) added: Used,
    /// Whether the cap cut something off: then the plan is right only for what was read.
    pub(super) cut: bool,
    /// The limits.
    pub(super) takers: Option<u64>,
    pub(super) at_most: Option<Amount>,
}

impl ProgrammePart<'_> {
    /// Whether it is what is counted of an asset under a policy.
    fn is_of(&self, issuing: &Issuing, asset: &Asset) -> bool {
        self.issuing.place == issuing.place && self.asset == asset
    }
}

/// The lower of two limits, where there are any.
fn stricter<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
    [one, other].into_iter().flatten().min()
}

/// What a chunk comes to, beside its credits.
#[derive(Default)]
pub(super) struct Planned<'a> {
    /// What the credits come to.
    pub(super) sums: Vec<Sum<'a>>,
    pub(super) exceptions: Vec<ExceptionRow>,
    /// Claims that get their credit.
    pub(super) claims: Vec<(String, Uuid)>,
    /// Claims that go back to a person, since nothing is due for them, each with its service.
    pub(super) returned: Vec<(String, Uuid, i32)>,
    /// In the order of policies and assets, so that no two chunks wait for each other.
    pub(super) programme: Vec<ProgrammePart<'a>>,
    pub(super) tally: Tally,
}

/// Takes the credits, each as it is decided.
pub(super) type Sink<'s> = dyn FnMut(&TransferRow) -> AppResult<()> + 's;

/// What a worker met before: chunk by chunk it is the same.
#[derive(Default)]
pub(super) struct Met {
    common: CommonFacts,
    alike: Alike,
}

/// All that a chunk is decided from.
pub(super) struct Loaded<'a> {
    context: &'a Context<'a>,
    alike: &'a mut Alike,
    held: Vec<HeldRow>,
    granted: Vec<GrantedClaim>,
    credited: HashMap<String, Credited>,
    programme: Programme,
    parts: Vec<ProgrammePart<'a>>,
}

/// Loads a chunk; reads only.
pub(super) fn load<'a>(
    context: &'a Context<'_>,
    connection: &mut Connection,
    chunk: &Chunk,
    met: &'a mut Met,
) -> AppResult<Loaded<'a>> {
    let customers = chunk.customers();
    let granted = granted::of_range(connection, context.incident.key, customers)?;
    let credited = credited(context, connection, customers)?;
    let (programme, parts) = programme(context, connection)?;
    let held = holdings::of_range(connection, context.incident.key, customers, &mut met.common)?;
    Ok(Loaded { context, alike: &mut met.alike, held, granted, credited, programme, parts })
}

impl<'a> Loaded<'a> {
    /// How many holdings and claims there are.
    pub(super) fn subjects(&self) -> usize {
        self.held.len() + self.granted.len()
    }

    /// Decides the chunk; each credit goes out with this posting's key.
    pub(super) fn decide(self, posting_id: i64, sink: &mut Sink<'_>) -> AppResult<Planned<'a>> {
        let Self { context, alike, held, granted, mut credited, programme, parts } = self;
        let mut plan = Plan::new(context, alike, programme, parts, posting_id, sink);
        let mut held = held.as_slice();
        let mut granted = granted.chunk_by(|a, b| a.customer_id == b.customer_id).peekable();
        loop {
            // Both come by customer; whoever claimed without holding anything, or held without claiming, stands in one alone.
            let holder = held.first().map(|row| row.customer_id.as_str());
            let claimant = granted.peek().and_then(|claims| claims.first()).map(|claim| claim.customer_id.as_str());
            let Some(name) = [holder, claimant].into_iter().flatten().min() else { break };
            let customer = CustomerId::parse(name).map_err(|error| (name.to_owned(), error));
            let name = customer.as_ref().map_or_else(|(name, _)| name.as_str(), CustomerId::as_str);
            let own = held.iter().take_while(|row| row.customer_id.as_str() == name).count();
            let (rows, others) = held.split_at(own);
            held = others;
            let claims = granted.next_if(|claims| claims.first().is_some_and(|claim| claim.customer_id == name));
            match customer {
                Ok(customer) => plan.customer(&customer, rows, claims.unwrap_or_default(), &mut credited)?,
                Err((name, error)) => {
                    plan.set_aside(
                        &name,
                        Corrupt { subject: "customer".to_owned(), error: StoreError::corrupt(error) },
                    );
                }
            }
        }
        Ok(plan.finish())
    }
}

/// What was credited before to the customers of a range, for this incident: another's is no business of it.
fn credited(
    context: &Context<'_>,
    connection: &mut Connection,
    customers: Customers<'_>,
) -> AppResult<HashMap<String, Credited>> {
    let mut credited: HashMap<String, Credited> = HashMap::new();
    for row in ledger::credited_of_range(connection, customers, &context.all_versions)? {
        let (Some(policy), Some((asset, _))) =
            (context.names.get(&row.policy_version_id), context.accounts.assets.get(&row.asset_id))
        else {
            let what = format!("a credit of customer {} has no policy or asset", row.customer_id);
            return Err(StoreError::corrupt(what).into());
        };
        let of = |minor: i64| Given { asset: asset.clone(), amount: Amount::from_minor(minor) };
        let of_customer = credited.entry(row.customer_id).or_default();
        let before = of_customer.entry((policy.clone(), row.subject.into())).or_default();
        before.given.push(of(row.amount));
        before.reversed.extend((row.reversed > 0).then(|| of(row.reversed)));
    }
    Ok(credited)
}

struct Plan<'a, 's> {
    context: &'a Context<'a>,
    posting_id: i64,
    sink: &'s mut Sink<'s>,
    programme: Programme,
    counts: Vec<Count<'a>>,
    planned: Planned<'a>,
    alike: &'s mut Alike,
    /// The credits of the customer at hand, and what they are for.
    own: Vec<(Uuid, Word)>,
    /// The policies under which he was granted something, by their places.
    reached: Vec<usize>,
}

/// What everybody had so far under the policies in scope that have a cap over everybody, with the parts that a chunk may take.
fn programme<'a>(
    context: &'a Context<'_>,
    connection: &mut Connection,
) -> AppResult<(Programme, Vec<ProgrammePart<'a>>)> {
    let mut programme = Programme::default();
    let mut parts: Vec<ProgrammePart<'a>> = Vec::new();
    for issuing in context.issuing.iter().filter(|issuing| issuing.is_in_scope) {
        let policy = &issuing.active.policy;
        for cap in policy.caps().iter().filter(|cap| cap.scope() == CapScope::Programme) {
            let Some(asset) = policy.assets().get(cap.asset_place()) else { continue };
            // Several caps on one asset share what is counted: whoever is the strictest holds.
            if let Some(part) = parts.iter_mut().find(|part| part.is_of(issuing, asset)) {
                part.takers = stricter(part.takers, cap.takers());
                part.at_most = stricter(part.at_most, cap.at_most());
                continue;
            }
            let known = context.accounts.assets.iter().find(|(_, (code, _))| code == asset.code());
            let (takers, amount) = match known {
                Some((key, _)) => ledger::programme_use(connection, issuing.active.policy_key, *key)?,
                None => (0, 0),
            };
            let takers = u64::try_from(takers).map_err(StoreError::corrupt)?;
            let read = Used { amount: Amount::from_minor(amount), takers };
            programme.set(policy.id().as_str(), asset.code(), read);
            parts.push(ProgrammePart {
                issuing,
                asset,
                read,
                added: Used::default(),
                cut: false,
                takers: cap.takers(),
                at_most: cap.at_most(),
            });
        }
    }
    parts.sort_by_key(|part| (part.issuing.active.policy_key, part.asset.code().as_str()));
    Ok((programme, parts))
}

impl<'a, 's> Plan<'a, 's> {
    fn new(
        context: &'a Context<'a>,
        alike: &'s mut Alike,
        programme: Programme,
        parts: Vec<ProgrammePart<'a>>,
        posting_id: i64,
        sink: &'s mut Sink<'s>,
    ) -> Self {
        let counts = context.issuing.iter().map(|issuing| Count::new(&issuing.active.policy)).collect();
        let planned = Planned { programme: parts, ..Planned::default() };
        Self { context, posting_id, sink, programme, counts, planned, alike, own: Vec::new(), reached: Vec::new() }
    }

    fn finish(mut self) -> Planned<'a> {
        for (issuing, count) in self.context.issuing.iter().zip(&self.counts) {
            self.planned.sums.extend(count.credited().map(|(place, asset, amount)| Sum {
                issuing,
                asset,
                route: issuing.route(place),
                amount,
            }));
        }
        for part in &mut self.planned.programme {
            let now = self.programme.used(part.issuing.active.policy.id().as_str(), part.asset.code());
            // Only what is credited here counts: history may be due more by now, and is not issued.
            let credited = self.planned.sums.iter().find(|sum| part.is_of(sum.issuing, sum.asset));
            let amount = credited.map_or(Amount::ZERO, |sum| Amount::from_minor(sum.amount));
            part.added = Used { amount, takers: now.takers - part.read.takers };
        }
        self.counts.iter().for_each(|count| count.add_to(&mut self.planned.tally));
        self.planned
    }

    /// Settles everything of one customer together, so that the same loss is never paid twice. Of whom a row is corrupt gets
    /// nothing before it is mended: without it nobody can say what else is due.
    fn customer(
        &mut self,
        customer: &CustomerId,
        rows: &[HeldRow],
        claims: &[GrantedClaim],
        credited: &mut HashMap<String, Credited>,
    ) -> AppResult<()> {
        let credited = match credited.is_empty() {
            true => Credited::default(),
            false => credited.remove(customer.as_str()).unwrap_or_default(),
        };
        self.own.clear();
        self.reached.clear();
        let is_new = claims.is_empty() && credited.is_empty() && self.alike.look_at(self.context, rows);
        match is_new.then(|| self.alike.told()).flatten() {
            Some(told) => self.say_again(customer, rows, &told)?,
            None => self.settle(customer, rows, claims, credited, is_new)?,
        }
        self.none_twice()
    }

    /// Says of a customer what was said of another with the same holdings.
    fn say_again(&mut self, customer: &CustomerId, rows: &[HeldRow], told: &[Told]) -> AppResult<()> {
        for told in told {
            let (Some(row), Some(issuing)) = (rows.get(told.row), self.context.issuing.get(told.place)) else {
                continue;
            };
            let name = subject_of(&row.reference);
            self.tell(customer, issuing, &name, &[], &told.verdict)?;
        }
        Ok(())
    }

    /// Decides on all that a customer has.
    fn settle(
        &mut self,
        customer: &CustomerId,
        rows: &[HeldRow],
        claims: &[GrantedClaim],
        credited: Credited,
        is_new: bool,
    ) -> AppResult<()> {
        let context = self.context;
        let read = held(context, customer, rows, !credited.is_empty()).and_then(|held| {
            let granted = claims.iter().map(|claim| granted(context, claim));
            Ok((held, granted.collect::<Result<Vec<_>, _>>()?))
        });
        let (held, granted) = match read {
            Ok(read) => read,
            Err(corrupt) => {
                self.set_aside(customer.as_str(), corrupt);
                return Ok(());
            }
        };
        let items = items(context, &held, &granted, credited);
        let entries: Vec<Entry<'_>> = items
            .iter()
            .map(|item| Entry {
                policy: &item.issuing.active.policy,
                reference: &item.name,
                input: item.input,
                given: &item.before.given,
                reversed: &item.before.reversed,
            })
            .collect();
        let settled = settle(&entries, &mut self.programme);
        let mut all_told = Vec::new();
        for (item, settled) in items.iter().zip(settled).filter(|(item, _)| !item.is_history) {
            let verdict = Verdict::of(item.issuing, &settled)?;
            self.tell(customer, item.issuing, &item.name, &item.before.given, &verdict)?;
            if let Some(claim) = item.claim {
                self.claim(customer, item, claim, &settled);
            }
            if let (true, Some(row)) = (is_new, item.row) {
                all_told.push(Told { row, place: item.issuing.place, verdict });
            }
        }
        if is_new {
            self.alike.remember(all_told);
        }
        Ok(())
    }

    /// Two credits of one customer never have the same id: that they would ends the run with the reason.
    fn none_twice(&mut self) -> AppResult<()> {
        if self.own.len() < 2 {
            return Ok(());
        }
        self.own.sort_unstable();
        match self.own.windows(2).find(|pair| matches!(pair, [(a, _), (b, _)] if a == b)) {
            Some(pair) => {
                let subject = pair.first().map_or("a credit", |(_, subject)| subject.as_str());
                Err(StoreError::corrupt(format!("{subject} of one customer stands twice")).into())
            }
            None => Ok(()),
        }
    }

    fn count(&mut self, issuing: &Issuing, count: impl FnOnce(&mut Count<'a>)) {
        if let Some(counted) = self.counts.get_mut(issuing.place) {
            count(counted);
        }
    }

    /// Counts what is said of a subject, and credits what is due.
    fn tell(
        &mut self,
        customer: &CustomerId,
        issuing: &'a Issuing,
        name: &Word,
        given: &[Given],
        verdict: &Verdict,
    ) -> AppResult<()> {
        self.count(issuing, Count::subject);
        match &verdict.said {
            Said::Granted => {
                self.count(issuing, Count::granted);
                if !self.reached.contains(&issuing.place) {
                    self.reached.push(issuing.place);
                    self.count(issuing, Count::customer);
                }
            }
            Said::Declined(rule) => self.count(issuing, |count| count.declined(*rule)),
            Said::Review(queue) => {
                self.count(issuing, Count::review);
                self.except(customer, issuing, name, format!("review: {queue}"));
            }
            Said::Pending => {}
            Said::Failed(why) => {
                self.count(issuing, Count::failed);
                self.except(customer, issuing, name, why.clone());
            }
        }
        if verdict.is_cut {
            let parts = self.planned.programme.iter_mut();
            parts.filter(|part| part.issuing.place == issuing.place).for_each(|part| part.cut = true);
        }
        verdict.due.iter().try_for_each(|(place, raise)| self.credit(customer, issuing, name, given, *place, *raise))
    }

    /// A credit of the asset in this place is due.
    fn credit(
        &mut self,
        customer: &CustomerId,
        issuing: &'a Issuing,
        name: &Word,
        given: &[Given],
        place: usize,
        raise: Amount,
    ) -> AppResult<()> {
        let policy = &issuing.active.policy;
        let Some(asset) = policy.assets().get(place) else {
            return Err(StoreError::corrupt(format!("policy {} has no asset {place}", policy.id())).into());
        };
        if let Some(count) = self.counts.get_mut(issuing.place) {
            count.credit(place, raise)?;
        }
        // Without a budget the chunk is refused when all of it is counted.
        let Some(route) = issuing.route(place) else { return Ok(()) };
        let code = asset.code();
        let before = sum_of(given, code)?;
        let derived = issuing.ids.of(customer, name, code, before).0;
        let id = if is_without(Guard::Key) { Uuid::new_v4() } else { derived };
        self.own.push((id, name.clone()));
        (self.sink)(&TransferRow {
            customer_id: customer.clone().into(),
            id,
            posting_id: self.posting_id,
            amount: raise.minor(),
            debit_account: route.provision,
            credit_account: route.owed,
            asset_id: route.asset,
            policy_version_id: issuing.active.version_key,
            code: TransferCode::Issue.number(),
            subject: name.clone(),
        })
    }

    /// A claim is issued when it has a credit; one that gets nothing, since its loss is paid elsewhere, or a cap is
    /// reached, goes back to a person.
    fn claim(&mut self, customer: &CustomerId, item: &Item<'a, '_>, claim: Uuid, settled: &Settled<'_>) {
        let is_award = matches!(settled.outcome, Ok(Outcome::Award { .. }));
        let has_some = |due: &Due<'_>| due.to_credit > Amount::ZERO || !item.before.given.is_empty();
        if is_award && settled.due.iter().any(has_some) {
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
            self.planned.returned.push((customer.to_string(), claim, item.issuing.active.service_key));
            self.except(customer, item.issuing, &item.name, format!("nothing is due: {}", why.join("; ")));
        }
    }

    fn except(&mut self, customer: &CustomerId, issuing: &Issuing, name: &Word, reason: String) {
        self.exception(customer.to_string(), issuing.active.version_key, name.to_string(), reason);
    }

    fn set_aside(&mut self, customer: &str, corrupt: Corrupt) {
        let reason = format!("nothing of this customer is issued before it is mended: {}", corrupt.error);
        self.exception(customer.to_owned(), NO_POLICY, corrupt.subject, reason);
    }

    fn exception(&mut self, customer_id: String, policy_version_id: i32, subject: String, reason: String) {
        self.planned.tally.exceptions += 1;
        self.planned.exceptions.push(ExceptionRow { run_id: 0, customer_id, policy_version_id, subject, reason });
    }
}

/// What was given of an asset; what a stacking group counts as given is not part of it.
fn sum_of(given: &[Given], asset: &AssetCode) -> AppResult<Amount> {
    let mut of_asset = given.iter().filter(|given| given.asset == *asset);
    of_asset
        .try_fold(Amount::ZERO, |sum, given| sum.checked_add(given.amount))
        .ok_or_else(|| StoreError::corrupt(format!("more {asset} was credited than can be stored")).into())
}
