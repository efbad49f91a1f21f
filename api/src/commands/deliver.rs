//! `redress deliver`: one pass of the worker, and what a person does about deliveries that did not arrive.

use std::process::ExitCode;

use redress_domain::asset::grouped;
use redress_store::deliveries::{Filter, Reach};

use super::print::table;
use super::print_or;
use crate::app::{Actor, App};
use crate::cli::{DeliverArgs, Format};
use crate::error::AppResult;
use crate::outgoing::Outgoing;
use crate::rights::Right;
use crate::use_cases::deliveries::desk::{self, DeliveryView, StandingView};
use crate::use_cases::deliveries::send_due;
use crate::use_cases::staff;
use crate::use_cases::webhooks::events;

/// The most deliveries that are listed.
const SHOWN: i64 = 500;

/// Sends, lists or sends again.
pub(super) fn run(app: &App, args: DeliverArgs, format: Format) -> AppResult<ExitCode> {
    match (args.retry, args.by) {
        (Some(ids), Some(by)) => {
            let actor = Actor::at_command_line(Some(&by));
            let member = app.store.with(|connection| staff::require(connection, &by, Right::ManageDeliveries, None))?;
            let mut retried = ids.len();
            for id in &ids {
                desk::retry(app, *id, &member, &actor)?;
            }
            if ids.is_empty() {
                retried = desk::retry_all_dead(app, &member, &actor)?;
            }
            let done = serde_json::json!({ "retried": retried });
            print_or(format, &done, || println!("{retried} deliveries go again with the next pass: redress deliver"));
            Ok(ExitCode::SUCCESS)
        }
        _ if args.list => list(app, format),
        (_, by) => pass(app, &Actor::at_command_line(by.as_deref()), format),
    }
}

fn pass(app: &App, actor: &Actor, format: Format) -> AppResult<ExitCode> {
    let outgoing = Outgoing::new(&app.settings);
    let pass = send_due(app, &outgoing, actor, Reach::All, &|| false)?;
    let told = events::send_due(app, &outgoing, &|| false)?;
    let mut done = serde_json::to_value(pass).map_err(redress_store::StoreError::corrupt)?;
    done["webhooks"] = serde_json::json!(told);
    print_or(format, &done, || {
        let number = |n: u64| grouped(&n.to_string());
        println!(
            "{} deliveries answered: {} credits granted, {} refused. {} await their acknowledgement, {} go again later, {} are dead.",
            number(pass.sent),
            number(pass.delivered),
            number(pass.refused),
            number(pass.awaiting),
            number(pass.postponed),
            number(pass.dead)
        );
        if pass.refused > 0 || pass.dead > 0 {
            println!("redress deliver --list says which and why.");
        }
        if told != events::Pass::default() {
            let [sent, postponed, dead] = [told.sent, told.postponed, told.dead].map(number);
            println!("Webhooks: told of {sent} events of claims; {postponed} go again later, {dead} are dead.");
        }
    });
    Ok(if pass.refused == 0 && pass.dead == 0 && told.dead == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn list(app: &App, format: Format) -> AppResult<ExitCode> {
    let deliveries = desk::list(app, &Filter::default(), SHOWN)?;
    let services = desk::standing(app)?;
    let all = serde_json::json!({ "services": services, "deliveries": deliveries });
    print_or(format, &all, || print_list(&services, &deliveries));
    Ok(ExitCode::SUCCESS)
}

fn print_list(services: &[StandingView], deliveries: &[DeliveryView]) {
    if services.is_empty() {
        println!("Nothing was issued yet.");
        return;
    }
    let number = |n: i64| if n == 0 { "·".to_owned() } else { grouped(&n.to_string()) };
    let rows: Vec<Vec<String>> = services
        .iter()
        .map(|service| {
            let counts = [service.unplanned, service.queued, service.awaiting, service.refused, service.dead];
            let mut row = vec![service.service.clone(), service.by.to_owned()];
            row.extend(counts.into_iter().map(number));
            row.push(service.last_error.clone().unwrap_or_default());
            row
        })
        .collect();
    table(&["service", "by", ">credits in none", ">queued", ">awaiting", ">refused", ">dead", "failing"], &rows);
    if deliveries.is_empty() {
        return;
    }
    println!();
    let rows: Vec<Vec<String>> = deliveries
        .iter()
        .map(|delivery| {
            vec![
                delivery.id.to_string(),
                delivery.service.clone(),
                delivery.state.clone(),
                number(i64::from(delivery.credits)),
                number(delivery.refused),
                delivery.attempts.to_string(),
                delivery.queued_at.format("%Y-%m-%d %H:%M").to_string(),
                delivery.last_error.clone().unwrap_or_default(),
            ]
        })
        .collect();
    table(&["delivery", "service", "state", ">credits", ">refused", ">tries", "since (UTC)", "why"], &rows);
}
