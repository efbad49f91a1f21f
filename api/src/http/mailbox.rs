//! The development page of mail: what would have been sent, when no SMTP server is configured.

use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;

use super::problem::{ApiError, ApiResult, Code};
use crate::app::App;
use crate::mail;

/// How many mails the page shows.
const SHOWN: usize = 50;
/// What proxies add to what they pass on.
const FORWARDED: [&str; 2] = ["x-forwarded-for", "forwarded"];

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

/// Whether this page is there for whoever asks: not where mail really goes out, and for the machine itself only, since the
/// mails have claimants' names, addresses and codes.
pub(super) fn is_shown(app: &App, request: &HttpRequest) -> bool {
    let is_here = request.peer_addr().is_some_and(|peer| peer.ip().to_canonical().is_loopback());
    // What a proxy on this machine passes on comes from elsewhere.
    let is_passed_on = FORWARDED.iter().any(|name| request.headers().contains_key(*name));
    app.settings.smtp_url.is_none() && !app.settings.production && is_here && !is_passed_on
}

/// The newest mails of the folder.
pub async fn list(app: web::Data<App>, request: HttpRequest) -> ApiResult<HttpResponse> {
    if !is_shown(&app, &request) {
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
