//! What a holding is, apart from whose it is and by what name.
//!
//! A roster says the same of many customers: the same product over the same days from the same channel. Such a text is kept once
//! ([`CommonFacts`]), and whoever decides on many holdings can tell by its number that they say the same.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use diesel::connection::DefaultLoadingMode;
use diesel::deserialize::{FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::pg::{Pg, PgValue};
use diesel::prelude::*;
use diesel::serialize::{IsNull, Output, ToSql};
use diesel::sql_types::{BigInt, Float, Integer, Json};
use foldhash::HashMap;
use redress_domain::{Attributes, Holding};
use serde::{Deserialize, Serialize, Serializer};
use smol_str::SmolStr;

use crate::connection::Connection;
use crate::error::{StoreError, StoreResult};
use crate::schema::common_facts;

/// What a holding is, as a `json` column. Copies share it.
#[derive(Debug, Clone, AsExpression, FromSqlRow)]
#[diesel(sql_type = Json)]
pub struct HeldFacts {
    common_id: Option<i32>,
    /// What it says, or why it cannot be read.
    said: Arc<Result<Said, String>>,
}

/// The facts, stored as a list in this order.
#[derive(Debug, Clone, Deserialize)]
#[serde(from = "Spelled")]
pub(crate) struct Said {
    pub(crate) kind: SmolStr,
    pub(crate) product: SmolStr,
    pub(crate) valid_from: Option<DateTime<Utc>>,
    pub(crate) valid_until: Option<DateTime<Utc>>,
    pub(crate) attributes: Attributes,
}

type Spelled = (SmolStr, SmolStr, Option<DateTime<Utc>>, Option<DateTime<Utc>>, Attributes);

impl From<Spelled> for Said {
    fn from((kind, product, valid_from, valid_until, attributes): Spelled) -> Self {
        Self { kind, product, valid_from, valid_until, attributes }
    }
}

impl Serialize for Said {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.kind, &self.product, self.valid_from, self.valid_until, &self.attributes).serialize(serializer)
    }
}

impl HeldFacts {
    /// The facts of a holding.
    #[must_use]
    pub fn of(holding: Holding) -> Self {
        let Holding { kind, product, valid_from, valid_until, attributes, .. } = holding;
        Self::new(Ok(Said { kind, product, valid_from, valid_until, attributes }))
    }

    /// What they say beside kind, product and validity.
    pub fn attributes(&self) -> StoreResult<&Attributes> {
        Ok(&self.read()?.attributes)
    }

    /// Whether it is the customer's account at the service; what cannot be read is not.
    #[must_use]
    pub fn is_account(&self) -> bool {
        self.read().is_ok_and(|said| said.kind == "account")
    }

    /// The key that all holdings have whose facts are these, where they are kept once and it was read by [`CommonFacts`].
    #[must_use]
    pub fn common_id(&self) -> Option<i32> {
        self.common_id
    }

    /// What they say.
    pub(crate) fn read(&self) -> StoreResult<&Said> {
        self.said.as_ref().as_ref().map_err(StoreError::corrupt)
    }

    fn new(said: Result<Said, String>) -> Self {
        Self { common_id: None, said: Arc::new(said) }
    }
}

/// Those of a holding whose facts are not there, as only a hand at the database could bring about.
impl Default for HeldFacts {
    fn default() -> Self {
        Self::new(Err("its facts are not there".to_owned()))
    }
}

impl FromSql<Json, Pg> for HeldFacts {
    fn from_sql(value: PgValue<'_>) -> diesel::deserialize::Result<Self> {
        Ok(Self::new(serde_json::from_slice(value.as_bytes()).map_err(|error| error.to_string())))
    }

    fn from_nullable_sql(value: Option<PgValue<'_>>) -> diesel::deserialize::Result<Self> {
        value.map_or_else(|| Ok(Self::default()), Self::from_sql)
    }
}

impl ToSql<Json, Pg> for HeldFacts {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> diesel::serialize::Result {
        serde_json::to_writer(out, self.read()?)?;
        Ok(IsNull::No)
    }
}

/// How many rows of a file are looked at for what is common in it, about.
const LOOKED_AT: f32 = 200_000.0;
/// How many of them say the same where that is common, at least: so few texts are common that every worker can remember all.
const COMMON: i64 = 48;
/// How long such a text may be, in bytes: it is the key of an index.
const LONGEST: i32 = 512;

/// Keeps once what many of the rows on their way in are. Where it is not found out that a text is common, it only costs room.
pub(crate) fn keep_common(connection: &mut Connection, incoming: i64) -> StoreResult<()> {
    #[expect(clippy::cast_precision_loss, clippy::float_arithmetic, reason = "the size of a sample")]
    let percent = (100.0 * LOOKED_AT / incoming.max(1) as f32).min(100.0);
    // Diesel has no words for a sample, nor for a conflict on an expression.
    diesel::sql_query(
        "INSERT INTO common_facts (facts)
         SELECT facts::json FROM (
             SELECT facts::text AS facts FROM holding_incoming TABLESAMPLE SYSTEM ($1) REPEATABLE (0)
             WHERE octet_length(facts::text) <= $2 GROUP BY 1 HAVING count(*) >= $3) AS often
         WHERE NOT EXISTS (SELECT FROM common_facts AS kept WHERE kept.facts::text = often.facts)
         ORDER BY often.facts ON CONFLICT DO NOTHING",
    )
    .bind::<Float, _>(percent)
    .bind::<Integer, _>(LONGEST)
    .bind::<BigInt, _>(COMMON)
    .execute(connection)?;
    Ok(())
}

/// What many holdings are, as far as it was met: it never changes.
#[derive(Debug, Default)]
pub struct CommonFacts(HashMap<i32, HeldFacts>);

impl CommonFacts {
    /// The facts under this key, where they were met before.
    pub(crate) fn known(&self, id: i32) -> Option<HeldFacts> {
        self.0.get(&id).cloned()
    }

    /// Meets the facts under these keys.
    pub(crate) fn meet(&mut self, connection: &mut Connection, ids: &BTreeSet<i32>) -> StoreResult<()> {
        if ids.is_empty() {
            return Ok(());
        }
        let found = common_facts::table
            .filter(common_facts::id.eq_any(ids))
            .select((common_facts::id, common_facts::facts))
            .load_iter::<(i32, HeldFacts), DefaultLoadingMode>(connection)?;
        for row in found {
            let (id, facts) = row?;
            self.0.insert(id, HeldFacts { common_id: Some(id), ..facts });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use redress_domain::Attribute;

    use super::*;

    #[test]
    fn facts_are_a_short_list_and_numbers_stay_exact() {
        let fee = Attribute::Number("39000.10".parse().unwrap());
        let said = Said {
            kind: "pass".into(),
            product: "".into(),
            valid_from: "2022-10-01T00:00:00+09:00".parse::<DateTime<Utc>>().ok(),
            valid_until: None,
            attributes: Attributes::new([("fee".to_owned(), fee)]).unwrap(),
        };
        let text = r#"["pass","","2022-09-30T15:00:00Z",null,{"fee":"39000.10"}]"#;
        assert_eq!(serde_json::to_string(&said).unwrap(), text);
        let read = HeldFacts::new(serde_json::from_str(text).map_err(|error| error.to_string()));
        assert_eq!(serde_json::to_string(read.read().unwrap()).unwrap(), text);
    }
}
