//! What a holding is, apart from whose it is and by what name.
//!
//! A roster says the same of many customers: the same product over the same days from the same channel. Such rows are read once
//! and share what was read, and whoever decides on them can tell that they say the same.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, Utc};
use diesel::deserialize::{FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::pg::{Pg, PgValue};
use diesel::serialize::{IsNull, Output, ToSql};
use diesel::sql_types::Json;
use foldhash::{HashMap, HashMapExt};
use redress_domain::{Attributes, Holding};
use serde::{Deserialize, Serialize, Serializer};
use smol_str::SmolStr;

use crate::error::{StoreError, StoreResult};

/// What a holding is, as a `json` column. Copies share it.
#[derive(Debug, Clone, AsExpression, FromSqlRow)]
#[diesel(sql_type = Json)]
pub struct HeldFacts(Arc<Remembered>);

#[derive(Debug)]
struct Remembered {
    number: Option<u64>,
    /// What it says, or why it cannot be read.
    said: Result<Said, String>,
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
        let said = Said { kind, product, valid_from, valid_until, attributes };
        Self(Arc::new(Remembered { number: None, said: Ok(said) }))
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

    /// A number that only rows have that say the same; none where nobody looked for others.
    #[must_use]
    pub fn number(&self) -> Option<u64> {
        self.0.number
    }

    /// What they say.
    pub(crate) fn read(&self) -> StoreResult<&Said> {
        self.0.said.as_ref().map_err(StoreError::corrupt)
    }

    fn parse(text: &[u8], number: Option<u64>) -> Self {
        let said = serde_json::from_slice(text).map_err(|error| error.to_string());
        Self(Arc::new(Remembered { number, said }))
    }
}

/// How many texts are remembered, at most.
const REMEMBERED: usize = 4_096;
/// How long a text may be to be remembered, in bytes: what a thread keeps stays small.
const LONGEST: usize = 512;
/// How many rows are read without looking for their like where that did not pay.
const LEFT_ALONE: usize = 16 * REMEMBERED;

/// What this thread read before.
#[derive(Default)]
struct Memory {
    known: HashMap<Box<[u8]>, HeldFacts>,
    hits: usize,
    left_alone: usize,
}

thread_local! {
    // Diesel reads a column from its bytes alone: there is no other place to remember the ones before.
    static MEMORY: RefCell<Memory> = RefCell::new(Memory { known: HashMap::new(), ..Memory::default() });
}

impl Memory {
    fn read(&mut self, text: &[u8]) -> HeldFacts {
        if text.len() > LONGEST {
            return HeldFacts::parse(text, None);
        }
        if self.left_alone > 0 {
            self.left_alone -= 1;
            return HeldFacts::parse(text, None);
        }
        if let Some(known) = self.known.get(text) {
            self.hits += 1;
            return known.clone();
        }
        if self.known.len() == REMEMBERED {
            self.known.clear();
            if std::mem::take(&mut self.hits) < REMEMBERED {
                self.left_alone = LEFT_ALONE;
            }
        }
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let facts = HeldFacts::parse(text, Some(NEXT.fetch_add(1, Ordering::Relaxed)));
        self.known.insert(text.into(), facts.clone());
        facts
    }
}

impl FromSql<Json, Pg> for HeldFacts {
    fn from_sql(value: PgValue<'_>) -> diesel::deserialize::Result<Self> {
        Ok(MEMORY.with_borrow_mut(|memory| memory.read(value.as_bytes())))
    }
}

impl ToSql<Json, Pg> for HeldFacts {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> diesel::serialize::Result {
        serde_json::to_writer(out, self.read()?)?;
        Ok(IsNull::No)
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
        let read = HeldFacts::parse(text.as_bytes(), None);
        assert_eq!(serde_json::to_string(read.read().unwrap()).unwrap(), text);
    }

    #[test]
    fn rows_that_say_the_same_share_it_until_rows_hardly_do() {
        let mut memory = Memory { known: HashMap::new(), ..Memory::default() };
        let mut read = |kind: usize| memory.read(format!(r#"["k{kind}","",null,null,{{}}]"#).as_bytes()).number();
        let first = read(0);
        assert!(first.is_some() && read(0) == first && read(1) != first);
        (2..=REMEMBERED).for_each(|kind| assert!(read(kind).is_some()));
        // Each was another: for a while nobody looks.
        assert_eq!((read(0), read(0)), (None, None));
        (2..LEFT_ALONE).for_each(|_| assert_eq!(read(0), None));
        let again = read(0);
        assert!(again.is_some() && again != first && read(0) == again);
    }
}
