//! `redress staff …`: who may do what, and how the first of them comes in.

use std::io::{BufRead, IsTerminal};

use redress_domain::id::ServiceId;
use redress_store::staff as rows;

use super::print::table;
use super::{limit, print_or};
use crate::app::{Actor, App};
use crate::cli::{Format, StaffCommand};
use crate::error::{AppError, AppResult};
use crate::use_cases::enrolment::{self, PasswordSet};
use crate::use_cases::limits::Limited;
use crate::use_cases::staff::{self, NewMember};

pub(super) fn run(app: &App, command: StaffCommand, format: Format) -> AppResult<()> {
    let actor = Actor::at_command_line(None);
    match command {
        StaffCommand::Add { name, role, service, decides_up_to } => {
            let services = service.iter().map(|name| service_flag(name)).collect::<AppResult<Vec<_>>>()?;
            let services = (!services.is_empty()).then_some(services);
            let decides_up_to = decides_up_to.map(|own| role.narrowed(own.into())).transpose();
            let decides_up_to = decides_up_to.map_err(|error| AppError::Usage(format!("--decides-up-to: {error}")))?;
            add(app, &NewMember { services, decides_up_to, ..NewMember::new(&name, role) }, &actor, format)
        }
        StaffCommand::Passwd { name, keep_factor } => {
            let set = enrolment::set_password(app, &name, &read_password()?, keep_factor, &actor)?;
            print_or(format, &set, || print_password_set(&name, &set));
            Ok(())
        }
        StaffCommand::List => list(app, format),
        StaffCommand::Limit(args) => limit::run(app, Limited::Decision, &args, format),
        StaffCommand::Revoke { name } => {
            staff::revoke(app, &name, &actor)?;
            print_or(format, &serde_json::json!({ "name": name, "state": "revoked" }), || {
                println!("{name} may do nothing any more.");
            });
            Ok(())
        }
    }
}

fn service_flag(name: &str) -> AppResult<ServiceId> {
    ServiceId::parse(name).map_err(|error| AppError::Usage(format!("--service: {error}")))
}

fn add(app: &App, new: &NewMember, actor: &Actor, format: Format) -> AppResult<()> {
    let invitation = staff::add(app, new, actor)?;
    let (name, role) = (&new.name, new.role.as_str());
    let answer = serde_json::json!({
        "name": name, "role": role, "setup_token": invitation.setup_token, "setup_until": invitation.setup_until,
    });
    print_or(format, &answer, || {
        println!("{name} is {role} now.");
        println!(
            "To sign in, {name} sets a password and a second factor with this token, once, until {}:",
            invitation.setup_until
        );
        println!("  {}", invitation.setup_token);
    });
    Ok(())
}

/// The password, typed twice at a terminal, or the first line of stdin; never an argument, which others could read.
fn read_password() -> AppResult<String> {
    if std::io::stdin().is_terminal() {
        let ask = |prompt: &str| rpassword::prompt_password(prompt).map_err(AppError::io("reading the password"));
        let password = ask("Password: ")?;
        if ask("Again: ")? != password {
            return Err(AppError::Invalid("both must be the same".into()));
        }
        return Ok(password);
    }
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(AppError::io("reading the password from stdin"))?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn print_password_set(name: &str, set: &PasswordSet) {
    println!("{name} has a new password; all sessions have ended.");
    if let Some(enrolment) = &set.enrolment {
        println!("For the authenticator, shown this once:\n  {}", enrolment.otpauth_uri);
        println!("Codes for when it is lost, each good once:");
        set.recovery_codes.iter().for_each(|code| println!("  {code}"));
    }
}

fn list(app: &App, format: Format) -> AppResult<()> {
    let members = app.store.with(|connection| rows::list(connection, "", i64::MAX))?;
    print_or(format, &members, || {
        let lines: Vec<Vec<String>> = members
            .iter()
            .map(|member| {
                let state = member.revoked_at.map_or("active".to_owned(), |at| format!("revoked {at}"));
                vec![member.name.clone(), member.role.clone(), state]
            })
            .collect();
        table(&["name", "role", "state"], &lines);
    });
    Ok(())
}
