//! The demo's people: a seeded, realistic mix of what customers held on the day of the outage. Each customer is drawn
//! from a generator of their own, so that the same seed gives the same people whatever their number.

use std::io::Write;

use chrono::{DateTime, Duration, TimeZone, Utc};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The columns of the demo's roster.
pub const HEADER: &str = "customer,service,reference,kind,product,valid_from,valid_until,channel,extendable,fee,\
                          cancelled,title,affected,merchant,local_phone,street_hail,hailed_at,commission,excess_fare,\
                          best_week";

/// One row of the roster; empty where the records say nothing.
#[derive(Debug, Default, Clone)]
struct Row {
    service: &'static str,
    reference: String,
    kind: &'static str,
    product: &'static str,
    valid_from: Option<DateTime<Utc>>,
    valid_until: Option<DateTime<Utc>>,
    channel: &'static str,
    extendable: &'static str,
    fee: u32,
    cancelled: &'static str,
    title: &'static str,
    affected: &'static str,
    merchant: &'static str,
    local_phone: &'static str,
    street_hail: &'static str,
    hailed_at: Option<DateTime<Utc>>,
    commission: u32,
    excess_fare: Option<u32>,
    best_week: u32,
}

/// What the demo knows of a customer when they report damage.
#[derive(Debug, Clone)]
pub struct Person {
    /// The operator's id of them.
    pub id: String,
    /// Whether they run a business on the messenger.
    pub merchant: bool,
}

/// The operator's id of the customer with this number.
#[must_use]
pub fn customer_id(number: u64) -> String {
    format!("c-{number:07}")
}

fn rng_of(seed: u64, number: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(number);
    rng
}

/// The customer with this number.
#[must_use]
pub fn person(seed: u64, number: u64) -> Person {
    let mut rng = rng_of(seed, number);
    Person { id: customer_id(number), merchant: rng.random_ratio(6, 100) }
}

/// Writes everybody's holdings, and a few rows that no operator's export is free of. Returns (rows, unusable rows).
pub fn write_roster(out: &mut dyn Write, seed: u64, customers: u64) -> std::io::Result<(u64, u64)> {
    writeln!(out, "{HEADER}")?;
    let mut rows = 0;
    let mut unusable = 0;
    for number in 1..=customers {
        for row in holdings(seed, number) {
            write_row(out, &customer_id(number), &row)?;
            rows += 1;
        }
        // About one row in 20,000 customers' exports is broken in one of these ways.
        if number % 20_000 == 7_777 {
            let id = customer_id(number);
            writeln!(out, "{id},melon,broken-{number},subscription,,2022-10-32,,,,,,,,,,,,,,")?;
            writeln!(out, "{id},cinema,broken-{number},pass,,,,,,,,,,,,,,,,")?;
            writeln!(out, ",webtoon,broken-{number},right,,,,,,,,,,,,,,,,")?;
            rows += 3;
            unusable += 3;
        }
    }
    out.flush()?;
    Ok((rows, unusable))
}

fn write_row(out: &mut dyn Write, customer: &str, row: &Row) -> std::io::Result<()> {
    let time = |at: Option<DateTime<Utc>>| at.map(|at| at.format("%Y-%m-%dT%H:%M:%SZ").to_string()).unwrap_or_default();
    let number = |n: u32| if n == 0 { String::new() } else { n.to_string() };
    writeln!(
        out,
        "{customer},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}",
        row.service,
        row.reference,
        row.kind,
        row.product,
        time(row.valid_from),
        time(row.valid_until),
        row.channel,
        row.extendable,
        number(row.fee),
        row.cancelled,
        row.title,
        row.affected,
        row.merchant,
        row.local_phone,
        row.street_hail,
        time(row.hailed_at),
        number(row.commission),
        row.excess_fare.map(|fare| fare.to_string()).unwrap_or_default(),
        number(row.best_week),
    )
}

/// Midnight of a day of October 2022 in Korea, days counted from the 1st; 0 and less lie in September.
fn october(day: i64) -> DateTime<Utc> {
    let first = Utc.with_ymd_and_hms(2022, 9, 30, 15, 0, 0).single().unwrap_or_default();
    first + Duration::days(day - 1)
}

/// The power went off.
fn outage() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2022, 10, 15, 6, 30, 0).single().unwrap_or_default()
}

fn holdings(seed: u64, number: u64) -> Vec<Row> {
    let mut rng = rng_of(seed, number);
    let merchant = rng.random_ratio(6, 100); // the first draw: `person` makes the same one
    let mut rows = vec![account("kakaotalk", number, merchant, rng.random_ratio(985, 1000))];
    if merchant && rng.random_ratio(7, 10) {
        rows.push(account("talk-channel", number, true, true));
    }
    melon(&mut rng, number, &mut rows);
    reading(&mut rng, number, "webtoon", 25, &mut rows);
    reading(&mut rng, number, "page", 18, &mut rows);
    if rng.random_ratio(8, 100) {
        let until = outage() + Duration::minutes(rng.random_range(-2_880..4_320));
        rows.push(Row {
            service: "tv",
            reference: format!("rent-{number}"),
            kind: "rental",
            valid_from: Some(until - Duration::hours(48)),
            valid_until: Some(until),
            ..Row::default()
        });
    }
    monthly(&mut rng, number, "emoticon-plus", 12, 4_900, &mut rows);
    monthly(&mut rng, number, "talk-drawer", 6, 2_500, &mut rows);
    mobility(&mut rng, number, &mut rows);
    if rng.random_ratio(15, 100) {
        rows.push(Row {
            service: "games",
            reference: format!("player-{number}"),
            kind: "account",
            title: ["arcadia", "moonrise", "stormfront", "chess-club"][rng.random_range(0..4)],
            affected: if rng.random_ratio(7, 10) { "true" } else { "false" },
            ..Row::default()
        });
    }
    // What merchants sold through the messenger is on record for most of them.
    if merchant && rng.random_ratio(8, 10) {
        let best_week = rng.random_range(2..=60) * 100_000;
        rows.iter_mut().filter(|row| row.merchant == "true").for_each(|row| row.best_week = best_week);
    }
    rows
}

fn account(service: &'static str, number: u64, merchant: bool, local_phone: bool) -> Row {
    Row {
        service,
        reference: format!("account-{number}"),
        kind: "account",
        merchant: if merchant { "true" } else { "false" },
        local_phone: if local_phone { "true" } else { "false" },
        ..Row::default()
    }
}

fn channel(rng: &mut ChaCha8Rng) -> &'static str {
    match rng.random_range(0..100) {
        0..70 => "web",
        70..90 => "app_store",
        _ => "affiliate",
    }
}

fn melon(rng: &mut ChaCha8Rng, number: u64, rows: &mut Vec<Row>) {
    if !rng.random_ratio(38, 100) {
        return;
    }
    let subscription = rng.random_ratio(7, 10);
    // Most were valid on the day; some ended on it, some before, some began after.
    let from = match rng.random_range(0..100) {
        0..88 => october(rng.random_range(-13..=15)),
        88..92 => october(-14),
        92..97 => october(-20),
        _ => october(rng.random_range(17..=25)),
    };
    rows.push(Row {
        service: "melon",
        reference: format!("melon-{number}"),
        kind: if subscription { "subscription" } else { "pass" },
        product: if subscription { "streaming-monthly" } else { "streaming-30-days" },
        valid_from: Some(from),
        valid_until: Some(from + Duration::days(30)),
        channel: channel(rng),
        extendable: if rng.random_ratio(4, 10) { "true" } else { "false" },
        fee: if subscription { 10_900 } else { 12_000 },
        ..Row::default()
    });
}

fn reading(rng: &mut ChaCha8Rng, number: u64, service: &'static str, percent: u32, rows: &mut Vec<Row>) {
    if !rng.random_ratio(percent, 100) {
        return;
    }
    if rng.random_ratio(15, 100) {
        let from = october(rng.random_range(-14..=14));
        rows.push(Row {
            service,
            reference: format!("{service}-sub-{number}"),
            kind: "subscription",
            valid_from: Some(from),
            valid_until: Some(from + Duration::days(30)),
            channel: channel(rng),
            ..Row::default()
        });
    }
    // Viewing rights last 72 hours; they end before, during and after the outage.
    for copy in 0..rng.random_range(1..=3) {
        let until = outage() + Duration::minutes(rng.random_range(-1_440..4_320));
        rows.push(Row {
            service,
            reference: format!("{service}-right-{number}-{copy}"),
            kind: "right",
            product: "episode",
            valid_from: Some(until - Duration::hours(72)),
            valid_until: Some(until),
            ..Row::default()
        });
    }
}

fn monthly(rng: &mut ChaCha8Rng, number: u64, service: &'static str, percent: u32, fee: u32, rows: &mut Vec<Row>) {
    if !rng.random_ratio(percent, 100) {
        return;
    }
    let from = october(rng.random_range(-18..=20));
    rows.push(Row {
        service,
        reference: format!("{service}-{number}"),
        kind: "subscription",
        valid_from: Some(from),
        valid_until: Some(from + Duration::days(31)),
        channel: channel(rng),
        cancelled: if service == "talk-drawer" && rng.random_ratio(1, 10) { "true" } else { "" },
        fee,
        ..Row::default()
    });
}

fn mobility(rng: &mut ChaCha8Rng, number: u64, rows: &mut Vec<Row>) {
    if rng.random_ratio(3, 100) {
        let taxi = rng.random_ratio(6, 10);
        rows.push(Row {
            service: "mobility-pro",
            reference: format!("pro-{number}"),
            kind: "membership",
            product: if taxi { "taxi-pro" } else { "driver-pro" },
            valid_from: Some(october(1)),
            valid_until: Some(october(32)),
            fee: if taxi { 39_000 } else { 22_000 },
            ..Row::default()
        });
        if taxi {
            for trip in 0..rng.random_range(0..4) {
                rows.push(Row {
                    service: "mobility-franchise",
                    reference: format!("trip-{number}-{trip}"),
                    kind: "trip",
                    street_hail: if rng.random_ratio(6, 10) { "true" } else { "false" },
                    hailed_at: Some(outage() + Duration::minutes(rng.random_range(-180..1_440))),
                    commission: rng.random_range(8..60) * 100,
                    ..Row::default()
                });
            }
        }
    }
    if rng.random_ratio(15, 1000) {
        let from = outage() + Duration::minutes(rng.random_range(-240..600));
        rows.push(Row {
            service: "mobility-ride",
            reference: format!("ride-{number}"),
            kind: "ride",
            valid_from: Some(from),
            valid_until: Some(from + Duration::minutes(rng.random_range(20..900))),
            excess_fare: match rng.random_range(0..10) {
                0 => None,
                1..4 => Some(0),
                _ => Some(rng.random_range(10..300) * 100),
            },
            ..Row::default()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_people_whatever_their_number() {
        let (mut small, mut large) = (Vec::new(), Vec::new());
        write_roster(&mut small, 7, 50).unwrap();
        write_roster(&mut large, 7, 80).unwrap();
        assert!(large.starts_with(&small));
        let mut other = Vec::new();
        write_roster(&mut other, 8, 50).unwrap();
        assert_ne!(small, other);
        let merchants = String::from_utf8(large).unwrap();
        for number in 1..=80 {
            let line = format!("{},kakaotalk,", customer_id(number));
            let row = merchants.lines().find(|row| row.starts_with(&line)).unwrap();
            assert_eq!(row.split(',').nth(13), Some(if person(7, number).merchant { "true" } else { "false" }));
        }
    }
}
