//! Reports that come at the same moment and are filed together: each gets its own answer, none spoils another's, and none is
//! acknowledged that is not stored.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::sync::Mutex;
use std::thread::ScopedJoinHandle;

use diesel::connection::SimpleConnection;
use diesel::{PgConnection, RunQueryDsl};
use redress_store::failpoint::WITHOUT;
use redress_store::{Store, StoreError};
use serde_json::Value;

use crate::harness::{Answer, INCIDENT, Random, Redress, Server, merchant_claim, merchants, wait_until};

/// The customers of the tests.
const CUSTOMERS: u64 = 8;

fn customer(number: u64) -> String {
    format!("m-{number}")
}

fn with_merchants(redress: &Redress, environment: &[(&str, &str)]) -> Server {
    redress.with_incident().with_staff().with_policies(&["kakaotalk-merchant-loss", "melon"]);
    let customers: Vec<String> = (0..CUSTOMERS).map(customer).collect();
    let roster = redress.file("roster.csv", merchants(&customers.iter().map(String::as_str).collect::<Vec<_>>()));
    redress.run(&["roster", "import", &roster, "--incident", INCIDENT]).succeeds();
    redress.serve_with(environment)
}

/// Nothing is filed from now on, until the connection says ROLLBACK.
fn hold(redress: &Redress) -> PgConnection {
    let mut other = redress.owner();
    other.batch_execute("BEGIN; LOCK TABLE claim IN ACCESS EXCLUSIVE MODE").unwrap();
    other
}

fn release(mut held: PgConnection) {
    held.batch_execute("ROLLBACK").unwrap();
}

/// How many reports the server says wait to be filed.
fn waiting(server: &Server) -> String {
    let metrics = server.get("/metrics", &[]);
    let line = metrics.text().lines().find(|line| line.starts_with("redress_intake_waiting ")).unwrap();
    line.split_whitespace().nth(1).unwrap().to_owned()
}

/// Occupies the server's writer with one report while nothing is filed: what comes now waits for it, as long as it is not enough
/// for a second one.
fn occupy<'scope>(
    scope: &'scope std::thread::Scope<'scope, '_>,
    redress: &Redress,
    server: &'scope Server,
) -> Vec<ScopedJoinHandle<'scope, Answer>> {
    let sent = scope.spawn(move || server.claim("occupies", &merchant_claim("m-0", "1000")));
    wait_until("a writer is at it", || redress.waiting_for_locks() == 1);
    vec![sent]
}

#[test]
fn many_reports_at_once_are_each_filed_once_and_each_gets_its_own_answer() {
    Redress::test(|redress| {
        let server = with_merchants(redress, &[]);
        let random = Mutex::new(Random::new("many_reports_at_once"));
        let answered: Mutex<Vec<(String, String, String, Value)>> = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    for _ in 0..40 {
                        let below = |bound| random.lock().unwrap().below(bound);
                        // Few enough that keys and losses meet, at one moment and at different ones.
                        let (who, loss) = (customer(below(CUSTOMERS)), (below(40) * 10_000).to_string());
                        let key = format!("k-{loss}-{}", below(3));
                        let answer = server.claim(&key, &merchant_claim(&who, &loss));
                        match answer.status {
                            201 => answered.lock().unwrap().push((who, key, loss, answer.json())),
                            _ => drop(answer.is_problem(409, "idempotency_key_in_flight")),
                        }
                    }
                });
            }
        });
        let answered = answered.into_inner().unwrap();
        let mut by_key: BTreeMap<(&str, &str), &Value> = BTreeMap::new();
        let mut losses = BTreeSet::new();
        for (who, key, loss, claim) in &answered {
            assert_eq!(
                (&claim["customer"], &claim["facts"]["loss"]),
                (&Value::from(who.as_str()), &Value::from(loss.as_str()))
            );
            let first = by_key.entry((who, key)).or_insert(claim);
            assert_eq!(*first, claim, "one key, one answer");
            losses.insert((who.as_str(), loss.as_str()));
        }
        let count = |of: &str| usize::try_from(redress.number(&format!("SELECT count(*) FROM {of}"))).unwrap();
        assert_eq!(count("claim"), by_key.len());
        assert_eq!(count("idempotency"), by_key.len());
        assert_eq!(count("claim WHERE loss IS NOT NULL"), losses.len(), "a loss is claimed once");
        assert_eq!(count("claim WHERE duplicate_of IS NOT NULL"), by_key.len() - losses.len());
        assert_eq!(count("assessment"), losses.len());
        assert_eq!(count("audit WHERE action = 'claim.file'"), losses.len());
        assert_eq!(count("audit WHERE action = 'claim.merged'"), by_key.len() - losses.len());
        assert_eq!(count("notice WHERE event = 'received'"), by_key.len());
        println!("{} answers, {} claims, {} losses", answered.len(), by_key.len(), losses.len());
        assert!(by_key.len() > losses.len() && answered.len() > by_key.len(), "nothing met");
    });
}

#[test]
fn two_servers_that_get_the_same_key_at_the_same_moment_file_once() {
    Redress::test(|redress| {
        let servers = [with_merchants(redress, &[]), redress.serve()];
        // A draft claims no loss yet: nothing but its key tells that it is the same.
        for (key, is_draft) in [("claim", false), ("draft", true)] {
            let mut claim = merchant_claim("m-1", "1000");
            claim["draft"] = is_draft.into();
            // Both have asked and found nothing when either may write.
            let mut held = redress.owner();
            held.batch_execute("BEGIN; LOCK TABLE claim IN SHARE MODE").unwrap();
            let answers = std::thread::scope(|scope| {
                let sent = servers.each_ref().map(|server| scope.spawn(|| server.claim(key, &claim)));
                wait_until("both are about to write", || redress.waiting_for_locks() == 2);
                release(held);
                sent.map(|answer| answer.join().unwrap())
            });
            assert_eq!(answers.each_ref().map(|answer| answer.status), [201, 201]);
            assert_eq!(answers[0].body, answers[1].body, "one key, one answer");
        }
        assert_eq!(redress.number("SELECT count(*) FROM claim"), 2);
    });
}

#[test]
fn what_waits_is_committed_together_and_one_that_fails_spoils_no_other() {
    Redress::test(|redress| {
        let server = with_merchants(redress, &[]);
        redress.sql("ALTER TABLE claim ADD CONSTRAINT test_refuses CHECK (customer_id <> 'm-5')");
        let held = hold(redress);
        std::thread::scope(|scope| {
            let mut sent = occupy(scope, redress, &server);
            let mut odd = merchant_claim("m-6", "1000");
            odd["service"] = "cinema".into();
            let mut draft = merchant_claim("m-7", "2000");
            draft["draft"] = true.into();
            let good = (1..5).map(|number| merchant_claim(&customer(number), "5000"));
            let all: Vec<Value> = good.chain([draft, merchant_claim("m-5", "1000"), odd]).collect();
            for (number, claim) in all.into_iter().enumerate() {
                let server = &server;
                sent.push(scope.spawn(move || server.claim(&format!("k-{number}"), &claim)));
            }
            wait_until("all wait", || waiting(&server) == "7");
            release(held);
            let answers: Vec<Answer> = sent.into_iter().map(|answer| answer.join().unwrap()).collect();
            let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
            assert_eq!(statuses, [201, 201, 201, 201, 201, 201, 500, 422]);
            answers[6].is_problem(500, "internal");
            assert_eq!(answers[7].is_problem(422, "invalid_request")["errors"][0]["pointer"], "/service");
            let customers: Vec<_> = answers[1..6].iter().map(|answer| answer.json()["customer"].clone()).collect();
            assert_eq!(customers, ["m-1", "m-2", "m-3", "m-4", "m-7"], "each gets its own answer");
        });
        let stored = "SELECT string_agg(customer_id || ' ' || state, ', ' ORDER BY customer_id, id) FROM claim";
        let all = "m-0 approved, m-1 approved, m-2 approved, m-3 approved, m-4 approved, m-7 draft";
        assert_eq!(redress.text(stored), all);
        // Nothing was kept of the one: once the cause is mended its key is free.
        redress.sql("ALTER TABLE claim DROP CONSTRAINT test_refuses");
        assert_eq!(server.claim("k-5", &merchant_claim("m-5", "1000")).status, 201);
    });
}

#[test]
fn many_that_wait_are_one_transaction() {
    Redress::test(|redress| {
        let server = with_merchants(redress, &[]);
        let held = hold(redress);
        std::thread::scope(|scope| {
            let mut sent = occupy(scope, redress, &server);
            let mut send = |numbers: std::ops::Range<u64>| {
                for number in numbers {
                    let claim = merchant_claim(&customer(number % CUSTOMERS), &(50_000 + number).to_string());
                    let server = &server;
                    sent.push(scope.spawn(move || server.claim(&format!("k-{number}"), &claim)));
                }
            };
            send(0..8);
            wait_until("a second writer takes what is worth it", || {
                redress.waiting_for_locks() == 2 && waiting(&server) == "0"
            });
            send(8..30);
            wait_until("the rest waits", || redress.waiting_for_locks() == 2 && waiting(&server) == "22");
            release(held);
            sent.into_iter().for_each(|answer| assert_eq!(answer.join().unwrap().status, 201));
        });
        assert_eq!(redress.number("SELECT count(*) FROM claim"), 31);
        assert_eq!(redress.number("SELECT count(DISTINCT xmin::text) FROM claim"), 3, "one, eight, twenty-two");
    });
}

#[test]
fn when_too_many_wait_the_next_is_asked_to_come_back() {
    Redress::test(|redress| {
        let server = with_merchants(redress, &[("REDRESS_INTAKE_QUEUE", "3")]);
        let held = hold(redress);
        std::thread::scope(|scope| {
            let mut sent = occupy(scope, redress, &server);
            for number in 0..3 {
                let server = &server;
                let claim = merchant_claim("m-1", &(1_000 + number).to_string());
                sent.push(scope.spawn(move || server.claim(&format!("k-{number}"), &claim)));
            }
            wait_until("the queue is full", || waiting(&server) == "3");
            let refused = server.claim("one-too-many", &merchant_claim("m-2", "1000"));
            refused.is_problem(503, "busy");
            assert_eq!(refused.header("retry-after"), "5");
            release(held);
            sent.into_iter().for_each(|answer| assert_eq!(answer.join().unwrap().status, 201));
        });
        assert_eq!(redress.number("SELECT count(*) FROM claim"), 4);
        assert_eq!(server.claim("one-too-many", &merchant_claim("m-2", "1000")).status, 201);
        assert_eq!(waiting(&server), "0");
        let mut wrong = redress.command(&["verify"]);
        let wrong = wrong.env("REDRESS_INTAKE_QUEUE", "0").output().unwrap();
        crate::harness::Ran::of(wrong, &["verify"]).fails(1, "intake_queue must be from 1 to");
    });
}

#[test]
fn a_client_that_goes_away_harms_nobody_and_finds_its_claim_when_it_asks_again() {
    Redress::test(|redress| {
        let server = with_merchants(redress, &[]);
        let held = hold(redress);
        let leaving = merchant_claim("m-1", "1000");
        std::thread::scope(|scope| {
            let mut sent = occupy(scope, redress, &server);
            let body = leaving.to_string();
            let mut gone = std::net::TcpStream::connect(server.url.strip_prefix("http://").unwrap()).unwrap();
            write!(
                gone,
                "POST /v1/claims HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nidempotency-key: gone\r\n\
                 content-length: {}\r\n\r\n{body}",
                body.len()
            )
            .unwrap();
            wait_until("it waits", || waiting(&server) == "1");
            drop(gone);
            let server = &server;
            sent.push(scope.spawn(move || server.claim("stays", &merchant_claim("m-2", "1000"))));
            wait_until("both wait", || waiting(server) == "2");
            release(held);
            sent.into_iter().for_each(|answer| assert_eq!(answer.join().unwrap().status, 201));
        });
        wait_until("it is filed", || redress.number("SELECT count(*) FROM claim WHERE customer_id = 'm-1'") == 1);
        let mut again = server.claim("gone", &leaving);
        while again.status == 409 {
            again = server.claim("gone", &leaving);
        }
        assert_eq!((again.status, again.header("idempotency-replayed")), (201, "true"));
        assert_eq!(redress.number("SELECT count(*) FROM claim"), 3);
    });
}

/// Kills a process with -9 when it is dropped, so that a test that fails ends too.
struct Strike(u32);

impl Drop for Strike {
    fn drop(&mut self) {
        crate::harness::signal(self.0, rustix::process::Signal::KILL);
    }
}

/// Commits are held up; a report comes; the server is killed and so is its transaction. Returns whether the report was acknowledged
/// and whether it is stored.
fn killed_before_the_commit(environment: &[(&str, &str)], is_acknowledged: bool) -> (bool, bool) {
    let mut found = (false, false);
    Redress::test(|redress| {
        let server = with_merchants(redress, environment);
        redress.sql(
            "CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS
                 'BEGIN PERFORM pg_advisory_xact_lock(4711); RETURN NULL; END';
             CREATE CONSTRAINT TRIGGER hold AFTER INSERT ON claim DEFERRABLE INITIALLY DEFERRED
                 FOR EACH ROW EXECUTE FUNCTION hold()",
        );
        let mut other = redress.owner();
        other.batch_execute("SELECT pg_advisory_lock(4711)").unwrap();
        let acknowledged = std::thread::scope(|scope| {
            let strike = Strike(server.pid());
            let answer = scope.spawn(|| server.try_claim("k", &merchant_claim("m-1", "1000")));
            wait_until("its commit stands still, and its answer has come or not", || {
                redress.waiting_for_locks() == 1 && answer.is_finished() == is_acknowledged
            });
            drop(strike);
            answer.join().unwrap().is_some_and(|answer| answer.status == 201)
        });
        // The database alone would still commit what it was told to.
        let waits = "wait_event_type = 'Lock' AND datname = current_database()";
        redress.sql(&format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {waits}"));
        wait_until("it is gone", || redress.waiting_for_locks() == 0);
        drop(other);
        redress.sql("DROP TRIGGER hold ON claim");
        found = (acknowledged, redress.number("SELECT count(*) FROM claim") == 1);
    });
    found
}

#[test]
fn nothing_is_acknowledged_before_its_commit_and_without_that_reports_are_lost() {
    assert_eq!(killed_before_the_commit(&[], false), (false, false), "no answer, no claim");
    // The control: answered before the commit, the report is acknowledged and lost.
    let control = killed_before_the_commit(&[(WITHOUT, "commit")], true);
    assert_eq!(control, (true, false), "this must lose, or the test shows nothing");
}

#[test]
fn a_line_that_the_database_refuses_spoils_no_other_line_of_its_file() {
    Redress::test(|redress| {
        let server = with_merchants(redress, &[]);
        redress.sql("ALTER TABLE claim ADD CONSTRAINT test_refuses CHECK (customer_id <> 'm-5')");
        let agent = redress.client(&server, "ann", "agent");
        let mut file = String::from("incident,service,customer,fact.loss\n");
        // The same loss twice: the second is merged into the first, though both stand in one file.
        for (customer, loss) in [("m-1", "1000"), ("m-5", "1000"), ("m-2", "2000"), ("m-1", "1000"), ("m-3", "much")] {
            file.push_str(&format!("{INCIDENT},kakaotalk,{customer},{loss}\n"));
        }
        let headers = [("content-type", "text/csv"), ("idempotency-key", "file")];
        let lines = agent.send("POST", "/v1/claims/file", &headers, file).json();
        let (claim, problem) = (|line: usize| &lines[line]["claim"], |line: usize| &lines[line]["problem"]["code"]);
        assert_eq!(claim(0)["status"], "approved", "{lines}");
        assert_eq!(*problem(1), "internal");
        assert_eq!(claim(2)["status"], "approved");
        assert_eq!(claim(3)["duplicate_of"]["reference"], claim(0)["reference"], "{lines}");
        assert_eq!(*problem(4), "invalid_request");
        assert_eq!(redress.number("SELECT count(*) FROM claim"), 3);
    });
}

#[test]
fn a_connection_that_went_between_two_batches_is_replaced_and_no_work_is_done_twice() {
    fn end(redress: &Redress, pid: i32) {
        redress.sql(&format!("SELECT pg_terminate_backend({pid})"));
        let left = format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}");
        wait_until("it is gone", || redress.number(&left) == 0);
    }
    fn own_pid(connection: &mut PgConnection) -> Result<i32, StoreError> {
        let pid = diesel::dsl::sql::<diesel::sql_types::Integer>("pg_backend_pid()");
        Ok(diesel::select(pid).get_result(connection)?)
    }
    Redress::test(|redress| {
        let store = Store::connect(redress.url(), 2).unwrap();
        let mut session = store.session();
        let first = session.read(own_pid).unwrap();
        assert_eq!(session.write(own_pid).unwrap(), first, "it is kept");
        end(redress, first);
        let second = session.read(own_pid).unwrap();
        assert_ne!(second, first);
        // What writes on one that goes may have done some of it: that is the caller's to know.
        let mut done = 0;
        let failed = session.write(|connection| {
            done += 1;
            end(redress, second);
            own_pid(connection)
        });
        assert!(failed.is_err() && done == 1, "{failed:?} {done}");
        assert_ne!(session.read(own_pid).unwrap(), second);
    });
}
