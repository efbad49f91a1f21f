//! Every route, every role: the one table of routes is complete, and what the server answers to each is what it says.

use std::collections::BTreeSet;

use redress::http::table::{ROUTES, Route, Who};
use redress::rights::{Right, Role};

use crate::documents::openapi;
use crate::harness::{Answer, Client, Redress, Server, merchant_claim};

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

/// The id of an object of the service kakaotalk in a route's path, where what the route speaks of is of one service.
fn object_of_talk(route: &Route, policy: &str, claim: &str) -> Option<String> {
    let objects = [("/v1/policies/{id}/", policy), ("/v1/claims/{id}", claim)];
    let (_, id) = objects.into_iter().find(|(prefix, _)| route.path.starts_with(prefix))?;
    Some(
        route
            .path
            .replacen("{id}", id, 1)
            .split('/')
            .map(|part| if part.starts_with('{') { NOBODYS } else { part })
            .collect::<Vec<_>>()
            .join("/"),
    )
}

#[test]
fn what_is_of_another_service_is_refused_to_every_role() {
    Redress::test(|redress| {
        redress.with_incident().with_staff();
        let file = "policies/kakaotalk-merchant-loss.toml";
        redress.run(&["policy", "publish", file, "--as", "author"]).succeeds();
        let server = redress.serve();
        let source = std::fs::read_to_string(crate::harness::repository().join(file)).unwrap();
        let policy = redress.text("SELECT hash FROM policy_version");
        let claim = server.claim("mine", &merchant_claim("m-1", "1")).json()["id"].as_str().unwrap().to_owned();
        let mut walked = 0;
        for role in Role::ALL {
            let member = |service: &str| {
                let name = format!("{}-{service}", role.as_str());
                redress.run(&["staff", "add", &name, "--role", role.as_str(), "--service", service]).succeeds();
                redress.session(&server, &name)
            };
            let (inside, outside) = (member("kakaotalk"), member("melon"));
            for route in ROUTES {
                let (Who::Staff(right) | Who::ClaimantOr(right)) = route.who else { continue };
                let Some(path) = object_of_talk(route, &policy, &claim) else { continue };
                let kind = if route.path.starts_with("/v1/policies") { "application/toml" } else { "application/json" };
                let body = if kind.ends_with("toml") { source.as_str() } else { "{}" };
                let send = |client: &Client<'_>| {
                    client.send(route.method, &path, &[("content-type", kind), ("idempotency-key", "k")], body)
                };
                let refused = send(&outside);
                // Where the body is read first, an empty one is refused for all alike and tells nothing.
                let refusals: &[u16] = if kind.ends_with("toml") { &[403] } else { &[400, 403, 404, 422, 428] };
                assert!(refusals.contains(&refused.status), "{} as {role:?}: {}", name(route), refused.text());
                assert_eq!(is_refused(&send(&inside)), !right.is_of(*role), "{} as {role:?}", name(route));
                walked += 1;
            }
        }
        assert!(walked >= 3 * Role::ALL.len(), "{walked}");
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
