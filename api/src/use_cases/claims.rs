//! Filing a damage report: stored, assessed, audited and answered in one transaction, once per Idempotency-Key.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use redress_domain::claim::{ClaimMove, ClaimState};
use redress_domain::id::{ClaimId, CustomerId, IncidentId, PolicyId, ServiceId};
use redress_domain::incident::Localised;
use redress_domain::notice::Event;
use redress_store::claims::{self, AssessmentRow, ClaimRow, ClaimView};
use redress_store::idempotency::{self, SavedAnswer};
use redress_store::incidents::StoredIncident;
use redress_store::notices::{self, NoticeRow};
use redress_store::{Connection, StoreError, audit, holdings, incidents};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;
use uuid::Uuid;
use validator::{Validate, ValidationError};

use super::policies::move_of;
use crate::app::{Actor, App};
use crate::assess::{self, ClaimFacts, ClaimOutcome};
use crate::error::{AppError, AppResult};

/// The most facts a claim may state.
pub const MAX_FACTS: usize = 50;

/// The languages of notices and pages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// Korean.
    #[default]
    Ko,
    /// English.
    En,
}

impl Language {
    /// Its code (BCP 47).
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Ko => "ko",
            Self::En => "en",
        }
    }
}

/// A text in both languages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Text {
    /// Korean.
    pub ko: String,
    /// English.
    pub en: String,
}

impl Text {
    /// The text in one language.
    #[must_use]
    pub fn of(&self, language: Language) -> &str {
        match language {
            Language::Ko => &self.ko,
            Language::En => &self.en,
        }
    }
}

impl From<Localised> for Text {
    fn from(text: Localised) -> Self {
        Self { ko: text.ko, en: text.en }
    }
}

/// How to reach the claimant. Encrypted at rest, never logged, destroyed on time.
#[derive(Debug, Clone, Default, Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Contact {
    /// Where notices go.
    #[validate(email(message = "is no e-mail address"), length(max = 254, message = "is longer than 254 characters"))]
    #[schema(example = "mina@example.com", max_length = 254, format = Email)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// How to address the claimant.
    #[validate(length(max = 100, message = "is longer than 100 characters"), custom(function = no_link))]
    #[schema(max_length = 100)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The language of notices.
    #[serde(default)]
    pub language: Language,
}

/// A name stands in our mails, and anybody may name anybody's address: it must not become a link or a second letter.
fn no_link(name: &str) -> Result<(), ValidationError> {
    let is_host =
        |word: &str| word.split('.').skip(1).any(|part| part.chars().take_while(|c| c.is_alphanumeric()).count() > 1);
    if name.chars().any(|c| c.is_control() || "/\\:@<>".contains(c)) || name.split_whitespace().any(is_host) {
        return Err(
            ValidationError::new("name").with_message("is no name: it has a link, an address or a line break".into())
        );
    }
    Ok(())
}

/// A damage report.
#[derive(Debug, Clone, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewClaim {
    /// The incident.
    #[schema(value_type = String, example = "kakao-2022-10-15", pattern = "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", max_length = 64)]
    pub incident: IncidentId,
    /// The service that failed.
    #[schema(value_type = String, example = "kakaotalk", pattern = "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", max_length = 64)]
    pub service: ServiceId,
    /// The operator's id of the customer.
    #[schema(value_type = String, example = "c-0000042", max_length = 64)]
    pub customer: CustomerId,
    /// The policy to claim under; needed only where a service has several.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub policy: Option<PolicyId>,
    /// What is claimed: names and values that the service's policy reads. Amounts are texts.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, serde_json::Value>, example = json!({ "loss": "250000" }))]
    pub facts: BTreeMap<String, Box<RawValue>>,
    /// What happened, in the claimant's words. Encrypted at rest.
    #[validate(length(max = 4000, message = "is longer than 4000 characters"))]
    #[schema(max_length = 4000)]
    #[serde(default)]
    pub description: String,
    /// How to reach the claimant.
    #[validate(nested)]
    #[serde(default)]
    pub contact: Contact,
}

/// What is sealed of a claim.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Personal {
    /// How to reach the claimant.
    pub contact: Contact,
    /// What happened, in the claimant's words.
    pub description: String,
}

/// An asset and an amount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AwardView {
    /// The asset's code.
    #[schema(example = "KRW")]
    pub asset: String,
    /// The amount in the asset's unit, exact.
    #[schema(example = "30000")]
    pub amount: String,
}

/// A reason and its wording.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReasonView {
    /// The stable code.
    #[schema(example = "no-loss-shown")]
    pub code: String,
    /// Whether an appeal is open.
    pub appealable: bool,
}

/// What a policy said of a claim, and why.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct StoredAssessment {
    /// `award`, `decline`, `review` or `pending`.
    pub outcome: ClaimOutcome,
    /// What is granted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub awards: Vec<AwardView>,
    /// Why nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<ReasonView>,
    /// The queue of people it stands in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// The documents that are wanted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<String>,
    /// The policy that spoke, and the content hash of its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// The content hash of the version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The rule that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// The outcome in a sentence to the claimant.
    pub sentence: Text,
    /// Every rule tried and every value used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub trace: Option<serde_json::Value>,
}

impl StoredAssessment {
    /// Reads a stored assessment back.
    pub fn read(row: &AssessmentRow) -> AppResult<Self> {
        serde_json::from_value(row.trace.clone()).map_err(|error| StoreError::corrupt(error).into())
    }
}

/// A claim as its claimant and staff see it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ClaimAnswer {
    /// Its id.
    pub id: Uuid,
    /// The reference to quote on the telephone.
    #[schema(example = "R-7K3M-9QXT-41ZC")]
    pub reference: String,
    /// The token that lets the claimant see it; only in the answer to the report itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// Where it stands.
    #[schema(example = "approved")]
    pub status: String,
    /// The incident.
    pub incident: String,
    /// The service.
    pub service: String,
    /// The customer.
    pub customer: String,
    /// What is claimed.
    #[schema(value_type = BTreeMap<String, serde_json::Value>)]
    pub facts: serde_json::Value,
    /// When it was filed.
    pub submitted_at: Option<DateTime<Utc>>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
    /// What a policy said of it.
    pub assessment: Option<StoredAssessment>,
}

/// What filing led to.
#[derive(Debug)]
pub enum Filed {
    /// An answer, new or the same as before.
    Answer {
        /// The body, byte for byte.
        body: Vec<u8>,
        /// Where the claim is.
        location: String,
        /// Whether it was given before.
        replayed: bool,
    },
    /// The key came with another request before.
    KeyReused,
    /// The first request with this key is under way.
    KeyInFlight,
    /// A field cannot be used: its JSON pointer and why.
    Field(String, String),
}

/// Files a claim once per (customer, key); `request` is the body as it came, byte for byte.
pub fn file(app: &App, new: &NewClaim, key: &str, request: &[u8], actor: &Actor) -> AppResult<Filed> {
    let request_hash = Sha256::digest(request).to_vec();
    app.store.transaction(|connection| {
        if !idempotency::try_lock(connection, lock_of(&new.customer, key))? {
            return Ok(Filed::KeyInFlight);
        }
        if let Some(saved) = idempotency::find(connection, new.customer.as_str(), key)? {
            if saved.request_hash != request_hash {
                return Ok(Filed::KeyReused);
            }
            let body = app.secrets.open(&saved.body, &answer_context(&saved.customer_id, key))?;
            return Ok(Filed::Answer { body, location: saved.location.unwrap_or_default(), replayed: true });
        }
        let at = now();
        let answer = match insert(app, connection, new, at, actor)? {
            Ok(answer) => answer,
            Err((pointer, detail)) => return Ok(Filed::Field(pointer, detail)),
        };
        let location = format!("/v1/claims/{}", answer.id);
        let body = serde_json::to_vec(&answer).map_err(StoreError::corrupt)?;
        idempotency::save(
            connection,
            &SavedAnswer {
                customer_id: new.customer.to_string(),
                key: key.to_owned(),
                request_hash,
                status: 201,
                location: Some(location.clone()),
                // The answer holds the claimant's token, so it is sealed like everything that opens a claim.
                body: app.secrets.seal(&body, &answer_context(new.customer.as_str(), key))?,
                created_at: at,
            },
        )?;
        Ok(Filed::Answer { body, location, replayed: false })
    })
}

/// The time of a command, in the microseconds that the database keeps.
fn now() -> DateTime<Utc> {
    let now = Utc::now();
    DateTime::from_timestamp_micros(now.timestamp_micros()).unwrap_or(now)
}

fn answer_context(customer: &str, key: &str) -> String {
    format!("answer/{customer}/{key}")
}

fn personal_context(claim: &ClaimRow) -> String {
    format!("personal/{}/{}", claim.customer_id, claim.id)
}

fn lock_of(customer: &CustomerId, key: &str) -> i64 {
    let digest = Sha256::digest(format!("idempotency/{customer}/{key}"));
    let mut bytes = [0_u8; 8];
    bytes.copy_from_slice(&digest[..8]);
    i64::from_be_bytes(bytes)
}

/// A field's JSON pointer and what is wrong with it.
type FieldFault = (String, String);

fn insert(
    app: &App,
    connection: &mut Connection,
    new: &NewClaim,
    at: DateTime<Utc>,
    actor: &Actor,
) -> AppResult<Result<ClaimAnswer, FieldFault>> {
    let found = match incidents::find(connection, &new.incident) {
        Ok(found) => found,
        Err(StoreError::NotFound(what)) => return Ok(Err(("/incident".into(), format!("there is no {what}")))),
        Err(error) => return Err(error.into()),
    };
    let Ok(service_key) = found.service_key(&new.service) else {
        let detail = format!("service {} is not part of incident {}", new.service, new.incident);
        return Ok(Err(("/service".into(), detail)));
    };
    let facts = match assess::claim_facts(&new.facts) {
        Ok(facts) => facts,
        Err(fault) => return Ok(Err(fault)),
    };
    let held = holdings::of_customer(connection, found.key, new.customer.as_str(), service_key)?;
    let policies = assess::policies_of_service(app, connection, found.key, service_key)?;
    let assessed = match assess::claim(&assess::ClaimSubject {
        policies: &policies,
        wanted: new.policy.as_ref(),
        incident: &found.incident,
        service: &new.service,
        customer: &new.customer,
        holdings: &held,
        facts: &facts,
        submitted_at: at,
    })? {
        Ok(assessed) => assessed,
        Err(fault) => return Ok(Err(fault)),
    };
    let id = Uuid::now_v7();
    let state = state_after(assessed.assessment.outcome)?;
    let claim = ClaimRow {
        customer_id: new.customer.to_string(),
        id,
        reference: new_reference(),
        incident_id: found.key,
        service_id: service_key,
        state: state.as_str().to_owned(),
        facts: facts.json,
        version: 1,
        created_at: at,
        submitted_at: Some(at),
        updated_at: at,
    };
    let personal = Personal { contact: new.contact.clone(), description: new.description.clone() };
    let plain = serde_json::to_vec(&personal).map_err(StoreError::corrupt)?;
    claims::insert(connection, &claim, &app.secrets.seal(&plain, &personal_context(&claim))?)?;
    let row = AssessmentRow {
        customer_id: claim.customer_id.clone(),
        claim_id: id,
        seq: 1,
        policy_version_id: assessed.version_key,
        outcome: assessed.assessment.outcome.as_str().to_owned(),
        trace: serde_json::to_value(&assessed.assessment).map_err(StoreError::corrupt)?,
        assessed_at: at,
    };
    claims::insert_assessment(connection, &row)?;
    let entry = actor.entry(
        "claim.file",
        format!("claim {id}"),
        serde_json::json!({ "status": claim.state, "policy": assessed.assessment.policy,
                            "version": assessed.assessment.version, "rule": assessed.assessment.rule }),
    );
    audit::append(connection, &[entry.after(&state_of(&claim.state, claim.version, Some(&row)))])?;
    if new.contact.email.is_some() {
        let mut events = vec![Event::Received];
        if assessed.assessment.outcome.is_final() {
            events.push(Event::Decided);
        }
        let rows: Vec<NoticeRow> = events
            .into_iter()
            .map(|event| NoticeRow::queued(&claim.customer_id, Uuid::now_v7(), id, event, at))
            .collect();
        notices::queue(connection, &rows)?;
    }
    let view = ClaimView {
        claim,
        incident: new.incident.to_string(),
        service: new.service.to_string(),
        assessment: Some(row),
    };
    let mut answer = answer(&view)?;
    answer.token = Some(app.secrets.claimant_token(ClaimId(id)));
    Ok(Ok(answer))
}

/// What a stored claim states, as policies read it.
pub fn stated_facts(claim: Uuid, facts: &serde_json::Value) -> AppResult<ClaimFacts> {
    let stated: BTreeMap<String, Box<RawValue>> =
        serde_json::from_str(&facts.to_string()).map_err(StoreError::corrupt)?;
    assess::claim_facts(&stated)
        .map_err(|(pointer, detail)| StoreError::corrupt(format!("claim {claim}{pointer}: {detail}")).into())
}

/// Assesses a claim that waited for a policy; false when there is still none.
pub(super) fn reassess(
    app: &App,
    connection: &mut Connection,
    incident: &StoredIncident,
    service: &ServiceId,
    claim: &ClaimRow,
    actor: &Actor,
) -> AppResult<bool> {
    let at = now();
    let facts = stated_facts(claim.id, &claim.facts)?;
    let customer = CustomerId::parse(&claim.customer_id).map_err(StoreError::corrupt)?;
    let assessed = match assess::claim(&assess::ClaimSubject {
        policies: &assess::policies_of_service(app, connection, incident.key, claim.service_id)?,
        wanted: None,
        incident: &incident.incident,
        service,
        customer: &customer,
        holdings: &holdings::of_customer(connection, incident.key, &claim.customer_id, claim.service_id)?,
        facts: &facts,
        submitted_at: claim.submitted_at.unwrap_or(claim.created_at),
    })? {
        Ok(assessed) => assessed,
        // It was filed before anybody could know what the policy would read: a person asks the claimant.
        Err((pointer, detail)) => assess::for_people(format!("{pointer}: {detail}")),
    };
    let Some(action) = move_of(assessed.assessment.outcome) else { return Ok(false) };
    let state = claim.state()?.after(action)?;
    let row = AssessmentRow {
        customer_id: claim.customer_id.clone(),
        claim_id: claim.id,
        seq: claims::assessments(connection, &claim.customer_id, claim.id)? + 1,
        policy_version_id: assessed.version_key,
        outcome: assessed.assessment.outcome.as_str().to_owned(),
        trace: serde_json::to_value(&assessed.assessment).map_err(StoreError::corrupt)?,
        assessed_at: at,
    };
    claims::insert_assessment(connection, &row)?;
    if !claims::advance(connection, &claim.customer_id, claim.id, action, state, at)? {
        return Err(StoreError::Contention("a claim changed meanwhile".into()).into());
    }
    let detail = serde_json::json!({ "status": state.as_str(), "policy": assessed.assessment.policy,
                                     "version": assessed.assessment.version });
    let entry = actor
        .entry("claim.assess", format!("claim {}", claim.id), detail)
        .before(&state_of(&claim.state, claim.version, None))
        .after(&state_of(state.as_str(), claim.version + 1, Some(&row)));
    audit::append(connection, &[entry])?;
    if assessed.assessment.outcome.is_final() {
        let notice = NoticeRow::queued(&claim.customer_id, Uuid::now_v7(), claim.id, Event::Decided, at);
        notices::queue(connection, &[notice])?;
    }
    Ok(true)
}

/// What the log's hashes of a claim are over: where it stands, and the assessment that brought it there.
fn state_of(state: &str, version: i32, assessment: Option<&AssessmentRow>) -> serde_json::Value {
    let trace = assessment.map(|row| &row.trace);
    serde_json::json!({ "state": state, "version": version, "trace": trace })
}

/// The state of a claim that was just sent and assessed.
fn state_after(outcome: ClaimOutcome) -> AppResult<ClaimState> {
    let submitted = ClaimState::Draft.after(ClaimMove::Submit)?;
    Ok(submitted.after(move_of(outcome).unwrap_or(ClaimMove::AwaitPolicy))?)
}

/// A claim as it is shown.
pub fn answer(view: &ClaimView) -> AppResult<ClaimAnswer> {
    let claim = &view.claim;
    let assessment = view.assessment.as_ref().map(StoredAssessment::read).transpose()?;
    Ok(ClaimAnswer {
        id: claim.id,
        reference: claim.reference.clone(),
        token: None,
        status: claim.state()?.as_str().to_owned(),
        incident: view.incident.clone(),
        service: view.service.clone(),
        customer: claim.customer_id.clone(),
        facts: claim.facts.clone(),
        submitted_at: claim.submitted_at,
        updated_at: claim.updated_at,
        assessment,
    })
}

/// What was sealed of a claim.
pub fn open_personal(app: &App, claim: &ClaimRow, sealed: &[u8]) -> AppResult<Personal> {
    let plain = app.secrets.open(sealed, &personal_context(claim))?;
    serde_json::from_slice(&plain).map_err(|error| AppError::from(StoreError::corrupt(error)))
}

/// Crockford's alphabet: no letter that is mistaken for a digit, on the telephone or on paper.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// A reference of 60 random bits: among ten million, two are equal about once in twenty thousand histories, and a
/// pair would still be told apart by customer.
fn new_reference() -> String {
    let bits: u64 = rand::random();
    let mut reference = String::from("R");
    for place in 0..12 {
        if place % 4 == 0 {
            reference.push('-');
        }
        let digit = usize::try_from((bits >> (5 * place)) & 31).unwrap_or(0);
        reference.push(char::from(ALPHABET[digit]));
    }
    reference
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_can_be_read_out() {
        let reference = new_reference();
        assert_eq!(reference.len(), 16);
        assert!(
            reference.starts_with("R-") && reference.bytes().all(|b| b == b'-' || ALPHABET.contains(&b) || b == b'R')
        );
        assert_ne!(reference, new_reference());
    }
}
