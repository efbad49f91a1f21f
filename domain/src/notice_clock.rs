//! The clock of a duty: how damages are claimed has to be announced within 30 days of the end of an interruption
//! (Telecommunications Business Act of Korea, article 33), unless the interruption was too short to count.

use chrono::{DateTime, Duration, TimeZone, Utc};
use serde::Serialize;

use crate::window::Window;

/// How long after its end an interruption's claims have to be announced.
const DAYS: i64 = 30;
/// Interruptions of value-added services up to this long are exempt …
const EXEMPT_HOURS_BEFORE: i64 = 4;
/// … and since 2025-03-27, as those of carriers always were, up to this long.
const EXEMPT_HOURS: i64 = 2;

/// Where a duty stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ClockState {
    /// The interruption was too short for the duty.
    Exempt,
    /// Announced in time.
    Met,
    /// Announced too late.
    Late,
    /// Not announced, and there is time.
    Running,
    /// Not announced, and the time is over.
    Overdue,
}

/// The clock of one service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoticeClock {
    /// When the interruption ended for good.
    pub ended_at: DateTime<Utc>,
    /// Until when the announcement is due.
    pub due_at: DateTime<Utc>,
    /// Where it stands.
    pub state: ClockState,
}

/// The clock of a service that was interrupted in these windows, seen at `now`. None without a window.
#[must_use]
pub fn clock(windows: &[Window], announced_at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Option<NoticeClock> {
    let ended_at = windows.iter().map(Window::until).max()?;
    let longest = windows.iter().map(|window| window.until() - window.from()).max()?;
    let due_at = ended_at + Duration::days(DAYS);
    let state = if longest <= exempt_up_to(ended_at) {
        ClockState::Exempt
    } else {
        match announced_at {
            Some(at) if at <= due_at => ClockState::Met,
            Some(_) => ClockState::Late,
            None if now <= due_at => ClockState::Running,
            None => ClockState::Overdue,
        }
    };
    Some(NoticeClock { ended_at, due_at, state })
}

/// How long an interruption may be that ended then, to be exempt.
fn exempt_up_to(ended_at: DateTime<Utc>) -> Duration {
    // Midnight in Korea.
    let since = Utc.with_ymd_and_hms(2025, 3, 26, 15, 0, 0).single();
    let hours = if since.is_some_and(|since| ended_at >= since) { EXEMPT_HOURS } else { EXEMPT_HOURS_BEFORE };
    Duration::hours(hours)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn the_clock_runs_thirty_days_from_the_end_and_short_interruptions_are_exempt() {
        let window = |from: &str, until: &str| Window::new(at(from), at(until)).unwrap();
        let long = [
            window("2022-10-15T06:30:00Z", "2022-10-16T06:30:00Z"),
            window("2022-10-17T00:00:00Z", "2022-10-17T01:00:00Z"),
        ];
        let due = at("2022-11-16T01:00:00Z");
        let second = Duration::seconds(1);
        for (announced, now, state) in [
            (None, due, ClockState::Running),
            (None, due + second, ClockState::Overdue),
            (Some(due), due + second, ClockState::Met),
            (Some(due + second), due + second, ClockState::Late),
        ] {
            let clock = clock(&long, announced, now).unwrap();
            assert_eq!((clock.due_at, clock.state), (due, state), "{announced:?} {now}");
        }
        for (from, until, exempt) in [
            ("2025-03-26T09:00:00Z", "2025-03-26T13:00:00Z", true),
            ("2025-03-26T08:59:59Z", "2025-03-26T13:00:00Z", false),
            ("2025-03-27T09:00:00Z", "2025-03-27T11:00:00Z", true),
            ("2025-03-27T09:00:00Z", "2025-03-27T11:00:01Z", false),
        ] {
            let clock = clock(&[window(from, until)], None, at(until)).unwrap();
            assert_eq!(clock.state == ClockState::Exempt, exempt, "{from} {until}");
        }
        assert_eq!(clock(&[], None, due), None);
    }
}
