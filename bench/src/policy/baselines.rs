//! What the engine is compared with: hand-written functions over the same values, and the crate `cel`.

use std::collections::HashMap;

use cel::{Context, Env, Program, Value};
use chrono::{DateTime, TimeDelta, Utc};
use redress_domain::holding::{Attribute, Attributes, Holding};
use redress_domain::id::{CustomerId, HoldingRef, ServiceId};
use redress_domain::policy::{FactValue, Facts};
use rust_decimal::Decimal;

/// Small merchants' losses, as in design.md.
pub(crate) const K3: &str = include_str!("../../../domain/tests/policies/merchant-loss.toml");
/// Melon passes.
pub(crate) const MELON: &str = include_str!("../../../domain/tests/policies/melon.toml");

/// The conditions of K3's rules, word for word.
const K3_CONDITIONS: [&str; 3] =
    ["!customer.merchant || claim.loss == 0", "claim.loss <= 300000", "claim.loss <= 500000"];
/// The conditions of Melon's rules; the two written instants are variables, or CEL would parse them for each subject.
const MELON_CONDITIONS: [&str; 3] = [
    "holding.channel == 'app_store' && holding.valid_from < day_after && holding.valid_until > day",
    "holding.valid_from < day_after && holding.valid_until > day",
    "holding.kind == 'pass' && holding.valid_until == day",
];
/// The same rules as one expression over flat variables, the form that suits CEL best.
const K3_FLAT: &str = "!merchant || loss == 0 ? 0 : loss <= 300000 ? 1 : loss <= 500000 ? 2 : 3";
const MELON_FLAT: &str = "channel == 'app_store' && from < day_after && until > day ? 0 \
    : from < day_after && until > day ? 1 : kind == 'pass' && until == day ? 2 : 3";

/// What somebody gets, in the words that all contestants share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// So much; whether it is days.
    Award(bool, i64),
    Decline,
    Review,
    Error,
}

/// A merchant's claim.
pub(crate) struct Merchant {
    pub(crate) fields: Facts,
    pub(crate) account: Attributes,
}

impl Merchant {
    /// The n-th of the varied inputs: around every bound, merchants or not.
    pub(crate) fn varied(n: usize) -> Option<Self> {
        const LOSSES: [i64; 8] = [0, 1, 299_999, 300_000, 300_001, 500_000, 500_001, 40_000_000];
        let n = i64::try_from(n).ok()?;
        let loss = Decimal::from(LOSSES.get(usize::try_from(n % 8).ok()?)? + if n % 3 == 0 { 0 } else { n / 8 * 700 });
        let merchant = n % 5 != 0;
        let mut fields = Facts::new();
        fields.set("loss", FactValue::Number(loss));
        let account = Attributes::new([("merchant".to_owned(), Attribute::Bool(merchant))]).ok()?;
        Some(Self { fields, account })
    }
}

impl Merchant {
    /// The claim's loss and whether the customer is a merchant, read from the records.
    fn read(&self) -> Option<(Decimal, bool)> {
        match (self.fields.get("loss"), self.account.get("merchant")) {
            (Some(FactValue::Number(loss)), Some(Attribute::Bool(merchant))) => Some((*loss, *merchant)),
            _ => None,
        }
    }
}

/// K3 as somebody would write it by hand, over the same records.
pub(crate) fn merchant(input: &Merchant) -> Answer {
    let Some((loss, merchant)) = input.read() else { return Answer::Error };
    if !merchant || loss.is_zero() {
        Answer::Decline
    } else if loss <= Decimal::from(300_000) {
        Answer::Award(false, 30_000)
    } else if loss <= Decimal::from(500_000) {
        Answer::Award(false, 50_000)
    } else {
        Answer::Review
    }
}

/// A Melon pass.
pub(crate) struct Melon {
    pub(crate) holding: Holding,
}

fn day() -> DateTime<Utc> {
    // 2022-10-16 at midnight in Seoul.
    DateTime::from_timestamp(1_665_846_000, 0).unwrap_or_default()
}

impl Melon {
    /// The n-th of the varied inputs: passes that end before, on and after the day, by every channel.
    pub(crate) fn varied(n: usize) -> Option<Self> {
        const CHANNELS: [&str; 3] = ["web", "app_store", "affiliate"];
        let step = i64::try_from(n).ok()?;
        let from = day() + TimeDelta::days(step % 43 - 35) + TimeDelta::hours(step % 7);
        let until = day() + TimeDelta::days(step % 31 - 10);
        let channel = Attribute::Text((*CHANNELS.get(n % 3)?).into());
        Some(Self {
            holding: Holding {
                customer: CustomerId::parse(&format!("c{n}")).ok()?,
                service: ServiceId::parse("melon").ok()?,
                reference: HoldingRef::parse(&format!("h{n}")).ok()?,
                kind: if n.is_multiple_of(4) { "subscription".into() } else { "pass".into() },
                product: "hifi".into(),
                valid_from: Some(from),
                valid_until: Some(until),
                attributes: Attributes::new([("channel".to_owned(), channel)]).ok()?,
            },
        })
    }

    fn channel(&self) -> &str {
        match self.holding.attributes.get("channel") {
            Some(Attribute::Text(channel)) => channel,
            _ => "",
        }
    }

    /// What the rules ask about, each text refused unless it is one that the policy declares.
    fn read(&self) -> Option<Pass> {
        Some(Pass {
            from: self.holding.valid_from?,
            until: self.holding.valid_until?,
            kind: match &*self.holding.kind {
                "subscription" => Kind::Subscription,
                "pass" => Kind::Pass,
                _ => return None,
            },
            channel: match self.channel() {
                "web" => Channel::Web,
                "app_store" => Channel::AppStore,
                "affiliate" => Channel::Affiliate,
                _ => return None,
            },
        })
    }
}

#[derive(PartialEq)]
enum Kind {
    Subscription,
    Pass,
}

#[derive(PartialEq)]
enum Channel {
    Web,
    AppStore,
    Affiliate,
}

struct Pass {
    from: DateTime<Utc>,
    until: DateTime<Utc>,
    kind: Kind,
    channel: Channel,
}

/// Melon as somebody would write it by hand, over the same record.
pub(crate) fn melon(input: &Melon) -> Answer {
    let Some(pass) = input.read() else { return Answer::Error };
    let day = day();
    let valid = pass.from < day + TimeDelta::days(1) && pass.until > day;
    if pass.channel == Channel::AppStore && valid {
        Answer::Award(false, 1_500)
    } else if valid {
        Answer::Award(true, 3)
    } else if pass.kind == Kind::Pass && pass.until == day {
        Answer::Award(false, 1_500)
    } else {
        Answer::Decline
    }
}

/// Compiled CEL conditions and the context that its subjects' contexts are children of.
pub(crate) struct Cel {
    conditions: Vec<Program>,
    flat: Program,
    root: Context<'static, 'static>,
    answers: [Answer; 4],
}

impl Cel {
    pub(crate) fn k3() -> Result<Self, String> {
        let answers = [Answer::Decline, Answer::Award(false, 30_000), Answer::Award(false, 50_000), Answer::Review];
        Self::new(&K3_CONDITIONS, K3_FLAT, answers)
    }

    pub(crate) fn melon() -> Result<Self, String> {
        let answers =
            [Answer::Award(false, 1_500), Answer::Award(true, 3), Answer::Award(false, 1_500), Answer::Decline];
        let mut cel = Self::new(&MELON_CONDITIONS, MELON_FLAT, answers)?;
        cel.root.add_variable_from_value("day", Value::Timestamp(day().fixed_offset()));
        cel.root.add_variable_from_value("day_after", Value::Timestamp((day() + TimeDelta::days(1)).fixed_offset()));
        Ok(cel)
    }

    fn new(conditions: &[&str], flat: &str, answers: [Answer; 4]) -> Result<Self, String> {
        let compile = |source: &str| Env::stdlib().compile(source).map_err(|error| format!("{error:?}"));
        let conditions = conditions.iter().map(|source| compile(source)).collect::<Result<_, _>>()?;
        Ok(Self { conditions, flat: compile(flat)?, root: Context::default(), answers })
    }

    /// The first rule whose condition is true.
    fn first_match(&self, context: &Context<'_, '_>) -> Answer {
        for (condition, answer) in self.conditions.iter().zip(self.answers) {
            match condition.execute(context) {
                Ok(Value::Bool(true)) => return answer,
                Ok(Value::Bool(false)) => {}
                _ => return Answer::Error,
            }
        }
        self.answers[3]
    }

    fn flat(&self, context: &Context<'_, '_>) -> Answer {
        match self.flat.execute(context) {
            Ok(Value::Int(place)) => {
                usize::try_from(place).ok().and_then(|place| self.answers.get(place)).copied().unwrap_or(Answer::Error)
            }
            _ => Answer::Error,
        }
    }
}

fn map<const N: usize>(fields: [(&str, Value); N]) -> Value {
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<HashMap<String, Value>>().into()
}

pub(crate) fn cel_merchant(cel: &Cel, input: &Merchant) -> Answer {
    let Some((loss, merchant)) = input.read() else { return Answer::Error };
    let mut context = cel.root.new_inner_scope();
    let loss = i64::try_from(loss.mantissa()).unwrap_or(i64::MAX);
    context.add_variable_from_value("claim", map([("loss", Value::Int(loss))]));
    context.add_variable_from_value("customer", map([("merchant", Value::Bool(merchant))]));
    cel.first_match(&context)
}

pub(crate) fn cel_merchant_flat(cel: &Cel, input: &Merchant) -> Answer {
    let Some((loss, merchant)) = input.read() else { return Answer::Error };
    let mut context = cel.root.new_inner_scope();
    context.add_variable_from_value("loss", i64::try_from(loss.mantissa()).unwrap_or(i64::MAX));
    context.add_variable_from_value("merchant", merchant);
    cel.flat(&context)
}

pub(crate) fn cel_melon(cel: &Cel, input: &Melon) -> Answer {
    let mut context = cel.root.new_inner_scope();
    let (Some(from), Some(until)) = (input.holding.valid_from, input.holding.valid_until) else { return Answer::Error };
    let holding = map([
        ("valid_from", Value::Timestamp(from.fixed_offset())),
        ("valid_until", Value::Timestamp(until.fixed_offset())),
        ("kind", (&*input.holding.kind).into()),
        ("channel", input.channel().into()),
    ]);
    context.add_variable_from_value("holding", holding);
    cel.first_match(&context)
}

pub(crate) fn cel_melon_flat(cel: &Cel, input: &Melon) -> Answer {
    let mut context = cel.root.new_inner_scope();
    let (Some(from), Some(until)) = (input.holding.valid_from, input.holding.valid_until) else { return Answer::Error };
    context.add_variable_from_value("from", Value::Timestamp(from.fixed_offset()));
    context.add_variable_from_value("until", Value::Timestamp(until.fixed_offset()));
    context.add_variable_from_value("kind", &*input.holding.kind);
    context.add_variable_from_value("channel", input.channel());
    cel.flat(&context)
}
