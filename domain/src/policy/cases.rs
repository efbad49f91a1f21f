//! Reads case files: what a policy must say of which facts, written beside the policy by whoever wrote the policy.

use rust_decimal::Decimal;

use super::assessment::OutcomeKind;
use super::diagnostic::{Diagnostic, Messages, Span};
use super::document::{self, Item, Table, as_table, exact_number, mismatch, shorten, span};
use super::facts::{FactValue, Facts};
use super::limits::MAX_CASES;
use super::load_facts::fact_value;
use crate::asset::AssetCode;

/// The cases of one file.
#[derive(Debug, Clone)]
pub struct CaseFile {
    pub(crate) cases: Vec<Case>,
    pub(crate) settlements: Vec<SettlementCase>,
}

impl CaseFile {
    /// How many cases and settlements there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.cases.len() + self.settlements.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) line: usize,
    pub(crate) facts: Facts,
    pub(crate) outcome: OutcomeKind,
    pub(crate) rule: Option<String>,
    pub(crate) amounts: Option<Vec<(AssetCode, Decimal)>>,
    pub(crate) reason: Option<String>,
    pub(crate) appealable: Option<bool>,
    pub(crate) queue: Option<String>,
    pub(crate) evidence: Option<Vec<String>>,
    pub(crate) error: Option<String>,
    pub(crate) rounding: Option<ExpectedRounding>,
}

#[derive(Debug, Clone)]
pub(crate) struct ExpectedRounding {
    pub(crate) before: Option<String>,
    pub(crate) mode: Option<String>,
    pub(crate) unit: Option<Decimal>,
}

#[derive(Debug, Clone)]
pub(crate) struct SettlementCase {
    pub(crate) name: String,
    pub(crate) line: usize,
    pub(crate) subjects: Vec<SettlementSubject>,
    pub(crate) used: Vec<(AssetCode, Decimal)>,
    pub(crate) takers: u64,
}

#[derive(Debug, Clone)]
pub(crate) struct SettlementSubject {
    pub(crate) reference: String,
    pub(crate) policy: Option<String>,
    pub(crate) facts: Facts,
    pub(crate) given: Vec<(AssetCode, Decimal)>,
    pub(crate) amounts: Vec<(AssetCode, Decimal)>,
}

impl CaseFile {
    /// Reads a case file; all errors come at once.
    pub fn parse(source: &str, file_name: &str) -> Result<Self, Vec<Diagnostic>> {
        let mut messages = Messages::new(file_name, source);
        let Some(document) = document::parse(source, &mut messages) else { return Err(messages.finish()) };
        let top = Table::new(document.get_ref(), Span { start: 0, end: 0 }, "a case file");
        top.only(&["facts", "case", "settlement"], &mut messages);
        let mut reader = Reader { messages: &mut messages, common: Facts::new() };
        reader.common = reader.facts(&top);
        let cases: Vec<Option<Case>> =
            tables(&top, "case", reader.messages).iter().map(|table| reader.case(table)).collect();
        let settlements: Vec<Option<SettlementCase>> =
            tables(&top, "settlement", reader.messages).iter().map(|table| reader.settlement(table)).collect();
        if cases.len() + settlements.len() > MAX_CASES {
            messages.error(
                "too-large",
                Span::default(),
                format!("more than {MAX_CASES} cases"),
                "split the policy into several",
            );
        }
        if messages.has_errors() {
            return Err(messages.finish());
        }
        Ok(Self {
            cases: cases.into_iter().flatten().collect(),
            settlements: settlements.into_iter().flatten().collect(),
        })
    }
}

fn tables<'d>(top: &Table<'d>, key: &str, messages: &mut Messages<'_>) -> Vec<Table<'d>> {
    top.list_of_tables(key, messages)
}

struct Reader<'m, 's> {
    messages: &'m mut Messages<'s>,
    common: Facts,
}

impl Reader<'_, '_> {
    fn case(&mut self, table: &Table<'_>) -> Option<Case> {
        const KEYS: [&str; 13] = [
            "name",
            "facts",
            "without",
            "outcome",
            "rule",
            "amounts",
            "reason",
            "appealable",
            "queue",
            "evidence",
            "error",
            "rounding",
            "reference",
        ];
        table.only(&KEYS, self.messages);
        let name = table.required_text("name", "name = \"300,000 is the last of the first tier\"", self.messages);
        let text = |reader: &mut Self, key: &str| table.text(key, reader.messages).map(|text| text.value.to_owned());
        let outcome = table.required_text("outcome", "outcome = \"award\"", self.messages).and_then(|text| {
            let known = [
                OutcomeKind::Award,
                OutcomeKind::Decline,
                OutcomeKind::Review,
                OutcomeKind::Pending,
                OutcomeKind::Error,
            ];
            let found = known.into_iter().find(|kind| kind.as_str() == text.value);
            if found.is_none() {
                let message = format!("no outcome is called \"{}\"", shorten(text.value));
                self.messages.error(
                    "unknown-value",
                    text.span,
                    message,
                    "write award, decline, review, pending or error",
                );
            }
            found
        });
        let amounts = table.get("amounts").map(|_| self.amounts(table, "amounts"));
        let evidence = table
            .get("evidence")
            .map(|_| table.texts("evidence", self.messages).iter().map(|text| text.value.to_owned()).collect());
        let (line, _, _) = self.messages.place(table.span.start);
        Some(Case {
            facts: self.case_facts(table),
            rule: text(self, "rule"),
            reason: text(self, "reason"),
            queue: text(self, "queue"),
            error: text(self, "error"),
            appealable: table.boolean("appealable", self.messages),
            rounding: self.rounding(table),
            name: name?.value.to_owned(),
            line,
            outcome: outcome?,
            amounts,
            evidence,
        })
    }

    fn rounding(&mut self, table: &Table<'_>) -> Option<ExpectedRounding> {
        let inner = table.inner("rounding", "`rounding`", self.messages)?;
        inner.only(&["before", "mode", "unit"], self.messages);
        let before = match inner.get("before") {
            Some(item) => match (exact_number(item), item.get_ref().as_str()) {
                (_, Some(text)) => Some(text.to_owned()),
                (Some(number), None) => Some(number.normalize().to_string()),
                (None, None) => {
                    mismatch(self.messages, "`before`", "a number", item, "before = \"4065.86…\"");
                    None
                }
            },
            None => None,
        };
        let mode = inner.text("mode", self.messages).map(|text| text.value.to_owned());
        let unit = inner.number("unit", self.messages);
        Some(ExpectedRounding { before, mode, unit })
    }

    /// The common facts with those of the case, without those it takes away.
    fn case_facts(&mut self, table: &Table<'_>) -> Facts {
        let mut facts = self.common.clone();
        for text in table.texts("without", self.messages) {
            facts.remove(text.value);
        }
        for (name, value) in self.facts(table).iter() {
            facts.set(name, value.clone());
        }
        facts
    }

    fn facts(&mut self, table: &Table<'_>) -> Facts {
        let mut facts = Facts::new();
        if let Some(inner) = table.inner("facts", "`facts`", self.messages) {
            self.collect(&inner, "", 0, &mut facts);
        }
        facts
    }

    fn collect(&mut self, table: &Table<'_>, prefix: &str, depth: usize, facts: &mut Facts) {
        const DEEPEST: usize = 4;
        for (key, _, item) in table.entries() {
            let name = if prefix.is_empty() { key.to_owned() } else { format!("{prefix}.{key}") };
            match fact_value(item) {
                Some(value) => {
                    if facts.get(&name).is_some() {
                        self.messages.error(
                            "twice",
                            span(item),
                            format!("`{}` stands twice", shorten(&name)),
                            "keep one of the two",
                        );
                    }
                    facts.set(name, value);
                }
                None if item.get_ref().is_table() && depth < DEEPEST => {
                    if let Some(inner) = as_table(item, format!("`{name}`"), self.messages) {
                        self.window_or_facts(&inner, item, &name, depth, facts);
                    }
                }
                None => self.messages.error(
                    "wrong-value",
                    span(item),
                    format!("the value of `{}` cannot be read", shorten(&name)),
                    "write it as in a facts file; numbers without exponent, windows as { from = …, until = … }",
                ),
            }
        }
    }

    fn window_or_facts(&mut self, inner: &Table<'_>, item: &Item<'_>, name: &str, depth: usize, facts: &mut Facts) {
        let is_window = inner.get("from").is_some() && inner.get("until").is_some() && inner.table.len() == 2;
        if is_window {
            let message = format!("`{}` is no window", shorten(name));
            self.messages.error(
                "wrong-value",
                span(item),
                message,
                "both ends are instants with an offset, and the end comes after the beginning",
            );
        } else {
            self.collect(inner, name, depth + 1, facts);
        }
    }

    fn amounts(&mut self, table: &Table<'_>, key: &str) -> Vec<(AssetCode, Decimal)> {
        let Some(inner) = table.inner(key, format!("`{key}`"), self.messages) else { return Vec::new() };
        let mut amounts = Vec::new();
        for (code, place, item) in inner.entries() {
            let code = AssetCode::parse(code);
            match (code, exact_number(item)) {
                (Ok(code), Some(amount)) => amounts.push((code, amount)),
                (Err(error), _) => {
                    self.messages.error("unknown-asset", place, error.to_string(), "amounts = { KRW = 30_000 }")
                }
                (_, None) => {
                    mismatch(self.messages, "an amount", "an exact number", item, "amounts = { KRW = 30_000 }")
                }
            }
        }
        amounts
    }

    fn settlement(&mut self, table: &Table<'_>) -> Option<SettlementCase> {
        table.only(&["name", "subjects", "programme", "reference"], self.messages);
        let name = table.required_text("name", "name = \"one daily amount\"", self.messages);
        let (mut used, mut takers) = (Vec::new(), 0);
        if let Some(inner) = table.inner("programme", "`programme`", self.messages) {
            for (key, place, item) in inner.entries() {
                let Some(number) = exact_number(item) else {
                    mismatch(
                        self.messages,
                        "`programme`",
                        "exact numbers",
                        item,
                        "programme = { KRW = 0, takers = 0 }",
                    );
                    continue;
                };
                if key == "takers" {
                    takers = u64::try_from(number.trunc().mantissa()).unwrap_or(0);
                    continue;
                }
                match AssetCode::parse(key) {
                    Ok(code) => used.push((code, number)),
                    Err(error) => self.messages.error(
                        "unknown-asset",
                        place,
                        error.to_string(),
                        "programme = { KRW = 0, takers = 0 }",
                    ),
                }
            }
        }
        let subjects = tables(table, "subjects", self.messages);
        if subjects.is_empty() {
            table.missing(
                "subjects",
                "subjects = [ { ref = \"a\", facts = { … }, amounts = { KRW = 1 } } ]",
                self.messages,
            );
        }
        let subjects: Vec<Option<SettlementSubject>> = subjects.iter().map(|subject| self.subject(subject)).collect();
        let (line, _, _) = self.messages.place(table.span.start);
        Some(SettlementCase {
            name: name?.value.to_owned(),
            line,
            subjects: subjects.into_iter().collect::<Option<_>>()?,
            used,
            takers,
        })
    }

    fn subject(&mut self, table: &Table<'_>) -> Option<SettlementSubject> {
        table.only(&["ref", "policy", "facts", "without", "given", "amounts"], self.messages);
        let reference = table.required_text("ref", "ref = \"broadband\"", self.messages);
        Some(SettlementSubject {
            policy: table.text("policy", self.messages).map(|text| text.value.to_owned()),
            facts: self.case_facts(table),
            given: self.amounts(table, "given"),
            amounts: self.amounts(table, "amounts"),
            reference: reference?.value.to_owned(),
        })
    }
}

impl std::fmt::Display for FactValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bool(value) => write!(f, "{value}"),
            Self::Number(value) => write!(f, "{value}"),
            Self::Text(value) => f.write_str(value),
            Self::Window(value) => write!(f, "{} to {}", value.from(), value.until()),
            Self::List(values) => write!(f, "{} values", values.len()),
        }
    }
}
