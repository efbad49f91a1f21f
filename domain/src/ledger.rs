//! The ledger's rules: one row moves one amount from one account to another, and a credit's id follows from
//! what it is for, so that every retry, re-run, restart and second worker meets the same id.
//!
//! The chart of accounts, each in one asset; a balance is what an account received less what it gave, so that the
//! balances of an asset sum to zero:
//!
//! | Account | Holds |
//! |---|---|
//! | `expense/{incident}/{service}/{asset}` | below zero: what budgets recognised as expense, less what they gave back |
//! | `provision/{incident}/{service}/{asset}` | the budget: approved and not issued |
//! | `owed/{asset}` | owed to customers; a customer's own account is this one together with the transfer's customer |
//! | `delivered/{service}/{asset}` | granted by the service, as it acknowledged |
//! | `breakage/{service}/{asset}` | expired unused |
//! | `suspense/{service}/{asset}` | written off as undeliverable: still to be settled by a person |
//!
//! Expense **by policy** is told without a second row a credit: a transfer carries the policy version it follows from,
//! so `expense-by-policy/{incident}/{policy}/{asset}` is a view of the same rows (what the policy took out of
//! provisions, less what was reversed into them). It restates a part of `expense/…` and is never added to it.

use sha2::{Digest, Sha256};
use uuid::Builder;

use crate::asset::{Amount, AssetCode};
use crate::id::{CustomerId, IncidentId, PolicyId, ServiceId, TransferId};

/// What a transfer does. The number is what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i16)]
pub enum TransferCode {
    /// Recognises a budget: expense to provision.
    Authorise = 1,
    /// Credits a customer: provision to owed.
    Issue = 2,
    /// The service acknowledged that it granted a credit: owed to delivered.
    Deliver = 3,
    /// A credit's term ran out unused: owed to breakage.
    Expire = 4,
    /// Moves its original back, whole or in part, between the same two accounts.
    Reverse = 5,
    /// A credit cannot be delivered: owed to suspense.
    WriteOff = 6,
    /// Gives back what a budget has left: provision to expense.
    Release = 7,
}

impl TransferCode {
    /// The number that is stored.
    #[must_use]
    pub fn number(self) -> i16 {
        self as i16
    }

    /// The name shown to people.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Authorise => "authorise",
            Self::Issue => "issue",
            Self::Deliver => "deliver",
            Self::Expire => "expire",
            Self::Reverse => "reverse",
            Self::WriteOff => "write-off",
            Self::Release => "release",
        }
    }

    /// The code of a stored number.
    #[must_use]
    pub fn from_number(number: i16) -> Option<Self> {
        const ALL: [TransferCode; 7] = [
            TransferCode::Authorise,
            TransferCode::Issue,
            TransferCode::Deliver,
            TransferCode::Expire,
            TransferCode::Reverse,
            TransferCode::WriteOff,
            TransferCode::Release,
        ];
        ALL.into_iter().find(|code| code.number() == number)
    }
}

/// The name of the account that a budget is recognised from.
#[must_use]
pub fn expense_account(incident: &IncidentId, service: &ServiceId, asset: &AssetCode) -> String {
    format!("expense/{incident}/{service}/{asset}")
}

/// The name of the account that holds what is authorised and not yet issued.
#[must_use]
pub fn provision_account(incident: &IncidentId, service: &ServiceId, asset: &AssetCode) -> String {
    format!("provision/{incident}/{service}/{asset}")
}

/// The name of the account of all that is owed to customers; each customer's part is told by the transfer's customer.
#[must_use]
pub fn owed_account(asset: &AssetCode) -> String {
    format!("owed/{asset}")
}

/// The name of the account of what a service granted.
#[must_use]
pub fn delivered_account(service: &ServiceId, asset: &AssetCode) -> String {
    format!("delivered/{service}/{asset}")
}

/// The name of the account of what expired unused.
#[must_use]
pub fn breakage_account(service: &ServiceId, asset: &AssetCode) -> String {
    format!("breakage/{service}/{asset}")
}

/// The name of the account of what could not be delivered.
#[must_use]
pub fn suspense_account(service: &ServiceId, asset: &AssetCode) -> String {
    format!("suspense/{service}/{asset}")
}

/// The name of the group of views that tell expense by policy.
pub const EXPENSE_BY_POLICY: &str = "expense-by-policy";

/// The ids of the credits of one incident under one policy: what they have in common is hashed once.
///
/// Two attempts at the same raise meet the same id whatever their run, worker or policy version, and the primary key lets only
/// one of them in.
#[derive(Debug, Clone)]
pub struct CreditIds(Sha256);

impl CreditIds {
    /// The ids of this incident and policy.
    #[must_use]
    pub fn new(incident: &IncidentId, policy: &PolicyId) -> Self {
        Self(Sha256::new_with_prefix(format!("redress credit 1\0{incident}\0{policy}")))
    }

    /// The id of the credit that raises what a subject has of an asset from `before` to more. A version that grants more starts
    /// from what the last one gave: the difference, once. `before` counts what was ever credited, so a reversed credit is not
    /// issued again by itself.
    #[must_use]
    pub fn of(&self, customer: &CustomerId, subject: &str, asset: &AssetCode, before: Amount) -> TransferId {
        let mut hash = self.0.clone();
        for part in [customer.as_str(), subject, asset.as_str()] {
            hash.update([0]);
            hash.update(part.as_bytes());
        }
        hash.update(before.minor().to_be_bytes());
        derived(hash)
    }
}

/// The first 16 bytes of a hash as an id (version 8 of RFC 9562).
pub(crate) fn derived(hash: Sha256) -> TransferId {
    let digest = hash.finalize();
    let mut bytes = [0_u8; 16];
    bytes.copy_from_slice(&digest[..16]);
    TransferId(Builder::from_custom_bytes(bytes).into_uuid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credit_id_depends_on_all_that_names_it_and_on_nothing_else() {
        let id = |incident, policy, customer, subject, asset, before| {
            CreditIds::new(&IncidentId::parse(incident).unwrap(), &PolicyId::parse(policy).unwrap()).of(
                &CustomerId::parse(customer).unwrap(),
                subject,
                &AssetCode::parse(asset).unwrap(),
                Amount::from_minor(before),
            )
        };
        let first = id("fire", "melon", "c-1", "holding/s-1", "day:melon", 0);
        assert_eq!(first, id("fire", "melon", "c-1", "holding/s-1", "day:melon", 0));
        for other in [
            id("flood", "melon", "c-1", "holding/s-1", "day:melon", 0),
            id("fire", "webtoon", "c-1", "holding/s-1", "day:melon", 0),
            id("fire", "melon", "c-2", "holding/s-1", "day:melon", 0),
            id("fire", "melon", "c-1", "holding/s-2", "day:melon", 0),
            id("fire", "melon", "c-1", "holding/s-1", "cash:melon", 0),
            id("fire", "melon", "c-1", "holding/s-1", "day:melon", 3),
        ] {
            assert_ne!(first, other);
        }
        assert_eq!(first.0.get_version_num(), 8);
        // As every credit ever issued has it: `verify` derives them again.
        assert_eq!(first.0.to_string(), "951c0d14-2bca-830f-8db9-502e02d5c9b4");
    }
}
