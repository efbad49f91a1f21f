//! Whom we tell over HTTP: registering addresses, their secrets, and how calls to each fare.

pub mod events;

use std::sync::Mutex;

use chrono::{DateTime, Duration, Utc};
use redress_domain::id::ServiceId;
use redress_domain::notice::Event;
use redress_store::webhooks::{self, DELIVERIES, EVENTS, WebhookRow};
use redress_store::{Connection, StoreError, audit, incidents, webhook_messages};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::app::{Actor, App};
use crate::error::{AppError, AppResult};
use crate::outgoing::{Failure, MAX_ATTEMPTS, check_url, new_secret, retry_at, secret_context};

/// The event that tells a service to grant credits; a webhook for it is for nothing else.
pub const DELIVER: &str = "credits.deliver";
/// The most webhooks that are registered at once.
const MAX_WEBHOOKS: usize = 100;
/// How many addresses are called at once; one that does not answer holds up few of the others, and not for long.
const AT_ONCE: usize = 8;
/// How long the secret before signs too after a rotation.
const OVERLAP: Duration = Duration::days(1);

/// A webhook that is to be.
#[derive(Debug, Clone)]
pub struct NewWebhook {
    /// Where calls go.
    pub url: String,
    /// What is told there.
    pub events: Vec<String>,
    /// The service that it is for.
    pub service: Option<ServiceId>,
}

/// A webhook, without its secret.
#[derive(Debug, Serialize, ToSchema)]
pub struct WebhookView {
    /// Its id.
    pub id: Uuid,
    /// Where calls go.
    pub url: String,
    /// What is told there.
    pub events: Vec<String>,
    /// The service that it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Who registered it.
    pub created_by: String,
    /// When.
    pub created_at: DateTime<Utc>,
    /// Until when calls are signed with the secret before the last rotation as well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous_until: Option<DateTime<Utc>>,
    /// Since when it is switched off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disabled_at: Option<DateTime<Utc>>,
    /// By whom, or why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disabled_why: Option<String>,
    /// How many calls failed in a row.
    pub failures: i32,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<DateTime<Utc>>,
    /// Why the last one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

impl WebhookView {
    fn new(row: WebhookRow, service: Option<String>) -> Result<Self, StoreError> {
        let events: Vec<String> = match row.purpose.as_str() {
            DELIVERIES => vec![DELIVER.to_owned()],
            _ => serde_json::from_value::<Vec<String>>(row.events)
                .map_err(StoreError::corrupt)?
                .into_iter()
                .map(|event| format!("claim.{event}"))
                .collect(),
        };
        Ok(Self {
            id: row.id,
            url: row.url,
            events,
            service,
            created_by: row.created_by,
            created_at: row.created_at,
            previous_until: row.previous_until,
            disabled_at: row.disabled_at,
            disabled_why: row.disabled_why,
            failures: row.failures,
            failing_since: row.failing_since,
            last_error: row.last_error,
        })
    }
}

/// A webhook with its secret, which is shown this once.
#[derive(Debug, Serialize, ToSchema)]
pub struct WebhookWithSecret {
    /// What calls are signed with, as the libraries of Standard Webhooks take it.
    #[schema(example = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")]
    pub secret: String,
    /// The webhook.
    #[serde(flatten)]
    pub webhook: WebhookView,
}

/// Registers a webhook.
pub fn create(app: &App, connection: &mut Connection, new: &NewWebhook, actor: &Actor) -> AppResult<WebhookWithSecret> {
    let field = |pointer: &str, why: String| AppError::Field(pointer.to_owned(), why);
    check_url(&new.url, app.settings.production).map_err(|why| field("/url", why))?;
    let told = events_of(&new.events)?;
    if told.is_empty() && new.service.is_none() {
        return Err(field("/service", format!("must be given for {DELIVER}: each service grants its own")));
    }
    if webhooks::list(connection, false)?.len() >= MAX_WEBHOOKS {
        return Err(AppError::Conflict(format!("there are {MAX_WEBHOOKS} webhooks: remove one first")));
    }
    let key = match &new.service {
        None => None,
        Some(service) => {
            let keys = incidents::service_keys(connection, &[service.as_str()])?;
            let unknown = || field("/service", format!("there is no service {service}"));
            Some(keys.first().copied().ok_or_else(unknown)?)
        }
    };
    let id = Uuid::now_v7();
    let (secret, text) = new_secret();
    let host = new.url.parse::<ureq::http::Uri>().ok().and_then(|url| url.host().map(str::to_owned));
    let detail = serde_json::json!({ "host": host, "events": new.events, "service": new.service });
    let entry = actor.entry("webhook.create", format!("webhook {id}"), detail);
    let row = WebhookRow {
        id,
        url: new.url.clone(),
        purpose: if told.is_empty() { DELIVERIES } else { EVENTS }.to_owned(),
        service_id: key,
        events: serde_json::json!(told.iter().map(|event| event.as_str()).collect::<Vec<_>>()),
        secret: app.secrets.seal(&secret, &secret_context(id))?,
        previous_secret: None,
        previous_until: None,
        created_by: actor.name.clone(),
        created_at: entry.at,
        disabled_at: None,
        disabled_why: None,
        failures: 0,
        failing_since: None,
        retry_at: None,
        last_error: None,
    };
    webhooks::add(connection, &row).map_err(|error| match error.constraint() {
        Some("webhook_one_delivers") => {
            AppError::Conflict("credits of this service are delivered to another webhook: remove that one first".into())
        }
        _ => error.into(),
    })?;
    audit::append(connection, &[entry])?;
    let service = new.service.as_ref().map(ToString::to_string);
    Ok(WebhookWithSecret { secret: text, webhook: WebhookView::new(row, service)? })
}

/// The events of claims among these names: none for a webhook that delivers credits, which does nothing else.
fn events_of(names: &[String]) -> AppResult<Vec<Event>> {
    if names.len() == 1 && names.first().is_some_and(|name| name == DELIVER) {
        return Ok(Vec::new());
    }
    let mut told = Vec::new();
    for (place, name) in names.iter().enumerate() {
        let wrong = |why: String| AppError::Field(format!("/events/{place}"), why);
        let event = Event::of_webhook(name).ok_or_else(|| match name.as_str() {
            DELIVER => wrong(format!("{DELIVER} goes to a webhook of its own")),
            _ => {
                let known: Vec<String> = Event::ALL.iter().map(|event| format!("claim.{event}")).collect();
                wrong(format!("{name:?} is none of {DELIVER}, {}", known.join(", ")))
            }
        })?;
        if told.contains(&event) {
            return Err(wrong("stands twice".into()));
        }
        told.push(event);
    }
    Ok(told)
}

/// Webhooks, the newest first; those that are switched off only when asked for.
pub fn list(app: &App, with_disabled: bool) -> AppResult<Vec<WebhookView>> {
    let rows = app.store.with(|connection| webhooks::list(connection, with_disabled))?;
    Ok(rows.into_iter().map(|(row, service)| WebhookView::new(row, service)).collect::<Result<_, _>>()?)
}

/// Gives a webhook another secret; calls are signed with the one before as well for a day.
pub fn rotate(app: &App, connection: &mut Connection, id: Uuid, actor: &Actor) -> AppResult<WebhookWithSecret> {
    let mut row = webhooks::lock(connection, id)?;
    let (secret, text) = new_secret();
    let entry = actor.entry("webhook.rotate", format!("webhook {id}"), serde_json::json!({}));
    let until = entry.at + OVERLAP;
    webhooks::rotate(connection, &row, &app.secrets.seal(&secret, &secret_context(id))?, until)?;
    audit::append(connection, &[entry])?;
    row.previous_until = Some(until);
    let service = row.service_id.map(|key| incidents::service_name(connection, key)).transpose()?;
    Ok(WebhookWithSecret { secret: text, webhook: WebhookView::new(row, service)? })
}

/// Switches a webhook off, for good. Deliveries wait for another one of the service; messages are dropped.
pub fn remove(app: &App, id: Uuid, actor: &Actor) -> AppResult<()> {
    app.store.transaction(|connection| {
        webhooks::lock(connection, id).map_err(|error| match error {
            StoreError::NotFound(_) => StoreError::NotFound(format!("webhook {id} that is switched on")),
            other => other,
        })?;
        let entry = actor.entry("webhook.remove", format!("webhook {id}"), serde_json::json!({}));
        webhooks::disable(connection, id, &format!("removed by {}", actor.name), entry.at)?;
        webhook_messages::end_queued(connection, id, "dropped", "the webhook was removed")?;
        Ok(audit::append(connection, &[entry])?)
    })
}

/// Calls several webhooks at once, each in the order of its own work.
pub(super) fn call_each(due: Vec<WebhookRow>, serve: impl Fn(&WebhookRow) -> AppResult<()> + Sync) -> AppResult<()> {
    let threads = due.len().min(AT_ONCE);
    let waiting = Mutex::new(due.into_iter());
    let next = || waiting.lock().ok()?.next();
    let work = || -> AppResult<()> {
        while let Some(webhook) = next() {
            serve(&webhook)?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let panicked = || StoreError::corrupt("a thread that calls webhooks panicked");
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| panicked())?)
    })
}

/// What becomes of what was to be told when a call failed.
pub(super) struct Verdict {
    /// When it is told again; never when a person has to see it first.
    pub(super) again: Option<DateTime<Utc>>,
    /// Whether everything that waits for the webhook is given up.
    pub(super) given_up: bool,
}

/// Notes that a call failed: the webhook is left alone for a while, and given up when it failed too often in a row; switched
/// off when it says that it wants to hear nothing any more.
pub(super) fn note_failed(
    connection: &mut Connection,
    row: &WebhookRow,
    failure: &Failure,
    attempts: i32,
    now: DateTime<Utc>,
) -> Result<Verdict, StoreError> {
    let pause = retry_at(row.failures + 1, failure.retry_after, now);
    let failures = webhooks::note_failure(connection, row.id, &failure.why, now, pause)?;
    if failure.gone {
        webhooks::disable(connection, row.id, &failure.why, now)?;
    }
    let given_up = failure.gone || failures >= MAX_ATTEMPTS;
    let again = (!given_up && attempts < MAX_ATTEMPTS).then(|| retry_at(attempts, failure.retry_after, now));
    Ok(Verdict { again, given_up })
}
