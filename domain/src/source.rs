//! Places in a source text, for messages that name line and column.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// What messages say of a text with the character that TOML can write and PostgreSQL cannot keep.
pub(crate) const NUL: &str = "a text has the character U+0000, which no database keeps";

/// Line and column, both from 1, of a byte offset; the column counts characters.
#[must_use]
pub fn position(text: &str, offset: usize) -> (usize, usize) {
    let mut end = offset.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let before = &text[..end];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    (line, column)
}

/// Where names and texts of a file have the character U+0000.
pub(crate) fn places_of_nul(document: &DeTable<'_>) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    find_in_table(document, &mut found);
    found
}

fn find_in_table(table: &DeTable<'_>, found: &mut Vec<Range<usize>>) {
    for (name, item) in table.iter() {
        if name.get_ref().contains('\0') {
            found.push(name.span());
        }
        find_in(item, found);
    }
}

fn find_in(item: &Spanned<DeValue<'_>>, found: &mut Vec<Range<usize>>) {
    match item.get_ref() {
        DeValue::String(text) if text.contains('\0') => found.push(item.span()),
        DeValue::Array(items) => items.iter().for_each(|item| find_in(item, found)),
        DeValue::Table(table) => find_in_table(table, found),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_from_one_in_characters() {
        assert_eq!(position("ab\ncd", 0), (1, 1));
        assert_eq!(position("ab\ncd", 3), (2, 1));
        assert_eq!(position("멜론\n", 3), (1, 2));
        assert_eq!(position("멜", 1), (1, 1));
        assert_eq!(position("a", 99), (1, 2));
    }
}
