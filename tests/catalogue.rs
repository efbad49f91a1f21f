//! Incidents, policies and rosters over HTTP: what the commands do, with the rights and the scopes of who asks.

use serde_json::json;

use crate::harness::{Answer, Client, INCIDENT, Redress, merchant_claim, merchants, repository};

fn put(client: &Client<'_>, path: &str, kind: &str, body: &[u8]) -> Answer {
    client.send("POST", path, &[("content-type", kind)], body)
}

fn toml(client: &Client<'_>, path: &str, body: &str) -> Answer {
    put(client, path, "application/toml", body.as_bytes())
}

fn policy(name: &str) -> String {
    std::fs::read_to_string(repository().join(format!("policies/{name}.toml"))).unwrap()
}

#[test]
fn an_incident_is_loaded_and_read() {
    Redress::test(|redress| {
        let server = redress.serve();
        let author = redress.client(&server, "author", "policy_author");
        let source = policy(&format!("incidents/{INCIDENT}"));
        let loaded = toml(&author, "/v1/incidents", &source);
        assert_eq!(
            (loaded.status, loaded.header("location")),
            (201, "/v1/incidents/kakao-2022-10-15"),
            "{}",
            loaded.text()
        );
        assert_eq!(toml(&author, "/v1/incidents", &source).status, 200);
        let broken = toml(&author, "/v1/incidents", "incident = 1").is_problem(422, "invalid_request");
        assert!(broken["detail"].as_str().unwrap().starts_with("body:1:"), "{broken}");
        put(&author, "/v1/incidents", "text/plain", b"x").is_problem(415, "unsupported_media_type");
        put(&author, "/v1/incidents", "application/toml", &[0xff]).is_problem(400, "malformed_body");
        put(&author, "/v1/incidents", "application/toml", &vec![b' '; 2 << 20]).is_problem(413, "body_too_large");
        let agent = redress.client(&server, "agent", "agent");
        assert_eq!(agent.get("/v1/incidents").json().as_array().unwrap().len(), 1);
        let incident = agent.get(&format!("/v1/incidents/{INCIDENT}")).json();
        assert_eq!(incident["services"], agent.get(&format!("/v1/incidents/{INCIDENT}/windows")).json());
        assert!(incident["services"][0]["windows"][0]["from"].is_string(), "{incident}");
        agent.get("/v1/incidents/flood").is_problem(404, "not_found");
        agent.get("/v1/incidents/No%20Such").is_problem(400, "invalid_path");
        let services = agent.get("/v1/services").json();
        assert_eq!(services.as_array().unwrap().len(), incident["services"].as_array().unwrap().len());
        let windows = format!("/v1/incidents/{INCIDENT}/windows");
        let window = |from: &str, until: &str| json!({ "from": from, "until": until, "severity": "degraded" });
        let correct = |client: &Client<'_>, service: &str, windows_: serde_json::Value| {
            client.post_once(&windows, &json!({ "service": service, "windows": windows_ }))
        };
        let (a, b, c) = ("2022-10-15T06:00:00Z", "2022-10-15T07:00:00Z", "2022-10-15T08:00:00Z");
        let done = correct(&author, "melon", json!([window(a, b), window(b, c)]));
        assert_eq!((done.status, done.json()["changed"].as_bool()), (200, Some(true)), "{}", done.text());
        assert_eq!(correct(&author, "melon", json!([window(a, b), window(b, c)])).json()["changed"], false);
        let shown = agent.get(&windows).json();
        let melon = shown.as_array().unwrap().iter().find(|service| service["service"] == "melon").unwrap();
        assert_eq!(melon["windows"], json!([window(a, b), window(b, c)]));
        for (service, wrong, pointer) in [
            ("melon", json!([]), "/windows"),
            ("melon", json!([window("-4713-01-01T00:00:00Z", b)]), "/windows/0/from"),
            ("melon", json!([window(a, "+262142-12-31T23:59:59Z")]), "/windows/0/until"),
            ("melon", json!([window(b, a)]), "/windows/0"),
            ("melon", json!([window(a, c), window(b, c)]), "/windows/1"),
            ("cinema", json!([window(a, b)]), "/service"),
        ] {
            let problem = correct(&author, service, wrong).is_problem(422, "invalid_request");
            assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
        }
        redress.run(&["staff", "add", "scoped", "--role", "policy_author", "--service", "melon"]).succeeds();
        let scoped = redress.session(&server, "scoped");
        toml(&scoped, "/v1/incidents", &source).is_problem(403, "forbidden");
        correct(&scoped, "webtoon", json!([window(a, b)])).is_problem(403, "forbidden");
        assert_eq!(correct(&scoped, "melon", json!([window(a, b)])).status, 200);
    });
}

#[test]
fn a_policy_is_checked_simulated_published_and_approved_by_two() {
    Redress::test(|redress| {
        redress.with_incident();
        let server = redress.serve();
        let roster = merchants(&["m-1", "m-2"]);
        let finance = redress.client(&server, "fin", "finance");
        let path = format!("/v1/rosters?incident={INCIDENT}");
        let imported = put(&finance, &path, "text/csv", roster.as_bytes());
        assert_eq!((imported.status, imported.json()["accepted"].as_i64()), (200, Some(2)), "{}", imported.text());
        let filed = server.claim("early", &merchant_claim("m-1", "250000")).json();
        assert_eq!(filed["status"], "pending_policy");
        let author = redress.client(&server, "author", "administrator");
        let source = policy("kakaotalk-merchant-loss");
        let checked = toml(&author, "/v1/policies", &source);
        assert_eq!(checked.status, 200, "{}", checked.text());
        let version = checked.json()["version"].as_str().unwrap().to_owned();
        let route = |verb: &str| format!("/v1/policies/{version}/{verb}");
        let broken = toml(&author, "/v1/policies", "policy = 1").is_problem(422, "invalid_request");
        assert!(broken["detail"].as_str().unwrap().contains("body:1:"), "{broken}");
        let simulated = toml(&author, &route("simulate"), &source);
        assert_eq!((simulated.status, simulated.json()["claims"].as_u64()), (200, Some(1)), "{}", simulated.text());
        // Whoever publishes says what exactly.
        toml(&author, &route("publish"), &format!("{source}\n# other")).is_problem(409, "conflict");
        let agent = redress.client(&server, "agent", "agent");
        toml(&agent, &route("publish"), &source).is_problem(403, "forbidden");
        assert_eq!(toml(&author, &route("publish"), &source).status, 201);
        toml(&author, &route("publish"), &source).is_problem(409, "conflict");
        assert_eq!(agent.get("/v1/policies").json()[0]["state"], "published");
        // An administrator has the right to approve, and not his own.
        author.post_once(&route("approve"), &json!({})).is_problem(409, "conflict");
        let approver = redress.client(&server, "approver", "policy_approver");
        approver.post_once("/v1/policies/0000/approve", &json!({})).is_problem(404, "not_found");
        let approved = approver.post_once(&route("approve"), &json!({}));
        assert_eq!((approved.status, approved.json()["assessed"].as_u64()), (200, Some(1)), "{}", approved.text());
        approver.post_once(&route("approve"), &json!({})).is_problem(409, "conflict");
        let listed = agent.get(&format!("/v1/policies?incident={INCIDENT}")).json();
        assert_eq!(
            (listed[0]["state"].as_str(), listed[0]["version"].as_str()),
            (Some("in_force"), Some(version.as_str()))
        );
        assert!(!agent.get("/v1/assets").json().as_array().unwrap().is_empty());
        assert_eq!(
            redress.number(
                "SELECT count(*) FROM audit WHERE action = 'policy.approve' AND origin = 'http' AND actor = 'approver'"
            ),
            1
        );
    });
}

#[test]
fn scopes_by_service_hold_inside_and_outside() {
    Redress::test(|redress| {
        redress.with_incident();
        let server = redress.serve();
        let scoped = |name: &str, role: &str, service: &str| {
            redress.run(&["staff", "add", name, "--role", role, "--service", service]).succeeds();
            redress.session(&server, name)
        };
        let (melon, talk) =
            (scoped("a-melon", "policy_author", "melon"), scoped("a-talk", "policy_author", "kakaotalk"));
        let source = policy("melon");
        let version = toml(&melon, "/v1/policies", &source).json()["version"].as_str().unwrap().to_owned();
        let route = |verb: &str| format!("/v1/policies/{version}/{verb}");
        toml(&talk, &route("simulate"), &source).is_problem(403, "forbidden");
        toml(&talk, &route("publish"), &source).is_problem(403, "forbidden");
        assert_eq!(toml(&melon, &route("simulate"), &source).status, 200);
        assert_eq!(toml(&melon, &route("publish"), &source).status, 201);
        assert_eq!(talk.get("/v1/policies").json(), json!([]));
        assert_eq!(melon.get("/v1/policies").json().as_array().unwrap().len(), 1);
        let outside = scoped("p-talk", "policy_approver", "kakaotalk");
        outside.post_once(&route("approve"), &json!({})).is_problem(403, "forbidden");
        let inside = scoped("p-melon", "policy_approver", "melon");
        assert_eq!(inside.post_once(&route("approve"), &json!({})).status, 200);
        // A roster is of all services.
        put(&talk, &format!("/v1/rosters?incident={INCIDENT}"), "text/csv", b"x").is_problem(403, "forbidden");
        // The same at the command line.
        redress
            .run(&["policy", "publish", "policies/webtoon.toml", "--as", "a-melon"])
            .refuses("does not work for the service webtoon");
    });
}

#[test]
fn a_roster_over_http_refuses_rows_alone_and_leaves_no_file_behind() {
    Redress::test(|redress| {
        redress.with_incident();
        let server = redress.serve();
        let finance = redress.client(&server, "fin", "finance");
        let path = format!("/v1/rosters?incident={INCIDENT}");
        let roster = format!("{}m-3,cinema,x,account,true\n", merchants(&["m-1"]));
        let done = put(&finance, &path, "text/csv", roster.as_bytes()).json();
        assert_eq!((done["accepted"].as_i64(), done["refused"].as_i64()), (Some(1), Some(1)), "{done}");
        assert!(done["first_refusals"][0].as_str().unwrap().starts_with("line 3: service cinema"), "{done}");
        let json = r#"{"customer":"n-1","service":"melon","reference":"r","kind":"account"}"#;
        assert_eq!(put(&finance, &path, "application/x-ndjson", json.as_bytes()).json()["accepted"], 1);
        put(&finance, &path, "application/pdf", b"x").is_problem(415, "unsupported_media_type");
        put(&finance, "/v1/rosters", "text/csv", b"x").is_problem(422, "invalid_request");
        put(&finance, "/v1/rosters?incident=flood", "text/csv", b"customer\n").is_problem(404, "not_found");
        put(&finance, &path, "text/csv", b"nonsense\n").is_problem(422, "invalid_request");
        let left = std::fs::read_dir(redress.folder.path().join("uploads")).unwrap().count();
        assert_eq!(left, 0, "uploads stay behind");
    });
}
