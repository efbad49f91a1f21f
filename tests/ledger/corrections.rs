//! Large reversals and write-offs take two people, and neither many small ones nor the database are a way around it.

use serde_json::{Value, json};

use super::{PROVISION, balance, books, credit, credited, import, movement, record, reverse};
use crate::harness::{Ran, Redress};

/// Customers a to f, credited ten pounds each, and a limit of twelve pounds a day.
fn limited(redress: &Redress) -> [String; 6] {
    let customers = ["a", "b", "c", "d", "e", "f"];
    credited(redress, &customers.map(|customer| (customer, "h", "10.00")));
    redress.run(&["staff", "add", "admin", "--role", "administrator"]).succeeds();
    let limit = ["credit", "limit", "--asset", "GBP", "--amount", "12.00", "--as"];
    redress.run(&[&limit[..], &["finance"]].concat()).refuses("it takes administrator");
    redress.run(&[&limit[..], &["admin"]].concat()).succeeds();
    customers.map(|customer| credit(redress, customer))
}

fn decide(redress: &Redress, verb: &str, id: &str, by: &str) -> Ran {
    redress.run(&["credit", verb, id, "--as", by])
}

/// The number of the correction that waits, as the program told it.
fn waits(ran: &Ran) -> String {
    assert_eq!(ran.code, Some(1), "{}{}", ran.stdout, ran.stderr);
    let told = ran.json();
    assert_eq!(told["corrections"], json!([]), "{told}");
    assert_eq!(told["waits"]["state"], "waiting", "{told}");
    told["waits"]["id"].to_string()
}

#[test]
fn a_credit_that_is_named_twice_is_told_so_and_refused_items_are_counted_from_one() {
    Redress::test(|redress| {
        credited(redress, &[("a", "h", "10.00"), ("b", "h", "10.00")]);
        let (a, b) = (credit(redress, "a"), credit(redress, "b"));
        reverse(redress, &[&a, &b, &a], &[]).is_misused(&format!("ID: {a} stands twice; nothing was moved"));
        reverse(redress, &[&a], &[]).succeeds();
        let ran = reverse(redress, &[&b, &a], &[]).fails(1, "nothing was moved, since these are refused:");
        assert!(ran.stderr.contains(&format!("item 2, {a}: it was reversed before")), "{}", ran.stderr);
    });
}

#[test]
fn a_large_reversal_waits_for_a_second_person_and_is_done_as_it_was_asked() {
    Redress::test(|redress| {
        let [a, b, c, ..] = limited(redress);
        let before = books(redress);
        let asked = reverse(redress, &[&a, &b], &["--format", "json"]);
        let id = waits(&asked);
        // Asked for again it waits once; said in words it names the remedy; nothing has moved.
        assert_eq!(waits(&reverse(redress, &[&a, &b], &["--format", "json"])), id);
        let text = reverse(redress, &[&a, &b], &[]).fails(1, "").stdout;
        assert!(text.contains("WAITS FOR APPROVAL: reverse of 20.00 GBP (2 transfers)"), "{text}");
        assert!(text.contains(&format!("redress credit approve {id} --as")), "{text}");
        assert_eq!(books(redress), before);
        decide(redress, "approve", &id, "finance").refuses("whoever asked for it may not approve it");
        decide(redress, "approve", &id, "author").refuses("may not do this");
        decide(redress, "approve", "99", "finance-2").refuses("there is no correction 99");
        let shown = redress.json(&["credit", "corrections", &id]);
        assert_eq!((&shown["totals"][0]["amount"], &shown["items"][1]["transfer"]), (&json!("20.00"), &json!(b)));
        let done = redress.json(&["credit", "approve", &id, "--as", "finance-2"]);
        assert_eq!(done["corrections"].as_array().unwrap().len(), 2, "{done}");
        assert_eq!(balance(redress, PROVISION), "960.00");
        decide(redress, "approve", &id, "finance-2").refuses("was decided before");
        decide(redress, "reject", &id, "finance-2").refuses("was decided before");
        // What was rejected is never done; the same can be asked for anew.
        let write_off = ["credit", "write-off", &c, "--reason", "closed", "--as", "finance", "--format", "json"];
        redress.run(&["credit", "limit", "--asset", "GBP", "--amount", "9.99", "--as", "admin"]).succeeds();
        let first = waits(&redress.run(&write_off));
        decide(redress, "reject", &first, "finance-2").succeeds();
        decide(redress, "approve", &first, "finance-2").refuses("was decided before");
        let second = waits(&redress.run(&write_off));
        assert_ne!(first, second);
        decide(redress, "approve", &second, "finance-2").succeeds();
        assert_eq!(balance(redress, "suspense/melon/GBP"), "10.00");
        let states = redress.json(&["credit", "corrections"])["corrections"].as_array().unwrap().clone();
        assert_eq!(
            states.iter().map(|one| one["state"].as_str().unwrap()).collect::<Vec<_>>(),
            ["done", "rejected", "done"]
        );
        let actions = "SELECT string_agg(action || ' ' || actor, ', ' ORDER BY id) FROM audit
                       WHERE action LIKE 'credit.%' OR action = 'correction.limit'";
        assert_eq!(
            redress.text(actions),
            "correction.limit admin, credit.ask-correction finance, credit.reverse finance-2, correction.limit admin, \
             credit.ask-correction finance, credit.reject-correction finance-2, credit.ask-correction finance, \
             credit.write-off finance-2"
        );
    });
}

#[test]
fn many_small_ones_within_a_day_are_one_large_one() {
    Redress::test(|redress| {
        let [a, b, c, d, e, _] = limited(redress);
        reverse(redress, &[&a], &[]).succeeds();
        reverse(redress, &[&b], &["--amount", "2.00"]).succeeds();
        let text = reverse(redress, &[&c], &["--amount", "0.01"]).fails(1, "").stdout;
        assert!(text.contains("WAITS FOR APPROVAL: reverse of 0.01 GBP"), "{text}");
        // A write-off is no way around it, and another person has a day of his own.
        let write_off = |by: &str| redress.run(&["credit", "write-off", &d, "--reason", "closed", "--as", by]);
        write_off("finance").fails(1, "");
        write_off("finance-2").succeeds();
        assert_eq!(balance(redress, "suspense/melon/GBP"), "10.00");
        // What a second person approved is not his alone who asked, and a day later all of it is past.
        redress.sql("UPDATE correction SET asked_at = asked_at - interval '25 hours'");
        reverse(redress, &[&c], &[]).succeeds();
        // To take back what a service had granted is a correction like any other.
        record(redress, "deliver", &format!("e,{e},,,\n")).succeeds();
        let delivery = movement(redress, "e", 0);
        reverse(redress, &[&delivery], &[]).fails(1, "");
        redress.run(&["credit", "limit", "--asset", "GBP", "--none", "--as", "admin"]).succeeds();
        reverse(redress, &[&delivery], &[]).succeeds();
    });
}

#[test]
fn of_many_at_the_same_moment_one_persons_day_holds() {
    Redress::test(|redress| {
        let all = limited(redress);
        let outcomes: Vec<Ran> = std::thread::scope(|scope| {
            let threads: Vec<_> = all.iter().map(|id| scope.spawn(|| reverse(redress, &[id.as_str()], &[]))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(outcomes.iter().filter(|ran| ran.code == Some(0)).count(), 1, "twelve pounds are one of ten");
        assert_eq!(balance(redress, PROVISION), "950.00");
        assert_eq!(redress.number("SELECT count(*) FROM correction WHERE posting_id IS NULL"), 5);
        // Two who approve the same at the same moment do it once.
        redress.run(&["staff", "add", "finance-3", "--role", "finance"]).succeeds();
        let id = redress.text("SELECT min(id) FROM correction WHERE posting_id IS NULL");
        let outcomes: Vec<Ran> = std::thread::scope(|scope| {
            let threads = ["finance-2", "finance-3"].map(|by| {
                let id = &id;
                scope.spawn(move || decide(redress, "approve", id, by))
            });
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(outcomes.iter().filter(|ran| ran.code == Some(0)).count(), 1);
        assert_eq!(balance(redress, PROVISION), "960.00");
    });
}

#[test]
fn what_the_ledger_refuses_meanwhile_is_not_half_done_by_an_approval() {
    Redress::test(|redress| {
        let [a, b, ..] = limited(redress);
        let id = waits(&reverse(redress, &[&a, &b], &["--format", "json"]));
        record(redress, "deliver", &format!("b,{b},4.00,,\n")).succeeds();
        let before = books(redress);
        // Refused as it was asked: ten are not owed any more. Nothing of it is moved, and it goes on waiting.
        decide(redress, "approve", &id, "finance-2").fails(1, "credit_more_than_owed");
        assert_eq!(books(redress), before);
        assert_eq!(redress.json(&["credit", "corrections", &id])["state"], "waiting");
        decide(redress, "reject", &id, "finance-2").succeeds();
    });
}

#[test]
fn the_database_holds_four_eyes_on_corrections_and_verify_reads_them_again() {
    Redress::test(|redress| {
        let [a, b, c, ..] = limited(redress);
        let id = waits(&reverse(redress, &[&a, &b], &["--format", "json"]));
        reverse(redress, &[&c], &[]).succeeds();
        for (change, says) in [
            ("SET approved_by = 'finance', approved_at = now(), posting_id = 9999", "correction_four_eyes"),
            ("SET posting_id = 9999", "correction_done_when_approved"),
            ("SET approved_by = 'finance-2', approved_at = now()", "correction_done_when_approved"),
            ("SET needs_approval = false", "permission denied"),
            ("SET asked_by = 'finance-2'", "permission denied"),
            ("SET items = '[]'", "permission denied"),
        ] {
            let refused = redress.sql_as_app(&format!("UPDATE correction {change} WHERE id = {id}")).unwrap_err();
            assert!(refused.contains(says), "{change}: {refused}");
        }
        for statement in
            ["DELETE FROM correction_total", "DELETE FROM correction", "UPDATE correction_total SET amount = 1"]
        {
            assert!(redress.sql_as_app(statement).unwrap_err().contains("permission denied"), "{statement}");
        }
        decide(redress, "approve", &id, "finance-2").succeeds();
        for (damage, repair, says) in [
            (
                format!(
                    "UPDATE correction SET needs_approval = false, approved_by = NULL, approved_at = NULL WHERE id = {id}"
                ),
                format!(
                    "UPDATE correction SET needs_approval = true, approved_by = 'finance-2', approved_at = now() WHERE id = {id}"
                ),
                "approved by nobody",
            ),
            (
                "UPDATE correction_total SET amount = amount + 1".to_owned(),
                "UPDATE correction_total SET amount = amount - 1".to_owned(),
                "2001 was asked for, 2000 was moved",
            ),
            (
                "CREATE TABLE kept AS SELECT * FROM correction_total; DELETE FROM correction_total".to_owned(),
                "INSERT INTO correction_total SELECT * FROM kept; DROP TABLE kept".to_owned(),
                "0 was asked for, 1000 was moved",
            ),
        ] {
            redress.sql(&damage);
            let ran = redress.run(&["verify"]).fails(1, "");
            assert!(ran.stdout.contains(says), "{damage}\n{}", ran.stdout);
            redress.sql(&repair);
            redress.run(&["verify"]).succeeds();
        }
    });
}

#[test]
fn over_http_a_large_reversal_is_accepted_and_done_by_another() {
    Redress::test(|redress| {
        let [a, b, ..] = limited(redress);
        redress.run(&["credit", "limit", "--asset", "GBP", "--amount", "9.00", "--as", "admin"]).succeeds();
        let server = redress.serve();
        let (finance, second) = (redress.session(&server, "finance"), redress.session(&server, "finance-2"));
        let why = json!({ "reason": "credited-in-error", "customer": "a" });
        let asked = finance.post_once(&format!("/v1/credits/{a}/reverse"), &why);
        assert_eq!(asked.status, 202, "{}", asked.text());
        let id = asked.json()["waits"]["id"].clone();
        let other = json!({ "reason": "credited-in-error", "customer": "b" });
        let beside = finance.post_once(&format!("/v1/credits/{b}/reverse"), &other).json()["waits"]["id"].clone();
        let act = |who: &crate::harness::Client<'_>, id: &Value, verb: &str| {
            who.post_once(&format!("/v1/corrections/{id}/{verb}"), &json!({}))
        };
        act(&finance, &id, "approve").is_problem(409, "second_person_needed");
        let listed = second.get("/v1/corrections").json();
        assert_eq!(listed["corrections"].as_array().unwrap().len(), 2, "{listed}");
        let shown = second.get(&format!("/v1/corrections/{id}")).json();
        assert_eq!((&shown["state"], &shown["items"][0]["customer"]), (&json!("waiting"), &json!("a")), "{shown}");
        let done = act(&second, &id, "approve");
        assert_eq!((done.status, &done.json()["corrections"][0]["amount"]), (200, &json!("10.00")), "{}", done.text());
        act(&second, &id, "approve").is_problem(409, "conflict");
        assert_eq!(act(&second, &beside, "reject").json()["state"], "rejected");
        act(&second, &json!(99), "approve").is_problem(404, "not_found");
        second.get("/v1/corrections/x").is_problem(400, "invalid_path");
        import(redress, &[("g", "h", "1.00")]);
        assert_eq!(redress.issue()["issued"], 1);
    });
}
