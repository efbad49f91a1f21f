//! The worker that sends what waits in the outbox: lease, commit, send, record; never a network call in a transaction.

pub mod desk;
pub mod words;

use askama::Template;
use chrono::{DateTime, Duration, Utc};
use redress_store::StoreError;
use redress_store::claims::{self, AssessmentRow};
use redress_store::notices::{self, NoticeRow};

use self::words::{About, Words};
use super::claims::status::sentence_of;
use super::claims::{Language, StoredAssessment, Wish, open_personal, reply};
use crate::app::App;
use crate::error::{AppError, AppResult};
use crate::mail::{Letter, MailError, Mailer, message_id};

/// How many notices are leased at once.
const BATCH: i64 = 100;
/// How long a worker may take for a batch before another takes it over.
const LEASE: Duration = Duration::minutes(10);
/// The longest wait between two attempts.
const MAX_WAIT_MINUTES: i64 = 60;
/// After so many attempts a notice is dead and a person has to see it: with the waits between, about a day.
const MAX_ATTEMPTS: i32 = 30;
/// After so many messages in a row without an answer the mail server is away.
const SILENT_IN_A_ROW: usize = 3;
/// How long what was not tried waits then.
const PAUSE_WHEN_AWAY: Duration = Duration::minutes(1);

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

/// Sends everything that is due, or stops before the next one when it is told to; what was leased is due again soon. A mail
/// server that does not answer several times in a row is away: the rest waits without being tried.
pub fn send_due(app: &App, mailer: &Mailer, stop: &dyn Fn() -> bool) -> AppResult<Pass> {
    let mut pass = Pass::default();
    loop {
        let now = Utc::now();
        let batch = app.store.transaction(|connection| notices::lease(connection, now, now + LEASE, BATCH))?;
        if batch.is_empty() {
            return Ok(pass);
        }
        let mut silent = 0;
        for (at, notice) in batch.iter().enumerate() {
            if stop() {
                return Ok(pass);
            }
            if silent == SILENT_IN_A_ROW {
                let rest = &batch[at..];
                app.store.with(|connection| notices::release(connection, rest, Utc::now() + PAUSE_WHEN_AWAY))?;
                pass.postponed += rest.len() as u64;
                return Ok(pass);
            }
            let sent = send(app, mailer, notice)?;
            silent = if matches!(sent, Err(MailError::Silent(_))) { silent + 1 } else { 0 };
            record(app, notice, sent, &mut pass)?;
        }
    }
}

/// Sends one notice; false when the claimant does not want it.
fn send(app: &App, mailer: &Mailer, notice: &NoticeRow) -> AppResult<Result<bool, MailError>> {
    let composed = match compose(app, notice) {
        Ok(composed) => composed,
        // Without a database there is nothing to record: the lease gives the notice back.
        Err(AppError::Store(error @ StoreError::Unreachable(_))) => return Err(error.into()),
        Err(error) => return Ok(Err(MailError::Permanent(error.to_string()))),
    };
    Ok(match composed {
        Composed::Letter(letter) => letter.build().and_then(|message| mailer.send(&message)).map(|()| true),
        Composed::Unwanted => Ok(false),
        Composed::Never(why) => Err(MailError::Permanent(why.to_owned())),
    })
}

fn record(app: &App, notice: &NoticeRow, sent: Result<bool, MailError>, pass: &mut Pass) -> AppResult<()> {
    app.store.with(|connection| {
        match sent {
            Ok(true) => {
                notices::mark_sent(connection, notice, Utc::now())?;
                pass.sent += 1;
            }
            Ok(false) => notices::mark_unwanted(connection, notice)?,
            Err(error) => {
                let retry_at = retry_at(&error, notice.attempts, Utc::now());
                notices::mark_failed(connection, notice, &error.to_string(), retry_at)?;
                tracing::warn!(notice = %notice.id, %error, again = ?retry_at, "a notice did not go");
                if retry_at.is_some() { pass.postponed += 1 } else { pass.dead += 1 }
            }
        }
        Ok(())
    })
}

/// When to try again: 1, 2, 4 … minutes later, at most an hour; never for a permanent error.
fn retry_at(error: &MailError, attempts: i32, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    match error {
        MailError::Permanent(_) => None,
        MailError::Transient(_) | MailError::Silent(_) if attempts >= MAX_ATTEMPTS => None,
        MailError::Transient(_) | MailError::Silent(_) => {
            let doublings = u32::try_from(attempts - 1).unwrap_or(0).min(10);
            Some(now + Duration::minutes(2_i64.pow(doublings).min(MAX_WAIT_MINUTES)))
        }
    }
}

#[derive(Template)]
#[template(path = "notice.html")]
struct HtmlNotice<'a> {
    language: &'a str,
    subject: &'a str,
    paragraphs: &'a [String],
    genuine: &'a str,
}

#[derive(Template)]
#[template(path = "notice.txt", escape = "none")]
struct TextNotice<'a> {
    paragraphs: &'a [String],
    genuine: &'a str,
}

/// What became of a notice when it was written.
enum Composed<'a> {
    /// It can go.
    Letter(OwnedLetter<'a>),
    /// The claimant does not want it, or has no address.
    Unwanted,
    /// It can never go.
    Never(&'static str),
}

/// Writes a notice.
fn compose<'a>(app: &'a App, notice: &NoticeRow) -> AppResult<Composed<'a>> {
    let found = app.store.with(|connection| -> AppResult<_> {
        let view = claims::find(connection, notice.claim_id)?;
        let sealed = claims::sealed(connection, &notice.customer_id, notice.claim_id)?;
        Ok(view.zip(sealed))
    })?;
    let Some((view, sealed)) = found else {
        return Ok(Composed::Never("the claimant's contact data were destroyed"));
    };
    let personal = open_personal(app, &view.claim, &sealed)?;
    let event = notice.event()?;
    let contact = &personal.contact;
    let Some(email) = contact.email.clone().filter(|_| contact.notices == Wish::All || event.is_essential()) else {
        return Ok(Composed::Unwanted);
    };
    let assessment = view.assessment.as_ref().map(StoredAssessment::read).transpose()?;
    let of_policy = assessment.map(|assessment| assessment.sentence);
    // What people said comes after what the policy said; an enquiry is answered, since nothing of it is decided.
    let (said, answer) = app.store.with(|connection| -> AppResult<_> {
        Ok((sentence_of(connection, &view.claim)?, reply(app, connection, &view.claim)?))
    })?;
    let is_enquiry = answer.is_some();
    let sentence = said.or(answer).or(of_policy);
    let language = personal.contact.language;
    let words = words::write(
        &About {
            event,
            reference: &view.claim.reference,
            is_enquiry,
            name: personal.contact.name.as_deref(),
            sentence: sentence.as_ref().map(|sentence| sentence.of(language)),
            documents: &documents(view.assessment.as_ref(), language),
            state: view.claim.state()?,
        },
        language,
    );
    let (text, html) = (text(&words), html(&words, language));
    Ok(Composed::Letter(OwnedLetter {
        from: &app.settings.mail_from,
        to: email,
        id: notice.id,
        subject: words.subject,
        text,
        html,
    }))
}

/// The titles of the documents that a claim lacks.
fn documents(assessment: Option<&AssessmentRow>, language: Language) -> Vec<String> {
    let said: Option<serde_json::Value> = assessment.and_then(|row| row.trace.read().ok());
    let wanted = said.as_ref().and_then(|said| said.pointer("/trace/evidence")?.as_array());
    let title = |document: &serde_json::Value| {
        let titled = document.get("title").and_then(|title| title.get(language.code()));
        titled.or_else(|| document.get("code")).and_then(|text| text.as_str()).map(str::to_owned)
    };
    wanted.into_iter().flatten().filter_map(title).collect()
}

/// A notice as plain text.
pub fn text(words: &Words) -> String {
    let template = TextNotice { paragraphs: &words.paragraphs, genuine: &words.genuine };
    // Writing into a text cannot fail, and the template asks for nothing else.
    template.render().unwrap_or_default()
}

/// The same as HTML.
pub fn html(words: &Words, language: Language) -> String {
    let template = HtmlNotice {
        language: language.code(),
        subject: &words.subject,
        paragraphs: &words.paragraphs,
        genuine: &words.genuine,
    };
    template.render().unwrap_or_default()
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
        let message_id = message_id(self.id, self.from);
        Letter { from: self.from, to: &self.to, message_id, subject: self.subject, text: self.text, html: self.html }
            .build()
    }
}
