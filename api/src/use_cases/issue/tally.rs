//! What a chunk, a run or a plan comes to, in figures.

use std::collections::BTreeMap;

use redress_domain::policy::Policy;
use redress_domain::{Amount, Asset};
use redress_store::StoreError;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::error::AppResult;

/// What one policy came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PolicyTally {
    /// Subjects that are granted something.
    pub granted: u64,
    /// Subjects that get nothing, by the rule that says so.
    pub declined: BTreeMap<String, u64>,
    /// Subjects that a person has to look at.
    pub review: u64,
    /// Subjects that could not be assessed.
    pub failed: u64,
    /// Customers who are granted something.
    pub customers: u64,
}

/// What was or would be credited of an asset at a service under a policy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CreditTally {
    /// How many credits.
    pub credits: u64,
    /// Minor units.
    pub minor: i64,
}

impl CreditTally {
    fn add(&mut self, asset: &str, other: &Self) -> AppResult<()> {
        self.credits += other.credits;
        self.minor = self
            .minor
            .checked_add(other.minor)
            .ok_or_else(|| StoreError::corrupt(format!("the total of {asset} is beyond what can be stored")))?;
        Ok(())
    }
}

/// The figures of a chunk, a run or a plan.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Tally {
    /// How many credits.
    pub credits: u64,
    /// Subjects set aside, each with its reason.
    pub exceptions: u64,
    /// By policy.
    pub policies: BTreeMap<String, PolicyTally>,
    /// By policy and asset.
    pub assets: BTreeMap<String, BTreeMap<String, CreditTally>>,
}

impl Tally {
    /// Adds the figures of another part.
    pub(super) fn add(&mut self, other: &Self) -> AppResult<()> {
        self.credits += other.credits;
        self.exceptions += other.exceptions;
        for (policy, theirs) in &other.policies {
            let ours = self.policies.entry(policy.clone()).or_default();
            ours.granted += theirs.granted;
            ours.review += theirs.review;
            ours.failed += theirs.failed;
            ours.customers += theirs.customers;
            for (rule, count) in &theirs.declined {
                *ours.declined.entry(rule.clone()).or_default() += count;
            }
        }
        for (policy, assets) in &other.assets {
            for (asset, theirs) in assets {
                self.assets.entry(policy.clone()).or_default().entry(asset.clone()).or_default().add(asset, theirs)?;
            }
        }
        Ok(())
    }
}

/// What a chunk counts under one policy: by the places of rules and assets, since it is counted once a subject.
#[derive(Debug)]
pub(super) struct Count<'a> {
    policy: &'a Policy,
    /// Whether anything was counted: a policy that nobody comes under is not listed.
    is_used: bool,
    granted: u64,
    review: u64,
    failed: u64,
    customers: u64,
    declined: Vec<u64>,
    assets: Vec<CreditTally>,
}

impl<'a> Count<'a> {
    pub(super) fn new(policy: &'a Policy) -> Self {
        let (declined, assets) = (vec![0; policy.rules().len()], vec![CreditTally::default(); policy.assets().len()]);
        Self { policy, is_used: false, granted: 0, review: 0, failed: 0, customers: 0, declined, assets }
    }

    /// A subject came under the policy.
    pub(super) fn subject(&mut self) {
        self.is_used = true;
    }

    pub(super) fn granted(&mut self) {
        self.granted += 1;
    }

    /// By the rule in this place.
    pub(super) fn declined(&mut self, rule: usize) {
        if let Some(count) = self.declined.get_mut(rule) {
            *count += 1;
        }
    }

    pub(super) fn review(&mut self) {
        self.review += 1;
    }

    pub(super) fn failed(&mut self) {
        self.failed += 1;
    }

    pub(super) fn customer(&mut self) {
        self.customers += 1;
    }

    /// A credit of the asset in this place.
    pub(super) fn credit(&mut self, place: usize, amount: Amount) -> AppResult<()> {
        match (self.assets.get_mut(place), self.policy.assets().get(place)) {
            (Some(sum), Some(asset)) => {
                sum.add(asset.code().as_str(), &CreditTally { credits: 1, minor: amount.minor() })
            }
            _ => Err(StoreError::corrupt(format!("policy {} has no asset {place}", self.policy.id())).into()),
        }
    }

    /// What was credited: the place of each asset, the asset, and its sum in minor units.
    pub(super) fn credited(&self) -> impl Iterator<Item = (usize, &'a Asset, i64)> {
        let assets = self.policy.assets().iter().zip(&self.assets).enumerate();
        assets.filter(|(_, (_, sum))| sum.credits > 0).map(|(place, (asset, sum))| (place, asset, sum.minor))
    }

    /// Adds what was counted to the figures of a chunk.
    pub(super) fn add_to(&self, tally: &mut Tally) {
        if !self.is_used {
            return;
        }
        let name = self.policy.id().to_string();
        let declined = self.policy.rules().iter().zip(&self.declined).filter(|(_, count)| **count > 0);
        let figures = PolicyTally {
            granted: self.granted,
            declined: declined.map(|(rule, count)| (rule.name().to_owned(), *count)).collect(),
            review: self.review,
            failed: self.failed,
            customers: self.customers,
        };
        tally.policies.insert(name.clone(), figures);
        let assets: BTreeMap<String, CreditTally> = self
            .policy
            .assets()
            .iter()
            .zip(&self.assets)
            .filter(|(_, sum)| sum.credits > 0)
            .map(|(asset, sum)| (asset.code().to_string(), sum.clone()))
            .collect();
        if !assets.is_empty() {
            tally.credits += assets.values().map(|sum| sum.credits).sum::<u64>();
            tally.assets.insert(name, assets);
        }
    }
}
