//! Reads TOML with the position of everything, so that each message can point at the very word that is wrong.

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use toml::de::{DeTable, DeValue};

use super::diagnostic::{Messages, Span, suggestion};
use super::limits::MAX_SOURCE_BYTES;
use super::number::parse_decimal;
use crate::source::{NUL, places_of_nul};

pub(crate) type Item<'d> = toml::Spanned<DeValue<'d>>;

/// Parses a whole file; syntax errors become messages and nothing is returned.
pub(crate) fn parse<'s>(source: &'s str, messages: &mut Messages<'_>) -> Option<toml::Spanned<DeTable<'s>>> {
    if source.len() > MAX_SOURCE_BYTES {
        messages.error(
            "too-large",
            Span::default(),
            format!("the file has {} bytes; at most {MAX_SOURCE_BYTES} are read", source.len()),
            "split it into several policies",
        );
        return None;
    }
    let (document, errors) = DeTable::parse_recoverable(source);
    for error in &errors {
        let span = error.span().map_or(Span::default(), Span::from);
        messages.error(
            "toml-syntax",
            span,
            error.message().replace('\n', ", "),
            "correct the TOML here: `key = value`, texts in double quotes, tables as [name], rules as [[rule]]",
        );
    }
    let nul = places_of_nul(document.get_ref());
    for place in &nul {
        messages.error("bad-text", Span::from(place.clone()), NUL, "take the escape for it out: \\u0000");
    }
    (errors.is_empty() && nul.is_empty()).then_some(document)
}

/// One table of the file and how messages call it.
#[derive(Clone)]
pub(crate) struct Table<'d> {
    pub(crate) table: &'d DeTable<'d>,
    pub(crate) span: Span,
    pub(crate) what: String,
}

/// A text of the file, with the place of every byte of it.
#[derive(Debug, Clone)]
pub(crate) struct Text<'d> {
    pub(crate) value: &'d str,
    pub(crate) span: Span,
}

pub(crate) fn span(item: &Item<'_>) -> Span {
    item.span().into()
}

fn kind(item: &DeValue<'_>) -> &'static str {
    match item {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

pub(crate) fn mismatch(messages: &mut Messages<'_>, what: &str, wanted: &str, item: &Item<'_>, example: &str) {
    messages.error(
        "wrong-value",
        span(item),
        format!("{what} must be {wanted}, but this is {}", kind(item.get_ref())),
        format!("write it like this: {example}"),
    );
}

/// A number of the file, exactly as its digits stand there.
pub(crate) fn exact_number(item: &Item<'_>) -> Option<Decimal> {
    match item.get_ref() {
        DeValue::Integer(digits) if digits.radix() == 10 => parse_decimal(digits.as_str()),
        DeValue::Float(digits) => parse_decimal(digits.as_str()),
        DeValue::String(text) => parse_decimal(text),
        _ => None,
    }
}

/// A date of the file, written bare or as text.
pub(crate) fn date_of(item: &Item<'_>) -> Option<NaiveDate> {
    match item.get_ref() {
        DeValue::Datetime(value) if value.time.is_none() => value.to_string().parse().ok(),
        DeValue::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// An instant of the file, with its offset.
pub(crate) fn timestamp_of(item: &Item<'_>) -> Option<DateTime<Utc>> {
    let text = match item.get_ref() {
        DeValue::Datetime(value) => value.to_string(),
        DeValue::String(text) => text.to_string(),
        _ => return None,
    };
    DateTime::parse_from_rfc3339(&text).ok().map(|at| at.with_timezone(&Utc))
}

impl<'d> Table<'d> {
    pub(crate) fn new(table: &'d DeTable<'d>, span: Span, what: impl Into<String>) -> Self {
        Self { table, span, what: what.into() }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&'d Item<'d>> {
        self.table.get(key)
    }

    /// The place of a key, or of the table when the key is absent.
    pub(crate) fn key_span(&self, key: &str) -> Span {
        self.table.get_key_value(key).map_or(self.span, |(name, _)| name.span().into())
    }

    /// Names and values in the order of the file.
    pub(crate) fn entries(&self) -> Vec<(&'d str, Span, &'d Item<'d>)> {
        let mut entries: Vec<_> =
            self.table.iter().map(|(key, item)| (&**key.get_ref(), Span::from(key.span()), item)).collect();
        entries.sort_by_key(|(_, span, _)| span.start);
        entries
    }

    /// Complains of every key that is not known.
    pub(crate) fn only(&self, known: &[&str], messages: &mut Messages<'_>) {
        for (key, span, _) in self.entries() {
            if known.contains(&key) {
                continue;
            }
            let remedy = match suggestion(key, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known here: {}", known.join(", ")),
            };
            messages.error("unknown-key", span, format!("{} has no key `{}`", self.what, shorten(key)), remedy);
        }
    }

    pub(crate) fn missing(&self, key: &str, example: &str, messages: &mut Messages<'_>) {
        messages.error(
            "missing-key",
            self.span,
            format!("{} needs the key `{key}`", self.what),
            format!("write it like this: {example}"),
        );
    }

    pub(crate) fn text(&self, key: &str, messages: &mut Messages<'_>) -> Option<Text<'d>> {
        let item = self.get(key)?;
        match item.get_ref() {
            DeValue::String(value) => Some(Text { value, span: span(item) }),
            _ => {
                mismatch(messages, &format!("`{key}`"), "a text", item, &format!("{key} = \"…\""));
                None
            }
        }
    }

    pub(crate) fn required_text(&self, key: &str, example: &str, messages: &mut Messages<'_>) -> Option<Text<'d>> {
        if self.get(key).is_none() {
            self.missing(key, example, messages);
        }
        self.text(key, messages)
    }

    pub(crate) fn boolean(&self, key: &str, messages: &mut Messages<'_>) -> Option<bool> {
        let item = self.get(key)?;
        let value = item.get_ref().as_bool();
        if value.is_none() {
            mismatch(messages, &format!("`{key}`"), "true or false", item, &format!("{key} = true"));
        }
        value
    }

    pub(crate) fn number(&self, key: &str, messages: &mut Messages<'_>) -> Option<Decimal> {
        let item = self.get(key)?;
        let value = exact_number(item);
        if value.is_none() {
            mismatch(
                messages,
                &format!("`{key}`"),
                "an exact number of at most 28 digits",
                item,
                &format!("{key} = 5"),
            );
        }
        value
    }

    pub(crate) fn date(&self, key: &str, messages: &mut Messages<'_>) -> Option<NaiveDate> {
        let item = self.get(key)?;
        let value = date_of(item);
        if value.is_none() {
            mismatch(messages, &format!("`{key}`"), "a date", item, &format!("{key} = 2026-04-01"));
        }
        value
    }

    pub(crate) fn inner(&self, key: &str, what: impl Into<String>, messages: &mut Messages<'_>) -> Option<Table<'d>> {
        let item = self.get(key)?;
        as_table(item, what, messages)
    }

    /// The tables of `[[key]]` or `key = [{…}]`.
    pub(crate) fn list_of_tables(&self, key: &str, messages: &mut Messages<'_>) -> Vec<Table<'d>> {
        let Some(item) = self.get(key) else { return Vec::new() };
        let DeValue::Array(items) = item.get_ref() else {
            mismatch(messages, &format!("`{key}`"), "a list of tables", item, &format!("{key} = [ {{ … }} ]"));
            return Vec::new();
        };
        items.iter().filter_map(|item| as_table(item, format!("`{key}`"), messages)).collect()
    }

    /// The texts of a list, or of a single text.
    pub(crate) fn texts(&self, key: &str, messages: &mut Messages<'_>) -> Vec<Text<'d>> {
        let Some(item) = self.get(key) else { return Vec::new() };
        let example = format!("{key} = [\"…\", \"…\"]");
        match item.get_ref() {
            DeValue::String(value) => vec![Text { value, span: span(item) }],
            DeValue::Array(items) => items
                .iter()
                .filter_map(|item| match item.get_ref() {
                    DeValue::String(value) => Some(Text { value, span: span(item) }),
                    _ => {
                        mismatch(messages, &format!("an element of `{key}`"), "a text", item, &example);
                        None
                    }
                })
                .collect(),
            _ => {
                mismatch(messages, &format!("`{key}`"), "a list of texts", item, &example);
                Vec::new()
            }
        }
    }
}

pub(crate) fn as_table<'d>(
    item: &'d Item<'d>,
    what: impl Into<String>,
    messages: &mut Messages<'_>,
) -> Option<Table<'d>> {
    let what = what.into();
    match item.get_ref() {
        DeValue::Table(table) => Some(Table::new(table, span(item), what)),
        _ => {
            mismatch(messages, &what, "a table", item, "{ key = value }");
            None
        }
    }
}

/// A name for a message, never longer than a line.
pub(crate) fn shorten(text: &str) -> String {
    const SHOWN: usize = 60;
    let mut short: String = text.chars().take(SHOWN).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

/// For each byte of a text's value, the byte of the source it came from; one more for the end.
pub(crate) fn places(source: &str, text: &Text<'_>) -> Vec<usize> {
    let raw = source.get(text.span.start..text.span.end).unwrap_or("");
    let quote = if raw.starts_with("\"\"\"") || raw.starts_with("'''") { 3 } else { 1 };
    let inner = raw.get(quote..raw.len().saturating_sub(quote)).unwrap_or("");
    // The newline right after three quotes is no part of the text.
    let trimmed =
        if quote == 3 { inner.strip_prefix("\r\n").or(inner.strip_prefix('\n')).unwrap_or(inner) } else { inner };
    let begin = text.span.start + quote + (inner.len() - trimmed.len());
    let found = if raw.starts_with('"') && trimmed.contains('\\') {
        unescaped_places(trimmed, begin)
    } else {
        (begin..=begin + trimmed.len()).collect()
    };
    if found.len() == text.value.len() + 1 { found } else { vec![begin; text.value.len() + 1] }
}

fn unescaped_places(raw: &str, begin: usize) -> Vec<usize> {
    let mut places = Vec::with_capacity(raw.len() + 1);
    let mut rest = raw;
    while let Some(first) = rest.chars().next() {
        let at = begin + (raw.len() - rest.len());
        let (eaten, produced) = if first == '\\' { escape(rest) } else { (first.len_utf8(), first.len_utf8()) };
        places.extend(std::iter::repeat_n(at, produced));
        rest = rest.get(eaten..).unwrap_or("");
    }
    places.push(begin + raw.len());
    places
}

/// The bytes that an escape takes in the source and in the text.
fn escape(rest: &str) -> (usize, usize) {
    let coded = |digits: usize| {
        let code = rest.get(2..2 + digits).and_then(|hex| u32::from_str_radix(hex, 16).ok()).and_then(char::from_u32);
        (2 + digits, code.map_or(1, char::len_utf8))
    };
    match rest.as_bytes().get(1) {
        Some(b'x') => coded(2),
        Some(b'u') => coded(4),
        Some(b'U') => coded(8),
        Some(b' ' | b'\t' | b'\n' | b'\r') => {
            let after = rest.get(1..).unwrap_or("").trim_start();
            (rest.len() - after.len(), 0)
        }
        _ => (2, 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_follow_escapes_and_multi_line_texts() {
        for source in ["x = \"a \\\"b\\\" \\u00e9 c\"", "x = '''\nab c'''", "x = \"\"\"a \\\n   b c\"\"\"", "x = 'b c'"]
        {
            let document = DeTable::parse(source).unwrap();
            let item = document.get_ref().get("x").unwrap();
            let value = item.get_ref().as_str().unwrap();
            let text = Text { value, span: span(item) };
            let places = places(source, &text);
            assert_eq!(places.len(), value.len() + 1, "{source}");
            let c = value.find('c').unwrap();
            assert_eq!(&source[places[c]..=places[c]], "c", "{source}");
        }
    }
}
