//! Claimants who come back without their token: a code goes to the address of a claim, and opens the claims of that
//! address for a short time. Nothing here tells anybody whether an address is known.

use chrono::{DateTime, Duration, SubsecRound, Utc};
use redress_store::claims::ClaimView;
use redress_store::mailed_codes::{self, CodeRow, Pace};
use redress_store::{StoreError, audit, claims};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;
use validator::Validate;

use crate::app::{Actor, App};
use crate::error::AppResult;
use crate::mail::{Letter, MailError, Mailer};
use crate::use_cases::claims::Language;

/// How long a code is good after it was sent.
const GOOD_FOR: Duration = Duration::minutes(10);
/// How often a code may be tried.
const TRIES: i32 = 5;
/// How often an address is given a code.
const PACE: Pace = Pace { pause: Duration::seconds(60), an_hour: 5 };
/// How long a session of a claimant lasts.
const SESSION: Duration = Duration::minutes(30);
/// How often sending a code is tried: one that comes late is of no use.
const SENDS: i32 = 5;
/// How many codes are sent at once, and how long a worker may take for them.
const BATCH: i64 = 20;
const LEASE: Duration = Duration::minutes(5);
/// The most claims that are listed.
const MAX_LISTED: i64 = 100;

/// A request for a code.
#[derive(Debug, Clone, Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CodeRequest {
    /// The address that a claim has.
    #[validate(email(message = "is no e-mail address"), length(max = 254, message = "is longer than 254 characters"))]
    #[schema(example = "mina@example.com", max_length = 254, format = Email)]
    pub email: String,
    /// The language of the mail.
    #[serde(default)]
    pub language: Language,
}

/// A code that came by mail.
#[derive(Debug, Clone, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CodeAnswer {
    /// The address that it was sent to.
    #[validate(email(message = "is no e-mail address"), length(max = 254, message = "is longer than 254 characters"))]
    #[schema(example = "mina@example.com", max_length = 254, format = Email)]
    pub email: String,
    /// The six digits.
    #[validate(custom(function = six_digits))]
    #[schema(example = "012345", pattern = "^[0-9]{6}$")]
    pub code: String,
}

fn six_digits(code: &str) -> Result<(), validator::ValidationError> {
    let well_formed = code.len() == 6 && code.bytes().all(|byte| byte.is_ascii_digit());
    let message = || validator::ValidationError::new("code").with_message("is not six digits".into());
    if well_formed { Ok(()) } else { Err(message()) }
}

/// A claimant's session.
#[derive(Debug, Serialize, ToSchema)]
pub struct ClaimantSession {
    /// To be sent as `Authorization: Bearer`.
    pub token: String,
    /// Until when.
    pub expires_at: DateTime<Utc>,
}

/// A claim in a list of one's own.
#[derive(Debug, Serialize, ToSchema)]
pub struct ClaimSummary {
    /// Its id.
    pub id: Uuid,
    /// The reference to quote on the telephone.
    pub reference: String,
    /// The incident.
    pub incident: String,
    /// The service.
    pub service: String,
    /// Where it stands.
    pub status: String,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
}

/// The keyed hash by which an address is found again; how it is written does not matter.
#[must_use]
pub fn address_key(app: &App, email: &str) -> String {
    app.secrets.blind("address", &email.trim().to_lowercase())
}

/// Asks for a code. What is done and answered is the same whether the address is known, asked for too often, or neither.
pub fn ask_code(app: &App, request: &CodeRequest) -> AppResult<()> {
    let address = address_key(app, &request.email);
    let plain = serde_json::to_vec(request).map_err(StoreError::corrupt)?;
    let at = now();
    let row = CodeRow {
        sealed: app.secrets.seal(&plain, &context(&address))?,
        address,
        state: "queued".to_owned(),
        code_hash: None,
        tries: 0,
        sends: 0,
        asked: 1,
        hour_from: at,
        asked_at: at,
        next_at: at,
        expires_at: at + GOOD_FOR,
    };
    app.store.with(|connection| Ok(mailed_codes::ask(connection, &row, PACE)?))
}

/// Opens a session with a code; none when it is wrong, over, used up or was never sent: which of these is not told.
pub fn open_session(app: &App, answer: &CodeAnswer) -> AppResult<Option<ClaimantSession>> {
    let address = address_key(app, &answer.email);
    let at = now();
    // The try is counted and committed before anything is compared.
    let expected = app.store.with(|connection| mailed_codes::attempt(connection, &address, at, TRIES))?;
    let matches = app.secrets.is_blind(
        "mailed code",
        &code_context(&address, &answer.code),
        expected.as_deref().unwrap_or(&"0".repeat(64)),
    );
    let Some(expected) = expected.filter(|_| matches) else { return Ok(None) };
    app.store.transaction(|connection| -> AppResult<_> {
        if !mailed_codes::use_up(connection, &address, &expected)? {
            return Ok(None);
        }
        let actor = Actor { name: "claimant".into(), origin: "http".into() };
        let entry = actor.entry("claimant.sign-in", "claimant".into(), serde_json::json!({ "means": "mailed code" }));
        audit::append(connection, &[entry])?;
        let expires_at = at + SESSION;
        Ok(Some(ClaimantSession { token: app.secrets.address_session(&address, expires_at), expires_at }))
    })
}

/// Whose claims are listed.
#[derive(Debug, Clone)]
pub enum Whose {
    /// A customer's.
    Customer(String),
    /// Those that have an address, by its keyed hash.
    Address(String),
}

/// The newest claims of a claimant.
pub fn claims_of(app: &App, whose: &Whose) -> AppResult<Vec<ClaimSummary>> {
    let found = app.store.with(|connection| match whose {
        Whose::Customer(customer) => claims::of_customer(connection, customer, MAX_LISTED),
        Whose::Address(address) => claims::of_address(connection, address, MAX_LISTED),
    })?;
    Ok(found.into_iter().map(summary).collect())
}

fn summary(view: ClaimView) -> ClaimSummary {
    ClaimSummary {
        id: view.claim.id,
        reference: view.claim.reference,
        incident: view.incident,
        service: view.service,
        status: view.claim.state,
        updated_at: view.claim.updated_at,
    }
}

/// Sends the codes that are due to addresses that are known, and forgets those that are over. Returns how many went.
pub fn send_codes(app: &App, mailer: &Mailer) -> AppResult<u64> {
    let mut sent = 0;
    app.store.with(|connection| mailed_codes::forget(connection, now()))?;
    loop {
        let at = now();
        let due = app.store.transaction(|connection| mailed_codes::lease(connection, at, at + LEASE, BATCH))?;
        if due.is_empty() {
            return Ok(sent);
        }
        for row in due {
            sent += u64::from(send_code(app, mailer, &row)?);
        }
    }
}

fn send_code(app: &App, mailer: &Mailer, row: &CodeRow) -> AppResult<bool> {
    if !app.store.with(|connection| mailed_codes::is_known(connection, &row.address))? {
        app.store.with(|connection| mailed_codes::finish(connection, row, None))?;
        return Ok(false);
    }
    let plain = app.secrets.open(&row.sealed, &context(&row.address))?;
    let request: CodeRequest = serde_json::from_slice(&plain).map_err(StoreError::corrupt)?;
    let code = format!("{:06}", rand::random_range(0..1_000_000_u32));
    let hash = app.secrets.blind("mailed code", &code_context(&row.address, &code));
    let good_until = now() + GOOD_FOR;
    if !app.store.with(|connection| mailed_codes::made(connection, row, &hash, good_until))? {
        return Ok(false);
    }
    let outcome = letter(app, &request, &code).build().and_then(|message| mailer.send(&message));
    let retry_at = match &outcome {
        Err(MailError::Transient(_) | MailError::Silent(_)) if row.sends < SENDS => Some(now() + Duration::seconds(30)),
        _ => None,
    };
    if let Err(error) = &outcome {
        tracing::warn!(%error, again = ?retry_at, "a code did not go");
    }
    app.store.with(|connection| mailed_codes::finish(connection, row, retry_at))?;
    Ok(outcome.is_ok())
}

fn letter<'a>(app: &'a App, request: &'a CodeRequest, code: &str) -> Letter<'a> {
    let words = crate::use_cases::notices::words::code(code, request.language);
    Letter {
        from: &app.settings.mail_from,
        to: &request.email,
        message_id: crate::mail::message_id(Uuid::now_v7(), &app.settings.mail_from),
        subject: words.subject.clone(),
        text: crate::use_cases::notices::text(&words),
        html: crate::use_cases::notices::html(&words, request.language),
    }
}

fn context(address: &str) -> String {
    format!("mailed code/{address}")
}

fn code_context(address: &str, code: &str) -> String {
    format!("{address}/{code}")
}

fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(6)
}
