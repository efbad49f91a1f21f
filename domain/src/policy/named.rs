//! Checks decision tables and clocks.

use super::ast::Expr;
use super::check::{Checked, Checker, DraftRow, Scope};
use super::diagnostic::Span;
use super::flow::Range;
use super::number::Number;
use super::program::{Body, Clock, Counts, Table, TableRow};
use super::types::{Base, Type, Unit};

impl Checker<'_, '_> {
    pub(crate) fn table(
        &mut self,
        rows: &[DraftRow],
        otherwise: Option<&Expr>,
        unit: Option<Unit>,
        span: Span,
        scope: &Scope,
    ) -> Option<(Body, Type, Range, u16)> {
        let mut compiled = Vec::new();
        let mut values: Vec<(&Expr, Checked)> = Vec::new();
        let (mut height, mut failed) = (0, false);
        for row in rows {
            let when = row.when.as_ref().map(|when| self.condition(when, scope));
            let value = self.table_value(&row.value, unit, scope);
            let (Some(value), false) = (value, matches!(when, Some(None))) else {
                failed = true;
                continue;
            };
            let when = when.flatten();
            height = height.max(value.height).max(when.map_or(0, |when| when.height));
            compiled.push(TableRow { when: when.map(|when| when.node), value: value.node, span: row.span });
            values.push((&row.value, value));
        }
        let otherwise = match otherwise {
            Some(expression) => {
                let value = self.table_value(expression, unit, scope)?;
                height = height.max(value.height);
                values.push((expression, value));
                Some(value.node)
            }
            None => None,
        };
        if failed {
            return None;
        }
        let (first, rest) = values.split_first()?;
        let (mut kind, mut range) = (first.1.kind, first.1.range);
        for (expression, value) in rest {
            let Some(joined) = self.join(kind, value.kind) else {
                self.unlike("a table", (first.0, kind), (expression, value.kind), expression.span);
                return None;
            };
            kind = joined;
            range = range.or(value.range);
        }
        if otherwise.is_none() {
            // A table without `otherwise` has no gap (that is checked), so its values are those of the rows.
            range = Range { low: range.low, high: range.high };
        }
        Some((Body::Table(Table { rows: compiled, otherwise, span }), kind, range, height))
    }

    fn table_value(&mut self, expression: &Expr, unit: Option<Unit>, scope: &Scope) -> Option<Checked> {
        let mut checked = self.check(expression, scope)?;
        let Some(unit) = unit else { return Some(checked) };
        let own = checked.kind.unit();
        let fits = own.is_some_and(|own| Self::join_units(own, unit).is_some() || own == Unit::Plain);
        if !fits {
            let (is, wanted) = (self.program.names.type_name(checked.kind), self.program.names.unit_name(unit));
            let message = format!("the table's unit makes its values {wanted}, but this is {is}");
            self.error("unit", expression.span, message, "correct `unit`, or this value");
            return None;
        }
        checked.kind = Type::number(checked.kind.is_integer(), unit);
        Some(checked)
    }

    pub(crate) fn clock(
        &mut self,
        starts: &Expr,
        stops: &Expr,
        paused: Option<&Expr>,
        counts: Counts,
        scope: &Scope,
    ) -> Option<(Body, Type, Range, u16)> {
        let first = self.clock_part(starts, &[Type::TIMESTAMP], "a timestamp", scope);
        let last = self.clock_part(stops, &[Type::TIMESTAMP], "a timestamp", scope);
        let windows = [Type::WINDOW, Type::list(Base::Window)];
        let pauses = paused.map(|paused| self.clock_part(paused, &windows, "a window or a list of windows", scope));
        let (first, last) = (first?, last?);
        let pauses = match pauses {
            Some(pauses) => Some(pauses?),
            None => None,
        };
        let height = first.height.max(last.height).max(pauses.map_or(0, |pauses| pauses.height));
        let kind = match counts {
            Counts::Time => Type::DURATION,
            Counts::Days(_) | Counts::WorkingDays(..) => self.counted("days", true),
        };
        let clock = Clock { starts: first.node, stops: last.node, paused: pauses.map(|pauses| pauses.node), counts };
        Some((Body::Clock(clock), kind, Range { low: Some(Number::ZERO), high: None }, height))
    }

    fn clock_part(&mut self, expression: &Expr, kinds: &[Type], wanted: &str, scope: &Scope) -> Option<Checked> {
        let checked = self.check(expression, scope)?;
        if kinds.contains(&checked.kind) {
            return Some(checked);
        }
        let message =
            format!("a clock wants {wanted} here, but this is {}", self.program.names.type_name(checked.kind));
        self.error("type", expression.span, message, "for a date, say at what time: start_of_day(…) or at(…, '09:00')");
        None
    }
}
