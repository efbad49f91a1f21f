//! A page of the readers' queue, the same query on a small and on a tenfold table, interleaved call by call: its cost
//! must not grow with the table, nor with how far one has turned.
#![allow(clippy::float_arithmetic, reason = "ratios of times; no money is counted here")]

use std::path::Path;
use std::time::Instant;

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use redress::app::App;
use redress::cli::Global;
use redress::settings::Settings;
use redress::use_cases::claims::queue::{self, Filter};
use redress::use_cases::claims::review::Reader;
use redress_store::embedded::{Embedded, Options, Role as DatabaseRole};
use serde_json::{Map, json};
use tempfile::TempDir;

use crate::report::{Report, Scale, median, rounded};

const ROUNDS: usize = 7;
/// How many pages of each table a round asks for.
const PAGES: usize = 400;
/// How much the slowest page in a hundred may grow.
const MAX_GROWTH: f64 = 1.3;
/// Claims a page.
const LIMIT: i64 = 50;
/// The states of the claims, one for each of ten.
const STATES: &str = "ARRAY['in_review', 'in_review', 'needs_information', 'approved', 'issued', 'issued', 'issued', \
                      'declined', 'pending_policy', 'closed']";

/// Runs the benchmark.
pub(crate) fn run(scale: Scale) -> Result<Report, String> {
    let (small, large) = match scale {
        Scale::Small => (100_000, 1_000_000),
        Scale::Full => (1_000_000, 10_000_000),
    };
    let ground = Ground::new()?;
    let tables = [ground.table(small)?, ground.table(large)?];
    let (mut small_p99, mut large_p99) = (Vec::new(), Vec::new());
    let (mut small_p50, mut large_p50) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let mut times = [Vec::with_capacity(PAGES), Vec::with_capacity(PAGES)];
        for number in 0..PAGES {
            // Page by page in turns, so that what disturbs the machine disturbs both.
            let order = if (round + number) % 2 == 0 { [0, 1] } else { [1, 0] };
            for which in order {
                times[which].push(tables[which].page(number)?);
            }
        }
        // The first round only warms.
        if round > 0 {
            let [small, large] = times;
            small_p99.push(percentile(&small, 99));
            large_p99.push(percentile(&large, 99));
            small_p50.push(percentile(&small, 50));
            large_p50.push(percentile(&large, 50));
        }
    }
    let growths: Vec<f64> = small_p99.iter().zip(&large_p99).map(|(small, large)| large / small).collect();
    let growth = median(&growths);
    let ratio = median(&growths.iter().map(|growth| 1.0 / growth).collect::<Vec<_>>());
    let bar = 1.0 / MAX_GROWTH;
    let milliseconds = |values: &[f64]| json!(rounded(median(values) * 1000.0));
    let mut figures = Map::new();
    figures.insert("claims_small".into(), json!(small));
    figures.insert("claims_large".into(), json!(large));
    figures.insert("pages_a_round".into(), json!(PAGES));
    figures.insert("p50_ms_small".into(), milliseconds(&small_p50));
    figures.insert("p50_ms_large".into(), milliseconds(&large_p50));
    figures.insert("p99_ms_small".into(), milliseconds(&small_p99));
    figures.insert("p99_ms_large".into(), milliseconds(&large_p99));
    figures.insert("p99_large_to_small".into(), json!(rounded(growth)));
    figures.insert("p99_large_to_small_bar".into(), json!(MAX_GROWTH));
    Ok(Report { name: "queue", ratio, bar: rounded(bar), holds: growth <= MAX_GROWTH, rounds: ROUNDS, figures })
}

fn percentile(times: &[f64], percent: usize) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() * percent / 100).copied().unwrap_or(f64::NAN)
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}

struct Ground {
    // Before the folder, which can only be removed when it has ended.
    server: Embedded,
    folder: TempDir,
}

/// An installation with so many claims, and cursors that stand everywhere in it.
struct Table {
    app: App,
    reader: Reader,
    filters: Vec<Filter>,
}

impl Ground {
    fn new() -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(said)?;
        let server = Embedded::start(&folder.path().join("server"), &Options::default()).map_err(said)?;
        Ok(Self { folder, server })
    }

    fn owner(&self, database: &str) -> Result<PgConnection, String> {
        PgConnection::establish(&self.server.url_for(DatabaseRole::Owner, database)).map_err(said)
    }

    fn table(&self, claims: i64) -> Result<Table, String> {
        let name = format!("claims_{claims}");
        self.owner("redress")?.batch_execute(&format!("CREATE DATABASE {name}")).map_err(said)?;
        let url = self.server.url_for(DatabaseRole::Owner, &name);
        let app = open(self.folder.path(), &url)?;
        fill(&mut self.owner(&name)?, claims)?;
        let superuser = self.server.url_for(DatabaseRole::Superuser, &name);
        let mut superuser = PgConnection::establish(&superuser).map_err(said)?;
        // Each by itself: several in one call would be a transaction, in which nothing can be vacuumed.
        superuser.batch_execute("VACUUM ANALYZE").map_err(said)?;
        superuser.batch_execute("CHECKPOINT").map_err(said)?;
        let reader = Reader { name: "reader".into(), services: None, decides_up_to: 0, countersigns: false };
        let filters = filters(&app, &reader)?;
        Ok(Table { app, reader, filters })
    }
}

impl Table {
    /// The seconds that one page takes.
    fn page(&self, number: usize) -> Result<f64, String> {
        let filter = self.filters.get(number % self.filters.len()).ok_or("there is nothing to ask for")?;
        let started = Instant::now();
        let page =
            self.app.store.with(|connection| queue::page(&self.app, connection, &self.reader, filter)).map_err(said)?;
        let seconds = started.elapsed().as_secs_f64();
        if page.claims.len() != usize::try_from(LIMIT).map_err(said)? {
            return Err(format!("a page has {} claims, not {LIMIT}", page.claims.len()));
        }
        Ok(seconds)
    }
}

fn open(folder: &Path, url: &str) -> Result<App, String> {
    let global = Global { data_dir: folder.join("data"), database_url: Some(url.to_owned()), ..Global::default() };
    App::open(Settings::load(&global, None).map_err(said)?).map_err(said)
}

/// Claims of 20 services in all states, a tenth of them with a reader.
fn fill(owner: &mut PgConnection, claims: i64) -> Result<(), String> {
    owner
        .batch_execute(&format!(
            "INSERT INTO incident (name, title_ko, title_en, cause_ko, cause_en, source_hash, loaded_at)
             VALUES ('bench', '', '', '', '', '', now());
             INSERT INTO service (name, organisation, title_ko, title_en)
             SELECT 'service-' || n, '', '', '' FROM generate_series(1, 20) AS n;
             INSERT INTO staff (name, role, added_at) SELECT 'reader-' || n, 'agent', now() FROM generate_series(1, 50) AS n;
             INSERT INTO claim (customer_id, id, reference, incident_id, service_id, state, facts, version, created_at,
                                submitted_at, updated_at, loss)
             SELECT 'c-' || md5(n::text), (lpad(to_hex(1700000000000 + n * 37), 12, '0') || '7' || substr(md5(n::text), 1, 3)
                        || '8' || substr(md5(n::text), 5, 15))::uuid,
                    'R-' || n, 1, 1 + n % 20, ({STATES})[1 + (n / 20) % 10], '{{\"loss\": \"100000\"}}', 1, now(), now(), now(),
                    md5(n::text)::uuid
             FROM generate_series(1::bigint, {claims}) AS n;
             INSERT INTO task (customer_id, claim_id, service_id, queue, is_open, since, assignee, due_at)
             SELECT customer_id, id, service_id, 'council', true, created_at,
                    CASE WHEN state = 'in_review' THEN 'reader-' || (1 + abs(hashtext(reference)) % 50) END,
                    CASE WHEN state = 'needs_information' THEN now() + interval '9 days' END
             FROM claim WHERE state IN ('in_review', 'needs_information');"
        ))
        .map_err(said)
}

/// What readers ask for: from the first page on, and from pages deep in the table, whose cursors are turned to.
fn filters(app: &App, reader: &Reader) -> Result<Vec<Filter>, String> {
    let text = |text: &str| Some(text.to_owned());
    let kinds = [
        Filter { status: text("in_review"), ..Filter::default() },
        Filter { status: text("in_review,needs_information"), sort: text("-created"), ..Filter::default() },
        Filter { status: text("in_review"), service: text("service-7"), ..Filter::default() },
        Filter { service: text("service-3"), sort: text("-created"), ..Filter::default() },
        Filter::default(),
    ];
    let mut filters = Vec::new();
    for kind in kinds {
        let mut filter = Filter { limit: Some(LIMIT), ..kind };
        for _ in 0..10 {
            filters.push(filter.clone());
            // Ten pages on: a deeper page must not cost more than the first.
            for _ in 0..10 {
                let page = app.store.with(|connection| queue::page(app, connection, reader, &filter)).map_err(said)?;
                // After the last page the first comes again.
                filter.cursor = page.next;
            }
        }
    }
    Ok(filters)
}
