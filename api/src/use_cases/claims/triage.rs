//! What is looked for beside every claim, after it was filed and never in its way: claims of other customers that share
//! something with it, shown to people with the reason and never a reason to decline; and the draw for a second reader.

use chrono::{DateTime, Utc};
use redress_domain::review::VerdictKind;
use redress_store::claims::{self, ClaimRow};
use redress_store::triage::{self, ReadingRow, Trait};
use redress_store::{Connection, StoreError};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::case::Case;
use super::decision::policy_of;
use super::review::Reader;
use super::{Personal, now, open_personal};
use crate::app::{Actor, App};
use crate::error::{AppError, AppResult};
use crate::policy_cache::ActivePolicy;
use crate::refusal::Refusal;

/// How many claims one transaction looks at.
const BATCH: i64 = 100;
/// How many neighbouring words make a piece, and how many pieces of a text are kept: two texts that have most words in
/// common have the smallest of their pieces in common.
const PIECE: usize = 4;
const PIECES: usize = 6;
/// How many kept pieces two texts share at least, to be called alike.
const SHARED_PIECES: usize = 3;

/// Something that a person should know of a claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Finding {
    /// `payout_account`, `device`, `phone`, `email` or `text`.
    pub kind: String,
    /// Why it is said, in words for people of the staff.
    pub reason: String,
    /// The references of the claims it has this in common with.
    pub claims: Vec<String>,
}

/// How far a pass looks back: numbers of claims are drawn before they are committed.
const LOOK_BACK: chrono::Duration = chrono::Duration::hours(1);

/// Looks at every claim that nobody looked at yet, of the last hour or of all time; returns how many there were. One that cannot be
/// looked at is no reason to leave out those that came after it.
pub fn pass(app: &App, all: bool) -> AppResult<u64> {
    let mut looked = 0;
    let mut since = if all { None } else { Some(first_id_of(now() - LOOK_BACK)) };
    loop {
        let fresh = app.store.with(|connection| triage::fresh(connection, since, BATCH))?;
        let Some(last) = fresh.last() else { return Ok(looked) };
        since = Some(last.id);
        let all = app
            .store
            .transaction(|connection| fresh.iter().try_for_each(|claim| look_at(app, connection, claim.id, now())));
        match all {
            Ok(()) => looked += u64::try_from(fresh.len()).unwrap_or(0),
            Err(error @ AppError::Store(StoreError::Unreachable(_))) => return Err(error),
            Err(_) => {
                for claim in &fresh {
                    match app.store.transaction(|connection| look_at(app, connection, claim.id, now())) {
                        Ok(()) => looked += 1,
                        Err(error) => tracing::error!(claim = %claim.id, %error, "a claim is not compared with others"),
                    }
                }
            }
        }
    }
}

/// The smallest id that a claim begun at an instant can have (UUID version 7).
fn first_id_of(at: DateTime<Utc>) -> Uuid {
    let milliseconds = u128::try_from(at.timestamp_millis()).unwrap_or(0);
    Uuid::from_u128(milliseconds << 80)
}

/// Looks at one claim.
pub(super) fn look_at(app: &App, connection: &mut Connection, id: Uuid, at: DateTime<Utc>) -> AppResult<()> {
    let case = Case::lock(connection, id)?;
    let claim = &case.claim;
    let traits = match claims::sealed(connection, &claim.customer_id, id)? {
        Some(sealed) => traits_of(app, &open_personal(app, claim, &sealed)?),
        None => Vec::new(),
    };
    triage::keep_traits(connection, claim, &traits)?;
    let findings = findings_of(connection, claim, &traits)?;
    let findings = serde_json::to_value(&findings).map_err(StoreError::corrupt)?;
    triage::keep(connection, &claim.customer_id, id, &findings, at)?;
    let active = policy_of(app, connection, &case, None)?;
    draw(app, connection, &case, active.as_ref(), at)
}

/// The traits of what a claimant sent, as keyed hashes.
pub(super) fn traits_of(app: &App, personal: &Personal) -> Vec<Trait> {
    let digits = |text: &String| text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase();
    let single = [
        ("payout_account", personal.contact.payout_account.as_ref().map(digits)),
        ("phone", personal.contact.phone.as_ref().map(|phone| last_digits(phone))),
        ("email", personal.contact.email.as_ref().map(|email| email.trim().to_lowercase())),
        ("device", personal.device.clone()),
    ];
    let mut traits: Vec<Trait> = single
        .into_iter()
        .filter_map(|(kind, value)| Some((kind, hash_of(app, kind, &value.filter(|value| !value.is_empty())?))))
        .collect();
    traits.extend(pieces_of(app, &personal.description).into_iter().map(|hash| ("text", hash)));
    traits
}

/// A telephone number with and without its country's prefix ends the same.
pub(super) fn last_digits(phone: &str) -> String {
    let digits: Vec<char> = phone.chars().filter(char::is_ascii_digit).collect();
    digits[digits.len().saturating_sub(8)..].iter().collect()
}

/// The keyed hash of one trait.
pub(super) fn hash_of(app: &App, kind: &str, text: &str) -> i64 {
    let tag = app.secrets.tag(&format!("trait/{kind}"), text.as_bytes());
    let mut bytes = [0_u8; 8];
    bytes.copy_from_slice(&tag[..8]);
    i64::from_be_bytes(bytes)
}

/// The smallest hashes of a text's pieces; none of a text too short to be told from another.
fn pieces_of(app: &App, text: &str) -> Vec<i64> {
    let words: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
    if words.len() < 2 * PIECE {
        return Vec::new();
    }
    let mut hashes: Vec<i64> = words.windows(PIECE).map(|piece| hash_of(app, "text", &piece.join(" "))).collect();
    hashes.sort_unstable();
    hashes.dedup();
    hashes.truncate(PIECES);
    hashes
}

/// What claims of other customers share with this one.
fn findings_of(connection: &mut Connection, claim: &ClaimRow, traits: &[Trait]) -> AppResult<Vec<Finding>> {
    let mut findings = Vec::new();
    let mut texts: Vec<(String, usize)> = Vec::new();
    for shared in traits {
        let alike = triage::alike(connection, claim, *shared)?;
        if shared.0 == "text" {
            for (_, _, reference) in alike {
                match texts.iter_mut().find(|(known, _)| *known == reference) {
                    Some((_, times)) => *times += 1,
                    None => texts.push((reference, 1)),
                }
            }
        } else if !alike.is_empty() {
            findings.push(finding(shared.0, alike.into_iter().map(|(_, _, reference)| reference).collect()));
        }
    }
    texts.retain(|(_, times)| *times >= SHARED_PIECES);
    if !texts.is_empty() {
        findings.push(finding("text", texts.into_iter().map(|(reference, _)| reference).collect()));
    }
    Ok(findings)
}

fn finding(kind: &str, claims: Vec<String>) -> Finding {
    let what = match kind {
        "payout_account" => "the same account to be paid to",
        "device" => "the same device",
        "phone" => "the same telephone number",
        "email" => "the same e-mail address",
        _ => "almost the same words",
    };
    let count = claims.len();
    Finding { kind: kind.to_owned(), reason: format!("{what} in {count} claims of other customers"), claims }
}

/// Draws the last decision of a claim for a second reader, if its policy's shares say so.
pub(super) fn draw(
    app: &App,
    connection: &mut Connection,
    case: &Case,
    active: Option<&ActivePolicy>,
    at: DateTime<Utc>,
) -> AppResult<()> {
    let (Some(active), Some(ruling)) = (active, case.ruling()?) else { return Ok(()) };
    let claim = &case.claim;
    let tag = app.secrets.tag("second reading", format!("{}/{}", claim.id, ruling.number).as_bytes());
    let lot = u32::from_be_bytes([tag[0], tag[1], tag[2], tag[3]]);
    let declined = ruling.kind == VerdictKind::Decline;
    let Some(drawn) = active.policy.sample().draw(lot, declined) else { return Ok(()) };
    let row = ReadingRow {
        customer_id: claim.customer_id.clone(),
        claim_id: claim.id,
        ruling: ruling.number,
        service_id: claim.service_id,
        sample: drawn.as_str().to_owned(),
        policy: active.policy.id().to_string(),
        first_by: ruling.by.first().cloned(),
        drawn_at: at,
        read_by: None,
        read_at: None,
        agrees: None,
    };
    Ok(triage::draw(connection, &row)?)
}

/// A second reader's word.
#[derive(Debug, Clone, Deserialize, validator::Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SecondWord {
    /// Whether he would have decided the same.
    pub agrees: bool,
}

/// Records a second reader's word. Whoever disagrees reopens the claim beside it; the word alone changes nothing.
pub fn read_again(
    connection: &mut Connection,
    reader: &Reader,
    id: Uuid,
    word: &SecondWord,
    actor: &Actor,
    at: DateTime<Utc>,
) -> AppResult<()> {
    let case = Case::lock(connection, id)?;
    reader.must_reach(&case, connection)?;
    let read = triage::read(connection, &case.claim.customer_id, id, &reader.name, word.agrees, at);
    let read = read.map_err(|error| match error.constraint() {
        Some("second_reading_by_another") => {
            AppError::from(Refusal::FourEyes("whoever decided does not read it a second time".into()))
        }
        _ => error.into(),
    })?;
    if !read {
        return Err(Refusal::Conflict("this claim was not drawn for a second reading".into()).into());
    }
    let before = case.seen();
    case.log(connection, actor, "claim.read-again", serde_json::json!({ "agrees": word.agrees }), &before)
}

/// A decision that waits for a second reader.
#[derive(Debug, Serialize, ToSchema)]
pub struct OpenReading {
    /// The claim.
    pub claim: Uuid,
    /// The policy it was decided under.
    pub policy: String,
    /// Why it was drawn: `random`, or `decline`.
    pub sample: String,
    /// When.
    pub drawn_at: DateTime<Utc>,
}

/// How many readings are listed at once.
const READINGS: i64 = 50;

/// The oldest decisions that wait for this reader as a second one.
pub fn open_readings(connection: &mut Connection, reader: &Reader) -> AppResult<Vec<OpenReading>> {
    let services = reader.service_keys(connection)?;
    let rows = triage::readings(connection, &reader.name, services.as_deref(), READINGS)?;
    let view = |row: ReadingRow| OpenReading {
        claim: row.claim_id,
        policy: row.policy,
        sample: row.sample,
        drawn_at: row.drawn_at,
    };
    Ok(rows.into_iter().map(view).collect())
}

/// How second readers agree.
#[derive(Debug, Serialize, ToSchema)]
pub struct AgreementFigure {
    /// The policy.
    pub policy: String,
    /// Why they were drawn: `random`, or `decline`.
    pub sample: String,
    /// Who decided first: `policy`, or `person`.
    pub decided_by: String,
    /// How many were drawn.
    pub drawn: i64,
    /// How many of them were read.
    pub read: i64,
    /// How many of those the second reader agreed with.
    pub agreed: i64,
}

/// The figures of agreement, by policy, sample and who decided first.
pub fn agreement(connection: &mut Connection) -> AppResult<Vec<AgreementFigure>> {
    let rows = triage::agreement(connection)?;
    let view = |row: triage::Agreement| AgreementFigure {
        policy: row.policy,
        sample: row.sample,
        decided_by: row.decided_by,
        drawn: row.drawn,
        read: row.read,
        agreed: row.agreed,
    };
    Ok(rows.into_iter().map(view).collect())
}
