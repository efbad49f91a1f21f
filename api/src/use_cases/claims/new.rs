//! What a claimant sends, parsed at the edge: shape by serde, ids by their newtypes, the rest by validator.

use std::collections::BTreeMap;

use redress_domain::id::{CustomerId, IncidentId, PolicyId, ServiceId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;
use validator::{Validate, ValidationError};

use super::{Language, Wish};
use crate::shapes::{Opaque, Slug};

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
    /// Where the claimant can be called.
    #[validate(length(max = 32, message = "is longer than 32 characters"), custom(function = is_phone))]
    #[schema(max_length = 32, example = "010-1234-5678")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
    /// Where money would be paid, as bank and account; only where a policy pays money.
    #[validate(length(max = 64, message = "is longer than 64 characters"))]
    #[schema(max_length = 64)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payout_account: Option<String>,
    /// The language of notices.
    #[serde(default)]
    pub language: Language,
    /// Which notices are wanted.
    #[serde(default)]
    pub notices: Wish,
}

fn is_phone(phone: &str) -> Result<(), ValidationError> {
    let digits = phone.chars().filter(char::is_ascii_digit).count();
    if (6..=15).contains(&digits) && phone.chars().all(|c| c.is_ascii_digit() || " +-().".contains(c)) {
        return Ok(());
    }
    Err(ValidationError::new("phone").with_message("is no telephone number: 6 to 15 digits".into()))
}

/// How a report came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// From the claimant.
    #[default]
    Web,
    /// In a conversation in writing.
    Chat,
    /// By telephone.
    Phone,
    /// By letter.
    Post,
    /// In a file of many.
    File,
}

impl Channel {
    /// The channel's name in storage.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Web => "web",
            Self::Chat => "chat",
            Self::Phone => "phone",
            Self::Post => "post",
            Self::File => "file",
        }
    }
}

/// What a report is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClaimKind {
    /// Something was lost.
    #[default]
    Damage,
    /// Nothing is claimed: a question or a complaint, answered at once and kept out of the readers' way.
    Enquiry,
}

impl ClaimKind {
    /// The kind's name in storage.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Damage => "damage",
            Self::Enquiry => "enquiry",
        }
    }
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
    #[schema(value_type = Slug, example = "kakao-2022-10-15")]
    pub incident: IncidentId,
    /// The service that failed.
    #[schema(value_type = Slug, example = "kakaotalk")]
    pub service: ServiceId,
    /// The operator's id of the customer.
    #[schema(value_type = Opaque, example = "c-0000042")]
    pub customer: CustomerId,
    /// The policy to claim under; needed only where a service has several.
    #[serde(default)]
    #[schema(value_type = Option<Slug>)]
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
    /// Whether anything is claimed at all.
    #[serde(default)]
    pub kind: ClaimKind,
    /// How it came; other than `web` is the staff's to say, who file for callers.
    #[serde(default)]
    pub channel: Channel,
    /// Only begin it: a draft can be changed and is sent later.
    #[serde(default)]
    pub draft: bool,
    /// What the claimant's device calls itself; kept sealed, compared as a hash.
    #[serde(default)]
    #[validate(length(max = 128, message = "is longer than 128 characters"))]
    #[schema(max_length = 128)]
    pub device: Option<String>,
}
