//! What becomes a leaf: how a posting's transfers are sealed with it, and how rows are read as the log's documents.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use redress_domain::hex_bytes::HexBytes;
use redress_domain::log::documents::spell;
use redress_domain::log::{AssetName, PolicyName, PostingDocument, Salt, TransferFacts, TransferSealer};
use redress_domain::merkle::Hash;

use crate::connection::Connection;
use crate::error::StoreResult;
use crate::ledger::TransferRow;
use crate::schema::{account, asset, policy, policy_version, posting, posting_seal, posting_total};
use crate::word::Word;

impl<'a> From<&'a TransferRow> for TransferFacts<'a> {
    fn from(row: &'a TransferRow) -> Self {
        Self {
            id: row.id,
            customer: &row.customer_id,
            amount: row.amount,
            debit: row.debit_account,
            credit: row.credit_account,
            asset: row.asset_id,
            policy_version: row.policy_version_id,
            code: row.code,
            subject: &row.subject,
        }
    }
}

/// The seal of one posting in the making: it takes the transfers while they are written, and is written after them in the same
/// transaction.
pub(crate) struct Seal {
    posting_id: i64,
    salt: Salt,
    sealer: TransferSealer,
    count: i64,
    /// The first and the last customer.
    ends: Option<(Word, Word)>,
}

impl Seal {
    /// The seal of a posting of so many transfers, about.
    pub(crate) fn of(posting_id: i64, transfers: usize) -> Self {
        let salt: Salt = HexBytes(rand::random());
        let sealer = TransferSealer::new(salt, transfers);
        Self { posting_id, salt, sealer, count: 0, ends: None }
    }

    /// Takes a transfer; in any order, each once.
    pub(crate) fn take(&mut self, row: &TransferRow) {
        self.sealer.take(&TransferFacts::from(row));
        self.count += 1;
        match &mut self.ends {
            Some((_, last)) if row.customer_id > *last => *last = row.customer_id.clone(),
            Some((first, _)) if row.customer_id < *first => *first = row.customer_id.clone(),
            Some(_) => {}
            None => self.ends = Some((row.customer_id.clone(), row.customer_id.clone())),
        }
    }

    /// All transfers are taken; none where there were none.
    pub(crate) fn close(self) -> Option<ClosedSeal> {
        let (first_customer, last_customer) = self.ends?;
        let sealed = self.sealer.finish();
        let (root, marks) = (sealed.root, sealed.marks());
        let (posting_id, salt, count) = (self.posting_id, self.salt, self.count);
        Some(ClosedSeal { posting_id, salt, count, root, marks, first_customer, last_customer })
    }
}

/// The seal of a posting, to be written after its transfers.
pub(crate) struct ClosedSeal {
    posting_id: i64,
    salt: Salt,
    count: i64,
    root: Hash,
    marks: Vec<u8>,
    first_customer: Word,
    last_customer: Word,
}

impl ClosedSeal {
    /// Writes the seal.
    pub(crate) fn write(&self, connection: &mut Connection) -> StoreResult<()> {
        diesel::insert_into(posting_seal::table)
            .values((
                posting_seal::posting_id.eq(self.posting_id),
                posting_seal::transfers.eq(self.count),
                posting_seal::root.eq(self.root.as_bytes().as_slice()),
                posting_seal::salt.eq(self.salt.as_bytes().as_slice()),
                posting_seal::first_customer.eq(self.first_customer.as_str()),
                posting_seal::last_customer.eq(self.last_customer.as_str()),
                posting_seal::marks.eq(&self.marks),
            ))
            .execute(connection)?;
        Ok(())
    }
}

/// A posting and what of its seal the log needs.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = posting, check_for_backend(diesel::pg::Pg))]
pub(super) struct PostingRow {
    pub(super) id: i64,
    run_id: Option<i64>,
    chunk_seq: Option<i32>,
    recorded_at: DateTime<Utc>,
    #[diesel(select_expression = posting_seal::transfers)]
    transfers: i64,
    #[diesel(select_expression = posting_seal::root)]
    root: Vec<u8>,
}

/// What the numbers in transfers stand for.
#[derive(Debug, Default)]
pub(super) struct Names {
    accounts: BTreeMap<i32, (String, i32)>,
    assets: BTreeMap<i32, AssetName>,
    policies: BTreeMap<i32, PolicyName>,
}

impl Names {
    /// Loads all names: these are small tables.
    pub(super) fn load(connection: &mut Connection) -> StoreResult<Self> {
        let accounts: Vec<(i32, String, i32)> =
            account::table.select((account::id, account::name, account::asset_id)).load(connection)?;
        let assets: Vec<(i32, String, i16)> =
            asset::table.select((asset::id, asset::code, asset::scale)).load(connection)?;
        let policies: Vec<(i32, String, String)> = policy_version::table
            .inner_join(policy::table.on(policy::id.eq(policy_version::policy_id)))
            .select((policy_version::id, policy::name, policy_version::hash))
            .load(connection)?;
        Ok(Self {
            accounts: accounts.into_iter().map(|(key, name, asset)| (key, (name, asset))).collect(),
            assets: assets.into_iter().map(|(key, code, scale)| (key, AssetName { code, scale })).collect(),
            policies: policies
                .into_iter()
                .map(|(key, policy, version)| (key, PolicyName { policy, version }))
                .collect(),
        })
    }

    /// The document of a posting with these totals. None when it speaks of what has
    /// no name, which nothing that Redress writes does.
    pub(super) fn document(&self, row: &PostingRow, totals: &[Total]) -> Option<PostingDocument> {
        let mut document = PostingDocument {
            posting: row.id,
            run: row.run_id,
            chunk: row.chunk_seq,
            recorded_at: spell(row.recorded_at),
            transfers: u64::try_from(row.transfers).ok()?,
            root: HexBytes::from_slice(&row.root)?,
            accounts: BTreeMap::new(),
            assets: BTreeMap::new(),
            policies: BTreeMap::new(),
        };
        for (debit, credit, version) in totals {
            for key in [debit, credit] {
                let (name, asset) = self.accounts.get(key)?;
                document.accounts.insert(*key, name.clone());
                document.assets.insert(*asset, self.assets.get(asset)?.clone());
            }
            if *version != crate::ledger::NO_POLICY {
                document.policies.insert(*version, self.policies.get(version)?.clone());
            }
        }
        Some(document)
    }

    /// The first name in a document that is another one today.
    pub(super) fn renamed(&self, document: &PostingDocument) -> Option<String> {
        let account = document.accounts.iter().find(|(key, name)| {
            self.accounts.get(key).is_none_or(|(known, asset)| known != *name || !document.assets.contains_key(asset))
        });
        let asset = || document.assets.iter().find(|(key, name)| self.assets.get(key) != Some(name));
        let version = || document.policies.iter().find(|(key, name)| self.policies.get(key) != Some(name));
        account
            .map(|(key, name)| format!("account {key} was {name}"))
            .or_else(|| asset().map(|(key, name)| format!("asset {key} was {} of scale {}", name.code, name.scale)))
            .or_else(|| {
                version().map(|(key, name)| format!("policy version {key} was {} {}", name.policy, name.version))
            })
    }
}

impl PostingRow {
    /// Whether the posting and its seal are what a document says.
    pub(super) fn agrees(&self, document: &PostingDocument) -> bool {
        document.posting == self.id
            && document.run == self.run_id
            && document.chunk == self.chunk_seq
            && document.recorded_at == spell(self.recorded_at)
            && i64::try_from(document.transfers) == Ok(self.transfers)
            && HexBytes::from_slice(&self.root) == Some(document.root)
    }
}

/// What a total is of: debit, credit, policy version.
pub(super) type Total = (i32, i32, i32);

/// The accounts and policy versions that postings speak of, by posting.
pub(super) fn totals_of(connection: &mut Connection, postings: &[i64]) -> StoreResult<BTreeMap<i64, Vec<Total>>> {
    let rows: Vec<(i64, i32, i32, i32)> = posting_total::table
        .filter(posting_total::posting_id.eq_any(postings))
        .select((
            posting_total::posting_id,
            posting_total::debit_account,
            posting_total::credit_account,
            posting_total::policy_version_id,
        ))
        .load(connection)?;
    let mut totals: BTreeMap<i64, Vec<_>> = BTreeMap::new();
    for (posting, debit, credit, version) in rows {
        totals.entry(posting).or_default().push((debit, credit, version));
    }
    Ok(totals)
}
