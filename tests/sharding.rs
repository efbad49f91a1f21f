//! That an existing engine can spread the tables over machines by customer. PostgreSQL itself parses the migrations, and
//! these tests read from its catalog what they made; the joins are read from the sources of the crate that knows SQL.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::harness::{Redress, repository};

/// The column by which everything is spread.
const CUSTOMER: &str = "customer_id";

/// The lines that a query answers with.
fn lines(redress: &Redress, query: &str) -> Vec<String> {
    let all = redress
        .text(&format!("SELECT coalesce(string_agg(line, E'\\n' ORDER BY line), '') FROM ({query}) AS l (line)"));
    all.lines().map(str::to_owned).collect()
}

/// Every table that the migrations make.
fn tables(redress: &Redress) -> BTreeSet<String> {
    let of_ours = "relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND relname NOT LIKE '\\_\\_%'";
    lines(redress, &format!("SELECT relname::text FROM pg_class WHERE {of_ours}")).into_iter().collect()
}

/// Those that have a row or more for each customer.
fn of_customers(redress: &Redress) -> BTreeSet<String> {
    let columns = "information_schema.columns WHERE table_schema = 'public'";
    lines(redress, &format!("SELECT table_name::text FROM {columns} AND column_name = '{CUSTOMER}'"))
        .into_iter()
        .collect()
}

#[test]
fn every_unique_key_of_a_customers_table_contains_the_customer() {
    Redress::test(|redress| {
        let unique = lines(
            redress,
            "SELECT concat_ws(' ', i.indrelid::regclass, i.indexrelid::regclass, (
                        SELECT string_agg(attname, ' ') FROM pg_attribute
                        WHERE attrelid = i.indrelid AND attnum = ANY (i.indkey)))
             FROM pg_index AS i JOIN pg_class ON pg_class.oid = i.indrelid
             WHERE i.indisunique AND pg_class.relnamespace = 'public'::regnamespace",
        );
        let ours = of_customers(redress);
        assert!(ours.len() >= 9 && ours.contains("transfer") && ours.contains("claim"), "{ours:?}");
        let mut checked = BTreeSet::new();
        for key in &unique {
            let mut words = key.split(' ');
            let (table, index) = (words.next().unwrap(), words.next().unwrap());
            if ours.contains(table) {
                assert!(words.any(|column| column == CUSTOMER), "{index} of {table} does not contain {CUSTOMER}");
                checked.insert(table.to_owned());
            }
        }
        assert_eq!(checked, ours, "each has a primary key");
    });
}

#[test]
fn no_foreign_key_joins_two_customers() {
    Redress::test(|redress| {
        // From table, to table, and whether the customer refers to the customer.
        let keys = lines(
            redress,
            "SELECT concat_ws(' ', conrelid::regclass, confrelid::regclass, conname, EXISTS (
                        SELECT FROM unnest(conkey, confkey) AS pair (mine, theirs)
                        JOIN pg_attribute AS m ON m.attrelid = conrelid AND m.attnum = mine AND m.attname = 'customer_id'
                        JOIN pg_attribute AS t ON t.attrelid = confrelid AND t.attnum = theirs AND t.attname = 'customer_id'))
             FROM pg_constraint WHERE contype = 'f' AND connamespace = 'public'::regnamespace",
        );
        let ours = of_customers(redress);
        assert!(keys.len() > 10, "{keys:?}");
        for key in &keys {
            let words: Vec<&str> = key.split(' ').collect();
            let (from, to, by_customer) = (words[0], words[1], words[3] == "t");
            // A table of customers may refer to a small one, which stands on every machine; nothing refers the other way.
            assert!(!ours.contains(to) || (ours.contains(from) && by_customer), "{key}");
        }
    });
}

#[test]
fn the_file_for_citus_has_every_table_once_and_spreads_what_is_of_customers() {
    Redress::test(|redress| {
        let text = std::fs::read_to_string(repository().join("docs/citus.sql")).unwrap();
        let mut calls: BTreeMap<String, &str> = BTreeMap::new();
        for line in text.lines().filter_map(|line| line.strip_prefix("SELECT ")) {
            let (call, rest) = line.split_once("('").unwrap();
            let (table, rest) = rest.split_once('\'').unwrap();
            assert_eq!(rest.contains("'customer_id'"), call == "create_distributed_table", "{line}");
            assert_eq!(
                rest.contains("colocate_with => 'holding'"),
                rest.contains(CUSTOMER) && table != "holding",
                "{line}"
            );
            assert_eq!(calls.insert(table.to_owned(), call), None, "{table} stands twice");
        }
        assert_eq!(
            calls.keys().cloned().collect::<BTreeSet<_>>(),
            tables(redress),
            "docs/citus.sql and the migrations"
        );
        let ours = of_customers(redress);
        for (table, call) in calls {
            assert_eq!(call == "create_distributed_table", ours.contains(&table), "{table}: {call}");
            let known = ["create_distributed_table", "create_reference_table", "citus_add_local_table_to_metadata"];
            assert!(known.contains(&call), "{call}");
        }
    });
}

/// The sources of the crate that knows SQL.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Words and single marks; what stands between them is white.
fn tokens(text: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let length = if word > 0 { word } else { first.len_utf8() };
        if !first.is_whitespace() {
            tokens.push(&rest[..length]);
        }
        rest = &rest[length..];
    }
    tokens
}

/// How many tokens belong to what begins at `start`: up to `ends`, or to the mark that closes what encloses it.
fn extent(tokens: &[&str], start: usize, ends: &[&str]) -> usize {
    let mut depth = 0;
    let stop = tokens[start..].iter().position(|token| {
        depth += i32::from(*token == "(") - i32::from(*token == ")");
        depth < 0 || (depth == 0 && ends.contains(token))
    });
    stop.unwrap_or(tokens.len() - start)
}

/// Every join of customers' tables in a text, each with the tokens that it is joined on: `JOIN table … ON …` and
/// subqueries that look at the row around them, in SQL; `.inner_join(…)` and `.left_join(…)`, in Diesel's words.
fn joins<'a>(tokens: &[&'a str], ours: &BTreeSet<String>) -> Vec<(&'a str, Vec<&'a str>)> {
    const ENDS: [&str; 9] = ["JOIN", "WHERE", "GROUP", "ORDER", "UNION", "LEFT", "HAVING", "LIMIT", "\""];
    let mut found = Vec::new();
    for (place, token) in tokens.iter().enumerate() {
        let next = |steps: usize| tokens.get(place + steps).copied().unwrap_or_default();
        let (table, start, ends): (&str, usize, &[&str]) = match *token {
            "JOIN" if ours.contains(next(1)) => (next(1), place + 2, &ENDS),
            "EXISTS" | "LATERAL" if next(1) == "(" => {
                let inside = &tokens[place + 2..place + 2 + extent(tokens, place + 2, &[])];
                let table = inside.windows(2).find(|pair| pair[0] == "FROM" && ours.contains(pair[1]));
                let Some(table) = table else { continue };
                (table[1], place + 2, &[])
            }
            "inner_join" | "left_join" if next(1) == "(" && ours.contains(next(2)) => (next(2), place + 2, &[]),
            _ => continue,
        };
        found.push((table, tokens[start..start + extent(tokens, start, ends)].to_vec()));
    }
    found
}

#[test]
fn every_join_of_customers_tables_is_on_the_customer() {
    Redress::test(|redress| {
        let ours = of_customers(redress);
        let mut files = Vec::new();
        sources(&repository().join("store/src"), &mut files);
        let mut seen = 0;
        for file in files {
            let text = std::fs::read_to_string(&file).unwrap();
            for (table, on) in joins(&tokens(&text), &ours) {
                assert!(on.contains(&CUSTOMER), "{}: {table} is joined on {}", file.display(), on.join(" "));
                seen += 1;
            }
        }
        println!("{seen} joins");
        assert!(seen >= 10, "{seen}: the sources are not read any more");
        // What is read can be found wrong.
        for wrong in [
            "FROM claim JOIN transfer ON transfer.id = claim.id WHERE transfer.customer_id = $1",
            "WHERE EXISTS (SELECT FROM claim WHERE claim.id = t.id) AND customer_id = $1",
            "claim::table.inner_join(personal::table.on(personal::claim_id.eq(claim::id))).select(customer_id)",
        ] {
            let tokens = tokens(wrong);
            let found = joins(&tokens, &ours);
            assert!(found.len() == 1 && !found[0].1.contains(&CUSTOMER), "{wrong}: {found:?}");
        }
    });
}
