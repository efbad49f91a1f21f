//! Answers about the past, while others write and while others hold locks.

use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use serde_json::Value;

use super::{balance, credit, credited, import, publish, record, reverse};
use crate::harness::{INCIDENT, Redress};

#[test]
fn a_group_has_totals_and_a_name_is_no_prefix_of_another() {
    Redress::test(|redress| {
        credited(redress, &[("a", "h", "10.00")]);
        redress.with_budget("kakaotalk", "KRW", "5000").with_budget("melon", "day:melon", "7");
        let group = redress.json(&["ledger", "balance", "provision/kakao-2022-10-15"]);
        assert_eq!(group["balances"].as_array().unwrap().len(), 3, "{group}");
        let totals: Vec<_> = group["totals"].as_array().unwrap().iter().map(|t| (&t["asset"], &t["balance"])).collect();
        assert_eq!(format!("{totals:?}").matches("String").count(), 6, "{group}");
        assert_eq!(redress.json(&["ledger", "balance", "provision/"])["totals"], group["totals"]);
        assert_eq!(balance(redress, "provision/kakao-2022-10-15/melon/day:melon"), "7");
        redress.run(&["ledger", "balance", "prov"]).fails(1, "no account is named");
        redress.run(&["ledger", "balance", "provision/kakao"]).fails(1, "no account is named");
        for total in redress.json(&["ledger", "balance", ""])["totals"].as_array().unwrap() {
            assert!(total["balance"].as_str().unwrap().chars().all(|c| "0.".contains(c)), "{total}");
        }
        redress.run(&["ledger", "balance", "owed", "--at", "2999-01-01T00:00:00Z"]).fails(2, "future");
        redress.run(&["report", "liability", "--at", "2999-01-01T00:00:00Z"]).fails(2, "future");
        let long_ago = redress.json(&["ledger", "balance", "owed/GBP", "--at", "2022-10-15T00:00:00Z"]);
        assert_eq!(long_ago["balances"][0]["balance"], "0.00");
        // A group at an instant is what it was: its accounts and its totals, whatever came since.
        let at = group["at"].as_str().unwrap();
        redress.with_budget("melon", "GBP", "3.00").with_budget("kakaotalk", "KRW", "1");
        reverse(redress, &[&credit(redress, "a")], &["--amount", "4.00"]).succeeds();
        for name in ["provision/kakao-2022-10-15", "provision/kakao-2022-10-15/melon", "owed"] {
            let (then, now) =
                (redress.json(&["ledger", "balance", name, "--at", at]), redress.json(&["ledger", "balance", name]));
            assert_ne!(then["totals"], now["totals"], "{name}");
            let pence = |one: &Value| one["balance"].as_str().unwrap().replace('.', "").parse::<i64>().unwrap();
            let of_pounds = |list: &str| -> i64 {
                let all = then[list].as_array().unwrap().iter();
                all.filter(|one| one["asset"] == "GBP").map(pence).sum()
            };
            assert_eq!(of_pounds("balances"), of_pounds("totals"), "{then}");
        }
        assert_eq!(redress.json(&["ledger", "balance", "provision/kakao-2022-10-15", "--at", at]), group);
    });
}

/// facts.md §4: "deleting metadata rewrote point-in-time reads".
#[test]
fn an_answer_about_the_past_is_never_rewritten() {
    Redress::test(|redress| {
        credited(redress, &[("a", "h", "10.00"), ("b", "h", "5.00")]);
        let ask = |at: Option<&str>| {
            let at: Vec<&str> = at.into_iter().flat_map(|at| ["--at", at]).collect();
            redress.json(&[&["ledger", "balance", ""], &at[..]].concat())
        };
        let liability = |at: &str| redress.json(&["report", "liability", "--at", at]);
        let mut answers: Vec<(Value, Value)> = Vec::new();
        let mut note = || {
            let answer = ask(None);
            let at = answer["at"].as_str().unwrap().to_owned();
            let owed = liability(&at);
            answers.push((answer, owed));
        };
        note();
        record(redress, "deliver", &format!("a,{},3.00,,\n", credit(redress, "a"))).succeeds();
        note();
        reverse(redress, &[&credit(redress, "b")], &[]).succeeds();
        note();
        publish(redress, 3);
        redress.issue();
        note();
        // What the names mean cannot be changed by the server, nor deleted; what may change changes no answer.
        for change in [
            "UPDATE account SET name = 'x'",
            "DELETE FROM account",
            "UPDATE asset SET scale = 0",
            "UPDATE posting SET recorded_at = now()",
            "DELETE FROM policy_version",
            "DELETE FROM policy",
        ] {
            assert!(redress.sql_as_app(change).unwrap_err().contains("permission denied"), "{change}");
        }
        redress.sql_as_app("DELETE FROM holding; DELETE FROM personal; DELETE FROM claim; DELETE FROM notice").unwrap();
        for (answer, owed) in &answers {
            let at = answer["at"].as_str().unwrap();
            let mut again = ask(Some(at));
            // An account that was opened since had nothing then.
            let known: Vec<&Value> = answer["balances"].as_array().unwrap().iter().collect();
            again["balances"]
                .as_array_mut()
                .unwrap()
                .retain(|balance| known.contains(&balance) || balance["balance"] != "0.00");
            assert_eq!(again["balances"], answer["balances"]);
            assert_eq!(&liability(at), owed);
        }
    });
}

/// facts.md §4: "every issue debits one payer account: row locks on it stop everything".
#[test]
fn a_lock_on_the_payers_row_does_not_stop_everything() {
    Redress::test(|redress| {
        credited(redress, &[("a", "h", "10.00"), ("b", "h", "5.00"), ("c", "h", "1.00")]);
        redress.with_policies(&["mobility-pro"]).with_budget("mobility-pro", "points:mobility", "100000");
        let ids = ["a", "b", "c"].map(|customer| credit(redress, customer));
        import(redress, &[("d", "h", "2.00")]);
        std::thread::scope(|scope| {
            // It ends with this scope, so that a failure here leaves nobody waiting for it.
            let mut stuck = redress.owner();
            stuck.batch_execute("BEGIN; UPDATE budget SET spent = spent WHERE spent > 0").unwrap();
            // These need the payer's row, and wait for it: a run, and a reversal into it.
            let run = scope.spawn(|| redress.json(&["issue", "--incident", INCIDENT, "--policy", "grant"]));
            let reversal = scope.spawn(|| reverse(redress, &[&ids[2]], &[]).succeeds());
            crate::harness::wait_until("both wait for the budget", || redress.waiting_for_locks() == 2);
            // These do not, and answer at once.
            let begun = Instant::now();
            assert_eq!(balance(redress, "owed/GBP"), "16.00");
            record(redress, "deliver", &format!("a,{},,,\n", ids[0])).succeeds();
            record(redress, "expire", &format!("b,{},,,\n", ids[1])).succeeds();
            assert_eq!(balance(redress, "owed/GBP"), "1.00");
            redress.with_budget("kakaotalk", "KRW", "100");
            redress.run(&["report", "liability"]).succeeds();
            redress.run(&["ledger", "export"]).succeeds();
            redress.run(&["verify"]).succeeds();
            assert!(begun.elapsed() < Duration::from_secs(30) && !run.is_finished() && !reversal.is_finished());
            stuck.batch_execute("COMMIT").unwrap();
            assert_eq!(run.join().unwrap()["issued"], 1);
            reversal.join().unwrap();
        });
        assert_eq!(balance(redress, "owed/GBP"), "2.00");
    });
}

#[test]
fn a_posting_that_has_its_time_and_is_not_committed_yet_is_waited_for() {
    Redress::test(|redress| {
        credited(redress, &[("a", "h", "10.00")]);
        let id = credit(redress, "a");
        // Between its time and its commit a posting stands still for a second: far longer than it ever does.
        redress.sql(
            "CREATE FUNCTION stand_still() RETURNS trigger LANGUAGE plpgsql AS $$
                 BEGIN PERFORM pg_sleep(1); RETURN NULL; END $$;
             CREATE TRIGGER stand_still AFTER INSERT ON posting FOR EACH ROW EXECUTE FUNCTION stand_still()",
        );
        std::thread::scope(|scope| {
            let delivery = scope.spawn(|| record(redress, "deliver", &format!("a,{id},4.00,,\n")).succeeds());
            let stands =
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()";
            crate::harness::wait_until("the posting has its time", || redress.number(stands) == 1);
            let answers =
                ["owed/GBP", "", "delivered/melon"].map(|group| (group, redress.json(&["ledger", "balance", group])));
            let exported = redress.run(&["ledger", "export"]).succeeds().stdout;
            delivery.join().unwrap();
            for (group, answer) in answers {
                let again = redress.json(&["ledger", "balance", group, "--at", answer["at"].as_str().unwrap()]);
                assert_eq!(again, answer);
            }
            assert_eq!(balance(redress, "owed/GBP"), "6.00");
            assert!(exported.contains(",deliver,"), "{exported}");
        });
    });
}
