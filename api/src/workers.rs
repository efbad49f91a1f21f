//! Threads that work beside the server until it stops.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use redress_store::deliveries;
use redress_store::log::seal::Reach;

use crate::app::{Actor, App};
use crate::error::{AppError, AppResult};
use crate::mail::Mailer;
use crate::outgoing::Outgoing;
use crate::use_cases::deliveries::send_due;
use crate::use_cases::issue::Watcher;
use crate::use_cases::{audit, claimants, claims, evidence, notices, policies, runs, webhooks};

/// How often the outbox is looked at.
const PAUSE: Duration = Duration::from_secs(1);
/// How often the log is sealed: each pass that finds something signs a head.
const PAUSE_OF_SEALER: Duration = Duration::from_secs(5);
/// How often claims that wait are looked at.
const PAUSE_OF_READER: Duration = Duration::from_secs(10);
/// How often files are looked for whose upload was never acknowledged.
const PAUSE_OF_SWEEPER: Duration = Duration::from_secs(60);
/// How often what was issued is looked through from the beginning for credits that no delivery has.
const PAUSE_OF_FULL_LOOK: Duration = Duration::from_secs(600);
/// How often claims are looked for of which nothing is left to do: it is not urgent.
const PAUSE_OF_CLOSER: Duration = Duration::from_secs(600);
/// The pause after a pass that failed: the database is away.
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(10);

/// The workers of a server; [`Workers::stop`] waits until each has finished what it was at.
#[derive(Default)]
pub struct Workers {
    stop: Vec<Sender<()>>,
    leaving: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// Starts the workers.
    pub fn start(app: &App) -> AppResult<Self> {
        let mailer = Mailer::new(&app.settings)?;
        let mut workers = Self::default();
        let sender = app.clone();
        workers.add("notices", move |stopped| send_notices(&sender, &mailer, stopped))?;
        workers.add_sealer(app)?;
        let (teller, leaving) = (app.clone(), Arc::clone(&workers.leaving));
        workers.add("deliveries", move |stopped| deliver_credits(&teller, &leaving, stopped))?;
        let (teller, leaving) = (app.clone(), Arc::clone(&workers.leaving));
        workers.add("webhooks", move |stopped| tell_of_claims(&teller, &leaving, stopped))?;
        let sweeper = app.clone();
        workers.add("evidence", move |stopped| sweep_evidence(&sweeper, stopped))?;
        let reader = app.clone();
        workers.add("claims", move |stopped| assess_claims(&reader, stopped))?;
        let closer = app.clone();
        workers.add("closing", move |stopped| close_claims(&closer, stopped))?;
        let (issuer, leaving) = (app.clone(), UntilLeaving(Arc::clone(&workers.leaving)));
        workers.add("runs", move |stopped| execute_runs(&issuer, &leaving, stopped))?;
        if app.database().embedded().is_some() {
            let keeper = app.clone();
            workers.add("database", move |stopped| keep_database(&keeper, stopped))?;
        }
        Ok(workers)
    }

    /// Starts only what seals the log, for a long command.
    pub fn sealing(app: &App) -> AppResult<Self> {
        let mut workers = Self::default();
        workers.add_sealer(app)?;
        Ok(workers)
    }

    fn add_sealer(&mut self, app: &App) -> AppResult<()> {
        let app = app.clone();
        self.add("sealer", move |stopped| seal_log(&app, stopped))
    }

    fn add(&mut self, name: &str, work: impl FnOnce(&Receiver<()>) + Send + 'static) -> AppResult<()> {
        let (stop, stopped) = channel();
        let thread = std::thread::Builder::new()
            .name(name.into())
            .spawn(move || work(&stopped))
            .map_err(AppError::io(format!("starting the worker {name}")))?;
        self.stop.push(stop);
        self.threads.push(thread);
        Ok(())
    }

    /// Lets each worker finish what it is at.
    pub fn stop(self) {
        self.leaving.store(true, Ordering::Relaxed);
        drop(self.stop);
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a worker panicked");
            }
        }
    }
}

fn send_notices(app: &App, mailer: &Mailer, stopped: &Receiver<()>) {
    let mut pause = PAUSE;
    let stop = || stopped.try_recv() == Err(TryRecvError::Disconnected);
    while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
        let sent = claimants::send_codes(app, mailer).and_then(|_| notices::send_due(app, mailer, &stop));
        pause = match sent {
            Ok(_) => PAUSE,
            Err(error) => {
                tracing::error!(%error, "notices stand still");
                PAUSE_AFTER_ERROR
            }
        };
    }
}

/// Tells services to grant what was issued.
fn deliver_credits(app: &App, leaving: &AtomicBool, stopped: &Receiver<()>) {
    let actor = Actor { name: "system".into(), origin: "worker".into() };
    let outgoing = Outgoing::new(&app.settings);
    let stop = || leaving.load(Ordering::Relaxed);
    let (mut pause, mut full_look): (_, Option<Instant>) = (PAUSE, None);
    while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
        // The first pass looks at everything: an earlier process may have died before it looked.
        let all = full_look.is_none_or(|last| last.elapsed() >= PAUSE_OF_FULL_LOOK);
        let reach = if all { deliveries::Reach::All } else { deliveries::Reach::Recent };
        pause = match send_due(app, &outgoing, &actor, reach, &stop) {
            Ok(_) => {
                full_look = if all { Some(Instant::now()) } else { full_look };
                PAUSE
            }
            Err(error) => {
                tracing::error!(%error, "deliveries stand still");
                PAUSE_AFTER_ERROR
            }
        };
    }
}

/// Tells webhooks what happened to claims.
fn tell_of_claims(app: &App, leaving: &AtomicBool, stopped: &Receiver<()>) {
    let outgoing = Outgoing::new(&app.settings);
    let stop = || leaving.load(Ordering::Relaxed);
    let mut pause = PAUSE;
    while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
        pause = match webhooks::events::send_due(app, &outgoing, &stop) {
            Ok(_) => PAUSE,
            Err(error) => {
                tracing::error!(%error, "webhooks are not told of claims");
                PAUSE_AFTER_ERROR
            }
        };
    }
}

/// Assesses claims that were overlooked when their policy came into force, compares claims, watches terms.
fn assess_claims(app: &App, stopped: &Receiver<()>) {
    let actor = Actor { name: "system".into(), origin: "worker".into() };
    // The first pass looks at everything: an earlier process may have died before it looked.
    let mut all = true;
    while stopped.recv_timeout(PAUSE_OF_READER) == Err(RecvTimeoutError::Timeout) {
        if let Err(error) = policies::assess_overlooked(app, &actor) {
            tracing::error!(%error, "claims that wait are not assessed");
        }
        match claims::triage::pass(app, all) {
            Ok(_) => all = false,
            Err(error) => tracing::error!(%error, "claims are not compared with each other"),
        }
        if let Err(error) = claims::review::watch_terms(app, &actor) {
            tracing::error!(%error, "terms of claimants who were asked are not watched");
        }
    }
}

/// Closes claims of which nothing is left to do.
fn close_claims(app: &App, stopped: &Receiver<()>) {
    let actor = Actor { name: "system".into(), origin: "worker".into() };
    let mut pause = PAUSE;
    while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
        pause = PAUSE_OF_CLOSER;
        match claims::closing::pass(app, &actor) {
            Ok(0) => {}
            Ok(claims) => tracing::info!(claims, "closed claims of which nothing is left to do"),
            Err(error) => tracing::error!(%error, "claims of which nothing is left to do are not closed"),
        }
    }
}

/// Sweeps files whose upload was never acknowledged.
fn sweep_evidence(app: &App, stopped: &Receiver<()>) {
    let mut pause = PAUSE;
    while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
        pause = PAUSE_OF_SWEEPER;
        match evidence::sweep(app) {
            Ok(0) => {}
            Ok(files) => tracing::info!(files, "swept files whose upload was never acknowledged"),
            Err(error) => tracing::error!(%error, "files that nobody acknowledged are not swept"),
        }
    }
}

/// Lets a run go on until the server is told to stop.
struct UntilLeaving(Arc<AtomicBool>);

impl Watcher for UntilLeaving {
    fn begin(&self, _chunks: u64, _done: u64) {}
    fn advance(&self, _credits: u64) {}
    fn is_leaving(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Executes the runs that were handed over to the servers.
fn execute_runs(app: &App, leaving: &UntilLeaving, stopped: &Receiver<()>) {
    let mut pause = PAUSE;
    while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
        pause = match runs::execute_served(app, leaving) {
            Ok(_) => PAUSE,
            Err(error) => {
                tracing::error!(%error, "runs stand still");
                PAUSE_AFTER_ERROR
            }
        };
    }
}

/// Gives what was committed its place in the log. The first pass looks at everything: an earlier process may have died
/// between a commit and its seal.
fn seal_log(app: &App, stopped: &Receiver<()>) {
    let (mut reach, mut pause) = (Reach::All, PAUSE);
    while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
        pause = match audit::seal(app, reach) {
            Ok(_) => {
                reach = Reach::Recent;
                PAUSE_OF_SEALER
            }
            Err(error) => {
                tracing::error!(%error, "the log is not sealed");
                PAUSE_AFTER_ERROR
            }
        };
    }
    audit::seal_after(app);
}

/// Starts the private database again when it has ended: nobody else would.
fn keep_database(app: &App, stopped: &Receiver<()>) {
    let mut pause = PAUSE;
    while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
        let Some(embedded) = app.database().embedded() else { return };
        pause = match embedded.ensure_running() {
            Ok(_) => PAUSE,
            Err(error) => {
                tracing::error!(%error, "the private database cannot be started again");
                PAUSE_AFTER_ERROR
            }
        };
    }
}
