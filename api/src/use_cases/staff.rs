//! Who may give commands, and in which role.

use chrono::SubsecRound;
use redress_domain::id::ServiceId;
use redress_store::staff::{self, StaffMember};
use redress_store::{Connection, StoreError, api_keys, sessions};

use crate::app::{Actor, App};
use crate::error::{AppError, AppResult};
use crate::rights::{Member, Right, Role};

/// Somebody who is to be a member of staff.
#[derive(Debug, Clone)]
pub struct NewMember {
    /// The name, which is never used twice.
    pub name: String,
    /// The role.
    pub role: Role,
    /// The services; all when none.
    pub services: Option<Vec<ServiceId>>,
    /// The largest amount of money decided alone; the role's own limit when none.
    pub decides_up_to: Option<i64>,
}

impl NewMember {
    /// Somebody with all that the role has.
    #[must_use]
    pub fn new(name: &str, role: Role) -> Self {
        Self { name: name.to_owned(), role, services: None, decides_up_to: None }
    }
}

/// Adds a member of staff.
pub fn add(app: &App, new: &NewMember, actor: &Actor) -> AppResult<()> {
    let name = &new.name;
    redress_domain::id::CustomerId::parse(name)
        .map_err(|error| AppError::Invalid(error.to_string().replace("customer", "staff name")))?;
    let services = new.services.as_ref().map(serde_json::to_value).transpose().map_err(StoreError::corrupt)?;
    app.store.transaction(|connection| {
        let entry = actor.entry(
            "staff.add",
            format!("staff {name}"),
            serde_json::json!({ "role": new.role, "services": services, "decides_up_to": new.decides_up_to }),
        );
        let member = StaffMember {
            name: name.clone(),
            role: new.role.as_str().to_owned(),
            added_at: entry.at,
            revoked_at: None,
            services,
            decides_up_to: new.decides_up_to,
            subject: None,
        };
        staff::add(connection, &member).map_err(|error| match error.constraint() {
            Some("staff_pkey") => AppError::Refused(format!("the name {name:?} is taken; names are never used twice")),
            _ => error.into(),
        })?;
        Ok(redress_store::audit::append(connection, &[entry.after(&member)])?)
    })
}

/// Takes a member's rights away, ends the sessions and revokes the keys.
pub fn revoke(app: &App, name: &str, actor: &Actor) -> AppResult<()> {
    app.store.transaction(|connection| {
        let at = chrono::Utc::now().trunc_subsecs(6);
        let before = staff::find_active(connection, name)?;
        staff::revoke(connection, name, at)?;
        let sessions = sessions::end_all(connection, name, at)?;
        let keys = api_keys::revoke_all(connection, name, at)?;
        let detail = serde_json::json!({ "sessions": sessions, "api_keys": keys });
        let entry = actor.entry("staff.revoke", format!("staff {name}"), detail);
        let after = StaffMember { revoked_at: Some(at), ..before.clone() };
        Ok(redress_store::audit::append(connection, &[entry.before(&before).after(&after)])?)
    })
}

/// The member of a name, if he is active and has the right (for the service, if one is named).
pub fn require(
    connection: &mut Connection,
    name: &str,
    right: Right,
    service: Option<&ServiceId>,
) -> AppResult<Member> {
    let row = staff::find_active(connection, name).map_err(|error| match error {
        StoreError::NotFound(_) => AppError::Forbidden(format!(
            "{name:?} is no active member of staff: redress staff add {name} --role {}",
            right.roles().next().unwrap_or(Role::Administrator).as_str()
        )),
        other => other.into(),
    })?;
    let member = Member::try_from(row)?;
    member.require(right, service)?;
    Ok(member)
}
