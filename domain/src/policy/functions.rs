//! What the functions of the language do.

use chrono::{Datelike, NaiveDate, TimeDelta, Timelike};

use super::eval::{Evaluated, Fault, FaultKind, Frame, Tracer, count_value, elapsed, exact, fault};
use super::ir::{ArgRange, Extra, Function, NodeId};
use super::number::Number;
use super::time;
use super::value::{Value, nanoseconds};
use crate::window::Window;

const NANOS_A_SECOND: i128 = 1_000_000_000;

pub(crate) fn call<'a, T: Tracer<'a>>(
    frame: &mut Frame<'a, '_, T>,
    function: Function,
    args: ArgRange,
    extra: Extra,
    node: NodeId,
) -> Evaluated<Value<'a>> {
    let first = frame.nth(args, 0, node)?;
    match function {
        Function::Same => Ok(first),
        Function::Min | Function::Max => extreme(frame, function == Function::Max, first, args, node),
        Function::Abs => match first {
            Value::Number(value) => Ok(Value::Number(value.abs())),
            Value::Duration(value) => Ok(Value::Duration(value.abs())),
            _ => fault(FaultKind::Internal, node),
        },
        Function::Prorate => prorate(frame, first, args, node),
        Function::Size => match first {
            Value::Text(text) => count_value(text.chars().count(), node),
            Value::List(list) => count_value(frame.list_length(list), node),
            _ => fault(FaultKind::Internal, node),
        },
        Function::StartsWith | Function::EndsWith | Function::ContainsText => {
            let (Value::Text(text), Value::Text(part)) = (first, frame.nth(args, 1, node)?) else {
                return fault(FaultKind::Internal, node);
            };
            Ok(Value::Bool(match function {
                Function::StartsWith => text.starts_with(part),
                Function::EndsWith => text.ends_with(part),
                _ => text.contains(part),
            }))
        }
        Function::Year | Function::Month | Function::Day | Function::Weekday | Function::DaysInMonth => {
            let Value::Date(date) = first else { return fault(FaultKind::Internal, node) };
            let number = match function {
                Function::Year => i64::from(date.year()),
                Function::Month => i64::from(date.month()),
                Function::Day => i64::from(date.day()),
                Function::Weekday => i64::from(date.weekday().number_from_monday()),
                _ => time::days_in_month(date),
            };
            Ok(whole(number))
        }
        Function::Days | Function::Hours | Function::Minutes | Function::Seconds => units(function, first, node),
        Function::DaysBetween | Function::HoursBetween | Function::MinutesBetween | Function::MonthsBetween => {
            let second = frame.nth(args, 1, node)?;
            between(function, first, second, node)
        }
        Function::AddDays | Function::AddMonths => add(frame, function, first, args, extra, node),
        Function::WorkingDaysBetween | Function::AddWorkingDays | Function::IsWorkingDay => {
            working(frame, function, first, args, extra, node)
        }
        Function::MakeWindow
        | Function::Length
        | Function::Overlaps
        | Function::Overlap
        | Function::ContainsInstant
        | Function::Total
        | Function::Longest
        | Function::WindowsIn
        | Function::Elapsed => windows(frame, function, first, args, node),
        Function::LocalDate
        | Function::LocalHour
        | Function::LocalMinute
        | Function::StartOfDay
        | Function::At
        | Function::MonthOf
        | Function::DayOf
        | Function::DaysOf
        | Function::MonthsOf
        | Function::Dates => local(frame, function, first, args, extra, node),
    }
}

fn whole<'a>(number: i64) -> Value<'a> {
    Value::Number(Number::Decimal(number.into()))
}

fn extreme<'a, T: Tracer<'a>>(
    frame: &mut Frame<'a, '_, T>,
    greatest: bool,
    first: Value<'a>,
    args: ArgRange,
    node: NodeId,
) -> Evaluated<Value<'a>> {
    let mut values = vec![first];
    if let Value::List(list) = first {
        let length = frame.list_length(list);
        frame.step(length, node)?;
        values = (0..length).map(|at| frame.element(list, at)).collect();
    }
    for at in 1..args.until - args.from {
        values.push(frame.nth(args, at, node)?);
    }
    let order = |a: &Value<'a>, b: &Value<'a>| a.order(b).unwrap_or(std::cmp::Ordering::Equal);
    let found = if greatest { values.into_iter().max_by(order) } else { values.into_iter().min_by(order) };
    found.ok_or(Fault { kind: FaultKind::EmptyList, node })
}

fn prorate<'a, T: Tracer<'a>>(
    frame: &mut Frame<'a, '_, T>,
    fee: Value<'a>,
    args: ArgRange,
    node: NodeId,
) -> Evaluated<Value<'a>> {
    let number = |value: Value<'a>| match value {
        Value::Number(value) => Ok(value),
        Value::Duration(value) => exact(Number::from_i128(nanoseconds(value)), node),
        _ => fault(FaultKind::Internal, node),
    };
    let mut parts = [number(fee)?; 4];
    for at in 1..4_u32 {
        let value = frame.nth(args, at, node)?;
        if let Some(part) = parts.get_mut(at as usize) {
            *part = number(value)?;
        }
    }
    let [fee, factor, lost, period] = parts;
    let share = exact(lost.divide(period), node)?;
    exact(exact(fee.multiply(factor), node)?.multiply(share), node).map(Value::Number)
}

fn units<'a>(function: Function, value: Value<'a>, node: NodeId) -> Evaluated<Value<'a>> {
    let length = match value {
        Value::Duration(value) => value,
        Value::Window(window) => window.length(),
        _ => return fault(FaultKind::Internal, node),
    };
    let seconds: i128 = match function {
        Function::Days => 86_400,
        Function::Hours => 3_600,
        Function::Minutes => 60,
        _ => 1,
    };
    exact(Number::ratio(nanoseconds(length), seconds * NANOS_A_SECOND), node).map(Value::Number)
}

fn between<'a>(function: Function, first: Value<'a>, second: Value<'a>, node: NodeId) -> Evaluated<Value<'a>> {
    match (function, first, second) {
        (Function::MonthsBetween, Value::Date(a), Value::Date(b)) => Ok(whole(time::months_between(a, b))),
        (Function::DaysBetween, Value::Date(a), Value::Date(b)) => Ok(whole((b - a).num_days())),
        (_, Value::Timestamp(a), Value::Timestamp(b)) => {
            let unit = match function {
                Function::DaysBetween => Function::Days,
                Function::HoursBetween => Function::Hours,
                _ => Function::Minutes,
            };
            units(unit, Value::Duration(b - a), node)
        }
        _ => fault(FaultKind::Internal, node),
    }
}

fn whole_argument(value: Value<'_>, node: NodeId) -> Evaluated<i64> {
    let Value::Number(number) = value else { return fault(FaultKind::Internal, node) };
    let whole = number.as_integer().ok_or(Fault { kind: FaultKind::NotWhole, node })?;
    i64::try_from(whole).map_err(|_| Fault { kind: FaultKind::OutsideTime, node })
}

fn add<'a, T: Tracer<'a>>(
    frame: &mut Frame<'a, '_, T>,
    function: Function,
    first: Value<'a>,
    args: ArgRange,
    extra: Extra,
    node: NodeId,
) -> Evaluated<Value<'a>> {
    let outside = Fault { kind: FaultKind::OutsideTime, node };
    let count = whole_argument(frame.nth(args, 1, node)?, node)?;
    let later = |date: NaiveDate| match function {
        Function::AddDays => time::add_days(date, count),
        _ => time::add_months(date, count),
    };
    match (first, extra) {
        (Value::Date(date), _) => later(date).map(Value::Date).ok_or(outside),
        (Value::Timestamp(at), Extra::Zone(zone)) => {
            let local = at.with_timezone(&zone).naive_local();
            let moved = later(local.date()).and_then(|date| time::instant(date.and_time(local.time()), zone));
            moved.map(Value::Timestamp).ok_or(outside)
        }
        _ => fault(FaultKind::Internal, node),
    }
}

fn working<'a, T: Tracer<'a>>(
    frame: &mut Frame<'a, '_, T>,
    function: Function,
    first: Value<'a>,
    args: ArgRange,
    extra: Extra,
    node: NodeId,
) -> Evaluated<Value<'a>> {
    let outside = Fault { kind: FaultKind::OutsideTime, node };
    let (Value::Date(date), Extra::Calendar(calendar)) = (first, extra) else {
        return fault(FaultKind::Internal, node);
    };
    match function {
        Function::IsWorkingDay => frame.is_working(calendar, date, node).map(Value::Bool),
        Function::WorkingDaysBetween => {
            let Value::Date(last) = frame.nth(args, 1, node)? else { return fault(FaultKind::Internal, node) };
            let (mut day, end, sign) = if date <= last { (date, last, 1) } else { (last, date, -1) };
            let mut count = 0;
            while day < end {
                frame.step(1, node)?;
                day = day.succ_opt().ok_or(outside)?;
                count += i64::from(frame.is_working(calendar, day, node)?);
            }
            Ok(whole(sign * count))
        }
        _ => {
            let mut left = whole_argument(frame.nth(args, 1, node)?, node)?;
            let mut day = date;
            while left != 0 {
                frame.step(1, node)?;
                let next = if left > 0 { day.succ_opt() } else { day.pred_opt() };
                day = next.ok_or(outside)?;
                if frame.is_working(calendar, day, node)? {
                    left -= left.signum();
                }
            }
            Ok(Value::Date(day))
        }
    }
}

fn windows<'a, T: Tracer<'a>>(
    frame: &mut Frame<'a, '_, T>,
    function: Function,
    first: Value<'a>,
    args: ArgRange,
    node: NodeId,
) -> Evaluated<Value<'a>> {
    let overflow = Fault { kind: FaultKind::Overflow, node };
    match (function, first) {
        (Function::MakeWindow, Value::Timestamp(from)) => {
            let Value::Timestamp(until) = frame.nth(args, 1, node)? else { return fault(FaultKind::Internal, node) };
            Window::new(from, until).map(Value::Window).map_err(|_| Fault { kind: FaultKind::EmptyWindow, node })
        }
        (Function::Length, Value::Window(window)) => Ok(Value::Duration(window.length())),
        (Function::Longest, Value::List(list)) => {
            let length = frame.list_length(list);
            frame.step(length, node)?;
            let longest = match frame.element(list, 0) {
                Value::Duration(_) => (0..length)
                    .filter_map(|at| match frame.element(list, at) {
                        Value::Duration(value) => Some(value),
                        _ => None,
                    })
                    .max(),
                _ => time::merge(frame.windows(first, node)?).iter().map(Window::length).max(),
            };
            Ok(Value::Duration(longest.unwrap_or(TimeDelta::zero())))
        }
        (Function::Total, _) => {
            let windows = frame.windows(first, node)?;
            time::covered(windows).map(Value::Duration).ok_or(overflow)
        }
        (Function::ContainsInstant, _) => {
            let windows = frame.windows(first, node)?;
            let Value::Timestamp(at) = frame.nth(args, 1, node)? else { return fault(FaultKind::Internal, node) };
            Ok(Value::Bool(windows.iter().any(|window| window.contains(at))))
        }
        _ => {
            // Two single windows, the commonest case, need no list.
            let second = frame.nth(args, 1, node)?;
            if let (Function::Overlaps | Function::Overlap, Value::Window(a), Value::Window(b)) =
                (function, first, second)
            {
                let common = a.overlap(&b).map_or(TimeDelta::zero(), |both| both.length());
                return Ok(if function == Function::Overlap {
                    Value::Duration(common)
                } else {
                    Value::Bool(!common.is_zero())
                });
            }
            let (left, right) = (frame.windows(first, node)?, frame.windows(second, node)?);
            match function {
                Function::Elapsed => {
                    let window = left.first().copied().ok_or(Fault { kind: FaultKind::Internal, node })?;
                    elapsed(window, right, node).map(Value::Duration)
                }
                Function::WindowsIn => {
                    let within = right.first().copied().ok_or(Fault { kind: FaultKind::Internal, node })?;
                    let clipped = left.iter().filter_map(|window| window.overlap(&within)).map(Value::Window);
                    frame.computed(clipped.collect(), node)
                }
                _ => {
                    let common = time::common(left, right).ok_or(overflow)?;
                    Ok(if function == Function::Overlap {
                        Value::Duration(common)
                    } else {
                        Value::Bool(!common.is_zero())
                    })
                }
            }
        }
    }
}

fn local<'a, T: Tracer<'a>>(
    frame: &mut Frame<'a, '_, T>,
    function: Function,
    first: Value<'a>,
    args: ArgRange,
    extra: Extra,
    node: NodeId,
) -> Evaluated<Value<'a>> {
    let outside = Fault { kind: FaultKind::OutsideTime, node };
    let zone = match (function, extra) {
        (Function::At, _) => match frame.nth(args, 1, node)? {
            Value::Text(name) => name.parse().map_err(|_| Fault { kind: FaultKind::Internal, node })?,
            _ => return fault(FaultKind::Internal, node),
        },
        (_, Extra::Zone(zone)) => zone,
        _ => chrono_tz::Tz::UTC,
    };
    match (function, first, extra) {
        (Function::LocalDate, Value::Timestamp(at), _) => Ok(Value::Date(time::local_date(at, zone))),
        (Function::LocalHour, Value::Timestamp(at), _) => Ok(whole(at.with_timezone(&zone).hour().into())),
        (Function::LocalMinute, Value::Timestamp(at), _) => Ok(whole(at.with_timezone(&zone).minute().into())),
        (Function::StartOfDay, Value::Date(date), _) => {
            time::start_of_day(date, zone).map(Value::Timestamp).ok_or(outside)
        }
        (Function::At, Value::Date(date), Extra::TimeOfDay(seconds)) => {
            time::at_time(date, seconds, zone).map(Value::Timestamp).ok_or(outside)
        }
        (Function::DayOf, Value::Date(date), _) => time::day_of(date, zone).map(Value::Window).ok_or(outside),
        (Function::MonthOf, Value::Date(date), _) => time::month_of(date, zone).map(Value::Window).ok_or(outside),
        (Function::MonthOf, Value::Timestamp(at), _) => {
            time::month_of(time::local_date(at, zone), zone).map(Value::Window).ok_or(outside)
        }
        (Function::DaysOf | Function::MonthsOf, Value::Window(window), _) => {
            let (first, last) = (time::local_date(window.from(), zone), time::last_date(&window, zone));
            if function == Function::DaysOf {
                return dates(frame, first, last, node);
            }
            let mut months = Vec::new();
            let mut month = first.with_day(1).ok_or(outside)?;
            while month <= last {
                frame.step(1, node)?;
                if months.len() >= super::limits::MAX_LIST {
                    return fault(FaultKind::ListTooLong, node);
                }
                months.push(Value::Window(time::month_of(month, zone).ok_or(outside)?));
                month = time::add_months(month, 1).ok_or(outside)?;
            }
            frame.computed(months, node)
        }
        (Function::Dates, Value::Date(from), _) => {
            let Value::Date(last) = frame.nth(args, 1, node)? else { return fault(FaultKind::Internal, node) };
            dates(frame, from, last, node)
        }
        _ => fault(FaultKind::Internal, node),
    }
}

fn dates<'a, T: Tracer<'a>>(
    frame: &mut Frame<'a, '_, T>,
    first: NaiveDate,
    last: NaiveDate,
    node: NodeId,
) -> Evaluated<Value<'a>> {
    if (last - first).num_days() >= i64::try_from(super::limits::MAX_LIST).unwrap_or(i64::MAX) {
        return fault(FaultKind::ListTooLong, node);
    }
    let days = first.iter_days().take_while(|day| *day <= last).map(Value::Date).collect();
    frame.computed(days, node)
}
