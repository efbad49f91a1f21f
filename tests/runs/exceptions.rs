//! Whom a run set aside is named, page by page, to whoever may see runs.

use serde_json::Value;

use crate::harness::{INCIDENT, Redress};

/// Five passes of which the records do not say enough, two of one customer.
const ROSTER: &str = "customer,service,reference,kind,channel\n\
    a,melon,a-1,pass,\na,melon,a-2,pass,\nb,melon,b-1,pass,\nc,melon,c-1,pass,\nd,melon,d-1,pass,\ne,melon,e-1,pass,web\n";

/// As only a hand at the database could have made it: neither the customer's id nor any policy can be told.
#[test]
fn a_customer_of_whom_nothing_can_be_read_is_listed_too() {
    Redress::test(|redress| {
        redress.with_incident().with_staff().with_policies(&["melon"]).with_budget("melon", "day:melon", "100");
        let roster = redress.file("roster.csv", ROSTER);
        redress.run(&["roster", "import", &roster, "--incident", INCIDENT]).succeeds();
        redress.sql("UPDATE holding SET customer_id = 'no name ' || reference WHERE customer_id IN ('a', 'b')");
        redress.issue();
        let first = redress.json(&["run", "exceptions", "1", "--limit", "3"]);
        let cursor = first["next"].as_str().unwrap();
        let rest = redress.json(&["run", "exceptions", "1", "--limit", "3", "--cursor", cursor]);
        let customers = |page: &Value| -> Vec<(String, bool)> {
            let all = page["exceptions"].as_array().unwrap().iter();
            all.map(|one| (one["customer"].as_str().unwrap().to_owned(), one["policy"].is_null())).collect()
        };
        let expected =
            [("c", false), ("d", false), ("no name a-1", true), ("no name a-2", true), ("no name b-1", true)];
        let found = [customers(&first), customers(&rest)].concat();
        assert_eq!(found, expected.map(|(name, unread)| (name.to_owned(), unread)));
        redress.run(&["run", "exceptions", "1"]).succeeds();
    });
}

#[test]
fn whom_a_run_set_aside_is_listed_in_pages() {
    Redress::test(|redress| {
        redress.with_incident().with_staff().with_policies(&["melon"]).with_budget("melon", "day:melon", "100");
        let roster = redress.file("roster.csv", ROSTER);
        redress.run(&["roster", "import", &roster, "--incident", INCIDENT]).succeeds();
        assert_eq!(redress.issue()["issued"], 1);
        assert!(redress.run(&["run", "show", "1"]).succeeds().stdout.contains("redress run exceptions 1"));
        let text = redress.run(&["run", "exceptions", "1"]).succeeds().stdout;
        assert_eq!(text.lines().count(), 6, "{text}");
        assert!(text.contains("a         melon   holding/a-2  review: records"), "{text}");
        // Page by page the same, with the version that was applied.
        let version = redress.text("SELECT hash FROM policy_version");
        let mut seen: Vec<String> = Vec::new();
        let mut more: Vec<String> = Vec::new();
        for left in [3, 1, 0] {
            let args = ["run", "exceptions", "1", "--limit", "2"];
            let page = redress.json(&args.into_iter().chain(more.iter().map(String::as_str)).collect::<Vec<_>>());
            for one in page["exceptions"].as_array().unwrap() {
                assert_eq!((one["policy"].as_str(), one["version"].as_str()), (Some("melon"), Some(version.as_str())));
                seen.push(format!("{} {}", one["customer"].as_str().unwrap(), one["subject"].as_str().unwrap()));
            }
            assert_eq!(5 - seen.len(), left);
            match page["next"].as_str() {
                Some(cursor) => more = vec!["--cursor".into(), cursor.into()],
                None => assert_eq!(left, 0),
            }
        }
        assert_eq!(seen, ["a holding/a-1", "a holding/a-2", "b holding/b-1", "c holding/c-1", "d holding/d-1"]);
        redress.run(&["run", "exceptions", "9"]).refuses("run 9");
        redress.run(&["run", "exceptions", "1", "--cursor", "x"]).is_misused("--cursor: is not one");
        redress.run(&["run", "exceptions", "1", "--limit", "0"]).fails(2, "--limit");

        let server = redress.serve();
        let auditor = redress.client(&server, "audrey", "auditor");
        let page: Value = auditor.get("/v1/runs/1/exceptions?limit=4").json();
        let next = page["next"].as_str().unwrap();
        let last = auditor.get(&format!("/v1/runs/1/exceptions?limit=4&cursor={next}")).json();
        assert_eq!((last["exceptions"][0]["customer"].as_str(), &last["next"]), (Some("d"), &Value::Null), "{last}");
        auditor.get("/v1/runs/9/exceptions").is_problem(404, "not_found");
        auditor.get("/v1/runs/x/exceptions").is_problem(400, "invalid_path");
        for query in ["cursor=x", "limit=501", "colour=red"] {
            auditor.get(&format!("/v1/runs/1/exceptions?{query}")).is_problem(422, "invalid_request");
        }
        redress.client(&server, "ann", "agent").get("/v1/runs/1/exceptions").is_problem(403, "forbidden");
    });
}
