//! `redress serve`: the API, the pages and the workers, until it is told to stop.

use std::process::ExitCode;

use crate::app::App;
use crate::error::{AppError, AppResult};
use crate::http;
use crate::settings::Settings;
use crate::use_cases::own_keys;
use crate::workers::Workers;

/// Serves until SIGTERM or Ctrl-C; what was accepted is finished first.
pub fn run(settings: Settings) -> AppResult<ExitCode> {
    let listener = http::bind(&settings.listen, false)?;
    let address = listener.local_addr().map_err(AppError::io("reading the address"))?;
    let app = App::open(settings)?;
    for key in app.store.with(|connection| own_keys::foreign(connection, &app.secrets))? {
        tracing::error!(remedy = key.remedy, "{}", key.seen);
    }
    let workers = Workers::start(&app)?;
    let served = actix_web::rt::System::new().block_on(async {
        let server = http::start(app, listener, true)?;
        eprintln!("redress: serving http://{address} (Ctrl-C stops)");
        server.await.map_err(AppError::io("serving"))
    });
    workers.stop();
    served.map(|()| ExitCode::SUCCESS)
}
