//! Reads what a policy works out by name: derived facts, decision tables, clocks.

use super::ast::{BinaryOp, Expr, ExprKind};
use super::check::{Draft, DraftRow};
use super::diagnostic::Span;
use super::document::{Item, Table, Text, mismatch, shorten, span};
use super::limits::{MAX_NAMED, MAX_TABLE_ROWS};
use super::load::{ConditionEntry, ConditionList, Loader};
use super::number::parse_decimal;
use super::program::{Body, Counts, Named};
use super::types::Type;
use crate::incident::Localised;

/// A place for a named value until it is checked.
fn named(name: String, title: Option<Localised>, reference: Option<String>) -> Named {
    Named { name, kind: Type::BOOL, body: Body::Expression(super::ir::NodeId(0)), title, reference }
}

impl<'d> Loader<'_, 'd, '_> {
    pub(crate) fn declare_named(&mut self) {
        self.derived();
        for (name, place, table) in self.named_tables("table", MAX_NAMED) {
            self.decision_table(name, place, &table);
        }
        for (name, place, table) in self.named_tables("clock", MAX_NAMED) {
            self.clock(name, place, &table);
        }
    }

    fn derived(&mut self) {
        use toml::de::DeValue;
        let Some(section) = self.top.clone().inner("derived", "[derived]", self.checker.messages) else { return };
        for (name, place, item) in section.entries() {
            self.check_name("derived fact", name, place);
            if self.checker.program.named.len() >= MAX_NAMED {
                let message = format!("more than {MAX_NAMED} derived facts, tables and clocks");
                self.checker.error("too-large", place, message, "split the policy into several");
                return;
            }
            let (expression, title, reference) = match item.get_ref() {
                DeValue::Table(inner) => {
                    let table = Table::new(inner, span(item), format!("the derived fact \"{}\"", shorten(name)));
                    table.only(&["value", "title", "reference"], self.checker.messages);
                    let title = self.localised(&table, "title");
                    let reference = self.reference(&table);
                    (self.required_expression(&table, "value", "{ value = \"claim.loss / 2\" }"), title, reference)
                }
                _ => (self.expression_of(item, name), None, None),
            };
            if let Some(expression) = expression {
                let draft = Draft::Expression(expression);
                self.checker.declare(named(format!("derived.{name}"), title, reference), draft, place);
            }
        }
    }

    // ---- decision tables --------------------------------------------------------------------------

    /// A table with errors is declared all the same, so that its uses are not errors as well.
    fn decision_table(&mut self, name: &str, place: Span, table: &Table<'d>) {
        let known = self.checker.program.named.len();
        self.read_table(name, place, table);
        if self.checker.program.named.len() == known {
            let draft = Draft::Table { rows: Vec::new(), otherwise: None, unit: None, span: place };
            self.checker.declare(named(format!("table.{name}"), None, None), draft, place);
        }
    }

    fn read_table(&mut self, name: &str, place: Span, table: &Table<'d>) {
        table.only(&["over", "unit", "rows", "otherwise", "title", "reference"], self.checker.messages);
        let (title, reference) = (self.localised(table, "title"), self.reference(table));
        let unit = self.unit(table);
        if table.get("over").is_none() {
            table.missing("over", "over = [\"claim.minutes_late\"]", self.checker.messages);
        }
        let over: Vec<Option<Expr>> = table
            .texts("over", self.checker.messages)
            .iter()
            .map(|text| super::parser::parse_expression(self.source, text, self.checker.messages))
            .collect();
        if table.get("over").is_some() && !(1..=2).contains(&over.len()) {
            let message = format!("a table goes over one or two expressions, not {}", over.len());
            self.checker.error(
                "wrong-value",
                table.key_span("over"),
                message,
                "over = [\"claim.minutes_late\", \"claim.ticket\"]",
            );
            return;
        }
        let rows = table.list_of_tables("rows", self.checker.messages);
        if rows.is_empty() || rows.len() > MAX_TABLE_ROWS {
            let message = format!("{} needs 1 to {MAX_TABLE_ROWS} rows", table.what);
            self.checker.error("missing-key", place, message, "rows = [ { when = \">= 15, < 30\", value = 25 } ]");
            return;
        }
        let otherwise = self.expression(table, "otherwise");
        let Some(over) = over.into_iter().collect::<Option<Vec<Expr>>>().filter(|over| !over.is_empty()) else {
            return;
        };
        let mut drafts = Vec::new();
        for row in &rows {
            drafts.extend(self.table_row(row, &over));
        }
        let has_otherwise = otherwise.is_some();
        self.lists.push(ConditionList {
            what: "row",
            entries: drafts
                .iter()
                .enumerate()
                .map(|(at, row)| ConditionEntry {
                    name: format!("row {}", at + 1),
                    when: row.when.clone(),
                    span: row.span,
                })
                .collect(),
            is_table: true,
            has_otherwise,
            span: place,
        });
        if drafts.len() == rows.len() {
            let draft = Draft::Table { rows: drafts, otherwise, unit, span: place };
            self.checker.declare(named(format!("table.{name}"), title, reference), draft, place);
        }
    }

    fn table_row(&mut self, row: &Table<'d>, over: &[Expr]) -> Option<DraftRow> {
        use toml::de::DeValue;
        let example = "{ when = \">= 15, < 30\", value = 25 }";
        row.only(&["when", "value", "reference"], self.checker.messages);
        let value = self.required_expression(row, "value", example);
        let Some(when) = row.get("when") else {
            row.missing("when", example, self.checker.messages);
            return None;
        };
        let cells: Vec<&'d Item<'d>> = match when.get_ref() {
            DeValue::Array(items) if over.len() == 2 => items.iter().collect(),
            _ => vec![when],
        };
        if cells.len() != over.len() {
            let message =
                format!("the table goes over {} expressions, but this row has {} cells", over.len(), cells.len());
            self.checker.error(
                "wrong-value",
                span(when),
                message,
                "one cell for each: when = [\">= 15\", \"single\"]; \"*\" is anything",
            );
            return None;
        }
        let mut conditions = Vec::new();
        for (cell, over) in cells.into_iter().zip(over) {
            conditions.extend(self.cell(cell, over)?);
        }
        let when = conditions.into_iter().reduce(|left, right| binary(BinaryOp::And, left, right, span(when)));
        Some(DraftRow { when, value: value?, span: row.span })
    }

    /// The condition that a cell is. The outer nothing is an error, the inner one a cell that holds for anything.
    #[allow(clippy::option_option, reason = "the two absences mean different things and never leave this file")]
    fn cell(&mut self, item: &'d Item<'d>, over: &Expr) -> Option<Option<Expr>> {
        use toml::de::DeValue;
        let place = span(item);
        match item.get_ref() {
            DeValue::Boolean(true) => Some(Some(over.clone())),
            DeValue::Boolean(false) => {
                Some(Some(Expr { kind: ExprKind::Not(Box::new(over.clone())), span: place, depth: over.depth + 1 }))
            }
            DeValue::Integer(_) | DeValue::Float(_) => {
                let value = self.expression_of(item, "when")?;
                Some(Some(binary(BinaryOp::Equal, over.clone(), value, place)))
            }
            DeValue::String(text) if text.trim() == "*" => Some(None),
            DeValue::String(text) => self.cell_text(text, place, over).map(Some),
            DeValue::Array(items) => self.cell_list(items, place, over).map(Some),
            _ => {
                mismatch(
                    self.checker.messages,
                    "a cell",
                    "a text, a number or a list of them",
                    item,
                    "\">= 15, < 30\"",
                );
                None
            }
        }
    }

    /// Any of several values, or of a few comparisons.
    fn cell_list(&mut self, items: &'d [Item<'d>], place: Span, over: &Expr) -> Option<Expr> {
        const MOST_COMPARISONS: usize = 16;
        use toml::de::DeValue;
        let plain = |item: &Item<'_>| match item.get_ref() {
            DeValue::String(text) => !text.trim_start().starts_with(['<', '>', '=', '!', '*']) && !text.contains(".."),
            DeValue::Integer(_) | DeValue::Float(_) => true,
            _ => false,
        };
        if items.is_empty() || (items.len() > MOST_COMPARISONS && !items.iter().all(plain)) {
            let message = format!("a cell lists values, or at most {MOST_COMPARISONS} comparisons");
            self.checker.error(
                "wrong-value",
                place,
                message,
                "write the values: [\"single\", \"return\"], or \"*\" for anything",
            );
            return None;
        }
        if items.iter().all(plain) {
            let values: Option<Vec<Expr>> = items
                .iter()
                .map(|item| match item.get_ref() {
                    DeValue::String(text) => self.cell_value(text.trim(), span(item)),
                    _ => self.expression_of(item, "when"),
                })
                .collect();
            let list = Expr { kind: ExprKind::List(values?), span: place, depth: 3 };
            return Some(binary(BinaryOp::In, over.clone(), list, place));
        }
        let mut any: Option<Expr> = None;
        for item in items {
            let one = self.cell(item, over)?.unwrap_or(Expr { kind: ExprKind::Bool(true), span: span(item), depth: 1 });
            any = Some(match any {
                None => one,
                Some(before) => binary(BinaryOp::Or, before, one, place),
            });
        }
        any
    }

    fn cell_text(&mut self, text: &str, place: Span, over: &Expr) -> Option<Expr> {
        let text = text.trim();
        if let Some((low, high)) = text.split_once("..") {
            let low = self.cell_value(low.trim(), place)?;
            let high = self.cell_value(high.trim(), place)?;
            let from = binary(BinaryOp::GreaterEqual, over.clone(), low, place);
            let until = binary(BinaryOp::LessEqual, over.clone(), high, place);
            return Some(binary(BinaryOp::And, from, until, place));
        }
        if !text.starts_with(['<', '>', '=', '!']) {
            let value = self.cell_value(text, place)?;
            return Some(binary(BinaryOp::Equal, over.clone(), value, place));
        }
        const MOST_COMPARISONS: usize = 4;
        if text.split(',').count() > MOST_COMPARISONS {
            self.checker.error(
                "syntax",
                place,
                format!("more than {MOST_COMPARISONS} comparisons in a cell"),
                "write a list of values, or several rows",
            );
            return None;
        }
        let mut all: Option<Expr> = None;
        for part in text.split(',') {
            let part = part.trim();
            let known = [
                ("<=", BinaryOp::LessEqual),
                (">=", BinaryOp::GreaterEqual),
                ("==", BinaryOp::Equal),
                ("!=", BinaryOp::NotEqual),
                ("<", BinaryOp::Less),
                (">", BinaryOp::Greater),
            ];
            let Some((op, rest)) = known.iter().find_map(|(sign, op)| Some((*op, part.strip_prefix(sign)?))) else {
                let message = format!("`{}` is no comparison", shorten(part));
                self.checker.error("syntax", place, message, "write comparisons joined by commas: \">= 15, < 30\"");
                return None;
            };
            let value = self.cell_value(rest.trim(), place)?;
            let one = binary(op, over.clone(), value, place);
            all = Some(match all {
                None => one,
                Some(before) => binary(BinaryOp::And, before, one, place),
            });
        }
        all
    }

    /// A value in a cell: a number, a date, an instant, a duration in its own words, or a text.
    fn cell_value(&mut self, text: &str, place: Span) -> Option<Expr> {
        let literal = |kind| Some(Expr { kind, span: place, depth: 1 });
        let call = |name: &str| {
            let argument = Expr { kind: ExprKind::Text(text.to_owned()), span: place, depth: 1 };
            let kind = ExprKind::Call { name: name.to_owned(), name_span: place, args: vec![argument] };
            Some(Expr { kind, span: place, depth: 2 })
        };
        if text.is_empty() {
            self.checker.error("syntax", place, "a value is missing here", "write it like this: \">= 15, < 30\"");
            return None;
        }
        if let Some(number) = parse_decimal(text) {
            return literal(ExprKind::Number(number));
        }
        if text.parse::<chrono::NaiveDate>().is_ok() {
            return call("date");
        }
        if super::facts::parse_timestamp(text).is_some() {
            return call("timestamp");
        }
        if super::value::parse_duration(text).is_some() {
            return call("duration");
        }
        let unquoted = text.strip_prefix('\'').and_then(|text| text.strip_suffix('\'')).unwrap_or(text);
        if text.contains('.') || text.contains('(') {
            let expression = Text { value: text, span: place };
            return match super::parser::parse_text(expression.value) {
                Ok(mut parsed) => {
                    super::parser::move_to(&mut parsed, place);
                    Some(parsed)
                }
                Err(error) => {
                    self.checker.error(error.code, place, error.message, error.remedy);
                    None
                }
            };
        }
        literal(ExprKind::Text(unquoted.to_owned()))
    }

    // ---- clocks -----------------------------------------------------------------------------------

    fn clock(&mut self, name: &str, place: Span, table: &Table<'d>) {
        table.only(&["starts", "stops", "paused", "counts", "calendar", "title", "reference"], self.checker.messages);
        let (title, reference) = (self.localised(table, "title"), self.reference(table));
        let starts = self.required_expression(table, "starts", "starts = \"claim.reported_at\"");
        let stops = self.required_expression(table, "stops", "stops = \"claim.fixed_at\"");
        let paused = self.expression(table, "paused");
        let calendar = table.text("calendar", self.checker.messages).and_then(|text| self.calendar_place(&text));
        let counts = table.text("counts", self.checker.messages);
        let zone = self.checker.program.zone;
        let counts = match counts.as_ref().map_or("time", |text| text.value) {
            "time" => Some(Counts::Time),
            "days" => zone.map(Counts::Days),
            "working_days" if calendar.is_none() => {
                if table.get("calendar").is_none() {
                    table.missing("calendar", "calendar = \"england\"", self.checker.messages);
                }
                None
            }
            "working_days" => zone.zip(calendar).map(|(zone, calendar)| Counts::WorkingDays(zone, calendar)),
            _ => {
                if let Some(text) = &counts {
                    self.unknown_value(text, "way to count", ["time", "days", "working_days"].into_iter());
                }
                return;
            }
        };
        if counts.is_none() && zone.is_none() {
            self.checker.error(
                "no-zone",
                place,
                "a clock that counts days depends on local time, but the policy names no time zone",
                "write `zone = \"Asia/Seoul\"` at the top of the file",
            );
        }
        if let (Some(starts), Some(stops), Some(counts)) = (starts, stops, counts) {
            let draft = Draft::Clock { starts, stops, paused, counts };
            self.checker.declare(named(format!("clock.{name}"), title, reference), draft, place);
        }
    }
}

pub(crate) fn binary(op: BinaryOp, left: Expr, right: Expr, span: Span) -> Expr {
    let depth = 1 + left.depth.max(right.depth);
    Expr { kind: ExprKind::Binary(op, Box::new(left), Box::new(right)), span, depth }
}
