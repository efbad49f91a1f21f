//! The ledger after credits are issued: what broke in comparable systems (facts.md §4) does not break here. Each lesson
//! is a test of its own; histories made at random are held against a model in `model`, and against time in `threads`.

mod corrections;
mod flows;
mod model;
mod past;
mod release;
mod threads;

use std::fmt::Write;

use serde_json::Value;

use crate::harness::{INCIDENT, Ran, Redress};

/// A policy that grants every holding its fee, `times` over, in an asset with two decimal digits.
fn policy(times: u32) -> String {
    format!(
        r#"policy    = "grant"
incident  = "{INCIDENT}"
service   = "melon"
basis     = "automatic"
reference = "a test, version {times}"
title     = {{ ko = "시험", en = "Test" }}

[facts]
"holding.fee" = {{ type = "money", asset = "GBP", reference = "what it cost" }}

[[rule]]
name      = "all"
otherwise = true
award     = [{{ asset = "GBP", amount = "holding.fee * {times}" }}]
reference = "a test"
title     = {{ ko = "전부", en = "All" }}

[asset.GBP]
title = {{ ko = "파운드", en = "pound" }}
face  = "1600 KRW"
cost  = "1500 KRW"
"#
    )
}

/// Publishes and approves the policy of this factor.
fn publish(redress: &Redress, times: u32) {
    let file = redress.file("grant.toml", policy(times));
    redress.run(&["policy", "publish", &file, "--as", "author"]).succeeds();
    redress.run(&["policy", "approve", &file, "--as", "approver"]).succeeds();
}

/// Imports one holding of Melon for each (customer, holding, fee).
fn import(redress: &Redress, holdings: &[(&str, &str, &str)]) {
    let mut rows = String::from("customer,service,reference,kind,fee\n");
    for (customer, reference, fee) in holdings {
        writeln!(rows, "\"{}\",melon,{reference},subscription,{fee}", customer.replace('"', "\"\"")).unwrap();
    }
    let roster = redress.file("holdings.csv", rows);
    let done = redress.json(&["roster", "import", &roster, "--incident", INCIDENT]);
    assert_eq!(done["refused"], 0, "{done}");
}

/// An installation in which these holdings have been credited their fees.
fn credited(redress: &Redress, holdings: &[(&str, &str, &str)]) {
    redress.with_incident().with_staff();
    publish(redress, 1);
    import(redress, holdings);
    redress.with_budget("melon", "GBP", "1000.00");
    let report = redress.issue();
    assert_eq!(report["issued"], holdings.len(), "{report}");
}

/// The credits of a customer.
fn credits(redress: &Redress, customer: &str) -> Vec<Value> {
    redress.json(&["credit", "list", "--customer", customer])["credits"].as_array().unwrap().clone()
}

/// The id of a customer's first credit.
fn credit(redress: &Redress, customer: &str) -> String {
    credits(redress, customer)[0]["id"].as_str().unwrap().to_owned()
}

/// The transfer of a movement of a customer's first credit, by its place.
fn movement(redress: &Redress, customer: &str, place: usize) -> String {
    credits(redress, customer)[0]["movements"][place]["transfer"].as_str().unwrap().to_owned()
}

/// Reverses, with more flags.
fn reverse(redress: &Redress, ids: &[&str], more: &[&str]) -> Ran {
    let args = ["credit", "reverse", "--as", "finance", "--reason", "credited-in-error"];
    redress.run(&[&args, ids, more].concat())
}

/// Records rows of a CSV file as deliveries or expiries.
fn record(redress: &Redress, verb: &str, rows: &str) -> Ran {
    // Threads may record at once; each has a file of its own.
    let name = format!("{verb}-{:?}.csv", std::thread::current().id()).replace(['(', ')'], "");
    let file = redress.file(&name, format!("customer,credit,amount,attempt,date\n{rows}"));
    redress.run(&["credit", verb, &file, "--as", "finance", "--format", "json"])
}

/// The balance of one account, now.
fn balance(redress: &Redress, account: &str) -> String {
    redress.json(&["ledger", "balance", account])["balances"][0]["balance"].as_str().unwrap().to_owned()
}

const PROVISION: &str = "provision/kakao-2022-10-15/melon/GBP";

/// How many transfers there are, and everything that can be asked of them now.
fn books(redress: &Redress) -> (i64, Value) {
    let mut balances = redress.json(&["ledger", "balance", ""]);
    balances["at"] = Value::Null;
    (redress.number("SELECT count(*) FROM transfer"), balances)
}

/// facts.md §4: "a second refund answered 409 **and moved the money**".
#[test]
fn a_second_refund_moves_nothing() {
    Redress::test(|redress| {
        credited(redress, &[("a", "h", "10.00"), ("b", "h", "5.00")]);
        assert_eq!(balance(redress, PROVISION), "985.00");
        let id = credit(redress, "a");
        let done = reverse(redress, &[&id], &["--format", "json"]).succeeds().json();
        assert_eq!(done["corrections"][0]["amount"], "10.00", "{done}");
        assert_eq!((balance(redress, PROVISION), balance(redress, "owed/GBP")), ("995.00".into(), "5.00".into()));
        let before = books(redress);
        for _ in 0..2 {
            reverse(redress, &[&id], &[]).fails(1, "transfer_reversed_already");
        }
        // Nor by reversing the reversal, nor by somebody who may not.
        let reversal = done["corrections"][0]["transfer"].as_str().unwrap();
        reverse(redress, &[reversal], &[]).fails(1, "reversal_is_final");
        redress
            .run(&["credit", "reverse", &credit(redress, "b"), "--reason", "x", "--as", "author"])
            .fails(1, "may not do this");
        assert_eq!(books(redress), before);
        assert_eq!(credits(redress, "a")[0]["state"], "reversed");
    });
}

/// facts.md §4: "a second refund answered 409 **and moved the money**".
#[test]
fn two_refunds_at_the_same_moment_move_once() {
    Redress::test(|redress| {
        credited(redress, &[("a", "h", "10.00")]);
        let id = credit(redress, "a");
        let outcomes: Vec<Ran> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| reverse(redress, &[&id], &[]))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let (done, refused): (Vec<Ran>, Vec<Ran>) = outcomes.into_iter().partition(|ran| ran.code == Some(0));
        assert_eq!((done.len(), refused.len()), (1, 7));
        refused.into_iter().for_each(|ran| drop(ran.fails(1, "transfer_reversed_already")));
        assert_eq!(balance(redress, PROVISION), "1000.00");
    });
}

/// facts.md §4: "a rejected pending transfer could still be committed".
#[test]
fn a_rejected_pending_amount_can_never_be_committed() {
    Redress::test(|redress| {
        redress.with_incident().with_staff();
        let act = |verb: &str, by: &str| {
            let budget = ["--incident", INCIDENT, "--service", "melon", "--asset", "GBP", "--amount", "7.00"];
            redress.run(&[["budget", verb].as_slice(), &budget, &["--as", by]].concat())
        };
        act("authorise", "finance").succeeds();
        act("reject", "finance-2").succeeds();
        act("approve", "finance-2").fails(1, "nobody has authorised");
        act("reject", "finance-2").fails(1, "nobody has authorised");
        // The database itself refuses it, whatever the program might do.
        let approve = "UPDATE budget_request SET approved_by = 'finance-2', approved_at = now()";
        assert!(redress.sql_as_app(approve).unwrap_err().contains("budget_request_decided_once"));
        assert_eq!(redress.number("SELECT count(*) FROM transfer"), 0);
        // And what was approved cannot be rejected any more.
        act("authorise", "finance").succeeds();
        act("approve", "finance-2").succeeds();
        act("reject", "finance-2").fails(1, "nobody has authorised");
        assert_eq!(balance(redress, PROVISION), "7.00");
    });
}

/// facts.md §4: "a batch reversal must be all or nothing".
#[test]
fn a_batch_of_reversals_is_all_or_nothing() {
    Redress::test(|redress| {
        credited(redress, &[("a", "h", "1.00"), ("b", "h", "2.00"), ("c", "h", "3.00")]);
        let [a, b, c] = ["a", "b", "c"].map(|customer| credit(redress, customer));
        record(redress, "deliver", &format!("c,{c},,,\n")).succeeds();
        let before = books(redress);
        let unknown = "00000000-0000-8000-8000-000000000000";
        for (bad, code) in [(c.as_str(), "credit_nothing_owed"), (unknown, "credit_unknown")] {
            let ran = reverse(redress, &[&a, &b, bad], &[]).fails(1, code);
            assert!(ran.stderr.contains("item 3") && ran.stderr.contains("nothing was moved"), "{}", ran.stderr);
            assert_eq!(books(redress), before);
        }
        reverse(redress, &[&a, &b, &a], &[]).fails(2, "twice");
        assert_eq!(books(redress), before);
        reverse(redress, &[&a, &b], &[]).succeeds();
        assert_eq!(balance(redress, PROVISION), "997.00");
        let postings = "SELECT count(DISTINCT posting_id) FROM transfer WHERE code = 5";
        assert_eq!(redress.number(postings), 1, "a batch is one posting");
    });
}

/// facts.md §4: "re-used key on a revert answered 500".
#[test]
fn a_reused_key_on_a_revert_is_refused_as_such() {
    Redress::test(|redress| {
        credited(redress, &[("a", "h", "10.00")]);
        let id = credit(redress, "a");
        reverse(redress, &[&id], &["--amount", "4.00", "--date", "2022-10-20"]).fails(1, "date_before_original");
        reverse(redress, &[&id], &["--amount", "4.00"]).succeeds();
        let before = books(redress);
        // The key of a reversal is its original: other words with it are neither an error of ours nor another reversal.
        for more in [vec!["--amount", "6.00"], vec!["--amount", "4.00", "--reason", "other"], vec!["--customer", "a"]] {
            let args = [["credit", "reverse", id.as_str(), "--as", "finance"].as_slice(), &more].concat();
            let args = if more.contains(&"--reason") { args } else { [&args[..], &["--reason", "x"]].concat() };
            let ran = redress.run(&args).fails(1, "transfer_reversed_already");
            assert!(!ran.stderr.contains("database"), "{}", ran.stderr);
        }
        reverse(redress, &[&id], &["--customer", "b"]).fails(1, "credit_unknown");
        assert_eq!(books(redress), before);
    });
}

/// facts.md §4: "a reversal's date must be explicit".
#[test]
fn a_reversal_says_from_when_it_counts_and_changes_no_balance_before() {
    Redress::test(|redress| {
        credited(redress, &[("a", "h", "10.00"), ("b", "h", "5.00")]);
        let id = credit(redress, "a");
        let then = redress.json(&["ledger", "balance", ""]);
        let today = redress.text("SELECT (now() AT TIME ZONE 'UTC')::date");
        let far = redress.text("SELECT (now() AT TIME ZONE 'UTC')::date + 2");
        reverse(redress, &[&id], &["--date", &far]).fails(1, "date_in_future");
        reverse(redress, &[&id], &["--date", "2022-10-16"]).fails(1, "date_before_original");
        reverse(redress, &[&id], &["--date", "yesterday"]).fails(2, "--date");
        reverse(redress, &[&id], &["--date", &today]).succeeds();
        let other = credit(redress, "b");
        reverse(redress, &[&other], &["--amount", "1.00"]).succeeds();
        for (customer, amount) in [("a", "10.00"), ("b", "1.00")] {
            let moved = &credits(redress, customer)[0]["movements"][0];
            assert_eq!(moved["effective_on"], today.as_str(), "{moved}");
            assert_eq!((&moved["reason"], &moved["amount"]), (&"credited-in-error".into(), &amount.into()), "{moved}");
        }
        assert_eq!(redress.json(&["ledger", "balance", "", "--at", then["at"].as_str().unwrap()]), then);
    });
}

/// facts.md §4: "an optional idempotency key means double credit".
#[test]
fn an_optional_key_is_impossible_and_every_retry_is_the_same_transfer() {
    Redress::test(|redress| {
        credited(redress, &[("a", "h", "10.00"), ("b", "h", "5.00")]);
        let [a, b] = ["a", "b"].map(|customer| credit(redress, customer));
        let acknowledgement = format!("a,{a},4.00,,\na,{a},6.00,2,\n");
        record(redress, "deliver", &acknowledgement).succeeds();
        record(redress, "expire", &format!("b,{b},,,\n")).succeeds();
        let before = books(redress);
        for _ in 0..2 {
            let again = record(redress, "deliver", &acknowledgement).succeeds().json();
            assert_eq!((&again["recorded"], &again["already"]), (&0.into(), &2.into()), "{again}");
            record(redress, "expire", &format!("b,{b},5.00,1,\n")).succeeds();
            assert_eq!(redress.issue()["issued"], 0);
        }
        assert_eq!(books(redress), before);
        // No caller brings a key, and none is made up: the column has no default and the code no random number.
        let loose =
            "SELECT count(*) FROM information_schema.columns WHERE table_name IN ('transfer', 'credit_movement')
                     AND column_name IN ('id', 'transfer_id') AND (column_default IS NOT NULL OR is_nullable = 'YES')";
        assert_eq!(redress.number(loose), 0);
        assert_eq!(
            redress
                .number("SELECT count(*) FROM transfer WHERE substr(id::text, 15, 1) NOT IN ('8', '0') AND code <> 1"),
            0
        );
        let run = "INSERT INTO transfer SELECT * FROM transfer WHERE code = 2 LIMIT 1";
        assert!(redress.sql_as_app(run).unwrap_err().contains("transfer_pkey"));
    });
}

/// facts.md §4: "one grant out of a pool could not be revoked".
#[test]
fn one_grant_out_of_many_can_be_taken_back_alone() {
    Redress::test(|redress| {
        credited(redress, &[("a", "h-1", "1.00"), ("a", "h-2", "2.00"), ("a", "h-3", "4.00"), ("b", "h", "8.00")]);
        let all = credits(redress, "a");
        let second = all.iter().find(|credit| credit["subject"] == "holding/h-2").unwrap();
        reverse(redress, &[second["id"].as_str().unwrap()], &["--customer", "a"]).succeeds();
        let states: Vec<_> = credits(redress, "a").iter().map(|c| c["owed"].as_str().unwrap().to_owned()).collect();
        assert_eq!(states.iter().filter(|owed| *owed != "0.00").count(), 2, "{states:?}");
        assert_eq!((balance(redress, "owed/GBP"), balance(redress, PROVISION)), ("13.00".into(), "987.00".into()));
        // It is not issued again by itself; a version that grants more raises from what was ever credited.
        assert_eq!(redress.issue()["issued"], 0);
        publish(redress, 2);
        assert_eq!(redress.issue()["issued"], 4);
        assert_eq!(balance(redress, "owed/GBP"), "28.00");
    });
}

/// facts.md §4: "decimals truncated inside a rule engine".
#[test]
fn decimals_are_exact_or_refused_and_never_truncated() {
    Redress::test(|redress| {
        credited(redress, &[("a", "h", "0.01"), ("b", "h", "2.50"), ("c", "h", "99.99")]);
        let [a, b, c] = ["a", "b", "c"].map(|customer| credit(redress, customer));
        let before = books(redress);
        for amount in ["0.005", "2.505", "0.0000001", "2.4999999999999999999999999999"] {
            reverse(redress, &[&b], &["--amount", amount]).fails(1, "amount");
            let row = record(redress, "deliver", &format!("b,{b},{amount},,\n")).fails(1, "");
            assert!(row.stdout.contains("amount"), "{}", row.stdout);
        }
        for amount in ["1e2", "NaN", "", "1,5", "0x1", "１"] {
            reverse(redress, &[&b], &["--amount", amount]).fails(2, "no exact number");
        }
        for amount in ["0", "0.00", "-1", "-0.01"] {
            let flag = format!("--amount={amount}");
            reverse(redress, &[&b], &[&flag]).is_misused("--amount: must be above 0");
        }
        for amount in ["92233720368547758.08", "79228162514264337593543950335"] {
            reverse(redress, &[&b], &["--amount", amount]).fails(1, &b);
        }
        assert_eq!(books(redress), before);
        reverse(redress, &[&a], &[]).succeeds();
        record(redress, "deliver", &format!("b,{b},0.01,,\nc,{c},99.98,,\n")).succeeds();
        assert_eq!(balance(redress, "delivered/melon/GBP"), "99.99");
        assert_eq!(balance(redress, "owed/GBP"), "2.50");
        let export = redress.run(&["ledger", "export"]).succeeds().stdout;
        for amount in [",0.01,", ",2.50,", ",99.99,", ",99.98,", ",1000.00,"] {
            assert!(export.contains(amount), "{amount}: {export}");
        }
    });
}
