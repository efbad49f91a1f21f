//! What policies say of a customer, to be said again of the next who holds the same.

use std::rc::Rc;

use redress_domain::policy::{CapScope, Change, Outcome, Settled};
use redress_domain::{Amount, AssetCode};
use redress_store::StoreError;
use redress_store::holdings::HeldRow;

use super::context::{Context, Issuing};
use crate::error::AppResult;

/// What is said of one subject, apart from whose it is.
pub(super) struct Verdict {
    pub(super) said: Said,
    /// What is to be credited, by the place of the asset.
    pub(super) due: Vec<(usize, Amount)>,
    /// Whether a cap over everybody cut something off.
    pub(super) is_cut: bool,
}

pub(super) enum Said {
    Granted,
    /// By the rule in this place.
    Declined(usize),
    /// By the people of this queue.
    Review(String),
    Pending,
    Failed(String),
}

impl Verdict {
    pub(super) fn of(issuing: &Issuing, settled: &Settled<'_>) -> AppResult<Self> {
        let said = match &settled.outcome {
            Ok(Outcome::Award { .. }) => Said::Granted,
            Ok(Outcome::Decline { rule, .. }) => Said::Declined(rule.place()),
            Ok(Outcome::Review { queue, .. }) => Said::Review((*queue).to_owned()),
            Ok(Outcome::Pending { .. }) => Said::Pending,
            Err(error) => Said::Failed(error.to_string()),
        };
        let of_all = |change: &Change<'_>| matches!(change, Change::Cap { scope: CapScope::Programme, .. });
        let is_cut = settled.due.iter().flat_map(|due| &due.changes).any(of_all);
        let mut due = Vec::new();
        for one in settled.due.iter().filter(|due| due.to_credit > Amount::ZERO) {
            due.push((place_of(issuing, one.asset.code())?, one.to_credit));
        }
        Ok(Self { said, due, is_cut })
    }
}

/// The place of an asset among those of a policy.
fn place_of(issuing: &Issuing, code: &AssetCode) -> AppResult<usize> {
    let policy = &issuing.active.policy;
    let place = policy.assets().iter().position(|asset| asset.code() == code);
    place.ok_or_else(|| StoreError::corrupt(format!("policy {} has no asset {code}", policy.id())).into())
}

/// What was said of a customer without claims or earlier credits, to be said again of the next who holds the same: by the
/// services and the facts of his holdings, one after the other. Policies are pure: only a cap, or a policy that reads whose a
/// holding is, could tell the two apart, and such services are not in it.
#[derive(Default)]
pub(super) struct Alike {
    known: foldhash::HashMap<Held, Rc<[Told]>>,
    /// The holdings of the customer at hand.
    key: Held,
}

/// Holding by holding, its service and what it is; the latter is none where nobody asks.
type Held = Vec<(i32, Option<i32>)>;

/// What one policy says of one holding of such a customer.
pub(super) struct Told {
    /// The holding's place among his.
    pub(super) row: usize,
    /// The policy's place in [`Context::issuing`].
    pub(super) place: usize,
    pub(super) verdict: Verdict,
}

impl Alike {
    /// How many different customers are remembered, at most.
    const MOST: usize = 4_096;
    /// How many holdings such a customer has, at most.
    const MOST_HELD: usize = 16;

    /// Whether what is said of whoever has these holdings can be said again of others.
    pub(super) fn look_at(&mut self, context: &Context<'_>, rows: &[HeldRow]) -> bool {
        self.key.clear();
        if rows.len() > Self::MOST_HELD {
            return false;
        }
        for row in rows {
            // Where no policy is in force nobody asks what it is.
            let is_asked = context.of_service(row.service_id).next().is_some();
            let common = row.facts.common_id().filter(|_| is_asked);
            if is_asked && (common.is_none() || !context.says_alike(row.service_id) || !row.is_named()) {
                return false;
            }
            self.key.push((row.service_id, common));
        }
        true
    }

    /// What was said of whoever was looked at last.
    pub(super) fn told(&self) -> Option<Rc<[Told]>> {
        self.known.get(self.key.as_slice()).cloned()
    }

    /// Remembers what is said of him.
    pub(super) fn remember(&mut self, told: Vec<Told>) {
        if self.known.len() == Self::MOST {
            self.known.clear();
        }
        self.known.insert(self.key.clone(), told.into());
    }
}
