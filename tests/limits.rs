//! How much one client may ask: counted by address, by what it shows, and for guesses apart; told in every answer.

use serde_json::json;

use crate::harness::{Answer, Redress, Server};

const JSON: (&str, &str) = ("content-type", "application/json");

/// The remaining quota that an answer tells, and of which limit.
fn told(answer: &Answer) -> (String, u64, u64) {
    let field = answer.header("ratelimit");
    let mut parts = field.split(';');
    let name = parts.next().unwrap().trim_matches('"').to_owned();
    let number = |part: &str| part.split('=').nth(1).unwrap().parse().unwrap();
    (name, number(parts.next().unwrap()), number(parts.next().unwrap()))
}

fn ask(server: &Server, headers: &[(&str, &str)]) -> Answer {
    server.get("/v1/claims/00000000-0000-7000-8000-000000000000", headers)
}

#[test]
fn a_client_is_told_what_is_left_and_refused_beyond() {
    Redress::test(|redress| {
        let server = redress.serve_with(&[("REDRESS_RATE_CLIENT", "5")]);
        for left in (0..5).rev() {
            let answer = ask(&server, &[]);
            assert_eq!(answer.status, 401);
            assert_eq!(answer.header("ratelimit-policy"), "\"client\";q=5;w=60");
            let (name, remaining, reset) = told(&answer);
            assert_eq!((name.as_str(), remaining), ("client", left));
            assert!((1..=60).contains(&reset), "{reset}");
        }
        let refused = ask(&server, &[]);
        refused.is_problem(429, "too_many_requests");
        let wait: u64 = refused.header("retry-after").parse().unwrap();
        assert!((1..=12).contains(&wait), "{wait}");
        assert_eq!(told(&refused).1, 0);
        // What the machine asks is not counted, and a header that anybody can write is no other client.
        for path in ["/livez", "/readyz", "/metrics"] {
            assert_eq!(server.get(path, &[]).status, 200);
        }
        ask(&server, &[("x-forwarded-for", "203.0.113.9")]).is_problem(429, "too_many_requests");
    });
}

#[test]
fn behind_a_proxy_of_ours_its_word_counts_and_no_other() {
    Redress::test(|redress| {
        let server = redress
            .serve_with(&[("REDRESS_RATE_CLIENT", "2"), ("REDRESS_TRUSTED_PROXIES", "127.0.0.0/8, ::1, 10.0.0.0/8")]);
        let from = |list: &str| ask(&server, &[("x-forwarded-for", list)]).status;
        assert_eq!([from("203.0.113.1"), from("203.0.113.1"), from("203.0.113.1")], [401, 401, 429]);
        // Another client, and the same behind two of our proxies.
        assert_eq!(from("203.0.113.2"), 401);
        assert_eq!(from("203.0.113.1, 10.1.1.1"), 429);
        // What a client writes itself stands before what our proxy saw, and changes nothing.
        assert_eq!(from("198.51.100.7, 203.0.113.1"), 429);
        assert_eq!(from("203.0.113.1, 198.51.100.7"), 401);
        // One subscriber's addresses of IPv6 are one client.
        assert_eq!([from("2001:db8::1"), from("2001:db8::2"), from("2001:db8::3")], [401, 401, 429]);
        assert_eq!(from("2001:db8:0:1::1"), 401);
    });
}

#[test]
fn a_claimant_is_counted_by_what_he_shows() {
    Redress::test(|redress| {
        let server = redress.serve_with(&[("REDRESS_RATE_CLAIMANT", "3")]);
        let bearer = |digit: &str| format!("Bearer {}", digit.repeat(64));
        let (one, two) = (bearer("1"), bearer("2"));
        let one = [("authorization", one.as_str())];
        for left in (0..3).rev() {
            let answer = ask(&server, &one);
            assert_eq!((answer.status, told(&answer).0.as_str(), told(&answer).1), (404, "claimant", left));
        }
        ask(&server, &one).is_problem(429, "too_many_requests");
        assert_eq!(ask(&server, &[("authorization", &two)]).status, 404);
        assert_eq!(ask(&server, &[]).status, 401);
    });
}

#[test]
fn signing_in_has_a_tighter_limit_of_its_own() {
    Redress::test(|redress| {
        let server = redress.serve_with(&[("REDRESS_RATE_CLIENT", "100"), ("REDRESS_RATE_SIGN_IN", "3")]);
        let statuses: Vec<u16> = (0..5)
            .map(|number| {
                let guess = json!({ "name": format!("n-{number}"), "password": "p", "code": "0" });
                server.post("/v1/session", &[JSON], guess.to_string()).status
            })
            .collect();
        assert_eq!(statuses, [401, 401, 401, 429, 429], "whatever the name");
        assert_eq!(ask(&server, &[]).status, 401, "other requests go on");
    });
}

#[test]
fn a_limit_that_cannot_be_read_is_refused_at_start() {
    Redress::test(|redress| {
        let start = |name: &str, value: &str| {
            let mut command = redress.command(&["verify"]);
            command.env(name, value);
            crate::harness::Ran::of(command.output().unwrap(), &["verify"])
        };
        start("REDRESS_RATE_CLIENT", "many").fails(2, "REDRESS_RATE_CLIENT");
        start("REDRESS_TRUSTED_PROXIES", "my-proxy").fails(2, "my-proxy");
        start("REDRESS_RATE_CLIENT", "0").succeeds();
    });
}
