//! The same customer claims the same loss once: what is said again is kept, and handled where it was said first.

use chrono::{DateTime, Utc};
use redress_store::claims::ClaimRow;
use redress_store::{Connection, audit};
use serde_json::Value;
use uuid::Uuid;

use super::case::Case;
use super::state_of;
use crate::app::{Actor, App};
use crate::error::AppResult;

/// What is claimed, as a number under a key of the installation: the incident, the service and the facts, however they
/// are spelled; where no fact is stated, the words.
pub(super) fn loss_of(app: &App, incident_key: i32, service_key: i32, facts: &Value, description: &str) -> Uuid {
    let mut text = format!("{incident_key}/{service_key}");
    let stated = facts.as_object().filter(|facts| !facts.is_empty());
    match stated {
        // The names come in their order: serde_json keeps them sorted.
        Some(facts) => facts.iter().for_each(|(name, value)| text.push_str(&format!("\n{name}={}", spelled(value)))),
        None => text.push_str(&description.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()),
    }
    let mut bytes = [0_u8; 16];
    bytes.copy_from_slice(&app.secrets.tag("loss", text.as_bytes())[..16]);
    Uuid::from_bytes(bytes)
}

/// A number is the same loss whether it is written as a number or as a text.
fn spelled(value: &Value) -> String {
    match value {
        Value::String(text) => text.trim().to_owned(),
        other => other.to_string(),
    }
}

/// Adds what a second report says to the first, in which it is handled; the second is closed by now and points there.
pub(super) fn merge(
    app: &App,
    connection: &mut Connection,
    second: &ClaimRow,
    first: Uuid,
    words: &str,
    actor: &Actor,
    at: DateTime<Utc>,
) -> AppResult<()> {
    let mut case = Case::lock(connection, first)?;
    let before = case.seen();
    // Said two hundred times already, it stays with the second report alone, where it is sealed too.
    if !words.is_empty() && case.has_room(connection)? {
        case.write(app, connection, "merged", None, words, at)?;
    }
    case.touch(connection, at)?;
    case.log(connection, actor, "claim.merge", serde_json::json!({ "merged": second.id }), &before)?;
    let entry = actor.entry(
        "claim.merged",
        format!("claim {}", second.id),
        serde_json::json!({ "status": second.state, "into": first }),
    );
    Ok(audit::append(connection, &[entry.after(&state_of(&second.state, second.version, None))])?)
}
