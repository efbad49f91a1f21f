//! Builds a policy out of its file: every section in turn, all errors of the file in one go.

use sha2::{Digest, Sha256};
use std::sync::Arc;

use super::ast::{Expr, ExprKind};
use super::check::{Checker, Scope};
use super::diagnostic::{Diagnostic, Messages, Span, suggestion};
use super::document::{self, Item, Table, Text, as_table, exact_number, mismatch, shorten, span};
use super::limits::MAX_ASSETS;
use super::lint::Fairness;
use super::number::Number;
use super::parser::parse_expression;
use super::plan::Plan;
use super::policy::{Inner, Policy};
use super::program::Program;
use super::reasons::ReasonBook;
use super::rules::{AssetTerms, Basis, Worth};
use super::types::Type;
use super::value::parse_duration;
use crate::asset::{Asset, AssetCode};
use crate::id::{IncidentId, PolicyId, ServiceId};
use crate::incident::Localised;

const TOP_LEVEL: [&str; 23] = [
    "policy",
    "incident",
    "service",
    "basis",
    "reference",
    "title",
    "zone",
    "date",
    "facts",
    "parameter",
    "derived",
    "table",
    "calendar",
    "clock",
    "rule",
    "reason",
    "evidence",
    "claim_window",
    "cap",
    "stacking",
    "asset",
    "fairness",
    "second_reading",
];

impl Policy {
    /// Reads, checks and compiles a policy; all errors of the file come at once.
    ///
    /// Warnings and unfair terms do not stop it: they stand in [`Policy::notes`].
    pub fn compile(source: &str, file_name: &str) -> Result<Self, Vec<Diagnostic>> {
        let mut messages = Messages::new(file_name, source);
        let Some(document) = document::parse(source, &mut messages) else { return Err(messages.finish()) };
        let top = Table::new(document.get_ref(), Span { start: 0, end: 0 }, "a policy");
        let known: Vec<&str> = TOP_LEVEL.iter().copied().chain(["waive"]).collect();
        top.only(&known, &mut messages);
        let built = {
            let checker = Checker::new(Program::default(), &mut messages);
            Loader {
                source,
                file_name,
                top,
                checker,
                terms: Vec::new(),
                book: ReasonBook::default(),
                lists: Vec::new(),
                fair: Fairness::default(),
            }
            .load()
        };
        let failed = messages.has_errors();
        let notes = messages.finish();
        match built {
            Some(inner) if !failed => Ok(Self { inner: Arc::new(Inner { notes, ..inner }) }),
            _ => Err(notes),
        }
    }
}

/// Conditions that are tried in order, kept as they were written for the analysis of gaps and overlaps.
pub(crate) struct ConditionList {
    pub(crate) what: &'static str,
    pub(crate) entries: Vec<ConditionEntry>,
    pub(crate) is_table: bool,
    pub(crate) has_otherwise: bool,
    pub(crate) span: Span,
}

pub(crate) struct ConditionEntry {
    pub(crate) name: String,
    pub(crate) when: Option<Expr>,
    pub(crate) span: Span,
}

/// What is known while a file is read.
pub(crate) struct Loader<'c, 'd, 's> {
    pub(crate) source: &'d str,
    pub(crate) file_name: &'d str,
    pub(crate) top: Table<'d>,
    pub(crate) checker: Checker<'c, 's>,
    pub(crate) terms: Vec<AssetTerms>,
    pub(crate) book: ReasonBook,
    pub(crate) lists: Vec<ConditionList>,
    pub(crate) fair: Fairness,
}

impl<'d> Loader<'_, 'd, '_> {
    fn load(mut self) -> Option<Inner> {
        let (id, incident, service, basis) = self.identity();
        let title = self.localised(&self.top.clone(), "title");
        let reference = self.top.text("reference", self.checker.messages).map(|text| text.value.to_owned());
        if self.top.get("title").is_none() {
            self.recommend("title", "title = { ko = \"…\", en = \"…\" }");
        }
        if let Some(zone) = self.top.text("zone", self.checker.messages) {
            self.checker.program.zone = self.checker.zone(zone.value, zone.span);
        }
        self.fairness();
        self.assets();
        self.facts();
        self.parameters();
        self.calendars();
        self.declare_named();
        let date = self.date_of(&self.top.clone());
        self.checker.date = date;
        self.checker.check_named();
        self.reasons();
        let documents = self.documents();
        let rules = self.rules(basis, &documents, reference.as_deref());
        let (subject_caps, caps) = self.caps();
        let stacking = self.stacking();
        let sample = self.sample();
        self.analyse();
        self.unused_facts();
        self.limits();
        for slot in &mut self.checker.program.slots {
            slot.not_negative = slot.low == Some(Number::ZERO) && slot.high.is_none();
        }
        let nothing_due = self.book.place("nothing-due");
        // The lint looks at assets in the order of the program's list.
        self.terms.resize_with(self.checker.program.names.assets.len(), AssetTerms::default);
        self.lint(&rules, &documents);
        let (book, terms) = (self.book, self.terms);
        let program = self.checker.program;
        let plan = Plan::new(&program, &rules);
        Some(Inner {
            id: id?,
            incident,
            service,
            basis: basis?,
            title,
            reference,
            source: self.source.to_owned(),
            file: self.file_name.to_owned(),
            version: hex::encode(Sha256::digest(self.source.as_bytes())),
            program,
            date,
            rules,
            plan,
            reasons: book.reasons,
            nothing_due,
            documents,
            subject_caps,
            caps,
            stacking,
            sample,
            terms,
            notes: Vec::new(),
        })
    }

    fn recommend(&mut self, key: &str, example: &str) {
        let message = format!("the policy has no `{key}`");
        self.checker.messages.warn("recommended-key", self.top.span, message, format!("write it like this: {example}"));
    }

    fn identity(&mut self) -> (Option<PolicyId>, Option<IncidentId>, Option<ServiceId>, Option<Basis>) {
        let top = self.top.clone();
        let id = top
            .required_text("policy", "policy = \"kakaotalk-merchant-loss\"", self.checker.messages)
            .and_then(|text| self.identifier(&text, PolicyId::parse(text.value)));
        let incident = top
            .text("incident", self.checker.messages)
            .and_then(|text| self.identifier(&text, IncidentId::parse(text.value)));
        let service = top
            .text("service", self.checker.messages)
            .and_then(|text| self.identifier(&text, ServiceId::parse(text.value)));
        if incident.is_some() && top.get("service").is_none() {
            top.missing("service", "service = \"kakaotalk\"", self.checker.messages);
        }
        let basis = top.required_text("basis", "basis = \"claim\"", self.checker.messages).and_then(|text| {
            let basis = Basis::parse(text.value);
            if basis.is_none() {
                self.unknown_value(&text, "basis", Basis::ALL.iter().map(|(name, _)| *name));
            }
            basis
        });
        (id, incident, service, basis)
    }

    fn identifier<T>(&mut self, text: &Text<'_>, parsed: Result<T, crate::id::IdError>) -> Option<T> {
        match parsed {
            Ok(id) => Some(id),
            Err(error) => {
                self.checker.error(
                    "wrong-value",
                    text.span,
                    error.to_string(),
                    "use a-z, 0-9 and hyphens between them",
                );
                None
            }
        }
    }

    pub(crate) fn unknown_value<'n>(
        &mut self,
        text: &Text<'_>,
        what: &str,
        known: impl Iterator<Item = &'n str> + Clone,
    ) {
        let remedy = match suggestion(text.value, known.clone()) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => format!("write one of {}", super::types::quoted(&known.collect::<Vec<_>>())),
        };
        self.checker.error(
            "unknown-value",
            text.span,
            format!("no {what} is called \"{}\"", shorten(text.value)),
            remedy,
        );
    }

    pub(crate) fn localised(&mut self, table: &Table<'d>, key: &str) -> Option<Localised> {
        let inner = table.inner(key, format!("`{key}`"), self.checker.messages)?;
        self.wording(&inner, &["ko", "en"])
    }

    pub(crate) fn wording(&mut self, table: &Table<'d>, known: &[&str]) -> Option<Localised> {
        table.only(known, self.checker.messages);
        let example = "{ ko = \"…\", en = \"…\" }";
        let ko = table.required_text("ko", example, self.checker.messages);
        let en = table.required_text("en", example, self.checker.messages);
        Some(Localised { ko: ko?.value.to_owned(), en: en?.value.to_owned() })
    }

    pub(crate) fn reference(&mut self, table: &Table<'d>) -> Option<String> {
        table.text("reference", self.checker.messages).map(|text| text.value.to_owned())
    }

    /// An expression of a key that must be there.
    pub(crate) fn required_expression(&mut self, table: &Table<'d>, key: &str, example: &str) -> Option<Expr> {
        if table.get(key).is_none() {
            table.missing(key, example, self.checker.messages);
        }
        self.expression(table, key)
    }

    pub(crate) fn expression(&mut self, table: &Table<'d>, key: &str) -> Option<Expr> {
        let item = table.get(key)?;
        self.expression_of(item, key)
    }

    /// An expression written as text, or a number or boolean written bare.
    pub(crate) fn expression_of(&mut self, item: &'d Item<'d>, what: &str) -> Option<Expr> {
        use toml::de::DeValue;
        let place = span(item);
        let literal = |kind| Some(Expr { kind, span: place, depth: 1 });
        match item.get_ref() {
            DeValue::String(value) => {
                let text = Text { value, span: place };
                parse_expression(self.source, &text, self.checker.messages)
            }
            DeValue::Boolean(value) => literal(ExprKind::Bool(*value)),
            DeValue::Integer(_) | DeValue::Float(_) => match exact_number(item) {
                Some(value) => literal(ExprKind::Number(value)),
                None => {
                    mismatch(
                        self.checker.messages,
                        &format!("`{what}`"),
                        "an exact number of at most 28 digits",
                        item,
                        "5",
                    );
                    None
                }
            },
            _ => {
                mismatch(
                    self.checker.messages,
                    &format!("`{what}`"),
                    "an expression",
                    item,
                    &format!("{what} = \"claim.loss > 0\""),
                );
                None
            }
        }
    }

    /// The node of `date = "…"`, which chooses parameters.
    pub(crate) fn date_of(&mut self, table: &Table<'d>) -> Option<super::ir::NodeId> {
        let expression = self.expression(table, "date")?;
        let checked = self.checker.check(&expression, &Scope::default())?;
        match checked.kind {
            Type::DATE => Some(checked.node),
            Type::TIMESTAMP if self.checker.program.zone.is_some() => Some(checked.node),
            Type::TIMESTAMP => {
                self.checker.error(
                    "no-zone",
                    expression.span,
                    "the date of an instant depends on the time zone, but the policy names none",
                    "write `zone = \"Asia/Seoul\"` at the top of the file, or local_date(…, 'Asia/Seoul') here",
                );
                None
            }
            other => {
                let message = format!(
                    "`date` must be a date or a timestamp, but this is {}",
                    self.checker.program.names.type_name(other)
                );
                self.checker.error("type", expression.span, message, "name a fact: date = \"claim.journey_date\"");
                None
            }
        }
    }

    pub(crate) fn asset_code(&mut self, text: &Text<'_>) -> Option<AssetCode> {
        match AssetCode::parse(text.value) {
            Ok(code) => Some(code),
            Err(error) => {
                self.checker.error(
                    "unknown-asset",
                    text.span,
                    error.to_string(),
                    "write it like this: \"KRW\" or \"day:melon\"",
                );
                None
            }
        }
    }

    // ---- assets -----------------------------------------------------------------------------------

    fn assets(&mut self) {
        let Some(section) = self.top.clone().inner("asset", "`asset`", self.checker.messages) else { return };
        for (code, place, item) in section.entries() {
            let Some(table) = as_table(item, format!("asset \"{}\"", shorten(code)), self.checker.messages) else {
                continue;
            };
            let Some(code) = self.asset_code(&Text { value: code, span: place }) else { continue };
            table.only(
                &[
                    "title",
                    "scale",
                    "face",
                    "usable",
                    "cost",
                    "min_spend",
                    "expires_after",
                    "payment_method",
                    "renews",
                    "reference",
                ],
                self.checker.messages,
            );
            let at = usize::from(self.checker.program.names.asset(&code));
            if let Some(scale) = table.number("scale", self.checker.messages) {
                let asset = u8::try_from(scale.trunc().mantissa())
                    .ok()
                    .filter(|_| scale.is_integer())
                    .and_then(|scale| Asset::with_scale(code, scale).ok());
                match asset {
                    Some(asset) => self.checker.program.names.assets[at] = asset,
                    None => self.checker.error(
                        "wrong-value",
                        table.key_span("scale"),
                        format!("the scale is a whole number from 0 to {}", crate::asset::MAX_SCALE),
                        "write it like this: scale = 2",
                    ),
                }
            }
            let expires_after =
                table.text("expires_after", self.checker.messages).and_then(|text| self.duration(&text));
            let terms = AssetTerms {
                title: self.localised(&table, "title"),
                face: self.worth(&table, "face"),
                usable: self.worth(&table, "usable"),
                cost: self.worth(&table, "cost"),
                min_spend: self.worth(&table, "min_spend"),
                expires_after,
                payment_method: table.boolean("payment_method", self.checker.messages).unwrap_or(false),
                renews: table.boolean("renews", self.checker.messages).unwrap_or(false),
                reference: self.reference(&table),
                span: place,
            };
            if self.terms.len() <= at {
                self.terms.resize_with(at + 1, AssetTerms::default);
            }
            self.terms[at] = terms;
        }
    }

    pub(crate) fn duration(&mut self, text: &Text<'_>) -> Option<chrono::TimeDelta> {
        let parsed = parse_duration(text.value).filter(|length| *length > chrono::TimeDelta::zero());
        if parsed.is_none() {
            let message = format!("\"{}\" is no duration above zero", shorten(text.value));
            self.checker.error("wrong-value", text.span, message, "write it like this: \"90d\" or \"72h\"");
        }
        parsed
    }

    /// An amount with its asset, as in `"2_000 KRW"`.
    pub(crate) fn worth(&mut self, table: &Table<'d>, key: &str) -> Option<Worth> {
        let text = table.text(key, self.checker.messages)?;
        let parsed = text.value.split_once(' ').and_then(|(amount, code)| {
            let amount = super::number::parse_decimal(amount).filter(|amount| !amount.is_sign_negative())?;
            Some(Worth { asset: AssetCode::parse(code.trim()).ok()?, amount })
        });
        if parsed.is_none() {
            let message = format!("`{key}` is an amount and its asset, but this is \"{}\"", shorten(text.value));
            self.checker.error("wrong-value", text.span, message, format!("write it like this: {key} = \"2_000 KRW\""));
        }
        parsed
    }

    // ---- after everything -------------------------------------------------------------------------

    fn unused_facts(&mut self) {
        // After an error a fact may only seem unused.
        if self.checker.messages.has_errors() {
            return;
        }
        let unused: Vec<(String, Span)> = self
            .checker
            .program
            .slots
            .iter()
            .filter(|slot| slot.declared && !slot.used)
            .map(|slot| (slot.name.to_string(), slot.span))
            .collect();
        for (name, span) in unused {
            let message = format!("`{name}` is declared but never used");
            self.checker.messages.warn("unused-fact", span, message, "use it, or take it out");
        }
    }

    fn limits(&mut self) {
        let program = &self.checker.program;
        let counts = [
            ("facts", program.slots.len(), super::limits::MAX_FACTS),
            ("derived facts, tables and clocks", program.named.len(), super::limits::MAX_NAMED),
            ("parameters", program.parameters.len(), super::limits::MAX_PARAMETERS),
            ("assets", program.names.assets.len(), MAX_ASSETS),
        ];
        for (what, count, most) in counts {
            if count > most {
                let message = format!("the policy has {count} {what}; at most {most} are allowed");
                self.checker.error("too-large", self.top.span, message, "split it into several policies");
            }
        }
    }
}
