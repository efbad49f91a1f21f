//! Amounts in JSON: texts of plain digits. A number might have been a float on its way, and other spellings (`+3`, `1e3`,
//! `1_000`) are promised by no document.

use rust_decimal::Decimal;
use serde::de::{Deserialize, Deserializer, Error};

/// The most digits before the point.
const MOST_BEFORE: usize = 15;
/// The most digits after it, as many as the finest asset has.
const MOST_AFTER: usize = 6;

/// Reads an amount.
pub fn amount<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Decimal, D::Error> {
    parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

/// Reads an amount or null.
pub fn option<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Decimal>, D::Error> {
    Option::<String>::deserialize(deserializer)?.map(|text| parse(&text)).transpose().map_err(D::Error::custom)
}

/// Reads a text as an amount.
pub fn parse(text: &str) -> Result<Decimal, String> {
    let wrong = || format!("{text:?} is no exact amount, such as \"3\" or \"12.50\"");
    let (whole, fraction) = text.split_once('.').map_or((text, None), |(whole, fraction)| (whole, Some(fraction)));
    let digits = |part: &str, most| (1..=most).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
    let plain = digits(whole, MOST_BEFORE) && (whole == "0" || !whole.starts_with('0'));
    if !plain || fraction.is_some_and(|fraction| !digits(fraction, MOST_AFTER)) {
        return Err(wrong());
    }
    Decimal::from_str_exact(text).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_plain_digits() {
        for text in ["0", "3", "12.50", "999999999999999.999999"] {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
        for text in ["", "+3", "-3", "1e3", "1_000", "03", ".5", "5.", "1.2.3", " 3", "1000000000000000", "1.1234567"] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(amount(&mut serde_json::Deserializer::from_str("3")).is_err());
        assert_eq!(option(&mut serde_json::Deserializer::from_str("null")).unwrap(), None);
    }
}
