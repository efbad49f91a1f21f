//! How much of what a reader decides alone an award takes up. Limits are in won; every other asset weighs what its policy
//! says it is worth to its holder, else what an administrator has set for it; what weighs nothing that anybody said always
//! takes a second signature.

use redress_domain::policy::Given;
use redress_domain::review::Verdict;
use redress_store::Connection;
use redress_store::limits::{self, Limited};
use rust_decimal::Decimal;

use crate::error::AppResult;
use crate::policy_cache::ActivePolicy;
use crate::rights::Role;
use crate::use_cases::reports::scaled;

/// What limits are counted in.
const CURRENCY: &str = "KRW";

/// So much of each asset weighs as much as the won that an agent decides alone.
pub(super) struct Weights(Vec<(String, Decimal)>);

impl Weights {
    /// What is set today.
    pub(super) fn load(connection: &mut Connection) -> AppResult<Self> {
        let set = limits::of(connection, Limited::Decision)?.into_iter();
        Ok(Self(set.map(|row| (row.asset, scaled(Decimal::from(row.most), row.scale))).collect()))
    }

    /// Whether a verdict grants more than its reader decides alone.
    pub(super) fn exceed(&self, verdict: &Verdict, active: Option<&ActivePolicy>, decides_up_to: i64) -> bool {
        let weight = |given: &Given| self.of_award(given, active?);
        let sum = verdict.awards().iter().try_fold(Decimal::ZERO, |sum, given| sum.checked_add(weight(given)?));
        sum.is_none_or(|sum| sum > Decimal::from(decides_up_to))
    }

    /// What an award weighs, in won; none where nobody has said.
    fn of_award(&self, given: &Given, active: &ActivePolicy) -> Option<Decimal> {
        let place = active.policy.assets().iter().position(|asset| *asset.code() == given.asset)?;
        let amount = given.amount.to_decimal(active.policy.assets().get(place)?.scale());
        let face = active.policy.asset_terms(place).and_then(|terms| terms.face.as_ref());
        match face {
            _ if given.asset.as_str() == CURRENCY => Some(amount),
            Some(face) if face.asset.as_str() == CURRENCY => face.amount.checked_mul(amount),
            // What is said of the asset itself is nearer than what is said of the currency of its face value.
            face => self.set(given.asset.as_str(), amount).or_else(|| {
                let face = face?;
                self.set(face.asset.as_str(), face.amount.checked_mul(amount)?)
            }),
        }
    }

    /// What an amount weighs by what is set for its asset; of one that is set to nothing no amount is decided alone.
    fn set(&self, asset: &str, amount: Decimal) -> Option<Decimal> {
        let (_, most) = self.0.iter().find(|(known, _)| known == asset)?;
        amount.checked_mul(Decimal::from(Role::Agent.decides_up_to()))?.checked_div(*most)
    }
}
