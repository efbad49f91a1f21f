//! Gaps, overlaps and unreachable rules.
use super::load::Loader;
impl Loader<'_, '_, '_> {
    pub(crate) fn analyse(&mut self) {
        let _ = self
            .lists
            .iter()
            .map(|l| {
                (
                    l.what,
                    l.is_table,
                    l.has_otherwise,
                    l.span,
                    l.entries.iter().map(|e| (&e.name, &e.when, e.span)).count(),
                )
            })
            .count();
    }
}
