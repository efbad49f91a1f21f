//! Finding claims: by state, service, reader and what names them, page by page.

use chrono::{DateTime, Utc};
use redress_domain::claim::ClaimState;
use redress_store::search::{self, Listed, Named, Search};
use redress_store::{Connection, incidents, tasks};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::review::Reader;
use super::triage::{hash_of, last_digits};
use crate::app::App;
use crate::error::AppResult;
use crate::refusal::Refusal;
use crate::shapes::{Order, Slug, States};
use crate::spreadsheet::defused;

/// How many claims a page has unless it is said.
const PAGE: i64 = 50;
/// The most claims of a page.
pub const MAX_PAGE: i64 = 200;
/// The most characters of a search.
const MAX_QUERY: usize = 128;

/// What is looked for.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Filter {
    /// States, separated by commas.
    #[param(inline, value_type = Option<States>, example = "in_review,needs_information")]
    pub status: Option<String>,
    /// A service.
    #[param(inline, value_type = Option<Slug>)]
    pub service: Option<String>,
    /// A reader; `me` for oneself.
    pub assignee: Option<String>,
    /// A reference, a claim's id, a customer's id, an e-mail address, a telephone number or an account.
    #[param(min_length = 1, max_length = 128, pattern = "\\S")]
    pub q: Option<String>,
    /// `created`, the oldest first, or `-created`.
    #[param(inline, value_type = Option<Order>)]
    pub sort: Option<String>,
    /// Where the page before ended, from its `next`.
    pub cursor: Option<String>,
    /// At most so many, up to 200; 50 unless said.
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<i64>,
}

/// What is exported: a search without its pages.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Exported {
    /// States, separated by commas.
    #[param(inline, value_type = Option<States>, example = "in_review,needs_information")]
    pub status: Option<String>,
    /// A service.
    #[param(inline, value_type = Option<Slug>)]
    pub service: Option<String>,
    /// A reader; `me` for oneself.
    pub assignee: Option<String>,
    /// A reference, a claim's id, a customer's id, an e-mail address, a telephone number or an account.
    #[param(min_length = 1, max_length = 128, pattern = "\\S")]
    pub q: Option<String>,
    /// `created`, the oldest first, or `-created`.
    #[param(inline, value_type = Option<Order>)]
    pub sort: Option<String>,
}

impl From<Exported> for Filter {
    fn from(Exported { status, service, assignee, q, sort }: Exported) -> Self {
        Self { status, service, assignee, q, sort, cursor: None, limit: Some(MAX_PAGE) }
    }
}

/// A claim in a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct ListedClaim {
    /// Its id.
    pub id: Uuid,
    /// Its reference.
    pub reference: String,
    /// Where it stands.
    pub status: String,
    /// The service.
    pub service: String,
    /// The customer.
    pub customer: String,
    /// `damage` or `enquiry`.
    pub kind: String,
    /// How it came.
    pub channel: String,
    /// When it was sent.
    pub submitted_at: Option<DateTime<Utc>>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
    /// The queue it stands in.
    pub queue: Option<String>,
    /// Whose it is to read.
    pub assignee: Option<String>,
    /// Who looks at it now.
    pub reader: Option<String>,
    /// Until when its claimant may answer.
    pub due_at: Option<DateTime<Utc>>,
    /// How much was found beside it.
    pub findings: i16,
}

impl From<Listed> for ListedClaim {
    fn from(row: Listed) -> Self {
        Self {
            id: row.id,
            reference: row.reference,
            status: row.state,
            service: row.service,
            customer: row.customer_id,
            kind: row.kind,
            channel: row.channel,
            submitted_at: row.submitted_at,
            updated_at: row.updated_at,
            queue: row.queue,
            assignee: row.assignee,
            reader: row.reader,
            due_at: row.due_at,
            findings: row.findings,
        }
    }
}

/// A page of claims.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page {
    /// The claims.
    pub claims: Vec<ListedClaim>,
    /// Where the next page begins; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// One page of a search.
pub fn page(app: &App, connection: &mut Connection, reader: &Reader, filter: &Filter) -> AppResult<Page> {
    let mut search = parse(app, connection, reader, filter)?;
    let wanted = search.limit;
    // One more than is shown says whether there is another page.
    search.limit += 1;
    let mut rows = search::page(connection, &search)?;
    let shown = usize::try_from(wanted).unwrap_or(0);
    let more = rows.len() > shown;
    rows.truncate(shown);
    let next = rows.last().filter(|_| more).map(|last| cursor_after(app, filter, last.id));
    Ok(Page { claims: rows.into_iter().map(ListedClaim::from).collect(), next })
}

fn parse(app: &App, connection: &mut Connection, reader: &Reader, filter: &Filter) -> AppResult<Search> {
    let limit = filter.limit.unwrap_or(PAGE);
    if !(1..=MAX_PAGE).contains(&limit) {
        return Err(Refusal::field("/limit", format!("must be 1 to {MAX_PAGE}")).into());
    }
    let states = match &filter.status {
        Some(states) => states
            .split(',')
            .map(|state| state.trim().parse::<ClaimState>().map_err(|error| Refusal::field("/status", error)))
            .collect::<Result<_, _>>()?,
        None => Vec::new(),
    };
    let newest_first = match filter.sort.as_deref() {
        None | Some("created") => false,
        Some("-created") => true,
        Some(_) => return Err(Refusal::field("/sort", "is created or -created").into()),
    };
    let mine = reader.service_keys(connection)?;
    let services = match &filter.service {
        None => mine,
        Some(name) => {
            let mut keys = incidents::service_keys(connection, &[name.as_str()])?;
            if keys.is_empty() {
                return Err(Refusal::field("/service", "there is no such service").into());
            }
            keys.retain(|key| mine.as_ref().is_none_or(|mine| mine.contains(key)));
            Some(keys)
        }
    };
    let named = filter.q.as_deref().map(|text| named(app, text)).transpose()?;
    let assignee = filter.assignee.as_ref().map(|name| if name == "me" { reader.name.clone() } else { name.clone() });
    let after = filter.cursor.as_deref().map(|cursor| read_cursor(app, filter, cursor)).transpose()?;
    Ok(Search { states, services, assignee, named, newest_first, after, limit })
}

/// All that a text can name.
fn named(app: &App, text: &str) -> Result<Vec<Named>, Refusal> {
    let text = text.trim();
    if text.is_empty() || text.chars().count() > MAX_QUERY {
        return Err(Refusal::field("/q", format!("must have 1 to {MAX_QUERY} characters")));
    }
    let mut named = vec![Named::Customer(text.to_owned()), Named::Reference(as_reference(text))];
    named.extend(Uuid::parse_str(text).ok().map(Named::Claim));
    if text.contains('@') {
        named.push(Named::Trait("email", hash_of(app, "email", &text.to_lowercase())));
    }
    if text.chars().filter(char::is_ascii_digit).count() >= 6 {
        named.push(Named::Trait("phone", hash_of(app, "phone", &last_digits(text))));
        let account: String = text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase();
        named.push(Named::Trait("payout_account", hash_of(app, "payout_account", &account)));
    }
    Ok(named)
}

/// A reference as it is kept, however it was written down: without its hyphens, in small letters, O for 0.
fn as_reference(text: &str) -> String {
    let upper = text.trim().to_uppercase();
    let digits: String = upper
        .strip_prefix('R')
        .unwrap_or(&upper)
        .chars()
        .filter(|c| c.is_ascii_alphanumeric())
        .map(|c| match c {
            'O' => '0',
            'I' | 'L' => '1',
            other => other,
        })
        .collect();
    let groups: Vec<&str> = digits.as_bytes().chunks(4).filter_map(|group| std::str::from_utf8(group).ok()).collect();
    format!("R-{}", groups.join("-"))
}

/// What a cursor is good for: the search that it came from, and no other.
fn searched(filter: &Filter) -> String {
    let Filter { status, service, assignee, q, sort, cursor: _, limit: _ } = filter;
    format!("{status:?}/{service:?}/{assignee:?}/{q:?}/{sort:?}")
}

fn tag(app: &App, filter: &Filter, id: Uuid) -> String {
    hex::encode(&app.secrets.tag("cursor", format!("{id}/{}", searched(filter)).as_bytes())[..8])
}

fn cursor_after(app: &App, filter: &Filter, id: Uuid) -> String {
    format!("{}{}", id.simple(), tag(app, filter, id))
}

fn read_cursor(app: &App, filter: &Filter, cursor: &str) -> Result<Uuid, Refusal> {
    let id = cursor.get(..32).and_then(|id| Uuid::try_parse(id).ok());
    id.filter(|id| cursor_after(app, filter, *id) == cursor)
        .ok_or_else(|| Refusal::field("/cursor", "is no cursor of this search; begin without one"))
}

/// A queue and how many claims wait in it.
#[derive(Debug, Serialize, ToSchema)]
pub struct QueueView {
    /// The queue.
    #[schema(example = "council")]
    pub queue: String,
    /// How many claims wait.
    pub waiting: i64,
    /// Since when the oldest does.
    pub oldest: Option<DateTime<Utc>>,
}

/// All queues in which anything of these services waits; of all when none are named.
pub fn queues(connection: &mut Connection, services: Option<&[i32]>) -> AppResult<Vec<QueueView>> {
    let counts = tasks::queues(connection, services)?;
    let view =
        |count: tasks::QueueCount| QueueView { queue: count.queue, waiting: count.waiting, oldest: count.oldest };
    Ok(counts.into_iter().map(view).collect())
}

/// The columns of an export.
const COLUMNS: [&str; 12] = [
    "reference",
    "id",
    "status",
    "service",
    "customer",
    "kind",
    "channel",
    "submitted_at",
    "updated_at",
    "queue",
    "assignee",
    "findings",
];

/// Claims as lines of CSV; the columns' names first where it is the first page.
pub fn lines(page: &Page, first: bool) -> AppResult<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let fault =
        |error: &dyn std::fmt::Display| crate::error::AppError::Refused(format!("a line cannot be written: {error}"));
    if first {
        writer.write_record(COLUMNS).map_err(|error| fault(&error))?;
    }
    for claim in &page.claims {
        let sent = claim.submitted_at.map(|at| at.to_rfc3339()).unwrap_or_default();
        let fields = [
            claim.reference.clone(),
            claim.id.to_string(),
            claim.status.clone(),
            claim.service.clone(),
            claim.customer.clone(),
            claim.kind.clone(),
            claim.channel.clone(),
            sent,
            claim.updated_at.to_rfc3339(),
            claim.queue.clone().unwrap_or_default(),
            claim.assignee.clone().unwrap_or_default(),
            claim.findings.to_string(),
        ];
        writer.write_record(fields.iter().map(|field| defused(field).into_owned())).map_err(|error| fault(&error))?;
    }
    writer.into_inner().map_err(|error| fault(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_found_however_it_is_written() {
        for text in ["R-7K3M-9QXT-41ZC", "r-7k3m-9qxt-41zc", "R7K3M9QXT41ZC", " 7k3m 9qxt 4lzc "] {
            assert_eq!(as_reference(text), "R-7K3M-9QXT-41ZC", "{text}");
        }
    }
}
