//! What the demo prints at the end: a page a person enjoys reading, or one JSON document.

use std::collections::BTreeMap;
use std::time::Duration;

use redress_domain::asset::grouped;
use redress_domain::id::IncidentId;
use redress_store::verify::Check;
use redress_store::{incidents, policies, summary};
use serde_json::json;

use crate::app::App;
use crate::cli::Format;
use crate::commands::print::{document, lines};
use crate::error::AppResult;
use crate::use_cases::claims::queue::{self, QueueView};
use crate::use_cases::claims::triage::{self, AgreementFigure};
use crate::use_cases::issue::Tally;
use crate::use_cases::reports::{self, CreditExposure};
use crate::use_cases::rosters::Imported;

/// What one service came to.
#[derive(Debug, Default, Clone, serde::Serialize)]
struct ServiceLine {
    title: String,
    /// Customers owed something without asking.
    owed_without_asking: u64,
    /// Enquiries, answered at once.
    enquiries: u64,
    /// Damage reports, each loss once.
    claimed: u64,
    /// Reports granted, whole or in part.
    awarded: u64,
    /// Reports declined, with a reason and an appeal.
    declined: u64,
    /// Reports and holdings that a person decides.
    left_to_people: u64,
    /// Reports that wait for a policy.
    waiting: u64,
}

/// The demo's outcome.
#[derive(Default)]
pub struct Summary {
    pub(super) customers: u64,
    pub(super) sent: u64,
    pub(super) roster: Option<Imported>,
    pub(super) issued: Option<u64>,
    pub(super) mails: u64,
    pub(super) mail_goes_to: String,
    pub(super) checks: Vec<Check>,
    pub(super) books_hold: bool,
    pub(super) tally: Tally,
    pub(super) steps: Vec<(String, Duration)>,
    pub(super) address: String,
    services: BTreeMap<String, ServiceLine>,
    queues: Vec<QueueView>,
    readings: Vec<AgreementFigure>,
    credits: Vec<CreditExposure>,
}

impl Summary {
    /// Reads the figures that the database has.
    pub(super) fn collect(&mut self, app: &App, incident: &IncidentId) -> AppResult<()> {
        let services = &mut self.services;
        let tally = &self.tally;
        app.store.with(|connection| -> AppResult<()> {
            let found = incidents::find(connection, incident)?;
            for service in &found.incident.services {
                let line = ServiceLine { title: service.title.ko.clone(), ..ServiceLine::default() };
                services.insert(service.id.to_string(), line);
            }
            for version in policies::in_force(connection, found.key)? {
                let active = app.policies.compile(&version)?;
                let Some(policy) = tally.policies.get(active.policy.id().as_str()) else { continue };
                let line = services.entry(found.service_name(version.service_key)).or_default();
                line.left_to_people += policy.review + policy.failed;
                if active.is_automatic() {
                    // Several policies of a service may reach the same customer; the widest one counts them.
                    line.owed_without_asking = line.owed_without_asking.max(policy.customers);
                }
            }
            for count in summary::claims(connection, found.key)? {
                let line = services.entry(count.service).or_default();
                let claims = u64::try_from(count.claims).unwrap_or(0);
                match count.kind.as_str() {
                    "damage" => line.claimed += claims,
                    "enquiry" => line.enquiries += claims,
                    _ => continue,
                }
                match count.state.as_str() {
                    "approved" | "partly_approved" | "issued" => line.awarded += claims,
                    "declined" => line.declined += claims,
                    "pending_policy" => line.waiting += claims,
                    "closed" => {}
                    _ => line.left_to_people += claims,
                }
            }
            self.queues = queue::queues(connection, None)?;
            self.readings = triage::agreement(connection)?;
            Ok(())
        })?;
        self.credits =
            reports::exposure(app, Some(incident))?.incidents.into_iter().flat_map(|exposed| exposed.credits).collect();
        Ok(())
    }

    /// Prints it all.
    pub(super) fn print(&self, format: Format) {
        match format {
            Format::Json => document(&self.json()),
            Format::Text => self.text(),
        }
    }

    fn json(&self) -> serde_json::Value {
        let steps: Vec<_> = self
            .steps
            .iter()
            .map(|(step, took)| json!({ "step": step, "milliseconds": u64::try_from(took.as_millis()).unwrap_or(0) }))
            .collect();
        json!({
            "customers": self.customers,
            "roster": self.roster,
            "claims": self.sent,
            "issued": self.issued,
            "services": self.services,
            "queues": self.queues,
            "second_readings": self.readings,
            "credits": self.credits,
            "mails": { "written": self.mails, "to": self.mail_goes_to },
            "books_hold": self.books_hold,
            "steps": steps,
            "address": self.address,
        })
    }

    fn text(&self) {
        let number = |n: u64| if n == 0 { "·".to_owned() } else { grouped(&n.to_string()) };
        println!("\nThe outage of 15 October 2022, played again\n");
        let mut rows = Vec::new();
        for (service, line) in &self.services {
            rows.push(vec![
                service.clone(),
                line.title.clone(),
                number(line.owed_without_asking),
                number(line.enquiries),
                number(line.claimed),
                number(line.awarded),
                number(line.declined),
                number(line.left_to_people),
                number(line.waiting),
            ]);
        }
        let headings = [
            "service",
            "",
            ">owed, no claim",
            ">enquiries",
            ">reports",
            ">awarded",
            ">declined",
            ">to people",
            ">awaiting a policy",
        ];
        lines(&headings, &rows).iter().for_each(|line| println!("{line}"));
        println!();
        if self.issued.is_some() {
            self.credited();
        } else {
            println!(
                "  No credits were issued (--skip-issue). To issue them: redress issue --incident {}\n",
                super::INCIDENT
            );
        }
        if let Some(roster) = &self.roster {
            let refused = match &roster.refusals {
                Some(path) => format!(
                    "{} rows were refused, with reasons: {}",
                    grouped(&roster.refused.to_string()),
                    path.display()
                ),
                None => "no row was refused".to_owned(),
            };
            let (customers, holdings) = (grouped(&self.customers.to_string()), grouped(&roster.accepted.to_string()));
            println!("  {customers} customers with {holdings} holdings in the roster; {refused}.");
        }
        self.left_to_people();
        println!(
            "  {} reports and enquiries over HTTP, {} mails to {}.",
            grouped(&self.sent.to_string()),
            grouped(&self.mails.to_string()),
            self.mail_goes_to
        );
        let read: i64 = self.checks.iter().map(|check| check.rows).sum();
        if self.books_hold {
            println!("  The books hold: {} checks over {} rows.\n", self.checks.len(), grouped(&read.to_string()));
        } else {
            println!("  THE BOOKS DO NOT HOLD: redress verify says where.\n");
        }
        for (step, took) in &self.steps {
            println!("  {:>8.1} s  {step}", took.as_secs_f64());
        }
        println!(
            "\n  Redress:  {}\n  API:      {}/docs/\n  Mail:     {}/dev/mail\n",
            self.address, self.address, self.address
        );
    }

    /// What waits for people, and what is read again to check whoever decided.
    fn left_to_people(&self) {
        let queues = self.queues.iter().map(|queue| format!("{} {}", queue.queue, grouped(&queue.waiting.to_string())));
        println!("  Waiting for people, by queue: {}.", queues.collect::<Vec<_>>().join(", "));
        let drawn = |sample: &str| {
            let of = self.readings.iter().filter(|figure| figure.sample == sample);
            grouped(&of.map(|figure| figure.drawn).sum::<i64>().to_string())
        };
        println!(
            "  Drawn for a second reader: {} declines, {} of all decisions (redress report agreement).",
            drawn("decline"),
            drawn("random")
        );
    }

    fn credited(&self) {
        let worth = |text: &Option<String>| {
            let text = text.as_deref().unwrap_or("·");
            text.split_once(' ').map_or_else(|| text.to_owned(), |(n, asset)| format!("{} {asset}", grouped(n)))
        };
        let rows: Vec<Vec<String>> = self
            .credits
            .iter()
            .map(|credit| {
                vec![
                    credit.policy.clone(),
                    credit.asset.clone(),
                    grouped(&credit.credits.to_string()),
                    grouped(&credit.amount),
                    worth(&credit.face),
                    worth(&credit.cost),
                ]
            })
            .collect();
        lines(&["policy", "asset", ">credits", ">amount", ">face value", ">cost"], &rows)
            .iter()
            .for_each(|line| println!("{line}"));
        println!("\n  {} credits were issued, each exactly once.", grouped(&self.issued.unwrap_or(0).to_string()));
    }
}
