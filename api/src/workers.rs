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
pub struct Workers {
    stop: Sender<()>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// Starts the workers.
    pub fn start(app: &App) -> AppResult<Self> {
        let mailer = Mailer::new(&app.settings)?;
        let (stop, stopped) = channel();
        let app = app.clone();
        let thread = std::thread::Builder::new()
            .name("notices".into())
            .spawn(move || send_notices(&app, &mailer, &stopped))
            .map_err(AppError::io("starting the worker of notices"))?;
        Ok(Self { stop, threads: vec![thread] })
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
