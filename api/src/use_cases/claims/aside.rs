//! Reports that no policy has to speak of: drafts, enquiries, and what the same customer said before.

use chrono::{DateTime, Utc};
use redress_domain::claim::{ClaimMove, ClaimState};
use redress_domain::notice::Event;
use redress_store::claims::{self, ClaimRow, ClaimView};
use redress_store::incidents::StoredIncident;
use redress_store::notices::{self, NoticeRow};
use redress_store::{Connection, StoreError, audit, webhook_messages};
use uuid::Uuid;

use super::new::ClaimKind;
use super::personal::personal_context;
use super::reference::new_reference;
use super::status::merged_into;
use super::{ClaimAnswer, NewClaim, Personal, Text, answer, draft, duplicates, state_of};
use crate::app::{Actor, App};
use crate::assess;
use crate::error::AppResult;
use crate::policy_cache::ActivePolicy;
use crate::use_cases::claimants::address_key;

/// A report that is about to be kept.
pub(super) struct Report<'a> {
    pub(super) new: &'a NewClaim,
    pub(super) found: &'a StoredIncident,
    pub(super) service_key: i32,
    pub(super) facts: &'a serde_json::Value,
    /// What is claimed, as a keyed hash.
    pub(super) loss: Uuid,
}

/// Keeps a report that no policy has to speak of; none when one has to.
pub(super) fn keep(
    app: &App,
    connection: &mut Connection,
    report: &Report<'_>,
    actor: &Actor,
    at: DateTime<Utc>,
) -> AppResult<Option<ClaimAnswer>> {
    let new = report.new;
    let row = if new.draft {
        draft::begin(app, connection, new, report.found, report.facts.clone(), actor, at)?
    } else if new.kind == ClaimKind::Enquiry {
        enquiry(app, connection, report, actor, at)?
    } else if let Some(first) = claims::of_loss(connection, new.customer.as_str(), report.loss)? {
        merged(app, connection, report, first.id, actor, at)?
    } else {
        return Ok(None);
    };
    let (incident, service) = (new.incident.to_string(), new.service.to_string());
    let view = ClaimView { claim: row, incident, service, assessment: None };
    let mut answer = answer(&view)?;
    answer.duplicate_of = merged_into(connection, &view.claim)?;
    answer.reply = reply(app, connection, &view.claim)?;
    Ok(Some(answer))
}

/// A row that is closed from the start.
fn closed(report: &Report<'_>, action: ClaimMove, at: DateTime<Utc>) -> AppResult<ClaimRow> {
    let new = report.new;
    let state = ClaimState::Draft.after(ClaimMove::Submit)?.after(action)?;
    Ok(ClaimRow {
        customer_id: new.customer.to_string(),
        id: Uuid::now_v7(),
        reference: new_reference(),
        incident_id: report.found.key,
        service_id: report.service_key,
        state: state.as_str().to_owned(),
        facts: report.facts.clone(),
        version: 1,
        created_at: at,
        submitted_at: Some(at),
        updated_at: at,
        kind: new.kind.as_str().to_owned(),
        channel: new.channel.as_str().to_owned(),
        loss: None,
        duplicate_of: None,
        credited_at: None,
    })
}

fn insert(app: &App, connection: &mut Connection, row: &ClaimRow, new: &NewClaim) -> AppResult<()> {
    let plain = serde_json::to_vec(&Personal::of(new)).map_err(StoreError::corrupt)?;
    let address = new.contact.email.as_deref().map(|email| address_key(app, email));
    let sealed = app.secrets.seal(&plain, &personal_context(row))?;
    claims::insert(connection, row, &sealed, address.as_deref())?;
    let notice = NoticeRow::queued(&row.customer_id, Uuid::now_v7(), row.id, Event::Received, row.created_at);
    match new.contact.email {
        Some(_) => notices::queue(connection, &[notice])?,
        None => webhook_messages::queue(connection, &[notice])?,
    }
    Ok(())
}

/// An enquiry is answered at once and closed; whoever writes again gets a person.
fn enquiry(
    app: &App,
    connection: &mut Connection,
    report: &Report<'_>,
    actor: &Actor,
    at: DateTime<Utc>,
) -> AppResult<ClaimRow> {
    let row = closed(report, ClaimMove::Answer, at)?;
    insert(app, connection, &row, report.new)?;
    let entry = actor.entry("claim.enquire", format!("claim {}", row.id), serde_json::json!({ "status": row.state }));
    audit::append(connection, &[entry.after(&state_of(&row.state, row.version, None))])?;
    Ok(row)
}

/// What the same customer said before is kept, closed and handled where it was said first.
fn merged(
    app: &App,
    connection: &mut Connection,
    report: &Report<'_>,
    first: Uuid,
    actor: &Actor,
    at: DateTime<Utc>,
) -> AppResult<ClaimRow> {
    let row = ClaimRow { duplicate_of: Some(first), ..closed(report, ClaimMove::Merge, at)? };
    insert(app, connection, &row, report.new)?;
    duplicates::merge(app, connection, &row, first, &report.new.description, actor, at)?;
    Ok(row)
}

/// What an enquiry is answered with: how its service compensates.
pub(in crate::use_cases) fn reply(app: &App, connection: &mut Connection, claim: &ClaimRow) -> AppResult<Option<Text>> {
    if claim.kind != ClaimKind::Enquiry.as_str() || claim.state == ClaimState::Draft.as_str() {
        return Ok(None);
    }
    let policies = assess::policies_of_service(app, connection, claim.incident_id, claim.service_id)?;
    let (ko, en) = match (
        policies.iter().any(ActivePolicy::is_automatic),
        policies.iter().all(ActivePolicy::is_automatic),
    ) {
        _ if policies.is_empty() => (
            "이 서비스의 보상 기준은 아직 정해지지 않았습니다. 피해를 접수해 두시면 기준이 정해지는 대로 심사합니다.",
            "How this service compensates is not decided yet. A damage report filed now is assessed as soon as it is.",
        ),
        (true, true) => (
            "이 서비스의 보상은 별도 신청 없이 이용 기록에 따라 자동으로 지급됩니다.",
            "This service compensates from its own records, without a claim.",
        ),
        (true, false) => (
            "이 서비스는 이용 기록에 따라 자동으로 보상하며, 금전 손실이 있으시면 피해 접수로 신청하실 수 있습니다.",
            "This service compensates from its own records; what you lost besides can be claimed by a damage report.",
        ),
        (false, _) => (
            "이 서비스의 보상은 피해 접수로 신청하실 수 있습니다.",
            "This service compensates those who file a damage report.",
        ),
    };
    Ok(Some(Text {
        ko: format!("{ko} 답변이 충분하지 않으면 이 접수에 메시지를 남겨 주세요. 담당자가 확인합니다."),
        en: format!("{en} If this does not answer you, write a message here and a person will read it."),
    }))
}
