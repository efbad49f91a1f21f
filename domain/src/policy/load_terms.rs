//! Reads what stands around the rules: reasons, documents, caps, stacking.

use super::ast::{BinaryOp, Expr};
use super::check::Scope;
use super::document::{Table, shorten};
use super::limits::{MAX_CAPS, MAX_ENTRIES};
use super::load::Loader;
use super::load_facts::is_code;
use super::load_named::binary;
use super::number::Number;
use super::rules::{Cap, CapPeriod, CapScope, Document, Reason, Stacking, StackingRule, SubjectCap};
use super::types::Unit;
use super::value::Constant;
use crate::asset::Amount;

impl<'d> Loader<'_, 'd, '_> {
    /// The tables of a section whose names are codes.
    fn coded_tables(&mut self, section: &str) -> Vec<(&'d str, super::diagnostic::Span, Table<'d>)> {
        let Some(tables) = self.top.clone().inner(section, format!("`{section}`"), self.checker.messages) else {
            return Vec::new();
        };
        let mut found = Vec::new();
        for (code, place, item) in tables.entries() {
            if !is_code(code) {
                let message = format!("\"{}\" is no code", shorten(code));
                self.checker.error(
                    "wrong-name",
                    place,
                    message,
                    "use a-z, 0-9, - and _, beginning with a letter or digit",
                );
            }
            if found.len() >= MAX_ENTRIES {
                self.checker.error(
                    "too-large",
                    place,
                    format!("more than {MAX_ENTRIES} tables"),
                    "split the policy into several",
                );
                break;
            }
            let table =
                super::document::as_table(item, format!("{section} \"{}\"", shorten(code)), self.checker.messages);
            found.extend(table.map(|table| (code, place, table)));
        }
        found
    }

    pub(crate) fn reasons(&mut self) {
        for (code, place, table) in self.coded_tables("reason") {
            let wording = self.wording(&table, &["ko", "en", "appealable", "reference"]);
            let appealable = table.boolean("appealable", self.checker.messages).unwrap_or(true);
            let reference = self.reference(&table);
            if let Some(wording) = wording {
                self.book.declare(Reason { code: code.into(), wording, appealable, reference, span: place });
            }
        }
    }

    pub(crate) fn documents(&mut self) -> Vec<Document> {
        let mut documents = Vec::new();
        for (code, place, table) in self.coded_tables("evidence") {
            table.only(&["title", "of", "above", "reference"], self.checker.messages);
            let title = self.localised(&table, "title");
            self.reference(&table);
            let scope = Scope { date: self.checker.date, ..Scope::default() };
            let pair = match (table.get("of").is_some(), table.get("above").is_some()) {
                (false, false) => Some(None),
                (true, true) => {
                    let of = self.required_expression(&table, "of", "of = \"claim.loss\"");
                    let above = self.required_expression(&table, "above", "above = 500_000");
                    of.zip(above).and_then(|(of, above)| self.threshold(&of, &above, &scope)).map(Some)
                }
                (has_of, _) => {
                    let missing = if has_of { "above" } else { "of" };
                    table.missing(missing, "of = \"claim.loss\", above = 500_000", self.checker.messages);
                    None
                }
            };
            let Some(pair) = pair else { continue };
            documents.push(Document {
                code: code.into(),
                title,
                when: pair.as_ref().map(|pair| pair.0),
                threshold: pair.as_ref().and_then(|pair| pair.1),
                threshold_asset: pair.as_ref().and_then(|pair| pair.2),
                span: place,
            });
        }
        documents
    }

    /// `of > above`, and the amount when it is written.
    fn threshold(&mut self, of: &Expr, above: &Expr, scope: &Scope) -> Option<Threshold> {
        let condition = binary(BinaryOp::Greater, of.clone(), above.clone(), above.span);
        let when = self.checker.condition(&condition, scope)?;
        let (a, b) = (self.checker.check(of, scope)?, self.checker.check(above, scope)?);
        let amount = match self.checker.program.constant_of(b.node) {
            Some(Constant::Number(number)) => Some(*number),
            _ => None,
        };
        let asset = match a.kind.unit() {
            Some(Unit::Asset(at)) => Some(at),
            _ => None,
        };
        Some((when.node, amount, asset))
    }

    // ---- caps -------------------------------------------------------------------------------------

    pub(crate) fn caps(&mut self) -> (Vec<SubjectCap>, Vec<Cap>) {
        let (mut single, mut wide) = (Vec::new(), Vec::new());
        let tables = self.top.clone().list_of_tables("cap", self.checker.messages);
        if tables.len() > MAX_CAPS {
            let message = format!("more than {MAX_CAPS} caps");
            self.checker.error("too-large", self.top.key_span("cap"), message, "split the policy into several");
            return (single, wide);
        }
        for (at, table) in tables.iter().enumerate() {
            table.only(
                &["name", "per", "asset", "at_most", "at_least", "nothing_below", "takers", "period", "reference"],
                self.checker.messages,
            );
            let name = match table.text("name", self.checker.messages) {
                Some(text) => self.code(&text, "cap").unwrap_or(text.value).to_owned(),
                None => format!("cap-{}", at + 1),
            };
            let example = "[[cap]] per = \"subject\", asset = \"KRW\", at_most = 100_000";
            let per = table.required_text("per", example, self.checker.messages);
            let asset =
                table.required_text("asset", example, self.checker.messages).and_then(|text| self.asset_code(&text));
            let reference = self.reference(table);
            let scope = match per.as_ref().map(|text| text.value) {
                Some("subject") => CapScope::Subject,
                Some("customer") => CapScope::Customer,
                Some("period") => CapScope::Period,
                Some("programme") => CapScope::Programme,
                _ => {
                    if let Some(text) = &per {
                        self.unknown_value(
                            text,
                            "scope of a cap",
                            ["subject", "customer", "period", "programme"].into_iter(),
                        );
                    }
                    continue;
                }
            };
            let Some(code) = asset else { continue };
            let asset = self.checker.program.names.asset(&code);
            self.check_cap_keys(table, scope);
            if scope == CapScope::Subject {
                single.extend(self.subject_cap(name, asset, table, reference));
            } else {
                wide.extend(self.wide_cap(name, scope, asset, table, reference));
            }
        }
        (single, wide)
    }

    fn check_cap_keys(&mut self, table: &Table<'d>, scope: CapScope) {
        let limits = ["at_most", "at_least", "nothing_below", "takers"];
        if limits.iter().all(|key| table.get(key).is_none()) {
            table.missing("at_most", "at_most = 100_000", self.checker.messages);
        }
        let misplaced = [("takers", CapScope::Programme, "programme"), ("period", CapScope::Period, "period")];
        for (key, owner, name) in misplaced {
            if table.get(key).is_some() && scope != owner {
                let message = format!("`{key}` belongs to a cap per {name}");
                self.checker.error(
                    "unknown-key",
                    table.key_span(key),
                    message,
                    format!("write per = \"{name}\", or take it out"),
                );
            }
        }
    }

    fn subject_cap(
        &mut self,
        name: String,
        asset: u16,
        table: &Table<'d>,
        reference: Option<String>,
    ) -> Option<SubjectCap> {
        let scope = Scope { date: self.checker.date, ..Scope::default() };
        let mut failed = false;
        let mut limit = |key: &str| {
            let expression = self.expression(table, key);
            failed |= expression.is_none() && table.get(key).is_some();
            let checked = expression.as_ref().map(|expression| self.amount(expression, asset, &scope))?;
            failed |= checked.is_none();
            checked.map(|checked| checked.node)
        };
        let (at_most, at_least, nothing_below) = (limit("at_most"), limit("at_least"), limit("nothing_below"));
        let bounds =
            [at_least, at_most].map(|node| node.and_then(|node| self.checker.program.constant_of(node).cloned()));
        if let [Some(Constant::Number(least)), Some(Constant::Number(most))] = bounds
            && most < least
        {
            self.crossed(table);
        }
        (!failed).then(|| SubjectCap { name: name.into(), asset, at_most, at_least, nothing_below, reference })
    }

    fn crossed(&mut self, table: &Table<'d>) {
        let message = "`at_least` is above `at_most`";
        self.checker.error("wrong-value", table.key_span("at_least"), message, "exchange or correct them");
    }

    fn wide_cap(
        &mut self,
        name: String,
        scope: CapScope,
        asset: u16,
        table: &Table<'d>,
        reference: Option<String>,
    ) -> Option<Cap> {
        let scale = self.checker.program.names.assets.get(usize::from(asset)).map_or(0, crate::asset::Asset::scale);
        let mut limit = |key: &str| {
            let number = table.number(key, self.checker.messages)?;
            let amount = Amount::from_decimal(number, scale).ok().filter(|amount| *amount >= Amount::ZERO);
            if amount.is_none() {
                let message = format!("{number} is no amount of an asset with {scale} decimal digits");
                self.checker.error(
                    "award-precision",
                    table.key_span(key),
                    message,
                    "write a number above zero with as many digits as the asset has",
                );
            }
            amount
        };
        let (at_most, at_least, nothing_below) = (limit("at_most"), limit("at_least"), limit("nothing_below"));
        let takers = table.number("takers", self.checker.messages).and_then(|takers| {
            let whole = takers.is_integer().then(|| u64::try_from(takers.trunc().mantissa()).ok()).flatten();
            if whole.is_none() {
                self.checker.error(
                    "wrong-value",
                    table.key_span("takers"),
                    "`takers` is a whole number",
                    "takers = 3_000_000",
                );
            }
            whole
        });
        if at_least.zip(at_most).is_some_and(|(least, most)| most < least) {
            self.crossed(table);
        }
        let mut period = CapPeriod::Month;
        if scope == CapScope::Period {
            let text = table.required_text("period", "period = \"month\"", self.checker.messages)?;
            period = match text.value {
                "day" => CapPeriod::Day,
                "month" => CapPeriod::Month,
                "quarter" => CapPeriod::Quarter,
                "year" => CapPeriod::Year,
                _ => {
                    self.unknown_value(&text, "period", ["day", "month", "quarter", "year"].into_iter());
                    return None;
                }
            };
            if self.checker.date.is_none() {
                let message = "a cap per period needs the policy's `date`, which says in which period a subject falls";
                self.checker.error("no-date", table.span, message, "write date = \"claim.…\" at the top of the file");
            }
        }
        Some(Cap { name: name.into(), scope, period, asset, at_most, at_least, nothing_below, takers, reference })
    }

    // ---- stacking ---------------------------------------------------------------------------------

    pub(crate) fn stacking(&mut self) -> Option<Stacking> {
        let table = self.top.clone().inner("stacking", "[stacking]", self.checker.messages)?;
        table.only(&["group", "rule", "priority", "key"], self.checker.messages);
        let example = "[stacking] group = \"line-down\", rule = \"highest-of\"";
        let group = table.required_text("group", example, self.checker.messages);
        let group = group.and_then(|text| self.code(&text, "stacking group").map(str::to_owned));
        let rule = table.required_text("rule", example, self.checker.messages).and_then(|text| match text.value {
            "highest-of" => Some(StackingRule::HighestOf),
            "not-both" => Some(StackingRule::NotBoth),
            _ => {
                self.unknown_value(&text, "rule of stacking", ["highest-of", "not-both"].into_iter());
                None
            }
        });
        let priority = table.number("priority", self.checker.messages).and_then(|priority| {
            let whole = priority.is_integer().then(|| i64::try_from(priority.trunc().mantissa()).ok()).flatten();
            if whole.is_none() {
                self.checker.error(
                    "wrong-value",
                    table.key_span("priority"),
                    "`priority` is a whole number",
                    "priority = 1",
                );
            }
            whole
        });
        let scope = Scope { date: self.checker.date, ..Scope::default() };
        let key = self.expression(&table, "key");
        let key = match key {
            Some(key) => Some(self.checker.check(&key, &scope)?.node),
            None => None,
        };
        Some(Stacking { group: group?.into(), rule: rule?, priority: priority.unwrap_or(0), key })
    }
}

/// The condition of a document; the amount, when it is written; its asset, when it is money.
type Threshold = (super::ir::NodeId, Option<Number>, Option<u16>);
