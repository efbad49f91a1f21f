//! What the engine is compared with: hand-written functions over the same values, and the crate `cel`.

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

/// The same rules as one CEL expression each: -1 declines, -2 is reviewed, days are negative below -100.
pub(crate) const K3_CEL: &str = "!merchant || loss == 0 ? -1 : loss <= 300000 ? 30000 : loss <= 500000 ? 50000 : -2";
const MELON_CEL: &str = "channel == 'app_store' && from < day_after && until > day ? 1500 \
    : from < day_after && until > day ? -103 \
    : kind == 'pass' && until == day ? 1500 : -1";

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
    loss: Decimal,
    merchant: bool,
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
        Some(Self { fields, account, loss, merchant })
    }
}

/// K3 as somebody would write it by hand.
pub(crate) fn merchant(input: &Merchant) -> Answer {
    if !input.merchant || input.loss.is_zero() {
        Answer::Decline
    } else if input.loss <= Decimal::from(300_000) {
        Answer::Award(false, 30_000)
    } else if input.loss <= Decimal::from(500_000) {
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
                kind: if n % 4 == 0 { "subscription".into() } else { "pass".into() },
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
}

/// Melon as somebody would write it by hand, over the same record.
pub(crate) fn melon(input: &Melon) -> Answer {
    let (Some(from), Some(until)) = (input.holding.valid_from, input.holding.valid_until) else { return Answer::Error };
    let day = day();
    let valid = from < day + TimeDelta::days(1) && until > day;
    if input.channel() == "app_store" && valid {
        Answer::Award(false, 1_500)
    } else if valid {
        Answer::Award(true, 3)
    } else if &*input.holding.kind == "pass" && until == day {
        Answer::Award(false, 1_500)
    } else {
        Answer::Decline
    }
}

/// A compiled CEL expression and the context that its subjects' contexts are children of.
pub(crate) struct Cel {
    program: Program,
    root: Context<'static, 'static>,
}

impl Cel {
    pub(crate) fn new(source: &str) -> Result<Self, String> {
        let program = Env::stdlib().compile(source).map_err(|error| format!("{error:?}"))?;
        Ok(Self { program, root: Context::default() })
    }

    pub(crate) fn melon() -> Result<Self, String> {
        let mut cel = Self::new(MELON_CEL)?;
        // CEL would parse timestamp('…') again for each subject; as variables of the root they cost nothing.
        cel.root.add_variable_from_value("day", Value::Timestamp(day().fixed_offset()));
        cel.root.add_variable_from_value("day_after", Value::Timestamp((day() + TimeDelta::days(1)).fixed_offset()));
        Ok(cel)
    }

    fn answer(&self, context: &Context<'_, '_>) -> Answer {
        match self.program.execute(context) {
            Ok(Value::Int(-1)) => Answer::Decline,
            Ok(Value::Int(-2)) => Answer::Review,
            Ok(Value::Int(days)) if days < -100 => Answer::Award(true, -100 - days),
            Ok(Value::Int(amount)) => Answer::Award(false, amount),
            _ => Answer::Error,
        }
    }
}

pub(crate) fn cel_merchant(cel: &Cel, input: &Merchant) -> Answer {
    let mut context = cel.root.new_inner_scope();
    context.add_variable_from_value("loss", i64::try_from(input.loss.mantissa()).unwrap_or(i64::MAX));
    context.add_variable_from_value("merchant", input.merchant);
    cel.answer(&context)
}

pub(crate) fn cel_melon(cel: &Cel, input: &Melon) -> Answer {
    let mut context = cel.root.new_inner_scope();
    let (Some(from), Some(until)) = (input.holding.valid_from, input.holding.valid_until) else { return Answer::Error };
    context.add_variable_from_value("from", Value::Timestamp(from.fixed_offset()));
    context.add_variable_from_value("until", Value::Timestamp(until.fixed_offset()));
    context.add_variable_from_value("kind", &*input.holding.kind);
    context.add_variable_from_value("channel", input.channel());
    cel.answer(&context)
}
