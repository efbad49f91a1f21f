//! Two people at work, each from beginning to end, over HTTP and nothing else: the claimant and the agent. What they do
//! cannot do for themselves stands here: the operator's own part, and the clock.

mod agent;
mod claimant;

use image::{ExtendedColorType, ImageEncoder};
use serde_json::{Value, json};

use crate::harness::{Answer, Client, INCIDENT, Redress, Server, merchants, wait_until};

/// An operator with merchants on record, a policy for their losses, and money for it.
fn operator(redress: &Redress) -> Server {
    redress.with_incident().with_staff().with_policies(&["kakaotalk-merchant-loss"]);
    let names: Vec<String> = (1..=20).map(|number| format!("m-{number}")).collect();
    let roster = redress.file("roster.csv", merchants(&names.iter().map(String::as_str).collect::<Vec<_>>()));
    redress.run(&["roster", "import", &roster, "--incident", INCIDENT]).succeeds();
    redress.with_budget("kakaotalk", "KRW", "10000000");
    redress.serve()
}

#[track_caller]
fn ok(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// A command on what was seen: its version is sent along.
fn on(seen: &Value, client: &Client<'_>, method: &str, path: &str, body: &Value) -> Answer {
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let key = format!("on-{}", COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
    let tag = format!("\"{}\"", seen["version"]);
    let headers = [("content-type", "application/json"), ("idempotency-key", key.as_str()), ("if-match", tag.as_str())];
    client.send(method, path, &headers, body.to_string())
}

/// What a mail to somebody said, as the page for developers shows it.
fn mailed(server: &Server, to: &str, words: &str) -> String {
    let mut found = String::new();
    wait_until(&format!("{to} has a mail that says {words}"), || {
        let page = server.get("/dev/mail", &[]).text().to_owned();
        let mails = page.split("<details").filter(|mail| mail.contains(to) && mail.contains(words));
        mails.for_each(|mail| mail.clone_into(&mut found));
        !found.is_empty()
    });
    found
}

/// The operator issues what is owed, by a run that his server executes.
fn issue(redress: &Redress, server: &Server) -> i64 {
    let finance = redress.session(server, "finance");
    let opened = finance.post_once("/v1/runs", &json!({ "incident": INCIDENT }));
    assert_eq!(opened.status, 201, "{}", opened.text());
    let path = opened.header("location").to_owned();
    wait_until("the run is done", || finance.get(&path).json()["run"]["state"] == "done");
    finance.get(&path).json()["run"]["progress"]["issued"].as_i64().unwrap()
}

/// The service says that it granted what a customer is owed.
fn delivered(redress: &Redress, server: &Server, customer: &str) {
    let finance = redress.session(server, "finance");
    let credits = finance.get(&format!("/v1/credits?customer={customer}")).json();
    let lines = credits["credits"].as_array().unwrap().iter().map(|credit| format!("{customer},{}\n", credit["id"]));
    let file =
        redress.file("delivered.csv", format!("customer,credit\n{}", lines.collect::<String>().replace('"', "")));
    redress.run(&["credit", "deliver", &file]).succeeds();
}

/// So many days go by for the claims that are at rest.
fn days_go_by(redress: &Redress, days: u32) {
    redress.sql(&format!("UPDATE claim SET updated_at = updated_at - interval '{days} days'"));
}

/// A picture of a sheet with figures on it.
fn picture() -> Vec<u8> {
    let mut png = Vec::new();
    let pixels: Vec<u8> = (0..40_u32 * 40 * 3).map(|n| u8::try_from(n % 251).unwrap()).collect();
    image::codecs::png::PngEncoder::new(&mut png).write_image(&pixels, 40, 40, ExtendedColorType::Rgb8).unwrap();
    png
}
