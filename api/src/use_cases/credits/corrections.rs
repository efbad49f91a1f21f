//! Reversals and write-offs: all of what is asked or none of it. Above a limit, which counts what one person moves alone
//! within a day, they wait for a second person.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, Duration, NaiveDate, Utc};
use redress_domain::Amount;
use redress_domain::credit::{Credit, Flow, Movement, Refusal, Step};
use redress_domain::id::{CustomerId, ReasonCode, ServiceId, TransferId};
use redress_domain::log::canonical;
use redress_store::corrections::{self, CorrectionRow, NewCorrection};
use redress_store::limits::{self, LimitRow, Limited};
use redress_store::{Connection, StoreError, audit, credits};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::batch::{Batch, Key};
use super::{ItemRefusal, check_size, decide, exact, in_delivery};
use crate::app::{Actor, App};
use crate::error::{AppError, AppResult};
use crate::rights::{Member, Right};
use crate::use_cases::reports::figure;
use crate::use_cases::staff;

/// Over how long what one person corrects alone is counted together.
const ALONE_WITHIN: Duration = Duration::hours(24);
/// How many corrections a list has.
const LISTED: i64 = 100;

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

/// What a correction does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Moves originals back. A reversal names its original, which is reversed at most once: a second one is refused and
    /// moves nothing.
    Reverse,
    /// Writes credits off that cannot be delivered: they stand in suspense until somebody reverses it.
    WriteOff,
}

impl Kind {
    /// Its name in storage and in the audit log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reverse => "reverse",
            Self::WriteOff => "write-off",
        }
    }

    fn of(name: &str) -> AppResult<Self> {
        let known = [Self::Reverse, Self::WriteOff].into_iter().find(|kind| kind.as_str() == name);
        Ok(known.ok_or_else(|| StoreError::corrupt(format!("a correction of kind {name:?}")))?)
    }

    /// Asks the domain for the movement.
    fn movement(
        self,
        credit: &mut Credit,
        transfer: TransferId,
        amount: Option<Amount>,
        on: NaiveDate,
        today: NaiveDate,
    ) -> Result<Movement, Refusal> {
        match self {
            Self::Reverse => credit.reverse(transfer, amount, on, today),
            Self::WriteOff => {
                // After a reversed write-off the next one is another attempt; a person asks for it anew each time.
                let earlier = credit.movements().iter().filter(|movement| movement.code == Flow::WriteOff.code());
                let attempt = u16::try_from(earlier.count()).unwrap_or(u16::MAX).saturating_add(1);
                match credit.leave(Flow::WriteOff, attempt, amount, on, today)? {
                    Step::New(movement) if transfer == credit.id() => Ok(movement),
                    Step::New(_) | Step::Already(_) => Err(Refusal::Unknown),
                }
            }
        }
    }
}

/// What came of a correction that was asked for.
#[derive(Debug)]
pub enum Asked {
    /// It was done.
    Done(Vec<Corrected>),
    /// It is above a limit and waits for a second person.
    Waits(Box<CorrectionView>),
}

/// Corrects, or asks a second person to approve it.
pub fn ask(app: &App, kind: Kind, items: &[Correction], ground: &Ground, actor: &Actor) -> AppResult<Asked> {
    check_size(items.len())?;
    let by = app.store.with(|connection| staff::require(connection, &actor.name, Right::ReverseCredits, None))?;
    decide(app, |connection| {
        let on = ground.on.unwrap_or_else(|| Utc::now().date_naive());
        let decided = Decided::of(connection, kind, items, &ground.reason, on, &by)?;
        let entry = actor.entry(&format!("credit.{}", kind.as_str()), decided.object(), decided.detail(None));
        let above = above_limits(connection, &actor.name, &decided.totals, entry.at)?;
        let listed = decided.listed()?;
        let document = serde_json::json!({ "kind": kind.as_str(), "items": listed, "reason": ground.reason, "on": on });
        let hash = canonical::hash(&document).ok_or_else(|| StoreError::corrupt("a correction is no JSON"))?;
        let new = NewCorrection {
            kind: kind.as_str(),
            items: &listed,
            items_hash: hash.as_bytes(),
            reason: ground.reason.as_str(),
            effective_on: on,
            asked_by: &actor.name,
            asked_at: entry.at,
            needs_approval: !above.is_empty(),
            posting_id: None,
        };
        let totals: Vec<(i32, i64)> = decided.totals.iter().map(|(asset, total)| (*asset, *total)).collect();
        if above.is_empty() {
            let made = decided.write(connection, entry, |connection, posting| {
                corrections::insert(connection, &NewCorrection { posting_id: Some(posting), ..new.clone() }, &totals)?;
                Ok(())
            })?;
            return Ok(Asked::Done(made));
        }
        let id = match corrections::waiting(connection, hash.as_bytes())? {
            Some(known) => known,
            None => {
                let id = corrections::insert(connection, &new, &totals)?;
                let detail = serde_json::json!({ "correction": id, "items": listed, "above": above });
                let asked = actor.entry("credit.ask-correction", decided.object(), detail);
                audit::append(connection, &[asked.after(&document)])?;
                id
            }
        };
        Ok(Asked::Waits(Box::new(show_in(connection, id)?)))
    })
}

/// Approves a correction as somebody else than who asked for it, and does it: as it was asked, or not at all.
pub fn approve(app: &App, id: i64, actor: &Actor) -> AppResult<Vec<Corrected>> {
    decide(app, |connection| {
        let by = staff::require_everywhere(connection, &actor.name, Right::ApproveCorrections)?;
        let row = open(connection, id)?;
        if row.asked_by == actor.name {
            return Err(StoreError::Refused("correction_four_eyes".into()).into());
        }
        let kind = Kind::of(&row.kind)?;
        let reason = ReasonCode::parse(&row.reason).map_err(StoreError::corrupt)?;
        let items = items_of(&row)?.into_iter().map(Correction::try_from).collect::<AppResult<Vec<_>>>()?;
        let decided = Decided::of(connection, kind, &items, &reason, row.effective_on, &by)?;
        let entry = actor.entry(&format!("credit.{}", kind.as_str()), decided.object(), decided.detail(Some(&row)));
        let at = entry.at;
        decided.write(connection, entry, |connection, posting| {
            Ok(corrections::approve(connection, id, &actor.name, at, posting)?)
        })
    })
}

/// Rejects a correction that waits; it can never be approved then.
pub fn reject(app: &App, id: i64, actor: &Actor) -> AppResult<CorrectionView> {
    app.store.transaction(|connection| {
        staff::require_everywhere(connection, &actor.name, Right::ApproveCorrections)?;
        let row = open(connection, id)?;
        let detail = serde_json::json!({ "correction": id, "asked_by": row.asked_by });
        let entry = actor.entry("credit.reject-correction", format!("correction {id}"), detail);
        corrections::reject(connection, id, &actor.name, entry.at)?;
        audit::append(connection, &[entry.before(&"waiting").after(&"rejected")])?;
        show_in(connection, id)
    })
}

fn open(connection: &mut Connection, id: i64) -> AppResult<CorrectionRow> {
    let row = corrections::lock(connection, id)?;
    if row.waits() {
        return Ok(row);
    }
    Err(AppError::Conflict(format!("correction {id} was decided before; nothing was changed")))
}

/// Above which limits somebody would come with this, and with what he did alone before.
fn above_limits(
    connection: &mut Connection,
    by: &str,
    totals: &BTreeMap<i32, i64>,
    at: DateTime<Utc>,
) -> AppResult<Vec<String>> {
    let mut above = Vec::new();
    for limit in limits::of(connection, Limited::Correction)? {
        let Some(total) = totals.get(&limit.asset_key) else { continue };
        let before = corrections::moved_alone(connection, by, limit.asset_key, at - ALONE_WITHIN)?;
        if before.saturating_add(*total) > limit.most {
            above.push(beyond(&limit, *total, before));
        }
    }
    Ok(above)
}

fn beyond(limit: &LimitRow, total: i64, before: i64) -> String {
    let shown = |minor: i64| figure(Decimal::from(minor), limit.scale);
    let and_before = if before > 0 { format!(" after {} within a day", shown(before)) } else { String::new() };
    format!("{} {}{and_before} (limit {})", shown(total), limit.asset, shown(limit.most))
}

/// A correction that the domain allows, before anything is written.
struct Decided {
    batch: Batch,
    made: Vec<Corrected>,
    customers: Vec<String>,
    totals: BTreeMap<i32, i64>,
}

impl Decided {
    fn of(
        connection: &mut Connection,
        kind: Kind,
        items: &[Correction],
        reason: &ReasonCode,
        on: NaiveDate,
        by: &Member,
    ) -> AppResult<Self> {
        let today = Utc::now().date_naive();
        let keys = find(connection, items)?;
        let known: Vec<Key> = keys.iter().flatten().cloned().collect();
        // What takes a credit itself; a delivery that is moved back was answered.
        let told = in_delivery(connection, &named_themselves(items, &keys))?;
        let batch = Batch::load(connection, &known)?;
        let mut decided = Self { batch, made: Vec::new(), customers: Vec::new(), totals: BTreeMap::new() };
        let mut refused = Vec::new();
        for (index, (item, key)) in items.iter().zip(&keys).enumerate() {
            let step = key.as_ref().ok_or(Refusal::Unknown).and_then(|key| {
                let stored = decided.batch.credit(key)?;
                if !ServiceId::parse(&stored.row.service).is_ok_and(|service| by.works_for(&service)) {
                    // To whoever works for other services it does not exist.
                    return Err(Refusal::Unknown);
                }
                if item.transfer == stored.credit.id() && told.contains(key) {
                    return Err(Refusal::InDelivery);
                }
                let amount = exact(item.amount, stored.row.scale)?;
                Ok((key, kind.movement(&mut stored.credit, item.transfer, amount, on, today)?))
            });
            match step {
                Ok((key, movement)) => decided.add(connection, key, &movement, item, reason)?,
                Err(refusal) => refused.push(ItemRefusal::new(index, item.transfer.0, &refusal)),
            }
        }
        if refused.is_empty() { Ok(decided) } else { Err(AppError::Items { of: items.len(), refused }) }
    }

    fn add(
        &mut self,
        connection: &mut Connection,
        key: &Key,
        movement: &Movement,
        item: &Correction,
        reason: &ReasonCode,
    ) -> AppResult<()> {
        let row = self.batch.credit(key).map_err(StoreError::corrupt)?.row.clone();
        let unit = |amount: Amount| figure(amount.minor().into(), row.scale);
        self.made.push(Corrected {
            transfer: movement.transfer,
            credit: TransferId(row.id),
            original: item.transfer,
            amount: unit(movement.amount),
            asset: row.asset.clone(),
            owed: unit(movement.owed_after),
            effective_on: movement.effective_on,
            reason: reason.clone(),
        });
        self.customers.push(row.customer_id.clone());
        let total = self.totals.entry(row.asset_id).or_default();
        *total = total
            .checked_add(movement.amount.minor())
            .ok_or_else(|| StoreError::corrupt("the total of a batch is beyond what can be stored"))?;
        self.batch.add(connection, key, movement, Some(reason.as_str()))
    }

    fn object(&self) -> String {
        self.made.first().map(|first| format!("credit {}", first.credit)).unwrap_or_default()
    }

    fn detail(&self, asked: Option<&CorrectionRow>) -> serde_json::Value {
        match asked {
            None => serde_json::json!({ "corrections": self.made }),
            Some(row) => {
                serde_json::json!({ "corrections": self.made, "correction": row.id, "asked_by": row.asked_by })
            }
        }
    }

    /// What is kept of it until somebody approves it: every amount as it is now.
    fn listed(&self) -> AppResult<serde_json::Value> {
        let items: Vec<CorrectionItem> = self
            .made
            .iter()
            .zip(&self.customers)
            .map(|(made, customer)| CorrectionItem {
                transfer: made.original,
                customer: customer.clone(),
                amount: made.amount.clone(),
                asset: made.asset.clone(),
            })
            .collect();
        Ok(serde_json::to_value(items).map_err(StoreError::corrupt)?)
    }

    fn write(
        self,
        connection: &mut Connection,
        entry: redress_store::audit::AuditEntry,
        keep: impl FnOnce(&mut Connection, i64) -> AppResult<()>,
    ) -> AppResult<Vec<Corrected>> {
        self.batch.write(connection, entry, keep)?;
        Ok(self.made)
    }
}

/// What a correction moves of one transfer.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct CorrectionItem {
    /// A credit, or what happened to one.
    #[schema(value_type = Uuid)]
    pub transfer: TransferId,
    /// Whose it is.
    pub customer: String,
    /// How much, in the asset's unit.
    pub amount: String,
    /// The asset.
    pub asset: String,
}

impl TryFrom<CorrectionItem> for Correction {
    type Error = AppError;

    fn try_from(item: CorrectionItem) -> AppResult<Self> {
        let customer = CustomerId::parse(&item.customer).map_err(StoreError::corrupt)?;
        let amount = Decimal::from_str_exact(&item.amount).map_err(StoreError::corrupt)?;
        Ok(Self { transfer: item.transfer, customer: Some(customer), amount: Some(amount) })
    }
}

fn items_of(row: &CorrectionRow) -> AppResult<Vec<CorrectionItem>> {
    Ok(serde_json::from_value(row.items.clone()).map_err(StoreError::corrupt)?)
}

/// A correction as people see it.
#[derive(Debug, Serialize, ToSchema)]
pub struct CorrectionView {
    /// Its number.
    pub id: i64,
    /// `reverse` or `write-off`.
    pub kind: String,
    /// `waiting`, `done` or `rejected`.
    pub state: &'static str,
    /// Why.
    pub reason: String,
    /// From when it counts for people.
    pub effective_on: NaiveDate,
    /// Who asked.
    pub asked_by: String,
    /// When.
    pub asked_at: DateTime<Utc>,
    /// Whether it takes a second person.
    pub needs_approval: bool,
    /// Who decided it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decided_by: Option<String>,
    /// How much of each asset it moves.
    pub totals: Vec<CorrectionTotal>,
    /// How many transfers it corrects.
    pub transfers: usize,
    /// Each of them; left out in lists.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<CorrectionItem>,
}

/// How much of an asset is moved.
#[derive(Debug, Serialize, ToSchema)]
pub struct CorrectionTotal {
    /// The asset.
    pub asset: String,
    /// How much, in its unit.
    pub amount: String,
}

/// The newest corrections, those that wait first.
pub fn list(app: &App) -> AppResult<Vec<CorrectionView>> {
    app.store.with(|connection| {
        let rows = corrections::list(connection, LISTED)?;
        Ok(views(connection, rows)?.into_iter().map(|view| CorrectionView { items: Vec::new(), ..view }).collect())
    })
}

/// A correction with all that it moves.
pub fn show(app: &App, id: i64) -> AppResult<CorrectionView> {
    app.store.with(|connection| show_in(connection, id))
}

fn show_in(connection: &mut Connection, id: i64) -> AppResult<CorrectionView> {
    let row = corrections::find(connection, id)?;
    let view = views(connection, vec![row])?.pop();
    Ok(view.ok_or_else(|| StoreError::NotFound(format!("correction {id}")))?)
}

fn views(connection: &mut Connection, rows: Vec<CorrectionRow>) -> AppResult<Vec<CorrectionView>> {
    let totals = corrections::totals(connection, &rows.iter().map(|row| row.id).collect::<Vec<_>>())?;
    rows.into_iter()
        .map(|row| {
            let items = items_of(&row)?;
            let of_row = totals.iter().filter(|total| total.correction_id == row.id);
            let state = match (row.posting_id, &row.rejected_by) {
                (Some(_), _) => "done",
                (None, Some(_)) => "rejected",
                (None, None) => "waiting",
            };
            Ok(CorrectionView {
                totals: of_row
                    .map(|total| CorrectionTotal {
                        asset: total.asset.clone(),
                        amount: figure(Decimal::from(total.amount), total.scale),
                    })
                    .collect(),
                id: row.id,
                kind: row.kind,
                state,
                reason: row.reason,
                effective_on: row.effective_on,
                asked_by: row.asked_by,
                asked_at: row.asked_at,
                needs_approval: row.needs_approval,
                decided_by: row.approved_by.or(row.rejected_by),
                transfers: items.len(),
                items,
            })
        })
        .collect()
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
