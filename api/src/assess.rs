//! Where policies meet the records: which policy speaks of a claim, what it says, and how that is kept.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use redress_domain::holding::Attributes;
use redress_domain::id::{CustomerId, PolicyId, ServiceId};
use redress_domain::policy::{Assessment, ClaimView, Facts, IncidentView, Language, Outcome, OutcomeKind, Subject};
use redress_domain::{Holding, Incident};
use redress_store::holdings::HeldRow;
use redress_store::{Connection, StoreError, policies};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use utoipa::ToSchema;

use crate::app::App;
use crate::error::AppResult;
use crate::policy_cache::ActivePolicy;
use crate::use_cases::claims::{AwardView, MAX_FACTS, ReasonView, StoredAssessment, Text};

/// What was said of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClaimOutcome {
    /// Something is granted.
    Award,
    /// Nothing is, for a reason.
    Decline,
    /// A person decides.
    Review,
    /// It waits for a policy.
    Pending,
}

impl ClaimOutcome {
    /// The outcome's name in storage.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Award => "award",
            Self::Decline => "decline",
            Self::Review => "review",
            Self::Pending => "pending",
        }
    }
}

impl ClaimOutcome {
    /// Whether the claimant can be told a decision.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Award | Self::Decline)
    }
}

/// The queue of claims at a service that compensates from its records, where the records grant nothing.
const QUEUE_RECORDS: &str = "records";
/// The queue of claims whose facts do not suffice for their policy.
const QUEUE_FACTS: &str = "facts";
/// The reason of a claim for what is credited without asking.
const ALREADY: &str = "already-compensated";

/// What a claimant stated, as it is kept and as policies read it.
pub struct ClaimFacts {
    /// For storage.
    pub json: serde_json::Value,
    /// For policies.
    pub facts: Facts,
}

/// Reads what a claimant stated; a fault is a JSON pointer and what is wrong there.
pub fn claim_facts(stated: &BTreeMap<String, Box<RawValue>>) -> Result<ClaimFacts, (String, String)> {
    if stated.len() > MAX_FACTS {
        return Err(("/facts".into(), format!("has more than {MAX_FACTS} members")));
    }
    for (name, value) in stated {
        let pointer = || format!("/facts/{}", name.replace('~', "~0").replace('/', "~1"));
        let well_formed = name.len() <= 64
            && name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase())
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        if !well_formed {
            return Err((pointer(), "a fact's name has only a-z, 0-9 and _, and begins with a letter".into()));
        }
        if value.get().contains("\\u0000") {
            return Err((pointer(), "has a NUL character".into()));
        }
    }
    let fault = |error: String| ("/facts".to_owned(), error);
    let text = serde_json::to_string(stated).map_err(|error| fault(error.to_string()))?;
    let facts = Facts::from_json(&text).map_err(|error| fault(error.to_string()))?;
    let json = serde_json::from_str(&text).map_err(|error| fault(error.to_string()))?;
    Ok(ClaimFacts { json, facts })
}

/// The policies in force for a service.
pub fn policies_of_service(
    app: &App,
    connection: &mut Connection,
    incident_key: i32,
    service_key: i32,
) -> AppResult<Vec<ActivePolicy>> {
    policies::in_force(connection, incident_key)?
        .iter()
        .filter(|version| version.service_key == service_key)
        .map(|version| app.policies.compile(version))
        .collect()
}

/// A claim and all that is known of it.
pub struct ClaimSubject<'a> {
    /// The policies in force for the service.
    pub policies: &'a [ActivePolicy],
    /// The policy that the claimant named.
    pub wanted: Option<&'a PolicyId>,
    /// The incident.
    pub incident: &'a Incident,
    /// The service.
    pub service: &'a ServiceId,
    /// Who claims.
    pub customer: &'a CustomerId,
    /// What the customer held there.
    pub holdings: &'a [HeldRow],
    /// What the claimant stated.
    pub facts: &'a ClaimFacts,
    /// The codes of the documents filed with it.
    pub evidence: &'a [Box<str>],
    /// When.
    pub submitted_at: DateTime<Utc>,
}

/// An assessment and the version that made it.
pub struct Assessed {
    /// The version's key; none while no policy is in force.
    pub version_key: Option<i32>,
    /// What it says.
    pub assessment: StoredAssessment,
}

/// Assesses a claim by the policy that speaks of it. A fault is a JSON pointer and what is wrong there.
pub fn claim(subject: &ClaimSubject<'_>) -> AppResult<Result<Assessed, (String, String)>> {
    let by_claim: Vec<&ActivePolicy> = subject.policies.iter().filter(|active| !active.is_automatic()).collect();
    let active = match (subject.wanted, by_claim.as_slice()) {
        (Some(wanted), several) => match several.iter().find(|active| active.policy.id() == wanted) {
            Some(active) => active,
            None => {
                let detail =
                    format!("no policy {wanted} that takes claims is in force for service {}", subject.service);
                return Ok(Err(("/policy".into(), detail)));
            }
        },
        (None, []) if subject.policies.is_empty() => return Ok(Ok(no_policy_yet())),
        (None, []) => return by_records(subject).map(Ok),
        (None, [only]) => only,
        (None, several) => {
            let names: Vec<String> = several.iter().map(|active| active.policy.id().to_string()).collect();
            let detail = format!("service {} has several policies; name one: {}", subject.service, names.join(", "));
            return Ok(Err(("/policy".into(), detail)));
        }
    };
    let view = IncidentView::new(subject.incident, subject.service);
    let held = held(subject)?;
    let account = account(&held);
    let bound = Subject {
        incident: Some(&view),
        customer: Some(subject.customer.as_str()),
        account,
        // A claim policy may read what the customer held: the first holding that is not the account itself.
        holding: held.iter().find(|holding| &*holding.kind != "account"),
        claim: Some(ClaimView { submitted_at: Some(subject.submitted_at), fields: &subject.facts.facts }),
        evidence: Some(subject.evidence),
    };
    let explained = active.policy.explain(&bound);
    // A field the policy cannot read is the claimant's to mend; what only the records lack is a person's.
    let problem = explained.problem.as_ref();
    if let Some((problem, field)) = problem.and_then(|p| Some((p, p.fact.as_deref()?.strip_prefix("claim.")?))) {
        return Ok(Err((format!("/facts/{field}"), problem.message.clone())));
    }
    if let Some((field, asset)) = active.policy.finer_than_its_asset(&subject.facts.facts) {
        let detail = format!("has more places after the point than {} has: {} at most", asset.code(), asset.scale());
        return Ok(Err((format!("/facts/{field}"), detail)));
    }
    Ok(Ok(Assessed { version_key: Some(active.version_key), assessment: stored(active, &explained)? }))
}

fn held(subject: &ClaimSubject<'_>) -> AppResult<Vec<Holding>> {
    subject
        .holdings
        .iter()
        .map(|row| Ok(row.holding(subject.customer, subject.service).map_err(|(_, error)| error)?))
        .collect()
}

fn account(held: &[Holding]) -> Option<&Attributes> {
    held.iter().find(|holding| &*holding.kind == "account").map(|holding| &holding.attributes)
}

/// At a service that compensates from its records nobody has to claim: whoever is on them is told so, and whoever is
/// not is seen by a person.
fn by_records(subject: &ClaimSubject<'_>) -> AppResult<Assessed> {
    let view = IncidentView::new(subject.incident, subject.service);
    let held = held(subject)?;
    for active in subject.policies {
        for holding in &held {
            let bound = Subject {
                incident: Some(&view),
                holding: Some(holding),
                account: account(&held),
                ..Subject::default()
            };
            if matches!(active.policy.assess(&bound), Ok(Outcome::Award { .. })) {
                let assessment = StoredAssessment {
                    reason: Some(ReasonView { code: ALREADY.into(), appealable: true }),
                    sentence: Text {
                        ko: "이 서비스의 보상은 별도 신청 없이 이용 기록에 따라 자동으로 지급됩니다.".into(),
                        en: "This service compensates from its own records: you get it without a claim.".into(),
                    },
                    ..to_people("", Some(active), "")
                };
                let assessment = StoredAssessment { outcome: ClaimOutcome::Decline, queue: None, ..assessment };
                return Ok(Assessed { version_key: Some(active.version_key), assessment });
            }
        }
    }
    let assessment = to_people(QUEUE_RECORDS, subject.policies.first(), "the records grant this customer nothing");
    Ok(Assessed { version_key: subject.policies.first().map(|active| active.version_key), assessment })
}

fn no_policy_yet() -> Assessed {
    let assessment = StoredAssessment {
        outcome: ClaimOutcome::Pending,
        queue: None,
        sentence: Text {
            ko: "이 서비스의 보상 기준이 아직 정해지지 않았습니다. 기준이 정해지면 다시 신청하지 않아도 심사합니다."
                .into(),
            en: "How this service compensates is not decided yet. Your report waits and will be assessed then.".into(),
        },
        ..to_people("", None, "")
    };
    Assessed { version_key: None, assessment }
}

/// A claim that no policy can read as it stands.
#[must_use]
pub fn for_people(note: String) -> Assessed {
    Assessed { version_key: None, assessment: to_people(QUEUE_FACTS, None, &note) }
}

fn to_people(queue: &str, active: Option<&ActivePolicy>, note: &str) -> StoredAssessment {
    StoredAssessment {
        outcome: ClaimOutcome::Review,
        awards: Vec::new(),
        reason: None,
        queue: Some(queue.to_owned()),
        evidence: Vec::new(),
        policy: active.map(|active| active.policy.id().to_string()),
        version: active.map(|active| active.policy.version().to_owned()),
        rule: None,
        sentence: Text {
            ko: "담당자가 내용을 확인하고 있습니다.".into(),
            en: "A person is looking at your report.".into(),
        },
        trace: (!note.is_empty()).then(|| to_raw_value(&serde_json::json!({ "note": note })).ok()).flatten(),
    }
}

/// What an engine's assessment is kept as.
fn stored(active: &ActivePolicy, explained: &Assessment) -> AppResult<StoredAssessment> {
    let outcome = match explained.outcome {
        OutcomeKind::Award => ClaimOutcome::Award,
        OutcomeKind::Decline => ClaimOutcome::Decline,
        OutcomeKind::Review | OutcomeKind::Error => ClaimOutcome::Review,
        OutcomeKind::Pending => ClaimOutcome::Pending,
    };
    Ok(StoredAssessment {
        outcome,
        awards: explained
            .awards
            .iter()
            .map(|award| AwardView { asset: award.asset.clone(), amount: award.amount.clone() })
            .collect(),
        reason: explained
            .reason
            .as_ref()
            .map(|reason| ReasonView { code: reason.code.clone(), appealable: reason.appealable }),
        queue: explained.queue.clone().or_else(|| {
            // What the records lack for an answer, a person finds out.
            (explained.outcome == OutcomeKind::Error).then(|| QUEUE_FACTS.to_owned())
        }),
        evidence: explained.evidence.iter().map(|document| document.code.clone()).collect(),
        policy: Some(explained.policy.clone()),
        version: Some(active.policy.version().to_owned()),
        rule: explained.rule.clone(),
        sentence: Text { ko: explained.sentence(Language::Korean), en: explained.sentence(Language::English) },
        trace: Some(to_raw_value(explained).map_err(StoreError::corrupt)?),
    })
}
