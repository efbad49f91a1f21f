//! JSON that is kept as it was written.

use diesel::deserialize::{FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::pg::{Pg, PgValue};
use diesel::serialize::{Output, ToSql};
use diesel::sql_types::{Json, Text};
use redress_domain::hex_bytes::HexBytes;
use redress_domain::merkle::Hash;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::error::{StoreError, StoreResult};

/// What most assessments take, so that one's text grows into no larger room while it is written.
const USUAL: usize = 4096;

/// The text of a `json` or `text` column, byte for byte; not looked into before somebody reads it.
#[derive(Debug, Clone, PartialEq, Eq, AsExpression, FromSqlRow)]
#[diesel(sql_type = Text)]
pub struct JsonText(Box<str>);

impl JsonText {
    /// Writes a value.
    pub fn of(value: &impl Serialize) -> StoreResult<Self> {
        let mut text = Vec::with_capacity(USUAL);
        serde_json::to_writer(&mut text, value).map_err(StoreError::corrupt)?;
        Ok(Self(String::from_utf8(text).map_err(StoreError::corrupt)?.into_boxed_str()))
    }

    /// Reads a value; a text that is not one is corrupt.
    pub fn read<T: DeserializeOwned>(&self) -> StoreResult<T> {
        serde_json::from_str(&self.0).map_err(StoreError::corrupt)
    }

    /// SHA-256 of the text.
    #[must_use]
    pub fn hash(&self) -> Hash {
        HexBytes(Sha256::digest(self.0.as_bytes()).into())
    }
}

impl FromSql<Json, Pg> for JsonText {
    fn from_sql(value: PgValue<'_>) -> diesel::deserialize::Result<Self> {
        Ok(Self(std::str::from_utf8(value.as_bytes())?.into()))
    }
}

impl FromSql<Text, Pg> for JsonText {
    fn from_sql(value: PgValue<'_>) -> diesel::deserialize::Result<Self> {
        Ok(Self(std::str::from_utf8(value.as_bytes())?.into()))
    }
}

impl ToSql<Text, Pg> for JsonText {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> diesel::serialize::Result {
        <str as ToSql<Text, Pg>>::to_sql(&self.0, out)
    }
}
