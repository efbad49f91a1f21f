//! Staff sign in with an identity provider: a small one of the test's own, with a key of its own, that checks what a real
//! one would (client, redirect, PKCE) and lies where the test says so.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use ed25519_dalek::{Signer, SigningKey};
use openidconnect::url::{Url, form_urlencoded};
use openidconnect::{PkceCodeChallenge, PkceCodeVerifier};
use serde_json::{Value, json};

use crate::harness::{Redress, Server};

const CLIENT: &str = "redress-test";
const SECRET: &str = "provider-secret";
const PUBLIC_URL: &str = "http://redress.example";

fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        (0..=chunk.len()).for_each(|place| text.push(char::from(DIGITS[(bits >> (18 - 6 * place) & 63) as usize])));
    }
    text
}

/// What a code is exchanged for.
#[derive(Clone)]
struct Grant {
    challenge: String,
    redirect: String,
    claims: Value,
}

struct Provider {
    url: String,
    key: Arc<Mutex<SigningKey>>,
    published: SigningKey,
    grants: Arc<Mutex<HashMap<String, Grant>>>,
}

impl Provider {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let published = SigningKey::from_bytes(&rand::random());
        let provider = Self { url, key: Arc::new(Mutex::new(published.clone())), published, grants: Arc::default() };
        let (key, grants) = (Arc::clone(&provider.key), Arc::clone(&provider.grants));
        let (url, public) = (provider.url.clone(), base64url(provider.published.verifying_key().as_bytes()));
        // It ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                answer(stream.unwrap(), &url, &public, &key.lock().unwrap(), &mut grants.lock().unwrap());
            }
        });
        provider
    }

    fn environment(&self) -> Vec<(&str, &str)> {
        vec![
            ("REDRESS_OIDC_ISSUER", &self.url),
            ("REDRESS_OIDC_CLIENT_ID", CLIENT),
            ("REDRESS_OIDC_CLIENT_SECRET", SECRET),
            ("REDRESS_PUBLIC_URL", PUBLIC_URL),
            ("REDRESS_OIDC_ROLES_CLAIM", "groups"),
            ("REDRESS_OIDC_ROLES", "payers=finance, readers=auditor"),
        ]
    }

    /// Somebody signs in at the provider, who sends him back with a code.
    fn grant(&self, location: &str, person: &Value, lie: Lie<'_>) -> (String, String) {
        let location = Url::parse(location).unwrap();
        let query: HashMap<String, String> = location.query_pairs().into_owned().collect();
        assert_eq!((query["client_id"].as_str(), query["code_challenge_method"].as_str()), (CLIENT, "S256"));
        assert!(query["scope"].contains("openid"), "{query:?}");
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let mut claims = json!({
            "iss": self.url, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": query["nonce"], "auth_time": now,
        });
        claims.as_object_mut().unwrap().extend(person.as_object().unwrap().clone());
        lie(&mut claims);
        let (challenge, redirect) = (query["code_challenge"].clone(), query["redirect_uri"].clone());
        let code = base64url(&rand::random::<[u8; 16]>());
        self.grants.lock().unwrap().insert(code.clone(), Grant { challenge, redirect, claims });
        (code, query["state"].clone())
    }
}

/// Answers one request, as a provider does.
fn answer(stream: TcpStream, url: &str, public: &str, key: &SigningKey, grants: &mut HashMap<String, Grant>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut first, mut length, mut basic) = (String::new(), 0, false);
    reader.read_line(&mut first).unwrap();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let line = line.trim().to_owned();
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').unwrap();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().unwrap(),
            "authorization" => basic = value.trim().starts_with("Basic "),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let (status, document) = match first.split_whitespace().nth(1).unwrap_or_default() {
        "/.well-known/openid-configuration" => (
            200,
            json!({
                "issuer": url, "authorization_endpoint": format!("{url}/authorize"), "token_endpoint": format!("{url}/token"),
                "jwks_uri": format!("{url}/keys"), "response_types_supported": ["code"], "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["EdDSA"],
            }),
        ),
        "/keys" => (
            200,
            json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": "k", "x": public }] }),
        ),
        "/token" if basic => token(&body, key, grants),
        _ => (404, json!({ "error": "not_found" })),
    };
    let document = document.to_string();
    let mut stream = stream;
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        document.len()
    );
    // Whoever asked may be gone.
    let _ = stream.write_all((head + &document).as_bytes());
}

fn token(body: &[u8], key: &SigningKey, grants: &mut HashMap<String, Grant>) -> (u16, Value) {
    let form: HashMap<String, String> = form_urlencoded::parse(body).into_owned().collect();
    let refused = (400, json!({ "error": "invalid_grant" }));
    // A code works once.
    let Some(grant) = grants.remove(&form["code"]) else { return refused };
    let verifier = PkceCodeVerifier::new(form["code_verifier"].clone());
    let challenge = PkceCodeChallenge::from_code_verifier_sha256(&verifier);
    if challenge.as_str() != grant.challenge || form["redirect_uri"] != grant.redirect {
        return refused;
    }
    let signed =
        format!("{}.{}", base64url(br#"{"alg":"EdDSA","kid":"k"}"#), base64url(grant.claims.to_string().as_bytes()));
    let token = format!("{signed}.{}", base64url(&key.sign(signed.as_bytes()).to_bytes()));
    (200, json!({ "access_token": "unused", "token_type": "Bearer", "id_token": token }))
}

/// A browser that follows no redirect by itself.
struct Browser<'a> {
    server: &'a Server,
    agent: ureq::Agent,
    cookies: Mutex<HashMap<String, String>>,
}

/// What it was answered: the status, where to, and the body.
type Page = (u16, String, String);

impl<'a> Browser<'a> {
    fn new(server: &'a Server) -> Self {
        let config = ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0);
        Self { server, agent: config.build().into(), cookies: Mutex::default() }
    }

    fn get(&self, path: &str) -> Page {
        let mut kept = self.cookies.lock().unwrap();
        let cookies: Vec<String> = kept.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = self.agent.get(format!("{}{path}", self.server.url)).header("cookie", cookies.join("; "));
        let mut response = request.call().unwrap();
        for cookie in response.headers().get_all("set-cookie") {
            let (name, value) = cookie.to_str().unwrap().split(';').next().unwrap().split_once('=').unwrap();
            kept.insert(name.to_owned(), value.to_owned());
        }
        let location = response.headers().get("location").map_or("", |value| value.to_str().unwrap()).to_owned();
        (response.status().as_u16(), location, response.body_mut().read_to_string().unwrap())
    }

    fn begin(&self) -> String {
        let (status, location, body) = self.get("/v1/session/oidc");
        assert_eq!(status, 303, "{body}");
        location
    }

    fn callback(&self, code: &str, state: &str) -> Page {
        self.get(&format!("/v1/session/oidc/callback?code={code}&state={state}"))
    }

    fn sign_in(&self, provider: &Provider, person: &Value, lie: Lie<'_>) -> Page {
        let (code, state) = provider.grant(&self.begin(), person, lie);
        self.callback(&code, &state)
    }

    fn who(&self) -> Value {
        serde_json::from_str(&self.get("/v1/session").2).unwrap()
    }
}

/// What the provider changes of the truth.
type Lie<'a> = &'a dyn Fn(&mut Value);

fn honest(_: &mut Value) {}

fn person(subject: &str, name: &str, groups: Value) -> Value {
    json!({ "sub": subject, "preferred_username": name, "groups": groups })
}

#[test]
fn a_member_signs_in_with_the_provider_and_has_the_role_of_the_day() {
    Redress::test(|redress| {
        let provider = Provider::start();
        let server = redress.serve_with(&provider.environment());
        let browser = Browser::new(&server);
        let (status, location, body) =
            browser.sign_in(&provider, &person("s-1", "ann", json!(["others", "payers"])), &honest);
        assert_eq!((status, location.as_str()), (303, "/console"), "{body}");
        let who = browser.who();
        assert_eq!((&who["name"], &who["role"], &who["verified"]), (&json!("ann"), &json!("finance"), &json!(true)));
        // Another day, other groups; a single text is a list of one. The session before ends.
        let before = browser.cookies.lock().unwrap()["redress-session"].clone();
        assert_eq!(browser.sign_in(&provider, &person("s-1", "ann", json!("readers")), &honest).0, 303);
        assert_eq!(browser.who()["role"], "auditor");
        server.get("/v1/session", &[("cookie", &format!("redress-session={before}"))]).is_problem(401, "unauthorised");
        assert_eq!(redress.number("SELECT count(*) FROM audit WHERE action = 'staff.role'"), 1);
        // A second factor that was shown long ago, or who knows when, is not fresh: he has to show it anew.
        for lie in [
            |claims: &mut Value| claims["auth_time"] = json!(claims["iat"].as_u64().unwrap() - 1_000),
            |claims: &mut Value| {
                claims.as_object_mut().unwrap().remove("auth_time");
            },
        ] {
            assert_eq!(browser.sign_in(&provider, &person("s-1", "ann", json!("readers")), &lie).0, 303);
            assert_eq!(browser.who()["verified"], false);
        }
        let (_, anew, _) = browser.get("/v1/session/oidc?anew=true");
        assert!(anew.contains("max_age=0") && anew.contains("prompt=login"), "{anew}");
        // Whoever was revoked stays out, however the provider likes him.
        redress.run(&["staff", "revoke", "ann"]).succeeds();
        assert_eq!(browser.sign_in(&provider, &person("s-1", "ann", json!(["payers"])), &honest).0, 403);
    });
}

#[test]
fn a_word_that_does_not_hold_opens_nothing() {
    Redress::test(|redress| {
        let provider = Provider::start();
        let server = redress.serve_with(&provider.environment());
        redress.run(&["staff", "add", "taken", "--role", "administrator"]).succeeds();
        let ann = person("s-1", "ann", json!(["payers"]));
        let lies: [(&str, Lie<'_>); 4] = [
            ("nonce", &|claims| claims["nonce"] = json!("another")),
            ("audience", &|claims| claims["aud"] = json!("another-client")),
            ("issuer", &|claims| claims["iss"] = json!("https://evil.example")),
            ("expiry", &|claims| claims["exp"] = json!(claims["iat"].as_u64().unwrap() - 10)),
        ];
        for (what, lie) in lies {
            let browser = Browser::new(&server);
            let (status, _, body) = browser.sign_in(&provider, &ann, lie);
            assert_eq!(status, 422, "{what}: {body}");
            assert_eq!(browser.get("/v1/session").0, 401, "{what}");
        }
        let browser = Browser::new(&server);
        *provider.key.lock().unwrap() = SigningKey::from_bytes(&rand::random());
        assert_eq!(browser.sign_in(&provider, &ann, &honest).0, 422, "signed with a key that is not the provider's");
        *provider.key.lock().unwrap() = provider.published.clone();
        // Somebody else's state, a code without its errand, a code a second time, an errand of another browser.
        let (code, state) = provider.grant(&browser.begin(), &ann, &honest);
        assert_eq!(browser.callback(&code, "another").0, 422);
        assert_eq!(Browser::new(&server).callback(&code, &state).0, 422);
        let other = Browser::new(&server);
        other.begin();
        assert_eq!(other.callback(&code, &state).0, 422);
        assert_eq!(browser.callback(&code, &state).0, 303);
        assert_eq!(browser.callback(&code, &state).0, 422);
        // No group that makes a role, a name that is another's, a refusal of the provider's.
        let stranger = Browser::new(&server);
        assert_eq!(stranger.sign_in(&provider, &person("s-2", "bob", json!(["others"])), &honest).0, 403);
        assert_eq!(stranger.sign_in(&provider, &json!({ "sub": "s-2", "preferred_username": "bob" }), &honest).0, 403);
        assert_eq!(stranger.sign_in(&provider, &person("s-3", "taken", json!(["payers"])), &honest).0, 409);
        stranger.begin();
        assert_eq!(stranger.get("/v1/session/oidc/callback?error=access_denied&state=x").0, 422);
        assert_eq!(stranger.get("/v1/session/oidc/callback").0, 422);
        assert_eq!(stranger.get("/v1/session").0, 401);
        assert_eq!(redress.text("SELECT string_agg(name, ' ' ORDER BY name) FROM staff"), "ann taken");
        for secret in [SECRET, &code] {
            assert!(!server.log().contains(secret), "{secret} is logged");
        }
    });
}

#[test]
fn a_provider_is_configured_whole_or_not_at_all() {
    Redress::test(|redress| {
        let with = |environment: &[(&str, &str)]| {
            let mut command = redress.command(&["verify"]);
            command.envs(environment.iter().copied());
            crate::harness::Ran::of(command.output().unwrap(), &["verify"])
        };
        let issuer = ("REDRESS_OIDC_ISSUER", "https://id.example");
        let client = ("REDRESS_OIDC_CLIENT_ID", CLIENT);
        let public = ("REDRESS_PUBLIC_URL", "https://redress.example");
        with(&[issuer]).fails(2, "REDRESS_OIDC_CLIENT_ID must be set");
        with(&[issuer, client]).fails(2, "REDRESS_PUBLIC_URL must be set");
        with(&[issuer, client, public]).fails(2, "REDRESS_OIDC_ROLES must be set");
        with(&[issuer, client, public, ("REDRESS_OIDC_ROLES", "a=king")]).fails(2, "is no VALUE=ROLE");
        with(&[("REDRESS_OIDC_ISSUER", "id.example"), client, public, ("REDRESS_OIDC_ROLES", "a=agent")])
            .fails(2, "must begin with https://");
        with(&[issuer, client, public, ("REDRESS_OIDC_ROLES", "a=agent")]).succeeds();
        redress.serve().get("/v1/session/oidc", &[]).is_problem(404, "not_found");
    });
}
