//! Rows in the binary format of COPY (PostgreSQL's manual, `sql-copy`): what a batch writes by the million is encoded by
//! hand, so that it goes out in large pieces and other work is done while the server takes them in.

use std::collections::VecDeque;
use std::io::{Error, Result, Write};

use uuid::Uuid;

/// Signature, no flags, no extension.
const HEADER: &[u8; 19] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What follows the last row.
const TRAILER: i16 = -1;
/// How many bytes go out at once, about.
const PIECE: usize = 64 * 1024;

/// How many pieces are kept back at most: what the server has left to take in while the last things are done to the rows here.
const KEPT_BACK: usize = 8;

/// A writer of rows.
pub(crate) struct BinaryRows<'w> {
    out: &'w mut dyn Write,
    bytes: Vec<u8>,
    kept: VecDeque<Vec<u8>>,
    made: usize,
}

impl<'w> BinaryRows<'w> {
    /// Begins; [`Self::finish`] ends.
    pub(crate) fn new(out: &'w mut dyn Write) -> Self {
        let mut bytes = piece();
        bytes.extend_from_slice(HEADER);
        Self { out, bytes, kept: VecDeque::new(), made: 0 }
    }

    /// Begins a row of so many columns, whose fields follow.
    pub(crate) fn row(&mut self, columns: i16) -> Result<()> {
        if self.bytes.len() >= PIECE {
            self.kept.push_back(std::mem::replace(&mut self.bytes, piece()));
            self.made += 1;
            // The first go out at once: the server has nothing else to do.
            self.send(KEPT_BACK.min(self.made / 4))?;
        }
        self.bytes.extend_from_slice(&columns.to_be_bytes());
        Ok(())
    }

    /// Sends all pieces but the last so many.
    fn send(&mut self, but: usize) -> Result<()> {
        let ready = self.kept.len().saturating_sub(but);
        self.kept.drain(..ready).try_for_each(|piece| self.out.write_all(&piece))
    }

    /// A `bytea`, or the bytes of anything else.
    pub(crate) fn bytes(&mut self, value: &[u8]) -> Result<()> {
        let length = i32::try_from(value.len()).map_err(Error::other)?;
        self.bytes.extend_from_slice(&length.to_be_bytes());
        self.bytes.extend_from_slice(value);
        Ok(())
    }

    /// A `text`.
    pub(crate) fn text(&mut self, value: &str) -> Result<()> {
        self.bytes(value.as_bytes())
    }

    /// A `uuid`.
    pub(crate) fn uuid(&mut self, value: Uuid) -> Result<()> {
        self.bytes(value.as_bytes())
    }

    /// A `bigint`.
    pub(crate) fn int8(&mut self, value: i64) -> Result<()> {
        self.bytes(&value.to_be_bytes())
    }

    /// An `integer`.
    pub(crate) fn int4(&mut self, value: i32) -> Result<()> {
        self.bytes(&value.to_be_bytes())
    }

    /// A `smallint`.
    pub(crate) fn int2(&mut self, value: i16) -> Result<()> {
        self.bytes(&value.to_be_bytes())
    }

    /// Whether there are pieces yet to be sent.
    pub(crate) fn has_kept_back(&self) -> bool {
        !self.kept.is_empty()
    }

    /// Ends.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.bytes.extend_from_slice(&TRAILER.to_be_bytes());
        self.send(0)?;
        self.out.write_all(&self.bytes)
    }
}

fn piece() -> Vec<u8> {
    Vec::with_capacity(PIECE + PIECE / 4)
}
