//! One installation, opened: its settings, secrets, database and compiled policies. Commands, server and workers share it.

use std::sync::Arc;

use chrono::SubsecRound;
use redress_store::embedded::{Embedded, Options, Role};
use redress_store::{Connection, Store, connection, health, migrations};

use crate::blobs::Blobs;
use crate::customer_tokens::CustomerTokens;
use crate::error::{AppError, AppResult};
use crate::in_force::InForce;
use crate::policy_cache::PolicyCache;
use crate::secrets::{KeyFault, Secrets};
use crate::settings::Settings;

/// An opened installation. The private database, if it has one, stops when the last clone is dropped.
#[derive(Clone)]
pub struct App {
    /// The configuration.
    pub settings: Arc<Settings>,
    /// The database, as the role that cannot change what only grows.
    pub store: Store,
    /// The keys.
    pub secrets: Secrets,
    /// Compiled policies by version.
    pub policies: Arc<PolicyCache>,
    /// Incidents and what is in force for them, as it was last seen.
    pub in_force: Arc<InForce>,
    /// What the operator's tokens of customers are checked against.
    pub customer_tokens: Option<Arc<CustomerTokens>>,
    /// Where claimants' files lie.
    pub blobs: Arc<Blobs>,
    database: Arc<Database>,
}

/// The database an installation uses: its own private one, or the operator's.
pub struct Database {
    url: String,
    embedded: Option<Embedded>,
}

impl Database {
    /// Finds the database of the settings; starts the private one when none is named.
    pub fn open(settings: &Settings) -> AppResult<Self> {
        if let Some(url) = &settings.database_url {
            return Ok(Self { url: url.clone(), embedded: None });
        }
        create_data_folder(settings)?;
        let embedded = Embedded::start(&settings.data_dir, &Options::default())?;
        Ok(Self { url: embedded.url_for(Role::Owner, redress_store::embedded::DATABASE), embedded: Some(embedded) })
    }

    /// A connection with the rights of the owner, for migrations and statistics.
    pub fn owner(&self) -> AppResult<Connection> {
        connection::connect_as_owner(&self.url).map_err(|error| self.describe(error))
    }

    /// Where its owner connects.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The private server, if there is one.
    #[must_use]
    pub fn embedded(&self) -> Option<&Embedded> {
        self.embedded.as_ref()
    }

    /// An unreachable database is named by its host, never by its password.
    fn describe(&self, error: redress_store::StoreError) -> AppError {
        match (&error, &self.embedded) {
            (redress_store::StoreError::Unreachable(why), None) => {
                AppError::Refused(format!("the database of --database-url cannot be reached: {why}"))
            }
            _ => error.into(),
        }
    }
}

impl App {
    /// Opens an installation and brings its database up to date.
    pub fn open(settings: Settings) -> AppResult<Self> {
        let found = match Secrets::load(&settings, false) {
            Err(KeyFault::Missing(..)) => None,
            found => Some(found?),
        };
        let database = Database::open(&settings)?;
        let mut owner = database.owner()?;
        let secrets = match found {
            Some(secrets) => secrets,
            // What lies in a used database was sealed and signed by the keys of then. This is asked first, since another
            // process may begin the installation meanwhile: then its keys are there.
            None => {
                let is_new = !health::is_used(&mut owner)?;
                Secrets::load(&settings, is_new)?
            }
        };
        let applied = migrations::run(&mut owner)?;
        if !applied.is_empty() {
            tracing::info!(migrations = applied.len(), "migrated the database");
        }
        let store = Store::connect(&database.url, settings.pool_size).map_err(|error| database.describe(error))?;
        let blobs = Arc::new(Blobs::open(&settings)?);
        let customer_tokens = settings.customer_tokens.clone().map(|tokens| Arc::new(CustomerTokens::new(tokens)));
        Ok(Self {
            customer_tokens,
            settings: Arc::new(settings),
            blobs,
            store,
            secrets,
            policies: Arc::default(),
            in_force: Arc::default(),
            database: Arc::new(database),
        })
    }

    /// The database behind the store.
    #[must_use]
    pub fn database(&self) -> &Database {
        &self.database
    }
}

/// Others may pass through the data folder (the private server's account has to); the secrets within are 0600.
fn create_data_folder(settings: &Settings) -> AppResult<()> {
    use std::os::unix::fs::DirBuilderExt;
    let folder = &settings.data_dir;
    if folder.exists() {
        return Ok(());
    }
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(folder)
        .map_err(AppError::io(format!("creating the data folder {}", folder.display())))
}

/// Who gives a command: the member of staff, and the system's user behind it.
#[derive(Debug, Clone)]
pub struct Actor {
    /// The member of staff, or `system`.
    pub name: String,
    /// Where the command came from, such as `cli:root`.
    pub origin: String,
}

impl Actor {
    /// Somebody at the command line.
    #[must_use]
    pub fn at_command_line(name: Option<&str>) -> Self {
        let user = std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_else(|_| {
            // Containers often have no such variable; the number says as much.
            std::os::unix::fs::MetadataExt::uid(&match std::fs::metadata("/proc/self") {
                Ok(metadata) => metadata,
                Err(_) => return "unknown".to_owned(),
            })
            .to_string()
        });
        Self { name: name.unwrap_or("system").to_owned(), origin: format!("cli:{user}") }
    }

    /// An audit entry of this actor's.
    #[must_use]
    pub fn entry(&self, action: &str, object: String, detail: serde_json::Value) -> redress_store::audit::AuditEntry {
        redress_store::audit::AuditEntry {
            // What the database keeps of it, so that a hash of it is the same when it is read again.
            at: chrono::Utc::now().trunc_subsecs(6),
            actor: self.name.clone(),
            origin: self.origin.clone(),
            action: action.to_owned(),
            object,
            detail,
            before: None,
            after: None,
        }
    }
}
