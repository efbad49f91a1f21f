//! A claimant's proof: checked without us, and worth nothing when a byte of it was changed.

use redress_domain::log::Proof;

use super::{credited, proof_of};
use crate::harness::{Ran, Redress, merchant_claim};

#[test]
fn a_claimants_proof_is_checked_offline_and_fails_when_any_byte_is_changed() {
    Redress::test(|redress| {
        let claim = credited(redress);
        let server = redress.serve();
        let answer = proof_of(&server, &claim);
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(server.stop(), Some(0));
        let proof: Proof = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!((proof.entries.len(), proof.credits.len()), (1, 1), "{}", answer.text());
        assert_eq!((proof.credits[0].transfer.amount.as_str(), proof.credits[0].posting.transfers), ("30000", 32));
        // Nothing of other customers.
        for other in ["m-2", "s-01", "50000"] {
            assert!(!answer.text().contains(other), "{other} stands in {}", answer.text());
        }
        let file = redress.file("proof.json", &answer.body);
        // No database, no data folder.
        let mut offline = redress.command(&["audit", "check-proof", &file]);
        offline.env("REDRESS_DATABASE_URL", "postgresql://127.0.0.1:1/none").env("REDRESS_DATA_DIR", "/nonexistent");
        let ran = Ran::of(offline.output().unwrap(), &["check-proof"]).succeeds();
        assert!(ran.stdout.starts_with(&format!("The proof holds: claim {}", proof.claim)), "{}", ran.stdout);
        assert!(ran.stdout.contains("issue: 30,000 KRW") && ran.stdout.contains("customer m-1"), "{}", ran.stdout);
        let key = proof.head.public_key.to_string();
        redress.run(&["audit", "check-proof", &file, "--key", &key]).succeeds();
        redress.run(&["audit", "check-proof", &file, "--key", &"0".repeat(64)]).refuses("the proof does NOT hold");
        redress
            .run(&["audit", "check-proof", "/nonexistent/proof.json"])
            .is_misused("/nonexistent/proof.json: there is no such file");
        let holds =
            |bytes: &[u8]| serde_json::from_slice::<Proof>(bytes).is_ok_and(|proof| proof.check(None, &[]).is_ok());
        assert!(holds(&answer.body));
        for place in 0..answer.body.len() {
            for change in [1, 2, 0x20, 0x80] {
                let mut changed = answer.body.clone();
                changed[place] ^= change;
                assert!(!holds(&changed), "byte {place} ^ {change}: {}", String::from_utf8_lossy(&changed));
            }
        }
        for place in (0..answer.body.len()).step_by(answer.body.len() / 10) {
            let mut changed = answer.body.clone();
            changed[place] ^= 1;
            let ran = redress.run(&["audit", "check-proof", &redress.file("changed.json", changed)]);
            assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.lines().count()), (Some(1), "", 1), "{}", ran.stderr);
        }
    });
}

#[test]
fn a_proof_is_for_the_holder_of_the_token_only() {
    Redress::test(|redress| {
        redress.with_incident();
        let server = redress.serve();
        let claim = server.claim("mine", &merchant_claim("m-1", "1")).json();
        let other = server.claim("other", &merchant_claim("m-2", "1")).json();
        let path = format!("/v1/audit/proof/{}", claim["id"].as_str().unwrap());
        let bearer = format!("Bearer {}", other["token"].as_str().unwrap());
        server.get(&path, &[]).is_problem(401, "unauthorised");
        server.get(&path, &[("authorization", &bearer)]).is_problem(404, "not_found");
        server.get("/v1/audit/proof/x", &[("authorization", &bearer)]).is_problem(400, "invalid_path");
        server.call("DELETE", &path).is_problem(405, "method_not_allowed");
        let proof: Proof = serde_json::from_slice(&proof_of(&server, &claim).body).unwrap();
        assert_eq!((proof.check(None, &[]), proof.credits.len()), (Ok(()), 0));
    });
}
