//! The pool of connections, and the one way to open a transaction.

use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::r2d2::{ConnectionManager, CustomizeConnection, Error as R2d2Error, Pool, PooledConnection};
use diesel::{Connection as _, sql_query};

use crate::error::{StoreError, StoreResult};

/// A connection to PostgreSQL.
pub type Connection = PgConnection;

/// The role the server and the batch work as: it cannot change or delete what only grows.
pub const APP_ROLE: &str = "redress_app";
/// How many rows one statement inserts: PostgreSQL takes 65,535 values, and no row has more than ten.
pub(crate) const ROWS_PER_STATEMENT: usize = 5_000;
/// How long a caller waits for a free connection.
const CHECKOUT_TIMEOUT: Duration = Duration::from_secs(3);

/// The database of one installation.
#[derive(Clone)]
pub struct Store {
    pool: Pool<ConnectionManager<PgConnection>>,
}

#[derive(Debug)]
struct WorkAsApp;

impl CustomizeConnection<PgConnection, R2d2Error> for WorkAsApp {
    fn on_acquire(&self, connection: &mut PgConnection) -> Result<(), R2d2Error> {
        connection.batch_execute(&format!("SET ROLE {APP_ROLE}; SET TIME ZONE 'UTC'")).map_err(R2d2Error::QueryError)
    }
}

impl Store {
    /// Opens a pool of at most `size` connections; fails at once when the database does not answer.
    pub fn connect(url: &str, size: u32) -> StoreResult<Self> {
        // A pool only says that it timed out; a plain connection says why.
        drop(PgConnection::establish(url)?);
        let pool = Pool::builder()
            .max_size(size)
            .min_idle(Some(0))
            .connection_timeout(CHECKOUT_TIMEOUT)
            .connection_customizer(Box::new(WorkAsApp))
            .build(ConnectionManager::new(url))?;
        Ok(Self { pool })
    }

    /// A connection of the pool.
    pub fn connection(&self) -> StoreResult<PooledConnection<ConnectionManager<PgConnection>>> {
        Ok(self.pool.get()?)
    }

    /// Runs reads or writes that need no common transaction.
    pub fn with<T, E: From<StoreError>>(&self, work: impl FnOnce(&mut Connection) -> Result<T, E>) -> Result<T, E> {
        work(&mut *self.connection()?)
    }

    /// Runs one command: all of it is committed before this returns `Ok`, or none of it.
    pub fn transaction<T, E: From<StoreError>>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut connection = self.connection()?;
        in_transaction(&mut connection, work)
    }

    /// A connection for one batch of statements after another.
    #[must_use]
    pub fn session(&self) -> Session {
        Session { store: self.clone(), connection: None }
    }

    /// The number of connections in use and idle.
    #[must_use]
    pub fn pool_state(&self) -> (u32, u32) {
        let state = self.pool.state();
        (state.connections - state.idle_connections, state.idle_connections)
    }
}

/// A connection that is kept from one batch to the next, so that it is taken from the pool, and asked whether it still works,
/// once for all of them.
pub struct Session {
    store: Store,
    connection: Option<PooledConnection<ConnectionManager<PgConnection>>>,
}

impl Session {
    /// Runs reads. A connection that was kept may have gone meanwhile: what fails on it is run again on another.
    pub fn read<T, E: From<StoreError>>(
        &mut self,
        mut work: impl FnMut(&mut Connection) -> Result<T, E>,
    ) -> Result<T, E> {
        if let Some(mut connection) = self.connection.take()
            && let Ok(done) = work(&mut connection)
        {
            self.connection = Some(connection);
            return Ok(done);
        }
        self.write(work)
    }

    /// Runs what must not be run twice. A connection on which something failed goes back: the pool throws it away if it is broken.
    pub fn write<T, E: From<StoreError>>(
        &mut self,
        work: impl FnOnce(&mut Connection) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.store.connection()?,
        };
        let done = work(&mut connection)?;
        self.connection = Some(connection);
        Ok(done)
    }
}

/// Runs `work` in a transaction of `connection`.
pub fn in_transaction<T, E: From<StoreError>>(
    connection: &mut Connection,
    work: impl FnOnce(&mut Connection) -> Result<T, E>,
) -> Result<T, E> {
    /// Diesel wants an error made of its own; this carries either through.
    enum Either<E> {
        Ours(E),
        Diesel(diesel::result::Error),
    }
    impl<E> From<diesel::result::Error> for Either<E> {
        fn from(error: diesel::result::Error) -> Self {
            Self::Diesel(error)
        }
    }
    connection.transaction(|connection| work(connection).map_err(Either::Ours)).map_err(|error| match error {
        Either::Ours(error) => error,
        Either::Diesel(error) => E::from(StoreError::from(error)),
    })
}

/// Opens one connection with the rights of the database's owner, for migrations alone.
pub fn connect_as_owner(url: &str) -> StoreResult<Connection> {
    let mut connection = PgConnection::establish(url)?;
    diesel::RunQueryDsl::execute(sql_query("SET TIME ZONE 'UTC'"), &mut connection)?;
    Ok(connection)
}
