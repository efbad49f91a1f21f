//! Fairness: what complaints about real remedies have taught. A policy with one of these is refused at check and at
//! publishing unless its author waives the lint by name and says why.

use chrono::TimeDelta;

use super::diagnostic::{Span, suggestion};
use super::document::shorten;
use super::ir::NodeId;
use super::limits::{DEFAULT_MINIMUM_EXPIRY_DAYS, MAX_ENTRIES};
use super::load::Loader;
use super::number::Number;
use super::rules::{Action, AssetTerms, Document, Rule, Worth};

/// The lints by name, each with what it refuses.
pub const LINTS: [(&str, &str); 9] = [
    ("payment-method", "an award that asks for a means of payment"),
    ("renews", "an award that turns into a paid plan"),
    ("min-spend", "a coupon that must be topped up with more than it is worth"),
    ("usable-value", "an award worth less to the claimant than its face value"),
    ("short-expiry", "an award that expires sooner than the stated minimum"),
    ("no-appeal", "an exclusion that cannot be appealed"),
    ("early-evidence", "documents asked below the threshold"),
    ("gap", "a narrow gap between two bounds"),
    ("overlap", "a bound that two rules claim"),
];

/// A lint that the author waived, for everything or for one thing.
#[derive(Debug)]
pub(crate) struct Waiver {
    lint: String,
    of: Option<String>,
    used: bool,
    span: Span,
}

/// What the policy itself states as fair.
#[derive(Debug, Default)]
pub(crate) struct Fairness {
    pub(crate) minimum_expiry: Option<TimeDelta>,
    pub(crate) threshold: Option<Worth>,
    pub(crate) waivers: Vec<Waiver>,
}

impl Loader<'_, '_, '_> {
    /// Reads `[fairness]` and `[[waive]]`.
    pub(crate) fn fairness(&mut self) {
        if let Some(table) = self.top.clone().inner("fairness", "[fairness]", self.checker.messages) {
            table.only(&["minimum_expiry", "evidence_threshold"], self.checker.messages);
            self.fair.minimum_expiry =
                table.text("minimum_expiry", self.checker.messages).and_then(|text| self.duration(&text));
            self.fair.threshold = self.worth(&table, "evidence_threshold");
        }
        let tables = self.top.clone().list_of_tables("waive", self.checker.messages);
        for table in tables.iter().take(MAX_ENTRIES) {
            table.only(&["lint", "of", "reason"], self.checker.messages);
            let example = "[[waive]] lint = \"min-spend\", of = \"coupon:x\", reason = \"…\"";
            let lint = table.required_text("lint", example, self.checker.messages);
            let reason = table.required_text("reason", example, self.checker.messages);
            let of = table.text("of", self.checker.messages).map(|text| text.value.to_owned());
            if let Some(reason) = &reason
                && reason.value.trim().is_empty()
            {
                self.checker.error(
                    "wrong-value",
                    reason.span,
                    "a waiver says why",
                    "reason = \"why it is right all the same\"",
                );
            }
            let Some(lint) = lint else { continue };
            if !LINTS.iter().any(|(known, _)| *known == lint.value) {
                self.unknown_value(&lint, "lint", LINTS.iter().map(|(known, _)| *known));
                continue;
            }
            self.fair.waivers.push(Waiver { lint: lint.value.to_owned(), of, used: false, span: table.span });
        }
    }

    fn waived(&mut self, lint: &str, of: &str) -> bool {
        let mut found = false;
        for waiver in &mut self.fair.waivers {
            if waiver.lint == lint && waiver.of.as_deref().is_none_or(|thing| thing == of) {
                waiver.used = true;
                found = true;
            }
        }
        found
    }

    /// An error unless it is waived by name.
    pub(crate) fn waivable(&mut self, lint: &'static str, span: Span, of: &str, message: String, remedy: &str) {
        if !self.waived(lint, of) {
            self.checker.error(lint, span, message, remedy);
        }
    }

    fn unfair(&mut self, lint: &'static str, span: Span, of: &str, message: String, remedy: &str) {
        if !self.waived(lint, of) {
            let waiver = format!("[[waive]] lint = \"{lint}\", of = \"{}\", reason = \"…\"", shorten(of));
            self.checker.messages.unfair(lint, span, message, format!("{remedy}; or say why it is right: {waiver}"));
        }
    }

    pub(crate) fn lint(&mut self, rules: &[Rule], documents: &[Document]) {
        let awarded: Vec<usize> = rules
            .iter()
            .filter_map(|rule| match &rule.action {
                Action::Award(items) => Some(items.iter().map(|item| usize::from(item.asset))),
                _ => None,
            })
            .flatten()
            .collect();
        for at in 0..self.terms.len() {
            if awarded.contains(&at) {
                let terms = self.terms[at].clone();
                let code = self
                    .checker
                    .program
                    .names
                    .assets
                    .get(at)
                    .map_or_else(String::new, |asset| asset.code().to_string());
                self.lint_asset(&code, &terms);
            }
        }
        self.lint_reasons(rules);
        self.lint_documents(rules, documents);
        self.unused_waivers();
    }

    fn lint_asset(&mut self, code: &str, terms: &AssetTerms) {
        let span = terms.span;
        if terms.payment_method {
            self.unfair(
                "payment-method",
                span,
                code,
                format!("`{code}` asks the claimant for a means of payment"),
                "grant it without one",
            );
        }
        if terms.renews {
            let message = format!("`{code}` turns into a paid plan");
            self.unfair("renews", span, code, message, "let it end by itself");
        }
        let tops_up =
            terms.min_spend.as_ref().zip(terms.face.as_ref()).is_some_and(|(spend, face)| spend.is_above(face));
        if tops_up {
            let message =
                format!("`{code}` can be used only by spending more than it is worth, of the claimant's own money");
            self.unfair("min-spend", span, code, message, "lower `min_spend` to at most `face`");
        }
        if let (Some(usable), Some(face)) = (&terms.usable, &terms.face)
            && face.is_above(usable)
        {
            let message = format!(
                "`{code}` is worth less to the claimant ({} {}) than its face value ({} {})",
                usable.amount, usable.asset, face.amount, face.asset
            );
            self.unfair("usable-value", span, code, message, "state the usable value as the face value, or raise it");
        }
        let least = self.fair.minimum_expiry.unwrap_or(TimeDelta::days(DEFAULT_MINIMUM_EXPIRY_DAYS));
        if let Some(expiry) = terms.expires_after
            && expiry < least
        {
            let (is, wanted) = (super::value::show_duration(expiry), super::value::show_duration(least));
            let message = format!("`{code}` expires after {is}, sooner than the minimum of {wanted}");
            self.unfair("short-expiry", span, code, message, "let it be valid longer");
        }
    }

    fn lint_reasons(&mut self, rules: &[Rule]) {
        for at in 0..self.book.reasons.len() {
            let reason = &self.book.reasons[at];
            let used =
                rules.iter().any(|rule| matches!(rule.action, Action::Decline(place) if usize::from(place) == at));
            if !reason.appealable && used {
                let (code, span) = (reason.code.to_string(), reason.span);
                let message = format!("who is declined for `{code}` cannot appeal");
                self.unfair("no-appeal", span, &code, message, "let it be appealed: take `appealable = false` out");
            }
        }
    }

    /// Documents without a threshold, below the stated one, or for awards that are themselves below it.
    fn lint_documents(&mut self, rules: &[Rule], documents: &[Document]) {
        let stated = self.fair.threshold.clone();
        for (at, document) in documents.iter().enumerate() {
            let listed = |rule: &&Rule| rule.evidence.iter().any(|listed| usize::from(*listed) == at);
            let asking: Vec<&Rule> = rules.iter().filter(listed).collect();
            if asking.is_empty() {
                let message = format!("no rule asks for the document `{}`", document.code);
                self.checker.messages.warn(
                    "unused-document",
                    document.span,
                    message,
                    "list it in a rule's `evidence`, or take it out",
                );
                continue;
            }
            let code = document.code.to_string();
            // Who decides by hand may always ask; an award without a person may not, below an amount.
            let by_award: Vec<&&Rule> = asking.iter().filter(|rule| matches!(rule.action, Action::Award(_))).collect();
            if document.when.is_none() && !by_award.is_empty() {
                let message = format!("`{code}` is asked of everybody, however small the amount");
                self.unfair(
                    "early-evidence",
                    document.span,
                    &code,
                    message,
                    "ask only above an amount: of = \"claim.loss\", above = 500_000",
                );
                continue;
            }
            let Some(stated) = &stated else { continue };
            let asset =
                |place: u16| self.checker.program.names.assets.get(usize::from(place)).map(crate::asset::Asset::code);
            let same_asset = document.threshold_asset.is_none_or(|place| asset(place) == Some(&stated.asset));
            let low = document.threshold.is_some_and(|above| same_asset && above < Number::Decimal(stated.amount));
            let small = by_award.iter().find(|rule| self.is_small(rule, stated)).map(|rule| rule.name.to_string());
            if low {
                let message =
                    format!("`{code}` is asked below the stated threshold of {} {}", stated.amount, stated.asset);
                self.unfair("early-evidence", document.span, &code, message, "raise `above` to the threshold");
            } else if let Some(rule) = small {
                let message =
                    format!("`{code}` is asked by `{rule}` for an award of at most {} {}", stated.amount, stated.asset);
                self.unfair("early-evidence", document.span, &code, message, "pay small amounts without documents");
            }
        }
    }

    /// Whether all awards of a rule are written amounts of the threshold's asset and none is above it.
    fn is_small(&self, rule: &Rule, stated: &Worth) -> bool {
        let Action::Award(items) = &rule.action else { return false };
        let constant = |node: NodeId| match self.checker.program.constant_of(node) {
            Some(super::value::Constant::Number(number)) => Some(*number),
            _ => None,
        };
        items.iter().all(|item| {
            let asset = self.checker.program.names.assets.get(usize::from(item.asset)).map(crate::asset::Asset::code);
            asset == Some(&stated.asset)
                && constant(item.amount).is_some_and(|amount| amount <= Number::Decimal(stated.amount))
        })
    }

    fn unused_waivers(&mut self) {
        let unused: Vec<(Span, String, Option<String>)> = self
            .fair
            .waivers
            .iter()
            .filter(|waiver| !waiver.used)
            .map(|waiver| (waiver.span, waiver.lint.clone(), waiver.of.clone()))
            .collect();
        for (span, lint, of) in unused {
            let about = of.as_ref().map(|of| format!(" of `{}`", shorten(of))).unwrap_or_default();
            let assets: Vec<&str> =
                self.checker.program.names.assets.iter().map(|asset| asset.code().as_str()).collect();
            let near =
                of.as_deref().and_then(|of| suggestion(of, assets).filter(|near| *near != of)).map(str::to_owned);
            let remedy = match near {
                Some(near) => format!("did you mean \"{near}\"? Otherwise take the waiver out"),
                None => "take the waiver out, or correct `lint` and `of`".to_owned(),
            };
            self.checker.error("unused-waiver", span, format!("the waiver of `{lint}`{about} waives nothing"), remedy);
        }
    }
}
