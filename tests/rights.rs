//! Every route, every role: the one table of routes is complete, and what the server answers to each is what it says.

use std::collections::BTreeSet;

use redress::http::table::{ROUTES, Route, Who};
use redress::rights::{Right, Role};

use crate::claimants::{KEY, claims_of, serve_with_keys};
use crate::documents::openapi;
use crate::harness::{Answer, Client, INCIDENT, Redress, Server, merchant_claim, merchants};

const NOBODYS: &str = "00000000-0000-7000-8000-000000000000";

/// The path of an object that nobody has.
fn concrete(route: &Route) -> String {
    route.path.split('/').map(|part| if part.starts_with('{') { NOBODYS } else { part }).collect::<Vec<_>>().join("/")
}

/// Rights come before anything that is wrong with the request.
fn send(client: &Client<'_>, route: &Route) -> Answer {
    match route.method {
        "POST" => client.post_once(&concrete(route), &serde_json::json!({})),
        method => client.send(method, &concrete(route), &[], ""),
    }
}

fn name(route: &Route) -> String {
    format!("{} {}", route.method, route.path)
}

/// Whether the answer says that who asks may not.
fn is_refused(answer: &Answer) -> bool {
    [401, 403].contains(&answer.status)
}

#[test]
fn the_table_has_every_route_of_the_document_and_no_other() {
    Redress::test(|redress| {
        let document = openapi(&redress.serve());
        let mut documented = BTreeSet::new();
        for (path, operations) in document["paths"].as_object().unwrap() {
            documented.extend(operations.as_object().unwrap().keys().map(|m| format!("{} {path}", m.to_uppercase())));
        }
        let listed: Vec<String> = ROUTES.iter().map(name).collect();
        assert_eq!(listed.iter().cloned().collect::<BTreeSet<_>>(), documented);
        assert_eq!(listed.len(), documented.len(), "a route stands twice");
        for route in ROUTES {
            let operation = &document["paths"][route.path][route.method.to_lowercase()];
            let secured = operation["security"].as_array().is_some_and(|schemes| !schemes.is_empty());
            assert_eq!(secured, route.who != Who::Public, "{}", name(route));
            assert!(!secured || operation["responses"].get("401").is_some(), "{}", name(route));
        }
    });
}

#[test]
fn without_credentials_only_public_routes_answer() {
    Redress::test(|redress| {
        let server = redress.serve();
        for route in ROUTES {
            let answer = server.send(route.method, &concrete(route), &[], "");
            if route.who == Who::Public {
                assert!(!is_refused(&answer), "{}: {}", name(route), answer.status);
                continue;
            }
            answer.is_problem(401, "unauthorised");
            assert_eq!(answer.header("www-authenticate"), "Bearer", "{}", name(route));
            let session = format!("Bearer redress_session_{}", "0".repeat(64));
            let key = format!("Bearer redress_key_{}", "0".repeat(64));
            for bad in ["", "Bearer", "Bearer ", "Basic eDp5", "bearer\tx", session.as_str(), key.as_str()] {
                let answer = server.send(route.method, &concrete(route), &[("authorization", bad)], "");
                assert!(
                    answer.status == 401 || answer.status == 404,
                    "{} takes {bad:?}: {}",
                    name(route),
                    answer.status
                );
                assert!(answer.status == 401 || matches!(route.who, Who::Claimant), "{} {bad:?}", name(route));
            }
        }
    });
}

#[test]
fn every_role_has_the_routes_of_its_rights_and_no_other() {
    Redress::test(|redress| {
        let server = redress.serve();
        for role in Role::ALL {
            let client = redress.client(&server, &format!("a-{}", role.as_str()), role.as_str());
            for route in ROUTES {
                // Signing out would end the session under test.
                if (route.method, route.path) == ("DELETE", "/v1/session") {
                    continue;
                }
                let answer = send(&client, route);
                let may = match route.who {
                    Who::Public | Who::Member => true,
                    Who::Claimant => false,
                    Who::Staff(right) | Who::ClaimantOr(right) => right.is_of(*role),
                };
                let hidden = answer.status == 404 && matches!(route.who, Who::Claimant);
                assert_eq!(is_refused(&answer) || hidden, !may, "{} as {role:?}: {}", name(route), answer.text());
            }
        }
    });
}

#[test]
fn a_session_is_over_when_it_ends_idles_or_its_member_is_revoked() {
    Redress::test(|redress| {
        let server = redress.serve();
        let open = |name: &str| redress.client(&server, name, "administrator");
        let refused = |client: &Client<'_>| {
            for route in ROUTES.iter().filter(|route| matches!(route.who, Who::Member | Who::Staff(_))) {
                send(client, route).is_problem(401, "unauthorised");
            }
        };
        let signed_out = open("a");
        assert_eq!(signed_out.get("/v1/session").json()["name"], "a");
        assert_eq!(signed_out.send("DELETE", "/v1/session", &[], "").status, 204);
        refused(&signed_out);
        let revoked = open("b");
        redress.run(&["staff", "revoke", "b"]).succeeds();
        refused(&revoked);
        let past = open("c");
        redress.sql("UPDATE session SET ends_at = now() WHERE staff = 'c'");
        refused(&past);
        let idle = open("d");
        redress.sql("UPDATE session SET seen_at = now() - interval '31 minutes' WHERE staff = 'd'");
        refused(&idle);
        let stale = open("e");
        redress.sql("UPDATE session SET verified_at = now() - interval '16 minutes' WHERE staff = 'e'");
        for route in ROUTES {
            if let Who::Staff(right) = route.who {
                let answer = send(&stale, route);
                assert_eq!(answer.status == 403, right.needs_step_up(), "{}: {}", name(route), answer.text());
            }
        }
        // Whoever is at work stays signed in.
        redress.sql("UPDATE session SET seen_at = now() - interval '29 minutes' WHERE staff = 'e'");
        assert_eq!(stale.get("/v1/session").json()["verified"], false);
        assert_eq!(
            redress.number("SELECT count(*) FROM session WHERE staff = 'e' AND seen_at > now() - interval '1 minute'"),
            1
        );
    });
}

/// Objects of the service kakaotalk, by the routes that speak of them.
struct Objects {
    policy: String,
    claim: String,
    budget: String,
    credit: String,
}

impl Objects {
    /// A claim that people read; the policy, the request for a budget and the credit are there already.
    fn of_talk(redress: &Redress, server: &Server) -> Self {
        let filed = server.claim("mine", &merchant_claim("m-1", "900000")).json();
        let claim = filed["id"].as_str().unwrap().to_owned();
        Self {
            policy: redress.text("SELECT hash FROM policy_version"),
            budget: redress.text("SELECT max(id) FROM budget_request"),
            credit: redress.text("SELECT id FROM transfer WHERE code = 2"),
            claim,
        }
    }

    /// The path of a route with the object in it; none where the route speaks of nothing that is of one service.
    fn path(&self, route: &Route) -> Option<String> {
        let objects = [
            ("/v1/policies/{id}/", &self.policy),
            ("/v1/claims/{id}", &self.claim),
            ("/v1/budgets/{id}/", &self.budget),
            ("/v1/credits/{id}/", &self.credit),
        ];
        let (_, id) = objects.into_iter().find(|(prefix, _)| route.path.starts_with(prefix))?;
        Some(route.path.replacen("{id}", id, 1).replace("{evidence}", NOBODYS))
    }
}

/// Objects that are of no single service: whoever works for some only may not use what speaks of them, or sees what is his.
const OF_ALL_SERVICES: [&str; 10] = [
    "/v1/runs",
    "/v1/ledger/",
    "/v1/corrections",
    "/v1/incidents",
    "/v1/audit",
    "/v1/sessions",
    "/v1/staff",
    "/v1/api-keys",
    "/v1/webhooks",
    "/v1/deliveries",
];

#[test]
fn what_is_of_another_service_is_refused_to_every_role() {
    Redress::test(|redress| {
        redress.with_incident().with_staff().with_policies(&["kakaotalk-merchant-loss"]);
        redress.with_budget("kakaotalk", "KRW", "100000");
        let roster = redress.file("r.csv", merchants(&["m-0", "m-1"]));
        redress.run(&["roster", "import", &roster, "--incident", INCIDENT]).succeeds();
        let server = redress.serve();
        assert_eq!(server.claim("paid", &merchant_claim("m-0", "1000")).json()["status"], "approved");
        assert_eq!(redress.issue()["issued"], 1);
        let file = "policies/kakaotalk-merchant-loss.toml";
        let source = std::fs::read_to_string(crate::harness::repository().join(file)).unwrap();
        let objects = Objects::of_talk(redress, &server);
        let mut walked = BTreeSet::new();
        for role in Role::ALL {
            let member = |service: &str| {
                let name = format!("{}-{service}", role.as_str());
                redress.run(&["staff", "add", &name, "--role", role.as_str(), "--service", service]).succeeds();
                redress.session(&server, &name)
            };
            let (inside, outside) = (member("kakaotalk"), member("melon"));
            for route in ROUTES {
                let (Who::Staff(right) | Who::ClaimantOr(right)) = route.who else { continue };
                let Some(path) = objects.path(route) else {
                    assert!(
                        !route.path.contains('{')
                            || OF_ALL_SERVICES.iter().any(|prefix| route.path.starts_with(prefix)),
                        "{}: of which service is what it speaks of?",
                        name(route)
                    );
                    continue;
                };
                let kind = if route.path.starts_with("/v1/policies") { "application/toml" } else { "application/json" };
                let body = match kind {
                    "application/toml" => source.as_str(),
                    _ if route.path.starts_with("/v1/credits") => r#"{"reason":"credited-in-error","amount":"0"}"#,
                    _ => "{}",
                };
                let send = |client: &Client<'_>| {
                    client.send(route.method, &path, &[("content-type", kind), ("idempotency-key", "k")], body)
                };
                let refused = send(&outside);
                // Where the body is read first, an empty one is refused for all alike and tells nothing.
                let refusals: &[u16] = if kind.ends_with("toml") { &[403] } else { &[400, 403, 404, 415, 422, 428] };
                assert!(refusals.contains(&refused.status), "{} as {role:?}: {}", name(route), refused.text());
                assert_eq!(is_refused(&send(&inside)), !right.is_of(*role), "{} as {role:?}", name(route));
                walked.insert(route.path);
            }
        }
        assert!(walked.len() >= 16, "{walked:?}");
        assert_eq!(redress.number("SELECT count(*) FROM transfer WHERE code <> 2 AND code <> 1"), 0);
    });
}

/// What of other services is in lists, and what cannot be divided by service at all.
#[test]
fn lists_show_a_member_what_is_of_his_services_and_nothing_else() {
    Redress::test(|redress| {
        redress.with_incident().with_staff().with_policies(&["kakaotalk-merchant-loss"]);
        redress.with_budget("kakaotalk", "KRW", "100000");
        let roster = redress.file("r.csv", merchants(&["m-0", "m-1"]));
        redress.run(&["roster", "import", &roster, "--incident", INCIDENT]).succeeds();
        let server = redress.serve();
        server.claim("paid", &merchant_claim("m-0", "1000"));
        server.claim("read", &merchant_claim("m-1", "900000"));
        assert_eq!(redress.issue()["issued"], 1);
        redress.sql("UPDATE notice SET state = 'dead'");
        let member = |service: &str| {
            let name = format!("admin-{service}");
            redress.run(&["staff", "add", &name, "--role", "administrator", "--service", service]).succeeds();
            redress.session(&server, &name)
        };
        let (inside, outside) = (member("kakaotalk"), member("melon"));
        for (path, list) in [
            ("/v1/claims", "/claims"),
            ("/v1/queues", ""),
            ("/v1/policies", ""),
            (&format!("/v1/budgets?incident={INCIDENT}"), "/budgets"),
            (&format!("/v1/budgets?incident={INCIDENT}"), "/requests"),
            ("/v1/credits?customer=m-0", "/credits"),
            ("/v1/notices", "/notices"),
        ] {
            let count = |client: &Client<'_>| {
                let answer = client.get(path).json();
                answer
                    .pointer(list)
                    .and_then(|list| list.as_array())
                    .unwrap_or_else(|| panic!("{path}: {answer}"))
                    .len()
            };
            assert!(count(&inside) > 0, "{path}");
            assert_eq!(count(&outside), 0, "{path}");
        }
        assert_eq!(outside.get("/v1/claims/export").text().lines().count(), 1);
        // A claim that is another's says so nowhere: not of its files either.
        let claim = inside.get("/v1/claims?limit=1").json()["claims"][0]["id"].as_str().unwrap().to_owned();
        for path in [
            format!("/v1/claims/{claim}"),
            format!("/v1/claims/{claim}/evidence"),
            format!("/v1/claims/{claim}/messages"),
        ] {
            assert_eq!(inside.get(&path).status, 200, "{path}");
            let refused = outside.get(&path);
            refused.is_problem(404, "not_found");
            assert!(!refused.text().contains("kakaotalk"), "{}", refused.text());
        }
        for path in ["/v1/ledger/accounts/owed/balance", "/v1/ledger/transfers", "/v1/runs", "/v1/runs/1", "/v1/audit"]
        {
            inside.get(path).is_problem(403, "forbidden");
        }
        inside.post_once("/v1/runs", &serde_json::json!({ "incident": INCIDENT })).is_problem(403, "forbidden");
        inside.post_once("/v1/notices/requeue", &serde_json::json!({})).is_problem(403, "forbidden");
        let of_melon = |command: &[&str]| {
            let args: Vec<&str> = command.iter().copied().chain(["--as", "admin-melon"]).collect();
            redress.run(&args)
        };
        of_melon(&["issue", "--incident", INCIDENT]).fails(1, "works for all services");
        let retire = ["policy", "retire", "kakaotalk-merchant-loss", "--incident", INCIDENT];
        of_melon(&retire).fails(1, "does not work for the service kakaotalk");
        let credit = redress.text("SELECT id FROM transfer WHERE code = 2");
        of_melon(&["credit", "reverse", &credit, "--reason", "credited-in-error"]).fails(1, "");
        assert_eq!(redress.number("SELECT count(*) FROM transfer WHERE code > 2"), 0);
    });
}

/// Decides a claim over HTTP as it stands.
fn decide(client: &Client<'_>, path: &str, amount: i64) -> Answer {
    let tag = client.get(path).header("etag").to_owned();
    let body =
        serde_json::json!({ "outcome": "approve", "awards": [{ "asset": "KRW", "amount": amount.to_string() }] });
    let key = format!("{amount}-{}", client.token.len() + path.len());
    let headers = [("content-type", "application/json"), ("idempotency-key", key.as_str()), ("if-match", tag.as_str())];
    client.send("POST", &format!("{path}/decision"), &headers, body.to_string())
}

#[test]
fn every_role_decides_alone_up_to_its_amount_and_not_a_won_more() {
    Redress::test(|redress| {
        redress.with_incident().with_staff().with_policies(&["kakaotalk-merchant-loss"]);
        let server = redress.serve();
        let names: Vec<String> = (0..60).map(|number| format!("m-{number}")).collect();
        let roster = redress.file("r.csv", merchants(&names.iter().map(String::as_str).collect::<Vec<_>>()));
        redress.run(&["roster", "import", &roster, "--incident", INCIDENT]).succeeds();
        let mut fresh = names.iter().map(|name| {
            let filed = server.claim(name, &merchant_claim(name, "900000")).json();
            format!("/v1/claims/{}", filed["id"].as_str().unwrap())
        });
        for role in Role::ALL {
            for own in [None, Some(50_000_i64)] {
                let own = own.map(|own| own.min(role.decides_up_to()));
                let name = format!("{}-{}", role.as_str(), if own.is_some() { "own" } else { "role" });
                let mut add =
                    vec!["staff".to_owned(), "add".into(), name.clone(), "--role".into(), role.as_str().into()];
                add.extend(own.iter().flat_map(|own| ["--decides-up-to".to_owned(), own.to_string()]));
                redress.run(&add.iter().map(String::as_str).collect::<Vec<_>>()).succeeds();
                let client = redress.session(&server, &name);
                if !Right::DecideClaims.is_of(*role) {
                    decide(&client, &fresh.next().unwrap(), 1).is_problem(403, "forbidden");
                    continue;
                }
                let most = own.unwrap_or(role.decides_up_to());
                let status = |answer: &Answer| (answer.status, answer.json()["status"].as_str().map(str::to_owned));
                let done = decide(&client, &fresh.next().unwrap(), most);
                assert_eq!(status(&done), (200, Some("approved".into())), "{name}: {}", done.text());
                let beyond = fresh.next().unwrap();
                let waits = decide(&client, &beyond, most + 1);
                assert_eq!(status(&waits), (200, Some("in_review".into())), "{name}: {}", waits.text());
                // His own signature does not help, whatever his role.
                let tag = waits.header("etag").to_owned();
                let headers =
                    [("content-type", "application/json"), ("idempotency-key", "s"), ("if-match", tag.as_str())];
                let signed =
                    client.send("POST", &format!("{beyond}/approve-decision"), &headers, r#"{"approve":true}"#);
                assert_eq!(signed.status, 403, "{name}: {}", signed.text());
                // Nor does deciding many at once.
                let last = fresh.next().unwrap();
                let mut many = serde_json::json!({ "claims": [last.rsplit('/').next().unwrap()], "decision": {
                    "outcome": "approve", "awards": [{ "asset": "KRW", "amount": (most + 1).to_string() }] } });
                many["commit"] = client.post_once("/v1/decisions/bulk", &many).json()["hash"].clone();
                assert_eq!(client.post_once("/v1/decisions/bulk", &many).json()["items"][0]["status"], "in_review");
            }
        }
    });
}

#[test]
fn a_claimants_credentials_open_his_own_claims_and_nobody_elses() {
    Redress::test(|redress| {
        redress.with_incident();
        let server = serve_with_keys(redress, &serde_json::json!({ "keys": [KEY.jwk()] }));
        let of = |customer: &str| KEY.sign(&claims_of(customer));
        let file = |customer: &str| {
            let bearer = format!("Bearer {}", of(customer));
            let headers =
                [("content-type", "application/json"), ("idempotency-key", customer), ("authorization", &bearer)];
            let filed = server.post("/v1/claims", &headers, merchant_claim(customer, "1").to_string());
            assert_eq!(filed.status, 201, "{}", filed.text());
            filed.json()
        };
        let (own, other) = (file("m-1"), file("m-2"));
        let token = |claim: &serde_json::Value| claim["token"].as_str().unwrap().to_owned();
        let mut walked = 0;
        for (token, whose) in [(token(&own), &own), (of("m-1"), &own), (token(&other), &other), (of("m-2"), &other)] {
            let client = Client { server: &server, token };
            for route in ROUTES.iter().filter(|route| matches!(route.who, Who::Claimant | Who::ClaimantOr(_))) {
                for claim in [&own, &other] {
                    let id = claim["id"].as_str().unwrap();
                    let path = route.path.replacen("{id}", id, 1).replacen("{claim}", id, 1);
                    if !route.path.contains("{id}") && !route.path.contains("{claim}") {
                        continue;
                    }
                    let path = path.replace("{evidence}", NOBODYS);
                    let answer = client.send(
                        route.method,
                        &path,
                        &[("content-type", "application/json"), ("idempotency-key", "k"), ("if-match", "\"99\"")],
                        if route.method == "GET" { "" } else { "{}" },
                    );
                    if claim["id"] == whose["id"] {
                        assert!(!is_refused(&answer), "{}: {}", name(route), answer.text());
                        // The file, or the place of the claim in the log, may not be there yet; the claim is.
                        let other_404 = route.path.contains("{evidence}") || route.path.contains("{claim}");
                        assert!(answer.status != 404 || other_404, "{}: {}", name(route), answer.text());
                    } else {
                        // Not even that there is one is told.
                        answer.is_problem(404, "not_found");
                    }
                    walked += 1;
                }
            }
        }
        assert!(walked >= 60, "{walked}");
    });
}

/// A key of a member with these scopes.
fn key<'a>(redress: &Redress, server: &'a Server, member: &str, scopes: &[Right]) -> Client<'a> {
    let token = format!("redress_key_{}", redress.text("replace(gen_random_uuid()::text, '-', '')"));
    let scopes = serde_json::to_string(scopes).unwrap();
    redress.sql(&format!(
        "INSERT INTO api_key (id, staff, label, scopes, token_hash, days, created_by, created_at, expires_at) VALUES
         (gen_random_uuid(), '{member}', 'test', '{scopes}', sha256('{token}'), 1, '{member}', now(), now() + interval '1 day')"
    ));
    Client { server, token }
}

#[test]
fn a_key_has_its_scopes_and_never_what_takes_a_second_factor() {
    Redress::test(|redress| {
        let server = redress.serve();
        redress.run(&["staff", "add", "machine", "--role", "administrator"]).succeeds();
        for scope in Right::ALL.iter().filter(|right| !right.needs_step_up()) {
            let client = key(redress, &server, "machine", &[*scope]);
            assert_eq!(client.get("/v1/session").json()["rights"], serde_json::json!([scope.as_str()]));
            for route in ROUTES {
                if let Who::Staff(right) = route.who {
                    assert_eq!(is_refused(&send(&client, route)), right != *scope, "{} with {scope:?}", name(route));
                }
            }
        }
    });
}

#[test]
fn a_cookie_counts_for_pages_of_this_origin_only() {
    Redress::test(|redress| {
        let server = redress.serve();
        let host = server.url.strip_prefix("http://").unwrap();
        let (own, foreign) = (format!("http://{host}"), "https://evil.example");
        let cookie = |token: &str| format!("redress-session={token}");
        let client = redress.client(&server, "ann", "agent");
        let cookie = cookie(&client.token);
        assert_eq!(server.get("/v1/session", &[("cookie", &cookie)]).json()["name"], "ann");
        for (header, value) in [
            ("origin", foreign),
            ("origin", "null"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("x", "y"),
        ] {
            let answer = server.send("DELETE", "/v1/session", &[("cookie", &cookie), (header, value)], "");
            answer.is_problem(403, "cross_site");
        }
        let both = [("cookie", cookie.as_str()), ("origin", &own), ("sec-fetch-site", "cross-site")];
        server.send("DELETE", "/v1/session", &both, "").is_problem(403, "cross_site");
        let own = [("cookie", cookie.as_str()), ("origin", &own)];
        assert_eq!(server.send("DELETE", "/v1/session", &own, "").status, 204);
    });
}

#[test]
fn a_claimants_token_opens_nothing_of_the_staff() {
    Redress::test(|redress| {
        redress.with_incident();
        let server = redress.serve();
        let filed = server.claim("mine", &merchant_claim("m-1", "1")).json();
        let claimant = Client { server: &server, token: filed["token"].as_str().unwrap().to_owned() };
        for route in ROUTES {
            match route.who {
                Who::Public => {}
                // Of another's claim not even its existence is told.
                Who::Claimant | Who::ClaimantOr(_) => {
                    send(&claimant, route).is_problem(404, "not_found");
                }
                Who::Member | Who::Staff(_) => {
                    send(&claimant, route).is_problem(401, "unauthorised");
                }
            }
        }
    });
}
