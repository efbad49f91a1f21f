//! What broke in comparable systems (facts.md §4): the table in docs/ARCHITECTURE.md names a test for each line, and each
//! such test names its line.

use serde_json::Value;

use crate::harness::{INCIDENT, Redress, repository};

/// The rows of the table "What broke elsewhere": the lesson, and the tests that hold it.
fn table() -> Vec<(String, Vec<String>)> {
    let text = std::fs::read_to_string(repository().join("docs/ARCHITECTURE.md")).unwrap();
    let section = text.split("## What broke elsewhere").nth(1).expect("the section is there");
    let rows = section.split("\n## ").next().unwrap().lines().filter(|line| line.starts_with("| "));
    rows.skip(1)
        .map(|row| {
            let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
            let tests = cells[1].split('`').skip(1).step_by(2).map(str::to_owned).collect();
            (cells[0].to_owned(), tests)
        })
        .collect()
}

#[test]
fn every_lesson_has_its_test_and_every_such_test_names_its_lesson() {
    let rows = table();
    assert_eq!(rows.len(), 12, "facts.md §4 has twelve lines: {rows:?}");
    for (lesson, tests) in rows {
        assert!(!tests.is_empty(), "{lesson}");
        for test in tests {
            let (file, name) = test.split_once("::").unwrap_or_else(|| panic!("{test}: file::test"));
            let source = std::fs::read_to_string(repository().join("tests").join(file)).unwrap();
            let head = source.split(&format!("\nfn {name}()")).next().filter(|head| head.len() < source.len());
            let head = head.unwrap_or_else(|| panic!("{file} has no test {name}"));
            let comment: Vec<&str> = head
                .lines()
                .rev()
                .skip_while(|line| line.starts_with("#["))
                .take_while(|line| line.starts_with("///"))
                .collect();
            let comment: Vec<&str> = comment.into_iter().rev().map(|line| line[3..].trim()).collect();
            assert!(
                comment.join(" ").contains(&format!("\"{lesson}\"")),
                "{test} does not name {lesson:?}: {comment:?}"
            );
        }
    }
}

/// facts.md §4: "a payroll file could be downloaded again only from a production console": what was paid can be had again
/// at any time, byte for byte, over HTTP and at the command line, by whoever has the right and nobody else.
#[test]
fn the_file_of_an_instant_can_be_had_again_by_whoever_may() {
    Redress::test(|redress| {
        redress.with_incident().with_staff().with_policies(&["melon"]).with_budget("melon", "day:melon", "1000");
        let mut roster = String::from("customer,service,reference,kind,channel\n");
        (0..120).for_each(|number| roster.push_str(&format!("s-{number:03},melon,sub,subscription,web\n")));
        let roster = redress.file("roster.csv", roster);
        redress.run(&["roster", "import", &roster, "--incident", INCIDENT]).succeeds();
        assert_eq!(redress.issue()["issued"], 120);
        let at = redress.json(&["ledger", "balance", "owed"])["at"].as_str().unwrap().to_owned();
        let export =
            |layout: &[&str]| redress.run(&[&["ledger", "export", "--at", &at][..], layout].concat()).succeeds().stdout;
        let (csv, lines) = (export(&[]), export(&["--ndjson"]));
        let server = redress.serve();
        let finance = redress.session(&server, "finance");
        let pages = || {
            let (mut all, mut next) = (Vec::new(), format!("at={}", at.replace('+', "%2B")));
            loop {
                let page = finance.get(&format!("/v1/ledger/transfers?limit=50&{next}"));
                assert_eq!(page.status, 200, "{}", page.text());
                let page = page.json();
                all.extend(page["transfers"].as_array().unwrap().iter().cloned());
                let Some(cursor) = page["next"].as_str() else { return all };
                next = format!("cursor={cursor}");
            }
        };
        let first = pages();
        let rows: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((first.len(), &first), (121, &rows), "over HTTP it is what it is at the command line");
        // More is done; what was had is had again as it was, however often.
        let credit = finance.get("/v1/credits?customer=s-007").json()["credits"][0]["id"].clone();
        let path = format!("/v1/credits/{}/reverse", credit.as_str().unwrap());
        let why = serde_json::json!({ "reason": "credited-in-error", "customer": "s-007" });
        assert_eq!(finance.post_once(&path, &why).status, 200);
        redress.with_budget("melon", "day:melon", "7");
        for _ in 0..2 {
            assert_eq!((export(&[]), export(&["--ndjson"])), (csv.clone(), lines.clone()));
            assert_eq!(pages(), first);
        }
        let agent = redress.client(&server, "ann", "agent");
        agent.get("/v1/ledger/transfers").is_problem(403, "forbidden");
    });
}
