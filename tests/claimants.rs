//! Who is claiming: tokens of the operator's, codes by mail, links; and what somebody learns about coverage.

mod keys_by_url;

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use redress_domain::log::Signer;
use rsa::pkcs1::EncodeRsaPrivateKey;
use rsa::traits::PublicKeyParts;
use serde_json::{Value, json};

use crate::harness::{INCIDENT, Redress, Server, merchant_claim, merchants, wait_until};
use crate::server::Answer;

/// Base64 as JOSE writes it.
fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for part in bytes.chunks(3) {
        let bits = part.iter().chain([&0, &0]).take(3).fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte));
        for place in 0..=part.len() {
            text.push(char::from(ALPHABET[bits >> (18 - 6 * place) & 63]));
        }
    }
    text
}

/// A key of the operator's sign-in.
pub struct Key {
    id: &'static str,
    seed: [u8; 32],
}

impl Key {
    fn public(&self) -> Vec<u8> {
        hex::decode(Signer::new(&self.seed).public_key().to_string()).unwrap()
    }

    pub fn jwk(&self) -> Value {
        json!({ "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": self.id, "x": base64url(&self.public()) })
    }

    pub fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(self.id.into());
        let der = [&hex::decode("302e020100300506032b657004220420").unwrap()[..], &self.seed].concat();
        encode(&header, claims, &EncodingKey::from_ed_der(&der)).unwrap()
    }
}

pub const KEY: Key = Key { id: "2026-a", seed: [7; 32] };
const NEXT: Key = Key { id: "2026-b", seed: [9; 32] };

fn now() -> i64 {
    chrono::Utc::now().timestamp()
}

pub fn claims_of(customer: &str) -> Value {
    json!({ "sub": customer, "aud": "redress", "iss": "https://id.example", "exp": now() + 600, "nbf": now() - 5 })
}

fn changed(name: &str, value: Value) -> Value {
    let mut claims = claims_of("m-1");
    claims[name] = value;
    claims
}

fn without(name: &str) -> Value {
    let mut claims = claims_of("m-1");
    claims.as_object_mut().unwrap().remove(name);
    claims
}

pub fn serve_with_keys(redress: &Redress, keys: &Value) -> Server {
    let file = redress.file("keys.json", keys.to_string());
    redress.serve_with(&[
        ("REDRESS_CUSTOMER_KEYS", &file),
        ("REDRESS_CUSTOMER_AUDIENCE", "redress"),
        ("REDRESS_CUSTOMER_ISSUER", "https://id.example"),
    ])
}

fn with_merchants(redress: &Redress) {
    redress.with_incident().with_staff().with_policies(&["kakaotalk-merchant-loss"]);
    let roster = redress.file("r.csv", merchants(&["m-1", "m-2"]));
    redress.run(&["roster", "import", &roster, "--incident", INCIDENT]).succeeds();
}

fn file_as(server: &Server, key: &str, customer: &str, token: Option<&str>) -> Answer {
    let bearer = token.map(|token| format!("Bearer {token}"));
    let headers: Vec<(&str, &str)> = [("content-type", "application/json"), ("idempotency-key", key)]
        .into_iter()
        .chain(bearer.as_deref().map(|bearer| ("authorization", bearer)))
        .collect();
    server.post("/v1/claims", &headers, merchant_claim(customer, "1000").to_string())
}

fn get(server: &Server, path: &str, token: &str) -> Answer {
    server.get(path, &[("authorization", &format!("Bearer {token}"))])
}

#[test]
fn with_the_operators_tokens_everybody_files_and_sees_for_himself_only() {
    Redress::test(|redress| {
        with_merchants(redress);
        let server = serve_with_keys(redress, &json!({ "keys": [KEY.jwk()] }));
        let (mine, other) = (KEY.sign(&claims_of("m-1")), KEY.sign(&claims_of("m-2")));
        file_as(&server, "a", "m-1", None).is_problem(401, "unauthorised");
        file_as(&server, "a", "m-1", Some(&other)).is_problem(403, "forbidden");
        let filed = file_as(&server, "a", "m-1", Some(&mine));
        assert_eq!(filed.status, 201, "{}", filed.text());
        let path = format!("/v1/claims/{}", filed.json()["id"].as_str().unwrap());
        assert_eq!(get(&server, &path, &mine).status, 200);
        get(&server, &path, &other).is_problem(404, "not_found");
        // The claim's own token opens it as before, and nothing else.
        let token = filed.json()["token"].as_str().unwrap().to_owned();
        assert_eq!(get(&server, &path, &token).status, 200);
        get(&server, "/v1/claimants/claims", &token).is_problem(404, "not_found");
        let list = get(&server, "/v1/claimants/claims", &mine).json();
        assert_eq!(list["claims"][0]["reference"], filed.json()["reference"]);
        assert_eq!(get(&server, "/v1/claimants/claims", &other).json()["claims"], json!([]));

        // Keys change: the set is read again when a token names one that is not known.
        redress.file("keys.json", json!({ "keys": [NEXT.jwk()] }).to_string());
        let renewed = NEXT.sign(&claims_of("m-1"));
        wait_until("the new key is known", || get(&server, &path, &renewed).status == 200);
        get(&server, &path, &mine).is_problem(401, "unauthorised");
        // Where the set is gone, what was known stays good.
        std::fs::remove_file(redress.folder.path().join("keys.json")).unwrap();
        get(&server, &path, &mine).is_problem(401, "unauthorised");
        assert_eq!(get(&server, &path, &renewed).status, 200);
    });
}

#[test]
fn a_token_that_is_not_the_operators_opens_nothing() {
    Redress::test(|redress| {
        with_merchants(redress);
        let rsa = rsa::RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 2048).unwrap();
        let rsa_der = rsa.to_pkcs1_der().unwrap();
        let part = |number: &rsa::BigUint| base64url(&number.to_bytes_be());
        let rsa_jwk = json!({ "kty": "RSA", "kid": "rsa", "n": part(rsa.n()), "e": part(rsa.e()) });
        let server = serve_with_keys(redress, &json!({ "keys": [KEY.jwk(), rsa_jwk] }));
        let signed = |algorithm: Algorithm, kid: &str, key: &EncodingKey| {
            let mut header = Header::new(algorithm);
            header.kid = Some(kid.into());
            encode(&header, &claims_of("m-1"), key).unwrap()
        };
        let good = KEY.sign(&claims_of("m-1"));
        let by_rsa = signed(Algorithm::RS256, "rsa", &EncodingKey::from_rsa_der(rsa_der.as_bytes()));
        assert_eq!(file_as(&server, "rsa", "m-1", Some(&by_rsa)).status, 201);
        assert_eq!(file_as(&server, "ed", "m-1", Some(&good)).status, 201);

        let parts: Vec<&str> = good.split('.').collect();
        let unsigned = |header: Value| format!("{}.{}.", base64url(header.to_string().as_bytes()), parts[1]);
        let altered = format!("{}.{}.{}", parts[0], base64url(claims_of("m-2").to_string().as_bytes()), parts[2]);
        let critical = {
            let mut header = Header::new(Algorithm::EdDSA);
            header.kid = Some(KEY.id.into());
            header.crit = Some(vec!["b64".into()]);
            let der = [&hex::decode("302e020100300506032b657004220420").unwrap()[..], &KEY.seed].concat();
            encode(&header, &claims_of("m-1"), &EncodingKey::from_ed_der(&der)).unwrap()
        };
        let stranger = Key { id: KEY.id, seed: [8; 32] };
        for (token, why) in [
            (KEY.sign(&changed("exp", json!(now() - 3600))), "expired"),
            (KEY.sign(&changed("nbf", json!(now() + 3600))), "not valid yet"),
            (KEY.sign(&changed("aud", json!("another"))), "meant for somebody else"),
            (KEY.sign(&changed("iss", json!("https://evil.example"))), "somebody else issued it"),
            (KEY.sign(&without("exp")), "lacks"),
            (KEY.sign(&without("aud")), "lacks"),
            (KEY.sign(&without("iss")), "lacks"),
            (KEY.sign(&changed("sub", json!("m 1"))), "subject"),
            (stranger.sign(&claims_of("m-1")), "signature"),
            (NEXT.sign(&claims_of("m-1")), "key is unknown"),
            (altered, "signature"),
            (critical, "extensions"),
            (unsigned(json!({ "alg": "none", "typ": "JWT" })), "header"),
            // The public key as the secret of an HMAC, and a key of one kind under the name of the other.
            (signed(Algorithm::HS256, KEY.id, &EncodingKey::from_secret(&KEY.public())), "neither"),
            (signed(Algorithm::RS256, KEY.id, &EncodingKey::from_rsa_der(rsa_der.as_bytes())), "key is unknown"),
            (signed(Algorithm::RS384, "rsa", &EncodingKey::from_rsa_der(rsa_der.as_bytes())), "neither"),
            (format!("{good}{}", "A".repeat(9000)), "too long"),
        ] {
            let problem = file_as(&server, "x", "m-1", Some(&token)).is_problem(401, "unauthorised");
            assert!(problem["detail"].as_str().unwrap().contains(why), "{why}: {problem}");
            get(&server, "/v1/claimants/claims", &token).is_problem(401, "unauthorised");
            get(&server, "/v1/coverage?incident=kakao-2022-10-15", &token).is_problem(401, "unauthorised");
        }
        assert_eq!(redress.number("SELECT count(*) FROM claim"), 2);
        assert!(!server.log().contains(&good), "a token is in the log");
    });
}

#[test]
fn keys_without_an_audience_or_over_plain_http_are_refused_at_the_start() {
    Redress::test(|redress| {
        for (environment, says) in [
            (vec![("REDRESS_CUSTOMER_KEYS", "keys.json")], "needs REDRESS_CUSTOMER_AUDIENCE"),
            (vec![("REDRESS_CUSTOMER_KEYS", "http://id.example/keys")], "https:// only"),
        ] {
            let args = ["staff", "list"];
            let ran = redress.command(&args).envs(environment).output().unwrap();
            assert_eq!(ran.status.code(), Some(2), "{says}");
            assert!(String::from_utf8_lossy(&ran.stderr).contains(says), "{}", String::from_utf8_lossy(&ran.stderr));
        }
    });
}

fn mails(redress: &Redress) -> Vec<String> {
    let folder = redress.folder.path().join("mail");
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    entries
        .filter_map(|entry| {
            let raw = std::fs::read(entry.unwrap().path()).unwrap();
            // One that is being written is there when it is asked for again.
            Some(mail_parser::MessageParser::default().parse(&raw)?.body_text(0)?.into_owned())
        })
        .filter(|text| text.contains("The code to see your reports is"))
        .collect()
}

fn ask(server: &Server, email: &str) -> Answer {
    let body = json!({ "email": email, "language": "en" });
    server.post("/v1/claimants/codes", &[("content-type", "application/json")], body.to_string())
}

fn enter(server: &Server, email: &str, code: &str) -> Answer {
    let body = json!({ "email": email, "code": code });
    server.post("/v1/claimants/sessions", &[("content-type", "application/json")], body.to_string())
}

#[test]
fn a_code_by_mail_opens_the_claims_of_its_address_once_and_for_a_short_time() {
    Redress::test(|redress| {
        with_merchants(redress);
        let server = redress.serve();
        let mine = server.claim("a", &merchant_claim("m-1", "1000")).json();
        let other = server.claim("b", &merchant_claim("m-2", "1000")).json();
        // What a stranger learns is the same for every address.
        let (known, unknown) = (ask(&server, " M-1@Example.com".trim()), ask(&server, "nobody@example.com"));
        assert_eq!((known.status, known.text()), (202, unknown.text()));
        assert_eq!((unknown.status, redress.number("SELECT count(*) FROM mailed_code")), (202, 2));
        wait_until("both are done", || redress.number("SELECT count(*) FROM mailed_code WHERE state = 'sent'") == 2);
        let code = {
            let mails = mails(redress);
            assert_eq!(mails.len(), 1, "{mails:?}");
            assert!(!mails[0].contains("http"), "{}", mails[0]);
            let rest = mails[0].split("reports is ").nth(1).unwrap();
            rest[..6].to_owned()
        };
        // Asked again at once there is no second mail, and the first code stays good.
        assert_eq!(ask(&server, "m-1@example.com").text(), known.text());
        let wrong = if code == "000000" { "000001" } else { "000000" };
        let refused = enter(&server, "m-1@example.com", wrong);
        refused.is_problem(422, "code_refused");
        assert_eq!(enter(&server, "nobody@example.com", &code).text(), refused.text());
        assert_eq!(enter(&server, "somebody-else@example.com", &code).text(), refused.text());
        enter(&server, "m-1@example.com", "12345").is_problem(422, "invalid_request");
        let opened = enter(&server, "M-1@example.com", &code);
        assert_eq!(opened.status, 201, "{}", opened.text());
        assert_eq!(opened.header("cache-control"), "no-store");
        let token = opened.json()["token"].as_str().unwrap().to_owned();
        assert_eq!(enter(&server, "m-1@example.com", &code).text(), refused.text(), "a code is good once");

        let list = get(&server, "/v1/claimants/claims", &token).json();
        assert_eq!(list["claims"].as_array().unwrap().len(), 1);
        assert_eq!(list["claims"][0]["id"], mine["id"]);
        assert_eq!(get(&server, &format!("/v1/claims/{}", mine["id"].as_str().unwrap()), &token).status, 200);
        let theirs = format!("/v1/claims/{}", other["id"].as_str().unwrap());
        get(&server, &theirs, &token).is_problem(404, "not_found");
        // A session cannot be stretched or moved to another address.
        let mut altered = token.clone().into_bytes();
        let last = altered.len() - 1;
        altered[last] = if altered[last] == b'0' { b'1' } else { b'0' };
        get(&server, "/v1/claimants/claims", std::str::from_utf8(&altered).unwrap()).is_problem(401, "unauthorised");
        // Neither address nor code can be read in the database or the log.
        let row = redress.text("SELECT string_agg(mailed_code::text, ' ') FROM mailed_code");
        assert!(!row.contains("m-1@") && !row.contains(&hex::encode("m-1@")) && !row.contains(&code), "{row}");
        assert!(!redress.text("SELECT string_agg(address, ' ') FROM personal").contains("example"));
        assert!(!server.log().contains("m-1@") && !server.log().contains(&code));
    });
}

#[test]
fn a_draft_is_found_by_the_address_that_it_has_now_and_by_no_earlier_one() {
    Redress::test(|redress| {
        with_merchants(redress);
        let server = redress.serve();
        let mut new = merchant_claim("m-1", "1000");
        new["draft"] = json!(true);
        let draft = server.claim("draft", &new).json();
        let token = draft["token"].as_str().unwrap();
        let bearer = format!("Bearer {token}");
        let change = |version: i64, contact: Value| {
            let (key, tag) = (format!("c-{version}"), format!("\"{version}\""));
            let headers = [
                ("content-type", "application/json"),
                ("idempotency-key", key.as_str()),
                ("if-match", tag.as_str()),
                ("authorization", bearer.as_str()),
            ];
            let path = format!("/v1/claims/{}", draft["id"].as_str().unwrap());
            let changed = server.send("PATCH", &path, &headers, json!({ "contact": contact }).to_string());
            assert_eq!(changed.status, 200, "{}", changed.text());
        };
        change(1, json!({ "email": "new@example.com", "language": "en" }));
        let sent = || redress.number("SELECT count(*) FROM mailed_code WHERE state = 'sent'");
        for (number, address) in (1..).zip(["m-1@example.com", "new@example.com"]) {
            assert_eq!(ask(&server, address).status, 202);
            wait_until("it is done", || sent() == number);
        }
        let codes = mails(redress);
        assert_eq!(codes.len(), 1, "the earlier address is nobody's: {codes:?}");
        let code = &codes[0].split("reports is ").nth(1).unwrap()[..6];
        enter(&server, "m-1@example.com", code).is_problem(422, "code_refused");
        let session = enter(&server, "new@example.com", code).json()["token"].as_str().unwrap().to_owned();
        let list = get(&server, "/v1/claimants/claims", &session).json();
        assert_eq!(list["claims"][0]["id"], draft["id"], "{list}");
        // Without any address nothing finds it, and its own token opens it as before.
        change(2, json!({}));
        assert_eq!(get(&server, "/v1/claimants/claims", &session).json()["claims"], json!([]));
        let path = format!("/v1/claims/{}", draft["id"].as_str().unwrap());
        get(&server, &path, &session).is_problem(404, "not_found");
        assert_eq!(get(&server, &path, token).json()["status"], "draft");
    });
}

#[test]
fn a_code_is_tried_five_times_and_is_over_after_ten_minutes() {
    Redress::test(|redress| {
        with_merchants(redress);
        let server = redress.serve();
        server.claim("a", &merchant_claim("m-1", "1000"));
        let fresh = |number: usize| {
            assert_eq!(ask(&server, "m-1@example.com").status, 202);
            wait_until("it is sent", || mails(redress).len() == number);
            wait_until("that is known", || redress.text("SELECT state FROM mailed_code") == "sent");
        };
        let codes = || {
            let codes: Vec<String> =
                mails(redress).iter().map(|mail| mail.split("reports is ").nth(1).unwrap()[..6].to_owned()).collect();
            codes
        };
        fresh(1);
        let code = codes()[0].clone();
        let wrong = format!("{:06}", (code.parse::<u32>().unwrap() + 1) % 1_000_000);
        for _ in 0..5 {
            enter(&server, "m-1@example.com", &wrong).is_problem(422, "code_refused");
        }
        enter(&server, "m-1@example.com", &code).is_problem(422, "code_refused");
        // Another a minute later works again, until its time is over.
        redress.sql("UPDATE mailed_code SET asked_at = asked_at - interval '61 seconds'");
        fresh(2);
        redress.sql("UPDATE mailed_code SET expires_at = now() - interval '1 second'");
        for code in codes() {
            enter(&server, "m-1@example.com", &code).is_problem(422, "code_refused");
        }
        // Five an hour, whoever asks.
        for number in 3..=5 {
            redress.sql("UPDATE mailed_code SET asked_at = asked_at - interval '61 seconds'");
            fresh(number);
        }
        redress.sql("UPDATE mailed_code SET asked_at = asked_at - interval '61 seconds'");
        assert_eq!(ask(&server, "m-1@example.com").status, 202);
        assert_eq!(redress.text("SELECT state || asked FROM mailed_code"), "sent5");
        redress.sql("UPDATE mailed_code SET hour_from = now() - interval '61 minutes'");
        fresh(6);
    });
}

#[test]
fn a_claim_is_found_by_its_reference_and_its_link_keeps_the_token_from_servers() {
    Redress::test(|redress| {
        with_merchants(redress);
        let server = redress.serve();
        let filed = server.claim("a", &merchant_claim("m-1", "1000")).json();
        let (reference, token) = (filed["reference"].as_str().unwrap(), filed["token"].as_str().unwrap());
        assert_eq!(filed["link"], format!("/claims/{reference}#{token}"));
        let path = format!("/v1/claims/{reference}");
        let shown = get(&server, &path, token);
        assert_eq!((shown.status, &shown.json()["id"]), (200, &filed["id"]));
        assert!(shown.json().get("link").is_none() && shown.json().get("token").is_none());
        server.get(&path, &[]).is_problem(401, "unauthorised");
        let other = server.claim("b", &merchant_claim("m-2", "1000")).json();
        get(&server, &path, other["token"].as_str().unwrap()).is_problem(404, "not_found");
        get(&server, "/v1/claims/R-0000-0000-0000", token).is_problem(404, "not_found");
    });
}

#[test]
fn coverage_is_exact_with_a_token_and_about_what_is_stated_without() {
    Redress::test(|redress| {
        redress.with_incident().with_staff().with_policies(&["melon", "kakaotalk-merchant-loss"]);
        let roster = redress.file(
            "r.csv",
            "customer,service,reference,kind,product,valid_from,valid_until,channel,extendable\n\
             m-1,melon,s-1,subscription,streaming,2022-01-01T00:00:00Z,2023-01-01T00:00:00Z,web,true\n",
        );
        redress.run(&["roster", "import", &roster, "--incident", INCIDENT]).succeeds();
        let server = serve_with_keys(redress, &json!({ "keys": [KEY.jwk()] }));
        let all = format!("/v1/coverage?incident={INCIDENT}");
        let melon = format!("{all}&service=melon");
        let mine = get(&server, &melon, &KEY.sign(&claims_of("m-1"))).json();
        assert_eq!(mine["from_records"], true);
        let gets = &mine["services"][0]["without_asking"][0];
        assert_eq!((gets["policy"].as_str(), gets["outcome"].as_str()), (Some("melon"), Some("award")), "{mine}");
        assert!(!gets["awards"].as_array().unwrap().is_empty());
        for language in ["ko", "en"] {
            assert!(!gets["sentence"][language].as_str().unwrap().is_empty());
            assert!(!mine["services"][0]["sentence"][language].as_str().unwrap().is_empty());
        }
        // Another customer, with a token of his own, has nothing there; and nobody can ask for anybody else.
        let other = get(&server, &melon, &KEY.sign(&claims_of("m-2"))).json();
        assert_eq!(other["services"][0]["without_asking"], json!([]));
        server.get(&format!("{melon}&customer=m-1"), &[]).is_problem(422, "invalid_request");
        // Without a token the answer is the same for everybody who states the same.
        let stated = format!(
            "{melon}&kind=subscription&product=streaming&valid_from=2022-01-01T00:00:00Z&valid_until=2023-01-01T00:00:00Z"
        );
        let answer = server.get(&stated, &[]).json();
        assert_eq!(answer["from_records"], false);
        assert!(
            ["award", "depends"].contains(&answer["services"][0]["without_asking"][0]["outcome"].as_str().unwrap()),
            "{answer}"
        );
        let plain = server.get(&melon, &[]).json();
        assert_eq!(plain["services"][0]["without_asking"], json!([]));
        redress.sql("DELETE FROM holding");
        assert_eq!(server.get(&stated, &[]).json(), answer, "records were read");
        assert_eq!(server.get(&melon, &[]).json(), plain, "records were read");
        // What can be claimed is named with what has to be stated, and what may be asked for.
        let everything = server.get(&all, &[]).json();
        let talk = everything["services"].as_array().unwrap().iter().find(|one| one["service"] == "kakaotalk").unwrap();
        assert_eq!(talk["by_claim"][0]["policy"], "kakaotalk-merchant-loss");
        assert_eq!(talk["by_claim"][0]["states"], json!(["loss"]));
        assert_eq!(talk["by_claim"][0]["documents"].as_array().unwrap().len(), 1);
        let undecided =
            everything["services"].as_array().unwrap().iter().find(|one| one["service"] == "webtoon").unwrap();
        assert!(undecided["sentence"]["en"].as_str().unwrap().contains("not decided yet"));
        server.get("/v1/coverage?incident=nowhere", &[]).is_problem(422, "invalid_request");
        server.get(&format!("{all}&service=nowhere"), &[]).is_problem(422, "invalid_request");
        server.get("/v1/coverage", &[]).is_problem(422, "invalid_request");
        let turned =
            format!("{melon}&kind=subscription&valid_from=2023-01-01T00:00:00Z&valid_until=2022-01-01T00:00:00Z");
        let problem = server.get(&turned, &[]).is_problem(422, "invalid_request");
        assert_eq!(problem["errors"][0]["pointer"], "/valid_until", "{problem}");
    });
}
