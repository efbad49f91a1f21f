//! The functions of the language as an author sees them: name, number of arguments, how a call is written.

/// A function's name, how many arguments it takes, and how it is written.
pub(crate) struct Signature {
    pub(crate) name: &'static str,
    pub(crate) least: usize,
    pub(crate) most: usize,
    pub(crate) usage: &'static str,
}

const fn of(name: &'static str, least: usize, most: usize, usage: &'static str) -> Signature {
    Signature { name, least, most, usage }
}

/// The most arguments of `min` and `max`.
const MANY: usize = 16;

/// Every function, by name.
pub(crate) const SIGNATURES: [Signature; 62] = [
    of("abs", 1, 1, "abs(number)"),
    of("add_days", 2, 3, "add_days(date, number_of_days)"),
    of("add_months", 2, 3, "add_months(date, number_of_months)"),
    of("add_working_days", 3, 3, "add_working_days(date, number_of_days, calendar.x)"),
    of("all", 3, 3, "all(list, x, condition_of_x)"),
    of("any", 3, 3, "any(list, x, condition_of_x)"),
    of("at", 2, 3, "at(date, '15:00')"),
    of("coalesce", 2, 2, "coalesce(claim.x, value_when_missing)"),
    of("contains", 2, 2, "contains(window, timestamp) or contains(text, 'part')"),
    of("count", 1, 3, "count(list) or count(list, x, condition_of_x)"),
    of("date", 1, 1, "date('2022-10-15')"),
    of("dates", 2, 2, "dates(first_date, last_date)"),
    of("day", 1, 1, "day(date)"),
    of("day_of", 1, 2, "day_of(date)"),
    of("days", 1, 1, "days(duration_or_window)"),
    of("days_between", 2, 2, "days_between(earlier, later)"),
    of("days_in_month", 1, 1, "days_in_month(date)"),
    of("days_of", 1, 2, "days_of(window)"),
    of("duration", 1, 1, "duration('72h')"),
    of("elapsed", 2, 2, "elapsed(window, list_of_pauses)"),
    of("endsWith", 2, 2, "ends_with(text, 'end')"),
    of("ends_with", 2, 2, "ends_with(text, 'end')"),
    of("exists", 3, 3, "any(list, x, condition_of_x)"),
    of("filter", 3, 3, "filter(list, x, condition_of_x)"),
    of("has", 1, 1, "has(claim.x)"),
    of("hours", 1, 1, "hours(duration_or_window)"),
    of("hours_between", 2, 2, "hours_between(earlier, later)"),
    of("is_working_day", 2, 2, "is_working_day(date, calendar.x)"),
    of("length", 1, 1, "length(window)"),
    of("local_date", 1, 2, "local_date(timestamp)"),
    of("local_hour", 1, 2, "local_hour(timestamp)"),
    of("local_minute", 1, 2, "local_minute(timestamp)"),
    of("longest", 1, 1, "longest(list_of_windows_or_durations)"),
    of("map", 3, 3, "map(list, x, expression_of_x)"),
    of("max", 1, MANY, "max(a, b) or max(list)"),
    of("min", 1, MANY, "min(a, b) or min(list)"),
    of("minutes", 1, 1, "minutes(duration_or_window)"),
    of("minutes_between", 2, 2, "minutes_between(earlier, later)"),
    of("money", 2, 2, "money(number, 'KRW')"),
    of("month", 1, 1, "month(date)"),
    of("month_of", 1, 2, "month_of(date_or_timestamp)"),
    of("months_between", 2, 2, "months_between(earlier_date, later_date)"),
    of("months_of", 1, 2, "months_of(window)"),
    of("number", 1, 1, "number(money_or_number_with_a_unit)"),
    of("on", 2, 2, "on(parameter.x, date)"),
    of("overlap", 2, 2, "overlap(window_or_list, window_or_list)"),
    of("overlaps", 2, 2, "overlaps(window, window)"),
    of("prorate", 4, 4, "prorate(fee, factor, time_lost, period)"),
    of("round", 3, 3, "round(number, 'half_up', 10)"),
    of("seconds", 1, 1, "seconds(duration_or_window)"),
    of("size", 1, 1, "size(list_or_text)"),
    of("startsWith", 2, 2, "starts_with(text, 'beginning')"),
    of("start_of_day", 1, 2, "start_of_day(date)"),
    of("starts_with", 2, 2, "starts_with(text, 'beginning')"),
    of("sum", 1, 3, "sum(list) or sum(list, x, expression_of_x)"),
    of("timestamp", 1, 1, "timestamp('2022-10-15T15:30:00+09:00')"),
    of("total", 1, 1, "total(list_of_windows)"),
    of("weekday", 1, 1, "weekday(date)"),
    of("window", 2, 2, "window(from_timestamp, until_timestamp)"),
    of("windows_in", 2, 2, "windows_in(list_of_windows, window)"),
    of("working_days_between", 3, 3, "working_days_between(earlier_date, later_date, calendar.x)"),
    of("year", 1, 1, "year(date)"),
];

/// The function of a name.
pub(crate) fn signature(name: &str) -> Option<&'static Signature> {
    SIGNATURES.iter().find(|signature| signature.name == name)
}
