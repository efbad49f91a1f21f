//! Reports that come at the same moment are filed together: a writer takes whatever came while the batch before was committed. A
//! report that comes alone waits for nobody.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix_web::rt::task::spawn_blocking;
use redress_domain::id::CustomerId;
use tokio::sync::oneshot;

use super::problem::{ApiError, ApiResult, Code};
use crate::app::App;
use crate::error::AppResult;
use crate::use_cases::claims::{self, Filed, MAX_BATCH, Order};

/// How many batches are under way at once: while one waits for the disk, the other is assessed.
const WRITERS: usize = 2;
/// How many reports make it worth to write beside another writer: fewer wait until it comes back, since each batch costs a commit
/// and a dozen questions however small it is.
const WORTH_IT: usize = 16;

/// The reports that wait to be filed.
pub struct Intake {
    app: App,
    most: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Waiting>,
    /// The keys that wait or are being filed: whoever sends one of them again is told so at once.
    under_way: HashSet<Name>,
    writers: usize,
}

impl State {
    /// Whether one more writer should write what waits.
    fn is_worth_a_writer(&self) -> bool {
        self.waiting.len() >= if self.writers == 0 { 1 } else { WORTH_IT }
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
        Self { app, most, state: Mutex::default() }
    }

    /// Files a report with whatever else waits; returns after the commit.
    pub async fn file(self: Arc<Self>, order: Order) -> ApiResult<Filed> {
        let (answer, answered) = oneshot::channel();
        {
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
            if state.writers < WRITERS && state.is_worth_a_writer() {
                state.writers += 1;
                let intake = Arc::clone(&self);
                spawn_blocking(move || intake.write());
            }
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

    /// Files batch after batch until nothing waits.
    fn write(&self) {
        let mut session = self.app.store.session();
        while let Some(batch) = self.take() {
            let (orders, answers): (Vec<Order>, Vec<_>) =
                batch.into_iter().map(|waiting| (waiting.order, Some(waiting.answer))).unzip();
            let mut answers = answers;
            claims::file(&self.app, &mut session, &orders, &mut |place, filed| {
                // From here on a retry is answered by what is stored.
                self.lock().under_way.remove(&name_of(&orders[place]));
                if let Some(answer) = answers[place].take() {
                    let _ = answer.send(filed);
                }
            });
        }
    }

    /// What waits, as far as it fits into one batch; none ends the writer.
    fn take(&self) -> Option<Vec<Waiting>> {
        let mut state = self.lock();
        state.writers -= 1;
        if !state.is_worth_a_writer() {
            return None;
        }
        state.writers += 1;
        let count = state.waiting.len().min(MAX_BATCH);
        Some(state.waiting.drain(..count).collect())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn name_of(order: &Order) -> Name {
    (order.new.customer.clone(), order.key.clone())
}
