//! An installation in which every route has something to do: people, claims in every state, books and runs; and for each
//! operation of the document a request that is right.

use serde_json::{Map, Value, json};

use crate::harness::{INCIDENT, Redress, merchant_claim, merchants, repository, wait_until};
use crate::peer::{Mood, Peer};
use crate::server::{Answer, Client, Server};

/// Where requests change what others are not about: with policies, holdings and budgets of its own.
const OTHER: &str = "rehearsal-1";
const PASSWORD: &str = "correct horse 7 battery";

/// A request that is right: it is answered with 2xx, or leads on.
#[derive(Debug, Clone)]
pub struct Known {
    pub operation: &'static str,
    pub path: Vec<(&'static str, String)>,
    pub query: Vec<(&'static str, String)>,
    pub version: Option<i64>,
    pub body: Body,
    /// Where the body's code is made from when it is sent.
    pub authenticator: Option<String>,
}

/// What it brings.
#[derive(Debug, Clone)]
pub enum Body {
    None,
    Json(Value),
    Text(&'static str, String),
    /// A form with one file.
    File(Vec<u8>),
}

impl Known {
    fn of(operation: &'static str) -> Self {
        Self { operation, path: vec![], query: vec![], version: None, body: Body::None, authenticator: None }
    }

    fn at(mut self, name: &'static str, value: &str) -> Self {
        self.path.push((name, value.to_owned()));
        self
    }

    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.query.push((name, value.to_owned()));
        self
    }

    fn json(self, body: Value) -> Self {
        Self { body: Body::Json(body), ..self }
    }

    fn text(self, media_type: &'static str, body: &str) -> Self {
        Self { body: Body::Text(media_type, body.to_owned()), ..self }
    }
}

/// The installation, and what opens it.
pub struct Seeded {
    pub known: Vec<Known>,
    /// Whom webhooks call.
    pub peer: Peer,
    /// The session of an administrator whose second factor is fresh, and its id.
    pub staff: String,
    pub session: String,
    /// The tokens of claims.
    pub claims: Map<String, Value>,
    /// A claimant's session.
    pub own: String,
    /// Sessions that may end.
    pub spare: Vec<String>,
}

impl Seeded {
    /// For the hooks of the tool.
    pub fn as_json(&self) -> Value {
        let pairs = |pairs: &[(&'static str, String)]| -> Value {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect::<Map<_, _>>().into()
        };
        let requests: Vec<Value> = self
            .known
            .iter()
            .map(|known| {
                let (media_type, body) = match &known.body {
                    Body::None => (Value::Null, Value::Null),
                    Body::Json(body) => (json!("application/json"), body.clone()),
                    Body::Text(media_type, text) => (json!(media_type), json!(text)),
                    Body::File(content) => (json!("multipart/form-data"), json!({ "file": hex::encode(content) })),
                };
                json!({ "operation": known.operation, "path": pairs(&known.path), "query": pairs(&known.query),
                        "version": known.version, "media_type": media_type, "body": body,
                        "authenticator": known.authenticator })
            })
            .collect();
        json!({ "requests": requests, "staff": self.staff, "session": self.session, "claims": self.claims,
                "own": self.own, "spare": self.spare, "peer": self.peer.url })
    }
}

/// Files of the repository under another incident.
fn rehearsed(file: &str, incident: &str) -> String {
    let source = std::fs::read_to_string(repository().join("policies").join(file)).unwrap();
    let policy = file.trim_end_matches(".toml");
    source
        .replace(INCIDENT, incident)
        .replace(&format!("\"{policy}\""), &format!("\"{incident}-{policy}\""))
        .replace(&format!("service   = \"{incident}-{policy}\""), &format!("service   = \"{policy}\""))
}

fn ok(answer: &Answer) -> Value {
    assert!((200..300).contains(&answer.status), "{}", answer.text());
    answer.json()
}

/// Fills an installation whose server runs.
pub fn seed(redress: &Redress, server: &Server) -> Seeded {
    let (peer, mut known) = (Peer::start(), Vec::new());
    prepare(&mut known, redress, &peer);
    let recovery_of_root = recovery_code(redress, "root");
    let staff = redress.session(server, "root");
    let (lead, agent) = (redress.client(server, "lea", "lead"), redress.client(server, "ann", "agent"));
    let mut seeded = Seeded {
        known,
        peer,
        staff: staff.token.clone(),
        session: redress.text("SELECT id FROM session WHERE staff = 'root'"),
        claims: Map::new(),
        own: String::new(),
        spare: (0..30).map(|_| redress.client(server, "spare", "agent").token).collect(),
    };
    reads(&mut seeded.known);
    claims(&mut seeded, redress, server, &staff, &lead, &agent);
    claimants(&mut seeded, redress, server);
    policies(&mut seeded.known, redress, &staff);
    books(&mut seeded.known, redress, &staff);
    webhooks(&mut seeded.known, &staff, &seeded.peer);
    people(&mut seeded.known, redress, &staff, &recovery_of_root);
    seeded
}

/// Waits until the servers have done what was asked of them.
pub fn quiet(redress: &Redress) {
    wait_until("the servers' runs are done", || {
        redress.number("SELECT count(*) FROM run WHERE state = 'running' AND served") == 0
    });
    let due = "SELECT count(*) FROM delivery JOIN webhook USING (service_id)
               WHERE state = 'queued' AND next_at <= now() AND purpose = 'deliveries' AND disabled_at IS NULL
                 AND retry_at IS NULL";
    wait_until("what is due is delivered", || redress.number(due) == 0);
}

/// Ends what would go on for ever: the run that nobody executes.
pub fn settle(redress: &Redress) {
    redress.sql("UPDATE run SET state = 'cancelled' WHERE state = 'running' AND NOT served");
    quiet(redress);
}

/// The outage with its policies, holdings, a delivery and a first run; and a rehearsal that may be changed.
fn prepare(known: &mut Vec<Known>, redress: &Redress, peer: &Peer) {
    redress.with_incident().with_staff().with_policies(&["melon"]);
    // Every decline is read a second time.
    let policy = std::fs::read_to_string(repository().join("policies/kakaotalk-merchant-loss.toml")).unwrap();
    let rates = "random   = 0.02\ndeclines = 0.1\n";
    assert!(policy.contains(rates));
    let policy = redress.file("p.toml", policy.replace(rates, "random   = 0\ndeclines = 1\n"));
    redress.run(&["policy", "publish", &policy, "--as", "author"]).succeeds();
    redress.run(&["policy", "approve", &policy, "--as", "approver"]).succeeds();
    redress.with_budget("kakaotalk", "KRW", "100000000").with_budget("melon", "day:melon", "100000");
    let customers: Vec<String> = (1..=60).map(|number| format!("m-{number}")).collect();
    let roster = redress.file("m.csv", merchants(&customers.iter().map(String::as_str).collect::<Vec<_>>()));
    redress.run(&["roster", "import", &roster, "--incident", INCIDENT]).succeeds();
    redress.run(&["staff", "add", "root", "--role", "administrator"]).succeeds();
    deliveries(known, redress, peer);
    subscribe(redress, 0..10);
    redress.issue();
    for number in 1..=5 {
        let incident = format!("rehearsal-{number}");
        let file = redress.file("i.toml", rehearsed(&format!("incidents/{INCIDENT}.toml"), &incident));
        redress.run(&["incident", "load", &file]).succeeds();
    }
}

/// Subscribers of Melon, each owed three days.
fn subscribers(numbers: std::ops::Range<u32>) -> String {
    let mut roster = String::from("customer,service,reference,kind,channel\n");
    numbers.for_each(|number| roster.push_str(&format!("s-{number},melon,sub,subscription,web\n")));
    roster
}

fn subscribe(redress: &Redress, numbers: std::ops::Range<u32>) {
    let roster = redress.file("s.csv", subscribers(numbers));
    redress.run(&["roster", "import", &roster, "--incident", INCIDENT]).succeeds();
}

fn credit_of(redress: &Redress, customer: &str) -> String {
    redress.text(&format!("SELECT id FROM transfer WHERE code = 2 AND customer_id = '{customer}'"))
}

/// A delivery of two credits, of which one is refused; afterwards nobody is told any more, so that nothing else is delivered.
fn deliveries(known: &mut Vec<Known>, redress: &Redress, peer: &Peer) {
    subscribe(redress, 20..22);
    redress.issue();
    let refused = credit_of(redress, "s-20");
    peer.set(Mood::Results(json!([{ "credit": refused, "status": "refused", "reason": "account-closed" }])));
    let added = redress.json(&["webhook", "add", "--service", "melon", "--url", &peer.url, "--as", "root"]);
    let delivered = "SELECT count(*) FROM delivery WHERE state = 'refused'";
    wait_until("the server has delivered", || redress.number(delivered) == 1);
    peer.set(Mood::Grant);
    redress.run(&["webhook", "remove", added["id"].as_str().unwrap(), "--as", "root"]).succeeds();
    let delivery = redress.text("SELECT id FROM delivery WHERE state = 'refused'");
    known.push(Known::of("show_delivery").at("id", &delivery));
    known.push(Known::of("retry_delivery").at("id", &delivery));
    let said = json!({ "customer": "s-21", "credit": credit_of(redress, "s-21"), "status": "delivered" });
    known.push(Known::of("acknowledge_credits").json(json!({ "results": [said] })));
}

/// Others who are told; not of what happens here.
fn webhooks(known: &mut Vec<Known>, staff: &Client<'_>, peer: &Peer) {
    let order = json!({ "url": peer.url, "events": ["claim.received"], "service": "melon" });
    let hook = || ok(&staff.post_once("/v1/webhooks", &order))["id"].as_str().unwrap().to_owned();
    known.push(Known::of("create_webhook").json(order.clone()));
    for operation in ["rotate_webhook", "remove_webhook", "list_webhook_messages"] {
        known.push(Known::of(operation).at("id", &hook()));
    }
    known.push(Known::of("redeliver_webhook_messages").at("id", &hook()).json(json!({})));
}

/// What is only looked at.
fn reads(known: &mut Vec<Known>) {
    for operation in [
        "livez",
        "readyz",
        "metrics",
        "find_claims",
        "export_claims",
        "show_queues",
        "show_second_readings",
        "report_agreement",
        "list_troubled_notices",
        "list_audit",
        "list_transfers",
        "report_funnel",
        "report_exposure",
        "report_liability",
        "report_notice_clocks",
        "list_runs",
        "list_incidents",
        "list_services",
        "list_assets",
        "list_policies",
        "show_session",
        "list_sessions",
        "list_staff",
        "list_api_keys",
        "list_own_claims",
        "list_corrections",
        "list_deliveries",
        "list_webhooks",
        "sign_out",
    ] {
        known.push(Known::of(operation));
    }
    known.push(Known::of("show_incident").at("id", INCIDENT));
    known.push(Known::of("list_windows").at("id", INCIDENT));
    known.push(Known::of("list_budgets").with("incident", INCIDENT));
    known.push(Known::of("list_credits").with("customer", "s-1"));
    known.push(Known::of("show_balance").at("id", "owed"));
    known.push(Known::of("show_run").at("id", "1"));
    known.push(Known::of("list_run_exceptions").at("id", "1"));
    known.push(Known::of("coverage").with("incident", INCIDENT).with("service", "melon"));
}

/// A claim that was filed: its id and its token.
struct Filed(String, String);

impl Filed {
    fn path(&self, what: &str) -> String {
        format!("/v1/claims/{}{what}", self.0)
    }

    /// Its version, as a member of staff sees it.
    fn version(&self, staff: &Client<'_>) -> i64 {
        ok(&staff.get(&self.path("")))["version"].as_i64().unwrap()
    }
}

/// Claims where they can be done with what each operation does.
fn claims(
    seeded: &mut Seeded,
    redress: &Redress,
    server: &Server,
    staff: &Client<'_>,
    lead: &Client<'_>,
    agent: &Client<'_>,
) {
    let Seeded { known, claims: tokens, .. } = seeded;
    let mut number = 0;
    let mut file = |change: Value| {
        number += 1;
        let mut claim = merchant_claim(&format!("m-{number}"), "900000");
        claim.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let filed = ok(&server.claim(&format!("seed-{number}"), &claim));
        let id = filed["id"].as_str().unwrap().to_owned();
        tokens.insert(id.clone(), filed["token"].clone());
        Filed(id, filed["token"].as_str().unwrap().to_owned())
    };
    let decline = json!({ "outcome": "decline", "reasons": ["proof-insufficient"] });
    known.push(Known::of("file_claim").json(merchant_claim("m-59", "250000")));
    let csv = format!("incident,service,customer,fact.loss\n{INCIDENT},kakaotalk,m-60,250000\n");
    known.push(Known::of("file_many").text("text/csv", &csv));
    known.push(Known::of("next_claim").json(json!({})));

    let draft = || json!({ "draft": true });
    let change = json!({ "facts": { "loss": "1000" }, "description": "closed all day" });
    known.push(Known { version: Some(1), ..Known::of("change_draft").at("id", &file(draft()).0).json(change) });
    known.push(Known::of("submit_claim").at("id", &file(draft()).0));
    for operation in ["show_claim", "read_messages", "list_evidence", "withdraw_claim", "lease_claim"] {
        known.push(Known::of(operation).at("id", &file(json!({})).0));
    }
    let declined = || json!({ "facts": { "loss": "0" } });
    known
        .push(Known::of("appeal_claim").at("id", &file(declined()).0).json(json!({ "text": "I did lose something." })));
    known.push(Known::of("reopen_claim").at("id", &file(declined()).0).json(json!({ "reason": "mistake" })));
    let drawn = file(declined());
    let drawn_yet = format!("SELECT count(*) FROM second_reading WHERE claim_id = '{}'", drawn.0);
    wait_until("it is drawn", || redress.number(&drawn_yet) == 1);
    known.push(Known::of("read_claim_again").at("id", &drawn.0).json(json!({ "agrees": true })));

    let held = file(json!({}));
    ok(&staff.post_once(&held.path("/lease"), &json!({})));
    known.push(Known::of("release_claim").at("id", &held.0));
    known.push(Known::of("assign_claim").at("id", &file(json!({})).0).json(json!({ "to": "ann" })));
    let words = json!({ "text": "Which week was the best?" });
    known.push(Known::of("request_information").at("id", &file(json!({})).0).json(words.clone()));
    known.push(Known::of("write_message").at("id", &file(json!({})).0).json(words.clone()));
    let enquiry = file(json!({ "kind": "enquiry", "facts": {} }));
    known.push(Known::of("answer_enquiry").at("id", &enquiry.0).json(words.clone()));
    let asker = Client { server, token: enquiry.1.clone() };
    ok(&asker.post_once(&enquiry.path("/messages"), &words));

    let decided = file(json!({}));
    let version = Some(decided.version(staff));
    known.push(Known { version, ..Known::of("decide_claim").at("id", &decided.0).json(decline.clone()) });
    let signed = file(json!({}));
    let large = json!({ "outcome": "approve", "awards": [{ "asset": "KRW", "amount": "3000001" }] });
    let headers = [
        ("content-type", "application/json"),
        ("idempotency-key", "large"),
        ("if-match", &*format!("\"{}\"", signed.version(lead))),
    ];
    ok(&lead.send("POST", &signed.path("/decision"), &headers, large.to_string()));
    let version = Some(signed.version(staff));
    known.push(Known { version, ..Known::of("approve_decision").at("id", &signed.0).json(json!({ "approve": true })) });
    known.push(Known::of("decide_many").json(json!({ "claims": [file(json!({})).0], "decision": decline })));

    let shown = file(json!({}));
    known.push(Known { body: Body::File(picture(1)), ..Known::of("add_evidence").at("id", &shown.0) });
    let kept = upload(agent, &shown, &picture(2));
    known.push(Known::of("download_evidence").at("id", &shown.0).at("evidence", &kept));
    let wish = json!({ "language": "en", "notices": "all" });
    known.push(Known::of("set_preferences").at("id", &file(json!({})).0).json(wish));
    let proven = file(json!({}));
    redress.run(&["audit", "export-head", redress.folder.path().join("head.json").to_str().unwrap()]).succeeds();
    known.push(Known::of("prove_claim").at("claim", &proven.0));
}

/// A small picture, another for each number.
fn picture(number: u8) -> Vec<u8> {
    let mut png = std::io::Cursor::new(Vec::new());
    let pixels = image::RgbImage::from_pixel(8, 8, image::Rgb([number, 0, 0]));
    pixels.write_to(&mut png, image::ImageFormat::Png).unwrap();
    png.into_inner()
}

/// One file as a form.
pub fn form(content: &[u8]) -> (&'static str, Vec<u8>) {
    let head = "--part\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.png\"\r\n\r\n";
    ("multipart/form-data; boundary=part", [head.as_bytes(), content, b"\r\n--part--\r\n"].concat())
}

fn upload(client: &Client<'_>, claim: &Filed, content: &[u8]) -> String {
    let (kind, body) = form(content);
    let added = ok(&client.send("POST", &claim.path("/evidence"), &[("content-type", kind)], body));
    added["id"].as_str().unwrap().to_owned()
}

/// Codes by mail: one that was used, and one that can be.
fn claimants(seeded: &mut Seeded, redress: &Redress, server: &Server) {
    let code = |address: &str| {
        let body = json!({ "email": address, "language": "en" });
        ok(&server.post("/v1/claimants/codes", &[("content-type", "application/json")], body.to_string()));
        let mut found = None;
        wait_until("the code comes", || {
            found = code_sent(redress, address);
            found.is_some()
        });
        found.unwrap()
    };
    let used = json!({ "email": "m-1@example.com", "code": code("m-1@example.com") });
    let opened = server.post("/v1/claimants/sessions", &[("content-type", "application/json")], used.to_string());
    seeded.own = ok(&opened)["token"].as_str().unwrap().to_owned();
    let good = json!({ "email": "m-2@example.com", "code": code("m-2@example.com") });
    seeded.known.push(Known::of("ask_code").json(json!({ "email": "m-3@example.com" })));
    seeded.known.push(Known::of("open_claimant_session").json(good));
    seeded.known.push(Known::of("requeue_notices").json(json!({})));
    let bounce = json!({ "message_id": "<0190f3c4-1111-7000-8000-000000000000@example.com>", "kind": "permanent" });
    seeded.known.push(Known::of("report_bounces").json(json!({ "bounces": [bounce] })));
}

/// The code that was mailed to an address.
fn code_sent(redress: &Redress, address: &str) -> Option<String> {
    let mails = std::fs::read_dir(redress.folder.path().join("mail")).ok()?;
    mails.filter_map(|mail| std::fs::read(mail.ok()?.path()).ok()).find_map(|raw| {
        let mail = mail_parser::MessageParser::default().parse(&raw)?;
        let text = mail.body_text(0)?;
        let to = mail.to()?.first()?.address()?;
        let code = text.split("reports is ").nth(1)?.get(..6)?;
        (to == address).then(|| code.to_owned())
    })
}

/// Policies of the rehearsal: one that is published, one that can be.
fn policies(known: &mut Vec<Known>, redress: &Redress, staff: &Client<'_>) {
    const TOML: &str = "application/toml";
    let window = json!({ "from": "2022-10-15T06:30:00Z", "until": "2022-10-16T06:30:00Z", "severity": "unavailable" });
    let incident = rehearsed(&format!("incidents/{INCIDENT}.toml"), "rehearsal-6");
    known.push(Known::of("load_incident").text(TOML, &incident));
    known.push(Known::of("set_windows").at("id", OTHER).json(json!({ "service": "melon", "windows": [window] })));
    known.push(Known::of("import_roster").with("incident", OTHER).text("text/csv", &subscribers(0..3)));
    let source = rehearsed("melon.toml", OTHER);
    let file = redress.file("published.toml", &source);
    redress.run(&["policy", "publish", &file, "--as", "author"]).succeeds();
    let version = |source: &str| {
        let checked = ok(&staff.send("POST", "/v1/policies", &[("content-type", TOML)], source));
        checked["version"].as_str().unwrap().to_owned()
    };
    known.push(Known::of("approve_policy").at("id", &version(&source)));
    let fresh = source.replace("amount = 3 }", "amount = 4 }");
    known.push(Known::of("check_policy").text(TOML, &fresh));
    known.push(Known::of("simulate_policy").at("id", &version(&fresh)).text(TOML, &fresh));
    known.push(Known::of("publish_policy").at("id", &version(&fresh)).text(TOML, &fresh));
}

/// Budgets that wait, a credit, and runs where they can be steered.
fn books(known: &mut Vec<Known>, redress: &Redress, staff: &Client<'_>) {
    let finance = redress.session(staff.server, "finance");
    let budget =
        |amount: &str| json!({ "incident": OTHER, "service": "melon", "asset": "day:melon", "amount": amount });
    let asked = |amount: &str| ok(&finance.post_once("/v1/budgets", &budget(amount)))["id"].to_string();
    known.push(Known::of("authorise_budget").json(budget("300")));
    known.push(Known::of("approve_budget").at("id", &asked("100")));
    known.push(Known::of("reject_budget").at("id", &asked("200")));
    let spared = json!({ "incident": INCIDENT, "service": "melon", "asset": "day:melon", "amount": "1" });
    known.push(Known::of("release_budget").json(spared));
    let reversal = json!({ "reason": "credited-in-error", "customer": "s-1" });
    known.push(Known::of("reverse_credit").at("id", &credit_of(redress, "s-1")).json(reversal));
    redress.run(&["credit", "limit", "--asset", "day:melon", "--amount", "5", "--as", "root"]).succeeds();
    for (operation, customers) in [("approve_correction", ["s-3", "s-4"]), ("reject_correction", ["s-5", "s-6"])] {
        let [one, two] = customers.map(|customer| credit_of(redress, customer));
        let asked = ["credit", "reverse", &one, &two, "--reason", "credited-in-error", "--as", "finance"];
        let asked = redress.run(&[&asked[..], &["--format", "json"]].concat()).fails(1, "").json();
        let number = asked["waits"]["id"].to_string();
        known.push(Known::of(operation).at("id", &number));
        if operation == "reject_correction" {
            known.push(Known::of("show_correction").at("id", &number));
        }
    }

    // What is left to issue is above the limit now.
    redress.run(&["run", "limit", "--asset", "day:melon", "--amount", "0", "--as", "root"]).succeeds();
    subscribe(redress, 10..20);
    let planned = ok(&finance.post_once("/v1/runs", &json!({ "incident": INCIDENT })));
    assert_eq!(planned["state"], "planned", "{planned}");
    let approval = json!({ "plan": planned["plan"] });
    known.push(Known::of("approve_run").at("id", &planned["id"].to_string()).json(approval));
    known.push(Known::of("start_run").json(json!({ "incident": "rehearsal-5" })));
    // A run of a process elsewhere, which no server takes up.
    for (incident, state, operation) in [
        ("rehearsal-2", "running", "pause_run"),
        ("rehearsal-3", "paused", "resume_run"),
        ("rehearsal-4", "paused", "cancel_run"),
    ] {
        redress.sql(&format!(
            "INSERT INTO run (incident_id, state, scope, started_by, started_at, needs_approval, served)
             SELECT id, '{state}', 'null', 'finance', now(), false, false FROM incident WHERE name = '{incident}'"
        ));
        known.push(Known::of(operation).at("id", &redress.text("SELECT max(id) FROM run")));
    }
}

/// Sets a member's password, and returns a code in the place of his authenticator's.
fn recovery_code(redress: &Redress, name: &str) -> String {
    let set = redress.run_with_input(&["staff", "passwd", name, "--format", "json"], PASSWORD).succeeds().json();
    set["recovery_codes"][0].as_str().unwrap().to_owned()
}

/// Members, sessions and keys that may come and go.
fn people(known: &mut Vec<Known>, redress: &Redress, staff: &Client<'_>, recovery_of_root: &str) {
    let add = |name: &str| {
        let added = redress.json(&["staff", "add", name, "--role", "agent"]);
        added["setup_token"].as_str().unwrap().to_owned()
    };
    known.push(Known::of("add_staff").json(json!({ "name": "newcomer", "role": "agent" })));
    for (name, operation) in [("leaver", "revoke_staff"), ("loser", "reset_staff")] {
        add(name);
        known.push(Known::of(operation).at("name", name));
    }
    let set_up = |token: &str| json!({ "token": token, "password": PASSWORD });
    known.push(Known::of("set_up").json(set_up(&add("beginner"))));
    let token = add("finisher");
    let begun = ok(&staff.server.post(
        "/v1/session/setup",
        &[("content-type", "application/json")],
        set_up(&token).to_string(),
    ));
    known.push(Known {
        authenticator: Some(begun["otpauth_uri"].as_str().unwrap().to_owned()),
        ..Known::of("confirm_set_up").json(json!({ "token": token, "code": "", "bearer": true }))
    });

    let sign_in = json!({ "name": "ann", "password": PASSWORD, "code": recovery_code(redress, "ann"), "bearer": true });
    known.push(Known::of("sign_in").json(sign_in));
    known.push(Known::of("step_up").json(json!({ "code": recovery_of_root })));

    redress.session(staff.server, "spare");
    let ends = redress.text("SELECT id FROM session WHERE staff = 'spare' ORDER BY started_at DESC LIMIT 1");
    known.push(Known::of("end_session").at("id", &ends));
    let key = || {
        let body = json!({ "label": "nightly import", "scopes": ["read_claims"] });
        ok(&staff.post_once("/v1/api-keys", &body))["id"].as_str().unwrap().to_owned()
    };
    known.push(Known::of("create_api_key").json(json!({ "label": "another", "scopes": ["read_claims"] })));
    known.push(Known::of("rotate_api_key").at("id", &key()));
    known.push(Known::of("revoke_api_key").at("id", &key()));
}
