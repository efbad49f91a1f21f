//! Messages about a policy file: what is wrong, where, and what to do about it, in words for people who do not program.

use std::fmt;

use serde::Serialize;

use super::limits::MAX_DIAGNOSTICS;

/// A stretch of bytes in the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl From<std::ops::Range<usize>> for Span {
    fn from(range: std::ops::Range<usize>) -> Self {
        Self { start: range.start, end: range.end }
    }
}

/// How grave a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing; the check passes.
    Warning,
    /// Fairness: the policy can be assessed, but is refused at check and at publishing unless waived by name.
    Unfair,
    /// The policy cannot be used.
    Error,
}

/// One message about a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// The stable name of the message, listed in `docs/POLICIES.md`.
    pub code: &'static str,
    /// How grave it is.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
    /// How many characters the caret underlines.
    pub length: usize,
    /// The line of the source.
    pub source_line: String,
}

impl Diagnostic {
    /// Whether it makes a check fail.
    #[must_use]
    pub fn refuses(&self) -> bool {
        self.severity != Severity::Warning
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.severity {
            Severity::Warning => "warning",
            Severity::Unfair => "unfair",
            Severity::Error => "error",
        };
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        writeln!(f, "{}:{}:{}: {kind}[{}]: {}", self.file, self.line, self.column, self.code, self.message)?;
        writeln!(f, "{margin} |")?;
        writeln!(f, "{number} | {}", self.source_line)?;
        let indent: String = self
            .source_line
            .chars()
            .take(self.column.saturating_sub(1))
            .map(|c| if c == '\t' { "\t".to_owned() } else { " ".repeat(width(c)) })
            .collect();
        let carets: usize =
            self.source_line.chars().skip(self.column.saturating_sub(1)).take(self.length).map(width).sum();
        writeln!(f, "{margin} | {indent}{}", "^".repeat(carets.max(1)))?;
        write!(f, "{margin} = help: {}", self.remedy)
    }
}

/// Columns a terminal gives a character: Hangul and its neighbours are two wide.
fn width(c: char) -> usize {
    match c as u32 {
        0x1100..=0x115F | 0x2E80..=0xA4CF | 0xAC00..=0xD7A3 | 0xF900..=0xFAFF | 0xFE30..=0xFE6F | 0xFF00..=0xFF60 => 2,
        _ => 1,
    }
}

/// Collects the messages of one file.
#[derive(Debug)]
pub(crate) struct Messages<'s> {
    file: &'s str,
    source: &'s str,
    line_starts: Vec<usize>,
    found: Vec<Diagnostic>,
    left_out: usize,
}

/// The most characters of a source line that a message shows.
const MAX_SHOWN_LINE: usize = 240;

impl<'s> Messages<'s> {
    pub(crate) fn new(file: &'s str, source: &'s str) -> Self {
        let line_starts =
            std::iter::once(0).chain(source.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at + 1));
        Self { file, source, line_starts: line_starts.collect(), found: Vec::new(), left_out: 0 }
    }

    pub(crate) fn error(
        &mut self,
        code: &'static str,
        span: Span,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.push(Severity::Error, code, span, message.into(), remedy.into());
    }

    pub(crate) fn warn(
        &mut self,
        code: &'static str,
        span: Span,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.push(Severity::Warning, code, span, message.into(), remedy.into());
    }

    pub(crate) fn unfair(
        &mut self,
        code: &'static str,
        span: Span,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.push(Severity::Unfair, code, span, message.into(), remedy.into());
    }

    fn push(&mut self, severity: Severity, code: &'static str, span: Span, message: String, remedy: String) {
        if self.found.len() >= MAX_DIAGNOSTICS {
            self.left_out += 1;
            return;
        }
        let diagnostic = self.at(severity, code, span, message, remedy);
        if !self.found.contains(&diagnostic) {
            self.found.push(diagnostic);
        }
    }

    fn at(&self, severity: Severity, code: &'static str, span: Span, message: String, remedy: String) -> Diagnostic {
        let (line, column, source_line) = self.place(span.start);
        let shown = self.source.get(span.start..span.end.min(self.source.len())).unwrap_or("");
        let length = shown.lines().next().unwrap_or("").chars().count().clamp(1, MAX_SHOWN_LINE);
        let source_line = source_line.chars().take(MAX_SHOWN_LINE).collect();
        Diagnostic { code, severity, message, remedy, file: self.file.to_owned(), line, column, length, source_line }
    }

    /// Line and column (from 1, in characters) of a byte, and the line's text.
    pub(crate) fn place(&self, byte: usize) -> (usize, usize, &'s str) {
        let byte = byte.min(self.source.len());
        let line = self.line_starts.partition_point(|start| *start <= byte).max(1);
        let start = self.line_starts.get(line - 1).copied().unwrap_or(0);
        let text = self.source.get(start..).unwrap_or("").lines().next().unwrap_or("");
        let column = self.source.get(start..byte).unwrap_or("").chars().count() + 1;
        (line, column, text)
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.found.iter().any(|found| found.severity == Severity::Error)
    }

    /// All messages, in the order of the file.
    pub(crate) fn finish(mut self) -> Vec<Diagnostic> {
        self.found.sort_by_key(|found| (found.line, found.column));
        if self.left_out > 0 {
            let message = format!("{} more messages are not shown", self.left_out);
            let last = self.at(
                Severity::Error,
                "too-many-messages",
                Span::default(),
                message,
                "correct the ones above and check again".to_owned(),
            );
            self.found.push(last);
        }
        self.found
    }
}

/// The known name nearest to a mistyped one, as ` (did you mean …?)`, or nothing.
pub(crate) fn suggestion<'n>(wrong: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let wrong: Vec<char> = wrong.chars().take(MAX_COMPARED).collect();
    known
        .into_iter()
        .map(|name| (edits(&wrong, name), name))
        .filter(|(distance, name)| *distance <= 1 + name.chars().count().min(wrong.len()) / 4)
        .min()
        .map(|(_, name)| name)
}

const MAX_COMPARED: usize = 80;

/// The number of insertions, deletions, replacements and swaps of neighbours between two words.
fn edits(wrong: &[char], name: &str) -> usize {
    let name: Vec<char> = name.chars().take(MAX_COMPARED).collect();
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=name.len()).collect();
    for (i, a) in wrong.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in name.iter().enumerate() {
            let mut best = (last[j] + usize::from(a != b)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == name[j - 1] && wrong[i - 1] == *b {
                best = best.min(before_last[j - 1] + 1);
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggestions_are_near() {
        let known = ["claim.loss", "customer.merchant"];
        assert_eq!(suggestion("claim.los", known), Some("claim.loss"));
        assert_eq!(suggestion("claim.lsos", known), Some("claim.loss"));
        assert_eq!(suggestion("holding.kind", known), None);
    }

    #[test]
    fn the_caret_stands_under_the_word_even_after_hangul() {
        let source = "title = \"소상공인\" wrong\n";
        let mut messages = Messages::new("p.toml", source);
        let start = source.find("wrong").unwrap();
        messages.error("syntax", Span { start, end: start + 5 }, "no", "yes");
        let shown = messages.finish()[0].to_string();
        assert_eq!(
            shown,
            "p.toml:1:16: error[syntax]: no\n  |\n1 | title = \"소상공인\" wrong\n  |                    ^^^^^\n  = help: yes"
        );
    }
}
