//! Decides and writes a chunk: all of it in the transaction that holds the chunk.

use std::collections::BTreeMap;

use chrono::Utc;
use redress_domain::claim::{ClaimMove, ClaimState};
use redress_domain::notice::Event;
use redress_domain::policy::Used;
use redress_store::ledger;
use redress_store::notices::{self, NoticeRow};
use redress_store::{Connection, StoreError, claims, run_lifecycle, runs};
use uuid::Uuid;

use super::Tally;
use super::chunk::{Loaded, ProgrammePart, Sum};
use super::context::Context;
use crate::error::{AppError, AppResult};
use crate::use_cases::claims::desk;

/// Decides and writes a chunk, and returns its figures. The caller's transaction makes it all or nothing. What chunks have in
/// common is touched last, each in one order, so that no two chunks wait for each other in a circle: caps, budgets, what the run
/// may issue, and the posting's time.
pub(super) fn commit(
    context: &Context<'_>,
    connection: &mut Connection,
    run_id: i64,
    seq: i32,
    loaded: Loaded<'_>,
) -> AppResult<Tally> {
    let posting = ledger::open_posting(connection, Some((run_id, seq)))?;
    let (id, about) = (posting.id(), loaded.subjects());
    let mut planned = ledger::record_with(connection, id, about, |recorder| {
        loaded.decide(id, &mut |credit| Ok(recorder.take(credit)?))
    })?;
    let at = Utc::now();
    planned.exceptions.iter_mut().for_each(|row| row.run_id = run_id);
    runs::set_aside(connection, &planned.exceptions)?;
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
    if !planned.sums.is_empty() {
        let (spent, of_assets) = totals(context, &planned.sums)?;
        take_from_programmes(context, connection, &planned.programme)?;
        for (budget, (amount, service, asset)) in &spent {
            ledger::spend(connection, *budget, *amount).map_err(|error| match error.constraint() {
                Some("budget_never_negative") => used_up(context, service, asset),
                _ => error.into(),
            })?;
        }
        count_towards_run(connection, run_id, of_assets)?;
        posting.seal(connection)?;
    }
    Ok(planned.tally)
}

/// What is taken of a budget, with the names of its service and asset.
type Spent = (i64, String, String);

/// What a chunk takes of each budget and issues of each asset; refused where there is no budget at all.
fn totals(context: &Context<'_>, sums: &[Sum<'_>]) -> AppResult<(BTreeMap<i32, Spent>, BTreeMap<i32, i64>)> {
    let mut spent: BTreeMap<i32, Spent> = BTreeMap::new();
    let mut of_assets: BTreeMap<i32, i64> = BTreeMap::new();
    for sum in sums {
        let (service, asset) = (sum.issuing.active.service_key, sum.asset.code());
        let Some(route) = sum.route else {
            return Err(used_up(context, &context.incident.service_name(service), asset.as_str()));
        };
        let names = || (0, context.incident.service_name(service), asset.to_string());
        for total in [&mut spent.entry(route.budget).or_insert_with(names).0, of_assets.entry(route.asset).or_default()]
        {
            *total = total
                .checked_add(sum.amount)
                .ok_or_else(|| StoreError::corrupt("the total of a chunk is beyond what can be stored"))?;
        }
    }
    Ok((spent, of_assets))
}

/// Counts the chunk towards what the run may issue, asset by asset in one order, so that no two chunks wait for each
/// other.
fn count_towards_run(connection: &mut Connection, run_id: i64, sums: BTreeMap<i32, i64>) -> AppResult<()> {
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
fn take_from_programmes(
    context: &Context<'_>,
    connection: &mut Connection,
    programme: &[ProgrammePart<'_>],
) -> AppResult<()> {
    for part in programme {
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
            ledger::add_programme_use(connection, part.issuing.active.policy_key, *asset_key, takers, amount)?;
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
fn used_up(context: &Context<'_>, service: &str, asset: &str) -> AppError {
    let incident = &context.incident.incident.id;
    AppError::Refused(format!(
        "stopped before the budget of {service} for {asset} would go below zero; what was issued stands. \
         redress issue --incident {incident} --dry-run says what is missing; redress budget authorise --incident \
         {incident} --service {service} --asset {asset} --amount N --as NAME, approved by another, makes room"
    ))
}
