//! Checks calls of functions: their arguments' number, types and units.

use chrono_tz::Tz;

use super::ast::{Expr, ExprKind};
use super::check::{Checked, Checker, Scope};
use super::diagnostic::{Span, suggestion};
use super::document::shorten;
use super::flow::{Range, whole};
use super::ir::{Extra, Function, Node};
use super::number::{Number, RoundingMode};
use super::operators::product_unit;
use super::signatures::{SIGNATURES, Signature, signature};
use super::time::parse_time_of_day;
use super::types::{Base, Type, Unit};
use super::value::{Constant, parse_duration};
use crate::asset::AssetCode;

/// A call while it is checked.
pub(crate) struct Call<'e> {
    pub(crate) signature: &'static Signature,
    pub(crate) args: &'e [Expr],
    pub(crate) span: Span,
    pub(crate) scope: &'e Scope,
}

impl Checker<'_, '_> {
    pub(crate) fn call(
        &mut self,
        name: &str,
        name_span: Span,
        args: &[Expr],
        span: Span,
        scope: &Scope,
    ) -> Option<Checked> {
        let Some(signature) = signature(name) else {
            let remedy = match suggestion(name, SIGNATURES.iter().map(|known| known.name)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "the functions are listed in docs/POLICIES.md; there is no clock and no randomness".to_owned(),
            };
            self.error("unknown-function", name_span, format!("no function is called `{}`", shorten(name)), remedy);
            return None;
        };
        let wrong_count = args.len() < signature.least
            || args.len() > signature.most
            || (matches!(name, "sum" | "count") && args.len() == 2);
        if wrong_count {
            let message = format!("`{name}` does not take {} argument(s)", args.len());
            self.error("arguments", span, message, format!("write it like this: {}", signature.usage));
            return None;
        }
        let call = Call { signature, args, span, scope };
        match name {
            "date" | "timestamp" | "duration" => self.literal(&call),
            "has" | "coalesce" => self.presence(&call),
            "money" | "number" => self.conversion(&call),
            "round" => self.rounding(&call),
            "on" => self.on(&call),
            "sum" | "count" | "any" | "exists" | "all" | "map" | "filter" => self.aggregate(&call),
            "min" | "max" => self.extreme(&call),
            "abs" => self.absolute(&call),
            "prorate" => self.prorate(&call),
            _ => self.plain_call(&call),
        }
    }

    pub(crate) fn argument(&mut self, call: &Call<'_>, at: usize) -> Option<Checked> {
        let checked = self.check(&call.args[at], call.scope);
        if checked.is_none() {
            // The others are checked too, so that all their errors show at once.
            for other in &call.args[(at + 1).min(call.args.len())..] {
                if !matches!(&other.kind, ExprKind::Name(name) if name.starts_with("calendar.")) {
                    self.check(other, call.scope);
                }
            }
        }
        checked
    }

    pub(crate) fn wrong_argument(
        &mut self,
        call: &Call<'_>,
        at: usize,
        checked: &Checked,
        wanted: &str,
    ) -> Option<Checked> {
        let is = self.program.names.type_name(checked.kind);
        let message = format!("`{}` wants {wanted} here, but this is {is}", call.signature.name);
        let remedy = match (&call.args[at].kind, wanted) {
            (ExprKind::Text(text), "a date") => format!("write date('{}')", shorten(text)),
            (ExprKind::Text(text), "a timestamp") => format!("write timestamp('{}')", shorten(text)),
            (ExprKind::Text(text), "a duration") => format!("write duration('{}')", shorten(text)),
            (_, "a date") if checked.kind == Type::TIMESTAMP => "take its local date: local_date(…)".to_owned(),
            _ => format!("write it like this: {}", call.signature.usage),
        };
        self.error("type", call.args[at].span, message, remedy);
        None
    }

    pub(crate) fn wants(&mut self, call: &Call<'_>, at: usize, kinds: &[Type], wanted: &str) -> Option<Checked> {
        let checked = self.argument(call, at)?;
        if kinds.contains(&checked.kind) { Some(checked) } else { self.wrong_argument(call, at, &checked, wanted) }
    }

    pub(crate) fn emit_call(
        &mut self,
        call: &Call<'_>,
        function: Function,
        arguments: &[Checked],
        extra: Extra,
        kind: Type,
        range: Range,
    ) -> Option<Checked> {
        let nodes: Vec<_> = arguments.iter().map(|argument| argument.node).collect();
        let height = arguments.iter().map(|argument| argument.height).max().unwrap_or(0);
        let args = self.arguments(&nodes);
        self.emit(Node::Call { function, args, extra }, kind, call.span, range, height)
    }

    /// A zone given as the argument, else the policy's.
    pub(crate) fn zone_argument(&mut self, call: &Call<'_>, at: usize) -> Option<Tz> {
        match call.args.get(at) {
            None => {
                if self.program.zone.is_none() {
                    let message =
                        format!("`{}` depends on local time, but the policy names no time zone", call.signature.name);
                    self.error("no-zone", call.span, message, "write `zone = \"Asia/Seoul\"` at the top of the file");
                }
                self.program.zone
            }
            Some(Expr { kind: ExprKind::Text(text), span, .. }) => self.zone(text, *span),
            Some(other) => {
                let example = "write the zone's name in quotes: 'Asia/Seoul'";
                self.error("type", other.span, "a time zone is written out here", example);
                None
            }
        }
    }

    pub(crate) fn calendar_argument(&mut self, call: &Call<'_>, at: usize) -> Option<Extra> {
        let argument = &call.args[at];
        let known: Vec<String> = self.program.calendars.iter().map(|calendar| calendar.name.clone()).collect();
        let name = match &argument.kind {
            ExprKind::Name(name) => name.strip_prefix("calendar.").unwrap_or(name),
            _ => "",
        };
        if let Some(place) = known.iter().position(|calendar| calendar == name) {
            return u16::try_from(place).ok().map(Extra::Calendar);
        }
        let remedy = match suggestion(name, known.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `calendar.{near}`?"),
            None => "declare it: [calendar.name] with holidays, and write calendar.name here".to_owned(),
        };
        self.error("unknown-name", argument.span, "no such calendar", remedy);
        None
    }

    fn written_text<'e>(&mut self, call: &Call<'e>, at: usize, what: &str) -> Option<&'e str> {
        match &call.args[at].kind {
            ExprKind::Text(text) => Some(text),
            _ => {
                let message = format!("{what} is written out here, in quotes");
                self.error(
                    "type",
                    call.args[at].span,
                    message,
                    format!("write it like this: {}", call.signature.usage),
                );
                None
            }
        }
    }

    fn literal(&mut self, call: &Call<'_>) -> Option<Checked> {
        let name = call.signature.name;
        let text = self.written_text(call, 0, &format!("a {name}"))?;
        let parsed = match name {
            "date" => text.parse().ok().map(|date| (Constant::Date(date), Type::DATE)),
            "timestamp" => chrono::DateTime::parse_from_rfc3339(text)
                .ok()
                .map(|at| (Constant::Timestamp(at.with_timezone(&chrono::Utc)), Type::TIMESTAMP)),
            _ => parse_duration(text).map(|duration| (Constant::Duration(duration), Type::DURATION)),
        };
        match parsed {
            Some((value, kind)) => self.emit_constant(value, kind, call.span),
            None => {
                let message = format!("'{}' is no {name}", shorten(text));
                self.error(
                    "wrong-value",
                    call.args[0].span,
                    message,
                    format!("write it like this: {}", call.signature.usage),
                );
                None
            }
        }
    }

    fn presence(&mut self, call: &Call<'_>) -> Option<Checked> {
        let argument = &call.args[0];
        let name = match &argument.kind {
            ExprKind::Name(name) => name.as_str(),
            _ => "",
        };
        let Some(slot) = self.slot(name) else {
            // Named the usual way, so that the usual suggestion appears.
            if self.check(argument, call.scope).is_some() {
                let message = format!("`{}` asks of a fact", call.signature.name);
                self.error("type", argument.span, message, format!("write it like this: {}", call.signature.usage));
            }
            return None;
        };
        let fact = &mut self.program.slots[usize::from(slot)];
        // Whoever asks whether a fact is there admits that it may be missing.
        fact.optional = true;
        let (kind, range) = (fact.kind, Range { low: fact.low, high: fact.high });
        if call.signature.name == "has" {
            return self.emit(Node::Has(slot), Type::BOOL, call.span, Range::default(), 0);
        }
        let other = self.check(&call.args[1], call.scope)?;
        let Some(joined) = self.join(kind, other.kind) else {
            self.unlike("`coalesce`", (argument, kind), (&call.args[1], other.kind), call.span);
            return None;
        };
        self.emit(Node::Coalesce(slot, other.node), joined, call.span, range.or(other.range), other.height)
    }

    fn conversion(&mut self, call: &Call<'_>) -> Option<Checked> {
        let checked = self.argument(call, 0)?;
        let Some(unit) = checked.kind.unit() else { return self.wrong_argument(call, 0, &checked, "a number") };
        let to = if call.signature.name == "number" {
            Unit::Plain
        } else {
            let text = self.written_text(call, 1, "an asset")?;
            let code = match AssetCode::parse(text) {
                Ok(code) => code,
                Err(error) => {
                    self.error(
                        "unknown-asset",
                        call.args[1].span,
                        error.to_string(),
                        "write it like this: money(x, 'KRW')",
                    );
                    return None;
                }
            };
            let to = Unit::Asset(self.program.names.asset(&code));
            if matches!(unit, Unit::Asset(_)) && unit != to {
                let message = format!("this is already {}", self.program.names.unit_name(unit));
                self.error(
                    "unit",
                    call.args[0].span,
                    message,
                    "there is no exchange between assets; number(…) takes a unit away",
                );
                return None;
            }
            to
        };
        let kind = Type::number(checked.kind.is_integer(), to);
        self.emit_call(call, Function::Same, &[checked], Extra::None, kind, checked.range)
    }

    fn rounding(&mut self, call: &Call<'_>) -> Option<Checked> {
        let value = self.argument(call, 0)?;
        if !value.kind.is_number() && value.kind != Type::DURATION {
            return self.wrong_argument(call, 0, &value, "a number or a duration");
        }
        let name = self.written_text(call, 1, "a rounding mode")?;
        let Some(mode) = RoundingMode::parse(name) else {
            let near = suggestion(name, RoundingMode::ALL.iter().map(|(known, _)| *known));
            let remedy = near.map_or_else(
                || "write 'up', 'down', 'ceiling', 'floor', 'half_up', 'half_down' or 'half_even'".to_owned(),
                |near| format!("did you mean '{near}'?"),
            );
            self.error(
                "unknown-value",
                call.args[1].span,
                format!("no rounding mode is called '{}'", shorten(name)),
                remedy,
            );
            return None;
        };
        let unit = self.check(&call.args[2], call.scope)?;
        let fits = unit.kind == value.kind || (unit.kind.unit() == Some(Unit::Literal) && value.kind.is_number());
        let positive = unit.range.low.is_some_and(|low| low > Number::ZERO);
        let constant = match (self.program.node(unit.node), fits && positive) {
            (Node::Constant(place), true) => place,
            _ => {
                self.error(
                    "rounding-unit",
                    call.args[2].span,
                    "the unit to round to is a written number (or duration) above zero",
                    "write it like this: round(x, 'half_up', 10) or round(d, 'up', duration('1h'))",
                );
                return None;
            }
        };
        let integer = unit.kind.is_integer();
        let kind = match value.kind {
            Type { base: Base::Number { unit, .. }, .. } => Type::number(integer, unit),
            other => other,
        };
        // Rounding keeps the sign, but may reach zero.
        let range = Range {
            low: value
                .range
                .low
                .map(|low| if low.is_negative() { low } else { Number::ZERO })
                .filter(|low| !low.is_negative()),
            high: None,
        };
        self.emit(Node::Round { value: value.node, mode, unit: constant }, kind, call.span, range, value.height)
    }

    fn on(&mut self, call: &Call<'_>) -> Option<Checked> {
        let name = match &call.args[0].kind {
            ExprKind::Name(name) => name.strip_prefix("parameter."),
            _ => None,
        };
        let Some(name) = name else {
            self.error(
                "type",
                call.args[0].span,
                "`on` reads a parameter",
                "write it like this: on(parameter.x, date)",
            );
            return None;
        };
        let date = self.wants(call, 1, &[Type::DATE, Type::TIMESTAMP], "a date")?;
        if date.kind == Type::TIMESTAMP {
            self.zone_argument(call, 2)?;
        }
        self.parameter(name, Some(date.node), call.args[0].span)
    }

    fn extreme(&mut self, call: &Call<'_>) -> Option<Checked> {
        let function = if call.signature.name == "min" { Function::Min } else { Function::Max };
        let first = self.argument(call, 0)?;
        if call.args.len() == 1 {
            let element = first.kind.element();
            if !first.kind.list || !element.is_ordered() {
                return self.wrong_argument(
                    call,
                    0,
                    &first,
                    "several values, or a list of numbers, dates, timestamps or durations",
                );
            }
            return self.emit_call(call, function, &[first], Extra::None, element, Range::default());
        }
        let mut all = vec![first];
        for at in 1..call.args.len() {
            all.push(self.argument(call, at)?);
        }
        let mut kind = first.kind;
        for (argument, checked) in call.args.iter().zip(&all) {
            let joined = self.join(kind, checked.kind).filter(|kind| kind.is_ordered());
            let Some(joined) = joined else {
                self.unlike(
                    &format!("`{}`", call.signature.name),
                    (&call.args[0], kind),
                    (argument, checked.kind),
                    call.span,
                );
                return None;
            };
            kind = joined;
        }
        let low = |checked: &Checked| checked.range.low;
        let high = |checked: &Checked| checked.range.high;
        let known = |bounds: Vec<Option<Number>>| bounds.into_iter().flatten();
        let (lows, highs): (Vec<_>, Vec<_>) = (all.iter().map(low).collect(), all.iter().map(high).collect());
        let all_known = |bounds: &[Option<Number>]| bounds.iter().all(Option::is_some);
        // The least of several is at most any upper bound; it has a lower bound when all have one.
        let range = match function {
            Function::Min => {
                Range { low: if all_known(&lows) { known(lows).min() } else { None }, high: known(highs).min() }
            }
            _ => Range { low: known(lows).max(), high: if all_known(&highs) { known(highs).max() } else { None } },
        };
        self.emit_call(call, function, &all, Extra::None, kind, range)
    }

    fn absolute(&mut self, call: &Call<'_>) -> Option<Checked> {
        let value = self.argument(call, 0)?;
        if !value.kind.is_number() && value.kind != Type::DURATION {
            return self.wrong_argument(call, 0, &value, "a number or a duration");
        }
        self.emit_call(call, Function::Abs, &[value], Extra::None, value.kind, Range::at_least(0))
    }

    fn prorate(&mut self, call: &Call<'_>) -> Option<Checked> {
        let mut all = Vec::new();
        for at in 0..4 {
            all.push(self.argument(call, at)?);
        }
        for at in [0, 1] {
            if !all[at].kind.is_number() {
                return self.wrong_argument(call, at, &all[at], "a number");
            }
        }
        let (lost, period) = (all[2].kind, all[3].kind);
        let both_durations = lost == Type::DURATION && period == Type::DURATION;
        let both_numbers = lost.unit().zip(period.unit()).is_some_and(|(a, b)| Self::join_units(a, b).is_some());
        if !both_durations && !both_numbers {
            self.unlike("`prorate`", (&call.args[2], lost), (&call.args[3], period), call.span);
            return None;
        }
        self.check_divisor(&call.args[3], &all[3], call.scope)?;
        let unit = all[0].kind.unit().zip(all[1].kind.unit()).and_then(|(fee, factor)| product_unit(fee, factor));
        let Some(unit) = unit else {
            self.error(
                "unit",
                call.args[1].span,
                "the factor is a plain number, not money",
                "write the factor without a unit",
            );
            return None;
        };
        let range = all[0].range.multiply(all[1].range).multiply(all[2].range).divide(all[3].range);
        self.emit_call(call, Function::Prorate, &all, Extra::None, Type::number(false, unit), range)
    }

    /// The number type of a unit by name, such as `days`.
    pub(crate) fn counted(&mut self, unit: &str, integer: bool) -> Type {
        let unit = self.program.names.unit(unit);
        Type::number(integer, unit)
    }

    pub(crate) fn time_of_day(&mut self, call: &Call<'_>, at: usize) -> Option<Extra> {
        let text = self.written_text(call, at, "a time of day")?;
        let seconds = parse_time_of_day(text);
        if seconds.is_none() {
            let message = format!("'{}' is no time of day", shorten(text));
            self.error("wrong-value", call.args[at].span, message, "write hours and minutes: '15:00'");
        }
        seconds.map(Extra::TimeOfDay)
    }

    pub(crate) fn positive() -> Range {
        Range { low: Some(Number::ratio(1, 1_000_000_000_000_000).unwrap_or(whole(1))), high: None }
    }
}
