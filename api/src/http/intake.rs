//! Reports that come at the same moment are filed together: a writer takes whatever came while the batch before was committed. A
//! report that comes alone waits for nobody.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_web::rt::task::spawn_blocking;
use redress_domain::id::CustomerId;
use tokio::sync::oneshot;

use super::problem::{ApiError, ApiResult, Code};
use crate::app::App;
use crate::error::AppResult;
use crate::use_cases::claims::{self, Filed, MAX_BATCH, Order};

/// How many batches are under way at once: while one waits for the disk, others are assessed.
const WRITERS: usize = 2;
/// How many reports make it worth to write beside another writer: fewer wait until it comes back, since each batch costs a commit
/// and two statements however small it is.
const WORTH_IT: usize = 8;
/// How long a writer stays for what comes next before it gives back its thread and its connection.
const STAYS: Duration = Duration::from_millis(100);

/// The reports that wait to be filed.
pub struct Intake {
    app: App,
    most: usize,
    state: Mutex<State>,
    /// Wakes a writer that stays.
    called: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Waiting>,
    /// The keys that wait or are being filed: whoever sends one of them again is told so at once.
    under_way: HashSet<Name>,
    writers: usize,
    /// Those of them that have nothing to write and stay for a while.
    idle: usize,
}

impl State {
    /// Whether one more writer should write what waits.
    fn is_worth_a_writer(&self) -> bool {
        self.waiting.len() >= if self.writers == self.idle { 1 } else { WORTH_IT }
    }
}

/// A key and whose it is.
type Name = (CustomerId, String);

struct Waiting {
    order: Order,
    /// Nobody listens any more where the client went away; the report is filed all the same.
    answer: oneshot::Sender<AppResult<Filed>>,
}

impl Intake {
    /// At most as many reports wait as the settings say; more are asked to come back.
    #[must_use]
    pub fn new(app: App) -> Self {
        let most = app.settings.intake_queue;
        Self { app, most, state: Mutex::default(), called: Condvar::new() }
    }

    /// Files a report with whatever else waits; returns after the commit.
    pub async fn file(self: Arc<Self>, order: Order) -> ApiResult<Filed> {
        let (answer, answered) = oneshot::channel();
        let writer = {
            let mut state = self.lock();
            let name = name_of(&order);
            if state.under_way.contains(&name) {
                return Ok(Filed::KeyInFlight);
            }
            if state.waiting.len() >= self.most {
                return Err(ApiError::new(Code::Busy));
            }
            state.under_way.insert(name);
            state.waiting.push_back(Waiting { order, answer });
            let is_worth_it = state.is_worth_a_writer();
            if is_worth_it && state.idle > 0 {
                self.called.notify_one();
            }
            (is_worth_it && state.idle == 0 && state.writers < WRITERS).then(|| {
                state.writers += 1;
                Writer { intake: Arc::clone(&self), names: Vec::new(), is_home: false }
            })
        };
        if let Some(writer) = writer {
            spawn_blocking(move || writer.write());
        }
        match answered.await {
            Ok(filed) => Ok(filed?),
            Err(_) => Err(ApiError::with_detail(Code::Internal, "a report was not filed")),
        }
    }

    /// How many reports wait to be filed.
    #[must_use]
    pub fn waiting(&self) -> i64 {
        i64::try_from(self.lock().waiting.len()).unwrap_or(i64::MAX)
    }

    /// What waits, as far as it fits into one batch; none, when nothing came for a while, ends the writer.
    fn take(&self) -> Option<Vec<Waiting>> {
        let mut state = self.lock();
        state.idle += 1;
        let waited = self.called.wait_timeout_while(state, STAYS, |state| !state.is_worth_a_writer());
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.idle -= 1;
        // Too little to be worth it is filed all the same once it has waited for so long.
        if state.waiting.is_empty() {
            state.writers -= 1;
            return None;
        }
        let count = state.waiting.len().min(MAX_BATCH);
        Some(state.waiting.drain(..count).collect())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who files batch after batch. One that does not come home, since there was no thread for it or it panicked, is not counted on,
/// and its keys may be sent again.
struct Writer {
    intake: Arc<Intake>,
    /// The keys of the batch under way.
    names: Vec<Name>,
    is_home: bool,
}

impl Writer {
    /// Files until nothing waits.
    fn write(mut self) {
        let intake = Arc::clone(&self.intake);
        let mut session = intake.app.store.session();
        while let Some(batch) = intake.take() {
            let (orders, mut answers): (Vec<Order>, Vec<_>) =
                batch.into_iter().map(|waiting| (waiting.order, Some(waiting.answer))).unzip();
            self.names = orders.iter().map(name_of).collect();
            claims::file(&intake.app, &mut session, &orders, &mut |place, filed| {
                // From here on a retry is answered by what is stored.
                intake.lock().under_way.remove(&self.names[place]);
                if let Some(answer) = answers[place].take() {
                    let _ = answer.send(filed);
                }
            });
        }
        self.is_home = true;
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if self.is_home {
            return;
        }
        let mut state = self.intake.lock();
        state.writers -= 1;
        let state = &mut *state;
        for name in &self.names {
            state.under_way.remove(name);
        }
        if state.writers == 0 {
            // Nobody is left to file them: whoever waits is told so, and sends again.
            for waiting in state.waiting.drain(..) {
                state.under_way.remove(&name_of(&waiting.order));
            }
        } else {
            // What waited for this one may be worth another now.
            self.intake.called.notify_one();
        }
    }
}

fn name_of(order: &Order) -> Name {
    (order.new.customer.clone(), order.key.clone())
}
