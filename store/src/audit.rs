//! The log of commands: who did what, when and from where, written in the transaction of the command itself, with the
//! hash of what it says.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Binary, Jsonb, Nullable, Text, Timestamptz};
use redress_domain::hex_bytes::HexBytes;
use redress_domain::log::documents::spell;
use redress_domain::log::{EntryDocument, canonical};
use redress_domain::merkle::Hash;
use serde::Serialize;

use crate::connection::Connection;
use crate::error::{StoreError, StoreResult};
use crate::prepared::prepared;
use crate::schema::audit;

/// One entry. Never holds personal data.
#[derive(Debug, Clone)]
pub struct AuditEntry {
    /// When.
    pub at: DateTime<Utc>,
    /// Who: a member of staff, `customer:<id>`, or `system`.
    pub actor: String,
    /// From where: `http`, `cli:<user of the machine>`, `worker`.
    pub origin: String,
    /// What was done, such as `policy.publish`.
    pub action: String,
    /// To what, such as `policy melon`.
    pub object: String,
    /// Figures and hashes of it.
    pub detail: serde_json::Value,
    /// The hash of what was changed, as it was before.
    pub before: Option<Hash>,
    /// The hash of what was changed, as it is now.
    pub after: Option<Hash>,
}

impl AuditEntry {
    /// Adds the hash of what the command changes, as it was.
    #[must_use]
    pub fn before(mut self, state: &impl Serialize) -> Self {
        self.before = canonical::hash(state);
        self
    }

    /// Adds the hash of what the command changed, as it is now.
    #[must_use]
    pub fn after(mut self, state: &impl Serialize) -> Self {
        self.after = canonical::hash(state);
        self
    }

    /// What the log keeps of it, once it has a number.
    fn document(&self) -> EntryDocument {
        EntryDocument {
            entry: None,
            at: spell(self.at),
            actor: self.actor.clone(),
            origin: self.origin.clone(),
            action: self.action.clone(),
            object: self.object.clone(),
            detail: self.detail.clone(),
            before: self.before,
            after: self.after,
        }
    }
}

/// An entry as a row.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = audit)]
pub(crate) struct AuditRow {
    pub(crate) id: i64,
    at: DateTime<Utc>,
    actor: String,
    origin: String,
    action: String,
    object: String,
    detail: serde_json::Value,
    before_hash: Option<Vec<u8>>,
    after_hash: Option<Vec<u8>>,
    hash: Option<Vec<u8>>,
}

impl AuditRow {
    /// The entry as the log has it; none when it is not what was written, as its own hash tells.
    pub(crate) fn document(self) -> Option<EntryDocument> {
        let hash = |bytes: Option<Vec<u8>>| match bytes {
            None => Some(None),
            Some(bytes) => HexBytes::from_slice(&bytes).map(Some),
        };
        let document = EntryDocument {
            entry: Some(self.id),
            at: spell(self.at),
            actor: self.actor,
            origin: self.origin,
            action: self.action,
            object: self.object,
            detail: self.detail,
            before: hash(self.before_hash)?,
            after: hash(self.after_hash)?,
        };
        let written = hash(self.hash)?;
        (written.is_some() && document.content_hash() == written).then_some(document)
    }
}

/// What is told of an entry to those whom it concerns.
#[derive(Debug, Clone, Queryable)]
pub struct Told {
    /// When.
    pub at: DateTime<Utc>,
    /// Who.
    pub actor: String,
    /// What was done.
    pub action: String,
    /// Figures and hashes of it.
    pub detail: serde_json::Value,
}

/// The most entries that are told of one object.
const MAX_TOLD: i64 = 500;

/// What happened to an object, in its order.
pub fn of_object(connection: &mut Connection, object: &str) -> StoreResult<Vec<Told>> {
    Ok(audit::table
        .filter(audit::object.eq(object))
        .order(audit::id)
        .limit(MAX_TOLD)
        .select((audit::at, audit::actor, audit::action, audit::detail))
        .load(connection)?)
}

/// Appends entries.
pub fn append(connection: &mut Connection, entries: &[AuditEntry]) -> StoreResult<()> {
    if !entries.is_empty() {
        insertion(entries)?.execute(connection)?;
    }
    Ok(())
}

/// What appends entries.
pub(crate) fn insertion(entries: &[AuditEntry]) -> StoreResult<InsertEntries<'_>> {
    let mut insert = InsertEntries::with_capacity(entries.len());
    for entry in entries {
        let hash = entry.document().content_hash();
        let hash = hash.ok_or_else(|| StoreError::corrupt("an audit entry cannot be written as JSON"))?;
        insert.push(
            entry.at,
            &entry.actor,
            &entry.origin,
            &entry.action,
            &entry.object,
            &entry.detail,
            entry.before.as_ref().map(|hash| hash.0.as_slice()),
            entry.after.as_ref().map(|hash| hash.0.as_slice()),
            hash.0.to_vec(),
        );
    }
    Ok(insert)
}

prepared! {
    pub(crate) InsertEntries {
        at: DateTime<Utc> => Timestamptz,
        actor: &'a str => Text,
        origin: &'a str => Text,
        action: &'a str => Text,
        object: &'a str => Text,
        detail: &'a serde_json::Value => Jsonb,
        before_hash: Option<&'a [u8]> => Nullable<Binary>,
        after_hash: Option<&'a [u8]> => Nullable<Binary>,
        hash: Vec<u8> => Binary,
    } into "audit"
}

/// An entry as people read it.
#[derive(Debug, Clone, Queryable)]
pub struct EntryRow {
    /// Its number.
    pub id: i64,
    /// When.
    pub at: DateTime<Utc>,
    /// Who.
    pub actor: String,
    /// From where.
    pub origin: String,
    /// What.
    pub action: String,
    /// On what.
    pub object: String,
    /// The rest of it.
    pub detail: serde_json::Value,
}

/// The newest entries before one, of one object where it is named.
pub fn page(
    connection: &mut Connection,
    before: Option<i64>,
    object: Option<&str>,
    limit: i64,
) -> StoreResult<Vec<EntryRow>> {
    let newest = audit::table.filter(audit::id.lt(before.unwrap_or(i64::MAX))).into_boxed();
    let newest = match object {
        Some(object) => newest.filter(audit::object.eq(object.to_owned())),
        None => newest,
    };
    Ok(newest
        .order(audit::id.desc())
        .limit(limit)
        .select((audit::id, audit::at, audit::actor, audit::origin, audit::action, audit::object, audit::detail))
        .load(connection)?)
}
