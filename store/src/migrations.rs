//! Migrations stand inside the program and run under a lock, so that two servers started together do not collide.

use diesel::connection::SimpleConnection;
use diesel::migration::{Migration, MigrationSource};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use crate::connection::Connection;
use crate::error::{StoreError, StoreResult};

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../migrations");
/// The advisory lock under which migrations run ("redress" in ASCII).
const LOCK: i64 = 0x0072_6564_7265_7373;

/// Diesel's own record of what it applied.
mod applied {
    diesel::table! {
        __diesel_schema_migrations (version) {
            version -> Text,
        }
    }
}
use applied::__diesel_schema_migrations;

/// The names of the migrations that the database lacks, oldest first; nothing is changed.
pub fn pending(connection: &mut Connection) -> StoreResult<Vec<String>> {
    let applied: Vec<String> = if has_migration_table(connection)? {
        // Diesel's own question would create the table, which a plan and the server's role must not.
        __diesel_schema_migrations::table.select(__diesel_schema_migrations::version).load(connection)?
    } else {
        Vec::new()
    };
    let all: Vec<Box<dyn Migration<Pg>>> = MIGRATIONS.migrations().map_err(migration_error)?;
    let mut names: Vec<String> = all
        .iter()
        .filter(|migration| !applied.contains(&migration.name().version().to_string()))
        .map(|migration| migration.name().to_string())
        .collect();
    names.sort();
    Ok(names)
}

/// Applies what is pending and returns the names; waits while another process does the same.
pub fn run(connection: &mut Connection) -> StoreResult<Vec<String>> {
    connection.batch_execute(&format!("SELECT pg_advisory_lock({LOCK})"))?;
    let outcome = pending(connection).and_then(|names| {
        if !names.is_empty() {
            connection.run_pending_migrations(MIGRATIONS).map_err(migration_error)?;
        }
        Ok(names)
    });
    connection.batch_execute(&format!("SELECT pg_advisory_unlock({LOCK})"))?;
    outcome
}

/// The name of the newest migration this program knows.
pub fn newest() -> StoreResult<String> {
    let all: Vec<Box<dyn Migration<Pg>>> = MIGRATIONS.migrations().map_err(migration_error)?;
    Ok(all.iter().map(|migration| migration.name().to_string()).max().unwrap_or_default())
}

fn has_migration_table(connection: &mut Connection) -> StoreResult<bool> {
    let found: bool = diesel::select(diesel::dsl::sql::<diesel::sql_types::Bool>(
        "to_regclass('public.__diesel_schema_migrations') IS NOT NULL",
    ))
    .get_result(connection)?;
    Ok(found)
}

fn migration_error(error: Box<dyn std::error::Error + Send + Sync>) -> StoreError {
    StoreError::Migration(error.to_string())
}
