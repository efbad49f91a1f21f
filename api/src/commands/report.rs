//! How the reports about people and duties look.

use redress_domain::asset::grouped;

use super::print::table;
use crate::use_cases::claims::triage::AgreementFigure;
use crate::use_cases::reports::{Funnel, NoticeClocks};

/// How far people came.
pub(super) fn funnel(report: &Funnel) {
    for incident in &report.incidents {
        println!("Incident {}", incident.incident);
        let rows: Vec<Vec<String>> = incident
            .services
            .iter()
            .map(|service| {
                let figures = [
                    service.customers,
                    service.credited_automatically,
                    service.enquiries,
                    service.sent,
                    service.decided,
                    service.granted,
                    service.credited,
                    service.waiting_for_claimant,
                    service.waiting_for_operator,
                    service.declined,
                ];
                let figures = figures.iter().map(|figure| grouped(&figure.to_string()));
                std::iter::once(service.service.clone()).chain(figures).collect()
            })
            .collect();
        let headings = [
            "service",
            ">customers",
            ">paid unasked",
            ">enquiries",
            ">reported",
            ">decided",
            ">granted",
            ">paid",
            ">claimant's turn",
            ">our turn",
            ">declined",
        ];
        table(&headings, &rows);
    }
}

/// How second readers agree.
pub(super) fn agreement(figures: &[AgreementFigure]) {
    let rows: Vec<Vec<String>> = figures
        .iter()
        .map(|figure| {
            let numbers = [figure.drawn, figure.read, figure.agreed].map(|number| grouped(&number.to_string()));
            let share =
                if figure.read == 0 { String::new() } else { format!("{} %", figure.agreed * 100 / figure.read) };
            let names = [&figure.policy, &figure.sample, &figure.decided_by].map(String::clone);
            names.into_iter().chain(numbers).chain([share]).collect()
        })
        .collect();
    table(&["policy", "drawn from", "decided by", ">drawn", ">read again", ">agreed", ">"], &rows);
}

/// Whether what has to be announced was in time.
pub(super) fn notice_clocks(report: &NoticeClocks) {
    for incident in &report.incidents {
        println!("Incident {}: how damages are claimed has to be announced within 30 days", incident.incident);
        let rows: Vec<Vec<String>> = incident
            .services
            .iter()
            .map(|service| {
                let state = serde_json::to_value(service.state).ok();
                let state = state.as_ref().and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
                let announced = service.announced_at.map(|at| at.to_string()).unwrap_or_default();
                vec![
                    service.service.clone(),
                    service.ended_at.to_string(),
                    service.due_at.to_string(),
                    announced,
                    state,
                ]
            })
            .collect();
        table(&["service", "ended", "due", "announced", ""], &rows);
    }
}
