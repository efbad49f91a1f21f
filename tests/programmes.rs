//! Caps over everybody: what is reversed is room for others, once, whoever counts at the same moment.

use diesel::connection::SimpleConnection;

use crate::harness::{INCIDENT, Ran, Redress, wait_until};
use crate::runs::meanwhile;

/// Publishes and approves a policy that grants each account five stickers, with a cap (none: empty).
fn publish(redress: &Redress, cap: &str) {
    let policy = format!(
        r#"
policy = "first-come"
incident = "{INCIDENT}"
service = "kakaotalk"
basis = "automatic"
title = {{ ko = "선착순", en = "First come" }}
[[rule]]
otherwise = true
award = [{{ asset = "item:sticker", amount = 5 }}]
{cap}"#
    );
    let file = redress.file("first-come.toml", policy);
    redress.run(&["policy", "publish", &file, "--as", "author"]).succeeds();
    redress.run(&["policy", "approve", &file, "--as", "approver"]).succeeds();
}

fn cap(limit: &str) -> String {
    format!("[[cap]]\nper = \"programme\"\nasset = \"item:sticker\"\n{limit}\n")
}

/// An installation with this cap, where each customer has so many accounts.
fn prepared(redress: &Redress, limit: &str, customers: u32, accounts: u32) {
    redress.with_incident().with_staff();
    publish(redress, limit);
    let mut roster = String::from("customer,service,reference,kind\n");
    for customer in 0..customers {
        (0..accounts).for_each(|account| roster.push_str(&format!("c-{customer:05},kakaotalk,a-{account},account\n")));
    }
    let roster = redress.file("roster.csv", roster);
    redress.run(&["roster", "import", &roster, "--incident", INCIDENT]).succeeds();
    redress.with_budget("kakaotalk", "item:sticker", "1000000");
}

/// Takers and stickers, as the programme has counted them.
fn used(redress: &Redress) -> String {
    redress.text("SELECT coalesce(string_agg(takers || ' ' || amount, ';'), 'none') FROM programme_use")
}

/// The credits of a customer, by the accounts they are for.
fn credits(redress: &Redress, customer: &str) -> Vec<String> {
    let list = "SELECT coalesce(string_agg(id::text, ' ' ORDER BY subject, amount), '') FROM transfer WHERE code = 2";
    let all = redress.text(&format!("{list} AND customer_id = '{customer}'"));
    all.split_whitespace().map(str::to_owned).collect()
}

fn reverse(redress: &Redress, customer: &str, ids: &[&str], more: &[&str]) -> Ran {
    let args = ["credit", "reverse", "--as", "finance", "--reason", "credited-in-error", "--customer", customer];
    redress.run(&[&args, ids, more].concat())
}

#[test]
fn a_reversed_place_is_free_for_others_once() {
    Redress::test(|redress| {
        prepared(redress, &cap("takers = 2"), 5, 1);
        assert_eq!(redress.issue()["issued"], 2);
        assert_eq!(used(redress), "2 10");
        let [first] = &credits(redress, "c-00000")[..] else { panic!("one credit") };
        // What the service has granted is not free; taking the delivery back changes nothing either.
        let file = redress.file("delivered.csv", format!("customer,credit\nc-00000,{first}\n"));
        redress.run(&["credit", "deliver", &file]).succeeds();
        reverse(redress, "c-00000", &[first], &[]).fails(1, "credit_nothing_owed");
        let delivery = redress.text("SELECT transfer_id FROM credit_movement");
        reverse(redress, "c-00000", &[&delivery], &[]).succeeds();
        assert_eq!(used(redress), "2 10");
        assert_eq!(redress.issue()["issued"], 0);
        reverse(redress, "c-00000", &[first], &[]).succeeds();
        reverse(redress, "c-00000", &[first], &[]).fails(1, "transfer_reversed_already");
        assert_eq!(used(redress), "1 5");
        // The place goes to somebody else: what was reversed is not issued again by itself.
        assert_eq!(redress.issue()["issued"], 1);
        assert_eq!((used(redress).as_str(), credits(redress, "c-00002").len()), ("2 10", 1));
        assert_eq!(redress.issue()["issued"], 0);
        // A part leaves the place where it is.
        let [second] = &credits(redress, "c-00001")[..] else { panic!("one credit") };
        reverse(redress, "c-00001", &[second], &["--amount", "4"]).succeeds();
        assert_eq!(used(redress), "2 6");
        assert_eq!(redress.issue()["issued"], 0);
        for (damage, repair) in [("takers = takers + 1", "takers = takers - 1"), ("amount = 7", "amount = 6")] {
            redress.sql(&format!("UPDATE programme_use SET {damage}"));
            let ran = redress.run(&["verify"]).fails(1, "");
            assert!(ran.stdout.contains("policy first-come, asset item:sticker: programme_use says"), "{}", ran.stdout);
            redress.sql(&format!("UPDATE programme_use SET {repair}"));
        }
    });
}

#[test]
fn an_amount_that_is_reversed_is_room_for_others() {
    Redress::test(|redress| {
        prepared(redress, &cap("at_most = 12"), 5, 1);
        // Five, five, and the two that are left.
        assert_eq!(redress.issue()["issued"], 3);
        let [first] = &credits(redress, "c-00000")[..] else { panic!("one credit") };
        reverse(redress, "c-00000", &[first], &["--amount", "4"]).succeeds();
        assert_eq!(used(redress), "3 8");
        // Three are still due to the third, and one is left for the fourth.
        assert_eq!(redress.issue()["issued"], 2);
        assert_eq!(used(redress), "4 12");
        assert_eq!(redress.issue()["issued"], 0);
    });
}

#[test]
fn of_two_who_reverse_the_last_two_credits_of_a_customer_one_frees_the_place() {
    Redress::test(|redress| {
        prepared(redress, &cap("takers = 1"), 2, 2);
        assert_eq!(redress.issue()["issued"], 2);
        assert_eq!(used(redress), "1 10");
        let both = credits(redress, "c-00000");
        let mut other = redress.owner();
        other.batch_execute("BEGIN; SELECT * FROM programme_use FOR UPDATE").unwrap();
        std::thread::scope(|scope| {
            let threads: Vec<_> =
                both.iter().map(|id| scope.spawn(|| reverse(redress, "c-00000", &[id.as_str()], &[]))).collect();
            wait_until("both wait", || redress.waiting_for_locks() == 2);
            other.batch_execute("ROLLBACK").unwrap();
            threads.into_iter().for_each(|thread| drop(thread.join().unwrap().succeeds()));
        });
        assert_eq!(used(redress), "0 0");
        assert_eq!(redress.issue()["issued"], 2);
        assert_eq!((used(redress).as_str(), credits(redress, "c-00001").len()), ("1 10", 2));
        // Both at once by one batch are one place as well.
        let both = credits(redress, "c-00001");
        reverse(redress, "c-00001", &[&both[0], &both[1]], &[]).succeeds();
        assert_eq!(used(redress), "0 0");
    });
}

#[test]
fn what_is_reversed_while_a_batch_runs_is_neither_lost_nor_counted_twice() {
    Redress::test(|redress| {
        prepared(redress, &cap("takers = 3_000"), 20_000, 1);
        assert_eq!(redress.issue()["issued"], 3_000);
        // Thirty places come free, some before and some while two processes with four workers each look for takers.
        let takers =
            redress.text("SELECT string_agg(customer_id, ' ' ORDER BY customer_id) FROM transfer WHERE code = 2");
        let customers: Vec<String> = takers.split(' ').step_by(100).map(str::to_owned).collect();
        let (before, meanwhile) = customers.split_at(10);
        let back = |customer: &String| {
            let [credit] = &credits(redress, customer)[..] else { panic!("{customer} has one credit") };
            reverse(redress, customer, &[credit], &[]).succeeds();
        };
        before.iter().for_each(back);
        std::thread::scope(|scope| {
            let runs: Vec<_> = (0..2)
                .map(|_| scope.spawn(|| redress.json(&["issue", "--incident", INCIDENT, "--workers", "4"])))
                .collect();
            meanwhile.iter().for_each(back);
            runs.into_iter().for_each(|run| drop(run.join().unwrap()));
        });
        redress.run(&["verify"]).succeeds();
        // What the runs did not see the next one grants.
        redress.issue();
        assert_eq!(used(redress), "3000 15000");
        assert_eq!(redress.issue()["issued"], 0);
        let held = "SELECT count(*) FROM transfer AS t WHERE code = 2 AND NOT EXISTS (
                        SELECT FROM credit_movement AS m WHERE m.customer_id = t.customer_id AND m.original_id = t.id)";
        assert_eq!(redress.number(held), 3_000);
    });
}

#[test]
fn a_version_that_brings_a_cap_counts_what_was_had_before_and_one_without_counts_nothing() {
    Redress::test(|redress| {
        prepared(redress, "", 3, 1);
        assert_eq!((redress.issue()["issued"].as_u64(), used(redress).as_str()), (Some(3), "none"));
        let [first] = &credits(redress, "c-00000")[..] else { panic!("one credit") };
        reverse(redress, "c-00000", &[first], &[]).succeeds();
        publish(redress, &cap("takers = 4"));
        assert_eq!(used(redress), "2 10");
        let more: String = (3..9).map(|number| format!("c-{number:05},kakaotalk,a-0,account\n")).collect();
        let roster = redress.file("more.csv", format!("customer,service,reference,kind\n{more}"));
        redress.run(&["roster", "import", &roster, "--incident", INCIDENT]).succeeds();
        assert_eq!(redress.issue()["issued"], 2);
        assert_eq!(used(redress), "4 20");
        publish(redress, "[[cap]]\nper = \"customer\"\nasset = \"item:sticker\"\nat_most = 5\n");
        assert_eq!(used(redress), "none");
        assert_eq!(redress.issue()["issued"], 4);
    });
}

#[test]
fn two_caps_over_everybody_on_one_asset_count_once_and_both_hold() {
    Redress::test(|redress| {
        let takers = cap("name = \"three-people\"\ntakers = 3");
        let sum = cap("name = \"twelve-in-all\"\nat_most = 12");
        prepared(redress, &format!("{takers}{sum}"), 6, 1);
        assert_eq!(redress.issue()["issued"], 3, "five, five and two");
        assert_eq!(used(redress), "3 12");
        assert_eq!(redress.issue()["issued"], 0);
        assert_eq!(used(redress), "3 12");
    });
}

#[test]
fn a_version_that_comes_into_force_while_a_run_goes_on_holds_for_the_chunks_that_are_left() {
    Redress::test(|redress| {
        prepared(redress, "", 45_000, 1);
        let report = meanwhile(redress, &[], || publish(redress, &cap("takers = 30_000"))).succeeds().json();
        assert_eq!((report["state"].as_str(), report["issued"].as_u64()), (Some("done"), Some(30_000)), "{report}");
        assert_eq!(used(redress), "30000 150000");
        assert_eq!(redress.number("SELECT count(DISTINCT policy_version_id) FROM transfer WHERE code = 2"), 2);
        redress.run(&["verify"]).succeeds();
    });
}

#[test]
fn a_reversal_and_a_chunk_wait_for_each_other_and_never_in_a_ring() {
    Redress::test(|redress| {
        prepared(redress, &cap("takers = 10"), 2, 1);
        assert_eq!(redress.issue()["issued"], 2);
        let [first] = &credits(redress, "c-00000")[..] else { panic!("one credit") };
        let roster = redress.file("more.csv", "customer,service,reference,kind\nc-00009,kakaotalk,a-0,account\n");
        redress.run(&["roster", "import", &roster, "--incident", INCIDENT]).succeeds();
        let mut other = redress.owner();
        other.batch_execute("BEGIN; SELECT * FROM budget FOR UPDATE").unwrap();
        std::thread::scope(|scope| {
            let back = scope.spawn(|| reverse(redress, "c-00000", &[first], &[]).succeeds());
            wait_until("the reversal waits", || redress.waiting_for_locks() == 1);
            let run = scope.spawn(|| redress.issue());
            wait_until("the run waits", || redress.waiting_for_locks() == 2);
            other.batch_execute("ROLLBACK").unwrap();
            back.join().unwrap();
            assert_eq!(run.join().unwrap()["issued"], 1);
        });
        assert_eq!(used(redress), "2 10");
        redress.sql("SELECT pg_stat_force_next_flush()");
        assert_eq!(redress.number("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"), 0);
    });
}

#[test]
fn of_two_who_approve_a_version_at_once_one_does() {
    Redress::test(|redress| {
        prepared(redress, "", 10, 1);
        let changed = std::fs::read_to_string(redress.folder.path().join("first-come.toml")).unwrap();
        let file = redress.file("first-come.toml", changed.replace("amount = 5", "amount = 6"));
        redress.run(&["policy", "publish", &file, "--as", "author"]).succeeds();
        let approvals: Vec<Ran> = std::thread::scope(|scope| {
            // Both wait for the chunk that is under way.
            let mut other = redress.owner();
            other.batch_execute("BEGIN; SELECT * FROM budget FOR UPDATE").unwrap();
            let run = scope.spawn(|| redress.json(&["issue", "--incident", INCIDENT]));
            wait_until("the run waits", || redress.waiting_for_locks() == 1);
            let approve = || redress.run(&["policy", "approve", &file, "--as", "approver"]);
            let approvals: Vec<_> = (0..2).map(|_| scope.spawn(approve)).collect();
            wait_until("both approvals wait", || redress.waiting_for_locks() == 3);
            other.batch_execute("ROLLBACK").unwrap();
            run.join().unwrap();
            approvals.into_iter().map(|approval| approval.join().unwrap()).collect()
        });
        assert_eq!(approvals.iter().filter(|ran| ran.code == Some(0)).count(), 1);
        let refused = approvals.into_iter().find(|ran| ran.code != Some(0)).unwrap();
        refused.refuses("was approved before");
        assert_eq!(redress.issue()["issued"], 10, "one more for each: the version is in force");
    });
}
