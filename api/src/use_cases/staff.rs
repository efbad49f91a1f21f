//! Who may give commands, and in which role.

use redress_store::staff::{self, StaffMember};

use crate::app::{Actor, App};
use crate::cli::Role;
use crate::error::{AppError, AppResult};

/// Adds a member of staff.
pub fn add(app: &App, name: &str, role: Role, actor: &Actor) -> AppResult<()> {
    redress_domain::id::CustomerId::parse(name)
        .map_err(|error| AppError::Invalid(error.to_string().replace("customer", "staff name")))?;
    app.store.transaction(|connection| {
        let entry = actor.entry("staff.add", format!("staff {name}"), serde_json::json!({ "role": role.as_str() }));
        let member =
            StaffMember { name: name.to_owned(), role: role.as_str().to_owned(), added_at: entry.at, revoked_at: None };
        staff::add(connection, &member).map_err(|error| match error.constraint() {
            Some("staff_pkey") => AppError::Refused(format!("the name {name:?} is taken; names are never used twice")),
            _ => error.into(),
        })?;
        Ok(redress_store::audit::append(connection, &[entry.after(&member)])?)
    })
}

/// Takes a member's rights away.
pub fn revoke(app: &App, name: &str, actor: &Actor) -> AppResult<()> {
    app.store.transaction(|connection| {
        let entry = actor.entry("staff.revoke", format!("staff {name}"), serde_json::json!({}));
        let before = staff::find_active(connection, name)?;
        staff::revoke(connection, name, entry.at)?;
        let after = StaffMember { revoked_at: Some(entry.at), ..before.clone() };
        Ok(redress_store::audit::append(connection, &[entry.before(&before).after(&after)])?)
    })
}

/// Refuses unless `name` is an active member of staff in one of the roles.
pub fn require(connection: &mut redress_store::Connection, name: &str, roles: &[Role]) -> AppResult<()> {
    let member = staff::find_active(connection, name).map_err(|error| match error {
        redress_store::StoreError::NotFound(_) => AppError::Refused(format!(
            "{name:?} is no active member of staff: redress staff add {name} --role {}",
            roles.first().map_or("administrator", |role| role.as_str())
        )),
        other => other.into(),
    })?;
    if roles.iter().any(|role| role.as_str() == member.role) {
        return Ok(());
    }
    let wanted: Vec<&str> = roles.iter().map(|role| role.as_str()).collect();
    Err(AppError::Refused(format!("{name} is {} and may not do this; it takes {}", member.role, wanted.join(" or "))))
}
