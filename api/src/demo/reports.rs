//! The demo's damage reports, sent over HTTP to the running server by several clients at once.

use std::sync::atomic::{AtomicU64, Ordering};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;

use super::INCIDENT;
use super::population::{Person, person};
use crate::error::{AppError, AppResult};

/// How many clients report at once.
const CLIENTS: usize = 8;
/// The stream of the reports' generator, apart from every customer's own.
const STREAM: u64 = u64::MAX;

/// Sends `count` reports and returns how many were accepted; one that is not is an error.
pub fn send(address: &str, seed: u64, customers: u64, count: u64) -> AppResult<u64> {
    let next = AtomicU64::new(0);
    let outcomes: Vec<AppResult<u64>> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| {
                    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
                    let mut accepted = 0;
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= count {
                            return Ok(accepted);
                        }
                        send_one(&agent, address, seed, customers, number)?;
                        accepted += 1;
                    }
                })
            })
            .collect();
        clients
            .into_iter()
            .map(|client| client.join().unwrap_or_else(|_| Err(AppError::Refused("a client panicked".into()))))
            .collect()
    });
    outcomes.into_iter().sum()
}

fn send_one(agent: &ureq::Agent, address: &str, seed: u64, customers: u64, number: u64) -> AppResult<()> {
    let body = report(seed, customers, number);
    let failed = |why: String| AppError::Refused(format!("report {number} was not accepted: {why}"));
    let mut response = agent
        .post(format!("{address}/v1/claims"))
        .header("Idempotency-Key", format!("demo-{seed}-{number}"))
        .send_json(&body)
        .map_err(|error| failed(error.to_string()))?;
    if response.status() == 201 {
        return Ok(());
    }
    let text = response.body_mut().read_to_string().unwrap_or_default();
    Err(failed(format!("{} {text}", response.status())))
}

/// What one report is about.
struct About {
    service: &'static str,
    kind: &'static str,
    facts: serde_json::Value,
    words: &'static str,
}

impl About {
    fn enquiry(service: &'static str, words: &'static str) -> Self {
        Self { service, kind: "enquiry", facts: json!({}), words }
    }

    fn damage(service: &'static str, facts: serde_json::Value, words: &'static str) -> Self {
        Self { service, kind: "damage", facts, words }
    }
}

/// The report with this number. The shares are those of 2022: of 1,000 reports 678 were enquiries and complaints without a
/// loss, 171 were about paid services, 151 about money lost by free ones.
fn report(seed: u64, customers: u64, number: u64) -> serde_json::Value {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(STREAM - number);
    let mut who = person(seed, rng.random_range(1..=customers));
    let about = match rng.random_range(0..1000) {
        0..200 => About::enquiry("kakaotalk", "카카오톡 보상은 어떻게 되나요?"),
        200..350 => About::enquiry("melon", "이용권 보상은 언제 되나요?"),
        350..470 => About::enquiry("webtoon", "대여 기간은 자동으로 연장되나요?"),
        470..570 => About::enquiry("emoticon-plus", "구독 연장은 신청해야 하나요?"),
        570..678 => About::enquiry("mobility-navigation", "내비 장애도 보상 대상인가요?"),
        678..720 => About::damage("melon", json!({}), "이용권을 쓰지 못했습니다."),
        720..755 => About::damage("webtoon", json!({}), "대여한 웹툰을 보지 못했습니다."),
        755..775 => About::damage("emoticon-plus", json!({}), "구독 중인데 이용하지 못했습니다."),
        775..849 => merchant(&mut rng, seed, customers, &mut who, "talk-channel"),
        849..865 => About::damage("bank", loss(&mut rng, 20_000), "이체가 되지 않았습니다."),
        865..880 => About::damage("pay", loss(&mut rng, 5_000), "결제가 되지 않았습니다."),
        880..890 => About::damage("map", loss(&mut rng, 1_000), "지도가 열리지 않았습니다."),
        890..900 => About::damage("mobility-navigation", json!({}), "내비가 멈춰서 길을 헤맸습니다."),
        _ => merchant(&mut rng, seed, customers, &mut who, "kakaotalk"),
    };
    let language = if rng.random_ratio(9, 10) { "ko" } else { "en" };
    json!({
        "incident": INCIDENT,
        "service": about.service,
        "kind": about.kind,
        "customer": who.id,
        "facts": about.facts,
        "description": about.words,
        "contact": { "email": format!("{}@example.com", who.id), "language": language },
    })
}

/// A small merchant's report: most of the money. Merchants report far more often than others; a few who are none try too.
fn merchant(rng: &mut ChaCha8Rng, seed: u64, customers: u64, who: &mut Person, service: &'static str) -> About {
    for _ in 0..40 {
        if who.merchant || rng.random_ratio(1, 300) {
            break;
        }
        *who = person(seed, rng.random_range(1..=customers));
    }
    About::damage(service, merchant_loss(rng), "주문 알림을 받지 못해 손실이 있었습니다.")
}

fn loss(rng: &mut ChaCha8Rng, unit: u32) -> serde_json::Value {
    json!({ "loss": (rng.random_range(0..20) * unit).to_string() })
}

fn merchant_loss(rng: &mut ChaCha8Rng) -> serde_json::Value {
    let won = match rng.random_range(0..100) {
        0..6 => 0,
        6..66 => rng.random_range(1..=300) * 1_000,
        66..86 => rng.random_range(301..=500) * 1_000,
        _ => rng.random_range(501..=5_000) * 1_000,
    };
    json!({ "loss": won.to_string() })
}
