//! Local dates, calendar months and working days, worked out from instants and data, never from a clock.

use chrono::{
    DateTime, Datelike, Days, Months, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone, Utc, Weekday,
};
use chrono_tz::Tz;

use crate::window::Window;

/// Which days are worked, as the policy says it.
#[derive(Debug, Clone)]
pub(crate) struct Calendar {
    pub(crate) name: String,
    /// Whether Monday to Sunday are free.
    pub(crate) weekend: [bool; 7],
    /// In order.
    pub(crate) holidays: Vec<NaiveDate>,
    pub(crate) from: Option<NaiveDate>,
    pub(crate) until: Option<NaiveDate>,
}

impl Calendar {
    /// Whether a date is worked; nothing for a date the calendar does not know.
    pub(crate) fn is_working(&self, date: NaiveDate) -> Option<bool> {
        let known = self.from.is_none_or(|from| from <= date) && self.until.is_none_or(|until| date < until);
        let weekday = usize::try_from(date.weekday().num_days_from_monday()).unwrap_or(0);
        known.then(|| {
            !self.weekend.get(weekday).copied().unwrap_or(false) && self.holidays.binary_search(&date).is_err()
        })
    }
}

/// The weekday of `mon`, `tue` …
pub(crate) fn parse_weekday(text: &str) -> Option<Weekday> {
    let known = matches!(text, "mon" | "tue" | "wed" | "thu" | "fri" | "sat" | "sun");
    known.then(|| text.parse().ok()).flatten()
}

pub(crate) fn local_date(at: DateTime<Utc>, zone: Tz) -> NaiveDate {
    at.with_timezone(&zone).date_naive()
}

/// The instant of a local time: the earlier when it comes twice, the first after a gap when it never comes.
pub(crate) fn instant(local: NaiveDateTime, zone: Tz) -> Option<DateTime<Utc>> {
    const QUARTERS_OF_A_DAY: i64 = 96;
    (0..=QUARTERS_OF_A_DAY).find_map(|quarter| {
        let tried = local.checked_add_signed(TimeDelta::minutes(15 * quarter))?;
        Some(zone.from_local_datetime(&tried).earliest()?.with_timezone(&Utc))
    })
}

pub(crate) fn start_of_day(date: NaiveDate, zone: Tz) -> Option<DateTime<Utc>> {
    instant(date.and_time(NaiveTime::MIN), zone)
}

pub(crate) fn at_time(date: NaiveDate, seconds: u32, zone: Tz) -> Option<DateTime<Utc>> {
    instant(date.and_time(NaiveTime::from_num_seconds_from_midnight_opt(seconds, 0)?), zone)
}

/// Seconds from midnight of `15:00` or `15:00:30`.
pub(crate) fn parse_time_of_day(text: &str) -> Option<u32> {
    use chrono::Timelike;
    let time: NaiveTime = if text.len() == 5 { format!("{text}:00").parse().ok()? } else { text.parse().ok()? };
    (text.len() == 5 || text.len() == 8).then(|| time.num_seconds_from_midnight())
}

pub(crate) fn add_days(date: NaiveDate, days: i64) -> Option<NaiveDate> {
    if days < 0 {
        date.checked_sub_days(Days::new(days.unsigned_abs()))
    } else {
        date.checked_add_days(Days::new(days.unsigned_abs()))
    }
}

pub(crate) fn add_months(date: NaiveDate, months: i64) -> Option<NaiveDate> {
    let count = Months::new(u32::try_from(months.unsigned_abs()).ok()?);
    if months < 0 { date.checked_sub_months(count) } else { date.checked_add_months(count) }
}

/// Complete months from one date to another; negative when it is earlier.
pub(crate) fn months_between(a: NaiveDate, b: NaiveDate) -> i64 {
    if b < a {
        return -months_between(b, a);
    }
    let months = i64::from(b.year() - a.year()) * 12 + i64::from(b.month()) - i64::from(a.month());
    // The 31st becomes the month's last day, so that a month after 31 January is 28 February.
    let complete = add_months(a, months).is_some_and(|reached| reached <= b);
    months - i64::from(!complete)
}

pub(crate) fn days_in_month(date: NaiveDate) -> i64 {
    let first = date.with_day(1).unwrap_or(date);
    add_months(first, 1).map_or(31, |next| (next - first).num_days())
}

pub(crate) fn month_of(date: NaiveDate, zone: Tz) -> Option<Window> {
    let first = date.with_day(1)?;
    Window::new(start_of_day(first, zone)?, start_of_day(add_months(first, 1)?, zone)?).ok()
}

pub(crate) fn day_of(date: NaiveDate, zone: Tz) -> Option<Window> {
    Window::new(start_of_day(date, zone)?, start_of_day(date.succ_opt()?, zone)?).ok()
}

/// The last local date that a window touches.
pub(crate) fn last_date(window: &Window, zone: Tz) -> NaiveDate {
    let last_instant = window.until().checked_sub_signed(TimeDelta::nanoseconds(1)).unwrap_or(window.until());
    local_date(last_instant, zone)
}

/// Windows in order, with overlapping and touching ones joined.
pub(crate) fn merge(mut windows: Vec<Window>) -> Vec<Window> {
    windows.sort_unstable();
    let mut merged: Vec<Window> = Vec::with_capacity(windows.len());
    for window in windows {
        match merged.last_mut() {
            Some(last) if window.from() <= last.until() => {
                let until = last.until().max(window.until());
                *last = Window::new(last.from(), until).unwrap_or(*last);
            }
            _ => merged.push(window),
        }
    }
    merged
}

/// The time that windows cover, overlaps once.
pub(crate) fn covered(windows: Vec<Window>) -> Option<TimeDelta> {
    merge(windows).iter().try_fold(TimeDelta::zero(), |sum, window| sum.checked_add(&window.length()))
}

/// The time that two sets of windows have in common.
pub(crate) fn common(left: Vec<Window>, right: Vec<Window>) -> Option<TimeDelta> {
    let (left, right) = (merge(left), merge(right));
    let (mut i, mut j) = (0, 0);
    let mut sum = TimeDelta::zero();
    while let (Some(a), Some(b)) = (left.get(i), right.get(j)) {
        if let Some(both) = a.overlap(b) {
            sum = sum.checked_add(&both.length())?;
        }
        if a.until() <= b.until() { i += 1 } else { j += 1 }
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn window(from: &str, until: &str) -> Window {
        Window::new(from.parse().unwrap(), until.parse().unwrap()).unwrap()
    }

    #[test]
    fn months_are_complete_or_not_counted() {
        assert_eq!(months_between(date("2022-01-31"), date("2022-02-28")), 1);
        assert_eq!(months_between(date("2022-01-15"), date("2022-02-14")), 0);
        assert_eq!(months_between(date("2022-02-14"), date("2022-01-15")), 0);
        assert_eq!(months_between(date("2022-03-15"), date("2021-03-15")), -12);
        assert_eq!(days_in_month(date("2024-02-10")), 29);
    }

    #[test]
    fn a_day_has_the_length_the_zone_gives_it() {
        let short = day_of(date("2026-03-29"), Tz::Europe__London).unwrap();
        assert_eq!(short.length(), TimeDelta::hours(23));
        let seoul = day_of(date("2022-10-15"), Tz::Asia__Seoul).unwrap();
        assert_eq!(seoul.from().to_rfc3339(), "2022-10-14T15:00:00+00:00");
        assert_eq!(last_date(&seoul, Tz::Asia__Seoul), date("2022-10-15"));
        // 01:30 does not exist in London on that day: the first instant after the gap.
        assert_eq!(
            at_time(date("2026-03-29"), 5_400, Tz::Europe__London).unwrap().to_rfc3339(),
            "2026-03-29T01:00:00+00:00"
        );
    }

    #[test]
    fn overlaps_count_once() {
        let windows = vec![
            window("2022-10-15T00:00:00Z", "2022-10-15T10:00:00Z"),
            window("2022-10-15T05:00:00Z", "2022-10-15T12:00:00Z"),
            window("2022-10-16T00:00:00Z", "2022-10-16T01:00:00Z"),
        ];
        assert_eq!(covered(windows.clone()), Some(TimeDelta::hours(13)));
        assert_eq!(
            common(windows, vec![window("2022-10-15T11:00:00Z", "2022-10-16T12:00:00Z")]),
            Some(TimeDelta::hours(2))
        );
    }

    #[test]
    fn times_of_day_are_strict() {
        assert_eq!(parse_time_of_day("15:00"), Some(54_000));
        assert_eq!(parse_time_of_day("15:00:30"), Some(54_030));
        for wrong in ["", "15", "25:00", "15:0", "1500", "é5:00"] {
            assert_eq!(parse_time_of_day(wrong), None, "{wrong}");
        }
    }
}
