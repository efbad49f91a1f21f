//! What is written down is true: the OpenAPI document, the pages of documentation, the schema in the code.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::harness::{Redress, Server, repository};

/// Set to write `openapi.yaml` anew: `REDRESS_UPDATE_OPENAPI=1 cargo test -p redress --test front openapi`.
const UPDATE: &str = "REDRESS_UPDATE_OPENAPI";

/// The served document as a tree.
pub(crate) fn openapi(server: &Server) -> Value {
    yaml_serde::from_str(server.get("/openapi.yaml", &[]).text()).unwrap()
}

#[test]
fn the_openapi_file_is_what_is_served_byte_for_byte() {
    Redress::test(|redress| {
        let server = redress.serve();
        let served = server.get("/openapi.yaml", &[]);
        assert_eq!((served.status, served.header("content-type")), (200, "application/yaml"));
        let file = repository().join("openapi.yaml");
        if std::env::var_os(UPDATE).is_some() {
            std::fs::write(&file, &served.body).unwrap();
        }
        let kept = std::fs::read(&file).unwrap_or_default();
        assert!(
            kept == served.body,
            "openapi.yaml is not what is served: {UPDATE}=1 cargo test -p redress --test front openapi"
        );
        let document = openapi(&server);
        assert!(document["openapi"].as_str().unwrap().starts_with("3."), "{}", document["openapi"]);
        // Every reference leads somewhere, and every operation is named and described.
        let text = document.to_string();
        for reference in text.split("\"$ref\":\"#").skip(1).map(|rest| rest.split('"').next().unwrap()) {
            assert!(document.pointer(reference).is_some(), "{reference} leads nowhere");
        }
        let mut ids = BTreeSet::new();
        for (path, operations) in document["paths"].as_object().unwrap() {
            for (method, operation) in operations.as_object().unwrap() {
                let id =
                    operation["operationId"].as_str().unwrap_or_else(|| panic!("{method} {path} has no operationId"));
                assert!(ids.insert(id.to_owned()), "{id} stands twice");
                assert!(operation["summary"].is_string() && operation["tags"][0].is_string(), "{method} {path}");
                assert!(!operation["responses"].as_object().unwrap().is_empty(), "{method} {path}");
            }
        }
    });
}

#[test]
fn no_two_types_have_one_name_in_the_document() {
    // The one that is read last would take the place of the other, silently.
    let mut names = BTreeSet::new();
    let mut folders = vec![repository().join("api/src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
                continue;
            }
            let source = std::fs::read_to_string(&entry).unwrap();
            for derived in source.split("ToSchema)]\n").skip(1) {
                let head: Vec<&str> = derived.lines().take_while(|line| !line.ends_with(['{', ';'])).collect();
                let last = derived.lines().nth(head.len()).unwrap();
                let renamed = head.iter().find_map(|line| line.split("(as = ").nth(1)?.split(')').next());
                let kept = last.split(" struct ").nth(1).or_else(|| last.split(" enum ").nth(1)).unwrap_or(last);
                let name = renamed.unwrap_or_else(|| kept.split(|c: char| !c.is_alphanumeric()).next().unwrap());
                assert!(names.insert(name.to_owned()), "{name} of {} stands twice", entry.display());
            }
        }
    }
    assert!(names.len() > 50 && names.contains("AddedEvidence"), "{names:?}");
}

/// The addresses that a page or a style sheet makes a browser load.
fn loaded(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (begin, end) in [
        ("src=\"", '"'),
        ("src='", '\''),
        ("<link rel=\"stylesheet\" href=\"", '"'),
        ("url(", ')'),
        ("@import \"", '"'),
    ] {
        found.extend(
            text.split(begin).skip(1).map(|rest| rest.split(end).next().unwrap().trim_matches(['"', '\'']).to_owned()),
        );
    }
    for link in text.split("<link ").skip(1).map(|rest| rest.split('>').next().unwrap()) {
        found.extend(link.split("href=\"").nth(1).map(|rest| rest.split('"').next().unwrap().to_owned()));
    }
    found.retain(|address| !address.starts_with("data:") && !address.is_empty());
    found
}

#[test]
fn the_documentation_needs_no_network() {
    Redress::test(|redress| {
        redress.with_incident();
        let server = redress.serve();
        let moved = server.get("/docs", &[]);
        assert!([200, 308].contains(&moved.status), "{}", moved.status);
        let mut seen = 0;
        for page in ["/docs/", "/docs/problems", "/", "/dev/mail"] {
            let html = server.get(page, &[]);
            assert_eq!(html.status, 200, "{page}");
            assert!(html.header("content-type").starts_with("text/html"), "{page}");
            for address in loaded(html.text()) {
                assert!(!address.contains("//"), "{page} loads {address} from elsewhere");
                let path = match address.strip_prefix('/') {
                    Some(_) => address.clone(),
                    None => format!("{page}{}", address.trim_start_matches("./")),
                };
                let part = server.get(&path, &[]);
                assert_eq!(part.status, 200, "{page} loads {address}");
                if path.ends_with(".css") {
                    let elsewhere = loaded(part.text()).into_iter().find(|address| address.contains("//"));
                    assert_eq!(elsewhere, None, "{path}");
                }
                seen += 1;
            }
        }
        assert!(seen >= 3, "only {seen} files are loaded: does this test still read the pages?");
        let script = server.get("/docs/swagger-initializer.js", &[]);
        assert!(script.text().contains("/openapi.yaml"), "{}", script.text());
        assert!(!script.text().contains("petstore"));
        server.get("/docs/no-such-file.js", &[]).is_problem(404, "not_found");
        assert!(server.get("/docs/../../etc/passwd", &[]).status >= 400);
    });
}

#[test]
fn every_code_of_a_problem_is_explained_where_its_type_points() {
    Redress::test(|redress| {
        let server = redress.serve();
        let page = server.get("/docs/problems", &[]).text().to_owned();
        let source = std::fs::read_to_string(repository().join("api/src/http/problem.rs")).unwrap();
        let codes: Vec<&str> = source
            .lines()
            .filter_map(|line| line.trim().split_once(" = (\"").map(|(_, rest)| rest.split('"').next().unwrap()))
            .collect();
        assert!(codes.len() > 10 && codes.contains(&"not_found"), "{codes:?}");
        for code in &codes {
            assert!(page.contains(&format!("id=\"{code}\"")), "{code} has no place on /docs/problems");
        }
        let problem = server.get("/v1/nowhere", &[]).is_problem(404, "not_found");
        assert_eq!(problem["type"], "/docs/problems#not_found");
    });
}

#[test]
fn the_schema_in_the_code_is_the_migrated_databases() {
    Redress::test(|redress| {
        let source = std::fs::read_to_string(repository().join("store/src/schema.rs")).unwrap();
        let in_database = redress.text(
            "SELECT string_agg(line, E'\\n' ORDER BY line COLLATE \"C\") FROM (
                 SELECT c.table_name || '.' || c.column_name || ' ' || CASE c.udt_name
                     WHEN 'int2' THEN 'Int2' WHEN 'int4' THEN 'Int4' WHEN 'int8' THEN 'Int8' WHEN 'text' THEN 'Text'
                     WHEN 'bool' THEN 'Bool' WHEN 'uuid' THEN 'Uuid' WHEN 'json' THEN 'Json' WHEN 'jsonb' THEN 'Jsonb' WHEN 'bytea' THEN 'Bytea'
                     WHEN 'timestamptz' THEN 'Timestamptz' WHEN 'date' THEN 'Date' WHEN 'numeric' THEN 'Numeric'
                     ELSE '?' || c.udt_name END || CASE c.is_nullable WHEN 'YES' THEN ' null' ELSE '' END AS line
                 FROM information_schema.columns AS c JOIN information_schema.tables AS t USING (table_schema, table_name)
                 WHERE c.table_schema = 'public' AND t.table_type = 'BASE TABLE' AND c.table_name NOT LIKE '\\_\\_diesel%') AS l",
        );
        let mut in_code = Vec::new();
        let mut keys = Vec::new();
        for table in source.split("diesel::table! {").skip(1).map(|rest| rest.split("\n}").next().unwrap()) {
            let heading = table.lines().map(str::trim).find(|line| line.ends_with(") {")).unwrap();
            let (name, key) = heading.trim_end_matches(") {").split_once(" (").unwrap();
            // A temporary table of the import's own, in no schema.
            if name == "holding_incoming" {
                continue;
            }
            keys.push(format!("{name}: {key}"));
            for column in table.lines().map(str::trim).filter(|line| line.contains(" -> ")) {
                let (column, kind) = column.trim_end_matches(',').split_once(" -> ").unwrap();
                let kind = kind
                    .strip_prefix("Nullable<")
                    .map_or(kind.to_owned(), |inner| format!("{} null", inner.trim_end_matches('>')));
                in_code.push(format!("{name}.{column} {kind}"));
            }
        }
        in_code.sort();
        assert_eq!(in_code.join("\n"), in_database);
        let in_database = redress.text(
            "SELECT string_agg(line, E'\\n' ORDER BY line COLLATE \"C\") FROM (
                 SELECT k.table_name || ': ' || string_agg(k.column_name, ', ' ORDER BY k.ordinal_position) AS line
                 FROM information_schema.key_column_usage AS k JOIN information_schema.table_constraints AS c
                     USING (constraint_schema, constraint_name, table_name)
                 WHERE c.constraint_type = 'PRIMARY KEY' AND k.table_schema = 'public' AND k.table_name NOT LIKE '\\_\\_diesel%'
                 GROUP BY k.table_name) AS l",
        );
        keys.sort();
        assert_eq!(keys.join("\n"), in_database);
    });
}

#[test]
fn per_customer_tables_can_be_spread_by_customer() {
    // Invariant 11: every unique key of a table with customers contains the customer, and no foreign key joins two.
    Redress::test(|redress| {
        let narrow = redress.text(
            "SELECT coalesce(string_agg(i.indexrelid::regclass::text, ' '), '') FROM pg_index AS i
             JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attname = 'customer_id'
             WHERE i.indisunique AND i.indrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace)
                 AND NOT a.attnum = ANY (i.indkey)",
        );
        assert_eq!(narrow, "", "unique keys without the customer");
        let joined = redress.text(
            "SELECT coalesce(string_agg(c.conname, ' '), '') FROM pg_constraint AS c WHERE c.contype = 'f'
                 AND EXISTS (SELECT FROM pg_attribute WHERE attrelid = c.conrelid AND attname = 'customer_id')
                 AND NOT EXISTS (
                     SELECT FROM unnest(c.conkey, c.confkey) AS pair (mine, theirs)
                     JOIN pg_attribute AS m ON m.attrelid = c.conrelid AND m.attnum = pair.mine AND m.attname = 'customer_id'
                     JOIN pg_attribute AS t ON t.attrelid = c.confrelid AND t.attnum = pair.theirs AND t.attname = 'customer_id')",
        );
        assert_eq!(joined, "", "foreign keys that could join two customers");
    });
}
