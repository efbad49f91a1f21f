//! What a batch of reports asks and writes while it is filed: three statements, however many reports and tables there are. Each
//! statement costs as much as a row or two, and the batch a way there and back.

use diesel::pg::Pg;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types::{Integer, Nullable, Text, Uuid as SqlUuid};
use diesel::{QueryResult, RunQueryDsl};
use uuid::Uuid;

use crate::audit::{self, AuditEntry, InsertEntries};
use crate::claims::{self, AssessmentRow, ClaimRow, InsertAssessments, InsertClaims, InsertPersonal, PersonalRow};
use crate::connection::Connection;
use crate::error::{StoreError, StoreResult};
use crate::holdings::{HeldColumns, HeldRow};
use crate::idempotency::{self, InsertAnswers, SavedAnswer};
use crate::in_force::{State, StateColumns};
use crate::notices::{self, InsertNotices, NoticeRow};
use crate::prepared::prepared;
use crate::schema::{claim, idempotency as answer};
use crate::tasks::{self, InsertTasks, NewTask};

/// A key, and whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key<'a> {
    /// The customer.
    pub customer: &'a str,
    /// The key.
    pub key: &'a str,
}

/// The answers given under keys, in their order, and the state of what is in force. Nothing is held meanwhile: of two who file
/// under one key at the same moment, the table's own key refuses the second.
pub fn begin(connection: &mut Connection, keys: &[Key<'_>]) -> StoreResult<(Vec<Option<SavedAnswer>>, State)> {
    let mut asked = AskKeys::with_capacity(keys.len());
    for key in keys {
        asked.push(key.customer, key.key);
    }
    let rows: Vec<(Option<SavedAnswer>, Option<State>)> = asked.load(connection)?;
    let (mut answers, mut seen) = (Vec::with_capacity(rows.len()), None);
    for (given, state) in rows {
        answers.push(given);
        seen = seen.or(state);
    }
    Ok((answers, seen.ok_or_else(|| StoreError::corrupt("no key was asked for"))?))
}

prepared! {
    AskKeys { customer_id: &'a str => Text, key: &'a str => Text }
        -> (Nullable<answer::SqlType>, Nullable<StateColumns>),
    "SELECT given.customer_id, given.key, given.request_hash, given.status, given.location,
            given.body, given.created_at,
            state.names, state.source_hashes, state.loaded_at, state.versions, state.has_listeners FROM",
    "WITH ORDINALITY AS asked (customer_id, key, place)
     LEFT JOIN LATERAL (SELECT customer_id, key, request_hash, status, location, body, created_at FROM idempotency
                        WHERE idempotency.customer_id = asked.customer_id COLLATE \"C\" AND idempotency.key = asked.key COLLATE \"C\"
                        OFFSET 0) AS given ON true
     LEFT JOIN (SELECT ARRAY(SELECT name FROM incident ORDER BY name) AS names,
                       ARRAY(SELECT source_hash FROM incident ORDER BY name) AS source_hashes,
                       ARRAY(SELECT loaded_at FROM incident ORDER BY name) AS loaded_at,
                       ARRAY(SELECT id FROM policy_version WHERE approved_at IS NOT NULL AND retired_at IS NULL ORDER BY id) AS versions,
                       EXISTS(SELECT FROM webhook WHERE purpose = 'events' AND disabled_at IS NULL) AS has_listeners
               ) AS state ON asked.place = 1
     ORDER BY asked.place"
}

/// Who reports what.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The incident's key.
    pub incident_key: i32,
    /// The service's key.
    pub service_key: i32,
    /// The customer.
    pub customer: &'a str,
    /// What is claimed; none where nothing is.
    pub loss: Option<Uuid>,
}

/// What is known of a customer.
#[derive(Debug, Default)]
pub struct Record {
    /// What he held at the service, by reference.
    pub held: Vec<HeldRow>,
    /// The claim in which he claimed the same loss before.
    pub first: Option<ClaimRow>,
}

/// What is known, for each who is asked for in their order.
pub fn records(connection: &mut Connection, all: &[Asked<'_>]) -> StoreResult<Vec<Record>> {
    let mut records: Vec<Record> = all.iter().map(|_| Record::default()).collect();
    if all.is_empty() {
        return Ok(records);
    }
    let mut ask = AskRecords::with_capacity(all.len());
    for (asked, place) in all.iter().zip(0..) {
        ask.push(place, asked.incident_key, asked.service_key, asked.customer, asked.loss);
    }
    let rows: Vec<(i32, Option<HeldRow>, Option<ClaimRow>)> = ask.load(connection)?;
    for (place, held, first) in rows {
        let record = usize::try_from(place).ok().and_then(|place| records.get_mut(place));
        let record = record.ok_or_else(|| StoreError::corrupt("a record that nobody asked for"))?;
        record.held.extend(held);
        record.first = first;
    }
    Ok(records)
}

// One look into each index for each: lists side by side would be looked up in every combination.
prepared! {
    AskRecords {
        place: i32 => Integer,
        incident_id: i32 => Integer,
        service_id: i32 => Integer,
        customer_id: &'a str => Text,
        loss: Option<Uuid> => Nullable<SqlUuid>,
    } -> (Integer, Nullable<HeldColumns>, Nullable<claim::SqlType>),
    "SELECT asked.place, held.customer_id, held.service_id, held.reference, held.facts,
            claimed.customer_id, claimed.id, claimed.reference, claimed.incident_id, claimed.service_id, claimed.state, claimed.facts,
            claimed.version, claimed.created_at, claimed.submitted_at, claimed.updated_at, claimed.kind, claimed.channel,
            claimed.loss, claimed.duplicate_of, claimed.credited_at FROM",
    "AS asked (place, incident_id, service_id, customer_id, loss)
     LEFT JOIN LATERAL (SELECT customer_id, service_id, reference, facts
                        FROM holding WHERE holding.incident_id = asked.incident_id AND holding.service_id = asked.service_id
                                           AND holding.customer_id = asked.customer_id COLLATE \"C\"
                        ORDER BY reference OFFSET 0) AS held ON true
     LEFT JOIN LATERAL (SELECT customer_id, id, reference, incident_id, service_id, state, facts, version, created_at,
                               submitted_at, updated_at, kind, channel, loss, duplicate_of, credited_at
                        FROM claim WHERE claim.customer_id = asked.customer_id COLLATE \"C\" AND claim.loss = asked.loss
                        OFFSET 0) AS claimed ON true"
}

/// What is kept of a batch.
#[derive(Debug, Default)]
pub struct Filing {
    /// The claims.
    pub claims: Vec<ClaimRow>,
    /// What is sealed of them.
    pub personal: Vec<PersonalRow>,
    /// What their policies said.
    pub assessments: Vec<AssessmentRow>,
    /// What the log keeps of them.
    pub entries: Vec<AuditEntry>,
    /// What their claimants are told.
    pub notices: Vec<NoticeRow>,
    /// How they were answered.
    pub answers: Vec<SavedAnswer>,
}

/// Writes all that is kept of a batch, with the claims that people are to read and their queues, in one statement: outside of a
/// transaction it is one of its own, all or nothing, and durable when this returns.
pub fn write(connection: &mut Connection, filing: &Filing, tasks: &[NewTask<'_>]) -> StoreResult<()> {
    if filing.claims.is_empty() {
        return Ok(());
    }
    let insert = InsertAll {
        claims: claims::insertion(&filing.claims),
        personal: claims::personal_insertion(&filing.personal),
        assessments: claims::assessments_insertion(&filing.assessments),
        entries: audit::insertion(&filing.entries)?,
        notices: notices::insertion(&filing.notices),
        tasks: tasks::insertion(tasks),
        answers: idempotency::insertion(&filing.answers),
    };
    insert.execute(connection)?;
    Ok(())
}

/// One statement that inserts into all tables: none of the insertions sees another's rows, and none has to.
struct InsertAll<'a> {
    claims: InsertClaims<'a>,
    personal: InsertPersonal<'a>,
    assessments: InsertAssessments<'a>,
    entries: InsertEntries<'a>,
    notices: InsertNotices<'a>,
    tasks: InsertTasks<'a>,
    answers: InsertAnswers<'a>,
}

impl QueryId for InsertAll<'_> {
    type QueryId = InsertAll<'static>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl QueryFragment<Pg> for InsertAll<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        let beside: [(&str, &dyn QueryFragment<Pg>); 6] = [
            ("WITH claims AS (", &self.claims),
            ("), personals AS (", &self.personal),
            ("), assessments AS (", &self.assessments),
            ("), entries AS (", &self.entries),
            ("), notices AS (", &self.notices),
            ("), tasks AS (", &self.tasks),
        ];
        for (before, insertion) in beside {
            out.push_sql(before);
            insertion.walk_ast(out.reborrow())?;
        }
        out.push_sql(") ");
        self.answers.walk_ast(out)
    }
}

impl RunQueryDsl<Connection> for InsertAll<'_> {}
