//! Members of staff come in by the front door: set up, signed in, throttled, reset, and with keys for their programs.

use serde_json::{Value, json};
use totp_rs::Totp;

use crate::harness::{Answer, Client, Redress, Server};

const PASSWORD: &str = "correct horse 7 battery";
const JSON: (&str, &str) = ("content-type", "application/json");

/// A member with a password and an authenticator.
struct Member {
    name: String,
    totp: Totp,
    recovery: Vec<String>,
    /// Steps of half a minute that codes were used of.
    used: std::cell::Cell<u64>,
}

impl Member {
    fn new(name: &str, uri: &str, recovery: &Value) -> Self {
        let recovery = recovery
            .as_array()
            .map_or(Vec::new(), |codes| codes.iter().map(|code| code.as_str().unwrap().to_owned()).collect());
        Self { name: name.to_owned(), totp: Totp::from_url(uri).unwrap(), recovery, used: 0.into() }
    }

    /// At the command line.
    fn with_passwd(redress: &Redress, name: &str) -> Self {
        let set = redress.run_with_input(&["staff", "passwd", name, "--format", "json"], PASSWORD).succeeds().json();
        Self::new(name, set["otpauth_uri"].as_str().unwrap(), &set["recovery_codes"])
    }

    /// A code that was not used before: of this half minute, or of the next, which counts as well.
    fn code(&self, redress: &Redress) -> String {
        let now = redress.number("SELECT floor(extract(epoch FROM now()))") as u64 / 30;
        let step = now.max(self.used.get() + 1);
        // The clock may go on, but never so far that a test has to wait: older codes are forgotten for it.
        if step > now + 1 {
            redress.sql(&format!("UPDATE staff_credential SET totp_step = 0 WHERE staff = '{}'", self.name));
            self.used.set(now);
            return self.totp.generate(now * 30).to_string();
        }
        self.used.set(step);
        self.totp.generate(step * 30).to_string()
    }

    fn sign_in(&self, redress: &Redress, server: &Server) -> Answer {
        let body = json!({ "name": self.name, "password": PASSWORD, "code": self.code(redress), "bearer": true });
        post(server, "/v1/session", &[], &body)
    }
}

fn post(server: &Server, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
    let headers: Vec<_> = headers.iter().copied().chain([JSON]).collect();
    server.post(path, &headers, body.to_string())
}

fn client<'a>(server: &'a Server, answer: &Answer) -> Client<'a> {
    assert_eq!(answer.status, 201, "{}", answer.text());
    Client { server, token: answer.json()["token"].as_str().unwrap().to_owned() }
}

/// The cookies that an answer sets, as a browser sends them back.
fn cookies(answer: &Answer) -> String {
    let set = answer.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap());
    set.map(|cookie| cookie.split(';').next().unwrap()).collect::<Vec<_>>().join("; ")
}

#[test]
fn a_member_sets_himself_up_once_and_signs_in() {
    Redress::test(|redress| {
        let server = redress.serve();
        let added = redress.json(&["staff", "add", "ann", "--role", "agent"]);
        let token = added["setup_token"].as_str().unwrap();
        let begin = |token: &str, password: &str| {
            post(&server, "/v1/session/setup", &[], &json!({ "token": token, "password": password }))
        };
        begin("redress_setup_0", PASSWORD).is_problem(401, "unauthorised");
        let weak = begin(token, "ann12345678901").is_problem(422, "invalid_request");
        assert_eq!(weak["errors"][0]["pointer"], "/password", "{weak}");
        let first = begin(token, PASSWORD).json();
        let again = begin(token, PASSWORD).json();
        assert_ne!(first["otpauth_uri"], again["otpauth_uri"]);
        let mut ann = Member::new("ann", again["otpauth_uri"].as_str().unwrap(), &Value::Null);
        // Nobody signs in before the authenticator has shown that it works.
        ann.sign_in(redress, &server).is_problem(401, "unauthorised");
        let confirm = |code: &str| {
            post(&server, "/v1/session/setup/confirm", &[], &json!({ "token": token, "code": code, "bearer": true }))
        };
        let stale = Member::new("ann", first["otpauth_uri"].as_str().unwrap(), &Value::Null);
        confirm(&stale.code(redress)).is_problem(401, "unauthorised");
        let begun = confirm(&ann.code(redress));
        let session = client(&server, &begun);
        assert_eq!(session.get("/v1/session").json()["name"], "ann");
        ann.recovery =
            begun.json()["recovery_codes"].as_array().unwrap().iter().map(|c| c.as_str().unwrap().into()).collect();
        assert_eq!(ann.recovery.len(), 10);
        // The token is used up.
        begin(token, PASSWORD).is_problem(401, "unauthorised");
        confirm(&ann.code(redress)).is_problem(401, "unauthorised");
        let session = client(&server, &ann.sign_in(redress, &server));
        assert_eq!(session.get("/v1/session").json()["verified"], true);
        // A recovery code works once.
        let lost = json!({ "name": "ann", "password": PASSWORD, "code": ann.recovery[0], "bearer": true });
        assert_eq!(post(&server, "/v1/session", &[], &lost).status, 201);
        post(&server, "/v1/session", &[], &lost).is_problem(401, "unauthorised");
        // None of it lies open.
        let kept = redress.text("SELECT string_agg(c::text, ' ') || (SELECT string_agg(s::text, ' ') FROM session AS s) || (SELECT string_agg(a::text, ' ') FROM audit AS a) FROM staff_credential AS c");
        for secret in [PASSWORD, token, &session.token, &ann.recovery[1]] {
            assert!(!kept.contains(secret), "{secret} lies open: {kept}");
            assert!(!server.log().contains(secret), "{secret} is logged");
        }
        assert!(kept.contains("$argon2id$v=19$m=19456,t=2,p=1$"), "{kept}");
    });
}

#[test]
fn a_code_counts_once_and_every_wrong_answer_is_the_same() {
    Redress::test(|redress| {
        let server = redress.serve();
        redress.run(&["staff", "add", "ann", "--role", "agent"]).succeeds();
        redress.run(&["staff", "add", "never-set-up", "--role", "agent"]).succeeds();
        let ann = Member::with_passwd(redress, "ann");
        let code = ann.code(redress);
        let attempt = |name: &str, password: &str, code: &str| {
            let body = json!({ "name": name, "password": password, "code": code, "bearer": true });
            let answer = post(&server, "/v1/session", &[], &body);
            (answer.status, answer.text().to_owned())
        };
        assert_eq!(attempt("ann", PASSWORD, &code).0, 201);
        let replayed = attempt("ann", PASSWORD, &code);
        assert_eq!(replayed.0, 401, "a code was taken twice");
        let next = ann.code(redress);
        for (name, password, code) in [
            ("ann", "wrong password 123", next.as_str()),
            ("ann", PASSWORD, "000000"),
            ("ann", PASSWORD, ""),
            ("nobody", PASSWORD, next.as_str()),
            ("never-set-up", PASSWORD, next.as_str()),
            ("never-set-up", "", ""),
        ] {
            assert_eq!(attempt(name, password, code), replayed, "{name} {password} {code}");
        }
        assert_eq!(attempt("ann", PASSWORD, &next).0, 201);
        redress.run(&["staff", "revoke", "ann"]).succeeds();
        assert_eq!(attempt("ann", PASSWORD, &ann.code(redress)), replayed);
    });
}

#[test]
fn guesses_have_to_wait_and_never_keep_the_owner_from_his_own_device() {
    Redress::test(|redress| {
        let server = redress.serve();
        redress.run(&["staff", "add", "ann", "--role", "agent"]).succeeds();
        let ann = Member::with_passwd(redress, "ann");
        let body = json!({ "name": "ann", "password": PASSWORD, "code": ann.code(redress) });
        let known = post(&server, "/v1/session", &[], &body);
        assert_eq!(known.status, 201, "{}", known.text());
        let device = cookies(&known);
        for name in ["ann", "nobody-at-all"] {
            let guess = || {
                post(
                    &server,
                    "/v1/session",
                    &[],
                    &json!({ "name": name, "password": "a wrong guess", "code": "000000" }),
                )
            };
            for _ in 0..5 {
                guess().is_problem(401, "unauthorised");
            }
            let throttled = guess();
            throttled.is_problem(429, "too_many_requests");
            let wait: u64 = throttled.header("retry-after").parse().unwrap();
            assert!((1..=31).contains(&wait), "{wait}");
        }
        // The right password has to wait as well, or the answer would tell which guess was right.
        let right = |redress: &Redress| json!({ "name": "ann", "password": PASSWORD, "code": ann.code(redress) });
        post(&server, "/v1/session", &[], &right(redress)).is_problem(429, "too_many_requests");
        // On her own device ann comes in at once; another's mark, or one made up, is no help.
        let origin = ("origin", server.url.as_str());
        let own = post(&server, "/v1/session", &[("cookie", &device), origin], &right(redress));
        assert_eq!(own.status, 201, "{}", own.text());
        let forged = format!("redress-device={}.{}", "0".repeat(32), "0".repeat(64));
        post(&server, "/v1/session", &[("cookie", &forged), origin], &right(redress))
            .is_problem(429, "too_many_requests");
        // Time passes: the guesses may go on, each waiting twice as long, never more than fifteen minutes.
        redress.sql("UPDATE sign_in_guess SET failed_at = failed_at - interval '31 seconds'");
        post(&server, "/v1/session", &[], &json!({ "name": "ann", "password": "a wrong guess", "code": "1" }))
            .is_problem(401, "unauthorised");
        let later = post(&server, "/v1/session", &[], &right(redress));
        assert!(
            (31..=61).contains(&later.header("retry-after").parse::<u64>().unwrap()),
            "{}",
            later.header("retry-after")
        );
        redress.sql("UPDATE sign_in_guess SET failures = 1000");
        let longest: u64 = post(&server, "/v1/session", &[], &right(redress)).header("retry-after").parse().unwrap();
        assert!((600..=901).contains(&longest), "{longest}");
        redress.sql("UPDATE sign_in_guess SET failed_at = failed_at - interval '16 minutes'");
        assert_eq!(post(&server, "/v1/session", &[], &right(redress)).status, 201);
        assert_eq!(
            redress.number("SELECT count(*) FROM sign_in_guess WHERE failures > 0 AND bucket = sha256('name\\000ann')"),
            0
        );
    });
}

#[test]
fn guesses_made_at_the_same_moment_are_all_counted() {
    Redress::test(|redress| {
        let server = redress.serve();
        redress.run(&["staff", "add", "ann", "--role", "agent"]).succeeds();
        let guess = json!({ "name": "ann", "password": "a wrong guess", "code": "000000" });
        let statuses: Vec<u16> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..12).map(|_| scope.spawn(|| post(&server, "/v1/session", &[], &guess).status)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(statuses.iter().filter(|status| **status == 401).count() <= 5, "{statuses:?}");
        assert!(statuses.iter().all(|status| [401, 429].contains(status)), "{statuses:?}");
    });
}

#[test]
fn sessions_are_listed_revoked_and_replaced() {
    Redress::test(|redress| {
        let server = redress.serve();
        for name in ["ann", "bob"] {
            redress.run(&["staff", "add", name, "--role", "agent"]).succeeds();
        }
        let ann = Member::with_passwd(redress, "ann");
        let first = client(&server, &ann.sign_in(redress, &server));
        let second = client(&server, &ann.sign_in(redress, &server));
        assert_ne!(first.token, second.token);
        let listed = first.get("/v1/sessions").json();
        assert_eq!(listed.as_array().unwrap().len(), 2, "{listed}");
        assert!(!listed.to_string().contains("token"));
        // Another's are neither seen nor ended.
        let bob = redress.session(&server, "bob");
        assert_eq!(bob.get("/v1/sessions").json().as_array().unwrap().len(), 1);
        bob.get("/v1/sessions?staff=ann").is_problem(403, "forbidden");
        let newest = format!("/v1/sessions/{}", listed[0]["id"].as_str().unwrap());
        bob.send("DELETE", &newest, &[], "").is_problem(404, "not_found");
        assert_eq!(first.send("DELETE", &newest, &[], "").status, 204);
        second.get("/v1/session").is_problem(401, "unauthorised");
        // An administrator ends anybody's; an auditor sees them only.
        let oldest = format!("/v1/sessions/{}", listed[1]["id"].as_str().unwrap());
        let auditor = redress.client(&server, "aud", "auditor");
        assert_eq!(auditor.get("/v1/sessions?staff=ann").json().as_array().unwrap().len(), 1);
        auditor.send("DELETE", &oldest, &[], "").is_problem(404, "not_found");
        let admin = redress.client(&server, "adm", "administrator");
        assert!(admin.get("/v1/sessions?staff=*").json().as_array().unwrap().len() >= 4);
        assert_eq!(admin.send("DELETE", &oldest, &[], "").status, 204);
        first.get("/v1/session").is_problem(401, "unauthorised");
        // Whoever signs in on a device leaves no older session behind there, and a cookie cannot be planted.
        let origin = ("origin", server.url.as_str());
        let body = |redress: &Redress| json!({ "name": "ann", "password": PASSWORD, "code": ann.code(redress) });
        let one = cookies(&post(&server, "/v1/session", &[origin], &body(redress)));
        assert_eq!(server.get("/v1/session", &[("cookie", &one)]).status, 200);
        let two = post(&server, "/v1/session", &[origin, ("cookie", &one)], &body(redress));
        let attributes = two
            .headers
            .get_all("set-cookie")
            .iter()
            .map(|value| value.to_str().unwrap().to_owned())
            .collect::<Vec<_>>();
        assert!(
            attributes.iter().all(|cookie| cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax")),
            "{attributes:?}"
        );
        assert!(two.json()["token"].is_null(), "a page has no use for the token");
        server.get("/v1/session", &[("cookie", &one)]).is_problem(401, "unauthorised");
        assert_eq!(server.get("/v1/session", &[("cookie", &cookies(&two))]).status, 200);
        post(&server, "/v1/session", &[("origin", "https://evil.example")], &body(redress))
            .is_problem(403, "cross_site");
        // Away from this machine cookies go over TLS only.
        let far = post(
            &server,
            "/v1/session",
            &[("host", "redress.example"), ("origin", "https://redress.example")],
            &body(redress),
        );
        let far: Vec<_> =
            far.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap().to_owned()).collect();
        assert!(
            far.len() == 2
                && far.iter().all(|c| c.starts_with("__Host-redress-") && c.contains("Secure") && c.contains("Path=/")),
            "{far:?}"
        );
    });
}

#[test]
fn money_takes_a_fresh_second_factor() {
    Redress::test(|redress| {
        let server = redress.serve();
        redress.run(&["staff", "add", "root", "--role", "administrator"]).succeeds();
        let root = Member::with_passwd(redress, "root");
        let session = client(&server, &root.sign_in(redress, &server));
        let add = |name: &str| session.post_once("/v1/staff", &json!({ "name": name, "role": "finance" }));
        assert_eq!(add("f-1").status, 201);
        redress.sql("UPDATE session SET verified_at = verified_at - interval '16 minutes'");
        add("f-2").is_problem(403, "step_up_needed");
        let step_up = |code: &str| session.post_once("/v1/session/step-up", &json!({ "code": code }));
        step_up("000000").is_problem(422, "invalid_request");
        let code = root.code(redress);
        assert_eq!(step_up(&code).status, 204);
        step_up(&code).is_problem(422, "invalid_request");
        assert_eq!(add("f-2").status, 201);
        add("f-2").is_problem(409, "conflict");
        for _ in 0..5 {
            step_up("111111");
        }
        step_up("111111").is_problem(429, "too_many_requests");
    });
}

#[test]
fn a_member_is_reset_and_revoked_with_all_he_had() {
    Redress::test(|redress| {
        let server = redress.serve();
        let admin = redress.client(&server, "adm", "administrator");
        let wider = json!({ "name": "ann", "role": "agent", "services": ["melon"], "decides_up_to": 300_001 });
        let wider = admin.post_once("/v1/staff", &wider).is_problem(422, "invalid_request");
        assert_eq!(wider["errors"][0]["pointer"], "/decides_up_to", "{wider}");
        redress
            .run(&["staff", "add", "ann", "--role", "agent", "--decides-up-to", "300001"])
            .is_misused("--decides-up-to: 300001 is more than agent decides alone, which is 300000");
        let added = admin.post_once(
            "/v1/staff",
            &json!({ "name": "ann", "role": "agent", "services": ["melon"], "decides_up_to": 5 }),
        );
        assert_eq!(added.status, 201, "{}", added.text());
        assert!(added.json()["setup_token"].as_str().unwrap().starts_with("redress_setup_"));
        let ann = Member::with_passwd(redress, "ann");
        let session = client(&server, &ann.sign_in(redress, &server));
        let who = session.get("/v1/session").json();
        assert_eq!((&who["services"], who["decides_up_to"].as_str()), (&json!(["melon"]), Some("5")));
        // What was set when it could still widen does not.
        redress.sql("UPDATE staff SET decides_up_to = 9000000 WHERE name = 'ann'");
        assert_eq!(session.get("/v1/session").json()["decides_up_to"], "300000");
        let key = session.post_once("/v1/api-keys", &json!({ "label": "k", "scopes": ["read_claims"] }));
        let key = client(&server, &key);
        assert_eq!(key.get("/v1/session").json()["rights"], json!(["read_claims"]));
        let reset = admin.post_once("/v1/staff/ann/reset", &json!({}));
        assert_eq!(reset.status, 200, "{}", reset.text());
        session.get("/v1/session").is_problem(401, "unauthorised");
        key.get("/v1/session").is_problem(401, "unauthorised");
        ann.sign_in(redress, &server).is_problem(401, "unauthorised");
        assert_eq!(admin.post_once("/v1/staff/ann/revoke", &json!({})).status, 200);
        admin.post_once("/v1/staff/ann/revoke", &json!({})).is_problem(404, "not_found");
        admin.post_once("/v1/staff/ann/reset", &json!({})).is_problem(404, "not_found");
        let token = reset.json()["setup_token"].clone();
        post(&server, "/v1/session/setup", &[], &json!({ "token": token, "password": PASSWORD }))
            .is_problem(401, "unauthorised");
        let listed = admin.get("/v1/staff").json();
        let of = |name: &str| listed.as_array().unwrap().iter().find(|member| member["name"] == name).cloned().unwrap();
        assert!(of("ann")["revoked_at"].is_string() && of("adm")["revoked_at"].is_null(), "{listed}");
    });
}

#[test]
fn a_password_is_set_at_the_command_line_from_stdin_only() {
    Redress::test(|redress| {
        let server = redress.serve();
        redress.run(&["staff", "add", "ann", "--role", "agent"]).succeeds();
        redress.run_with_input(&["staff", "passwd", "ann"], "short").refuses("12 to 128 characters");
        redress.run_with_input(&["staff", "passwd", "nobody"], PASSWORD).refuses("nobody");
        redress
            .run_with_input(&["staff", "passwd", "ann", "--keep-factor"], PASSWORD)
            .refuses("no second factor to keep");
        redress.run(&["staff", "passwd", "ann", PASSWORD]).fails(2, "unexpected argument");
        let ann = Member::with_passwd(redress, "ann");
        let session = client(&server, &ann.sign_in(redress, &server));
        let kept = redress.run_with_input(&["staff", "passwd", "ann", "--keep-factor"], "another 1 password?!");
        kept.refuses("must not contain");
        redress.run_with_input(&["staff", "passwd", "ann", "--keep-factor"], "another 1 passphrase?").succeeds();
        session.get("/v1/session").is_problem(401, "unauthorised");
        ann.sign_in(redress, &server).is_problem(401, "unauthorised");
        let body = json!({ "name": "ann", "password": "another 1 passphrase?", "code": ann.code(redress) });
        assert_eq!(post(&server, "/v1/session", &[], &body).status, 201);
    });
}

#[test]
fn a_key_is_shown_once_rotated_with_two_that_work_and_ends() {
    Redress::test(|redress| {
        let server = redress.serve();
        let finance = redress.client(&server, "fin", "finance");
        let make = |body: Value| finance.post_once("/v1/api-keys", &body);
        let bad = make(json!({ "label": "k", "scopes": ["read_ledger", "approve_budgets"] }))
            .is_problem(422, "invalid_request");
        assert_eq!(bad["errors"][0]["pointer"], "/scopes/1", "{bad}");
        make(json!({ "label": "k", "scopes": ["read_claims"] })).is_problem(422, "invalid_request");
        make(json!({ "label": "k", "scopes": [] })).is_problem(422, "invalid_request");
        make(json!({ "label": "k", "scopes": ["read_ledger"], "days": 366 })).is_problem(422, "invalid_request");
        make(json!({ "label": "k", "scopes": ["read_ledger"], "staff": "adm" })).is_problem(403, "forbidden");
        let made = make(json!({ "label": "nightly", "scopes": ["read_ledger"], "days": 30 }));
        let (first, id) = (client(&server, &made), made.json()["id"].as_str().unwrap().to_owned());
        let listed = finance.get("/v1/api-keys").json();
        assert_eq!(listed[0]["label"], "nightly");
        assert!(!listed.to_string().contains(&first.token) && !listed.to_string().contains("hash"), "{listed}");
        // No program makes keys, nor touches another's.
        first
            .post_once("/v1/api-keys", &json!({ "label": "k", "scopes": ["read_ledger"] }))
            .is_problem(403, "step_up_needed");
        let other = make(json!({ "label": "other", "scopes": ["read_ledger"] })).json();
        let path = |id: &str| format!("/v1/api-keys/{id}");
        first.send("DELETE", &path(other["id"].as_str().unwrap()), &[], "").is_problem(404, "not_found");
        let rotate = |client: &Client<'_>| {
            let answer = client.post_once(&format!("{}/rotate", path(&id)), &json!({}));
            assert_eq!(answer.status, 200, "{}", answer.text());
            answer.json()["token"].as_str().unwrap().to_owned()
        };
        let works = |token: &str| Client { server: &server, token: token.to_owned() }.get("/v1/session").status == 200;
        let second = rotate(&first);
        assert!(works(&first.token) && works(&second), "both work while the program is told");
        let third = rotate(&finance);
        assert_eq!([works(&first.token), works(&second), works(&third)], [false, true, true], "never more than two");
        redress.sql("UPDATE api_key SET previous_until = now() WHERE previous_until IS NOT NULL");
        assert_eq!([works(&second), works(&third)], [false, true]);
        redress.sql("UPDATE api_key SET expires_at = now() WHERE label = 'nightly'");
        assert!(!works(&third));
        redress.sql("UPDATE api_key SET expires_at = now() + interval '1 day'");
        assert!(works(&third));
        let stranger = redress.client(&server, "fin-2", "finance");
        stranger.send("DELETE", &path(&id), &[], "").is_problem(404, "not_found");
        assert_eq!(finance.send("DELETE", &path(&id), &[], "").status, 204);
        assert!(!works(&third));
    });
}

#[test]
fn a_new_members_name_looks_like_nobody_elses() {
    Redress::test(|redress| {
        let server = redress.serve();
        let boss = redress.client(&server, "boss", "administrator");
        for name in ["customer:c-1", "*", "../x", "Boss", "b\u{43e}ss", "a b", ".boss", "-as", "boss\n", "x/y"] {
            let refused = boss.post_once("/v1/staff", &json!({ "name": name, "role": "agent" }));
            let problem = refused.is_problem(422, "invalid_request");
            assert_eq!(problem["errors"][0]["pointer"], "/name", "{name:?}: {problem}");
            redress.run(&["staff", "add", "--role=agent", "--", name]).fails(1, "a staff name may have only");
        }
        for name in ["kim.min-su_2", "7"] {
            assert_eq!(boss.post_once("/v1/staff", &json!({ "name": name, "role": "agent" })).status, 201, "{name}");
        }
    });
}
