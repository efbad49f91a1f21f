//! What services say afterwards of credits that they were told to grant. Saying it again changes nothing.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, NaiveDate, Utc};
use redress_domain::credit::{Flow, MAX_ATTEMPTS, Refusal};
use redress_domain::id::{CustomerId, ServiceId, TransferId};
use redress_store::deliveries::{self, CoveredCredit, Hold, RefusalRow};
use redress_store::{Connection, StoreError};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;
use validator::Validate;

use super::answer::{Status, code};
use super::{PARTLY, conclude};
use crate::app::{Actor, App};
use crate::error::{AppError, AppResult};
use crate::exact;
use crate::rights::Member;
use crate::shapes::{Money, Opaque};
use crate::use_cases::credits::{self, ItemRefusal, Leaving};
use crate::whole;

/// The most results that are taken at once.
pub const MAX_RESULTS: usize = 5_000;

/// What a service says of one credit.
#[derive(Debug, Clone, Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Acknowledgement {
    /// The customer, as it was told.
    #[schema(value_type = Opaque)]
    pub customer: String,
    /// The credit's id.
    pub credit: Uuid,
    /// Whether it was granted.
    #[serde(default)]
    pub status: Status,
    /// How much of it was, in the asset's unit; all that is owed when absent.
    #[serde(default, deserialize_with = "exact::option")]
    #[schema(value_type = Option<Money>, example = "3")]
    pub amount: Option<Decimal>,
    /// The attempt, as it was told: the same one twice counts once.
    #[serde(default = "first", deserialize_with = "whole::number")]
    #[validate(range(min = 1, max = MAX_ATTEMPTS, message = "must be from 1 to 100"))]
    #[schema(minimum = 1, maximum = 100)]
    pub attempt: u16,
    /// On which calendar date it was granted; today when absent.
    #[serde(default)]
    pub date: Option<NaiveDate>,
    /// Why it was refused, as a code.
    #[serde(default)]
    #[validate(length(max = 200, message = "is longer than 200 characters"))]
    #[schema(max_length = 200, example = "account-closed")]
    pub reason: Option<String>,
}

fn first() -> u16 {
    1
}

/// What came of it.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct Acknowledged {
    /// Credits recorded as delivered.
    pub recorded: usize,
    /// Results that were known before.
    pub already: usize,
    /// Credits kept as refused, or as granted in part, for a person to see.
    pub refused: usize,
    /// Results that could not be taken; the others were.
    pub rejected: Vec<Rejected>,
}

/// A result that could not be taken.
#[derive(Debug, Serialize, ToSchema)]
pub struct Rejected {
    /// Its place in the list, from 0.
    pub index: usize,
    /// The credit that it names.
    pub credit: Uuid,
    /// A stable code.
    #[schema(example = "credit_unknown")]
    pub code: &'static str,
    /// In words.
    pub detail: String,
}

/// A credit by customer and id.
type Key = (String, Uuid);

/// Takes what a service says; a member who works for some services only knows no credit of the others.
pub fn acknowledge(app: &App, results: &[Acknowledgement], member: &Member, actor: &Actor) -> AppResult<Acknowledged> {
    let items = results.iter().enumerate().map(|(index, result)| item(index, result)).collect::<AppResult<Vec<_>>>()?;
    credits::decide(app, |connection| {
        let keys: Vec<Key> = items.iter().map(|item| (item.customer.to_string(), item.credit.0)).collect();
        let mut taking = Taking {
            foreign: foreign(connection, &keys, member)?,
            covered: covered(connection, &keys)?,
            keys,
            results,
            at: Utc::now(),
            refusals: Vec::new(),
            done: Acknowledged::default(),
        };
        taking.delivered(connection, &items, actor)?;
        taking.refused();
        taking.finish(connection)
    })
}

/// A result as a movement of the ledger.
fn item(index: usize, result: &Acknowledgement) -> AppResult<Leaving> {
    let wrong = |field: &str, why: String| AppError::Field(format!("/results/{index}/{field}"), why);
    Ok(Leaving {
        customer: CustomerId::parse(&result.customer).map_err(|error| wrong("customer", error.to_string()))?,
        credit: TransferId(result.credit),
        amount: result.amount,
        attempt: result.attempt,
        on: result.date,
    })
}

/// The credits of services that a member does not work for.
fn foreign(connection: &mut Connection, keys: &[Key], member: &Member) -> AppResult<HashSet<Key>> {
    if member.services.is_none() {
        return Ok(HashSet::new());
    }
    let mut foreign = HashSet::new();
    for stored in redress_store::credits::load(connection, keys)? {
        let service = ServiceId::parse(&stored.row.service).map_err(StoreError::corrupt)?;
        if !member.works_for(&service) {
            foreign.insert((stored.row.customer_id, stored.row.id));
        }
    }
    Ok(foreign)
}

/// The batches under way that have these credits, held.
fn covered(connection: &mut Connection, keys: &[Key]) -> AppResult<BTreeMap<Key, Vec<CoveredCredit>>> {
    let mut covered: BTreeMap<Key, Vec<CoveredCredit>> = BTreeMap::new();
    for credit in deliveries::covering(connection, keys, Hold::Alone)? {
        covered.entry((credit.customer_id.clone(), credit.credit_id)).or_default().push(credit);
    }
    Ok(covered)
}

/// Results on their way into the books.
struct Taking<'a> {
    results: &'a [Acknowledgement],
    keys: Vec<Key>,
    foreign: HashSet<Key>,
    covered: BTreeMap<Key, Vec<CoveredCredit>>,
    at: DateTime<Utc>,
    refusals: Vec<RefusalRow>,
    done: Acknowledged,
}

impl Taking<'_> {
    fn reject(&mut self, index: usize, code: &'static str, detail: String) {
        if let Some((_, credit)) = self.keys.get(index) {
            self.done.rejected.push(Rejected { index, credit: *credit, code, detail });
        }
    }

    /// The places of the results with a status that are the member's to give.
    fn own(&mut self, status: Status) -> Vec<usize> {
        let mut own = Vec::new();
        for (index, result) in self.results.iter().enumerate().filter(|(_, result)| result.status == status) {
            let key = (result.customer.clone(), result.credit);
            if self.foreign.contains(&key) {
                self.reject(index, Refusal::Unknown.code(), Refusal::Unknown.to_string());
            } else {
                own.push(index);
            }
        }
        own
    }

    /// Moves what was granted. Of what was granted in part the rest stands beside the batch.
    fn delivered(&mut self, connection: &mut Connection, items: &[Leaving], actor: &Actor) -> AppResult<()> {
        let places = self.own(Status::Delivered);
        let granted: Vec<Leaving> = places.iter().filter_map(|place| items.get(*place).cloned()).collect();
        if granted.is_empty() {
            return Ok(());
        }
        let left = credits::leave_in(connection, Flow::Deliver, &granted, actor, None)?;
        self.done.recorded = left.recorded;
        self.done.already = left.already;
        for ItemRefusal { index, code, detail, .. } in left.refused {
            if let Some(place) = places.get(index) {
                self.reject(*place, code, detail);
            }
        }
        for place in left.partly.iter().filter_map(|place| places.get(*place).copied()).collect::<Vec<_>>() {
            self.refuse(place, PARTLY);
        }
        Ok(())
    }

    /// Keeps what was refused. Only what a service was told to grant can be.
    fn refused(&mut self) {
        for place in self.own(Status::Refused) {
            let told = self.told(place);
            if told.iter().any(|credit| credit.delivered) {
                let detail = "it was recorded as delivered: reverse that first, if it was taken back".to_owned();
                self.reject(place, "credit_delivered", detail);
            } else if told.is_empty() {
                let detail = "no delivery under way has this credit".to_owned();
                self.reject(place, "credit_not_in_delivery", detail);
            } else {
                let reason = code(self.results.get(place).and_then(|result| result.reason.as_deref()));
                self.refuse(place, &reason);
            }
        }
    }

    /// The batches by which the service was told of a credit.
    fn told(&self, place: usize) -> Vec<&CoveredCredit> {
        let covered = self.keys.get(place).and_then(|key| self.covered.get(key));
        covered.into_iter().flatten().filter(|credit| credit.as_of.is_some()).collect()
    }

    fn refuse(&mut self, place: usize, reason: &str) {
        let rows: Vec<RefusalRow> = self
            .told(place)
            .into_iter()
            .map(|credit| RefusalRow {
                customer_id: credit.customer_id.clone(),
                delivery_id: credit.delivery_id,
                credit_id: credit.credit_id,
                reason: reason.to_owned(),
                refused_at: self.at,
            })
            .collect();
        self.refusals.extend(rows);
    }

    /// Ends the batches of which every credit has its answer now.
    fn finish(mut self, connection: &mut Connection) -> AppResult<Acknowledged> {
        self.done.refused = deliveries::refuse(connection, &self.refusals)?;
        self.done.already += self.refusals.len() - self.done.refused;
        let touched: HashSet<Uuid> = self.covered.values().flatten().map(|credit| credit.delivery_id).collect();
        for id in touched {
            let (row, _) = deliveries::lock(connection, id)?;
            if let Some(as_of) = row.as_of {
                conclude(connection, &row, as_of, None, self.at)?;
            }
        }
        self.done.rejected.sort_by_key(|rejected| rejected.index);
        Ok(self.done)
    }
}
