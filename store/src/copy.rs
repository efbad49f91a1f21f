//! Rows in the binary format of COPY (PostgreSQL's manual, `sql-copy`): what a batch writes by the million is encoded by
//! hand, so that it goes out in large pieces and other work is done while the server takes them in.

use std::io::{Error, Result, Write};

use uuid::Uuid;

/// Signature, no flags, no extension.
const HEADER: &[u8; 19] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What follows the last row.
const TRAILER: i16 = -1;
/// How many bytes go out at once, about.
const PIECE: usize = 64 * 1024;

/// A writer of rows.
pub(crate) struct BinaryRows<'w> {
    out: &'w mut dyn Write,
    bytes: Vec<u8>,
}

impl<'w> BinaryRows<'w> {
    /// Begins; [`Self::finish`] ends.
    pub(crate) fn new(out: &'w mut dyn Write) -> Self {
        let mut bytes = Vec::with_capacity(PIECE + PIECE / 4);
        bytes.extend_from_slice(HEADER);
        Self { out, bytes }
    }

    /// Begins a row of so many columns, whose fields follow.
    pub(crate) fn row(&mut self, columns: i16) -> Result<()> {
        if self.bytes.len() >= PIECE {
            self.out.write_all(&self.bytes)?;
            self.bytes.clear();
        }
        self.bytes.extend_from_slice(&columns.to_be_bytes());
        Ok(())
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

    /// Ends.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.bytes.extend_from_slice(&TRAILER.to_be_bytes());
        self.out.write_all(&self.bytes)
    }
}
