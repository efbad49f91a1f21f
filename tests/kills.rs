//! The batch job killed with -9, at every point of a chunk's life and at a hundred random instants: what comes out is, id
//! by id, what an undisturbed run issues. And what it takes to break that.

use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use redress_store::failpoint::{CRASH_AT, Point, WITHOUT};

use crate::harness::{INCIDENT, Ran, Random, Redress};

const ISSUE: [&str; 5] = ["issue", "--incident", INCIDENT, "--format", "json"];
/// Enough for several chunks.
const CUSTOMERS: u32 = 11_000;
/// How many kills at random instants.
const KILLS: u32 = 100;

/// An installation that owes each customer of Melon three days; every tenth also 1,500 of cash.
pub(crate) fn ready_to_issue(redress: &Redress, customers: u32) {
    redress.with_incident().with_staff().with_policies(&["melon"]);
    redress.with_budget("melon", "day:melon", "100000").with_budget("melon", "cash:melon", "10000000");
    let mut roster = String::from("customer,service,reference,kind,channel\n");
    for number in 0..customers {
        roster.push_str(&format!("s-{number:05},melon,sub,subscription,web\n"));
        if number % 10 == 0 {
            roster.push_str(&format!("s-{number:05},melon,app,subscription,app_store\n"));
        }
    }
    let roster = redress.file("roster.csv", roster);
    redress.run(&["roster", "import", &roster, "--incident", INCIDENT]).succeeds();
}

/// Every credit, id by id: how many, and a fingerprint of all.
fn credits(redress: &Redress) -> (i64, String) {
    let rows = "concat_ws(' ', customer_id, id, asset_id, amount, subject, debit_account, credit_account)";
    let all = redress.text(&format!(
        "SELECT md5(coalesce(string_agg({rows}, E'\\n' ORDER BY customer_id, id), '')) FROM transfer WHERE code = 2"
    ));
    (redress.number("SELECT count(*) FROM transfer WHERE code = 2"), all)
}

/// What must hold at any instant, whatever was killed: chunks are whole, and budgets say what was issued.
fn assert_whole(redress: &Redress) {
    let issued = redress.number("SELECT count(*) FROM transfer WHERE code = 2");
    assert_eq!(redress.number("SELECT coalesce(sum((tally ->> 'credits')::bigint), 0) FROM run_chunk"), issued);
    assert_eq!(
        redress.number("SELECT sum(spent) FROM budget"),
        redress.number("SELECT coalesce(sum(amount), 0) FROM transfer WHERE code = 2")
    );
}

#[test]
fn killed_at_every_point_of_a_chunks_life_the_next_run_comes_to_the_same_credits() {
    Redress::test(|redress| {
        ready_to_issue(redress, CUSTOMERS);
        let undisturbed = redress.copy();
        assert_eq!(undisturbed.issue()["issued"], u64::from(CUSTOMERS + CUSTOMERS / 10));
        let expected = credits(&undisturbed);
        // The first time it is reached and the second, in another chunk.
        let cases: Vec<(Point, u32)> = Point::ALL.iter().flat_map(|point| [(*point, 1), (*point, 2)]).collect();
        let left = Mutex::new(cases.into_iter());
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    loop {
                        let Some((point, time)) = left.lock().unwrap().next() else { break };
                        let case = format!("{}:{time}", point.as_str());
                        let copy = redress.copy();
                        let mut run = copy.command(&ISSUE);
                        let ran = run.args(["--workers", "1"]).env(CRASH_AT, &case).output().unwrap();
                        let once = matches!(point, Point::Opened | Point::Closing);
                        let killed = ran.status.signal() == Some(9);
                        assert_eq!(killed, time == 1 || !once, "{case}: {:?}", ran.status);
                        assert_whole(&copy);
                        let rest = copy.issue();
                        assert_eq!(credits(&copy), expected, "{case}");
                        let resumed = rest["resumed"] == true;
                        assert_eq!(resumed, killed, "{case}: a run that was killed is gone on with");
                        copy.assert_settled();
                    }
                });
            }
        });
    });
}

#[test]
fn killed_at_a_hundred_random_instants_no_credit_is_lost_and_none_is_doubled() {
    let random = Mutex::new(Random::new("killed_at_a_hundred_random_instants"));
    Redress::test(|redress| {
        ready_to_issue(redress, CUSTOMERS);
        let undisturbed = redress.copy();
        let started = Instant::now();
        undisturbed.issue();
        let usual = u64::try_from(started.elapsed().as_micros()).unwrap();
        let expected = credits(&undisturbed);
        let kills = Mutex::new((0, 0, 0));
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while kills.lock().unwrap().0 < KILLS {
                        let copy = redress.copy();
                        let mut killed = true;
                        while killed && kills.lock().unwrap().0 < KILLS {
                            let mut run = copy.command(&ISSUE);
                            let mut run = run.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
                            std::thread::sleep(Duration::from_micros(random.lock().unwrap().below(usual)));
                            killed = run.try_wait().unwrap().is_none();
                            run.kill().unwrap();
                            run.wait().unwrap();
                            let issued = credits(&copy).0;
                            let mut counts = kills.lock().unwrap();
                            counts.0 += u32::from(killed);
                            counts.1 += u32::from(killed && issued > 0 && issued < expected.0);
                        }
                        copy.issue();
                        assert_eq!(credits(&copy), expected);
                        assert_whole(&copy);
                        copy.run(&["verify"]).succeeds();
                        kills.lock().unwrap().2 += 1;
                    }
                });
            }
        });
        let (all, amid, runs) = kills.into_inner().unwrap();
        println!("{all} kills over {runs} runs, {amid} of them with some chunks done and others not");
        assert!(amid > 0, "no kill met a run in its midst");
    });
}

/// A run dies after its only chunk is committed; the mark that says so is lost, and so is, for the next run, what was
/// credited before. Returns what the next run said.
fn pay_again(redress: &Redress, key: &str) -> Ran {
    let mut run = redress.command(&ISSUE);
    let died = run.env(CRASH_AT, "committed").env(WITHOUT, format!("mark{key}")).output().unwrap();
    assert_eq!(died.status.signal(), Some(9));
    let mut again = redress.command(&ISSUE);
    Ran::of(again.env(WITHOUT, format!("memory{key}")).output().unwrap(), &ISSUE)
}

#[test]
fn when_all_else_fails_the_derived_key_alone_keeps_credits_from_being_doubled() {
    Redress::test(|redress| {
        ready_to_issue(redress, 500);
        let expected = {
            let undisturbed = redress.copy();
            undisturbed.issue();
            credits(&undisturbed)
        };
        assert_eq!(expected.0, 550);
        let with_key = redress.copy();
        pay_again(&with_key, "").fails(1, "this credit is issued already");
        assert_eq!(credits(&with_key), expected);
        // The control: with random ids the same doubles every credit, so the key is what held; and verification sees it.
        let without_key = redress.copy();
        pay_again(&without_key, ",key").succeeds();
        assert_eq!(credits(&without_key).0, 2 * expected.0, "random ids must double, or this test shows nothing");
        let seen = without_key.run(&["verify"]).fails(1, "").stdout;
        assert!(seen.contains("FAIL every credit's id follows from what it is for"), "{seen}");
    });
}
