//! Reads the rules of a policy, and the claim window, which is rules too.

use super::ast::{BinaryOp, Expr, ExprKind};
use super::check::{Checked, Scope};
use super::diagnostic::{Span, suggestion};
use super::document::{Table, Text, mismatch, shorten, span};
use super::flow::known_when;
use super::limits::{MAX_AWARDS, MAX_RULES};
use super::load::{ConditionEntry, ConditionList, Loader};
use super::load_facts::is_code;
use super::load_named::binary;
use super::number::Number;
use super::reasons::{builtin_codes, builtin_wording};
use super::rules::{Action, AwardItem, Basis, Document, Rule};
use super::types::{Type, Unit};
use super::value::Constant;
use crate::asset::{Amount, AssetClass};

const RULE_KEYS: [&str; 11] =
    ["name", "when", "otherwise", "date", "award", "decline", "review", "pending", "evidence", "queue", "reference"];

/// What rules need to know of each other while they are read.
struct Earlier {
    /// An `otherwise` rule was read: nothing after it counts.
    closed: bool,
    known: Vec<String>,
    entries: Vec<ConditionEntry>,
}

impl<'d> Loader<'_, 'd, '_> {
    pub(crate) fn rules(&mut self, basis: Option<Basis>, documents: &[Document], reference: Option<&str>) -> Vec<Rule> {
        let mut rules = Vec::new();
        let mut earlier = Earlier { closed: false, known: Vec::new(), entries: Vec::new() };
        self.claim_window(&mut rules, &mut earlier);
        let tables = self.top.clone().list_of_tables("rule", self.checker.messages);
        if tables.len() > MAX_RULES {
            let message = format!("more than {MAX_RULES} rules");
            self.checker.error("too-large", self.top.key_span("rule"), message, "use a decision table: [table.name]");
            return rules;
        }
        let mut otherwise: Option<Span> = None;
        for (at, table) in tables.iter().enumerate() {
            if let Some(rule) = self.rule(at, table, documents, &mut earlier) {
                if otherwise.is_some() {
                    self.checker.error(
                        "unreachable",
                        table.span,
                        "no rule after `otherwise = true` is ever reached",
                        "move it before, or take it out",
                    );
                }
                if rule.when.is_none() {
                    otherwise = Some(table.span);
                    earlier.closed = true;
                }
                rules.push(rule);
            }
        }
        if basis != Some(Basis::Undecided) && otherwise.is_none() && !self.failed_otherwise(&tables) {
            let place = tables.last().map_or(self.top.span, |table| table.span);
            self.checker.error(
                "no-otherwise",
                place,
                "some subjects may meet no rule",
                "end with a rule for everything else: [[rule]] otherwise = true, and decline or review",
            );
        }
        self.check_names(&rules);
        if reference.is_none() {
            for rule in rules.iter().filter(|rule| rule.reference.is_none()) {
                let message = format!("the rule `{}` has no reference, and neither has the policy", rule.name);
                self.checker.messages.warn(
                    "no-reference",
                    rule.span,
                    message,
                    "say where it was announced: reference = \"…\"",
                );
            }
        }
        self.lists.push(ConditionList {
            what: "rule",
            entries: earlier.entries,
            is_table: false,
            has_otherwise: otherwise.is_some(),
            span: self.top.key_span("rule"),
        });
        rules
    }

    /// An `otherwise` rule with some other error is there all the same.
    fn failed_otherwise(&self, tables: &[Table<'d>]) -> bool {
        tables.last().is_some_and(|table| table.get("otherwise").is_some())
    }

    fn check_names(&mut self, rules: &[Rule]) {
        for (at, rule) in rules.iter().enumerate() {
            if rules.iter().take(at).any(|earlier| earlier.name == rule.name) {
                let message = format!("two rules are called `{}`", rule.name);
                self.checker.error("twice", rule.span, message, "give each its own name");
            }
        }
    }

    fn rule(&mut self, at: usize, table: &Table<'d>, documents: &[Document], earlier: &mut Earlier) -> Option<Rule> {
        let known: Vec<&str> = RULE_KEYS.iter().copied().chain(["title"]).collect();
        table.only(&known, self.checker.messages);
        let name = match table.text("name", self.checker.messages) {
            Some(text) => self.code(&text, "rule").unwrap_or(text.value).to_owned(),
            None => format!("rule-{}", at + 1),
        };
        let condition = self.rule_condition(table);
        let date = match table.get("date") {
            Some(_) => self.date_of(table),
            None => self.checker.date,
        };
        let mut scope = Scope { date, known: earlier.known.clone(), ..Scope::default() };
        let when = match &condition {
            Some(Some(expression)) => {
                let checked = self.checker.condition(expression, &scope);
                scope.known.extend(known_when(expression, true));
                earlier.known.extend(known_when(expression, false));
                if !earlier.closed {
                    earlier.entries.push(ConditionEntry {
                        name: name.clone(),
                        when: Some(expression.clone()),
                        span: expression.span,
                    });
                }
                Some(checked)
            }
            _ => None,
        };
        let action = self.action(table, &scope);
        let evidence = self.rule_evidence(table, documents, action.as_ref());
        let queue =
            table.text("queue", self.checker.messages).and_then(|text| self.code(&text, "queue").map(str::to_owned));
        let rule_title = self.localised(table, "title");
        let reference = self.reference(table);
        let when = match (condition?, when) {
            (None, _) => None,
            (Some(_), Some(checked)) => Some(checked?.node),
            (Some(_), None) => return None,
        };
        Some(Rule {
            name: name.into(),
            when,
            action: action?,
            evidence,
            evidence_queue: queue.unwrap_or_else(|| "evidence".to_owned()).into(),
            reference,
            title: rule_title,
            span: table.span,
        })
    }

    /// The outer nothing is an error, the inner one `otherwise`.
    #[allow(clippy::option_option, reason = "the two absences mean different things and never leave this file")]
    fn rule_condition(&mut self, table: &Table<'d>) -> Option<Option<Expr>> {
        match (table.get("when").is_some(), table.boolean("otherwise", self.checker.messages)) {
            (true, None) => self.expression(table, "when").map(Some),
            (false, Some(true)) => Some(None),
            (true, Some(_)) => {
                self.checker.error(
                    "one-of",
                    table.key_span("otherwise"),
                    "a rule has `when` or `otherwise`, not both",
                    "keep one of the two",
                );
                None
            }
            (false, _) => {
                let message = "a rule needs a condition";
                self.checker.error(
                    "missing-key",
                    table.span,
                    message,
                    "write when = \"claim.loss > 0\", or otherwise = true",
                );
                None
            }
        }
    }

    /// A code in the form codes have.
    pub(crate) fn code<'t>(&mut self, text: &Text<'t>, what: &str) -> Option<&'t str> {
        if is_code(text.value) {
            return Some(text.value);
        }
        let message = format!("\"{}\" is no code for a {what}", shorten(text.value));
        self.checker.error("wrong-name", text.span, message, "use a-z, 0-9, - and _, beginning with a letter or digit");
        None
    }

    fn action(&mut self, table: &Table<'d>, scope: &Scope) -> Option<Action> {
        let given: Vec<&str> =
            ["award", "decline", "review", "pending"].into_iter().filter(|key| table.get(key).is_some()).collect();
        match given.as_slice() {
            ["award"] => self.award_items(table, scope).map(Action::Award),
            ["decline"] => {
                let text = table.text("decline", self.checker.messages)?;
                let code = self.code(&text, "reason")?;
                if self.book.declared(code).is_none() && builtin_wording(code).is_none() {
                    let mut known: Vec<&str> = builtin_codes().collect();
                    known.extend(self.book.reasons.iter().map(|reason| &*reason.code));
                    let remedy = match suggestion(code, known) {
                        Some(near) => format!("did you mean \"{near}\"? Otherwise declare it: [reason.{code}]"),
                        None => format!("declare it: [reason.{code}] ko = \"…\" en = \"…\""),
                    };
                    let message = format!("the reason \"{code}\" has no wording for claimants");
                    self.checker.messages.warn("reason-without-wording", text.span, message, remedy);
                }
                Some(Action::Decline(self.book.place(code)))
            }
            ["review"] => {
                let text = table.text("review", self.checker.messages)?;
                self.code(&text, "queue").map(|queue| Action::Review(queue.into()))
            }
            ["pending"] => {
                if table.boolean("pending", self.checker.messages)? {
                    return Some(Action::Pending);
                }
                self.checker.error(
                    "wrong-value",
                    table.key_span("pending"),
                    "`pending` is true or absent",
                    "write pending = true",
                );
                None
            }
            [] => {
                let message = "the rule says nothing of what follows";
                self.checker.error(
                    "missing-key",
                    table.span,
                    message,
                    "add award = […], decline = \"…\", review = \"…\" or pending = true",
                );
                None
            }
            several => {
                let message = format!("a rule does one thing, but this one has {}", several.join(" and "));
                self.checker.error("one-of", table.span, message, "split it into several rules");
                None
            }
        }
    }

    fn award_items(&mut self, table: &Table<'d>, scope: &Scope) -> Option<Vec<AwardItem>> {
        let tables = table.list_of_tables("award", self.checker.messages);
        if tables.is_empty() || tables.len() > MAX_AWARDS {
            let message = format!("a rule awards 1 to {MAX_AWARDS} assets, not {}", tables.len());
            let example = "award = [{ asset = \"KRW\", amount = 30_000 }]";
            self.checker.error(
                "wrong-value",
                table.key_span("award"),
                message,
                format!("write it like this: {example}"),
            );
            return None;
        }
        let items: Vec<Option<AwardItem>> = tables.iter().map(|item| self.award_item(item, scope)).collect();
        items.into_iter().collect()
    }

    fn award_item(&mut self, table: &Table<'d>, scope: &Scope) -> Option<AwardItem> {
        const EXAMPLE: &str = "{ asset = \"KRW\", amount = 30_000 }";
        table.only(&["asset", "amount", "when", "reference"], self.checker.messages);
        let asset =
            table.required_text("asset", EXAMPLE, self.checker.messages).and_then(|text| self.asset_code(&text));
        let reference = self.reference(table);
        let when = self.expression(table, "when");
        let condition = when.as_ref().map(|when| self.checker.condition(when, scope));
        let mut scope = scope.clone();
        if let Some(when) = &when {
            scope.known.extend(known_when(when, true));
        }
        let amount = self.required_expression(table, "amount", EXAMPLE)?;
        let asset = self.checker.program.names.asset(&asset?);
        let checked = self.amount(&amount, asset, &scope)?;
        let condition = match condition {
            Some(condition) => Some(condition?.node),
            None => None,
        };
        let scale = self.checker.program.names.assets.get(usize::from(asset)).map_or(0, crate::asset::Asset::scale);
        let fixed = match self.checker.program.constant_of(checked.node) {
            Some(Constant::Number(Number::Decimal(value))) => Amount::from_decimal(*value, scale).ok(),
            _ => None,
        };
        Some(AwardItem { asset, amount: checked.node, fixed, when: condition, reference })
    }

    /// An expression that is an amount of an asset.
    pub(crate) fn amount(&mut self, expression: &Expr, asset: u16, scope: &Scope) -> Option<Checked> {
        let checked = self.checker.check(expression, scope)?;
        let known = self.checker.program.names.assets.get(usize::from(asset))?.clone();
        let fits = match checked.kind.unit() {
            Some(Unit::Literal | Unit::Plain) => true,
            Some(Unit::Asset(at)) => at == asset,
            Some(Unit::Named(at)) => {
                let unit = self.checker.program.names.units.get(usize::from(at)).map_or("", String::as_str);
                let counted = known.code().as_str().split(':').next().unwrap_or("");
                known.code().class() == AssetClass::Time && unit.strip_suffix('s') == Some(counted)
            }
            None => false,
        };
        if !fits {
            let is = self.checker.program.names.type_name(checked.kind);
            let message = format!("an award of {} is a number or money of {0}, but this is {is}", known.code());
            let remedy = match checked.kind {
                Type::DURATION => "take the number out of the duration: hours(…) or days(…)".to_owned(),
                kind if kind.is_number() => "correct the asset, or take the unit away: number(…)".to_owned(),
                _ => "write a number or an expression with a number".to_owned(),
            };
            self.checker.error("unit", expression.span, message, remedy);
            return None;
        }
        self.check_constant_amount(expression, &checked, &known)?;
        Some(checked)
    }

    fn check_constant_amount(
        &mut self,
        expression: &Expr,
        checked: &Checked,
        asset: &crate::asset::Asset,
    ) -> Option<()> {
        let Some(Constant::Number(number)) = self.checker.program.constant_of(checked.node).cloned() else {
            return Some(());
        };
        let exact = match number {
            Number::Decimal(value) => Amount::from_decimal(value, asset.scale()).map_err(|error| error.to_string()),
            Number::Fraction(..) => {
                Err(format!("{number} has more than the {} decimal digits of the asset", asset.scale()))
            }
        };
        match exact {
            Ok(amount) if amount >= Amount::ZERO => Some(()),
            Ok(_) => {
                self.checker.error(
                    "award-negative",
                    expression.span,
                    format!("{number} is below zero"),
                    "an award only gives",
                );
                None
            }
            Err(message) => {
                let remedy =
                    format!("round it by name, or give the asset a scale: [asset.\"{}\"] scale = …", asset.code());
                self.checker.error("award-precision", expression.span, message, remedy);
                None
            }
        }
    }

    fn rule_evidence(&mut self, table: &Table<'d>, documents: &[Document], action: Option<&Action>) -> Vec<u16> {
        const MOST: usize = 64;
        let listed = table.texts("evidence", self.checker.messages);
        let misplaced = !listed.is_empty() && matches!(action, Some(Action::Decline(_) | Action::Pending));
        if misplaced || listed.len() > MOST {
            let message = format!("documents (at most {MOST}) belong to rules that award or review");
            self.checker.error("wrong-value", table.key_span("evidence"), message, "take them out");
            return Vec::new();
        }
        let mut places = Vec::new();
        for text in listed {
            match documents.iter().position(|document| &*document.code == text.value) {
                Some(at) => places.extend(u16::try_from(at)),
                None => {
                    let remedy = match suggestion(text.value, documents.iter().map(|document| &*document.code)) {
                        Some(near) => format!("did you mean \"{near}\"?"),
                        None => format!("declare it: [evidence.{}] with title, of and above", shorten(text.value)),
                    };
                    let message = format!("no document is called \"{}\"", shorten(text.value));
                    self.checker.error("unknown-name", text.span, message, remedy);
                }
            }
        }
        if !places.is_empty() {
            // Which documents are there is asked of the claim; none, when it does not say.
            if let Some(at) = self.checker.slot("evidence.kinds") {
                self.checker.program.slots[usize::from(at)].optional = true;
            }
        }
        places
    }

    // ---- claim window -----------------------------------------------------------------------------

    fn claim_window(&mut self, rules: &mut Vec<Rule>, earlier: &mut Earlier) {
        let Some(table) = self.top.clone().inner("claim_window", "[claim_window]", self.checker.messages) else {
            return;
        };
        table.only(&["opens", "closes", "late", "late_until", "reference"], self.checker.messages);
        let reference = self.reference(&table);
        let late = self.late_action(&table);
        if table.get("opens").is_some()
            && let Some(when) = self.window_bound(&table, "opens", BinaryOp::Less, BinaryOp::Less)
        {
            let decline = Action::Decline(self.book.place("filed-early"));
            self.window_rule(rules, earlier, "claim-window-early", when, decline, reference.clone());
        }
        if table.get("late_until").is_some()
            && let Some(when) = self.window_bound(&table, "late_until", BinaryOp::Greater, BinaryOp::GreaterEqual)
        {
            let decline = Action::Decline(self.book.place("filed-late"));
            self.window_rule(rules, earlier, "claim-window-closed", when, decline, reference.clone());
        }
        if table.get("closes").is_none() {
            table.missing("closes", "closes = \"add_days(claim.journey_date, 28)\"", self.checker.messages);
        } else if let (Some(when), Some(late)) =
            (self.window_bound(&table, "closes", BinaryOp::Greater, BinaryOp::GreaterEqual), late)
        {
            self.window_rule(rules, earlier, "claim-window-late", when, late, reference);
        }
    }

    fn late_action(&mut self, table: &Table<'d>) -> Option<Action> {
        let Some(item) = table.get("late") else { return Some(Action::Decline(self.book.place("filed-late"))) };
        if !item.get_ref().is_table() {
            mismatch(self.checker.messages, "`late`", "a table", item, "late = { review = \"late-claims\" }");
            return None;
        }
        let inner = table.inner("late", "`late`", self.checker.messages)?;
        inner.only(&["review", "decline"], self.checker.messages);
        match self.action(&inner, &Scope::default())? {
            action @ (Action::Decline(_) | Action::Review(_)) => Some(action),
            _ => {
                self.checker.error(
                    "wrong-value",
                    span(item),
                    "late claims are declined or reviewed",
                    "late = { review = \"late-claims\" }",
                );
                None
            }
        }
    }

    /// The comparison of the filing with a bound: of days when the bound is a date, else of instants.
    fn window_bound(&mut self, table: &Table<'d>, key: &str, days: BinaryOp, instants: BinaryOp) -> Option<Expr> {
        let bound = self.expression(table, key)?;
        let scope = Scope { date: self.checker.date, ..Scope::default() };
        let kind = self.checker.check(&bound, &scope)?.kind;
        let place = bound.span;
        let submitted = Expr { kind: ExprKind::Name("claim.submitted_at".to_owned()), span: place, depth: 1 };
        match kind {
            Type::TIMESTAMP => Some(binary(instants, submitted, bound, place)),
            Type::DATE => {
                let local = ExprKind::Call { name: "local_date".to_owned(), name_span: place, args: vec![submitted] };
                Some(binary(days, Expr { kind: local, span: place, depth: 2 }, bound, place))
            }
            other => {
                let message = format!(
                    "`{key}` must be a date or a timestamp, but this is {}",
                    self.checker.program.names.type_name(other)
                );
                self.checker.error("type", place, message, "write it like this: \"add_days(claim.journey_date, 28)\"");
                None
            }
        }
    }

    fn window_rule(
        &mut self,
        rules: &mut Vec<Rule>,
        earlier: &mut Earlier,
        name: &str,
        when: Expr,
        action: Action,
        reference: Option<String>,
    ) {
        let scope = Scope { date: self.checker.date, ..Scope::default() };
        let Some(checked) = self.checker.condition(&when, &scope) else { return };
        let span = when.span;
        earlier.entries.push(ConditionEntry { name: name.to_owned(), when: Some(when), span });
        rules.push(Rule {
            name: name.into(),
            when: Some(checked.node),
            action,
            evidence: Vec::new(),
            evidence_queue: "evidence".into(),
            reference,
            title: None,
            span,
        });
    }
}
