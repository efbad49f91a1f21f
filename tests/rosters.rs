//! Importing rosters: good rows come in, bad ones are refused alone with line and reason, and a fault of the file
//! changes nothing.

use std::fmt::Write as _;
use std::io::Write as _;

use diesel::connection::SimpleConnection;
use serde_json::Value;

use crate::harness::{INCIDENT, Redress, wait_until};

/// Imports a file of this name and content; the refusals as they stand in their file, without the heading. The exit code says
/// whether there are any.
fn import(redress: &Redress, name: &str, content: impl AsRef<[u8]>) -> (Value, Vec<String>) {
    let file = redress.file(name, content);
    let done = redress.run(&["roster", "import", &file, "--incident", INCIDENT, "--format", "json"]);
    let (code, done) = (done.code, done.json());
    assert_eq!(code, Some(i32::from(done["refused"] != 0)), "{done}");
    let Some(path) = done["refusals"].as_str() else { return (done, Vec::new()) };
    let text = std::fs::read_to_string(path).unwrap();
    let mut lines = text.lines().map(str::to_owned);
    assert_eq!(lines.next().as_deref(), Some("line,reason"));
    (done, lines.collect())
}

/// Every refusal must begin with its line and hold its reason.
#[track_caller]
fn assert_refused(refused: &[String], expected: &[(u32, &str)]) {
    assert_eq!(refused.len(), expected.len(), "{refused:#?}");
    for (refusal, (line, reason)) in refused.iter().zip(expected) {
        assert!(
            refusal.starts_with(&format!("{line},\"")) && refusal.contains(reason),
            "{refusal}\nis not {line}: {reason}"
        );
    }
}

#[test]
fn a_bad_row_is_refused_alone_with_its_line_and_reason() {
    Redress::test(|redress| {
        redress.with_incident();
        let long = "x".repeat(70_000);
        let mut file = Vec::new();
        let mut expected = Vec::new();
        file.extend_from_slice(b"customer,service,reference,kind,product,valid_from,valid_until,note\r\n");
        for (number, (row, refused)) in [
            ("good-1,melon,a,pass,,,,plain", ""),
            ("good-2,melon,a,pass,,2022-10-01T00:00:00+09:00,2022-10-02T00:00:00+09:00,\"a, \"\"quoted\"\" note\"", ""),
            (",melon,b,pass,,,,", "customer \"\"\"\" is empty"),
            ("a b,melon,b,pass,,,,", "customer"),
            ("c,cinema,b,pass,,,,", "service cinema is not part of incident"),
            ("c,Melon,b,pass,,,,", "service"),
            ("c,melon,,pass,,,,", "reference \"\"\"\" is empty"),
            ("c,melon,b,,,,,", "kind is empty"),
            ("c,melon,b,pass,,2022-10-32T00:00:00+09:00,,", "valid_from"),
            ("c,melon,b,pass,,2022-10-01,,", "is no time"),
            ("c,melon,b,pass,,2022-10-01T00:00:00,,", "is no time"),
            ("c,melon,b,pass,,2022-10-02T00:00:00Z,2022-10-02T00:00:00Z,", "valid_until is not after valid_from"),
            ("c,melon,b,pass,,-9999-01-01T00:00:00Z,,", "is no time"),
            ("c,melon,b,pass", "the row has 4 fields, the header 8"),
            ("c,melon,b,pass,,,,note,more", "the row has 9 fields, the header 8"),
            ("c,melon,b,pass,,,,\u{7f}\0", "UTF-8"),
            ("good-5,melon,b,pass,,,,\"two\r\nlines\"", ""),
            ("good-3,webtoon,a,right,,,,한글", ""),
        ]
        .into_iter()
        .enumerate()
        {
            file.extend_from_slice(row.as_bytes());
            file.extend_from_slice(b"\r\n");
            if !refused.is_empty() {
                expected.push((u32::try_from(number).unwrap() + 2, refused));
            }
        }
        file.extend_from_slice(format!("c,melon,b,pass,,,,{long}\nc,melon,b,pass,,,,{}\n", "y".repeat(300)).as_bytes());
        // Blank lines are no rows, and the lines after them keep their numbers.
        file.extend_from_slice(b"\r\n\nc,melon,b,pass,,,,caf\xe9\ngood-4,melon,z,pass,,,,");
        expected.extend([(21, "longer than 64 KiB"), (22, "longer than 256"), (25, "UTF-8")]);
        let (done, refused) = import(redress, "roster.csv", file);
        assert_refused(&refused, &expected);
        assert_eq!((done["accepted"].as_u64(), done["refused"].as_u64()), (Some(5), Some(expected.len() as u64)));
        assert_eq!(done["first_refusals"].as_array().unwrap().len(), 5);
        assert_eq!(
            redress.text("SELECT string_agg(customer_id, ' ' ORDER BY customer_id) FROM holding"),
            "good-1 good-2 good-3 good-4 good-5"
        );
        assert_eq!(
            redress.text("SELECT facts -> 4 ->> 'note' FROM holding WHERE customer_id = 'good-2'"),
            "a, \"quoted\" note"
        );
        assert_eq!(redress.text("SELECT accepted || ' ' || refused FROM roster"), format!("5 {}", expected.len()));
        // Refused rows do not stand in the log of commands, nor does anything else of a customer.
        assert!(!redress.text("SELECT string_agg(audit::text, '') FROM audit").contains("good-1"));
    });
}

#[test]
fn lines_of_json_are_taken_the_same_way() {
    Redress::test(|redress| {
        redress.with_incident();
        let good = r#"{"customer":"a","service":"melon","reference":"1","kind":"pass","attributes":{"fee":10900,"web":true,"rate":"0.5"}}"#;
        let mut expected = vec![
            (3, "EOF while parsing a value at column 12"),
            (4, "missing field"),
            (5, "unknown field"),
            (6, "write a fraction as text"),
        ];
        expected.extend([
            (7, "NUL"),
            (8, "service cinema"),
            (9, "UTF-8"),
            (10, "repeats the holding of line 1"),
            (12, "a line is one JSON object"),
        ]);
        let mut file = format!("{good}\n\n").into_bytes();
        for line in [
            r#"{"customer":"#,
            r#"{"customer":"b","service":"melon","reference":"1"}"#,
            r#"{"customer":"b","service":"melon","reference":"1","kind":"pass","Fee":1}"#,
            r#"{"customer":"b","service":"melon","reference":"1","kind":"pass","attributes":{"fee":0.5}}"#,
            r#"{"customer":"b","service":"melon","reference":"1","kind":"pass","attributes":{"note":"\u0000"}}"#,
            r#"{"customer":"b","service":"cinema","reference":"1","kind":"pass"}"#,
        ] {
            writeln!(file, "{line}").unwrap();
        }
        file.extend_from_slice(b"{\"customer\":\"\xff\"}\n");
        let second = good.replace("\"a\"", "\"b\"");
        write!(file, "{good}\n{second}\n[\"c\",\"melon\",\"1\",\"pass\",\"\",null,null,{{}}]").unwrap();
        let (done, mut refused) = import(redress, "roster.ndjson", file);
        // What repeats is found when all rows are in.
        refused.sort_by_key(|line| line.split(',').next().unwrap().parse::<u32>().unwrap());
        assert_refused(&refused, &expected);
        assert_eq!(done["accepted"], 2);
        let attributes = redress.text("SELECT facts -> 4 FROM holding WHERE customer_id = 'a'");
        assert_eq!(attributes, r#"{"fee":"10900","rate":"0.5","web":true}"#);
        let endless = redress.file("endless.ndjson", "x".repeat(70_000));
        redress
            .run(&["roster", "import", &endless, "--incident", INCIDENT])
            .refuses("endless.ndjson:1:1: the line is longer");
        assert_eq!(redress.number("SELECT count(*) FROM roster"), 1);
    });
}

#[test]
fn a_fault_of_the_header_names_its_place_and_changes_nothing() {
    Redress::test(|redress| {
        redress.with_incident();
        for (header, column, says) in [
            ("", 1, "column \"customer\" is missing"),
            ("customer,service,reference\n", 1, "column \"kind\" is missing"),
            ("customer,service,reference,kind,kind\n", 33, "column \"kind\" stands twice"),
            ("customer,service,reference,kind,Fee\n", 33, "\"Fee\""),
            ("customer,service,reference,kind,\n", 33, "attribute name"),
            ("customer;service;reference;kind\n", 1, "customer;service;reference;kind"),
        ] {
            let file = redress.file("roster.csv", format!("{header}a,melon,1,pass,x\n"));
            let content = if header.is_empty() { String::new() } else { format!("{header}a,melon,1,pass,x\n") };
            std::fs::write(&file, content).unwrap();
            let ran = redress.run(&["roster", "import", &file, "--incident", INCIDENT]).refuses(says);
            assert!(ran.stderr.starts_with(&format!("redress: {file}:1:{column}: ")), "{}", ran.stderr);
        }
        let file = redress.file("latin1.csv", b"customer,service,reference,kind,pr\xe9nom\n");
        redress.run(&["roster", "import", &file, "--incident", INCIDENT]).refuses(&format!("{file}:1:"));
        let good = redress.file("good.csv", "customer,service,reference,kind\na,melon,1,pass\n");
        redress.run(&["roster", "import", &good, "--incident", "flood"]).refuses("there is no incident flood");
        assert_eq!(redress.number("SELECT (SELECT count(*) FROM roster) + (SELECT count(*) FROM holding)"), 0);
        // What spreadsheets put first is no part of a name.
        let (done, _) = import(redress, "bom.csv", "\u{feff}customer,service,reference,kind\na,melon,1,pass\n");
        assert_eq!(done["accepted"], 1);
    });
}

#[test]
fn a_quote_that_is_left_open_refuses_the_whole_file_and_is_named() {
    Redress::test(|redress| {
        redress.with_incident();
        let row = |number: u32, kind: &str| format!("c-{number},melon,s,{kind},\n");
        let file = |bad: &str, rows: u32| {
            let head =
                format!("customer,service,reference,kind,note\n{}c-0,melon,s,pass,\"two\nlines\"\n", row(1, "pass"));
            (2..rows).fold(format!("{head}{}", row(2, bad)), |file, number| file + &row(number, "pass"))
        };
        let import = |content: String| {
            let file = redress.file("roster.csv", content);
            redress.run(&["roster", "import", &file, "--incident", INCIDENT])
        };
        // Open to the end of a short file, and of one that is longer than a row may be.
        for (rows, within) in [(20, ""), (200_000, " within 64 KiB")] {
            let says = format!(
                "roster.csv:5:1: a quote is opened on line 5 and not closed{within}: mend the file, none of it was taken"
            );
            import(file("\"pass", rows)).refuses(&says);
        }
        assert_eq!(redress.number("SELECT (SELECT count(*) FROM roster) + (SELECT count(*) FROM holding)"), 0);
        // Closed by the quote of a later row, it is refused with all the lines that it took.
        let closed = format!("{}c-9,melon,s,\"pass\",\nc-10,melon,s,pass,\n", file("\"pass", 5));
        let ran = import(closed).fails(1, "");
        assert!(ran.stdout.contains("line 5: a quoted cell goes on after its quote"), "{}", ran.stdout);
        assert!(ran.stdout.contains("this row goes on to line 9"), "{}", ran.stdout);
        assert_eq!(
            redress.text("SELECT string_agg(customer_id, ' ' ORDER BY customer_id) FROM holding"),
            "c-0 c-1 c-10"
        );
    });
}

#[test]
fn a_holding_stands_once_in_a_roster_and_a_later_roster_replaces_it() {
    Redress::test(|redress| {
        redress.with_incident();
        let header = "customer,service,reference,kind,fee\n";
        let first = format!(
            "{header}a,melon,1,pass,1\nb,melon,1,pass,1\na,melon,1,pass,2\na,webtoon,1,pass,1\na,melon,1,pass,3\n"
        );
        let (done, refused) = import(redress, "first.csv", first);
        assert_refused(&refused, &[(4, "repeats the holding of line 2"), (6, "repeats the holding of line 2")]);
        assert_eq!((done["accepted"].as_u64(), done["refused"].as_u64()), (Some(3), Some(2)));
        let fees = "SELECT string_agg(customer_id || (facts -> 4 ->> 'fee') || roster_id, ' ' ORDER BY customer_id, service_id) FROM holding";
        let before = redress.text(fees);
        assert!(before.starts_with("a1"), "the first row of a file counts: {before}");
        let (done, refused) = import(redress, "second.csv", format!("{header}a,melon,1,pass,9\nc,melon,1,pass,1\n"));
        assert_eq!((done["accepted"].as_u64(), refused.len()), (Some(2), 0));
        assert_eq!(redress.number("SELECT count(*) FROM holding"), 4);
        assert_eq!(redress.number("SELECT count(*) FROM holding WHERE facts -> 4 ->> 'fee' = '9'"), 1);
        // The same file again says the same again, and that it was imported.
        assert_eq!(done["imported_before"], Value::Null);
        let (done, _) = import(redress, "second.csv", format!("{header}a,melon,1,pass,9\nc,melon,1,pass,1\n"));
        assert_eq!(done["accepted"], 2);
        let second = redress.folder.path().join("second.csv").display().to_string();
        let text = redress.run(&["roster", "import", &second, "--incident", INCIDENT]).succeeds().stdout;
        assert!(text.contains("The same file was imported before, at 20"), "{text}");
        assert!(done["imported_before"].is_string(), "{done}");
        assert_eq!(redress.number("SELECT count(*) FROM holding"), 4);
        let explicit = redress.folder.path().join("deep/er/refused.csv");
        let file = redress.file("third.csv", format!("{header}a,cinema,1,pass,9\n"));
        let args = ["roster", "import", &file, "--incident", INCIDENT, "--refusals", explicit.to_str().unwrap()];
        let text = redress.run(&args).fails(1, "").stdout;
        assert!(
            text.contains("0 holdings imported, 1 rows refused") && text.contains("line 2: service cinema"),
            "{text}"
        );
        assert!(explicit.exists());
        // What is read is not written over, and of two files of one name each keeps its refusals.
        let link = redress.folder.path().join("link.csv");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        for output in [file.as_str(), link.to_str().unwrap()] {
            let args = ["roster", "import", &file, "--incident", INCIDENT, "--refusals", output];
            redress.run(&args).is_misused("is the file that is read");
        }
        assert!(std::fs::read_to_string(&file).unwrap().contains("cinema"));
        let (first, _) = import(redress, "fourth.csv", format!("{header}a,cinema,1,pass,9\n"));
        let (second, _) = import(redress, "fourth.csv", format!("{header}a,theatre,1,pass,9\n"));
        for (done, name, says) in
            [(first, "fourth.csv.refused.csv", "cinema"), (second, "fourth.csv.refused-2.csv", "theatre")]
        {
            let path = done["refusals"].as_str().unwrap();
            assert!(path.ends_with(name) && std::fs::read_to_string(path).unwrap().contains(says), "{done}");
        }
    });
}

#[test]
fn what_many_rows_are_is_kept_once() {
    Redress::test(|redress| {
        redress.with_incident().with_staff().with_policies(&["melon"]).with_budget("melon", "day:melon", "10000");
        // What they say, and how many say it: few, too long a text, and enough.
        let roster = |groups: &[(&str, u32)]| {
            let mut file = "customer,service,reference,kind,channel,note,more,rest\n".to_owned();
            for (group, (note, rows)) in groups.iter().enumerate() {
                for row in 0..*rows {
                    writeln!(file, "c-{group}-{row:03},melon,s,subscription,web,{note},{note},{note}").unwrap();
                }
            }
            file
        };
        let long = "y".repeat(250);
        let kept = |redress: &Redress| {
            redress.text(
                "SELECT string_agg(concat_ws(' ', who, common, texts, own), ', ' ORDER BY who) FROM (
                     SELECT substr(customer_id, 1, 3) AS who, count(common_id) AS common, count(DISTINCT common_id) AS texts,
                            count(facts) AS own FROM holding GROUP BY 1) AS kept",
            )
        };
        let first = roster(&[("few", 40), (&long, 70), ("many", 60), ("\"more, \"\"quoted\"\"\"", 90)]);
        assert_eq!(import(redress, "first.csv", &first).0["accepted"], 260);
        assert_eq!(kept(redress), "c-0 0 0 40, c-1 0 0 70, c-2 60 1 0, c-3 90 1 0");
        // The same again is kept already; a row that says something else now, says it alone.
        assert_eq!(import(redress, "again.csv", &first).0["accepted"], 260);
        assert_eq!(import(redress, "one.csv", roster(&[("", 0), ("", 0), ("other", 2)])).0["accepted"], 2);
        assert_eq!(kept(redress), "c-0 0 0 40, c-1 0 0 70, c-2 58 1 2, c-3 90 1 0");
        assert_eq!(redress.number("SELECT count(*) FROM common_facts"), 2);
        let refused = redress.sql_as_app("UPDATE common_facts SET facts = '[]'").unwrap_err();
        assert!(refused.contains("permission denied"), "{refused}");
        for neither in ["facts = NULL, common_id = NULL", "facts = '[]', common_id = 1"] {
            let refused = redress.sql_as_app(&format!("UPDATE holding SET {neither}")).unwrap_err();
            assert!(refused.contains("holding_facts_once"), "{refused}");
        }
        assert_eq!(redress.issue()["issued"], 260);
    });
}

#[test]
fn an_import_that_is_killed_leaves_nothing() {
    Redress::test(|redress| {
        redress.with_incident();
        let rows = |from: u32, to: u32| {
            (from..to).fold(String::new(), |mut rows, number| {
                writeln!(rows, "c-{number},melon,s,subscription").unwrap();
                rows
            })
        };
        let whole = format!("customer,service,reference,kind\n{}", rows(0, 12_000));
        let file = redress.file("whole.csv", whole);
        // The last statement of the import has to wait, when all rows are in.
        let mut other = redress.owner();
        other.batch_execute("BEGIN; LOCK TABLE roster IN ACCESS EXCLUSIVE MODE").unwrap();
        let others =
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
        let mut import = redress.command(&["roster", "import", &file, "--incident", INCIDENT]).spawn().unwrap();
        wait_until("all rows are in", || redress.waiting_for_locks() == 1);
        import.kill().unwrap();
        import.wait().unwrap();
        other.batch_execute("ROLLBACK").unwrap();
        drop(other);
        wait_until("the server has seen it", || redress.number(others) == 0);
        assert_eq!(redress.number("SELECT (SELECT count(*) FROM roster) + (SELECT count(*) FROM holding)"), 0);
        assert_eq!(redress.json(&["roster", "import", &file, "--incident", INCIDENT])["accepted"], 12_000);
    });
}
