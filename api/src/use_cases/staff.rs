//! Who may give commands, and in which role.

use chrono::{DateTime, SubsecRound, Utc};
use redress_domain::id::{MAX_NAME_LENGTH, ServiceId};
use redress_store::staff::{self, StaffMember};
use redress_store::{Connection, StoreError, api_keys, sessions};
use serde::Serialize;
use utoipa::ToSchema;

use super::catalogue::Page;
use super::claims::assign::give_back;
use super::enrolment::{self, Invitation};
use crate::app::{Actor, App};
use crate::error::{AppError, AppResult};
use crate::identity_provider::Person;
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
    /// The largest amount of money decided alone, at most the role's own limit, which counts when none.
    pub decides_up_to: Option<i64>,
}

impl NewMember {
    /// Somebody with all that the role has.
    #[must_use]
    pub fn new(name: &str, role: Role) -> Self {
        Self { name: name.to_owned(), role, services: None, decides_up_to: None }
    }
}

/// Whether a new member may have a name: it stands for a person in the log, so that none may look like another's, like a
/// claimant's (`customer:…`) or like everybody's (`*`).
fn is_plain(name: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let plain = |byte: u8| letter(byte) || b"._-".contains(&byte);
    name.len() <= MAX_NAME_LENGTH && name.bytes().next().is_some_and(letter) && name.bytes().all(plain)
}

/// Adds a member of staff, who sets himself up with the token of the answer.
pub fn add(app: &App, new: &NewMember, actor: &Actor) -> AppResult<Invitation> {
    let name = &new.name;
    if !is_plain(name) {
        let why =
            "a staff name may have only a-z, 0-9, dots, hyphens and underscores, and begins with a letter or digit";
        return Err(AppError::Field("/name".into(), why.into()));
    }
    if let Some(own) = new.decides_up_to {
        new.role.narrowed(own).map_err(|error| AppError::Field("/decides_up_to".into(), error))?;
    }
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
            Some("staff_pkey") => AppError::Conflict(format!("the name {name:?} is taken; names are never used twice")),
            _ => error.into(),
        })?;
        let invitation = enrolment::invite(connection, name, member.added_at)?;
        redress_store::audit::append(connection, &[entry.after(&member)])?;
        Ok(invitation)
    })
}

/// Adds whom the identity provider speaks of; his name must be nobody else's.
pub(super) fn add_of_provider(connection: &mut Connection, person: &Person) -> AppResult<String> {
    let name = &person.name;
    // Providers have names in capitals and addresses; what stands in the log must all the same not look like a claimant's.
    if !is_plain(&name.to_ascii_lowercase().replace('@', "-")) {
        return Err(AppError::Invalid(format!(
            "staff name {name:?} may have only letters, digits, dots, hyphens, underscores and @, and begins with a letter or digit"
        )));
    }
    let actor = Actor { name: name.to_string(), origin: "oidc".into() };
    let entry = actor.entry("staff.add", format!("staff {name}"), serde_json::json!({ "role": person.role }));
    let member = StaffMember {
        name: name.to_string(),
        role: person.role.as_str().to_owned(),
        added_at: entry.at,
        revoked_at: None,
        services: None,
        decides_up_to: None,
        subject: Some(person.subject.clone()),
    };
    staff::add(connection, &member).map_err(|error| match error.constraint() {
        Some("staff_pkey") => AppError::Conflict(format!("the name {name} is another member's")),
        _ => error.into(),
    })?;
    redress_store::audit::append(connection, &[entry.after(&member)])?;
    Ok(member.name)
}

/// Gives a member the role that the identity provider's groups make now.
pub(super) fn follow_role(connection: &mut Connection, before: &StaffMember, role: Role) -> AppResult<()> {
    if before.role == role.as_str() {
        return Ok(());
    }
    let actor = Actor { name: before.name.clone(), origin: "oidc".into() };
    let entry = actor.entry("staff.role", format!("staff {}", before.name), serde_json::json!({ "role": role }));
    staff::set_role(connection, &before.name, role.as_str())?;
    if !Right::WorkClaims.is_of(role) {
        give_back(connection, &before.name, &actor, entry.at)?;
    }
    let after = StaffMember { role: role.as_str().to_owned(), ..before.clone() };
    Ok(redress_store::audit::append(connection, &[entry.before(before).after(&after)])?)
}

/// Takes a member's rights away, ends the sessions, revokes the keys, and gives his claims back to their queues.
pub fn revoke(app: &App, name: &str, actor: &Actor) -> AppResult<DateTime<Utc>> {
    app.store.transaction(|connection| {
        let at = Utc::now().trunc_subsecs(6);
        let before = staff::find_active(connection, name)?;
        staff::revoke(connection, name, at)?;
        let sessions = sessions::end_all(connection, name, at)?;
        let keys = api_keys::revoke_all(connection, name, at)?;
        let claims = give_back(connection, name, actor, at)?;
        let detail = serde_json::json!({ "sessions": sessions, "api_keys": keys, "claims": claims });
        let entry = actor.entry("staff.revoke", format!("staff {name}"), detail);
        let after = StaffMember { revoked_at: Some(at), ..before.clone() };
        redress_store::audit::append(connection, &[entry.before(&before).after(&after)])?;
        Ok(at)
    })
}

/// A member, as others of the staff see him.
#[derive(Debug, Serialize, ToSchema)]
pub struct MemberView {
    /// The name.
    pub name: String,
    /// The role.
    pub role: Role,
    /// The services; all when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    pub services: Option<Vec<ServiceId>>,
    /// The largest amount of money decided alone, in the currency's unit.
    pub decides_up_to: String,
    /// Since when.
    pub added_at: DateTime<Utc>,
    /// Until when, if revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<DateTime<Utc>>,
}

/// A page of the members, by name.
pub fn list(app: &App, page: &Page) -> AppResult<Vec<MemberView>> {
    let rows = app.store.with(|connection| staff::list(connection, &page.after, page.limit))?;
    let view = |row: StaffMember| {
        let (added_at, revoked_at) = (row.added_at, row.revoked_at);
        let member = Member::try_from(row)?;
        let decides_up_to = member.decides_up_to().to_string();
        Ok(MemberView {
            name: member.name,
            role: member.role,
            services: member.services,
            decides_up_to,
            added_at,
            revoked_at,
        })
    };
    rows.into_iter().map(view).collect()
}

/// The member of a name, if he is active and has the right (for the service, if one is named).
pub fn require(
    connection: &mut Connection,
    name: &str,
    right: Right,
    service: Option<&ServiceId>,
) -> AppResult<Member> {
    let row = match staff::find_active(connection, name) {
        Err(StoreError::NotFound(_)) => return Err(nobody(connection, name, right)?),
        found => found?,
    };
    let member = Member::try_from(row)?;
    member.require(right, service)?;
    Ok(member)
}

/// Why a name is nobody's, and what to do: whoever was revoked stays so.
fn nobody(connection: &mut Connection, name: &str, right: Right) -> AppResult<AppError> {
    let role = right.roles().next().unwrap_or(Role::Administrator).as_str();
    Ok(AppError::Forbidden(match staff::revoked_at(connection, name)? {
        Some(at) => format!(
            "{name:?} is no active member of staff: revoked on {}, and names are never used twice; name another member, \
             or redress staff add ANOTHER --role {role}",
            at.format("%Y-%m-%d")
        ),
        None => format!("{name:?} is no active member of staff: redress staff add {name} --role {role}"),
    }))
}

/// The same, for what concerns every service at once.
pub fn require_everywhere(connection: &mut Connection, name: &str, right: Right) -> AppResult<Member> {
    let member = require(connection, name, right, None)?;
    member.require_everywhere()?;
    Ok(member)
}
