//! What a service says of a batch. It has to say it: an empty page with status 200, as a proxy or a login page gives it,
//! grants nothing.

use std::collections::{HashMap, HashSet};

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::content::Content;
use crate::outgoing::Taken;
use crate::use_cases::credits::Leaving;

/// Whether a service granted a credit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It did, the amount or all of it.
    #[default]
    Delivered,
    /// It did not, and will not without a person.
    Refused,
}

/// What the answer to a batch holds. Other members are passed over.
#[derive(Debug, Deserialize)]
struct Document {
    results: Vec<Row>,
}

/// What is said of one credit.
#[derive(Debug, Deserialize)]
struct Row {
    credit: Uuid,
    #[serde(default)]
    status: Status,
    amount: Option<String>,
    reason: Option<String>,
}

/// What a service said of one credit.
#[derive(Debug, Clone)]
pub struct Given {
    /// The movement, if it was granted.
    pub leaving: Leaving,
    /// Why it was not.
    pub refused: Option<String>,
}

/// What a service said of a batch.
#[derive(Debug)]
pub struct Answer {
    pub(super) given: Vec<Given>,
    pub(super) later: bool,
}

impl Answer {
    /// Nothing that is not in the books already.
    pub(super) fn nothing_more() -> Self {
        Self { given: Vec::new(), later: false }
    }

    /// Reads an answer: 204 grants everything, and so does what `results` does not name; after 202 the rest comes later.
    pub(super) fn read(taken: &Taken, content: &Content) -> Result<Self, String> {
        let (later, rows) = match taken.status {
            204 => (false, Vec::new()),
            202 if taken.body.trim_ascii().is_empty() => (true, Vec::new()),
            status => (status == 202, rows(taken)?),
        };
        let mut named: HashMap<Uuid, Row> = HashMap::new();
        for row in rows {
            let id = row.credit;
            if named.insert(id, row).is_some() {
                return Err(format!("its answer names credit {id} twice"));
            }
        }
        let mut given = Vec::new();
        for member in content.members() {
            let row = named.remove(&member.id());
            if member.is_answered() || (later && row.is_none()) {
                continue;
            }
            let amount = row.as_ref().and_then(|row| row.amount.as_deref()).map(|text| {
                Decimal::from_str_exact(text).map_err(|_| format!("its answer grants {text:?} of {}", member.id()))
            });
            let leaving = member.leaving(amount.transpose()?).map_err(|error| error.to_string())?;
            let refused = row.filter(|row| row.status == Status::Refused).map(|row| code(row.reason.as_deref()));
            given.push(Given { leaving, refused });
        }
        match named.keys().collect::<HashSet<_>>().into_iter().next() {
            Some(stranger) => Err(format!("its answer names {stranger}, which is no credit of the batch")),
            None => Ok(Self { given, later }),
        }
    }
}

fn rows(taken: &Taken) -> Result<Vec<Row>, String> {
    let document: Document = serde_json::from_slice(&taken.body).map_err(|error| {
        // Where it is wrong, not what it says: it may speak of people.
        let (status, line, column) = (taken.status, error.line(), error.column());
        format!(
            "it answered {status} without saying what it granted (line {line}, column {column}): 204 grants everything, \
             {{\"results\": [{{\"credit\": …, \"status\": \"refused\", \"reason\": …}}]}} all but these"
        )
    })?;
    Ok(document.results)
}

/// A reason as a code: whatever a service writes, no story about a person is kept.
#[must_use]
pub fn code(reason: Option<&str>) -> String {
    const MAX_LENGTH: usize = 64;
    let plain: String = reason
        .unwrap_or_default()
        .chars()
        .take(MAX_LENGTH)
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
        .collect();
    let plain = plain.split('-').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-");
    if plain.is_empty() { "refused".to_owned() } else { plain }
}
