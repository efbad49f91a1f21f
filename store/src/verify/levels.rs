//! Proves that nobody is credited twice: every credit's id must follow from what it is for and from what the subject
//! had before, so the credits of a subject form one chain in which each raises the last.

use std::collections::HashMap;

use diesel::pg::PgRowByRowLoadingMode;
use diesel::prelude::*;
use redress_domain::id::{CustomerId, IncidentId, PolicyId};
use redress_domain::ledger::{CreditIds, TransferCode};
use redress_domain::{Amount, AssetCode};
use uuid::Uuid;

use super::{Check, MAX_FAULTS};
use crate::connection::Connection;
use crate::error::{StoreError, StoreResult};
use crate::schema::{asset, incident, policy, policy_version, transfer};

/// The credits of one subject under one policy, of one asset: what is read before the next subject begins.
type Chain = Vec<(Uuid, i64)>;

/// Reads all credits, subject by subject, in bounded memory.
pub(super) fn check(connection: &mut Connection) -> StoreResult<Check> {
    let policies = policies(connection)?;
    let assets: HashMap<i32, AssetCode> = asset::table
        .select((asset::id, asset::code))
        .load::<(i32, String)>(connection)?
        .into_iter()
        .map(|(key, code)| Ok((key, AssetCode::parse(&code).map_err(StoreError::corrupt)?)))
        .collect::<StoreResult<_>>()?;
    let mut levels = Levels { policies, assets, rows: 0, faults: Vec::new() };
    let rows = transfer::table
        .inner_join(policy_version::table.on(policy_version::id.eq(transfer::policy_version_id)))
        .filter(transfer::code.eq(TransferCode::Issue.number()))
        .order((transfer::customer_id, policy_version::policy_id, transfer::subject, transfer::asset_id))
        .select((
            transfer::customer_id,
            policy_version::policy_id,
            transfer::subject,
            transfer::asset_id,
            transfer::id,
            transfer::amount,
        ))
        .load_iter::<(String, i32, String, i32, Uuid, i64), PgRowByRowLoadingMode>(connection)?;
    let mut subject: Option<(String, i32, String, i32)> = None;
    let mut chain = Chain::new();
    for row in rows {
        let (customer, policy, name, asset, id, amount) = row?;
        let key = (customer, policy, name, asset);
        if subject.as_ref() != Some(&key) {
            levels.end_of_subject(subject.as_ref(), &mut chain)?;
            subject = Some(key);
        }
        levels.rows += 1;
        chain.push((id, amount));
    }
    levels.end_of_subject(subject.as_ref(), &mut chain)?;
    Ok(Check {
        name: "every credit's id follows from what it is for, so no subject is credited twice",
        rows: levels.rows,
        faults: levels.faults,
    })
}

fn policies(connection: &mut Connection) -> StoreResult<HashMap<i32, (CreditIds, PolicyId)>> {
    policy::table
        .inner_join(incident::table.on(incident::id.eq(policy::incident_id)))
        .select((policy::id, incident::name, policy::name))
        .load::<(i32, String, String)>(connection)?
        .into_iter()
        .map(|(key, incident, name)| {
            let incident = IncidentId::parse(&incident).map_err(StoreError::corrupt)?;
            let policy = PolicyId::parse(&name).map_err(StoreError::corrupt)?;
            Ok((key, (CreditIds::new(&incident, &policy), policy)))
        })
        .collect()
}

struct Levels {
    policies: HashMap<i32, (CreditIds, PolicyId)>,
    assets: HashMap<i32, AssetCode>,
    rows: i64,
    faults: Vec<String>,
}

impl Levels {
    /// Follows the chain of a subject from nothing; what is left over was credited without a right to it.
    fn end_of_subject(&mut self, subject: Option<&(String, i32, String, i32)>, chain: &mut Chain) -> StoreResult<()> {
        let Some((customer, policy, name, asset)) = subject else { return Ok(()) };
        let (Some((ids, policy)), Some(asset)) = (self.policies.get(policy), self.assets.get(asset)) else {
            return Err(StoreError::corrupt(format!("a credit of customer {customer} has no policy or asset")));
        };
        let customer_id = CustomerId::parse(customer).map_err(StoreError::corrupt)?;
        let mut before = Amount::ZERO;
        loop {
            let expected = ids.of(&customer_id, name, asset, before).0;
            let Some(place) = chain.iter().position(|(id, _)| *id == expected) else { break };
            let (_, amount) = chain.swap_remove(place);
            match before.checked_add(Amount::from_minor(amount)) {
                Some(sum) => before = sum,
                None => break,
            }
        }
        for (id, amount) in chain.drain(..) {
            if i64::try_from(self.faults.len()).is_ok_and(|faults| faults < MAX_FAULTS) {
                self.faults.push(format!(
                    "transfer {id} credits {amount} of {asset} to customer {customer} for {name} under {policy}, but its id \
                     follows from nothing the subject had"
                ));
            }
        }
        Ok(())
    }
}
