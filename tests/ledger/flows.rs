//! Deliveries, expiries and write-offs; what the database refuses by itself; exports and reports.

use serde_json::Value;

use super::{PROVISION, balance, books, credit, credited, credits, movement, record, reverse};
use crate::harness::{INCIDENT, Redress};

#[test]
fn an_acknowledgement_that_cannot_be_is_refused_alone_with_its_line() {
    Redress::test(|redress| {
        credited(redress, &[("a", "h", "10.00"), ("b", "h", "5.00"), ("c", "h", "3.00")]);
        let [a, b, c] = ["a", "b", "c"].map(|customer| credit(redress, customer));
        let rows = format!(
            "a,{a},4.00,,\nb,{a},,,\na,{a},7.00,2,\nb,{b},5.01,,\nb,not-an-id,,,\na b,{b},,,\nc,{c},,101,\nb,{b},,,\n\
             a,{a},3.00,1,\nc,{c},,,2022-01-01\nc,{c},x,,\na,{a},4.00,1,\n"
        );
        let done = record(redress, "deliver", &rows).fails(1, "").json();
        assert_eq!(
            (&done["recorded"], &done["already"], &done["refused"]),
            (&2.into(), &1.into(), &9.into()),
            "{done}"
        );
        let refusals: Vec<(u64, &str)> = done["refusals"]
            .as_array()
            .unwrap()
            .iter()
            .map(|refusal| (refusal["index"].as_u64().unwrap(), refusal["code"].as_str().unwrap()))
            .collect();
        let mut sorted = refusals.clone();
        sorted.sort_unstable();
        assert_eq!(
            sorted,
            [
                (3, "credit_unknown"),
                (4, "credit_more_than_owed"),
                (5, "credit_more_than_owed"),
                (6, "row_unreadable"),
                (7, "row_unreadable"),
                (8, "credit_attempt_invalid"),
                (10, "credit_recorded_otherwise"),
                (11, "date_before_original"),
                (12, "row_unreadable"),
            ],
            "{done}"
        );
        assert_eq!((balance(redress, "delivered"), balance(redress, "owed")), ("9.00".into(), "9.00".into()));
        // Lines are counted as an editor counts them, however they end.
        for end in ["\n", "\r\n"] {
            let text = [
                format!("customer,credit,amount{end}"),
                String::new(),
                "a,b,1".into(),
                format!("b,{b}"),
                String::new(),
            ];
            let file = redress.file("ends.csv", text.join(end) + "x,\u{fffd},,");
            let done = redress.run(&["credit", "deliver", &file, "--format", "json"]).fails(1, "").json();
            let lines: Vec<_> =
                done["refusals"].as_array().unwrap().iter().map(|r| r["index"].as_u64().unwrap()).collect();
            assert_eq!(lines, [4, 5, 6], "{end:?}: {done}");
        }
        let nothing = redress.file("empty.ndjson", "");
        redress.run(&["credit", "deliver", &nothing]).succeeds();
        let other = redress.file("x.xml", "");
        redress.run(&["credit", "deliver", &other]).fails(1, "ndjson");
        let lines = redress.file(
            "more.ndjson",
            format!(
                "{{\"customer\":\"c\",\"credit\":\"{c}\"}}\n\n{{\"customer\":\"c\",\"credit\":\"{c}\",\"amout\":1}}\n"
            ),
        );
        let done = redress.run(&["credit", "deliver", &lines, "--format", "json"]).fails(1, "").json();
        assert_eq!((&done["recorded"], &done["refusals"][0]["index"]), (&1.into(), &3.into()), "{done}");
    });
}

#[test]
fn what_was_delivered_is_not_taken_back_behind_the_services_back() {
    Redress::test(|redress| {
        credited(redress, &[("a", "h", "10.00")]);
        let id = credit(redress, "a");
        record(redress, "deliver", &format!("a,{id},6.00,,\n")).succeeds();
        reverse(redress, &[&id], &[]).fails(1, "credit_more_than_owed");
        let delivery = movement(redress, "a", 0);
        reverse(redress, &[&delivery], &["--amount", "6.01"]).fails(1, "reversal_more_than_original");
        reverse(redress, &[&delivery], &[]).succeeds();
        // A late retry of the acknowledgement that was taken back delivers nothing; a new attempt does.
        record(redress, "deliver", &format!("a,{id},6.00,1,\n")).succeeds();
        assert_eq!((balance(redress, "delivered"), balance(redress, "owed")), ("0.00".into(), "10.00".into()));
        record(redress, "deliver", &format!("a,{id},,2,\n")).succeeds();
        assert_eq!(credits(redress, "a")[0]["state"], "delivered");
        reverse(redress, &[&id], &[]).fails(1, "credit_nothing_owed");
    });
}

#[test]
fn expiry_and_write_off_leave_what_is_owed_and_can_be_reversed_once() {
    Redress::test(|redress| {
        credited(redress, &[("a", "h", "10.00"), ("b", "h", "4.00")]);
        let [a, b] = ["a", "b"].map(|customer| credit(redress, customer));
        record(redress, "expire", &format!("a,{a},,,\n")).succeeds();
        let write_off = ["credit", "write-off", &b, "--reason", "account-closed", "--as", "finance"];
        redress.run(&write_off).succeeds();
        redress.run(&write_off).fails(1, "credit_nothing_owed");
        redress
            .run(&["credit", "write-off", &b, "--reason", "Account closed!", "--as", "finance"])
            .fails(2, "--reason");
        assert_eq!(balance(redress, "breakage/melon/GBP"), "10.00");
        assert_eq!(balance(redress, "suspense/melon/GBP"), "4.00");
        assert_eq!(balance(redress, PROVISION), "986.00", "neither is the budget's to spend again");
        reverse(redress, &[&movement(redress, "b", 0)], &[]).succeeds();
        reverse(redress, &[&movement(redress, "b", 0)], &[]).fails(1, "transfer_reversed_already");
        redress.run(&write_off).succeeds();
        reverse(redress, &[&movement(redress, "a", 0)], &["--amount", "2.50"]).succeeds();
        assert_eq!((balance(redress, "breakage"), balance(redress, "owed")), ("7.50".into(), "2.50".into()));
        let liability = redress.json(&["report", "liability", "--incident", INCIDENT]);
        let line = &liability["incidents"][0]["lines"][0];
        for (part, amount, face, cost) in [
            ("issued", "14.00", "22400 KRW", "21000 KRW"),
            ("owed", "2.50", "4000 KRW", "3750 KRW"),
            ("breakage", "7.50", "12000 KRW", "11250 KRW"),
            ("suspense", "4.00", "6400 KRW", "6000 KRW"),
            ("delivered", "0.00", "0 KRW", "0 KRW"),
            ("reversed", "0.00", "0 KRW", "0 KRW"),
        ] {
            let found = [&line[part]["amount"], &line[part]["face"], &line[part]["cost"]];
            assert_eq!(found, [amount, face, cost], "{part}: {line}");
        }
    });
}

#[test]
fn a_budget_gets_back_what_was_reversed_and_expense_is_told_by_policy() {
    Redress::test(|redress| {
        credited(redress, &[("a", "h", "600.00"), ("b", "h", "300.00")]);
        super::import(redress, &[("c", "h", "200.00")]);
        let stopped = redress.run(&["issue", "--incident", INCIDENT]);
        assert_eq!(stopped.code, Some(1), "{}", stopped.stdout);
        reverse(redress, &[&credit(redress, "a")], &["--amount", "100.00"]).succeeds();
        assert_eq!(redress.issue()["issued"], 1);
        assert_eq!(balance(redress, PROVISION), "0.00");
        assert_eq!(balance(redress, &format!("expense/{INCIDENT}/melon/GBP")), "-1000.00");
        assert_eq!(balance(redress, &format!("expense-by-policy/{INCIDENT}/grant/GBP")), "-1000.00");
        assert_eq!(balance(redress, "expense-by-policy"), "-1000.00");
        // The views restate expense; they never stand beside it.
        let all = redress.json(&["ledger", "balance", ""]);
        assert!(!all.to_string().contains("expense-by-policy"), "{all}");
        assert_eq!(all["totals"][0]["balance"], "0.00");
        let exposure = redress.json(&["report", "exposure"]);
        let credit = &exposure["incidents"][0]["credits"][0];
        assert_eq!([&credit["amount"], &credit["reversed"], &credit["face"]], ["1000.00", "100.00", "1600000 KRW"]);
    });
}

#[test]
fn the_database_itself_refuses_what_the_program_never_asks() {
    Redress::test(|redress| {
        credited(redress, &[("a", "h", "10.00"), ("b", "h", "5.00")]);
        let id = credit(redress, "a");
        record(redress, "deliver", &format!("a,{id},4.00,,\n")).succeeds();
        let before = books(redress);
        let tables = ["transfer", "posting", "posting_total", "audit", "credit_movement", "account", "asset"];
        for table in tables {
            for statement in [format!("DELETE FROM {table}"), format!("TRUNCATE {table} CASCADE")] {
                assert!(redress.sql_as_app(&statement).unwrap_err().contains("permission denied"), "{statement}");
            }
            let column = redress.text(&format!(
                "SELECT column_name FROM information_schema.columns WHERE table_name = '{table}' ORDER BY 1 LIMIT 1"
            ));
            let update = format!("UPDATE {table} SET {column} = {column}");
            assert!(redress.sql_as_app(&update).unwrap_err().contains("permission denied"), "{update}");
        }
        for statement in
            ["DELETE FROM budget", "UPDATE budget SET asset_id = 0", "UPDATE budget_request SET amount = 1"]
        {
            assert!(redress.sql_as_app(statement).unwrap_err().contains("permission denied"), "{statement}");
        }
        for (change, constraint) in [
            ("UPDATE budget SET spent = approved + 1", "budget_never_negative"),
            ("UPDATE budget SET spent = -1", "budget_never_negative"),
            ("INSERT INTO transfer SELECT customer_id, gen_random_uuid(), posting_id, 0, debit_account, credit_account,
                asset_id, policy_version_id, code, subject FROM transfer", "transfer_positive"),
            ("INSERT INTO transfer SELECT customer_id, gen_random_uuid(), posting_id, amount, debit_account, debit_account,
                asset_id, policy_version_id, code, subject FROM transfer", "transfer_two_sides"),
            ("INSERT INTO transfer SELECT customer_id, gen_random_uuid(), posting_id, amount, debit_account, credit_account,
                asset_id, policy_version_id, 9, subject FROM transfer WHERE code = 2", "transfer_code_known"),
            ("INSERT INTO posting_total SELECT 999999, debit_account, credit_account, code, policy_version_id, 1, 1
                FROM posting_total LIMIT 1", "posting_total_posting_id_fkey"),
        ] {
            let refused = redress.sql_as_app(change).unwrap_err();
            assert!(refused.contains(constraint), "{change}\n{refused}");
        }
        // More than was issued, a gap, a fork, a false beginning, a second reversal, a reversal of nothing.
        let moved = |seq: i32, code: i16, original: &str, amount: i64, before: i64, after: i64| {
            redress.sql_as_app(&format!(
                "INSERT INTO credit_movement (customer_id, credit_id, seq, transfer_id, code, original_id, amount, issued,
                     owed_before, owed_after, effective_on, reason)
                 VALUES ('a', '{id}', {seq}, gen_random_uuid(), {code}, {original}, {amount}, 1000, {before}, {after},
                     '2022-10-20', 'x')"
            ))
        };
        for (row, constraint) in [
            (moved(2, 3, "NULL", 700, 600, -100), "credit_never_over"),
            (moved(2, 5, "gen_random_uuid()", 500, 600, 1100), "credit_never_over"),
            (moved(3, 3, "NULL", 100, 600, 500), "credit_movement_follows"),
            (moved(2, 3, "NULL", 100, 1000, 900), "credit_movement_follows"),
            (moved(1, 3, "NULL", 100, 1000, 900), "credit_movement_pkey"),
            (moved(2, 3, "NULL", 100, 600, 400), "credit_movement_moves"),
            (moved(2, 3, "NULL", 100, 600, 700), "credit_movement_leaves"),
            (moved(2, 5, "NULL", 100, 600, 700), "credit_movement_names_original"),
            (moved(0, 3, "NULL", 100, 1000, 900), "credit_movement_counted"),
        ] {
            assert!(row.as_ref().unwrap_err().contains(constraint), "{constraint}: {row:?}");
        }
        assert_eq!(books(redress), before);
    });
}

#[test]
fn verify_names_the_movement_that_was_tampered_with() {
    Redress::test(|redress| {
        credited(redress, &[("a", "h", "10.00"), ("b", "h", "5.00")]);
        let [a, b] = ["a", "b"].map(|customer| credit(redress, customer));
        record(redress, "deliver", &format!("a,{a},4.00,,\nb,{b},,,\n")).succeeds();
        reverse(redress, &[&movement(redress, "b", 0)], &[]).succeeds();
        redress.run(&["verify"]).succeeds();
        for (damage, repair, says) in [
            (
                "UPDATE transfer SET credit_account = (SELECT id FROM account WHERE kind = 'provision') WHERE code = 3 AND customer_id = 'a'",
                "UPDATE transfer SET credit_account = (SELECT id FROM account WHERE kind = 'delivered') WHERE code = 3 AND customer_id = 'a'",
                "code 3 from owed/GBP to provision/",
            ),
            (
                "CREATE TABLE kept AS SELECT * FROM transfer WHERE code = 5; DELETE FROM transfer WHERE code = 5",
                "INSERT INTO transfer SELECT * FROM kept; DROP TABLE kept",
                "is missing or says otherwise",
            ),
            (
                "CREATE TABLE kept AS SELECT customer_id, credit_id, seq, transfer_id, code, original_id, amount, issued, owed_before, owed_after, effective_on, reason FROM credit_movement WHERE customer_id = 'a'; DELETE FROM credit_movement WHERE customer_id = 'a'",
                "INSERT INTO credit_movement (customer_id, credit_id, seq, transfer_id, code, original_id, amount, issued, owed_before, owed_after, effective_on, reason) SELECT * FROM kept; DROP TABLE kept",
                "code 3, 0 movements",
            ),
            (
                "UPDATE credit_movement SET original_id = gen_random_uuid() WHERE code = 5",
                "UPDATE credit_movement AS m SET original_id = (SELECT transfer_id FROM credit_movement WHERE customer_id = 'b' AND seq = 1) WHERE code = 5",
                "its original",
            ),
            (
                "UPDATE credit_movement SET issued = 900, owed_before = 900, owed_after = 500 WHERE customer_id = 'a'",
                "UPDATE credit_movement SET issued = 1000, owed_before = 1000, owed_after = 600 WHERE customer_id = 'a'",
                "is missing or says otherwise",
            ),
            ("UPDATE budget SET spent = spent - 1", "UPDATE budget SET spent = spent + 1", "it says"),
        ] {
            redress.sql(damage);
            let ran = redress.run(&["verify"]);
            assert!(ran.code == Some(1) && ran.stdout.contains(says), "{damage}\n{}", ran.stdout);
            redress.sql(repair);
            redress.run(&["verify"]).succeeds();
        }
    });
}

#[test]
fn an_export_is_the_ledger_whole_in_either_layout() {
    Redress::test(|redress| {
        credited(redress, &[("a", "h", "10.00"), ("쉼표,\"b\"", "h", "5.00")]);
        let id = credit(redress, "a");
        let middle = redress.json(&["ledger", "balance", "owed"])["at"].as_str().unwrap().to_owned();
        record(redress, "deliver", &format!("a,{id},4.00,,\n")).succeeds();
        let original = movement(redress, "a", 0);
        reverse(redress, &[&original], &["--reason", "not-granted-after-all", "--amount", "1.00"]).fails(2, "--reason");
        let reverse =
            ["credit", "reverse", &original, "--as", "finance", "--reason", "not-granted", "--amount", "1.00"];
        redress.run(&reverse).succeeds();
        let csv = redress.run(&["ledger", "export"]).succeeds();
        let mut lines = csv.stdout.lines();
        let headings: Vec<&str> = lines.next().unwrap().split(',').collect();
        let ndjson = redress.run(&["ledger", "export", "--ndjson"]).succeeds();
        let rows: Vec<Value> = ndjson.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((lines.clone().count(), rows.len()), (5, 5), "{}", csv.stdout);
        for (line, row) in lines.zip(&rows) {
            assert_eq!(row.as_object().unwrap().len(), headings.len());
            assert!(line.contains(row["transfer"].as_str().unwrap()) && line.contains(row["amount"].as_str().unwrap()));
        }
        let reversal = rows.iter().find(|row| row["code"] == "reverse").unwrap();
        assert_eq!((&reversal["reverses"], &reversal["reason"]), (&original.into(), &"not-granted".into()));
        assert_eq!((&reversal["of_credit"], &reversal["debit"]), (&id.into(), &"delivered/melon/GBP".into()));
        assert!(rows.iter().any(|row| row["customer"] == "쉼표,\"b\""));
        let then = redress.run(&["ledger", "export", "--at", &middle]).succeeds();
        assert_eq!(then.stdout.lines().count(), 1 + 3);
        redress.run(&["ledger", "export", "--at", "2999-01-01T00:00:00Z"]).fails(2, "future");
        // Whoever reads may stop reading: that is no error.
        for layout in [[].as_slice(), &["--ndjson"]] {
            let mut export = redress.command(&[&["ledger", "export"], layout].concat());
            let mut export = export.stdout(std::process::Stdio::piped()).spawn().unwrap();
            drop(export.stdout.take());
            assert_eq!(export.wait().unwrap().code(), Some(0));
        }
    });
}

#[test]
fn exposure_reads_nothing_but_the_ledger_and_keeps_face_cost_and_breakage_apart() {
    Redress::test(|redress| {
        credited(redress, &[("a", "h", "10.00"), ("b", "h", "5.00"), ("c", "h", "2.00")]);
        record(redress, "deliver", &format!("a,{},,,\n", credit(redress, "a"))).succeeds();
        record(redress, "expire", &format!("b,{},4.00,,\n", credit(redress, "b"))).succeeds();
        reverse(redress, &[&credit(redress, "c")], &[]).succeeds();
        let exposure = redress.run(&["report", "exposure", "--format", "json"]).succeeds().stdout;
        let shown: Value = serde_json::from_str(&exposure).unwrap();
        let credit = &shown["incidents"][0]["credits"][0];
        let figures = ["amount", "reversed", "breakage", "face", "cost"].map(|figure| credit[figure].as_str().unwrap());
        assert_eq!(figures, ["15.00", "2.00", "4.00", "24000 KRW", "22500 KRW"], "{credit}");
        let budget = &shown["incidents"][0]["budgets"][0];
        let figures = ["approved", "released", "issued", "left"].map(|figure| budget[figure].as_str().unwrap());
        assert_eq!(figures, ["1000.00", "0.00", "15.00", "985.00"], "{budget}");
        // Everything is taken away but the totals of the postings and the names that they speak in.
        let copy = redress.copy();
        let names = [
            "posting",
            "posting_total",
            "account",
            "asset",
            "budget",
            "incident",
            "service",
            "policy",
            "policy_version",
            "staff",
            "__diesel_schema_migrations",
        ];
        let others = copy.text(&format!(
            "SELECT string_agg(quote_ident(relname), ', ') FROM pg_class
             WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND relname <> ALL ('{{{}}}')",
            names.join(",")
        ));
        copy.sql(&format!("TRUNCATE {others}; UPDATE budget SET spent = 0, approved = 0"));
        assert_eq!(copy.number("SELECT count(*) FROM transfer"), 0);
        let run = |copy: &Redress| copy.run(&["report", "exposure", "--format", "json"]).succeeds().stdout;
        assert_eq!(run(&copy), exposure);
        copy.sql("UPDATE posting_total SET amount = amount + 1 WHERE code = 2");
        assert_ne!(run(&copy), exposure, "it is the totals that are read");
    });
}

#[test]
fn two_folders_with_the_same_history_print_the_same_exposure() {
    let history = |redress: &Redress| {
        credited(redress, &[("a", "h", "10.00"), ("b", "h", "5.00")]);
        record(redress, "deliver", &format!("a,{},,,\n", credit(redress, "a"))).succeeds();
        reverse(redress, &[&credit(redress, "b")], &["--amount", "2.00"]).succeeds();
        let run = |report: &str| redress.run(&["report", report, "--format", "json"]).succeeds().stdout;
        (run("exposure"), run("liability"))
    };
    Redress::test(|one| Redress::test(|two| assert_eq!(history(one), history(two))));
}
