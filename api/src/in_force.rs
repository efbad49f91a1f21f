//! What reports are read by, incidents and the policies in force: kept between transactions, and whether it still holds is asked
//! in each anew.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redress_domain::id::IncidentId;
use redress_store::in_force::State;
use redress_store::incidents::{self, StoredIncident};
use redress_store::{Connection, policies};

use crate::app::App;
use crate::error::AppResult;
use crate::policy_cache::ActivePolicy;

/// An incident with the policies in force for it.
pub struct IncidentInForce {
    /// The incident.
    pub found: StoredIncident,
    policies: BTreeMap<i32, Vec<ActivePolicy>>,
}

impl IncidentInForce {
    /// The policies in force for a service.
    #[must_use]
    pub fn policies_of(&self, service_key: i32) -> &[ActivePolicy] {
        self.policies.get(&service_key).map_or(&[], Vec::as_slice)
    }

    fn load(app: &App, connection: &mut Connection, id: &IncidentId) -> AppResult<Self> {
        let found = incidents::find(connection, id)?;
        let mut policies: BTreeMap<i32, Vec<ActivePolicy>> = BTreeMap::new();
        for version in policies::in_force(connection, found.key)? {
            policies.entry(version.service_key).or_default().push(app.policies.compile(&version)?);
        }
        Ok(Self { found, policies })
    }
}

/// Incidents by name; those that do not exist are not there.
pub type Incidents = HashMap<IncidentId, Arc<IncidentInForce>>;

/// What was loaded, and the state in which it was.
#[derive(Default)]
pub struct InForce(Mutex<Known>);

#[derive(Default)]
struct Known {
    state: State,
    incidents: Incidents,
}

impl InForce {
    /// These incidents as they stand in a state that was just seen.
    pub fn of<'a>(
        &self,
        app: &App,
        connection: &mut Connection,
        state: &State,
        wanted: impl Iterator<Item = &'a IncidentId>,
    ) -> AppResult<Incidents> {
        let mut incidents = self.known_in(state);
        for id in wanted {
            let exists = state.names.iter().any(|name| name == id.as_str());
            if exists && !incidents.contains_key(id) {
                let incident = Arc::new(IncidentInForce::load(app, connection, id)?);
                incidents.insert(id.clone(), Arc::clone(&incident));
                let mut known = self.lock();
                // What is loaded after the state was seen may be newer, never older: the next question finds that out.
                if known.state == *state {
                    known.incidents.insert(id.clone(), incident);
                }
            }
        }
        Ok(incidents)
    }

    /// What was last seen: enough to ask by, and to be held against what the answer's state says.
    pub fn last_seen(&self) -> Incidents {
        self.lock().incidents.clone()
    }

    /// What is known in a state; of another nothing is kept.
    fn known_in(&self, state: &State) -> Incidents {
        let mut known = self.lock();
        if known.state != *state {
            *known = Known { state: state.clone(), incidents: Incidents::new() };
        }
        known.incidents.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
