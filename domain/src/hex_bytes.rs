//! Bytes of a fixed length that are written as lower-case hex: hashes, keys, signatures. One spelling each, so that a
//! text that was changed in any byte is another value or none.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// `N` bytes, written as `2 * N` lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HexBytes<const N: usize>(pub [u8; N]);

/// Why a text is not such bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {digits} lower-case hex digits")]
pub struct HexError {
    digits: usize,
}

impl<const N: usize> HexBytes<N> {
    /// The bytes of a slice, if it has the right length.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; N] {
        &self.0
    }
}

impl<const N: usize> fmt::Display for HexBytes<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl<const N: usize> fmt::Debug for HexBytes<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<const N: usize> FromStr for HexBytes<N> {
    type Err = HexError;

    fn from_str(text: &str) -> Result<Self, HexError> {
        let wrong = HexError { digits: 2 * N };
        if text.bytes().any(|digit| digit.is_ascii_uppercase()) {
            return Err(wrong);
        }
        let mut bytes = [0_u8; N];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| wrong)?;
        Ok(Self(bytes))
    }
}

impl<const N: usize> TryFrom<String> for HexBytes<N> {
    type Error = HexError;

    fn try_from(text: String) -> Result<Self, HexError> {
        text.parse()
    }
}

impl<const N: usize> From<HexBytes<N>> for String {
    fn from(bytes: HexBytes<N>) -> Self {
        bytes.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_one_spelling() {
        let bytes: HexBytes<2> = "0aff".parse().unwrap();
        assert_eq!((bytes.0, bytes.to_string()), ([0x0a, 0xff], "0aff".to_owned()));
        for wrong in ["0aFF", "0AFF", "0aff0", "0af", "", "0ag0", "0aff00", " 0aff"] {
            assert!(wrong.parse::<HexBytes<2>>().is_err(), "{wrong}");
        }
        assert!(HexBytes::<2>::from_slice(&[1]).is_none());
    }
}
