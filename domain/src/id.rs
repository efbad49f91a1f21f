//! Typed identifiers: a policy's name is never mistaken for a service's, nor a claim's id for a run's.

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

/// Why a text is not an identifier of the kind asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {value:?} {reason}")]
pub struct IdError {
    kind: &'static str,
    value: String,
    reason: String,
}

impl IdError {
    fn new(kind: &'static str, value: &str, reason: impl Into<String>) -> Self {
        // A hostile value may be megabytes long; the message shows its beginning.
        let value = value.chars().take(80).collect();
        Self { kind, value, reason: reason.into() }
    }

    /// The beginning of the text that is not one.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }

    /// What is wrong with it.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

/// The most characters an identifier given by the operator may have.
pub const MAX_NAME_LENGTH: usize = 64;

fn check_slug(kind: &'static str, text: &str) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::new(kind, text, "is empty"));
    }
    if text.len() > MAX_NAME_LENGTH {
        return Err(IdError::new(kind, text, format!("is longer than {MAX_NAME_LENGTH} characters")));
    }
    let well_formed = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !well_formed || text.starts_with('-') || text.ends_with('-') {
        return Err(IdError::new(kind, text, "may have only a-z, 0-9 and inner hyphens"));
    }
    Ok(())
}

fn check_opaque(kind: &'static str, text: &str) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::new(kind, text, "is empty"));
    }
    // What nearly every id is, by the million: short, and of visible ASCII alone.
    if text.len() <= MAX_NAME_LENGTH && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    if text.chars().count() > MAX_NAME_LENGTH {
        return Err(IdError::new(kind, text, format!("is longer than {MAX_NAME_LENGTH} characters")));
    }
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(IdError::new(kind, text, "may have no spaces or control characters"));
    }
    Ok(())
}

/// Kept in place while it is short, as nearly every id is, and shared where it is long: what stands in every row of a batch
/// costs no memory of its own.
macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $check:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(SmolStr);

        impl $name {
            /// Parses the identifier; the error names its kind and what is wrong.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                $check($kind, text)?;
                Ok(Self(text.into()))
            }

            /// The identifier as it is written.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::parse(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                $check($kind, &text)?;
                Ok(Self(text.into()))
            }
        }

        impl TryFrom<SmolStr> for $name {
            type Error = IdError;
            fn try_from(text: SmolStr) -> Result<Self, IdError> {
                $check($kind, &text)?;
                Ok(Self(text))
            }
        }

        impl From<$name> for SmolStr {
            fn from(id: $name) -> SmolStr {
                id.0
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0.into()
            }
        }
    };
}

text_id!(
    /// An incident's name, such as `kakao-2022-10-15`.
    IncidentId, "incident", check_slug
);
text_id!(
    /// A service's name, such as `melon`.
    ServiceId, "service", check_slug
);
text_id!(
    /// A policy's name, such as `kakaotalk-merchant-loss`; its versions are told apart by content hash.
    PolicyId, "policy", check_slug
);
text_id!(
    /// The operator's own opaque id of a customer.
    CustomerId, "customer", check_opaque
);
text_id!(
    /// The operator's own id of a holding, unique for a customer, incident and service.
    HoldingRef, "holding", check_opaque
);

text_id!(
    /// Why somebody corrected the ledger, such as `credited-in-error`: a code, never a story about a person.
    ReasonCode, "reason", check_slug
);

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, uuid::Error> {
                Uuid::parse_str(text).map(Self)
            }
        }
    };
}

uuid_id!(
    /// A claim; version 7, so that new claims stand together in the index.
    ClaimId
);
uuid_id!(
    /// A transfer; for a credit it is derived from (policy, subject), never random.
    TransferId
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parsed_once_and_say_what_is_wrong() {
        assert!(IncidentId::parse("kakao-2022-10-15").is_ok());
        assert_eq!(
            ServiceId::parse("Melon").unwrap_err().to_string(),
            "service \"Melon\" may have only a-z, 0-9 and inner hyphens"
        );
        assert_eq!(CustomerId::parse("").unwrap_err().to_string(), "customer \"\" is empty");
        assert!(CustomerId::parse("a b").is_err());
        assert!(CustomerId::parse(&"x".repeat(65)).is_err());
    }
}
