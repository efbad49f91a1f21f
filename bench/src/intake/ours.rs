//! Our server as `redress serve` starts it, logging and a limit of requests included; only the workers that send mail and compare
//! claims afterwards are left out, since intake waits for none of them.

use std::net::TcpListener;
use std::path::Path;

use redress::app::{Actor, App};
use redress::cli::{Cli, Command, Global, ServeArgs};
use redress::rights::Role;
use redress::settings::Settings;
use redress::use_cases::{incidents, policies, rosters, staff};
use redress::{http, telemetry};
use redress_domain::id::IncidentId;

use super::{INCIDENT, POOL_SIZE, said};

/// A limit that nobody reaches: requests are counted, and none is refused.
const A_MINUTE: u32 = u32::MAX;

fn settings(folder: &Path, url: &str) -> Result<Settings, String> {
    let global = Global { data_dir: folder.join("data"), database_url: Some(url.to_owned()), ..Global::default() };
    let mut settings = Settings::load(&global, None).map_err(said)?;
    settings.pool_size = POOL_SIZE;
    settings.rates.client = A_MINUTE;
    Ok(settings)
}

/// An installation with a policy that takes claims, and the customers who will file them.
pub(super) fn prepare(folder: &Path, url: &str, roster: &Path) -> Result<(), String> {
    let app = App::open(settings(folder, url)?).map_err(said)?;
    let actor = |name: &str| Actor { name: name.into(), origin: "bench".into() };
    for (name, role) in [("author", Role::PolicyAuthor), ("approver", Role::PolicyApprover)] {
        staff::add(&app, &staff::NewMember::new(name, role), &actor("bench")).map_err(said)?;
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies");
    incidents::load(&app, &folder.join("incidents").join(format!("{INCIDENT}.toml")), &actor("bench")).map_err(said)?;
    // As in any installation, the policies of the other services are in force as well.
    for entry in std::fs::read_dir(&folder).map_err(said)? {
        let policy = entry.map_err(said)?.path();
        let name = policy.to_string_lossy();
        if name.ends_with(".toml") && !name.ends_with(".cases.toml") {
            policies::publish(&app, &policy, &actor("author")).map_err(said)?;
            policies::approve(&app, &policy, &actor("approver")).map_err(said)?;
        }
    }
    let incident = IncidentId::parse(INCIDENT).map_err(said)?;
    rosters::import(&app, roster, &incident, None, &actor("bench")).map_err(said)?;
    Ok(())
}

/// Serves until it is killed; says its address on stdout.
pub(super) fn serve(folder: &Path, url: &str) -> Result<(), String> {
    telemetry::start(&Cli { global: Global::default(), command: Command::Serve(ServeArgs { listen: None }) });
    let app = App::open(settings(folder, url)?).map_err(said)?;
    let listener = TcpListener::bind("127.0.0.1:0").map_err(said)?;
    println!("{}", listener.local_addr().map_err(said)?);
    actix_web::rt::System::new().block_on(async { http::start(app, listener, true).map_err(said)?.await.map_err(said) })
}
