//! Simulating a roster beside reading it and evaluating alone: the same file, the same rows, one pass each.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::Path;

use redress_domain::holding::{Attribute, Attributes, Holding};
use redress_domain::id::{CustomerId, HoldingRef, ServiceId};
use redress_domain::policy::{Policy, Simulation, Subject};

use crate::report::{median, processor_seconds};

/// What was measured.
pub(crate) struct Simulated {
    /// Time of reading and evaluating ÷ time of simulating.
    pub(crate) speed: f64,
    pub(crate) rows_per_second: u64,
    pub(crate) memory_growth_kib: i64,
}

const ROUNDS: usize = 5;

pub(crate) fn measure(policy: &Policy, rows: usize) -> Result<Simulated, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let path = folder.path().join("roster.csv");
    write(&path, rows).map_err(|error| error.to_string())?;
    let (mut alone, mut simulated) = (Vec::new(), Vec::new());
    let before = resident_kib();
    for _ in 0..ROUNDS {
        let mut awards = 0_usize;
        let mut failure = None;
        alone.push(processor_seconds(|| {
            let read = each(&path, |holding| {
                let subject = Subject { holding: Some(holding), ..Subject::default() };
                awards += policy.assess(&subject).map_or(0, |outcome| outcome.awards().len());
            });
            failure = read.err();
        }));
        let mut simulation = Simulation::new(policy);
        simulated.push(processor_seconds(|| {
            let read = each(&path, |holding| {
                let subject = Subject { holding: Some(holding), ..Subject::default() };
                simulation.add(&policy.assess(&subject), || holding.reference.to_string());
            });
            failure = failure.take().or(read.err());
        }));
        if let Some(failure) = failure {
            return Err(failure);
        }
        let report = simulation.report();
        let counted: u64 = report.assets.iter().map(|asset| asset.awards).sum();
        if usize::try_from(report.subjects) != Ok(rows) || usize::try_from(counted) != Ok(awards) {
            return Err(format!(
                "the simulation counted {} subjects and {counted} awards, not {rows} and {awards}",
                report.subjects
            ));
        }
    }
    let speeds: Vec<f64> = alone.iter().zip(&simulated).map(|(alone, simulated)| alone / simulated).collect();
    Ok(Simulated {
        speed: median(&speeds),
        rows_per_second: (rows as f64 / median(&simulated)).round() as u64,
        memory_growth_kib: resident_kib() - before,
    })
}

fn write(path: &Path, rows: usize) -> std::io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    writeln!(file, "customer,reference,kind,valid_from,valid_until,channel")?;
    for row in 0..rows {
        let (first, last) = (1 + row % 16, 10 + row % 21);
        let channel = ["web", "app_store", "affiliate"][row % 3];
        let kind = if row % 4 == 0 { "subscription" } else { "pass" };
        writeln!(
            file,
            "c{row},h{row},{kind},2022-10-{first:02}T00:00:00+09:00,2022-10-{last:02}T00:00:00+09:00,{channel}"
        )?;
    }
    file.flush()
}

/// Reads the file row by row.
fn each(path: &Path, mut visit: impl FnMut(&Holding)) -> Result<(), String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let mut reader = csv::Reader::from_reader(BufReader::new(file));
    let mut record = csv::StringRecord::new();
    let service = ServiceId::parse("melon").map_err(|error| error.to_string())?;
    while reader.read_record(&mut record).map_err(|error| error.to_string())? {
        let holding = holding(&record, &service).ok_or("a row cannot be read")?;
        visit(&holding);
    }
    Ok(())
}

fn holding(record: &csv::StringRecord, service: &ServiceId) -> Option<Holding> {
    let channel = Attribute::Text(record.get(5)?.into());
    Some(Holding {
        customer: CustomerId::parse(record.get(0)?).ok()?,
        service: service.clone(),
        reference: HoldingRef::parse(record.get(1)?).ok()?,
        kind: record.get(2)?.into(),
        product: "".into(),
        valid_from: Some(record.get(3)?.parse().ok()?),
        valid_until: Some(record.get(4)?.parse().ok()?),
        attributes: Attributes::new([("channel".to_owned(), channel)]).ok()?,
    })
}

/// The memory of this process in KiB, where the system tells it.
fn resident_kib() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
