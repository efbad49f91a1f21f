//! Keeping files: announced, written, acknowledged; read again, and swept where nobody acknowledged them.

use chrono::{DateTime, Duration, Utc};
use redress_store::claims::{self, ClaimView};
use redress_store::evidence::{self, EvidenceRow};
use redress_store::verify::Check;
use redress_store::{Connection, StoreError, audit};
use serde::Serialize;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;
use uuid::Uuid;

use super::inspect::{Inspected, Kind, inspect, kind_of};
use super::{EvidenceView, MAX_FILES, MAX_TOTAL, Refusal, progress, takes_files, wanted};
use crate::app::{Actor, App};
use crate::clamd::{self, Verdict};
use crate::error::AppResult;

/// After so long an upload that was not acknowledged is over, however slow: far more than any may take.
const ABANDONED_AFTER: Duration = Duration::hours(1);
/// How many files are swept, or read again, at once.
const PAGE: i64 = 100;

/// A file that came for a claim.
pub struct File<'a> {
    /// Whose the claim is.
    pub customer: &'a str,
    /// The claim.
    pub claim: Uuid,
    /// Which document it is, if the claimant said so.
    pub document: Option<&'a str>,
    /// The file.
    pub content: Vec<u8>,
}

/// A file that was taken.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AddedEvidence)]
pub struct Added {
    /// The file.
    #[serde(flatten)]
    pub evidence: EvidenceView,
    /// Where the claim stands now.
    #[schema(example = "in_review")]
    pub claim_status: String,
    /// Whether it came before.
    #[serde(skip)]
    pub known: bool,
}

/// Takes a file. The same file for the same document of the same claim is taken once, however often it comes.
pub fn add(app: &App, file: File<'_>, actor: &Actor) -> AppResult<Result<Added, Refusal>> {
    let received_hash = Sha256::digest(&file.content).to_vec();
    let kind = match kind_of(&file.content) {
        Ok(kind) => kind,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let at_first = app.store.with(|connection| -> AppResult<_> {
        let Some(view) = claims::find(connection, file.claim)? else { return Err(no_claim()) };
        place(connection, &view, &file, &received_hash)
    })?;
    match at_first {
        Err(refusal) => return Ok(Err(refusal)),
        Ok(Place { same: Some(row), view, .. }) if row.state == "stored" => return Ok(Ok(known(&row, &view))),
        Ok(_) => {}
    }
    if let Some(refusal) = scanned(app, &file.content) {
        return Ok(Err(refusal));
    }
    let (customer, claim, document) = (file.customer, file.claim, file.document);
    let inspected = match inspect(kind, file.content) {
        Ok(inspected) => inspected,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let file = File { customer, claim, document, content: Vec::new() };
    let row = match announce(app, &file, received_hash, &inspected)? {
        Ok(row) => row,
        Err(refusal) => return Ok(Err(refusal)),
    };
    app.blobs.put(&row.blob, app.secrets.seal(&inspected.content, &context(&row))?)?;
    acknowledge(app, row, actor)
}

/// Where a file belongs.
struct Place {
    view: ClaimView,
    document: String,
    same: Option<EvidenceRow>,
}

/// Finds where a file belongs, or why it does not.
fn place(
    connection: &mut Connection,
    view: &ClaimView,
    file: &File<'_>,
    received_hash: &[u8],
) -> AppResult<Result<Place, Refusal>> {
    let state = view.claim.state()?;
    let lacking = wanted(view)?;
    let known = super::kinds(connection, file.customer, file.claim)?;
    // Before a policy has spoken nobody knows what it will ask for.
    let open = view.assessment.is_none() || state == redress_domain::claim::ClaimState::PendingPolicy;
    let document = match file.document {
        None => lacking.first().cloned().unwrap_or_default(),
        Some(code) if open || lacking.iter().any(|one| one == code) || known.iter().any(|one| &**one == code) => {
            code.to_owned()
        }
        Some(_) => return Ok(Err(Refusal::Document(lacking))),
    };
    // What was stored is said again even when the claim has moved on: it is the answer to a retry.
    let mut same = evidence::same(connection, file.customer, file.claim, &document, received_hash)?;
    if same.is_none() && file.document.is_none() {
        for code in known.iter().map(AsRef::as_ref).chain([""]) {
            let found = evidence::same(connection, file.customer, file.claim, code, received_hash)?;
            same = same.or(found.filter(|row| row.state == "stored"));
        }
    }
    let stored = same.as_ref().is_some_and(|row| row.state == "stored");
    if !stored && !takes_files(state) {
        return Ok(Err(Refusal::State(state)));
    }
    if same.is_none() {
        let held = evidence::held(connection, file.customer, file.claim)?;
        if held.files >= MAX_FILES || held.bytes >= MAX_TOTAL {
            return Ok(Err(Refusal::Limit));
        }
    }
    Ok(Ok(Place { view: view.clone(), document, same }))
}

/// Asks the virus scanner, where there is one.
fn scanned(app: &App, content: &[u8]) -> Option<Refusal> {
    match clamd::scan(app.settings.clamd.as_deref()?, content) {
        Ok(Verdict::Clean) => None,
        Ok(Verdict::Found(name)) => Some(Refusal::Malware(name)),
        Err(error) => {
            tracing::error!(%error, "the virus scanner gives no verdict; an upload was refused");
            Some(Refusal::ScannerAway)
        }
    }
}

fn announce(
    app: &App,
    file: &File<'_>,
    received_hash: Vec<u8>,
    inspected: &Inspected,
) -> AppResult<Result<EvidenceRow, Refusal>> {
    let at = now();
    let content_hash = Sha256::digest(&inspected.content).to_vec();
    app.store.transaction(|connection| {
        let Some(view) = claims::find_locked(connection, file.customer, file.claim)? else { return Err(no_claim()) };
        let place = match place(connection, &view, file, &received_hash)? {
            Ok(place) => place,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if let Some(row) = place.same {
            // Another version of this program may draw the same picture anew in other bytes.
            let other = row.content_hash != content_hash;
            let begun = row.state == "stored" || (!other && evidence::begin_again(connection, &row, at)?);
            return Ok(if begun { Ok(row) } else { Err(Refusal::Sweeping) });
        }
        let bytes = i64::try_from(inspected.content.len()).map_err(StoreError::corrupt)?;
        if evidence::held(connection, file.customer, file.claim)?.bytes + bytes > MAX_TOTAL {
            return Ok(Err(Refusal::Limit));
        }
        let row = EvidenceRow {
            customer_id: file.customer.to_owned(),
            id: Uuid::now_v7(),
            claim_id: file.claim,
            blob: blob(app, file, &place.document, &content_hash),
            document: place.document,
            kind: inspected.kind.as_str().to_owned(),
            bytes,
            received_hash,
            content_hash,
            remarks: serde_json::json!(inspected.remarks),
            state: "arriving".to_owned(),
            begun_at: at,
            stored_at: None,
        };
        evidence::announce(connection, &row)?;
        Ok(Ok(row))
    })
}

/// Where a file lies: by its content, blindly, so that whoever sees the names cannot tell who has filed what.
fn blob(app: &App, file: &File<'_>, document: &str, content_hash: &[u8]) -> String {
    let what = format!("{}/{}/{document}/{}", file.customer, file.claim, hex::encode(content_hash));
    let name = app.secrets.blind("evidence", &what);
    format!("{}/{name}", &name[..2])
}

/// What a sealed file is bound to.
fn context(row: &EvidenceRow) -> String {
    format!("evidence/{}/{}/{}", row.customer_id, row.claim_id, hex::encode(&row.content_hash))
}

fn acknowledge(app: &App, row: EvidenceRow, actor: &Actor) -> AppResult<Result<Added, Refusal>> {
    let at = now();
    app.store.transaction(|connection| {
        let Some(view) = claims::find_locked(connection, &row.customer_id, row.claim_id)? else {
            return Err(no_claim());
        };
        if !evidence::acknowledge(connection, &row, at)? {
            let stored = evidence::find(connection, &row.customer_id, row.claim_id, row.id)?;
            return Ok(stored.map(|row| known(&row, &view)).ok_or(Refusal::Sweeping));
        }
        let row = EvidenceRow { state: "stored".to_owned(), stored_at: Some(at), ..row };
        let detail = serde_json::json!({ "evidence": row.id, "document": row.document, "kind": row.kind,
                                         "bytes": row.bytes, "sha256": hex::encode(&row.content_hash) });
        audit::append(connection, &[actor.entry("evidence.add", format!("claim {}", row.claim_id), detail)])?;
        let claim_status = progress::after_evidence(app, connection, &view, actor)?;
        Ok(Ok(Added { evidence: EvidenceView::from(&row), claim_status, known: false }))
    })
}

fn known(row: &EvidenceRow, view: &ClaimView) -> Added {
    Added { evidence: EvidenceView::from(row), claim_status: view.claim.state.clone(), known: true }
}

fn no_claim() -> crate::error::AppError {
    StoreError::NotFound("such claim".into()).into()
}

/// The time of a command, in the microseconds that the database keeps.
pub(super) fn now() -> DateTime<Utc> {
    use chrono::SubsecRound;
    Utc::now().trunc_subsecs(6)
}

/// A stored file and its kind; none when it does not exist or is another claim's.
pub fn open(app: &App, customer: &str, claim: Uuid, id: Uuid) -> AppResult<Option<(Kind, Vec<u8>)>> {
    let found = app.store.with(|connection| evidence::find(connection, customer, claim, id))?;
    let Some(row) = found else { return Ok(None) };
    let kind = Kind::parse(&row.kind).ok_or_else(|| StoreError::corrupt(format!("evidence kind {:?}", row.kind)))?;
    Ok(Some((kind, read(app, &row)?)))
}

fn read(app: &App, row: &EvidenceRow) -> AppResult<Vec<u8>> {
    let content = app.secrets.open(&app.blobs.get(&row.blob)?, &context(row))?;
    if Sha256::digest(&content)[..] == row.content_hash[..] {
        Ok(content)
    } else {
        Err(StoreError::corrupt(format!("evidence {} is not what its row says", row.id)).into())
    }
}

/// Sweeps what was announced long ago and never acknowledged; returns how many files went.
pub fn sweep(app: &App) -> AppResult<usize> {
    let mut swept = 0;
    loop {
        let before = now() - ABANDONED_AFTER;
        let rows = app.store.transaction(|connection| evidence::sweep(connection, before, PAGE))?;
        if rows.is_empty() {
            return Ok(swept);
        }
        for row in rows {
            // Two rows share no blob: its name has everything in it that makes a row another.
            app.blobs.delete(&row.blob)?;
            app.store.with(|connection| evidence::forget(connection, &row))?;
            swept += 1;
        }
    }
}

/// Reads every stored file again.
pub fn verify(app: &App) -> AppResult<Check> {
    let mut check =
        Check { name: "every stored file is there and says what it said when it came", rows: 0, faults: Vec::new() };
    let mut after = None;
    loop {
        let rows = app.store.with(|connection| evidence::page(connection, after.as_ref(), PAGE))?;
        let Some(last) = rows.last() else { return Ok(check) };
        after = Some((last.customer_id.clone(), last.id));
        for row in &rows {
            check.rows += 1;
            if let Err(error) = read(app, row) {
                check.faults.push(format!("evidence {} of claim {}: {error}", row.id, row.claim_id));
            }
        }
        check.faults.truncate(usize::try_from(redress_store::verify::MAX_FAULTS).unwrap_or(usize::MAX));
    }
}
