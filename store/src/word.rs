//! Short texts, by the million.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;

use diesel::deserialize::{FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::pg::{Pg, PgValue};
use diesel::serialize::{Output, ToSql};
use diesel::sql_types::Text;
use redress_domain::id::CustomerId;
use smol_str::SmolStr;

/// A `text` column that is kept in place while it has at most 23 bytes, as names and references do: a row of a batch costs no
/// memory of its own for them. A longer one is shared by its copies.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, AsExpression, FromSqlRow)]
#[diesel(sql_type = Text)]
pub struct Word(SmolStr);

impl Word {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Deref for Word {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Word {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<SmolStr> for Word {
    fn from(text: SmolStr) -> Self {
        Self(text)
    }
}

impl From<CustomerId> for Word {
    fn from(id: CustomerId) -> Self {
        Self(id.into())
    }
}

impl From<String> for Word {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<Word> for SmolStr {
    fn from(word: Word) -> Self {
        word.0
    }
}

impl FromSql<Text, Pg> for Word {
    fn from_sql(value: PgValue<'_>) -> diesel::deserialize::Result<Self> {
        Ok(Self(SmolStr::new(std::str::from_utf8(value.as_bytes())?)))
    }
}

impl ToSql<Text, Pg> for Word {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> diesel::serialize::Result {
        <str as ToSql<Text, Pg>>::to_sql(&self.0, out)
    }
}
