//! Whether the keys are this installation's: held against what lies in its database.

use redress_store::log::seal;
use redress_store::verify::Check;
use redress_store::{Connection, claims};

use super::claims::is_sealed_by;
use crate::error::AppResult;
use crate::secrets::Secrets;

/// A key that is not the one that what lies in the database was made with.
#[derive(Debug)]
pub struct Foreign {
    /// What tells.
    pub seen: String,
    /// What mends it.
    pub remedy: &'static str,
}

/// The keys that are not this installation's.
pub fn foreign(connection: &mut Connection, secrets: &Secrets) -> AppResult<Vec<Foreign>> {
    Ok([signing(connection, secrets)?, master(connection, secrets)?].into_iter().flatten().collect())
}

fn signing(connection: &mut Connection, secrets: &Secrets) -> AppResult<Option<Foreign>> {
    let own = secrets.signer().public_key();
    let due = seal::due_key(connection)?.filter(|due| *due != own);
    Ok(due.map(|due| Foreign {
        seen: format!("the log was signed by another key: {due}, not {own}"),
        remedy: "put the signing.key of that time in its place",
    }))
}

/// A sample of what is sealed tells; where nothing is, any key fits.
fn master(connection: &mut Connection, secrets: &Secrets) -> AppResult<Option<Foreign>> {
    let sample = claims::any_personal(connection)?;
    Ok(sample.filter(|(claim, sealed)| !is_sealed_by(secrets, claim, sealed)).map(|(claim, _)| Foreign {
        seen: format!("contact data were sealed by another key, or altered: those of claim {} do not open", claim.id),
        remedy: "put the master.key of that time in its place",
    }))
}

/// The same as a check; the signing key is judged with the heads that it signs.
pub(super) fn check(connection: &mut Connection, secrets: &Secrets) -> AppResult<Check> {
    let faults = master(connection, secrets)?.map(|key| format!("{}: {}", key.seen, key.remedy));
    let rows = i64::from(claims::any_personal(connection)?.is_some());
    let name = "contact data open by this installation's master key";
    Ok(Check { name, rows, faults: faults.into_iter().collect() })
}
