//! What a claimant sends, parsed at the edge: shape by serde, ids by their newtypes, the rest by validator.

use std::collections::BTreeMap;

use redress_domain::id::{CustomerId, IncidentId, PolicyId, ServiceId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;
use validator::{Validate, ValidationError};

use super::{Language, Wish};

/// The most facts a claim may state.
pub const MAX_FACTS: usize = 50;

/// How to reach the claimant. Encrypted at rest, never logged, destroyed on time.
#[derive(Debug, Clone, Default, Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Contact {
    /// Where notices go.
    #[validate(email(message = "is no e-mail address"), length(max = 254, message = "is longer than 254 characters"))]
    #[schema(example = "mina@example.com", max_length = 254, format = Email)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// How to address the claimant.
    #[validate(length(max = 100, message = "is longer than 100 characters"), custom(function = no_link))]
    #[schema(max_length = 100)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The language of notices.
    #[serde(default)]
    pub language: Language,
    /// Which notices are wanted.
    #[serde(default)]
    pub notices: Wish,
}

/// A name stands in our mails, and anybody may name anybody's address: it must not become a link or a second letter.
fn no_link(name: &str) -> Result<(), ValidationError> {
    let is_host =
        |word: &str| word.split('.').skip(1).any(|part| part.chars().take_while(|c| c.is_alphanumeric()).count() > 1);
    if name.chars().any(|c| c.is_control() || "/\\:@<>".contains(c)) || name.split_whitespace().any(is_host) {
        return Err(
            ValidationError::new("name").with_message("is no name: it has a link, an address or a line break".into())
        );
    }
    Ok(())
}

/// A damage report.
#[derive(Debug, Clone, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewClaim {
    /// The incident.
    #[schema(value_type = String, example = "kakao-2022-10-15", pattern = "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", max_length = 64)]
    pub incident: IncidentId,
    /// The service that failed.
    #[schema(value_type = String, example = "kakaotalk", pattern = "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", max_length = 64)]
    pub service: ServiceId,
    /// The operator's id of the customer.
    #[schema(value_type = String, example = "c-0000042", max_length = 64)]
    pub customer: CustomerId,
    /// The policy to claim under; needed only where a service has several.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub policy: Option<PolicyId>,
    /// What is claimed: names and values that the service's policy reads. Amounts are texts.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, serde_json::Value>, example = json!({ "loss": "250000" }))]
    pub facts: BTreeMap<String, Box<RawValue>>,
    /// What happened, in the claimant's words. Encrypted at rest.
    #[validate(length(max = 4000, message = "is longer than 4000 characters"))]
    #[schema(max_length = 4000)]
    #[serde(default)]
    pub description: String,
    /// How to reach the claimant.
    #[validate(nested)]
    #[serde(default)]
    pub contact: Contact,
}
