//! The running server is what its document says: schemathesis asks it what the document allows and what it does not, and
//! must find nothing. `./test` installs the tool; how it is set is in `schemathesis/schemathesis.toml`, with the reasons.

use std::collections::BTreeSet;
use std::process::Command;

use redress::http::table::ROUTES;

use crate::harness::{Redress, repository};
use crate::seeded::{seed, settle};
use crate::server::Server;

/// The requests are the same each time.
const SEED: &str = "20221015";
/// What no request of this installation is right for: it has no identity provider, which `oidc.rs` plays.
const UNREACHED: &[(&str, &str)] = &[("GET", "/v1/session/oidc"), ("GET", "/v1/session/oidc/callback")];

/// The operations that were answered with success so far.
fn succeeded(server: &Server) -> BTreeSet<(String, String)> {
    let metrics = server.get("/metrics", &[]);
    let samples = metrics.text().lines().filter_map(|line| line.strip_prefix("redress_http_requests_total{"));
    let label = |line: &str, name: &str| {
        line.split(&format!("{name}=\"")).nth(1).unwrap().split('"').next().unwrap().to_owned()
    };
    samples
        .filter(|line| label(line, "status").starts_with(['2', '3']))
        .map(|line| (label(line, "method"), label(line, "route")))
        .collect()
}

#[test]
fn schemathesis_finds_nothing() {
    let tool = repository().join("target/schemathesis/bin/schemathesis");
    assert!(tool.exists(), "schemathesis is not installed: ./test does that");
    Redress::test(|redress| {
        let seeded = seed(redress, &redress.serve());
        // The requests that filled it are another server's, so that only the tool's are counted.
        let server = redress.serve_with(&[("REDRESS_RATE_SIGN_IN", "0")]);
        let known = redress.file("known.json", seeded.as_json().to_string());
        let folder = repository().join("tests/schemathesis");
        let run = Command::new(tool)
            .arg("--config-file")
            .arg(folder.join("schemathesis.toml"))
            .args(["run", &format!("{}/openapi.yaml", server.url)])
            .args(["--checks", "all", "--seed", SEED, "--no-color"])
            .env("SCHEMATHESIS_HOOKS", "hooks")
            .env("PYTHONPATH", &folder)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("REDRESS_KNOWN", known)
            .current_dir(redress.folder.path())
            .output()
            .unwrap();
        let report = format!("{}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
        println!("seed {SEED}\n{report}");
        assert!(run.status.success(), "schemathesis found something, see above");
        settle(redress);
        let succeeded = succeeded(&server);
        let missed: Vec<_> = ROUTES
            .iter()
            .map(|route| (route.method, route.path))
            .filter(|(method, path)| !succeeded.contains(&((*method).to_owned(), (*path).to_owned())))
            .collect();
        println!("{} of {} operations were answered with success", ROUTES.len() - missed.len(), ROUTES.len());
        assert_eq!(missed, UNREACHED, "no success was reached, so their answers were not checked");
    });
}
