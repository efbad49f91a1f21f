//! What is the same for all chunks of an execution, looked up once.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use redress_domain::AssetCode;
use redress_domain::id::{PolicyId, ServiceId};
use redress_domain::ledger::CreditIds;
use redress_domain::policy::IncidentView;
use redress_store::incidents::{self, StoredIncident};
use redress_store::ledger::{self, BudgetRow};
use redress_store::{Connection, StoreError, policies};

use super::{BudgetState, Order, Tally};
use crate::app::{Actor, App};
use crate::error::{AppError, AppResult};
use crate::policy_cache::ActivePolicy;

/// What is the same for all chunks of an execution.
pub(super) struct Context<'a> {
    pub(super) app: &'a App,
    pub(super) incident: StoredIncident,
    /// The policies in force, each in its place; after them those that were retired, by their last versions.
    pub(super) issuing: Vec<Issuing>,
    /// The keys of the versions in force, in their order.
    versions: Vec<i32>,
    /// The places of the policies in force, by the service's key.
    of_service: BTreeMap<i32, Vec<usize>>,
    /// The services whose policies say the same of every customer who holds the same, unless he claimed or was credited before.
    alike: BTreeSet<i32>,
    /// The service's key of every policy of the incident ever published: what a run credited under one that was retired
    /// meanwhile is told too.
    service_of: HashMap<String, i32>,
    /// The policy's name of every version ever published for the incident: what earlier versions credited counts.
    pub(super) names: HashMap<i32, PolicyId>,
    /// The keys of all these versions.
    pub(super) all_versions: Vec<i32>,
    /// The incident as the policies of each service see it, by the service's key.
    pub(super) views: BTreeMap<i32, (ServiceId, IncidentView)>,
    pub(super) accounts: Accounts,
    pub(super) actor: Actor,
}

/// A policy with what issuing under it needs at hand.
pub(super) struct Issuing {
    pub(super) active: ActivePolicy,
    /// Its place in [`Context::issuing`].
    pub(super) place: usize,
    /// Whether it is in force. One that was retired decides nothing any more; what was granted under it stands.
    pub(super) is_in_force: bool,
    /// Whether it is issued; if not, it is there because it may pay the same loss as one that is.
    pub(super) is_in_scope: bool,
    /// The ids of its credits.
    pub(super) ids: CreditIds,
    /// Where credits of each of its assets are booked, in the order of its assets; none without a budget.
    routes: Vec<Option<Route>>,
}

impl Issuing {
    /// Where credits of the asset in this place are booked.
    pub(super) fn route(&self, place: usize) -> Option<&Route> {
        self.routes.get(place).and_then(Option::as_ref)
    }
}

/// Where credits of one asset are booked.
pub(super) struct Route {
    pub(super) budget: i32,
    pub(super) provision: i32,
    pub(super) owed: i32,
    pub(super) asset: i32,
}

/// The keys that a credit's row is made of.
#[derive(Default)]
pub(super) struct Accounts {
    pub(super) budgets: HashMap<(i32, AssetCode), BudgetRow>,
    owed: HashMap<AssetCode, i32>,
    pub(super) assets: HashMap<i32, (AssetCode, i16)>,
}

impl Accounts {
    pub(super) fn load(connection: &mut Connection, incident_key: i32) -> AppResult<Self> {
        let mut accounts = Self::default();
        for asset in ledger::assets(connection)? {
            let code = AssetCode::parse(&asset.code).map_err(StoreError::corrupt)?;
            accounts.assets.insert(asset.key, (code, asset.scale));
        }
        for budget in ledger::budgets(connection, incident_key)? {
            let Some((code, _)) = accounts.assets.get(&budget.asset_key) else {
                return Err(StoreError::corrupt(format!("budget {} has no asset", budget.key)).into());
            };
            if !accounts.owed.contains_key(code) {
                accounts.owed.insert(code.clone(), ledger::owed_account_key(connection, code)?);
            }
            accounts.budgets.insert((budget.service_key, code.clone()), budget);
        }
        Ok(accounts)
    }

    fn route(&self, service_key: i32, asset: &AssetCode) -> Option<Route> {
        let budget = self.budgets.get(&(service_key, asset.clone()))?;
        let (budget, provision, asset_key) = (budget.key, budget.provision_account, budget.asset_key);
        Some(Route { budget, provision, owed: *self.owed.get(asset)?, asset: asset_key })
    }
}

impl<'a> Context<'a> {
    pub(super) fn load(app: &'a App, order: &'a Order, actor: &Actor) -> AppResult<Self> {
        let mut connection = app.store.connection()?;
        let incident = incidents::find(&mut connection, &order.incident)?;
        let active: Vec<ActivePolicy> = policies::in_force(&mut connection, incident.key)?
            .iter()
            .map(|version| app.policies.compile(version))
            .collect::<AppResult<_>>()?;
        let is_in_force = |name: &PolicyId| active.iter().any(|active| active.policy.id() == name);
        if let Some(missing) = order.policies.iter().find(|name| !is_in_force(name)) {
            return Err(AppError::Refused(format!(
                "no version of policy {missing} is in force for incident {}: redress policy publish, then approve",
                order.incident
            )));
        }
        let retired: Vec<ActivePolicy> = policies::retired(&mut connection, incident.key)?
            .iter()
            .map(|version| app.policies.compile(version))
            .collect::<AppResult<_>>()?;
        let mut versions = policies::version_names(&mut connection)?;
        versions.retain(|version| version.incident == incident.incident.id.as_str());
        let service_of = versions
            .iter()
            .filter_map(|version| {
                let service = incident.service_keys.iter().find(|(id, _)| id.as_str() == version.service);
                service.map(|(_, key)| (version.policy.clone(), *key))
            })
            .collect();
        let all_versions = versions.iter().map(|version| version.key).collect();
        let names = versions
            .into_iter()
            .map(|version| Ok((version.key, PolicyId::parse(&version.policy).map_err(StoreError::corrupt)?)))
            .collect::<AppResult<_>>()?;
        let accounts = Accounts::load(&mut connection, incident.key)?;
        let views = incident
            .service_keys
            .iter()
            .map(|(id, key)| (*key, (id.clone(), IncidentView::new(&incident.incident, id))))
            .collect();
        let mut of_service: BTreeMap<i32, Vec<usize>> = BTreeMap::new();
        let in_force = active.len();
        let mut issuing: Vec<Issuing> = Vec::with_capacity(in_force + retired.len());
        for (place, active) in active.into_iter().chain(retired).enumerate() {
            let is_in_force = place < in_force;
            if is_in_force {
                of_service.entry(active.service_key).or_default().push(place);
            }
            let is_in_scope = order.policies.is_empty() || order.policies.contains(active.policy.id());
            let assets = active.policy.assets().iter();
            let routes = assets.map(|asset| accounts.route(active.service_key, asset.code())).collect();
            let ids = CreditIds::new(&order.incident, active.policy.id());
            issuing.push(Issuing { active, place, is_in_force, is_in_scope, ids, routes });
        }
        let is_alike = |place: &usize| {
            let policy = issuing.get(*place).map(|issuing| &issuing.active.policy);
            policy.is_some_and(|policy| policy.caps().is_empty() && policy.is_alike_for_all())
        };
        let alike = of_service.iter().filter(|(_, places)| places.iter().all(is_alike)).map(|(key, _)| *key).collect();
        let mut versions: Vec<i32> = issuing.iter().take(in_force).map(|issuing| issuing.active.version_key).collect();
        versions.sort_unstable();
        Ok(Self {
            app,
            incident,
            issuing,
            versions,
            of_service,
            alike,
            service_of,
            names,
            all_versions,
            views,
            accounts,
            actor: actor.clone(),
        })
    }

    /// The keys of the versions in force, in their order.
    pub(super) fn versions(&self) -> &[i32] {
        &self.versions
    }

    /// The policies in force for a service.
    pub(super) fn of_service(&self, service_key: i32) -> impl Iterator<Item = &Issuing> {
        self.of_service.get(&service_key).into_iter().flatten().filter_map(|place| self.issuing.get(*place))
    }

    /// A policy by its name, in force or retired.
    pub(super) fn by_name(&self, name: &PolicyId) -> Option<&Issuing> {
        self.issuing.iter().find(|issuing| issuing.active.policy.id() == name)
    }

    /// Whether policies of a service are in force, or were.
    pub(super) fn had_policies(&self, service_key: i32) -> bool {
        self.issuing.iter().any(|issuing| issuing.active.service_key == service_key)
    }

    /// Whether what the policies of a service say of one customer's holding, they say of every other's with the same facts: none
    /// reads whose it is, and none counts what others or other holdings got.
    pub(super) fn says_alike(&self, service_key: i32) -> bool {
        self.alike.contains(&service_key)
    }

    /// The budgets that a tally draws on.
    pub(super) fn budget_states(&self, connection: &mut Connection, tally: &Tally) -> AppResult<Vec<BudgetState>> {
        let mut needed: BTreeMap<(i32, AssetCode), i64> = BTreeMap::new();
        for (policy, assets) in &tally.assets {
            let unknown = || StoreError::corrupt(format!("policy {policy} is of no service"));
            let service_key = *self.service_of.get(policy).ok_or_else(unknown)?;
            for (asset, sum) in assets {
                let code = AssetCode::parse(asset).map_err(StoreError::corrupt)?;
                *needed.entry((service_key, code)).or_default() += sum.minor;
            }
        }
        let budgets = Accounts::load(connection, self.incident.key)?.budgets;
        let mut states = Vec::with_capacity(needed.len());
        for ((service_key, code), needed) in needed {
            let left = budgets.get(&(service_key, code.clone())).map_or(0, |row| row.approved - row.spent);
            states.push(BudgetState {
                service: self.incident.service_name(service_key),
                scale: self.scale_of(&code),
                asset: code.to_string(),
                needed,
                left,
            });
        }
        states.sort_by(|a, b| (&a.service, &a.asset).cmp(&(&b.service, &b.asset)));
        Ok(states)
    }

    /// The scale of an asset: the stored one, else what the policies say.
    pub(super) fn scale_of(&self, code: &AssetCode) -> i16 {
        let stored = self.accounts.assets.values().find(|(known, _)| known == code).map(|(_, scale)| *scale);
        stored.unwrap_or_else(|| {
            let assets = || self.issuing.iter().flat_map(|issuing| issuing.active.policy.assets());
            let declared = assets().find(|asset| asset.code() == code);
            i16::from(declared.map_or(code.default_scale(), redress_domain::Asset::scale))
        })
    }
}
