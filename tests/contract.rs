//! What holds for every route alike, walked from the one table: how a request may be sent again, what is refused of
//! parameters, fields, methods, types and sizes, and that each refusal is a problem that names its field.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};

use redress::http::table::{ROUTES, Repeated, Route, Who};
use serde_json::{Value, json};
use totp_rs::Totp;

use crate::documents::openapi;
use crate::harness::{Redress, Server};
use crate::seeded::{Body, Known, Seeded, form, quiet, seed, settle};
use crate::server::Answer;

/// Where any parameter is taken: identity providers add their own.
const TAKES_ANY: &str = "/v1/session/oidc/callback";

fn name(route: &Route) -> String {
    format!("{} {}", route.method, route.path)
}

fn operation<'a>(document: &'a Value, route: &Route) -> &'a Value {
    &document["paths"][route.path][route.method.to_lowercase()]
}

/// The path of an object that nobody has.
fn nobodys(route: &Route) -> String {
    let nobody = "00000000-0000-7000-8000-000000000000";
    route.path.split('/').map(|part| if part.starts_with('{') { nobody } else { part }).collect::<Vec<_>>().join("/")
}

/// A request that can be sent, changed or not.
#[derive(Clone)]
struct Request {
    method: &'static str,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    /// The right request of a route, with whoever's credentials it takes.
    fn right(seeded: &Seeded, route: &Route, known: &Known) -> Self {
        let (mut path, mut headers, mut claim) = (route.path.to_owned(), Vec::new(), None);
        for (name, value) in &known.path {
            path = path.replace(&format!("{{{name}}}"), value);
            claim = claim.or(seeded.claims.get(value).and_then(Value::as_str));
        }
        let query: Vec<String> = known.query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if !query.is_empty() {
            path = format!("{path}?{}", query.join("&"));
        }
        let token = match route.who {
            Who::Public => None,
            Who::Claimant => Some(claim.unwrap_or(&seeded.own)),
            _ if known.operation == "sign_out" => Some(seeded.spare[0].as_str()),
            _ => Some(seeded.staff.as_str()),
        };
        headers.extend(token.map(|token| ("authorization".to_owned(), format!("Bearer {token}"))));
        headers.extend(known.version.map(|version| ("if-match".to_owned(), format!("\"{version}\""))));
        let (kind, body) = match &known.body {
            Body::None => (None, Vec::new()),
            Body::Json(body) => (Some("application/json"), body.to_string().into_bytes()),
            Body::Text(kind, text) => (Some(*kind), text.clone().into_bytes()),
            Body::File(content) => {
                let (kind, body) = form(content);
                (Some(kind), body)
            }
        };
        headers.extend(kind.map(|kind| ("content-type".to_owned(), kind.to_owned())));
        let mut request = Self { method: route.method, path, headers, body };
        if let Some(uri) = &known.authenticator {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
            let mut body: Value = serde_json::from_slice(&request.body).unwrap();
            body["code"] = json!(Totp::from_url(uri).unwrap().generate(now).to_string());
            request.body = body.to_string().into_bytes();
        }
        request
    }

    fn with(mut self, header: &str, value: &str) -> Self {
        self.headers.retain(|(name, _)| name != header);
        self.headers.push((header.to_owned(), value.to_owned()));
        self
    }

    fn body(self, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..self }
    }

    fn send(&self, server: &Server) -> Answer {
        let headers: Vec<(&str, &str)> = self.headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        server.send(self.method, &self.path, &headers, &self.body)
    }
}

/// The routes with their right requests.
fn right<'a>(seeded: &'a Seeded, document: &Value) -> Vec<(&'static Route, &'a Known, Request)> {
    let of = |route: &Route| {
        let id = operation(document, route)["operationId"].as_str().unwrap();
        seeded.known.iter().find(|known| known.operation == id)
    };
    ROUTES
        .iter()
        .filter_map(|route| of(route).map(|known| (route, known, Request::right(seeded, route, known))))
        .collect()
}

#[test]
fn every_right_request_is_answered_with_success() {
    Redress::test(|redress| {
        let server = redress.serve_with(&[("REDRESS_RATE_SIGN_IN", "0")]);
        let seeded = seed(redress, &server);
        let document = openapi(&server);
        let known = right(&seeded, &document);
        let missing: Vec<&str> = ROUTES
            .iter()
            .map(|route| route.path)
            .filter(|path| {
                !path.starts_with("/v1/session/oidc") && !known.iter().any(|(route, ..)| route.path == *path)
            })
            .collect();
        assert!(missing.is_empty(), "no right request is known of {missing:?}");
        for (route, known, request) in known {
            let answer = request.with("idempotency-key", known.operation).send(&server);
            assert!((200..300).contains(&answer.status), "{}: {} {}", name(route), answer.status, answer.text());
            if route.path.starts_with("/v1/") {
                assert!(answer.header("content-type").is_empty() == (answer.status == 204), "{}", name(route));
            }
        }
        settle(redress);
    });
}

/// How many rows stand in the tables of what people do; a thing done twice is two rows.
fn rows(redress: &Redress) -> String {
    quiet(redress);
    let tables = [
        "claim",
        "message",
        "evidence",
        "decision",
        "appeal",
        "budget_request",
        "transfer",
        "run",
        "incident",
        "impact",
        "policy_version",
        "holding",
        "session",
        "staff",
        "api_key",
        "mailed_code",
        "notice",
        "correction",
        "delivery",
        "webhook",
        "webhook_message",
    ];
    let there: BTreeSet<String> = redress
        .text("SELECT string_agg(table_name, ' ') FROM information_schema.tables WHERE table_schema = 'public'")
        .split(' ')
        .map(str::to_owned)
        .collect();
    let counts = tables
        .iter()
        .filter(|table| there.contains(**table))
        .map(|table| format!("'{table} ' || (SELECT count(*) FROM {table})"));
    redress.text(&format!("SELECT concat_ws(', ', {})", counts.collect::<Vec<_>>().join(", ")))
}

#[test]
fn every_post_can_be_sent_again() {
    Redress::test(|redress| {
        let server = redress.serve_with(&[("REDRESS_RATE_SIGN_IN", "0")]);
        let seeded = seed(redress, &server);
        let document = openapi(&server);
        for (route, known, request) in right(&seeded, &document) {
            let keyed = match (route.method, route.repeated) {
                ("POST", Repeated::Harmless(why)) => {
                    let told = operation(&document, route)["description"].as_str().unwrap();
                    assert!(told.contains(&format!("May be sent again: {why}.")), "{}: {told}", name(route));
                    false
                }
                ("POST" | "PATCH", _) => true,
                _ => continue,
            };
            let parameters = operation(&document, route)["parameters"].as_array().cloned().unwrap_or_default();
            let key = parameters.iter().find(|parameter| parameter["name"] == "Idempotency-Key");
            assert_eq!(key.is_some_and(|key| key["required"] == true), keyed, "{}", name(route));
            if !keyed {
                let first = request.send(&server);
                let before = rows(redress);
                let again = request.send(&server);
                assert!(again.status < 500, "{}: {}", name(route), again.text());
                assert_eq!(rows(redress), before, "{}: {} then {}", name(route), first.status, again.status);
                continue;
            }
            request.send(&server).is_problem(400, "idempotency_key_missing");
            for bad in ["", "two words", &"k".repeat(129), "ключ"] {
                request.clone().with("idempotency-key", bad).send(&server).is_problem(400, "idempotency_key_missing");
            }
            let request = request.with("idempotency-key", known.operation);
            let first = request.send(&server);
            assert!((200..300).contains(&first.status), "{}: {}", name(route), first.text());
            let before = rows(redress);
            let again = request.send(&server);
            // A run is answered with as it stands: the servers go on with it.
            let told = |answer: &Answer| match known.operation {
                "start_run" => answer.json()["id"].to_string(),
                _ => answer.text().to_owned(),
            };
            assert_eq!((again.status, told(&again)), (first.status, told(&first)), "{}", name(route));
            assert_eq!(rows(redress), before, "{}", name(route));
            // The same key with something else is a mistake of the client's, and is told so.
            if let Body::Json(body) = &known.body {
                let other = match known.operation {
                    "start_run" => json!({ "incident": crate::harness::INCIDENT }).to_string(),
                    _ => format!("{body} "),
                };
                let other = request.clone().body(other);
                other.send(&server).is_problem(422, "idempotency_key_reused");
            }
        }
        settle(redress);
    });
}

#[test]
fn unknown_parameters_methods_and_types_are_refused_by_every_route() {
    Redress::test(|redress| {
        let server = redress.serve();
        let document = openapi(&server);
        for route in ROUTES {
            let path = nobodys(route);
            let unknown = server.send(route.method, &format!("{path}?no-such=1&limit=2"), &[], "");
            if route.path != TAKES_ANY {
                let problem = unknown.is_problem(422, "invalid_request");
                assert_eq!(problem["errors"][0]["pointer"], "/no-such", "{}: {problem}", name(route));
            }
            let nul = path.replace("00000000-0000-7000-8000-000000000000", "a%00b");
            if nul != path {
                server.send(route.method, &nul, &[], "").is_problem(400, "invalid_path");
            }
            let responses = operation(&document, route)["responses"].as_object().unwrap();
            if responses.iter().any(|(status, answer)| status.starts_with('2') && answer["content"].is_object()) {
                server
                    .send(route.method, &path, &[("accept", "image/x-nothing")], "")
                    .is_problem(406, "not_acceptable");
            }
            let mut methods: BTreeSet<&str> =
                ROUTES.iter().filter(|r| r.path == route.path).map(|r| r.method).collect();
            if methods.contains("GET") {
                methods.insert("HEAD");
            }
            for method in ["TRACE", "OPTIONS", "PUT", "PATCH", "DELETE"] {
                if methods.contains(method) {
                    continue;
                }
                let refused = server.call(method, &path);
                refused.is_problem(405, "method_not_allowed");
                let allowed: BTreeSet<&str> = refused.header("allow").split(", ").collect();
                assert_eq!(allowed, methods, "{}", name(route));
            }
        }
    });
}

/// The members that the document says a body must have.
fn required(document: &Value, route: &Route) -> Vec<String> {
    let mut schema = &operation(document, route)["requestBody"]["content"]["application/json"]["schema"];
    if let Some(reference) = schema["$ref"].as_str() {
        schema = document.pointer(reference.strip_prefix('#').unwrap()).unwrap();
    }
    let names = schema["required"].as_array().into_iter().flatten();
    names.map(|name| name.as_str().unwrap().to_owned()).collect()
}

/// Every place of a document where a member that nobody knows can be put, with its pointer; maps take any member.
fn with_unknown_members(body: &Value) -> Vec<(String, Value)> {
    let mut places = vec![String::new()];
    let mut queue = vec![(String::new(), body)];
    while let Some((pointer, value)) = queue.pop() {
        let members: Vec<(String, &Value)> = match value {
            Value::Object(members) => members.iter().map(|(key, member)| (key.clone(), member)).collect(),
            Value::Array(items) => items.iter().enumerate().map(|(i, item)| (i.to_string(), item)).collect(),
            _ => Vec::new(),
        };
        for (key, member) in members.into_iter().filter(|(key, _)| key != "facts") {
            let below = format!("{pointer}/{key}");
            places.extend(member.is_object().then(|| below.clone()));
            queue.push((below, member));
        }
    }
    let put = |place: String| {
        let mut changed = body.clone();
        changed.pointer_mut(&place).unwrap()["no-such"] = json!(1);
        (format!("{place}/no-such"), changed)
    };
    places.into_iter().map(put).collect()
}

#[test]
fn bodies_are_refused_for_their_type_size_form_and_unknown_fields() {
    Redress::test(|redress| {
        let server = redress.serve_with(&[("REDRESS_RATE_SIGN_IN", "0")]);
        let seeded = seed(redress, &server);
        let document = openapi(&server);
        let before = rows(redress);
        let (mut bodies, mut places, mut missing) = (0, 0, 0);
        for (route, known, request) in right(&seeded, &document) {
            let documented = operation(&document, route).get("requestBody").is_some();
            assert_eq!(documented, !matches!(known.body, Body::None), "{}", name(route));
            if !documented {
                continue;
            }
            bodies += 1;
            let request = request.with("idempotency-key", "refused");
            request
                .clone()
                .with("content-type", "application/x-nothing")
                .send(&server)
                .is_problem(415, "unsupported_media_type");
            // The type is the same in capitals.
            let kind = request.headers.iter().find(|(name, _)| name == "content-type").unwrap().1.clone();
            let (kind, rest) =
                kind.split_once(';').map_or((kind.as_str(), String::new()), |(k, r)| (k, format!(";{r}")));
            let capitals = request.clone().with("content-type", &(kind.to_uppercase() + &rest)).body("x").send(&server);
            assert!(capitals.status != 415 && capitals.status >= 400, "{}: {}", name(route), capitals.text());
            let Body::Json(body) = &known.body else { continue };
            for malformed in ["", "{", "[]", "null", "{\"", &format!("{body} {{}}")] {
                request.clone().body(malformed).send(&server).is_problem(400, "malformed_body");
            }
            let most = if known.operation == "acknowledge_credits" { 2 << 20 } else { 64 << 10 };
            let large = format!("{{\"no-such\": \"{}\"}}", "a".repeat(most));
            request.clone().body(large).send(&server).is_problem(413, "body_too_large");
            for member in required(&document, route) {
                let mut changed = body.clone();
                changed.as_object_mut().unwrap().remove(&member);
                let problem =
                    request.clone().body(changed.to_string()).send(&server).is_problem(422, "invalid_request");
                let fault = &problem["errors"][0];
                assert_eq!(fault["pointer"], format!("/{member}"), "{}: {problem}", name(route));
                assert_eq!(fault["detail"], "is missing", "{}: {problem}", name(route));
                missing += 1;
            }
            for (pointer, changed) in with_unknown_members(body) {
                let problem =
                    request.clone().body(changed.to_string()).send(&server).is_problem(422, "invalid_request");
                assert_eq!(problem["errors"][0]["pointer"], pointer.as_str(), "{}: {problem}", name(route));
                places += 1;
            }
            // A text with a character that PostgreSQL does not keep is named too, and what is no text where one belongs: an
            // amount that came as a number may have lost something on its way.
            for (member, value) in body.as_object().unwrap().iter().filter(|(_, value)| value.is_string()) {
                for wrong in [json!(format!("{}\0", value.as_str().unwrap())), json!(3), json!(0.5), json!([value])] {
                    let mut changed = body.clone();
                    changed[member] = wrong;
                    let problem =
                        request.clone().body(changed.to_string()).send(&server).is_problem(422, "invalid_request");
                    assert_eq!(problem["errors"][0]["pointer"], format!("/{member}"), "{}: {problem}", name(route));
                    let detail = problem["errors"][0]["detail"].as_str().unwrap();
                    assert!(!detail.contains("expected") && !detail.contains("struct"), "{}: {problem}", name(route));
                }
            }
        }
        assert!(bodies > 30 && places > 25 && missing > 20, "{bodies} bodies, {places} places, {missing} missing");
        assert_eq!(rows(redress), before, "what was refused left something behind");
        settle(redress);
    });
}

#[test]
fn files_are_bounded_too() {
    Redress::test(|redress| {
        let server = redress.serve();
        let seeded = seed(redress, &server);
        let document = openapi(&server);
        // A roster of 4 GiB is not sent here.
        for (route, known, request) in
            right(&seeded, &document).into_iter().filter(|(route, ..)| route.path != "/v1/rosters")
        {
            let Body::Text(..) = known.body else { continue };
            let large = request.with("idempotency-key", "large").body("# ".repeat(1 << 20)).send(&server);
            large.is_problem(413, "body_too_large");
            assert!(large.text().contains("bytes are taken"), "{}: {}", name(route), large.text());
        }
        settle(redress);
    });
}

#[test]
fn parameters_are_bounded_and_named() {
    Redress::test(|redress| {
        let server = redress.serve();
        let seeded = seed(redress, &server);
        let document = openapi(&server);
        let (mut limits, mut instants) = (0, 0);
        for (route, _, request) in right(&seeded, &document) {
            let parameters = operation(&document, route)["parameters"].as_array().cloned().unwrap_or_default();
            for parameter in parameters.iter().filter(|parameter| parameter["in"] == "query") {
                let field = parameter["name"].as_str().unwrap();
                let ask = |value: &str| {
                    let base = request.path.split(['?', '&']).filter(|part| !part.starts_with(&format!("{field}=")));
                    let base = base.collect::<Vec<_>>().join("&").replacen('&', "?", 1);
                    let joint = if base.contains('?') { '&' } else { '?' };
                    Request { path: format!("{base}{joint}{field}={value}"), ..request.clone() }.send(&server)
                };
                let refused = |answer: Answer| {
                    let problem = answer.is_problem(422, "invalid_request");
                    assert_eq!(problem["errors"][0]["pointer"], format!("/{field}"), "{}: {problem}", name(route));
                };
                refused(ask("a%00b"));
                refused(ask(&"a".repeat(5_000)));
                if parameter["schema"]["type"].to_string().contains("integer") {
                    refused(ask("many"));
                    refused(ask("99999999999999999999"));
                }
                // A year that no database keeps, and one that chrono cannot convert.
                if parameter["schema"].to_string().contains("date-time") {
                    refused(ask("%2B262142-12-31T23:59:59Z"));
                    refused(ask("-4713-01-01T00:00:00Z"));
                    refused(ask("yesterday"));
                    instants += 1;
                }
                if field == "limit" {
                    ["0", "-1", "100000"].into_iter().for_each(|value| refused(ask(value)));
                    limits += 1;
                }
            }
        }
        assert!(limits >= 2 && instants >= 4, "{limits}, {instants}");
        settle(redress);
    });
}

/// The most memory that a server has taken so far, in KiB.
fn most_memory(server: &Server) -> i64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
#[cfg(target_os = "linux")]
fn an_export_of_many_claims_takes_a_pages_memory() {
    const CLAIMS: usize = 150_000;
    Redress::test(|redress| {
        redress.with_incident();
        let server = redress.serve();
        let reader = redress.client(&server, "ann", "agent");
        assert_eq!(server.claim("first", &crate::harness::merchant_claim("m-1", "1")).status, 201);
        redress.sql(&format!(
            "INSERT INTO claim (customer_id, id, reference, incident_id, service_id, state, facts, version, created_at, submitted_at, updated_at)
             SELECT '=x-' || n, gen_random_uuid(), 'R-' || n, incident_id, service_id, 'declined', '{{}}', 1, now(), now(), now()
             FROM claim, generate_series(2, {CLAIMS}) AS n WHERE customer_id = 'm-1';
             ANALYZE claim"
        ));
        assert_eq!(reader.get("/v1/claims/export?q=m-1").text().lines().count(), 2);
        let before = most_memory(&server);
        let export = reader.get("/v1/claims/export");
        let grown = most_memory(&server) - before;
        let text = export.text();
        assert_eq!(text.lines().count(), CLAIMS + 1);
        assert!(text.contains(",'=x-2,") && !text.contains(",=x-"), "a cell is a formula");
        println!("{} KiB of CSV, {grown} KiB more memory", text.len() >> 10);
        assert!(grown < (text.len() >> 10) as i64 / 2, "{grown} KiB more for {} KiB of CSV", text.len() >> 10);
        redress.sql("DELETE FROM claim WHERE customer_id LIKE '=x-%'");
    });
}

#[test]
fn every_route_counts_and_refuses_beyond_the_limit() {
    Redress::test(|redress| {
        let server = redress.serve_with(&[("REDRESS_RATE_CLIENT", "1")]);
        let first = server.get("/v1/services", &[]);
        assert_eq!((first.status, first.header("ratelimit-policy")), (401, "\"client\";q=1;w=60"));
        let document = openapi(&server);
        for route in ROUTES.iter().filter(|route| route.path.starts_with("/v1/")) {
            let refused = server.send(route.method, &nobodys(route), &[], "");
            refused.is_problem(429, "too_many_requests");
            assert!((1..=60).contains(&refused.header("retry-after").parse::<u64>().unwrap()), "{}", name(route));
            assert!(refused.header("ratelimit").starts_with("\"client\";r=0;t="), "{}", name(route));
            let told = &operation(&document, route)["responses"]["429"];
            assert!(told["headers"]["Retry-After"].is_object(), "{}: {told}", name(route));
        }
    });
}

/// Sends the head of a request and no more, and returns what comes back with the seconds that it took.
fn answer_to_a_head(server: &Server, request: &Request, length: u64) -> (String, u64) {
    let mut stream = std::net::TcpStream::connect(server.url.strip_prefix("http://").unwrap()).unwrap();
    let mut head = format!("{} {} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n", request.method, request.path);
    request.headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
    let began = std::time::Instant::now();
    stream.write_all(format!("{head}\r\n{{").as_bytes()).unwrap();
    let mut answer = String::new();
    BufReader::new(&stream).read_line(&mut answer).unwrap();
    (answer, began.elapsed().as_secs())
}

#[test]
fn a_body_that_is_too_long_or_does_not_come_is_answered() {
    Redress::test(|redress| {
        let server = redress.serve();
        let seeded = seed(redress, &server);
        let document = openapi(&server);
        let known = right(&seeded, &document);
        let with_body = known.iter().filter(|(_, known, _)| !matches!(known.body, Body::None | Body::File(_)));
        let requests: Vec<_> =
            with_body.map(|(route, _, request)| (*route, request.clone().with("idempotency-key", "head"))).collect();
        assert!(requests.len() > 30);
        for (route, request) in &requests {
            let (answer, seconds) = answer_to_a_head(&server, request, 1 << 40);
            assert!(answer.starts_with("HTTP/1.1 413 "), "{}: {answer}", name(route));
            assert!(seconds < 10, "{}: {seconds} s", name(route));
        }
        std::thread::scope(|scope| {
            for (route, request) in &requests {
                let server = &server;
                scope.spawn(move || {
                    let (answer, seconds) = answer_to_a_head(server, request, 100);
                    assert!(answer.starts_with("HTTP/1.1 408 "), "{}: {answer}", name(route));
                    assert!((25..60).contains(&seconds), "{}: {seconds} s", name(route));
                });
            }
        });
        settle(redress);
    });
}
