//! The leaves of the log: an audit entry, and a posting with the names that its transfers' numbers stand for.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

use super::canonical;
use crate::merkle::{Hash, leaf_hash};

/// A time as the log spells it: in UTC, to the microsecond that the database keeps.
#[must_use]
pub fn spell(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// An audit entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntryDocument {
    /// Its number; none as long as the database has not given one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entry: Option<i64>,
    /// When.
    pub at: String,
    /// Who.
    pub actor: String,
    /// From where.
    pub origin: String,
    /// What was done.
    pub action: String,
    /// To what.
    pub object: String,
    /// Figures and hashes of it.
    pub detail: serde_json::Value,
    /// The hash of what was changed, as it was before.
    pub before: Option<Hash>,
    /// The hash of what was changed, as it is now.
    pub after: Option<Hash>,
}

impl EntryDocument {
    /// The hash of what the entry says; kept beside it from the moment it is written.
    #[must_use]
    pub fn content_hash(&self) -> Option<Hash> {
        // One that has no number yet, as whatever is just written, is not copied for it.
        match self.entry {
            None => canonical::hash(self),
            Some(_) => canonical::hash(&Self { entry: None, ..self.clone() }),
        }
    }

    /// Its leaf in the log.
    #[must_use]
    pub fn leaf(&self) -> Option<Hash> {
        canonical::text(self).map(|text| leaf_hash(text.as_bytes()))
    }
}

/// A posting: the transfers that one transaction recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostingDocument {
    /// Its number.
    pub posting: i64,
    /// The run it belongs to, if any.
    pub run: Option<i64>,
    /// The run's chunk.
    pub chunk: Option<i32>,
    /// When it was recorded.
    pub recorded_at: String,
    /// How many transfers it has.
    pub transfers: u64,
    /// The root of the tree over its transfers.
    pub root: Hash,
    /// The names of the accounts that the transfers' numbers stand for.
    pub accounts: BTreeMap<i32, String>,
    /// The assets.
    pub assets: BTreeMap<i32, AssetName>,
    /// The policy versions.
    pub policies: BTreeMap<i32, PolicyName>,
}

/// An asset by its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AssetName {
    /// Its code.
    pub code: String,
    /// How many digits of its amounts stand after the point.
    pub scale: i16,
}

/// A policy version by its names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyName {
    /// The policy.
    pub policy: String,
    /// The content hash of the version.
    pub version: String,
}

impl PostingDocument {
    /// Its canonical text, and its leaf in the log.
    #[must_use]
    pub fn leaf(&self) -> Option<(String, Hash)> {
        canonical::text(self).map(|text| {
            let leaf = leaf_hash(text.as_bytes());
            (text, leaf)
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_entry_keeps_its_hash_when_the_database_numbers_it() {
        let entry = EntryDocument {
            entry: None,
            at: spell(DateTime::from_timestamp(1_700_000_000, 1_999).unwrap()),
            actor: "finance".into(),
            origin: "cli:root".into(),
            action: "budget.approve".into(),
            object: "budget fire/melon/KRW".into(),
            detail: json!({ "amount": "5" }),
            before: None,
            after: Some(leaf_hash(b"")),
        };
        assert_eq!(entry.at, "2023-11-14T22:13:20.000001Z");
        let numbered = EntryDocument { entry: Some(7), ..entry.clone() };
        assert_eq!(entry.content_hash(), numbered.content_hash());
        assert_ne!(entry.leaf(), numbered.leaf());
        let renamed = EntryDocument { actor: "author".into(), ..entry.clone() };
        assert_ne!(entry.content_hash(), renamed.content_hash());
        let text = serde_json::to_string(&numbered).unwrap();
        assert_eq!(serde_json::from_str::<EntryDocument>(&text).unwrap(), numbered);
    }
}
