//! `redress webhook …`: where services are told to grant credits, and others what happens to claims.

use redress_domain::id::ServiceId;
use uuid::Uuid;

use super::print::table;
use super::print_or;
use crate::app::{Actor, App};
use crate::cli::{Format, WebhookCommand};
use crate::error::{AppError, AppResult};
use crate::rights::Right;
use crate::use_cases::staff;
use crate::use_cases::webhooks::events;
use crate::use_cases::webhooks::{self, DELIVER, NewWebhook, WebhookWithSecret};

pub(super) fn run(app: &App, command: WebhookCommand, format: Format) -> AppResult<()> {
    match command {
        WebhookCommand::Add { url, service, event, by } => {
            let service = service.as_deref().map(ServiceId::parse).transpose();
            let service = service.map_err(|error| AppError::Usage(format!("--service: {error}")))?;
            let actor = may(app, &by)?;
            let events = if event.is_empty() { vec![DELIVER.to_owned()] } else { event };
            let new = NewWebhook { url, events, service };
            let made =
                app.store.transaction(|connection| webhooks::create(app, connection, &new, &actor)).map_err(flag)?;
            print_secret(&made, "registered", format);
        }
        WebhookCommand::List { all } => list(app, all, format)?,
        WebhookCommand::Rotate { id, by } => {
            let actor = may(app, &by)?;
            let rotated = app.store.transaction(|connection| webhooks::rotate(app, connection, id, &actor))?;
            print_secret(&rotated, "signed with another secret from now on, and with the old one for a day", format);
        }
        WebhookCommand::Redeliver { id, message, by } => {
            let actor = may(app, &by)?;
            let queued = app.store.transaction(|connection| events::redeliver(connection, id, &message, &actor))?;
            let done = serde_json::json!({ "queued": queued });
            print_or(format, &done, || println!("{queued} messages go again with the next pass: redress deliver"));
        }
        WebhookCommand::Remove { id, by } => {
            webhooks::remove(app, id, &may(app, &by)?)?;
            print_or(format, &serde_json::json!({ "removed": id }), || {
                println!("Nothing goes to webhook {id} any more.")
            });
        }
    }
    Ok(())
}

fn may(app: &App, by: &str) -> AppResult<Actor> {
    app.store.with(|connection| staff::require_everywhere(connection, by, Right::ManageWebhooks))?;
    Ok(Actor::at_command_line(Some(by)))
}

/// A field of the API is a flag here.
fn flag(error: AppError) -> AppError {
    match error {
        AppError::Field(pointer, why) => {
            let name = pointer.split('/').nth(1).unwrap_or_default();
            let name = if name == "events" { "event" } else { name };
            AppError::Usage(format!("--{name}: {why}"))
        }
        other => other,
    }
}

fn print_secret(made: &WebhookWithSecret, what: &str, format: Format) {
    print_or(format, made, || {
        let id: Uuid = made.webhook.id;
        println!("Webhook {id} is {what}. Its secret, shown this once:\n\n  {}\n", made.secret);
        println!(
            "Whoever is called verifies calls with it, as Standard Webhooks says (webhook-id, -timestamp, -signature)."
        );
    });
}

fn list(app: &App, all: bool, format: Format) -> AppResult<()> {
    let found = webhooks::list(app, all)?;
    print_or(format, &serde_json::json!({ "webhooks": found }), || {
        let rows: Vec<Vec<String>> = found
            .iter()
            .map(|webhook| {
                let fares = match (&webhook.disabled_why, webhook.failing_since, &webhook.last_error) {
                    (Some(why), ..) => format!("off: {why}"),
                    (None, Some(since), Some(why)) => {
                        format!("failing since {}: {why}", since.format("%Y-%m-%d %H:%M UTC"))
                    }
                    _ => "well".to_owned(),
                };
                let service = webhook.service.clone().unwrap_or_default();
                vec![webhook.id.to_string(), webhook.events.join(" "), service, webhook.url.clone(), fares]
            })
            .collect();
        table(&["webhook", "for", "service", "address", "fares"], &rows);
    });
    Ok(())
}
