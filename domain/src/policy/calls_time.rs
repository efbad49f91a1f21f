//! Checks calls of the functions of texts, windows, dates, calendars and lists.

use super::ast::Expr;
use super::calls::Call;
use super::check::{Checked, Checker, Scope};
use super::flow::Range;
use super::ir::{Aggregate, Extra, Function, Node};
use super::types::{Base, Type, Unit};

const WINDOW_OR_WINDOWS: [Type; 2] = [Type::WINDOW, Type::list(Base::Window)];

impl Checker<'_, '_> {
    pub(crate) fn plain_call(&mut self, call: &Call<'_>) -> Option<Checked> {
        match call.signature.name {
            "size" | "starts_with" | "startsWith" | "ends_with" | "endsWith" | "contains" => self.text_call(call),
            "window" | "length" | "overlaps" | "overlap" | "total" | "longest" | "windows_in" | "elapsed" | "days"
            | "hours" | "minutes" | "seconds" => self.window_call(call),
            "days_between" | "hours_between" | "minutes_between" | "months_between" | "add_days" | "add_months" => {
                self.between_call(call)
            }
            "working_days_between" | "add_working_days" | "is_working_day" => self.working_call(call),
            _ => self.local_call(call),
        }
    }

    fn text_call(&mut self, call: &Call<'_>) -> Option<Checked> {
        let first = self.argument(call, 0)?;
        let is_text = first.kind == Type::TEXT || matches!(first.kind, Type { base: Base::Enum(_), list: false });
        let name = call.signature.name;
        if name == "size" {
            if !is_text && !first.kind.list {
                return self.wrong_argument(call, 0, &first, "a list or a text");
            }
            let kind = Type::number(true, Unit::Plain);
            return self.emit_call(call, Function::Size, &[first], Extra::None, kind, Range::at_least(0));
        }
        if name == "contains" && WINDOW_OR_WINDOWS.contains(&first.kind) {
            let instant = self.wants(call, 1, &[Type::TIMESTAMP], "a timestamp")?;
            return self.emit_call(
                call,
                Function::ContainsInstant,
                &[first, instant],
                Extra::None,
                Type::BOOL,
                Range::default(),
            );
        }
        if !is_text {
            return self.wrong_argument(call, 0, &first, "a text");
        }
        let part = self.wants(call, 1, &[Type::TEXT], "a text")?;
        let function = match name {
            "contains" => Function::ContainsText,
            "starts_with" | "startsWith" => Function::StartsWith,
            _ => Function::EndsWith,
        };
        self.emit_call(call, function, &[first, part], Extra::None, Type::BOOL, Range::default())
    }

    fn window_call(&mut self, call: &Call<'_>) -> Option<Checked> {
        let windows = Type::list(Base::Window);
        let natural = Range::at_least(0);
        match call.signature.name {
            "window" => {
                let from = self.wants(call, 0, &[Type::TIMESTAMP], "a timestamp")?;
                let until = self.wants(call, 1, &[Type::TIMESTAMP], "a timestamp")?;
                self.emit_call(call, Function::MakeWindow, &[from, until], Extra::None, Type::WINDOW, Range::default())
            }
            "length" => {
                let window = self.wants(call, 0, &[Type::WINDOW], "a window")?;
                self.emit_call(call, Function::Length, &[window], Extra::None, Type::DURATION, Self::positive())
            }
            "overlaps" | "overlap" => {
                let a = self.wants(call, 0, &WINDOW_OR_WINDOWS, "a window or a list of windows")?;
                let b = self.wants(call, 1, &WINDOW_OR_WINDOWS, "a window or a list of windows")?;
                if call.signature.name == "overlaps" {
                    return self.emit_call(
                        call,
                        Function::Overlaps,
                        &[a, b],
                        Extra::None,
                        Type::BOOL,
                        Range::default(),
                    );
                }
                self.emit_call(call, Function::Overlap, &[a, b], Extra::None, Type::DURATION, natural)
            }
            "total" => {
                let list = self.wants(call, 0, &[windows], "a list of windows")?;
                self.emit_call(call, Function::Total, &[list], Extra::None, Type::DURATION, natural)
            }
            "longest" => {
                let kinds = [windows, Type::list(Base::Duration)];
                let list = self.wants(call, 0, &kinds, "a list of windows or durations")?;
                self.emit_call(call, Function::Longest, &[list], Extra::None, Type::DURATION, natural)
            }
            "windows_in" => {
                let list = self.wants(call, 0, &WINDOW_OR_WINDOWS, "a list of windows")?;
                let within = self.wants(call, 1, &[Type::WINDOW], "a window")?;
                self.emit_call(call, Function::WindowsIn, &[list, within], Extra::None, windows, Range::default())
            }
            "elapsed" => {
                let window = self.wants(call, 0, &[Type::WINDOW], "a window")?;
                let pauses = self.wants(call, 1, &WINDOW_OR_WINDOWS, "a window or a list of windows")?;
                self.emit_call(call, Function::Elapsed, &[window, pauses], Extra::None, Type::DURATION, natural)
            }
            unit => {
                let value = self.wants(call, 0, &[Type::DURATION, Type::WINDOW], "a duration or a window")?;
                let function = match unit {
                    "days" => Function::Days,
                    "hours" => Function::Hours,
                    "minutes" => Function::Minutes,
                    _ => Function::Seconds,
                };
                let range = match (value.kind == Type::WINDOW || value.range.excludes_zero(), value.range.low) {
                    (true, _) => Self::positive(),
                    (false, Some(low)) if !low.is_negative() => natural,
                    _ => Range::default(),
                };
                let kind = self.counted(unit, false);
                self.emit_call(call, function, &[value], Extra::None, kind, range)
            }
        }
    }

    fn between_call(&mut self, call: &Call<'_>) -> Option<Checked> {
        let name = call.signature.name;
        if matches!(name, "add_days" | "add_months") {
            let start = self.wants(call, 0, &[Type::DATE, Type::TIMESTAMP], "a date")?;
            let count = self.argument(call, 1)?;
            if !count.kind.is_number() || matches!(count.kind.unit(), Some(Unit::Asset(_))) {
                return self.wrong_argument(call, 1, &count, "a whole number");
            }
            let extra =
                if start.kind == Type::TIMESTAMP { Extra::Zone(self.zone_argument(call, 2)?) } else { Extra::None };
            let function = if name == "add_days" { Function::AddDays } else { Function::AddMonths };
            return self.emit_call(call, function, &[start, count], extra, start.kind, Range::default());
        }
        let (function, unit, kinds, wanted): (_, _, &[Type], _) = match name {
            "days_between" => (Function::DaysBetween, "days", &[Type::DATE, Type::TIMESTAMP], "a date or a timestamp"),
            "hours_between" => (Function::HoursBetween, "hours", &[Type::TIMESTAMP], "a timestamp"),
            "minutes_between" => (Function::MinutesBetween, "minutes", &[Type::TIMESTAMP], "a timestamp"),
            _ => (Function::MonthsBetween, "months", &[Type::DATE], "a date"),
        };
        let a = self.wants(call, 0, kinds, wanted)?;
        let b = self.wants(call, 1, &[a.kind], self.wanted_name(a.kind))?;
        let kind = self.counted(unit, a.kind == Type::DATE);
        self.emit_call(call, function, &[a, b], Extra::None, kind, Range::default())
    }

    fn wanted_name(&self, kind: Type) -> &'static str {
        if kind == Type::DATE { "a date" } else { "a timestamp" }
    }

    fn working_call(&mut self, call: &Call<'_>) -> Option<Checked> {
        let first = self.wants(call, 0, &[Type::DATE], "a date")?;
        let calendar = |checker: &mut Self, at| checker.calendar_argument(call, at);
        match call.signature.name {
            "working_days_between" => {
                let last = self.wants(call, 1, &[Type::DATE], "a date")?;
                let extra = calendar(self, 2)?;
                let kind = self.counted("days", true);
                self.emit_call(call, Function::WorkingDaysBetween, &[first, last], extra, kind, Range::default())
            }
            "add_working_days" => {
                let count = self.argument(call, 1)?;
                if !count.kind.is_number() || matches!(count.kind.unit(), Some(Unit::Asset(_))) {
                    return self.wrong_argument(call, 1, &count, "a whole number");
                }
                let extra = calendar(self, 2)?;
                self.emit_call(call, Function::AddWorkingDays, &[first, count], extra, Type::DATE, Range::default())
            }
            _ => {
                let extra = calendar(self, 1)?;
                self.emit_call(call, Function::IsWorkingDay, &[first], extra, Type::BOOL, Range::default())
            }
        }
    }

    fn local_call(&mut self, call: &Call<'_>) -> Option<Checked> {
        let plain = Type::number(true, Unit::Plain);
        let date_number = |function, low, high| (function, Range::between(low, high));
        let name = call.signature.name;
        let number = match name {
            "year" => Some((Function::Year, Range::default())),
            "month" => Some(date_number(Function::Month, 1, 12)),
            "day" => Some(date_number(Function::Day, 1, 31)),
            "weekday" => Some(date_number(Function::Weekday, 1, 7)),
            "days_in_month" => Some(date_number(Function::DaysInMonth, 28, 31)),
            _ => None,
        };
        if let Some((function, range)) = number {
            let date = self.wants(call, 0, &[Type::DATE], "a date")?;
            let kind = if name == "days_in_month" { self.counted("days", true) } else { plain };
            return self.emit_call(call, function, &[date], Extra::None, kind, range);
        }
        let whole_list = |base| (Type::list(base), Range::default());
        match name {
            "local_date" | "local_hour" | "local_minute" => {
                let instant = self.wants(call, 0, &[Type::TIMESTAMP], "a timestamp")?;
                let zone = Extra::Zone(self.zone_argument(call, 1)?);
                let (function, kind, range) = match name {
                    "local_date" => (Function::LocalDate, Type::DATE, Range::default()),
                    "local_hour" => (Function::LocalHour, plain, Range::between(0, 23)),
                    _ => (Function::LocalMinute, plain, Range::between(0, 59)),
                };
                self.emit_call(call, function, &[instant], zone, kind, range)
            }
            "start_of_day" | "day_of" => {
                let date = self.wants(call, 0, &[Type::DATE], "a date")?;
                let zone = Extra::Zone(self.zone_argument(call, 1)?);
                let (function, kind) = match name {
                    "day_of" => (Function::DayOf, Type::WINDOW),
                    _ => (Function::StartOfDay, Type::TIMESTAMP),
                };
                self.emit_call(call, function, &[date], zone, kind, Range::default())
            }
            "at" => self.at_call(call),
            "month_of" => {
                let day = self.wants(call, 0, &[Type::DATE, Type::TIMESTAMP], "a date or a timestamp")?;
                let zone = Extra::Zone(self.zone_argument(call, 1)?);
                self.emit_call(call, Function::MonthOf, &[day], zone, Type::WINDOW, Range::default())
            }
            "days_of" | "months_of" => {
                let window = self.wants(call, 0, &[Type::WINDOW], "a window")?;
                let zone = Extra::Zone(self.zone_argument(call, 1)?);
                let (function, (kind, range)) = match name {
                    "days_of" => (Function::DaysOf, whole_list(Base::Date)),
                    _ => (Function::MonthsOf, whole_list(Base::Window)),
                };
                self.emit_call(call, function, &[window], zone, kind, range)
            }
            _ => {
                let first = self.wants(call, 0, &[Type::DATE], "a date")?;
                let last = self.wants(call, 1, &[Type::DATE], "a date")?;
                let (kind, range) = whole_list(Base::Date);
                self.emit_call(call, Function::Dates, &[first, last], Extra::None, kind, range)
            }
        }
    }

    /// `at(date, '15:00')`: the zone travels as a constant argument, the time of day beside it.
    fn at_call(&mut self, call: &Call<'_>) -> Option<Checked> {
        let date = self.wants(call, 0, &[Type::DATE], "a date")?;
        let extra = self.time_of_day(call, 1)?;
        let zone = self.zone_argument(call, 2)?;
        let named = super::value::Constant::Text(zone.name().into());
        let zone = self.emit_constant(named, Type::TEXT, call.span)?;
        self.emit_call(call, Function::At, &[date, zone], extra, Type::TIMESTAMP, Range::default())
    }

    pub(crate) fn aggregate(&mut self, call: &Call<'_>) -> Option<Checked> {
        let list = self.argument(call, 0)?;
        if !list.kind.list {
            return self.wrong_argument(call, 0, &list, "a list");
        }
        let name = call.signature.name;
        let element = list.kind.element();
        let place = u8::try_from(call.scope.locals.len()).ok()?;
        let body = match call.args {
            [_, variable, body] => {
                let (inner, _) = self.bind(call.scope, variable, element)?;
                Some(self.aggregate_body(name, body, &inner)?)
            }
            _ => None,
        };
        let value = body.map_or(element, |body| body.kind);
        let (kind, result, range) = match name {
            "sum" => match value {
                Type { base: Base::Number { .. }, list: false } => {
                    let low = body.and_then(|body| body.range.low).filter(|low| !low.is_negative());
                    (Aggregate::SumNumbers, value, low.map_or(Range::default(), |_| Range::at_least(0)))
                }
                Type::DURATION => (Aggregate::SumDurations, value, Range::default()),
                _ => {
                    let shown = self.program.names.type_name(value);
                    let message = format!("only numbers, money and durations add up, but this is {shown}");
                    self.error(
                        "type",
                        call.args.last().map_or(call.span, |last| last.span),
                        message,
                        "use count(…), or name what to add: sum(list, x, length(x))",
                    );
                    return None;
                }
            },
            "count" => (Aggregate::Count, Type::number(true, Unit::Plain), Range::at_least(0)),
            "all" => (Aggregate::All, Type::BOOL, Range::default()),
            "map" => (Aggregate::Map, Type::list(value.base), Range::default()),
            "filter" => (Aggregate::Filter, list.kind, Range::default()),
            _ => (Aggregate::Any, Type::BOOL, Range::default()),
        };
        let height = list.height.max(body.map_or(0, |body| body.height));
        let node = Node::Aggregate { kind, list: list.node, local: place, body: body.map(|body| body.node) };
        self.emit(node, result, call.span, range, height)
    }

    fn aggregate_body(&mut self, name: &str, body: &Expr, scope: &Scope) -> Option<Checked> {
        match name {
            "sum" => self.check(body, scope),
            "map" => {
                let checked = self.check(body, scope)?;
                if checked.kind.list {
                    self.error("type", body.span, "lists hold no lists", "take one value of each element");
                    return None;
                }
                Some(checked)
            }
            _ => self.condition(body, scope),
        }
    }
}
