//! Faults: whatever is killed, and when, nothing acknowledged is lost and nothing is paid twice.

use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use diesel::connection::SimpleConnection;
use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{INCIDENT, Private, Random, Redress, merchant_claim, merchants, signal, wait_until};

const DEMO: [&str; 9] = ["demo", "--customers", "9000", "--claims", "50", "--seed", "11", "--skip-issue", "--exit"];
const ISSUE: [&str; 3] = ["issue", "--incident", INCIDENT];

/// A demo's folder, ready to issue.
fn ready_to_issue() -> Private {
    let folder = Private::new();
    let demo = folder.command(&DEMO).args(["--listen", "127.0.0.1:0"]).stdout(Stdio::null()).output().unwrap();
    assert!(demo.status.success(), "{}", String::from_utf8_lossy(&demo.stderr));
    folder
}

fn exposure(folder: &Private) -> String {
    folder.run(&["report", "exposure", "--format", "json"]).succeeds().stdout
}

#[test]
fn a_killed_run_and_its_repetition_come_to_the_same_as_an_undisturbed_one() {
    let mut random = Random::new("a_killed_run");
    let (undisturbed, killed) = std::thread::scope(|scope| {
        let one = scope.spawn(ready_to_issue);
        (ready_to_issue(), one.join().unwrap())
    });
    // Held, so that what is timed and killed is the job and not its wait for the database.
    let databases = [undisturbed.database(), killed.database()];
    let started = std::time::Instant::now();
    let whole = undisturbed.json(&ISSUE);
    let usual = u64::try_from(started.elapsed().as_micros()).unwrap();
    assert!(whole["issued"].as_u64().unwrap() > 3_000, "{whole}");
    let expected = exposure(&undisturbed);
    let done = "SELECT count(*) FROM run_chunk WHERE done_at IS NOT NULL";
    let mut kills = 0;
    for round in 0..12 {
        let before = killed.number(done);
        let mut run = killed.command(&ISSUE).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        if round % 2 == 1 {
            // Anything from before it has opened the database until it has nearly ended.
            std::thread::sleep(Duration::from_micros(random.below(usual * 2 / 3)));
        } else {
            // When a chunk is done, and others are under way.
            wait_until("a chunk is done", || killed.number(done) > before || run.try_wait().unwrap().is_some());
            std::thread::sleep(Duration::from_micros(random.below(30_000)));
        }
        let ended = run.try_wait().unwrap().is_some();
        run.kill().unwrap();
        run.wait().unwrap();
        kills += u32::from(!ended);
        println!("round {round}: {} chunks done before, {} after, ended: {ended}", before, killed.number(done));
        // The first run is what must come out right: a later one would pay what it lost.
        if ended
            || killed.number("SELECT count(*) FROM run_chunk WHERE done_at IS NULL") == 0 && killed.number(done) > 0
        {
            break;
        }
    }
    drop(databases);
    println!("killed {kills} times");
    assert!(kills > 0, "the job was never killed");
    if killed.number("SELECT count(*) FROM run WHERE state = 'done'") == 0 {
        let rest = killed.json(&ISSUE);
        assert!(rest["stopped"].is_null() && rest["resumed"] == true, "{rest}");
    }
    assert_eq!(killed.number("SELECT count(*) FROM run"), 1);
    assert_eq!(exposure(&killed), expected, "byte for byte");
    assert_eq!(killed.json(&ISSUE)["issued"], 0);
    killed.run(&["verify"]).succeeds();
    assert_eq!(killed.number("SELECT count(*) FROM run WHERE state <> 'done'"), 0);
}

#[test]
fn a_run_killed_in_every_state_of_its_transaction_pays_exactly_once() {
    // Where chance may not reach: right before the commit, and between two chunks.
    Redress::test(|redress| {
        redress.with_incident().with_staff().with_policies(&["melon"]).with_budget("melon", "day:melon", "30000");
        let mut roster = String::from("customer,service,reference,kind,channel\n");
        (0..10_000).for_each(|number| roster.push_str(&format!("s-{number:05},melon,sub,subscription,web\n")));
        let roster = redress.file("roster.csv", roster);
        redress.run(&["roster", "import", &roster, "--incident", INCIDENT]).succeeds();
        let others =
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
        for lock in [
            "LOCK TABLE run_chunk IN ACCESS EXCLUSIVE MODE",
            "SELECT * FROM budget FOR UPDATE",
            "LOCK TABLE posting_total",
        ] {
            let mut other = redress.owner();
            other.batch_execute(&format!("BEGIN; {lock}")).unwrap();
            let mut run = redress.command(&ISSUE).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            wait_until("a worker waits", || redress.waiting_for_locks() > 0);
            run.kill().unwrap();
            run.wait().unwrap();
            other.batch_execute("ROLLBACK").unwrap();
            drop(other);
            wait_until("the server has seen it", || redress.number(others) == 0);
            assert_eq!(redress.number("SELECT count(*) FROM transfer WHERE code = 2"), 0, "{lock}");
        }
        assert_eq!(redress.issue()["issued"], 10_000);
        assert_eq!(redress.number("SELECT count(*) FROM run"), 1, "each went on with the same run");
        assert_eq!(redress.issue()["issued"], 0);
    });
}

#[test]
fn books_that_were_tampered_with_do_not_verify() {
    Redress::test(|redress| {
        redress.with_incident().with_staff().with_policies(&["melon"]).with_budget("melon", "day:melon", "1000");
        let rows = "a,melon,1,subscription,web\nb,melon,1,subscription,web\nc,melon,1,subscription,web\n";
        let roster = redress.file("roster.csv", format!("customer,service,reference,kind,channel\n{rows}"));
        redress.run(&["roster", "import", &roster, "--incident", INCIDENT]).succeeds();
        assert_eq!(redress.issue()["issued"], 3);
        redress.run(&["verify"]).succeeds();
        let keep =
            "CREATE TABLE kept AS SELECT * FROM transfer; CREATE TABLE kept_total AS SELECT * FROM posting_total;
                    CREATE TABLE kept_budget AS SELECT * FROM budget";
        let restore = "DELETE FROM transfer; INSERT INTO transfer SELECT * FROM kept;
                       DELETE FROM posting_total; INSERT INTO posting_total SELECT * FROM kept_total;
                       UPDATE budget SET approved = k.approved, spent = k.spent FROM kept_budget AS k WHERE k.id = budget.id";
        redress.sql(keep);
        let copied = "INSERT INTO transfer SELECT customer_id, gen_random_uuid(), posting_id, amount, debit_account, credit_account,
                      asset_id, policy_version_id, code, subject FROM transfer WHERE code = 2";
        for (what, tampering, names) in [
            ("what a job without derived ids does: the chunk again", copied.to_owned(), "customer a"),
            (
                "the same, with totals and budget made to fit",
                format!(
                    "{copied}; UPDATE posting_total SET transfers = transfers * 2, amount = amount * 2 WHERE code = 2;
                         UPDATE budget SET spent = spent * 2"
                ),
                "customer a",
            ),
            ("a credit lost", "DELETE FROM transfer WHERE customer_id = 'b'".into(), "posting"),
            ("a credit raised", "UPDATE transfer SET amount = amount + 1 WHERE customer_id = 'b'".into(), "posting"),
            ("a credit moved", "UPDATE transfer SET policy_version_id = 77 WHERE customer_id = 'b'".into(), "posting"),
            ("a total lost", "DELETE FROM posting_total WHERE code = 2".into(), "posting"),
            ("a budget spent without a credit", "UPDATE budget SET spent = spent + 1".into(), "budget"),
            ("a budget raised by hand", "UPDATE budget SET approved = approved + 1".into(), "budget"),
            (
                "a transfer to nowhere",
                "UPDATE transfer SET credit_account = 999 WHERE customer_id = 'c'".into(),
                "customer c",
            ),
        ] {
            redress.sql(&tampering);
            let ran = redress.run(&["verify"]).fails(1, "");
            let faults: Vec<&str> = ran.stdout.lines().filter(|line| line.starts_with("       ")).collect();
            assert!(faults.iter().any(|fault| fault.contains(names)), "{what}: {}", ran.stdout);
            assert_eq!(redress.run(&["verify", "--format", "json"]).fails(1, "").json()["holds"], false, "{what}");
            redress.sql(restore);
            redress.run(&["verify"]).succeeds();
        }
        // A chunk that says it is done and has no posting.
        redress.sql("UPDATE run_chunk SET tally = jsonb_set(tally, '{credits}', '0')");
        assert!(redress.run(&["verify"]).fails(1, "").stdout.contains("FAIL every chunk"), "a chunk's tally");
        redress.sql("UPDATE run_chunk SET tally = jsonb_set(tally, '{credits}', '3')");
    });
}

/// A folder whose messenger takes merchants' claims.
fn takes_claims() -> Private {
    let folder = Private::new();
    let incident = format!("policies/incidents/{INCIDENT}.toml");
    let roster = folder.path().join("roster.csv");
    std::fs::write(&roster, merchants(&["m-1"])).unwrap();
    for args in [
        &["incident", "load", &incident][..],
        &["roster", "import", roster.to_str().unwrap(), "--incident", INCIDENT],
        &["staff", "add", "author", "--role", "policy_author"],
        &["staff", "add", "approver", "--role", "policy_approver"],
        &["policy", "publish", "policies/kakaotalk-merchant-loss.toml", "--as", "author"],
        &["policy", "approve", "policies/kakaotalk-merchant-loss.toml", "--as", "approver"],
    ] {
        folder.run(args).succeeds();
    }
    folder
}

/// What came of sending claims while something happened to the server.
struct Sent {
    /// The bodies of all answers 201, by key.
    acknowledged: Vec<(String, Value)>,
    /// How many were sent at all.
    tried: u32,
}

/// Sends claims from eight clients until `strike` has struck after so many answers, and all clients have noticed, or 200 more were
/// answered well: a database that comes back at once may be missed by nobody.
fn send_until(server: &crate::harness::Server, after: usize, strike: impl FnOnce()) -> Sent {
    let acknowledged = Mutex::new(Vec::new());
    let (tried, over) = (AtomicU32::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let key = format!("key-{}", tried.fetch_add(1, Ordering::Relaxed));
                    // Each is another loss: the same one would be one claim.
                    let mut claim = merchant_claim("m-1", "1000");
                    claim["facts"]["till"] = format!("{}-{key}", server.pid()).into();
                    match server.try_claim(&key, &claim) {
                        Some(answer) if answer.status == 201 => acknowledged.lock().unwrap().push((key, answer.json())),
                        _ => over.store(true, Ordering::Relaxed),
                    }
                }
            });
        }
        wait_until("claims come in", || acknowledged.lock().unwrap().len() >= after);
        strike();
        let missed = acknowledged.lock().unwrap().len() + 200;
        wait_until("it is noticed, or missed by nobody", || {
            over.load(Ordering::Relaxed) || acknowledged.lock().unwrap().len() >= missed
        });
        over.store(true, Ordering::Relaxed);
    });
    Sent { acknowledged: acknowledged.into_inner().unwrap(), tried: tried.into_inner() }
}

/// Every claim that was acknowledged is there, and its retry gets the same answer.
fn assert_all_there(server: &crate::harness::Server, sent: &Sent) {
    for (key, claim) in &sent.acknowledged {
        let bearer = format!("Bearer {}", claim["token"].as_str().unwrap());
        let shown = server.get(&format!("/v1/claims/{}", claim["id"].as_str().unwrap()), &[("authorization", &bearer)]);
        assert_eq!(shown.status, 200, "claim {key} was answered 201 and is lost");
        assert_eq!(shown.json()["reference"], claim["reference"]);
    }
    let (key, claim) = sent.acknowledged.last().unwrap();
    let mut same = merchant_claim("m-1", "1000");
    same["facts"] = claim["facts"].clone();
    let again = server.claim(key, &same);
    assert_eq!((again.json(), again.header("idempotency-replayed")), (claim.clone(), "true"));
}

/// facts.md §4: "claims vanished for years; evidence uploads lost daily; the claimant told only after the last
/// failure".
#[test]
fn a_server_killed_while_claims_come_in_has_every_claim_it_answered() {
    let folder = takes_claims();
    let mut random = Random::new("a_server_killed");
    let (mut acknowledged, mut tried) = (0, 0);
    for round in 0..3 {
        let server = folder.serve();
        let sent = send_until(&server, 20 + usize::try_from(random.below(200)).unwrap(), || {
            signal(server.pid(), Signal::KILL)
        });
        drop(server);
        // The next server adopts the database that runs on.
        let server = folder.serve();
        assert_all_there(&server, &sent);
        acknowledged += sent.acknowledged.len() as i64;
        // A claim that was sent and never answered may or may not be there; but nothing beyond those.
        tried += i64::from(sent.tried);
        let stored = folder.number("SELECT count(*) FROM claim");
        println!("round {round}: {acknowledged} acknowledged, {stored} stored, {tried} sent");
        assert!((acknowledged..=tried).contains(&stored));
        folder.run(&["verify"]).succeeds();
        // Keys are used anew in the next round: they belong to those claims.
        drop(server);
        folder.sql("DELETE FROM idempotency");
    }
    assert_eq!(
        folder.number("SELECT count(*) FROM claim WHERE NOT EXISTS (SELECT FROM assessment WHERE claim_id = claim.id)"),
        0
    );
}

#[test]
fn a_database_killed_while_serving_comes_back_by_itself_and_lost_nothing() {
    let folder = takes_claims();
    let server = folder.serve();
    let database = folder.database();
    let pid = u32::try_from(database.pid().unwrap()).unwrap();
    drop(database);
    let sent = send_until(&server, 50, || signal(pid, Signal::KILL));
    // Nobody starts it by hand; the same server serves again.
    wait_until("it is ready again", || server.get("/readyz", &[]).status == 200);
    assert_all_there(&server, &sent);
    assert_eq!(server.claim("afterwards", &merchant_claim("m-1", "1000")).status, 201);
    assert_eq!(server.stop(), Some(0));
    folder.run(&["verify"]).succeeds();
}

#[test]
fn a_server_that_is_told_to_stop_finishes_what_it_accepted() {
    let folder = takes_claims();
    let mut server = folder.serve();
    let database = folder.database();
    let mut other = diesel::Connection::establish(database.url()).map(|c: diesel::PgConnection| c).unwrap();
    other.batch_execute("BEGIN; LOCK TABLE claim IN ACCESS EXCLUSIVE MODE").unwrap();
    let answer = std::thread::scope(|scope| {
        let under_way = scope.spawn(|| server.try_claim("slow", &merchant_claim("m-1", "1000")));
        wait_until("the request is under way", || folder.waiting_for_locks() == 1);
        server.ask_to_stop();
        wait_until("no new connection is taken", || {
            let address = server.url.strip_prefix("http://").unwrap();
            std::net::TcpStream::connect(address).is_err()
        });
        other.batch_execute("ROLLBACK").unwrap();
        under_way.join().unwrap()
    });
    let answer = answer.expect("the request under way is answered");
    assert_eq!(answer.status, 201, "{}", answer.text());
    wait_until("it has ended", || !server.is_running());
    assert_eq!(server.stop(), Some(0));
    assert_eq!(folder.number("SELECT count(*) FROM claim"), 1);
    // The last to leave stops the private database.
    drop(other);
    let pid = database.pid();
    assert!(pid.is_some());
    assert!(database.stop().unwrap(), "nobody else uses it any more");
}

#[test]
fn a_server_whose_log_nobody_takes_answers_as_before() {
    Redress::test(|redress| {
        let (reader, gone) = std::io::pipe().unwrap();
        drop(reader);
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        for stderr in [Stdio::from(gone), Stdio::from(full)] {
            // Nobody hears which port it takes, so it is told a free one.
            let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let address = format!("127.0.0.1:{port}");
            let mut serve = redress.command(&["serve", "--listen", &address]);
            // Each request says something.
            let mut server = serve.env("REDRESS_LOG", "info").stderr(stderr).spawn().unwrap();
            let answers = |path: &str| ureq::get(format!("http://{address}{path}")).call().is_ok();
            wait_until("it serves", || answers("/livez") || server.try_wait().unwrap().is_some());
            for _ in 0..3 {
                assert!(answers("/readyz") && answers("/openapi.yaml"));
            }
            signal(server.id(), Signal::TERM);
            assert_eq!(server.wait().unwrap().code(), Some(0));
        }
    });
}

#[test]
fn commands_and_a_server_share_one_private_database() {
    let folder = takes_claims();
    let server = folder.serve();
    assert_eq!(server.claim("a", &merchant_claim("m-1", "1000")).status, 201);
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..6).map(|_| scope.spawn(|| folder.run(&["staff", "list"]))).collect();
        all.into_iter().for_each(|one| drop(one.join().unwrap().succeeds()));
    });
    // A command that ends does not take the database from the server.
    assert_eq!(server.claim("b", &merchant_claim("m-1", "1000")).status, 201);
    assert_eq!(server.stop(), Some(0));
    let data = folder.path().join("postgres/data/postmaster.pid");
    assert!(!data.exists(), "the database runs on though nobody uses it");
    assert_eq!(folder.number("SELECT count(*) FROM claim"), 2);
}
