//! What happens to credits after they are issued: delivered, expired, written off, reversed. The batch is the primitive
//! and one credit is a batch of one: load all, decide by the domain's rules, write all in one transaction.

mod batch;
pub mod corrections;
pub mod file;
mod view;

use std::collections::HashSet;

use chrono::{NaiveDate, Utc};
use redress_domain::Amount;
use redress_domain::credit::{Flow, Refusal, Step};
use redress_domain::id::{CustomerId, TransferId};
use redress_store::deliveries::{self, Hold};
use redress_store::{Connection, credits};
use rust_decimal::Decimal;
use serde::Serialize;
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
    batch.write(connection, actor.entry(&format!("credit.{}", flow.code().as_str()), object, detail), |_, _| Ok(()))?;
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
