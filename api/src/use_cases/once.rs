//! A command that is sent again is done once: its answer is kept under its key, in the transaction of its work.

use chrono::{DateTime, Utc};
use redress_store::idempotency::{self, SavedAnswer};
use redress_store::{Connection, StoreError};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::app::App;
use crate::error::AppResult;

/// Whose command it is and under which key; a retry has the same.
#[derive(Debug, Clone)]
pub struct Once {
    /// The customer whose claim it is about; empty for what is about none.
    pub customer: String,
    /// Who commands: keys of different people never meet.
    pub who: String,
    /// The Idempotency-Key.
    pub key: String,
    /// What is asked, byte for byte: the path and the body.
    pub request: Vec<u8>,
}

/// What came of it.
#[derive(Debug)]
pub enum Done {
    /// The answer, as JSON.
    Answer {
        /// Byte for byte.
        body: Vec<u8>,
        /// Whether it was given before.
        replayed: bool,
    },
    /// The key came with another request before.
    KeyReused,
    /// The first request with this key is under way.
    KeyInFlight,
}

impl Once {
    /// What the answer is kept under. A space is in no client's key, so that it meets none of those that filed claims.
    fn name(&self) -> String {
        format!("{} {}", self.who, self.key)
    }

    fn lock(&self) -> i64 {
        let digest = Sha256::digest(format!("once/{}/{}", self.customer, self.name()));
        let mut bytes = [0_u8; 8];
        bytes.copy_from_slice(&digest[..8]);
        i64::from_be_bytes(bytes)
    }
}

/// Does the work unless it was done before; nothing is kept of work that is refused.
pub fn run<T: Serialize>(
    app: &App,
    once: &Once,
    work: impl FnOnce(&mut Connection, DateTime<Utc>) -> AppResult<T>,
) -> AppResult<Done> {
    let request_hash = Sha256::digest(&once.request).to_vec();
    let (name, context) = (once.name(), format!("once/{}/{}", once.customer, once.name()));
    app.store.transaction(|connection| {
        if !idempotency::try_lock(connection, once.lock())? {
            return Ok(Done::KeyInFlight);
        }
        if let Some(saved) = idempotency::find(connection, &once.customer, &name)? {
            if saved.request_hash != request_hash {
                return Ok(Done::KeyReused);
            }
            return Ok(Done::Answer { body: app.secrets.open(&saved.body, &context)?, replayed: true });
        }
        let at = super::claims::now();
        let body = serde_json::to_vec(&work(connection, at)?).map_err(StoreError::corrupt)?;
        let saved = SavedAnswer {
            customer_id: once.customer.clone(),
            key: name,
            request_hash,
            status: 200,
            location: None,
            body: app.secrets.seal(&body, &context)?,
            created_at: at,
        };
        idempotency::save(connection, &saved)?;
        Ok(Done::Answer { body, replayed: false })
    })
}
