//! Compiled policies by version: a version never changes, so it is compiled once.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use redress_domain::policy::{Basis, CapScope, Policy};
use redress_store::StoreError;
use redress_store::policies::VersionInForce;

use crate::error::AppResult;

/// The most versions kept; beyond, the cache starts anew.
const MAX_KEPT: usize = 1_000;

/// A version in force, compiled.
#[derive(Clone)]
pub struct ActivePolicy {
    /// The version's key.
    pub version_key: i32,
    /// The policy's key.
    pub policy_key: i32,
    /// The service's key.
    pub service_key: i32,
    /// The policy.
    pub policy: Arc<Policy>,
}

impl ActivePolicy {
    /// Whether a cap over everybody limits it, so that chunks have to know of each other.
    #[must_use]
    pub fn has_programme_cap(&self) -> bool {
        self.policy.caps().iter().any(|cap| cap.scope() == CapScope::Programme)
    }

    /// Whether it applies to holdings, so that nobody has to claim.
    #[must_use]
    pub fn is_automatic(&self) -> bool {
        self.policy.basis() == Basis::Automatic
    }
}

/// The cache.
#[derive(Default)]
pub struct PolicyCache(RwLock<HashMap<i32, Arc<Policy>>>);

impl PolicyCache {
    /// The compiled form of a version.
    pub fn compile(&self, version: &VersionInForce) -> AppResult<ActivePolicy> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner).get(&version.key).cloned();
        let policy = match known {
            Some(policy) => policy,
            None => {
                let compiled = Policy::compile(&version.source, &version.name).map_err(|faults| {
                    // It was checked when it was published; only an older engine's policy could come to this.
                    StoreError::corrupt(format!(
                        "version {} of policy {} no longer compiles: {}",
                        version.key,
                        version.name,
                        faults.first().map(ToString::to_string).unwrap_or_default()
                    ))
                })?;
                let compiled = Arc::new(compiled);
                let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
                if kept.len() >= MAX_KEPT {
                    kept.clear();
                }
                kept.insert(version.key, Arc::clone(&compiled));
                compiled
            }
        };
        let (version_key, policy_key, service_key) = (version.key, version.policy_key, version.service_key);
        Ok(ActivePolicy { version_key, policy_key, service_key, policy })
    }
}
