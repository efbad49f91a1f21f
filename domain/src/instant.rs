//! Instants as others write them: within the years that every calendar, database and reader of ours can keep.

use std::ops::RangeInclusive;

use chrono::{DateTime, Datelike, Utc};

/// The years that are taken: others are a slip of the pen, and some of them no database can keep.
pub const YEARS: RangeInclusive<i32> = 1..=9999;

/// Why a text is no instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InstantError {
    /// It is not written as one.
    #[error("is no time: write it as 2022-10-15T15:30:00+09:00")]
    Unreadable,
    /// It is too far away.
    #[error("must be in a year from {} to {}", YEARS.start(), YEARS.end())]
    FarAway,
}

/// Reads an instant, which has an offset.
pub fn parse(text: &str) -> Result<DateTime<Utc>, InstantError> {
    let at: DateTime<Utc> = text.parse().map_err(|_| InstantError::Unreadable)?;
    if YEARS.contains(&at.year()) { Ok(at) } else { Err(InstantError::FarAway) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn years_of_four_digits_are_taken_and_no_others() {
        for text in ["0001-01-01T00:00:00Z", "2022-10-15T15:30:00+09:00", "9999-12-31T23:59:59Z"] {
            assert!(parse(text).is_ok(), "{text}");
        }
        for text in
            ["+262142-12-31T23:59:59Z", "-4713-01-01T00:00:00Z", "0000-12-31T23:59:59Z", "9999-12-31T23:59:59-01:00"]
        {
            assert_eq!(parse(text), Err(InstantError::FarAway), "{text}");
        }
        for text in ["", "2022-10-15", "2022-10-15T15:30:00", "soon"] {
            assert_eq!(parse(text), Err(InstantError::Unreadable), "{text}");
        }
    }
}
