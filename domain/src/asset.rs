//! What can be owed: money, service cash, points, time, coupons, items; each an exact count of minor units.

use std::fmt;
use std::str::FromStr;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

/// The class of an asset. It follows from the code, so no registry is needed to read a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AssetClass {
    /// A currency of ISO 4217, such as `KRW`.
    Money,
    /// Cash that only one service takes, such as `cash:melon`.
    Cash,
    /// Points of a programme, such as `points:mobility`.
    Points,
    /// Days or hours of a right, such as `day:melon` or `hour:webtoon-right`.
    Time,
    /// Coupons, counted in pieces, such as `coupon:store-2000`.
    Coupon,
    /// Items, counted in pieces, such as `item:emoticon-set`.
    Item,
}

impl AssetClass {
    /// The class's name as it stands in the interface and in storage.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Money => "money",
            Self::Cash => "cash",
            Self::Points => "points",
            Self::Time => "time",
            Self::Coupon => "coupon",
            Self::Item => "item",
        }
    }
}

/// Why a text is not an asset's code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AssetError {
    /// Three capital letters that ISO 4217 does not list as a currency known here.
    #[error("{0:?} is no currency of ISO 4217 known here")]
    UnknownCurrency(String),
    /// Neither a currency nor `class:name`.
    #[error(
        "{0:?} is no asset: write a currency (KRW) or one of cash:, points:, day:, hour:, minute:, coupon:, item: and a name of a-z, 0-9 and hyphens"
    )]
    Malformed(String),
    /// The scale is beyond what an amount can hold.
    #[error("a scale of {0} is beyond {MAX_SCALE}")]
    Scale(u8),
}

/// The code of an asset: `KRW`, `cash:melon`, `day:melon`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AssetCode(SmolStr);

/// Currencies and the number of their minor digits (ISO 4217, list one).
const CURRENCIES: &[(&str, u8)] = &[
    ("AUD", 2),
    ("BHD", 3),
    ("BRL", 2),
    ("CAD", 2),
    ("CHF", 2),
    ("CNY", 2),
    ("CZK", 2),
    ("DKK", 2),
    ("EUR", 2),
    ("GBP", 2),
    ("HKD", 2),
    ("HUF", 2),
    ("IDR", 2),
    ("ILS", 2),
    ("INR", 2),
    ("ISK", 0),
    ("JPY", 0),
    ("KRW", 0),
    ("KWD", 3),
    ("MXN", 2),
    ("MYR", 2),
    ("NOK", 2),
    ("NZD", 2),
    ("PHP", 2),
    ("PLN", 2),
    ("RON", 2),
    ("SEK", 2),
    ("SGD", 2),
    ("THB", 2),
    ("TND", 3),
    ("TRY", 2),
    ("TWD", 2),
    ("USD", 2),
    ("VND", 0),
    ("ZAR", 2),
];

/// The largest number of minor digits an asset may have.
pub const MAX_SCALE: u8 = 6;
const MAX_CODE_LENGTH: usize = 48;

impl AssetCode {
    /// Parses a code: a currency of ISO 4217 in capitals, or `class:name`.
    pub fn parse(text: &str) -> Result<Self, AssetError> {
        if text.len() == 3 && text.bytes().all(|b| b.is_ascii_uppercase()) {
            return match currency_scale(text) {
                Some(_) => Ok(Self(text.into())),
                None => Err(AssetError::UnknownCurrency(text.to_owned())),
            };
        }
        let malformed = || AssetError::Malformed(text.chars().take(60).collect());
        if text.len() > MAX_CODE_LENGTH {
            return Err(malformed());
        }
        let (class, name) = text.split_once(':').ok_or_else(malformed)?;
        let named = !name.is_empty()
            && !name.starts_with('-')
            && !name.ends_with('-')
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if class_of_prefix(class).is_none() || !named {
            return Err(malformed());
        }
        Ok(Self(text.into()))
    }

    /// The code as it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The class, from the code alone.
    #[must_use]
    pub fn class(&self) -> AssetClass {
        self.0.split_once(':').and_then(|(prefix, _)| class_of_prefix(prefix)).unwrap_or(AssetClass::Money)
    }

    /// The scale the code has of itself: a currency's minor digits, 0 for all else.
    #[must_use]
    pub fn default_scale(&self) -> u8 {
        currency_scale(&self.0).unwrap_or(0)
    }
}

fn currency_scale(code: &str) -> Option<u8> {
    CURRENCIES.binary_search_by_key(&code, |(known, _)| known).ok().map(|at| CURRENCIES[at].1)
}

fn class_of_prefix(prefix: &str) -> Option<AssetClass> {
    Some(match prefix {
        "cash" => AssetClass::Cash,
        "points" => AssetClass::Points,
        "day" | "hour" | "minute" => AssetClass::Time,
        "coupon" => AssetClass::Coupon,
        "item" => AssetClass::Item,
        _ => return None,
    })
}

impl fmt::Display for AssetCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for AssetCode {
    type Err = AssetError;
    fn from_str(text: &str) -> Result<Self, AssetError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for AssetCode {
    type Error = AssetError;
    fn try_from(text: String) -> Result<Self, AssetError> {
        Self::parse(&text)
    }
}

impl From<AssetCode> for String {
    fn from(code: AssetCode) -> String {
        code.0.into()
    }
}

/// An asset: its code and the number of its minor digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Asset {
    code: AssetCode,
    scale: u8,
}

impl Asset {
    /// An asset with the scale its code has of itself.
    #[must_use]
    pub fn new(code: AssetCode) -> Self {
        let scale = code.default_scale();
        Self { code, scale }
    }

    /// An asset with a scale of its own, such as service cash counted in cents.
    pub fn with_scale(code: AssetCode, scale: u8) -> Result<Self, AssetError> {
        if scale > MAX_SCALE {
            return Err(AssetError::Scale(scale));
        }
        Ok(Self { code, scale })
    }

    /// The code.
    #[must_use]
    pub fn code(&self) -> &AssetCode {
        &self.code
    }

    /// The number of minor digits.
    #[must_use]
    pub fn scale(&self) -> u8 {
        self.scale
    }
}

/// Why a decimal is not an amount of an asset.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// The decimal has more digits than the asset; it must be rounded by name first, never in silence.
    #[error("{amount} has more than the {scale} decimal digits of the asset: round it by name first")]
    TooPrecise {
        /// The decimal.
        amount: Decimal,
        /// The asset's scale.
        scale: u8,
    },
    /// Beyond what storage holds (2^63 minor units).
    #[error("{0} is beyond the largest amount that can be held")]
    TooLarge(Decimal),
}

/// An exact number of minor units of some asset, as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Amount(i64);

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// An amount of so many minor units.
    #[must_use]
    pub const fn from_minor(units: i64) -> Self {
        Self(units)
    }

    /// The minor units.
    #[must_use]
    pub const fn minor(self) -> i64 {
        self.0
    }

    /// Takes a decimal over without loss; more digits than the scale is an error, never a rounding.
    pub fn from_decimal(amount: Decimal, scale: u8) -> Result<Self, AmountError> {
        let shifted = Decimal::from_i128_with_scale(10_i128.pow(u32::from(scale.min(MAX_SCALE))), 0)
            .checked_mul(amount)
            .ok_or(AmountError::TooLarge(amount))?;
        if !shifted.fract().is_zero() {
            return Err(AmountError::TooPrecise { amount, scale });
        }
        i64::try_from(shifted.trunc().mantissa() / 10_i128.pow(shifted.trunc().scale()))
            .map(Self)
            .map_err(|_| AmountError::TooLarge(amount))
    }

    /// The amount as a decimal with the asset's scale.
    #[must_use]
    pub fn to_decimal(self, scale: u8) -> Decimal {
        Decimal::from_i128_with_scale(i128::from(self.0), u32::from(scale))
    }

    /// The sum, or nothing when it is beyond what storage holds.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// The difference, or nothing when it is beyond what storage holds.
    #[must_use]
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }

    /// The sum, or the largest amount when it is beyond what storage holds.
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// By how much it is more than another: nothing where it is not.
    #[must_use]
    pub fn beyond(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0).max(0))
    }
}

/// A number with its thousands apart; anything but a number as it is.
#[must_use]
pub fn grouped(text: &str) -> String {
    let (sign, unsigned) = text.strip_prefix('-').map_or(("", text), |rest| ("-", rest));
    let (whole, fraction) =
        unsigned.split_once('.').map_or((unsigned, None), |(whole, fraction)| (whole, Some(fraction)));
    if whole.is_empty() || !whole.bytes().all(|b| b.is_ascii_digit()) {
        return text.to_owned();
    }
    let mut out = String::from(sign);
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    if let Some(fraction) = fraction {
        out.push('.');
        out.push_str(fraction);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!(grouped("1234567.50"), "1,234,567.50");
        assert_eq!(grouped("-300000"), "-300,000");
        assert_eq!(grouped("2022-10-15"), "2022-10-15");
    }

    #[test]
    fn codes_tell_class_and_scale() {
        let krw = AssetCode::parse("KRW").unwrap();
        assert_eq!((krw.class(), krw.default_scale()), (AssetClass::Money, 0));
        assert_eq!(AssetCode::parse("GBP").unwrap().default_scale(), 2);
        assert_eq!(AssetCode::parse("day:melon").unwrap().class(), AssetClass::Time);
        for wrong in ["", "XXX", "krw", "gold:melon", "day:", "day:Melon", "day:-a"] {
            assert!(AssetCode::parse(wrong).is_err(), "{wrong}");
        }
        assert!(CURRENCIES.is_sorted(), "binary search needs the order");
    }

    #[test]
    fn amounts_are_exact_or_refused() {
        let amount = |text: &str, scale| Amount::from_decimal(text.parse().unwrap(), scale);
        assert_eq!(amount("2.50", 2), Ok(Amount::from_minor(250)));
        assert_eq!(amount("30000", 0), Ok(Amount::from_minor(30_000)));
        assert!(matches!(amount("0.5", 0), Err(AmountError::TooPrecise { .. })));
        assert!(matches!(amount("9223372036854775808", 0), Err(AmountError::TooLarge(_))));
        assert_eq!(amount("9223372036854775807", 0).unwrap().minor(), i64::MAX);
        assert_eq!(Amount::from_minor(250).to_decimal(2).to_string(), "2.50");
    }
}
