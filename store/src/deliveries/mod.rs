//! Batches of credits on their way to services. A batch is a range of a posting's credits and one row; which credits are
//! in it, and what of them is owed, is read from the books.

mod content;
mod desk;
mod plan;
mod queue;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use uuid::Uuid;

use crate::schema::delivery;

pub use self::content::{
    CoveredCredit, DueCredit, Hold, RefusalRow, RefusedCredit, content, covering, has_outstanding, refuse, refused,
};
pub use self::desk::{Filter, ServiceStanding, find, list, lock, refusals, retry_dead, retry_refused, standing};
pub use self::plan::{Reach, plan, settle_refused};
pub use self::queue::{Fate, Leased, await_acknowledgement, end, give_up, has_due, lease, postpone};

/// A batch as a row.
#[derive(Debug, Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = delivery, treat_none_as_default_value = false)]
pub struct DeliveryRow {
    /// Its id, which is the webhook-id of every attempt.
    pub id: Uuid,
    /// The service's key.
    pub service_id: i32,
    /// The posting whose credits it has.
    pub posting_id: i64,
    /// The batch whose refused credits it takes over.
    pub retry_of: Option<Uuid>,
    /// The customer of its first credit.
    pub first_customer: String,
    /// Its first credit.
    pub first_credit: Uuid,
    /// The customer of its last credit.
    pub last_customer: String,
    /// Its last credit.
    pub last_credit: Uuid,
    /// How many credits it was cut with.
    pub credits: i32,
    /// `queued`, `awaiting`, `done`, `refused`, `retried` or `dead`.
    pub state: String,
    /// How often it was sent.
    pub attempts: i32,
    /// Not before.
    pub next_at: DateTime<Utc>,
    /// Since when it waits.
    pub queued_at: DateTime<Utc>,
    /// The instant whose books the service was told; none as long as it cannot have heard of it.
    pub as_of: Option<DateTime<Utc>>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// Why it did not go.
    pub last_error: Option<String>,
}
