//! Threads that work beside the server until it stops.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::app::App;
use crate::error::{AppError, AppResult};
use crate::mail::Mailer;
use crate::use_cases::notices;

/// How often the outbox is looked at.
const PAUSE: Duration = Duration::from_secs(1);
/// The pause after a pass that failed: the database is away.
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(10);

/// The workers of a server; [`Workers::stop`] waits until each has finished what it was at.
#[derive(Default)]
pub struct Workers {
    stop: Vec<Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// Starts the workers.
    pub fn start(app: &App) -> AppResult<Self> {
        let mailer = Mailer::new(&app.settings)?;
        let mut workers = Self::default();
        let sender = app.clone();
        workers.add("notices", move |stopped| send_notices(&sender, &mailer, stopped))?;
        if app.database().embedded().is_some() {
            let keeper = app.clone();
            workers.add("database", move |stopped| keep_database(&keeper, stopped))?;
        }
        Ok(workers)
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
    while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
        pause = match notices::send_due(app, mailer) {
            Ok(_) => PAUSE,
            Err(error) => {
                tracing::error!(%error, "notices stand still");
                PAUSE_AFTER_ERROR
            }
        };
    }
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
