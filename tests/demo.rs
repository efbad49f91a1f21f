//! The demo: the same seed tells the same story, in a folder of its own.

use std::process::Stdio;

use serde_json::Value;

use crate::harness::{INCIDENT, Private, Ran, Server};

const SMALL: [&str; 8] = ["demo", "--customers", "2000", "--claims", "100", "--seed", "7", "--exit"];

fn play(folder: &Private, more: &[&str]) -> Ran {
    let args: Vec<&str> = SMALL.iter().chain(more).chain(&["--listen", "127.0.0.1:0"]).copied().collect();
    folder.run(&args)
}

fn exposure(folder: &Private) -> String {
    folder.run(&["report", "exposure", "--format", "json"]).succeeds().stdout
}

#[test]
fn the_same_seed_comes_to_the_same_figures_at_once_or_in_steps() {
    let (first, second, stepped) = (Private::new(), Private::new(), Private::new());
    std::thread::scope(|scope| {
        let text = scope.spawn(|| play(&first, &[]).succeeds());
        let other = scope.spawn(|| play(&stepped, &["--skip-issue"]).succeeds());
        let summary = play(&second, &["--format", "json"]).succeeds().json();
        assert_eq!(
            (summary["customers"].as_u64(), summary["books_hold"].as_bool()),
            (Some(2_000), Some(true)),
            "{summary}"
        );
        let text = text.join().unwrap();
        // What a person reads: the services, the sums and where to look.
        for word in ["멜론", "카카오톡", "day:melon", "KRW", "http://127.0.0.1:"] {
            assert!(text.stdout.contains(word), "{word}: {}", text.stdout);
        }
        assert!(text.stderr.lines().any(|line| line.contains("import the roster")), "{}", text.stderr);
        other.join().unwrap();
    });
    let expected = exposure(&first);
    let report: Value = serde_json::from_str(&expected).unwrap();
    assert!(report["incidents"][0]["credits"].as_array().unwrap().len() > 10, "{expected}");
    assert_eq!(exposure(&second), expected);
    let before: Value = serde_json::from_str(&exposure(&stepped)).unwrap();
    assert_eq!(before["incidents"][0]["credits"], serde_json::json!([]), "nothing is issued yet");
    assert!(stepped.json(&["issue", "--incident", INCIDENT])["issued"].as_u64().unwrap() > 1_000);
    assert_eq!(exposure(&stepped), expected);
    for folder in [&first, &second, &stepped] {
        assert_eq!(folder.json(&["issue", "--incident", INCIDENT])["issued"], 0);
        folder.run(&["verify"]).succeeds();
        assert_eq!(folder.number("SELECT count(*) FROM claim"), 100);
    }
    // Another seed is another story, in the same folder started afresh.
    let other = ["demo", "--customers", "500", "--claims", "10", "--seed", "8", "--exit", "--listen", "127.0.0.1:0"];
    second.run(&other).succeeds();
    assert_eq!(second.number("SELECT count(*) FROM claim"), 10);
    assert_eq!(second.number("SELECT count(DISTINCT customer_id) FROM holding"), 500);
    assert_ne!(exposure(&second), expected);
}

#[test]
fn a_folder_that_is_somebodys_is_left_alone() {
    let folder = Private::new();
    let file = folder.path().join("thesis.txt");
    std::fs::write(&file, "three years of work").unwrap();
    play(&folder, &[]).refuses("is not empty and not an earlier demo's; name another folder with --data-dir");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "three years of work");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    let missing = Private::new();
    play(&missing, &["--policies", "/no/such"]).is_misused("--policies /no/such: there is no incidents/");
    play(&missing, &["--database-url", "postgresql://127.0.0.1:1/x"]).refuses("in its own private database only");
    assert_eq!(std::fs::read_dir(missing.path()).unwrap().count(), 0);
}

#[test]
fn a_demo_that_serves_is_not_taken_from_under_whoever_uses_it() {
    let folder = Private::new();
    let args = ["demo", "--customers", "50", "--claims", "3", "--skip-issue", "--listen", "127.0.0.1:0"];
    let server = Server::start(folder.command(&args));
    assert_eq!(server.get("/readyz", &[]).status, 200, "{}", server.get("/readyz", &[]).text());
    play(&folder, &[]).fails(1, "");
    assert_eq!(server.get("/readyz", &[]).status, 200);
    assert_eq!(folder.number("SELECT count(*) FROM claim"), 3);
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_demo_that_is_killed_is_started_afresh_by_the_next() {
    let folder = Private::new();
    let mut demo = folder
        .command(&SMALL)
        .args(["--listen", "127.0.0.1:0"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = std::io::BufRead::lines(std::io::BufReader::new(demo.stderr.take().unwrap()));
    let reached = lines.map_while(Result::ok).find(|line| line.contains("report damage"));
    assert!(reached.is_some());
    demo.kill().unwrap();
    demo.wait().unwrap();
    play(&folder, &[]).succeeds();
    assert_eq!(folder.number("SELECT count(*) FROM claim"), 100);
}

#[test]
fn the_readers_first_report_in_the_readme_works() {
    let readme = std::fs::read_to_string(crate::harness::repository().join("README.md")).unwrap();
    let block = readme.split("```sh\n").find(|block| block.starts_with("curl ")).unwrap().split("```").next().unwrap();
    let folder = Private::new();
    let args = ["demo", "--customers", "60", "--claims", "0", "--skip-issue", "--listen", "127.0.0.1:0"];
    let server = Server::start(folder.command(&args));
    let script = block.replace("http://127.0.0.1:8080", &server.url);
    let mut answers = (0..2).map(|_| {
        let output = std::process::Command::new("sh").arg("-c").arg(&script).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    });
    let (first, again) = (answers.next().unwrap(), answers.next().unwrap());
    let claim: Value = serde_json::from_slice(&first).unwrap();
    assert_eq!(
        (claim["status"].as_str(), claim["assessment"]["awards"][0]["amount"].as_str()),
        (Some("approved"), Some("30000")),
        "{claim}"
    );
    assert_eq!(first, again, "the same bytes come back");
}
