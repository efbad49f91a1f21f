//! Giving back what a budget has left: by two people, never more than is left, whoever takes from it at the same moment.

use diesel::connection::SimpleConnection;

use super::{PROVISION, balance, books, credit, credited, reverse};
use crate::harness::{INCIDENT, Ran, Redress, wait_until};

const EXPENSE: &str = "expense/kakao-2022-10-15/melon/GBP";

fn budget(redress: &Redress, asset: &str, verb: &[&str], amount: &str, by: &str) -> Ran {
    let of = ["--incident", INCIDENT, "--service", "melon", "--asset", asset, "--amount", amount, "--as", by];
    redress.run(&[["budget"].as_slice(), verb, &of].concat())
}

#[test]
fn what_is_left_of_a_budget_is_given_back_by_two_people_and_all_books_say_so() {
    Redress::test(|redress| {
        credited(redress, &[("a", "h", "10.00"), ("b", "h", "5.00")]);
        let act = |verb: &[&str], amount: &str, by: &str| budget(redress, "GBP", verb, amount, by);
        let then = redress.json(&["ledger", "balance", ""]);
        act(&["release"], "985.01", "finance").refuses("less than 985.01 GBP is left of the budget of melon");
        act(&["release"], "500.00", "author").refuses("may not do this");
        let before = books(redress);
        act(&["release"], "500.00", "finance").succeeds();
        assert_eq!(books(redress), before, "a request moves nothing");
        act(&["approve", "--release"], "500.00", "finance").refuses("whoever asked for it may not approve it");
        // A release is not approved by somebody who means to approve an amount.
        act(&["approve"], "500.00", "finance-2").refuses("nobody has authorised 500.00 GBP");
        act(&["approve", "--release"], "499.00", "finance-2").refuses("nobody has asked to release 499.00 GBP");
        act(&["approve", "--release"], "500.00", "finance-2").succeeds();
        act(&["approve", "--release"], "500.00", "finance-2").refuses("nobody has asked to release");
        assert_eq!((balance(redress, PROVISION), balance(redress, EXPENSE)), ("485.00".into(), "-500.00".into()));
        let of_budget = || redress.json(&["report", "exposure"])["incidents"][0]["budgets"][0].clone();
        let shown = ["approved", "released", "issued", "left"].map(|figure| of_budget()[figure].clone());
        assert_eq!(shown, ["1000.00", "500.00", "15.00", "485.00"]);
        // What is reversed afterwards can be given back as well, to the last penny, and then nothing can be issued.
        reverse(redress, &[&credit(redress, "a")], &[]).succeeds();
        act(&["release"], "495.00", "finance-2").succeeds();
        act(&["release"], "495.00", "finance-2").succeeds();
        act(&["approve", "--release"], "495.00", "finance").succeeds();
        act(&["approve", "--release"], "495.00", "finance").refuses("less than 495.00 GBP is left");
        act(&["reject", "--release"], "495.00", "finance").succeeds();
        act(&["approve", "--release"], "495.00", "finance").refuses("nobody has asked to release");
        assert_eq!(of_budget()["left"], "0.00");
        super::import(redress, &[("c", "h", "0.01")]);
        redress.run(&["issue", "--incident", INCIDENT]).fails(1, "");
        let text = redress.run(&["report", "exposure"]).succeeds().stdout;
        assert!(text.contains("given back") && text.contains("995.00"), "{text}");
        // The past is what it was, and the liability of customers is none of the budget's.
        assert_eq!(redress.json(&["ledger", "balance", "", "--at", then["at"].as_str().unwrap()]), then);
        assert_eq!(redress.json(&["report", "liability"])["incidents"][0]["lines"][0]["owed"]["amount"], "5.00");
        let actions =
            "SELECT string_agg(action || ' ' || actor, ', ' ORDER BY id) FROM audit WHERE action LIKE '%release'";
        assert_eq!(
            redress.text(actions),
            "budget.release finance, budget.approve-release finance-2, budget.release finance-2, \
             budget.release finance-2, budget.approve-release finance, budget.reject-release finance"
        );
        let export = redress.run(&["ledger", "export"]).succeeds().stdout;
        assert!(export.contains(&format!(",release,{PROVISION},{EXPENSE},GBP,500.00,")), "{export}");
    });
}

#[test]
fn the_database_itself_refuses_to_give_back_what_is_spent_or_alone() {
    Redress::test(|redress| {
        credited(redress, &[("a", "h", "10.00")]);
        budget(redress, "GBP", &["release"], "1.00", "finance").succeeds();
        for (change, says) in [
            ("UPDATE budget SET approved = spent - 1", "budget_never_negative"),
            (
                "UPDATE budget_request SET approved_by = 'finance', approved_at = now() WHERE kind = 'release'",
                "budget_request_four_eyes",
            ),
            ("UPDATE budget_request SET kind = 'authorise'", "permission denied"),
            (
                "INSERT INTO budget_request (budget_id, kind, amount, authorised_by, authorised_at)
                 SELECT id, 'gift', 1, 'finance', now() FROM budget",
                "budget_request_kind_known",
            ),
        ] {
            let refused = redress.sql_as_app(change).unwrap_err();
            assert!(refused.contains(says), "{change}\n{refused}");
        }
        // A counter that was lowered without a transfer, and an approval without one, are found.
        for (damage, repair, says) in [
            ("UPDATE budget SET approved = approved - 1", "UPDATE budget SET approved = approved + 1", "it says 99999"),
            (
                "UPDATE budget_request SET approved_by = 'finance-2', approved_at = now() WHERE kind = 'release'",
                "UPDATE budget_request SET approved_by = NULL, approved_at = NULL WHERE kind = 'release'",
                "(release 100, approved: t): the ledger has",
            ),
        ] {
            redress.sql(damage);
            let ran = redress.run(&["verify"]).fails(1, "");
            assert!(ran.stdout.contains(says), "{damage}\n{}", ran.stdout);
            redress.sql(repair);
        }
    });
}

#[test]
fn a_release_and_a_running_batch_never_take_the_same_money() {
    Redress::test(|redress| {
        redress.with_incident().with_staff().with_policies(&["melon"]).with_budget("melon", "day:melon", "60000");
        let mut roster = String::from("customer,service,reference,kind,channel\n");
        (0..20_000).for_each(|number| roster.push_str(&format!("s-{number:05},melon,sub,subscription,web\n")));
        let roster = redress.file("roster.csv", roster);
        redress.run(&["roster", "import", &roster, "--incident", INCIDENT]).succeeds();
        let release = |verb: &[&str], amount: &str, by: &str| budget(redress, "day:melon", verb, amount, by);
        // All of it is left when both are asked for.
        release(&["release"], "59999", "finance").succeeds();
        release(&["release"], "30000", "finance").succeeds();
        let mut other = redress.owner();
        other.batch_execute("BEGIN; SELECT * FROM budget FOR UPDATE").unwrap();
        std::thread::scope(|scope| {
            let run = scope.spawn(|| redress.run(&["issue", "--incident", INCIDENT, "--workers", "1"]));
            wait_until("the batch is at the budget", || redress.waiting_for_locks() == 1);
            let too_much = scope.spawn(|| release(&["approve", "--release"], "59999", "finance-2"));
            wait_until("the release is at the budget", || redress.waiting_for_locks() == 2);
            let fits = scope.spawn(|| release(&["approve", "--release"], "30000", "finance-2"));
            wait_until("both releases are at the budget", || redress.waiting_for_locks() == 3);
            other.batch_execute("ROLLBACK").unwrap();
            // The batch came first: what it takes cannot be given back; what is given back it cannot take.
            too_much.join().unwrap().refuses("less than 59999 day:melon is left");
            let (run, fits) = (run.join().unwrap(), fits.join().unwrap());
            let issued = redress.number("SELECT coalesce(sum(amount), 0) FROM transfer WHERE code = 2");
            match fits.code {
                Some(0) => {
                    run.fails(1, "");
                    assert!(issued > 0 && issued <= 30_000, "{issued}");
                }
                // It was overtaken by every chunk.
                _ => {
                    fits.refuses("less than 30000 day:melon is left");
                    assert!(issued > 30_000, "{issued}");
                }
            }
            let left = balance(redress, "provision/kakao-2022-10-15/melon/day:melon").parse::<i64>().unwrap();
            let released = redress.number("SELECT coalesce(sum(amount), 0) FROM transfer WHERE code = 7");
            assert_eq!(left, 60_000 - issued - released);
        });
        redress.run(&["verify"]).succeeds();
        // Made whole again, the run issues the rest.
        redress.with_budget("melon", "day:melon", "60000");
        redress.run(&["issue", "--incident", INCIDENT]).succeeds();
        assert_eq!(redress.number("SELECT count(*) FROM transfer WHERE code = 2"), 20_000);
    });
}
