//! The worker that sends what waits in the outbox: lease, commit, send, record; never a network call in a transaction.

mod words;

use askama::Template;
use chrono::{DateTime, Duration, Utc};
use redress_store::StoreError;
use redress_store::claims;
use redress_store::notices::{self, NoticeRow};

use self::words::About;
use super::claims::{StoredAssessment, open_personal};
use crate::app::App;
use crate::error::{AppError, AppResult};
use crate::mail::{Letter, MailError, Mailer};

/// How many notices are leased at once.
const BATCH: i64 = 100;
/// How long a worker may take for a batch before another takes it over.
const LEASE: Duration = Duration::minutes(10);
/// The longest wait between two attempts.
const MAX_WAIT_MINUTES: i64 = 60;
/// After so many attempts a notice is dead and a person has to see it: with the waits between, about a day.
const MAX_ATTEMPTS: i32 = 30;

/// What a pass did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Pass {
    /// Notices that went.
    pub sent: u64,
    /// Notices that will be tried again.
    pub postponed: u64,
    /// Notices that a person has to see.
    pub dead: u64,
}

/// Sends everything that is due, or stops before the next one when it is told to; what was leased is due again soon.
pub fn send_due(app: &App, mailer: &Mailer, stop: &dyn Fn() -> bool) -> AppResult<Pass> {
    let mut pass = Pass::default();
    loop {
        let now = Utc::now();
        let batch = app.store.transaction(|connection| notices::lease(connection, now, now + LEASE, BATCH))?;
        if batch.is_empty() {
            return Ok(pass);
        }
        for notice in batch {
            if stop() {
                return Ok(pass);
            }
            let outcome = match compose(app, &notice) {
                Ok(letter) => letter.and_then(|letter| mailer.send(&letter.build()?)),
                // Without a database there is nothing to record: the lease gives the notice back.
                Err(AppError::Store(error @ StoreError::Unreachable(_))) => return Err(error.into()),
                Err(error) => Err(MailError::Permanent(error.to_string())),
            };
            app.store.with(|connection| -> AppResult<()> {
                match outcome {
                    Ok(()) => {
                        notices::mark_sent(connection, &notice, Utc::now())?;
                        pass.sent += 1;
                    }
                    Err(error) => {
                        let retry_at = retry_at(&error, notice.attempts, Utc::now());
                        notices::mark_failed(connection, &notice, &error.to_string(), retry_at)?;
                        tracing::warn!(notice = %notice.id, %error, again = ?retry_at, "a notice did not go");
                        if retry_at.is_some() { pass.postponed += 1 } else { pass.dead += 1 }
                    }
                }
                Ok(())
            })?;
        }
    }
}

/// When to try again: 1, 2, 4 … minutes later, at most an hour; never for a permanent error.
fn retry_at(error: &MailError, attempts: i32, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    match error {
        MailError::Permanent(_) => None,
        MailError::Transient(_) if attempts >= MAX_ATTEMPTS => None,
        MailError::Transient(_) => {
            let doublings = u32::try_from(attempts - 1).unwrap_or(0).min(10);
            Some(now + Duration::minutes(2_i64.pow(doublings).min(MAX_WAIT_MINUTES)))
        }
    }
}

#[derive(Template)]
#[template(path = "notice.html")]
struct HtmlNotice<'a> {
    language: &'a str,
    paragraphs: &'a [String],
    genuine: &'a str,
}

#[derive(Template)]
#[template(path = "notice.txt", escape = "none")]
struct TextNotice<'a> {
    paragraphs: &'a [String],
    genuine: &'a str,
}

/// Writes a notice; an inner error says why it can never go, such as contact data that was destroyed.
fn compose<'a>(app: &'a App, notice: &NoticeRow) -> AppResult<Result<OwnedLetter<'a>, MailError>> {
    let found = app.store.with(|connection| -> AppResult<_> {
        let view = claims::find(connection, notice.claim_id)?;
        let sealed = claims::sealed(connection, &notice.customer_id, notice.claim_id)?;
        Ok(view.zip(sealed))
    })?;
    let Some((view, sealed)) = found else {
        return Ok(Err(MailError::Permanent("the claimant's contact data were destroyed".into())));
    };
    let personal = open_personal(app, &view.claim, &sealed)?;
    let Some(email) = personal.contact.email.clone() else {
        return Ok(Err(MailError::Permanent("the claimant gave no address".into())));
    };
    let assessment = view.assessment.as_ref().map(StoredAssessment::read).transpose()?;
    let language = personal.contact.language;
    let words = words::write(
        &About {
            event: notice.event()?,
            reference: &view.claim.reference,
            name: personal.contact.name.as_deref(),
            sentence: assessment.as_ref().map(|assessment| assessment.sentence.of(language)),
            documents: &[],
            state: view.claim.state()?,
        },
        language,
    );
    let render = |error: askama::Error| AppError::Refused(format!("a notice cannot be written: {error}"));
    let html = HtmlNotice { language: language.code(), paragraphs: &words.paragraphs, genuine: &words.genuine }
        .render()
        .map_err(render)?;
    let text = TextNotice { paragraphs: &words.paragraphs, genuine: &words.genuine }.render().map_err(render)?;
    Ok(Ok(OwnedLetter { from: &app.settings.mail_from, to: email, id: notice.id, subject: words.subject, text, html }))
}

struct OwnedLetter<'a> {
    from: &'a str,
    to: String,
    id: uuid::Uuid,
    subject: String,
    text: String,
    html: String,
}

impl OwnedLetter<'_> {
    fn build(self) -> Result<lettre::Message, MailError> {
        // The host of the sender's address makes the id unique in the world; the notice's id makes it stay the same.
        let host = self.from.rsplit('@').next().unwrap_or("localhost").trim_end_matches('>');
        let message_id = format!("{}@{host}", self.id);
        Letter { from: self.from, to: &self.to, message_id, subject: self.subject, text: self.text, html: self.html }
            .build()
    }
}
