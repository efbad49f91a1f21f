//! Reports that no policy has to speak of: drafts, enquiries, and what the same customer said before.

use chrono::{DateTime, Utc};
use redress_domain::claim::{ClaimMove, ClaimState};
use redress_domain::notice::Event;
use redress_store::Connection;
use redress_store::claims::ClaimRow;

use super::Text;
use super::file::Report;
use super::kept::Kept;
use super::new::ClaimKind;
use crate::app::App;
use crate::assess;
use crate::error::AppResult;
use crate::policy_cache::ActivePolicy;

/// Begins a draft.
pub(super) fn draft(app: &App, report: &Report<'_>, at: DateTime<Utc>) -> AppResult<Kept> {
    let mut kept = Kept::new(app, report, ClaimState::Draft, at)?;
    kept.log(report, "claim.draft", serde_json::json!({ "status": kept.claim.state }));
    Ok(kept)
}

/// An enquiry is answered at once and closed; whoever writes again gets a person.
pub(super) fn enquiry(app: &App, report: &Report<'_>, at: DateTime<Utc>) -> AppResult<Kept> {
    let mut kept = Kept::new(app, report, closed_by(ClaimMove::Answer)?, at)?;
    kept.log(report, "claim.enquire", serde_json::json!({ "status": kept.claim.state }));
    kept.tell(Event::Received);
    Ok(kept)
}

/// What the same customer said before is kept, closed and handled where it was said first: the log of it is written there.
pub(super) fn merged(app: &App, report: &Report<'_>, first: &ClaimRow, at: DateTime<Utc>) -> AppResult<Kept> {
    let mut kept = Kept::new(app, report, closed_by(ClaimMove::Merge)?, at)?;
    kept.claim.duplicate_of = Some(first.id);
    kept.tell(Event::Received);
    Ok(kept)
}

/// Where a report stands that is closed from the start.
fn closed_by(action: ClaimMove) -> AppResult<ClaimState> {
    Ok(ClaimState::Draft.after(ClaimMove::Submit)?.after(action)?)
}

/// What an enquiry is answered with, as it is looked at.
pub(in crate::use_cases) fn reply(app: &App, connection: &mut Connection, claim: &ClaimRow) -> AppResult<Option<Text>> {
    if claim.kind != ClaimKind::Enquiry.as_str() || claim.state == ClaimState::Draft.as_str() {
        return Ok(None);
    }
    let policies = assess::policies_of_service(app, connection, claim.incident_id, claim.service_id)?;
    Ok(Some(reply_of(&policies)))
}

/// What an enquiry is answered with: how its service compensates.
pub(super) fn reply_of(policies: &[ActivePolicy]) -> Text {
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
    Text {
        ko: format!("{ko} 답변이 충분하지 않으면 이 접수에 메시지를 남겨 주세요. 담당자가 확인합니다."),
        en: format!("{en} If this does not answer you, write a message here and a person will read it."),
    }
}
