//! What a batch of reports asks and writes while it is filed: two statements, however many reports and tables there are. Each
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

/// What has to be known of a report.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The customer.
    pub customer: &'a str,
    /// The key that it came under.
    pub key: &'a str,
    /// The incident's key; 0 where the report belongs to none.
    pub incident_key: i32,
    /// The service's key; 0 where the report belongs to none.
    pub service_key: i32,
    /// What is claimed; none where nothing is.
    pub loss: Option<Uuid>,
}

/// What is known.
#[derive(Debug, Default)]
pub struct Known {
    /// The answer given under the key.
    pub given: Option<SavedAnswer>,
    /// What the customer held at the service, by reference.
    pub held: Vec<HeldRow>,
    /// The claim in which he claimed the same loss before.
    pub first: Option<ClaimRow>,
}

/// What is known of each report, in their order, and the state of what is in force. Nothing is held meanwhile: of two who file
/// under one key, or the same loss, at the same moment, the tables' own keys refuse the second.
pub fn ask(connection: &mut Connection, questions: &[Question<'_>]) -> StoreResult<(Vec<Known>, State)> {
    let mut ask = Ask::with_capacity(questions.len());
    for (question, place) in questions.iter().zip(0..) {
        let Question { customer, key, incident_key, service_key, loss } = *question;
        ask.push(place, customer, key, incident_key, service_key, loss);
    }
    let mut known: Vec<Known> = questions.iter().map(|_| Known::default()).collect();
    let mut seen = None;
    let rows: Vec<Answered> = ask.load(connection)?;
    for (place, given, held, first, state) in rows {
        let one = usize::try_from(place).ok().and_then(|place| known.get_mut(place));
        let one = one.ok_or_else(|| StoreError::corrupt("something is known that nobody asked for"))?;
        one.given = given;
        one.held.extend(held);
        one.first = first;
        seen = seen.or(state);
    }
    Ok((known, seen.ok_or_else(|| StoreError::corrupt("nothing was asked for"))?))
}

/// A row for each holding of each report; one where there is none.
type Answered = (i32, Option<SavedAnswer>, Option<HeldRow>, Option<ClaimRow>, Option<State>);

// One look into each index for each: lists side by side would be looked up in every combination.
prepared! {
    Ask {
        place: i32 => Integer,
        customer_id: &'a str => Text,
        key: &'a str => Text,
        incident_id: i32 => Integer,
        service_id: i32 => Integer,
        loss: Option<Uuid> => Nullable<SqlUuid>,
    } -> (Integer, Nullable<answer::SqlType>, Nullable<HeldColumns>, Nullable<claim::SqlType>, Nullable<StateColumns>),
    "SELECT asked.place, given.customer_id, given.key, given.request_hash, given.status, given.location, given.body, given.created_at,
            held.customer_id, held.service_id, held.reference, held.facts,
            claimed.customer_id, claimed.id, claimed.reference, claimed.incident_id, claimed.service_id, claimed.state, claimed.facts,
            claimed.version, claimed.created_at, claimed.submitted_at, claimed.updated_at, claimed.kind, claimed.channel,
            claimed.loss, claimed.duplicate_of, claimed.credited_at,
            state.names, state.source_hashes, state.loaded_at, state.versions, state.has_listeners FROM",
    "AS asked (place, customer_id, key, incident_id, service_id, loss)
     LEFT JOIN LATERAL (SELECT customer_id, key, request_hash, status, location, body, created_at FROM idempotency
                        WHERE idempotency.customer_id = asked.customer_id COLLATE \"C\" AND idempotency.key = asked.key COLLATE \"C\"
                        OFFSET 0) AS given ON true
     LEFT JOIN LATERAL (SELECT customer_id, service_id, reference, coalesce(holding.facts, common_facts.facts) AS facts
                        FROM holding LEFT JOIN common_facts ON common_facts.id = holding.common_id
                        WHERE holding.incident_id = asked.incident_id AND holding.service_id = asked.service_id
                              AND holding.customer_id = asked.customer_id COLLATE \"C\"
                        ORDER BY reference OFFSET 0) AS held ON true
     LEFT JOIN LATERAL (SELECT customer_id, id, reference, incident_id, service_id, state, facts, version, created_at,
                               submitted_at, updated_at, kind, channel, loss, duplicate_of, credited_at
                        FROM claim WHERE claim.customer_id = asked.customer_id COLLATE \"C\" AND claim.loss = asked.loss
                        OFFSET 0) AS claimed ON true
     LEFT JOIN (SELECT ARRAY(SELECT name FROM incident ORDER BY name) AS names,
                       ARRAY(SELECT source_hash FROM incident ORDER BY name) AS source_hashes,
                       ARRAY(SELECT loaded_at FROM incident ORDER BY name) AS loaded_at,
                       ARRAY(SELECT id FROM policy_version WHERE approved_at IS NOT NULL AND retired_at IS NULL ORDER BY id) AS versions,
                       EXISTS(SELECT FROM webhook WHERE purpose = 'events' AND disabled_at IS NULL) AS has_listeners
               ) AS state ON asked.place = 0"
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
