//! What a command did, and what a test says it must have done.

use std::process::Output;

use serde_json::Value;

/// What a command did.
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    called: String,
}

impl Ran {
    pub fn of(output: Output, args: &[&str]) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
            called: args.join(" "),
        }
    }

    #[track_caller]
    pub fn succeeds(self) -> Self {
        assert_eq!(self.code, Some(0), "redress {}\n{}\n{}", self.called, self.stdout, self.stderr);
        self
    }

    /// It must exit so and say this on stderr.
    #[track_caller]
    pub fn fails(self, code: i32, says: &str) -> Self {
        assert_eq!(self.code, Some(code), "redress {}\n{}\n{}", self.called, self.stdout, self.stderr);
        assert!(self.stderr.contains(says), "redress {}\nsays {}\nnot  {says}", self.called, self.stderr);
        assert!(!self.stderr.contains("panicked"), "redress {}\n{}", self.called, self.stderr);
        self
    }

    /// It must exit with 1, say this in one line on stderr, and nothing on stdout.
    #[track_caller]
    pub fn refuses(self, says: &str) -> Self {
        self.says_only(1, says)
    }

    /// It must exit with 2 because of a flag, say this in one line on stderr, and nothing on stdout.
    #[track_caller]
    #[expect(clippy::wrong_self_convention, reason = "like its siblings it hands on what ran")]
    pub fn is_misused(self, says: &str) -> Self {
        self.says_only(2, says)
    }

    #[track_caller]
    fn says_only(self, code: i32, says: &str) -> Self {
        let ran = self.fails(code, says);
        assert_eq!(ran.stderr.lines().count(), 1, "redress {}\n{}", ran.called, ran.stderr);
        assert!(ran.stderr.starts_with("redress: "), "redress {}\n{}", ran.called, ran.stderr);
        assert_eq!(ran.stdout, "", "redress {}", ran.called);
        ran
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.stdout))
    }
}
