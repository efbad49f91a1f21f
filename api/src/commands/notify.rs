//! `redress notify`: one pass of the worker, and what a person does about notices that did not arrive.

use super::print::table;
use super::print_or;
use crate::app::{Actor, App};
use crate::cli::{Format, NotifyArgs};
use crate::error::AppResult;
use crate::mail::Mailer;
use crate::rights::Right;
use crate::use_cases::notices::desk::{self, RequeueOrder};
use crate::use_cases::notices::send_due;
use crate::use_cases::staff;

/// Sends, lists or queues again.
pub(super) fn run(app: &App, args: NotifyArgs, format: Format) -> AppResult<()> {
    match (args.requeue, args.by) {
        (Some(ids), Some(by)) => {
            let actor = Actor::at_command_line(Some(&by));
            app.store.with(|connection| staff::require(connection, &by, Right::ManageNotices, None))?;
            let done = desk::requeue(app, &RequeueOrder { ids }, &actor)?;
            print_or(format, &done, || println!("{} notices are queued again.", done.changed));
        }
        _ if args.dead => list(app, format)?,
        _ => {
            let pass = send_due(app, &Mailer::new(&app.settings)?, &|| false)?;
            print_or(format, &pass, || {
                println!("{} notices sent, {} postponed, {} dead.", pass.sent, pass.postponed, pass.dead);
            });
        }
    }
    Ok(())
}

fn list(app: &App, format: Format) -> AppResult<()> {
    let notices = desk::troubled(app, None)?;
    print_or(format, &notices, || {
        let lines: Vec<Vec<String>> = notices
            .iter()
            .map(|notice| {
                let error = notice.last_error.clone().unwrap_or_default();
                vec![notice.id.to_string(), notice.event.clone(), notice.state.clone(), notice.claim.to_string(), error]
            })
            .collect();
        table(&["notice", "event", "state", "claim", "why"], &lines);
    });
    Ok(())
}
