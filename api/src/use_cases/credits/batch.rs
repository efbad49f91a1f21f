//! A batch of credits under way: what was read of them, and the rows that are to be written.

use std::collections::{BTreeMap, HashMap};

use redress_domain::credit::{Movement, Refusal};
use redress_domain::ledger::TransferCode;
use redress_store::audit::{self, AuditEntry};
use redress_store::credits::{self, CreditRow, MovementRow, StoredCredit};
use redress_store::ledger::{self, TransferRow};
use redress_store::programmes::{self, Returned};
use redress_store::{Connection, StoreError};
use uuid::Uuid;

use crate::error::AppResult;

/// A credit by customer and id.
pub(super) type Key = (String, Uuid);

#[derive(Default)]
pub(super) struct Batch {
    credits: HashMap<Key, StoredCredit>,
    targets: HashMap<(i32, i16), i32>,
    transfers: Vec<TransferRow>,
    movements: Vec<MovementRow>,
    /// Into budgets.
    given_back: BTreeMap<i32, i64>,
    /// By policy and asset, for the caps over everybody.
    returned: BTreeMap<(i32, i32), Vec<Returned>>,
}

impl Batch {
    /// Reads the credits; those that do not exist are noticed when they are asked for.
    pub(super) fn load(connection: &mut Connection, keys: &[Key]) -> AppResult<Self> {
        let credits = credits::load(connection, keys)?
            .into_iter()
            .map(|stored| ((stored.row.customer_id.clone(), stored.row.id), stored))
            .collect();
        Ok(Self { credits, ..Self::default() })
    }

    /// A credit as this batch leaves it.
    pub(super) fn credit(&mut self, key: &Key) -> Result<&mut StoredCredit, Refusal> {
        self.credits.get_mut(key).ok_or(Refusal::Unknown)
    }

    /// Adds the rows of a movement that the domain allowed.
    pub(super) fn add(
        &mut self,
        connection: &mut Connection,
        key: &Key,
        movement: &Movement,
        reason: Option<&str>,
    ) -> AppResult<()> {
        let Some(stored) = self.credits.get(key) else {
            return Err(StoreError::corrupt("a movement of a credit that was not read").into());
        };
        let credit = stored.row.clone();
        let (debit_account, credit_account) = match movement.original {
            None => (credit.owed_account, self.target(connection, &credit, movement.code)?),
            Some(original) if original == stored.credit.id() => {
                let sum = self.given_back.entry(credit.budget_id).or_default();
                *sum = sum
                    .checked_add(movement.amount.minor())
                    .ok_or_else(|| StoreError::corrupt("the total of a batch is beyond what can be stored"))?;
                self.returned.entry((credit.policy_id, credit.asset_id)).or_default().push(Returned {
                    customer: credit.customer_id.clone(),
                    credit: credit.id,
                    amount: movement.amount.minor(),
                });
                (credit.owed_account, credit.provision_account)
            }
            Some(original) => {
                let mut moved = stored.credit.movements().iter();
                let code = moved.find(|known| known.transfer == original).map(|known| known.code);
                let code = code.ok_or_else(|| StoreError::corrupt("a reversal of a transfer that was not read"))?;
                (self.target(connection, &credit, code)?, credit.owed_account)
            }
        };
        let subject = match movement.original {
            None => format!("credit/{}", credit.id),
            Some(original) => format!("transfer/{original}"),
        };
        self.movements.push(MovementRow::new(&credit, movement, reason)?);
        self.transfers.push(TransferRow {
            customer_id: credit.customer_id.into(),
            id: movement.transfer.0,
            posting_id: 0,
            amount: movement.amount.minor(),
            debit_account,
            credit_account,
            asset_id: credit.asset_id,
            policy_version_id: credit.policy_version_id,
            code: movement.code.number(),
            subject: subject.into(),
        });
        Ok(())
    }

    /// The account a movement goes into, asked for once in a batch.
    fn target(&mut self, connection: &mut Connection, credit: &CreditRow, code: TransferCode) -> AppResult<i32> {
        // A budget's provision stands for its service and asset.
        let key = (credit.provision_account, code.number());
        if let Some(known) = self.targets.get(&key) {
            return Ok(*known);
        }
        let account = credits::target_account(connection, credit, code)?;
        self.targets.insert(key, account);
        Ok(account)
    }

    /// Writes all; the caller's transaction makes it all or nothing. Nothing is written when nothing moves. `beside` writes
    /// what belongs to the posting before it gets its time.
    pub(super) fn write(
        mut self,
        connection: &mut Connection,
        entry: AuditEntry,
        beside: impl FnOnce(&mut Connection, i64) -> AppResult<()>,
    ) -> AppResult<()> {
        if self.transfers.is_empty() {
            return Ok(());
        }
        let posting = ledger::open_posting(connection, None)?;
        self.transfers.iter_mut().for_each(|row| row.posting_id = posting.id());
        // Everybody writes in this order, so that two batches with the same credits wait instead of deadlocking.
        self.movements.sort_by(|a, b| (&a.customer_id, a.credit_id, a.seq).cmp(&(&b.customer_id, b.credit_id, b.seq)));
        self.transfers.sort_by(|a, b| (&a.customer_id, a.id).cmp(&(&b.customer_id, b.id)));
        credits::record_movements(connection, &self.movements)?;
        ledger::record(connection, &self.transfers)?;
        for ((policy, asset), returned) in &self.returned {
            programmes::give_back(connection, *policy, *asset, returned)?;
        }
        for (budget, amount) in self.given_back {
            ledger::give_back(connection, budget, amount)?;
        }
        audit::append(connection, &[entry])?;
        beside(connection, posting.id())?;
        Ok(posting.seal(connection)?)
    }
}
