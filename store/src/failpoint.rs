//! Places where a test makes the program die, and guards that a test takes away to see what they are for. In a release
//! build all of this is nothing: the variables are not even read.

use std::str::FromStr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Names the point at which the process kills itself, and at which time of reaching it: `copied:2`.
pub const CRASH_AT: &str = "REDRESS_TEST_CRASH_AT";
/// Names the guards that are taken away: `mark,memory,key`.
pub const WITHOUT: &str = "REDRESS_TEST_WITHOUT";

macro_rules! names {
    ($(#[$doc:meta])* $type:ident { $($(#[$variant_doc:meta])* $variant:ident = $name:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $type {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $type {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name that the variable takes.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }

        impl FromStr for $type {
            type Err = ();

            fn from_str(text: &str) -> Result<Self, ()> {
                Self::ALL.iter().copied().find(|known| known.as_str() == text).ok_or(())
            }
        }
    };
}

names! {
    /// A place in the batch job, in the order of a chunk's life.
    Point {
        /// The run is open, and no chunk is taken.
        Opened = "opened",
        /// A chunk is taken.
        Leased = "leased",
        /// Its customers are loaded.
        Loaded = "loaded",
        /// It is decided, and its transfers are in.
        Copied = "copied",
        /// It says that it is done.
        Marked = "marked",
        /// A budget is spent.
        Spent = "spent",
        /// Its posting has its time: the last thing before the commit.
        Sealed = "sealed",
        /// It is committed, and no other is taken.
        Committed = "committed",
        /// Every chunk is done, and the run does not say so yet.
        Closing = "closing",
    }
}

names! {
    /// A place around a call that tells others something, in the order of a call's life.
    CallPoint {
        /// It is leased, and nothing is sent.
        Leased = "call-leased",
        /// It was answered, and nothing of it is recorded.
        Answered = "call-answered",
        /// The answer is in the books: the last thing before the commit.
        Recording = "call-recording",
        /// It is committed.
        Recorded = "call-recorded",
    }
}

names! {
    /// A guard against paying twice, or against losing what was acknowledged.
    Guard {
        /// A chunk that is done says so.
        Mark = "mark",
        /// What was credited before counts.
        Memory = "memory",
        /// A credit's id follows from what it is for.
        Key = "key",
        /// A report is answered after the commit that it speaks of.
        Commit = "commit",
        /// Every attempt to tell something has the same id.
        CallId = "call-id",
    }
}

/// Dies here with SIGKILL, as nothing can be done against, if a test wants it.
pub fn reach(point: Point) {
    reach_named(point.as_str());
}

/// The same around a call.
pub fn reach_call(point: CallPoint) {
    reach_named(point.as_str());
}

fn reach_named(point: &str) {
    if !cfg!(debug_assertions) {
        return;
    }
    static WANTED: OnceLock<Option<(String, AtomicU32)>> = OnceLock::new();
    let wanted = WANTED.get_or_init(|| {
        let text = std::env::var(CRASH_AT).ok()?;
        let (name, times) = text.split_once(':').unwrap_or((&text, "1"));
        Some((name.to_owned(), AtomicU32::new(times.parse().ok()?)))
    });
    if let Some((wanted, left)) = wanted
        && wanted == point
        && left.fetch_sub(1, Ordering::SeqCst) == 1
    {
        // That it cannot be sent to oneself is not a case that POSIX knows.
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}

/// Whether a test has taken a guard away.
#[must_use]
pub fn is_without(guard: Guard) -> bool {
    if !cfg!(debug_assertions) {
        return false;
    }
    static WITHOUT_THESE: OnceLock<Vec<Guard>> = OnceLock::new();
    let without = WITHOUT_THESE.get_or_init(|| {
        let text = std::env::var(WITHOUT).unwrap_or_default();
        text.split(',').filter_map(|name| name.parse().ok()).collect()
    });
    without.contains(&guard)
}
