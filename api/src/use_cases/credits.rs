//! What happens to credits after they are issued: delivered, expired, written off, reversed. The batch is the primitive
//! and one credit is a batch of one: load all, decide by the domain's rules, write all in one transaction.

mod batch;
pub mod file;
mod view;

use std::collections::{HashMap, HashSet};

use chrono::{NaiveDate, Utc};
use redress_domain::Amount;
use redress_domain::credit::{Flow, Refusal, Step};
use redress_domain::id::{CustomerId, ReasonCode, ServiceId, TransferId};
use redress_store::deliveries::{self, Hold};
use redress_store::{Connection, credits};
use rust_decimal::Decimal;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use self::batch::{Batch, Key};
pub use self::view::{CreditView, list};
use super::staff;
use crate::app::{Actor, App};
use crate::error::{AppError, AppResult};
use crate::rights::Right;

/// The most credits that one call moves.
pub const MAX_BATCH: usize = 5_000;
/// How often a batch is decided anew when others move the same credits.
const MAX_TRIES: u32 = 5;

/// Says that an amount of a credit left what is owed: a service's acknowledgement, or the end of its term.
#[derive(Debug, Clone)]
pub struct Leaving {
    /// Whose it is.
    pub customer: CustomerId,
    /// The credit.
    pub credit: TransferId,
    /// How much, in the asset's unit; all that is owed when none.
    pub amount: Option<Decimal>,
    /// Counts the deliveries (or expiries) of the credit, from 1: the same one twice is one.
    pub attempt: u16,
    /// The calendar date on which it happened; today when none.
    pub on: Option<NaiveDate>,
}

/// What is to be moved back, or written off.
#[derive(Debug, Clone)]
pub struct Correction {
    /// A credit; to reverse, also a delivery, an expiry or a write-off.
    pub transfer: TransferId,
    /// Whose it is; without, the whole ledger is searched for it.
    pub customer: Option<CustomerId>,
    /// How much, in the asset's unit; the whole when none.
    pub amount: Option<Decimal>,
}

/// What a correction has to say for itself.
#[derive(Debug, Clone)]
pub struct Ground {
    /// Why.
    pub reason: ReasonCode,
    /// From when it counts for people; today when none.
    pub on: Option<NaiveDate>,
}

/// An item of a batch that was refused.
#[derive(Debug, Clone, Serialize)]
pub struct ItemRefusal {
    /// Its place in the batch, from 0; in a file, its line.
    pub index: usize,
    /// The credit or transfer that was named.
    pub id: String,
    /// A stable code.
    pub code: &'static str,
    /// In words.
    pub detail: String,
}

impl ItemRefusal {
    fn new(index: usize, id: Uuid, refusal: &Refusal) -> Self {
        Self { index, id: id.to_string(), code: refusal.code(), detail: refusal.to_string() }
    }
}

/// What a batch of acknowledgements or expiries came to.
#[derive(Debug, Default, Serialize)]
pub struct Left {
    /// How many were recorded.
    pub recorded: usize,
    /// How many had been recorded before.
    pub already: usize,
    /// Those that were refused; the others stand.
    pub refused: Vec<ItemRefusal>,
    /// The places of those that stand and left something owed.
    #[serde(skip)]
    pub partly: Vec<usize>,
}

/// One transfer that a correction made.
#[derive(Debug, Serialize, ToSchema)]
pub struct Corrected {
    /// The transfer that was made.
    #[schema(value_type = Uuid)]
    pub transfer: TransferId,
    /// The credit.
    #[schema(value_type = Uuid)]
    pub credit: TransferId,
    /// What was corrected.
    #[schema(value_type = Uuid)]
    pub original: TransferId,
    /// How much, in the asset's unit.
    pub amount: String,
    /// The asset.
    pub asset: String,
    /// What is still owed of the credit, in the asset's unit.
    pub owed: String,
    /// From when it counts for people.
    pub effective_on: NaiveDate,
    /// Why.
    #[schema(value_type = String)]
    pub reason: ReasonCode,
}

/// Records deliveries or expiries; an item that cannot be is refused alone, with its place.
pub fn leave(app: &App, flow: Flow, items: &[Leaving], actor: &Actor) -> AppResult<Left> {
    check_size(items.len())?;
    if flow != Flow::Deliver {
        app.store.with(|connection| staff::require_everywhere(connection, &actor.name, Right::ReverseCredits))?;
    }
    decide(app, |connection| leave_in(connection, flow, items, actor, None))
}

/// The same within a transaction that does more; run it by [`decide`]. `about` names what the items stand in, for the log.
pub(super) fn leave_in(
    connection: &mut Connection,
    flow: Flow,
    items: &[Leaving],
    actor: &Actor,
    about: Option<String>,
) -> AppResult<Left> {
    let today = Utc::now().date_naive();
    let keys: Vec<Key> = items.iter().map(|item| (item.customer.to_string(), item.credit.0)).collect();
    let told = if flow == Flow::Deliver { HashSet::new() } else { in_delivery(connection, &keys)? };
    let mut batch = Batch::load(connection, &keys)?;
    let mut left = Left::default();
    for (index, (item, key)) in items.iter().zip(&keys).enumerate() {
        let step = batch.credit(key).and_then(|stored| {
            if told.contains(key) {
                return Err(Refusal::InDelivery);
            }
            let amount = exact(item.amount, stored.row.scale)?;
            let step = stored.credit.leave(flow, item.attempt, amount, item.on.unwrap_or(today), today)?;
            Ok((step, stored.credit.owed() > Amount::ZERO))
        });
        match step {
            Ok((step, partly)) => {
                left.partly.extend(partly.then_some(index));
                match step {
                    Step::New(movement) => {
                        left.recorded += 1;
                        batch.add(connection, key, &movement, None)?;
                    }
                    Step::Already(_) => left.already += 1,
                }
            }
            Err(refusal) => left.refused.push(ItemRefusal::new(index, item.credit.0, &refusal)),
        }
    }
    let detail = serde_json::json!({
        "recorded": left.recorded, "already": left.already, "refused": left.refused.len(),
    });
    let object = about.unwrap_or_else(|| format!("{} credits", left.recorded));
    batch.write(connection, actor.entry(&format!("credit.{}", flow.code().as_str()), object, detail))?;
    Ok(left)
}

/// Those of these credits that a service was told to grant and has not answered for: it may have granted them.
fn in_delivery(connection: &mut Connection, keys: &[Key]) -> AppResult<HashSet<Key>> {
    let covered = deliveries::covering(connection, keys, Hold::Unsent)?;
    Ok(covered
        .into_iter()
        .filter(deliveries::CoveredCredit::is_outstanding)
        .map(|credit| (credit.customer_id, credit.credit_id))
        .collect())
}

/// Moves originals back, all of them or none. A reversal names its original, which is reversed at most once: a second
/// one is refused and moves nothing.
pub fn reverse(app: &App, items: &[Correction], ground: &Ground, actor: &Actor) -> AppResult<Vec<Corrected>> {
    correct(app, items, ground, actor, "credit.reverse", |credit, item, amount, on, today| {
        credit.reverse(item.transfer, amount, on, today)
    })
}

/// Writes credits off that cannot be delivered, all of them or none: they stand in suspense until somebody reverses it.
pub fn write_off(app: &App, items: &[Correction], ground: &Ground, actor: &Actor) -> AppResult<Vec<Corrected>> {
    correct(app, items, ground, actor, "credit.write-off", |credit, item, amount, on, today| {
        // After a reversed write-off the next one is another attempt; a person asks for it anew each time.
        let earlier = credit.movements().iter().filter(|movement| movement.code == Flow::WriteOff.code()).count();
        let attempt = u16::try_from(earlier).unwrap_or(u16::MAX).saturating_add(1);
        match credit.leave(Flow::WriteOff, attempt, amount, on, today)? {
            Step::New(movement) if item.transfer == credit.id() => Ok(movement),
            Step::New(_) | Step::Already(_) => Err(Refusal::Unknown),
        }
    })
}

fn correct(
    app: &App,
    items: &[Correction],
    ground: &Ground,
    actor: &Actor,
    action: &str,
    rule: impl Fn(
        &mut redress_domain::credit::Credit,
        &Correction,
        Option<Amount>,
        NaiveDate,
        NaiveDate,
    ) -> Result<redress_domain::credit::Movement, Refusal>,
) -> AppResult<Vec<Corrected>> {
    check_size(items.len())?;
    let by = app.store.with(|connection| staff::require(connection, &actor.name, Right::ReverseCredits, None))?;
    decide(app, |connection| {
        let today = Utc::now().date_naive();
        let on = ground.on.unwrap_or(today);
        let keys = find(connection, items)?;
        let known: Vec<Key> = keys.iter().flatten().cloned().collect();
        // What takes a credit itself; a delivery that is moved back was answered.
        let told = in_delivery(connection, &named_themselves(items, &keys))?;
        let mut batch = Batch::load(connection, &known)?;
        let (mut made, mut refused) = (Vec::with_capacity(items.len()), Vec::new());
        for (index, (item, key)) in items.iter().zip(&keys).enumerate() {
            let step = key.as_ref().ok_or(Refusal::Unknown).and_then(|key| batch.credit(key)).and_then(|stored| {
                if !ServiceId::parse(&stored.row.service).is_ok_and(|service| by.works_for(&service)) {
                    // To whoever works for other services it does not exist.
                    return Err(Refusal::Unknown);
                }
                if item.transfer == stored.credit.id() && key.as_ref().is_some_and(|key| told.contains(key)) {
                    return Err(Refusal::InDelivery);
                }
                let amount = exact(item.amount, stored.row.scale)?;
                let movement = rule(&mut stored.credit, item, amount, on, today)?;
                let unit = |amount: Amount| super::reports::figure(amount.minor().into(), stored.row.scale);
                made.push(Corrected {
                    transfer: movement.transfer,
                    credit: stored.credit.id(),
                    original: item.transfer,
                    amount: unit(movement.amount),
                    asset: stored.row.asset.clone(),
                    owed: unit(movement.owed_after),
                    effective_on: on,
                    reason: ground.reason.clone(),
                });
                Ok(movement)
            });
            match (step, key) {
                (Ok(movement), Some(key)) => batch.add(connection, key, &movement, Some(ground.reason.as_str()))?,
                (Ok(_), None) => {}
                (Err(refusal), _) => refused.push(ItemRefusal::new(index, item.transfer.0, &refusal)),
            }
        }
        if !refused.is_empty() {
            return Err(AppError::Items { of: items.len(), refused });
        }
        let object = made.first().map(|first| format!("credit {}", first.credit)).unwrap_or_default();
        batch.write(connection, actor.entry(action, object, serde_json::json!({ "corrections": made })))?;
        Ok(made)
    })
}

/// The credits that items name themselves, rather than one of their movements.
fn named_themselves(items: &[Correction], keys: &[Option<Key>]) -> Vec<Key> {
    let own = |(item, key): (&Correction, &Option<Key>)| key.clone().filter(|(_, credit)| *credit == item.transfer.0);
    items.iter().zip(keys).filter_map(own).collect()
}

/// Where the transfers stand, in the order of the items; none where there is no such transfer or it is no credit's.
fn find(connection: &mut Connection, items: &[Correction]) -> AppResult<Vec<Option<Key>>> {
    let mut ids: HashMap<Option<&CustomerId>, HashSet<Uuid>> = HashMap::new();
    for item in items {
        ids.entry(item.customer.as_ref()).or_default().insert(item.transfer.0);
    }
    let mut found: HashMap<(Option<&CustomerId>, Uuid), Key> = HashMap::new();
    for (customer, ids) in ids {
        let ids: Vec<Uuid> = ids.into_iter().collect();
        for place in credits::locate(connection, &ids, customer.map(CustomerId::as_str))? {
            if let Some(credit) = place.credit_id {
                found.insert((customer, place.id), (place.customer_id, credit));
            }
        }
    }
    Ok(items.iter().map(|item| found.get(&(item.customer.as_ref(), item.transfer.0)).cloned()).collect())
}

/// Runs a batch in a transaction, anew when another moved the same credits first.
pub(super) fn decide<T>(app: &App, work: impl Fn(&mut Connection) -> AppResult<T>) -> AppResult<T> {
    let mut tries = 0;
    loop {
        match app.store.transaction(&work) {
            Err(AppError::Store(error)) if credits::overtaken(&error) && tries < MAX_TRIES => tries += 1,
            outcome => return outcome,
        }
    }
}

fn check_size(items: usize) -> AppResult<()> {
    if (1..=MAX_BATCH).contains(&items) {
        return Ok(());
    }
    Err(AppError::Invalid(format!("a batch has from 1 to {MAX_BATCH} credits, not {items}")))
}

/// An amount in minor units, or its refusal: nothing is ever rounded.
fn exact(amount: Option<Decimal>, scale: i16) -> Result<Option<Amount>, Refusal> {
    let Some(amount) = amount else { return Ok(None) };
    let scale = u8::try_from(scale).map_err(|error| Refusal::NotExact(error.to_string()))?;
    Amount::from_decimal(amount, scale).map(Some).map_err(|error| Refusal::NotExact(error.to_string()))
}
