//! Every transfer against the seal of its posting.

use std::collections::VecDeque;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use redress_domain::hex_bytes::HexBytes;
use redress_domain::log::{Fault, PostingReader, TransferFacts};

use crate::connection::Connection;
use crate::error::StoreResult;
use crate::ledger::TransferRow;
use crate::schema::{posting, posting_seal};
use crate::verify::Check;

/// How many seals are read at a time; that of a large chunk has some 60 kB.
const SEALS: i64 = 100;
/// How many transfers are fetched at a time.
const FETCH: usize = 10_000;

/// A posting's number and its seal: transfers, root, salt, marks.
type Sealed = (i64, Option<(i64, Vec<u8>, Vec<u8>, Vec<u8>)>);

/// Reads all transfers once, posting by posting. The database sorts them, on disk where they are many.
pub(super) fn check(connection: &mut Connection) -> StoreResult<Check> {
    let mut check = Check::new("every transfer is what was sealed with its posting");
    let mut transfers = Transfers::open(connection)?;
    let mut last = i64::MIN;
    loop {
        let page: Vec<Sealed> = posting::table
            .left_join(posting_seal::table.on(posting_seal::posting_id.eq(posting::id)))
            .filter(posting::id.gt(last))
            .order(posting::id)
            .limit(SEALS)
            .select((
                posting::id,
                (posting_seal::transfers, posting_seal::root, posting_seal::salt, posting_seal::marks).nullable(),
            ))
            .load(connection)?;
        let Some((reached, _)) = page.last() else { break };
        last = *reached;
        for sealed in &page {
            one(connection, &mut transfers, sealed, &mut check)?;
        }
    }
    while let Some(row) = transfers.next_before(connection, None)? {
        check.rows += 1;
        homeless(&mut check, &row);
    }
    transfers.close(connection)?;
    Ok(check)
}

fn homeless(check: &mut Check, row: &TransferRow) {
    check.fault(format!(
        "{} was inserted, or its posting deleted: posting {} does not exist",
        name(row),
        row.posting_id
    ));
}

fn name(row: &TransferRow) -> String {
    format!("transfer {} of customer {}", row.id, row.customer_id)
}

/// Reads the transfers of one posting.
fn one(
    connection: &mut Connection,
    transfers: &mut Transfers,
    (id, seal): &Sealed,
    check: &mut Check,
) -> StoreResult<()> {
    while let Some(row) = transfers.next_before(connection, Some(*id))? {
        check.rows += 1;
        homeless(check, &row);
    }
    // A posting without a seal is named by another check; its transfers are only counted here.
    let sound = seal.as_ref().and_then(|(count, root, salt, marks)| {
        Some((u64::try_from(*count).ok()?, HexBytes::from_slice(root)?, HexBytes::from_slice(salt)?, marks))
    });
    if seal.is_some() && sound.is_none() {
        check.fault(format!("the seal of posting {id} was edited"));
    }
    let mut reader = sound.map(|(count, root, salt, marks)| (PostingReader::new(salt, marks), count, root));
    let mut faults = Vec::new();
    while let Some(row) = transfers.next_before(connection, id.checked_add(1))? {
        check.rows += 1;
        if let Some((reader, ..)) = &mut reader {
            reader.take(&TransferFacts::from(&row), &mut faults);
        }
        faults.drain(..).for_each(|fault| say(check, *id, &fault, Some(&row)));
    }
    if let Some((reader, count, root)) = reader {
        reader.finish(count, &root, &mut faults);
    }
    faults.iter().for_each(|fault| say(check, *id, fault, None));
    Ok(())
}

fn say(check: &mut Check, posting: i64, fault: &Fault, row: Option<&TransferRow>) {
    let row = || row.map(name).unwrap_or_default();
    check.fault(match fault {
        Fault::Edited(_) => format!("{} in posting {posting} was edited", row()),
        Fault::Inserted(_) => format!("{} was inserted into posting {posting}", row()),
        Fault::Deleted(id) => format!("the transfer of posting {posting} whose id begins {id} was deleted"),
        Fault::Rewritten => format!("posting {posting} was rewritten: its transfers are not those of its sealed root"),
    });
}

/// All transfers in the order of their postings and ids, through a cursor of the database.
struct Transfers {
    waiting: VecDeque<TransferRow>,
}

impl Transfers {
    fn open(connection: &mut Connection) -> StoreResult<Self> {
        // A cursor is planned for its first rows unless it is told that all will be read.
        connection.batch_execute(
            "SET LOCAL cursor_tuple_fraction = 1;
             DECLARE sealed_transfer NO SCROLL CURSOR FOR
                 SELECT customer_id, id, posting_id, amount, debit_account, credit_account, asset_id,
                        policy_version_id, code, subject
                 FROM transfer ORDER BY posting_id, id, customer_id",
        )?;
        Ok(Self { waiting: VecDeque::new() })
    }

    /// The next transfer, if its posting is below `end`.
    fn next_before(&mut self, connection: &mut Connection, end: Option<i64>) -> StoreResult<Option<TransferRow>> {
        if self.waiting.is_empty() {
            let fetch = format!("FETCH FORWARD {FETCH} FROM sealed_transfer");
            self.waiting = diesel::sql_query(fetch).load::<TransferRow>(connection)?.into();
        }
        let is_below = |row: &TransferRow| end.is_none_or(|end| row.posting_id < end);
        Ok(if self.waiting.front().is_some_and(is_below) { self.waiting.pop_front() } else { None })
    }

    fn close(self, connection: &mut Connection) -> StoreResult<()> {
        Ok(connection.batch_execute("CLOSE sealed_transfer")?)
    }
}
