//! What a reader decides alone, in every asset: by the face value that the policy declares, else by what is set for the
//! asset; else never.

use serde_json::{Value, json};

use super::{decide, ok};
use crate::harness::{INCIDENT, Redress, merchant_claim, merchants};

/// A policy that grants won, points worth two won, days worth two pounds, pounds, and items worth nothing that is said.
fn policy() -> String {
    format!(
        r#"
policy    = "many-assets"
incident  = "{INCIDENT}"
service   = "kakaotalk"
basis     = "claim"
reference = "a test"
title     = {{ ko = "시험", en = "Test" }}

[facts]
"claim.loss" = {{ type = "money", asset = "KRW", reference = "what the claimant states" }}

[[rule]]
name      = "all"
when      = "claim.loss == 1"
award     = [
    {{ asset = "KRW", amount = 1 }}, {{ asset = "points:talk", amount = 1 }}, {{ asset = "day:talk", amount = 1 }},
    {{ asset = "GBP", amount = "0.01" }}, {{ asset = "item:sticker", amount = 1 }},
]
reference = "a test"
title     = {{ ko = "전부", en = "All" }}

[[rule]]
name      = "people"
otherwise = true
review    = "council"
reference = "a test"
title     = {{ ko = "심사", en = "People" }}

[asset."points:talk"]
title = {{ ko = "포인트", en = "points" }}
face  = "2 KRW"

[asset."day:talk"]
title = {{ ko = "일", en = "days" }}
face  = "2 GBP"
"#
    )
}

fn award(assets: &[(&str, &str)]) -> Value {
    let awards: Vec<Value> = assets.iter().map(|(asset, amount)| json!({ "asset": asset, "amount": amount })).collect();
    json!({ "outcome": "approve", "awards": awards })
}

#[test]
fn limits_count_every_asset() {
    Redress::test(|redress| {
        redress.with_incident().with_staff();
        let file = redress.file("many-assets.toml", policy());
        redress.run(&["policy", "publish", &file, "--as", "author"]).succeeds();
        redress.run(&["policy", "approve", &file, "--as", "approver"]).succeeds();
        let customers: Vec<String> = (0..40).map(|number| format!("m-{number}")).collect();
        let roster = redress.file("roster.csv", merchants(&customers.iter().map(String::as_str).collect::<Vec<_>>()));
        redress.run(&["roster", "import", &roster, "--incident", INCIDENT]).succeeds();
        redress.run(&["staff", "add", "admin", "--role", "administrator"]).succeeds();
        redress.run(&["staff", "add", "novice", "--role", "agent", "--decides-up-to", "3000"]).succeeds();
        let server = redress.serve();
        let ann = redress.client(&server, "ann", "agent");
        let lea = redress.client(&server, "lea", "lead");
        let novice = redress.session(&server, "novice");
        let count = std::cell::Cell::new(0);
        // Whether it holds at once, on a claim of its own.
        let alone = |reader: &crate::harness::Client<'_>, assets: &[(&str, &str)]| {
            count.set(count.get() + 1);
            let filed = server.claim(&count.get().to_string(), &merchant_claim(&format!("m-{}", count.get()), "7"));
            let path = format!("/v1/claims/{}", filed.json()["id"].as_str().unwrap());
            let decided = ok(&decide(reader, &path, &award(assets)));
            match decided["status"].as_str() {
                Some("approved") => true,
                Some("in_review") => false,
                other => panic!("{other:?}"),
            }
        };
        assert!(alone(&ann, &[("KRW", "300000")]) && !alone(&ann, &[("KRW", "300001")]));
        // A face value in won counts as won, alone and beside others.
        assert!(alone(&ann, &[("points:talk", "150000")]) && !alone(&ann, &[("points:talk", "150001")]));
        assert!(alone(&ann, &[("KRW", "100000"), ("points:talk", "100000")]));
        assert!(!alone(&ann, &[("KRW", "100001"), ("points:talk", "100000")]));
        assert!(alone(&lea, &[("points:talk", "1500000")]) && !alone(&lea, &[("points:talk", "1500001")]));
        // What nobody has given a value takes two, however little it is.
        for assets in [[("GBP", "0.01")], [("day:talk", "1")], [("item:sticker", "1")]] {
            assert!(!alone(&lea, &assets), "{assets:?}");
        }
        let limit = |asset: &str, amount: &str, by: &str| {
            redress.run(&["staff", "limit", "--asset", asset, "--amount", amount, "--as", by])
        };
        limit("GBP", "170", "lea").refuses("it takes administrator");
        limit("EUR", "170", "admin").is_misused("no policy or budget speaks of it yet");
        limit("GBP", "0.001", "admin").is_misused("--amount");
        limit("GBP", "150", "admin").succeeds();
        // 150 pounds weigh as much as an agent's 300,000 won; a lead has ten times that; a day is worth two pounds.
        assert!(alone(&ann, &[("GBP", "150.00")]) && !alone(&ann, &[("GBP", "150.01")]));
        assert!(alone(&lea, &[("GBP", "1500.00")]) && !alone(&lea, &[("GBP", "1500.01")]));
        assert!(alone(&ann, &[("day:talk", "75")]) && !alone(&ann, &[("day:talk", "76")]));
        assert!(alone(&ann, &[("KRW", "150000"), ("GBP", "75.00")]));
        assert!(!alone(&ann, &[("KRW", "150001"), ("GBP", "75.00")]));
        // Whoever has a limit of his own has it in every asset.
        assert!(alone(&novice, &[("GBP", "1.50")]) && !alone(&novice, &[("GBP", "1.51")]));
        // What is set for the asset itself is nearer than what is set for the currency of its face value.
        limit("day:talk", "10", "admin").succeeds();
        assert!(alone(&ann, &[("day:talk", "10")]) && !alone(&ann, &[("day:talk", "11")]));
        limit("item:sticker", "0", "admin").succeeds();
        assert!(!alone(&lea, &[("item:sticker", "1")]));
        let listed = redress.run(&["staff", "limit"]).succeeds().stdout;
        assert!(listed.contains("day:talk") && listed.contains("150"), "{listed}");
        redress.run(&["staff", "limit", "--asset", "GBP", "--none", "--as", "admin"]).succeeds();
        assert!(!alone(&ann, &[("GBP", "0.01")]));
        assert_eq!(redress.number("SELECT count(*) FROM audit WHERE action = 'decision.limit'"), 4);
    });
}
