//! What the document says of texts that are parsed into something narrower: their patterns, each in one place.

use std::borrow::Cow;

use redress_domain::notice::Event;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::rights::Right;
use crate::use_cases::webhooks::DELIVER;

macro_rules! shapes {
    ($($(#[$doc:meta])* $name:ident = $builder:expr;)*) => {$(
        $(#[$doc])*
        pub struct $name;

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                $builder.schema_type(Type::String).build().into()
            }
        }

        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                stringify!($name).into()
            }
        }
    )*};
}

fn text(pattern: &str, most: usize) -> ObjectBuilder {
    ObjectBuilder::new().pattern(Some(pattern)).max_length(Some(most))
}

shapes! {
    /// The name of an incident, a service, a policy or a reason.
    Slug = text("^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", 64);
    /// The operator's id of a customer.
    Opaque = text("^[^\\s\\x00-\\x1f\\x7f-\\x9f]+$", 64);
    /// An asset's code: a currency, or a class and a name.
    Asset = text("^([A-Z]{3}|(cash|points|day|hour|minute|coupon|item):[a-z0-9]([a-z0-9-]*[a-z0-9])?)$", 48);
    /// An exact amount in an asset's unit.
    Money = text("^(0|[1-9][0-9]{0,14})(\\.[0-9]{1,6})?$", 22);
    /// The SHA-256 of a file or plan, in hexadecimal digits.
    Hash = text("^[0-9a-f]{64}$", 64);
    /// The version of a claim, as its ETag has it.
    Version = text("^\"[1-9][0-9]{0,8}\"$", 11);
    /// How badly a service was hit.
    HowBadly = ObjectBuilder::new().enum_values(Some(["degraded", "unavailable"]));
    /// What a decision grants: all, part or nothing of what is claimed.
    Outcome = ObjectBuilder::new().enum_values(Some(["approve", "part", "decline"]));
    /// A right that an API key can have: none that takes a second factor.
    Scope = ObjectBuilder::new().enum_values(Some(scopes()));
    /// The order of a list.
    Order = ObjectBuilder::new().enum_values(Some(["created", "-created"]));
    /// What a webhook is told of.
    WebhookEvent = ObjectBuilder::new().enum_values(Some(webhook_events()));
    /// The address of a webhook.
    WebhookUrl = text("^https?://[^\\s@]+$", 2000).min_length(Some(1));
    /// Where a delivery stands.
    DeliveryState = ObjectBuilder::new().enum_values(Some(crate::use_cases::deliveries::desk::STATES));
    /// Where a message to a webhook stands.
    MessageState = ObjectBuilder::new().enum_values(Some(crate::use_cases::webhooks::events::STATES));
    /// States of claims, separated by commas.
    States = text(STATES, 200);
}

fn scopes() -> impl Iterator<Item = &'static str> {
    Right::ALL.iter().filter(|right| !right.needs_step_up()).map(|right| right.as_str())
}

fn webhook_events() -> impl Iterator<Item = String> {
    let of_claims = Event::ALL.iter().map(|event| format!("claim.{event}"));
    std::iter::once(DELIVER.to_owned()).chain(of_claims)
}

const STATES: &str = "^(draft|submitted|in_review|needs_information|approved|partly_approved|declined|issued|closed|withdrawn|pending_policy)(,(draft|submitted|in_review|needs_information|approved|partly_approved|declined|issued|closed|withdrawn|pending_policy))*$";
