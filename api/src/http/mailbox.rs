//! The development page of mail: what would have been sent, when no SMTP server is configured.

use actix_web::{HttpResponse, web};
use askama::Template;

use super::problem::{ApiError, ApiResult, Code};
use crate::app::App;
use crate::mail;

/// How many mails the page shows.
const SHOWN: usize = 50;

#[derive(Template)]
#[template(path = "mailbox.html")]
struct Page {
    folder: String,
    mails: Vec<Shown>,
}

struct Shown {
    subject: String,
    to: String,
    date: String,
    text: String,
}

/// The newest mails of the folder. Not found where mail really goes out.
pub async fn list(app: web::Data<App>) -> ApiResult<HttpResponse> {
    if app.settings.smtp_url.is_some() || app.settings.production {
        return Err(ApiError::new(Code::NotFound));
    }
    let folder = mail::folder(&app.settings);
    let shown = folder.display().to_string();
    let mails = web::block(move || mail::newest(&folder, SHOWN)).await??;
    let mails = mails.iter().map(|mail| show(mail)).collect();
    super::docs::page(&Page { folder: shown, mails })
}

/// Reads a mail of our own making.
fn show(raw: &[u8]) -> Shown {
    let parsed = mail_parser::MessageParser::default().parse(raw);
    let Some(message) = parsed else {
        return Shown { subject: "(unreadable)".into(), to: String::new(), date: String::new(), text: String::new() };
    };
    Shown {
        subject: message.subject().unwrap_or("").to_owned(),
        to: message.to().and_then(|to| to.first()).and_then(|to| to.address()).unwrap_or("").to_owned(),
        date: message.date().map(|date| date.to_rfc3339()).unwrap_or_default(),
        text: message.body_text(0).map(|text| text.into_owned()).unwrap_or_default(),
    }
}
