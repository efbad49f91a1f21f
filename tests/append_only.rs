//! What only grows: as the role that the server works as, nothing in it can be changed, deleted or emptied. The tables are
//! read from the database's own catalogue, so that a new one only grows unless it is named here with what may change.

use std::collections::BTreeMap;

use crate::harness::Redress;

/// The tables of which something may change, and what: columns that may be updated (`*`: any), and whether rows may be
/// deleted. Whatever is not here only grows.
const MAY_CHANGE: &[(&str, &str, bool)] = &[
    ("api_key", "*", true),
    ("appeal", "outcome read_at read_by", false),
    ("budget", "approved spent", false),
    ("budget_request", "approved_at approved_by rejected_at rejected_by", false),
    ("claim", "*", true),
    ("claim_trait", "", true),
    ("correction", "approved_at approved_by posting_id rejected_at rejected_by", false),
    ("decision", "approved_at approved_by in_force_at rejected_at rejected_by", false),
    ("delivery", "as_of attempts ended_at last_error next_at state", false),
    ("evidence", "*", true),
    ("holding", "*", true),
    ("idempotency", "*", true),
    ("impact", "*", true),
    ("incident", "*", false),
    ("looking", "*", true),
    ("mailed_code", "*", true),
    ("message", "", true),
    ("notice", "*", true),
    ("personal", "*", true),
    ("policy", "*", false),
    ("policy_version", "approved_at approved_by retired_at", false),
    ("programme_use", "*", true),
    ("roster", "*", true),
    ("run", "approved_at approved_by ended_at note served state", false),
    ("run_allowance", "issued", false),
    ("run_chunk", "*", true),
    ("run_exception", "*", true),
    ("second_reading", "agrees read_at read_by", false),
    ("service", "*", false),
    ("session", "*", true),
    ("sign_in_guess", "*", true),
    ("signature_limit", "*", true),
    ("staff", "*", true),
    ("staff_credential", "*", true),
    ("task", "*", false),
    ("triage", "at findings", false),
    (
        "webhook",
        "disabled_at disabled_why failing_since failures last_error previous_secret previous_until retry_at secret",
        false,
    ),
    ("webhook_message", "attempts last_error next_at sent_at state", false),
];

/// What the role may do besides reading and adding, by table, as the catalogue says.
fn granted(redress: &Redress) -> BTreeMap<String, (String, bool)> {
    let lines = redress.text(
        "SELECT string_agg(line, E'\\n' ORDER BY line) FROM (
             SELECT concat_ws('|', relname,
                 CASE WHEN has_table_privilege('redress_app', pg_class.oid, 'UPDATE') THEN '*' ELSE coalesce((
                     SELECT string_agg(attname, ' ' ORDER BY attname) FROM pg_attribute
                     WHERE attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped
                       AND has_column_privilege('redress_app', pg_class.oid, attnum, 'UPDATE')), '') END,
                 has_table_privilege('redress_app', pg_class.oid, 'DELETE'))
             FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')) AS l (line)",
    );
    lines
        .lines()
        .map(|line| {
            let parts: Vec<&str> = line.split('|').collect();
            (parts[0].to_owned(), (parts[1].to_owned(), parts[2] == "t"))
        })
        .collect()
}

#[test]
fn as_the_servers_role_what_only_grows_cannot_be_changed_and_a_new_table_only_grows() {
    Redress::test(|redress| {
        let granted = granted(redress);
        let (mut only_grows, mut differs) = (0, Vec::new());
        for (table, (columns, deletes)) in &granted {
            let known = MAY_CHANGE.iter().find(|(name, ..)| name == table);
            let (may, may_delete) = known.map_or(("", false), |(_, columns, deletes)| (*columns, *deletes));
            if (columns.as_str(), *deletes) != (may, may_delete) {
                differs.push(format!("(\"{table}\", \"{columns}\", {deletes})"));
                continue;
            }
            // The rights of the catalogue are what the database does.
            let all = redress.text(&format!(
                "SELECT string_agg(attname, ' ') FROM pg_attribute
                 WHERE attrelid = '{table}'::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = '' AND attidentity = ''"
            ));
            let refused = |statement: &str| {
                let error = redress.sql_as_app(statement).expect_err(statement);
                assert!(error.contains("permission denied"), "{statement}: {error}");
            };
            for column in all.split(' ').filter(|column| may != "*" && !may.split(' ').any(|known| known == *column)) {
                refused(&format!("UPDATE {table} SET {column} = {column}"));
            }
            if !may_delete {
                refused(&format!("DELETE FROM {table}"));
            }
            refused(&format!("TRUNCATE {table} CASCADE"));
            if may.is_empty() && !may_delete {
                only_grows += 1;
            }
        }
        assert!(differs.is_empty(), "the catalogue grants other rights than this list: {}", differs.join(",\n"));
        for (table, ..) in MAY_CHANGE {
            assert!(granted.contains_key(*table), "{table} is there no more");
        }
        assert!(only_grows >= 10, "{only_grows}");
        let core = [
            "transfer",
            "posting",
            "posting_total",
            "posting_seal",
            "credit_movement",
            "audit",
            "log_leaf",
            "log_node",
        ];
        for table in core.iter().chain(&["log_head", "account", "asset", "assessment", "correction_total"]) {
            assert_eq!(granted[*table], (String::new(), false), "{table} only grows");
        }
    });
}

#[test]
fn the_servers_role_can_neither_give_itself_rights_nor_switch_off_what_holds_them() {
    Redress::test(|redress| {
        for statement in [
            "ALTER TABLE transfer DROP CONSTRAINT transfer_positive",
            "ALTER TABLE audit DISABLE TRIGGER ALL",
            "DROP TABLE credit_movement",
            "CREATE RULE nothing AS ON INSERT TO audit DO INSTEAD NOTHING",
            "SET session_replication_role = replica",
            "ALTER ROLE redress_app SUPERUSER",
        ] {
            let error = redress.sql_as_app(statement).expect_err(statement);
            assert!(error.contains("denied") || error.contains("must be "), "{statement}: {error}");
        }
        // To give what one may not give is a warning; it must have given nothing.
        let before = granted(redress);
        let grants = "GRANT ALL ON transfer, audit, log_head TO redress_app; GRANT UPDATE ON transfer TO PUBLIC";
        drop(redress.sql_as_app(grants));
        assert_eq!(granted(redress), before);
    });
}
