//! Finds, in rules and decision tables, what is never reached, what two claim at once, and what falls between two.

use super::ast::Expr;
use super::load::{ConditionList, Loader};
use super::number::Number;
use super::regions::{Constraint, Region, Space, TooMuch};

/// What the analysis of one list of conditions found.
enum Finding {
    Never { at: usize },
    Unreachable { at: usize, by: Vec<usize> },
    Overlap { first: usize, second: usize, where_: String },
    Gap { where_: String },
    Uncovered { where_: String },
}

impl Loader<'_, '_, '_> {
    pub(crate) fn analyse(&mut self) {
        let lists = std::mem::take(&mut self.lists);
        for list in &lists {
            let found = {
                let mut space = Space::new(&self.checker.program);
                analyse_list(&mut space, list)
            };
            match found {
                Ok(findings) => findings.into_iter().for_each(|finding| self.report(list, finding)),
                Err(TooMuch) => self.checker.messages.warn(
                    "not-analysed",
                    list.span,
                    format!("these {}s are too many or too intricate for the analysis of gaps and overlaps", list.what),
                    "split them, or cover every bound by cases",
                ),
            }
        }
    }

    fn report(&mut self, list: &ConditionList, finding: Finding) {
        let what = list.what;
        let span = |at: usize| list.entries.get(at).map_or(list.span, |entry| entry.span);
        let name = |at: usize| list.entries.get(at).map_or("?", |entry| entry.name.as_str());
        match finding {
            Finding::Never { at } => self.checker.error(
                "always-false",
                span(at),
                "this condition is never true",
                "its parts exclude each other, or the facts' declarations do; correct the bounds",
            ),
            Finding::Unreachable { at, by } => {
                let names: Vec<String> = by.iter().take(4).map(|by| format!("`{}`", name(*by))).collect();
                let message = format!(
                    "this {what} is never reached: {} before it already decide everything it could",
                    names.join(", ")
                );
                self.checker.error(
                    "unreachable",
                    span(at),
                    message,
                    "move it before them, narrow them, or take it out",
                );
            }
            Finding::Overlap { first, second, where_ } => {
                let message = format!("`{}` and `{}` both claim the case that {where_}", name(first), name(second));
                self.waivable(
                    "overlap",
                    span(second),
                    name(second),
                    message,
                    "let each bound belong to one of them: `<` here and `>=` there",
                );
            }
            Finding::Gap { where_ } => {
                let last = list.entries.len().saturating_sub(1);
                let message =
                    format!("between two {what}s nothing is said of the case that {where_}: it falls to `otherwise`");
                let remedy =
                    "let the bounds meet: `<=` here and `>` there; if it is meant, write a waiver for the lint \"gap\"";
                self.waivable("gap", span(last), name(last), message, remedy);
            }
            Finding::Uncovered { where_ } => self.checker.error(
                "gap",
                list.span,
                format!("no row says anything of the case that {where_}"),
                "add a row for it, or `otherwise = …`",
            ),
        }
    }
}

fn analyse_list(space: &mut Space<'_>, list: &ConditionList) -> Result<Vec<Finding>, TooMuch> {
    let mut findings = Vec::new();
    let mut regions: Vec<Vec<Region>> = Vec::new();
    for entry in &list.entries {
        regions.push(match &entry.when {
            Some(when) => boxes(space, when)?,
            None => vec![Region::new()],
        });
    }
    let mut before: Vec<Region> = Vec::new();
    let mut dead = vec![false; regions.len()];
    for (at, own) in regions.iter().enumerate() {
        if own.is_empty() {
            dead[at] = true;
            findings.push(Finding::Never { at });
        } else if !list.is_table && space.remainder(own, &before)?.is_empty() {
            dead[at] = true;
            findings.push(Finding::Unreachable { at, by: deciders(space, own, &regions[..at])? });
        }
        before.extend(own.iter().cloned());
    }
    for second in 0..regions.len() {
        for first in 0..second {
            if dead[first] || dead[second] {
                continue;
            }
            let overlap = if list.is_table {
                any_common(space, &regions[first], &regions[second])
            } else {
                partial_overlap(space, &regions[first], &regions[second])?
            };
            if let Some(common) = overlap {
                findings.push(Finding::Overlap { first, second, where_: space.describe(&common) });
            }
        }
    }
    let uncovered = space.remainder(&[Region::new()], &before)?;
    if list.is_table && !list.has_otherwise {
        if let Some(region) = uncovered.first() {
            findings.push(Finding::Uncovered { where_: space.describe(region) });
        }
        return Ok(findings);
    }
    for region in &uncovered {
        findings.extend(interior_gap(space, region, &before)?);
    }
    Ok(findings)
}

fn boxes(space: &mut Space<'_>, when: &Expr) -> Result<Vec<Region>, TooMuch> {
    let found = space.boxes(when, true)?;
    Ok(found.into_iter().filter(|region| space.is_inhabited(region)).collect())
}

/// The earlier ones that have something in common with this.
fn deciders(space: &Space<'_>, own: &[Region], earlier: &[Vec<Region>]) -> Result<Vec<usize>, TooMuch> {
    let meets = |other: &Vec<Region>| own.iter().any(|a| other.iter().any(|b| space.intersect(a, b).is_some()));
    Ok(earlier.iter().enumerate().filter(|(_, other)| meets(other)).map(|(at, _)| at).collect())
}

fn any_common(space: &Space<'_>, a: &[Region], b: &[Region]) -> Option<Region> {
    a.iter().find_map(|x| b.iter().find_map(|y| space.intersect(x, y)))
}

/// Two conditions that differ in one ordered thing only, meet there, and neither holds the other: with tiers that
/// enclose each other the order of the rules is meant to decide, here it hardly is.
fn partial_overlap(space: &mut Space<'_>, a: &[Region], b: &[Region]) -> Result<Option<Region>, TooMuch> {
    let ([first], [second]) = (a, b) else { return Ok(None) };
    if !first.keys().eq(second.keys()) {
        return Ok(None);
    }
    let differing: Vec<usize> =
        first.iter().filter(|(at, own)| second.get(at) != Some(own)).map(|(at, _)| *at).collect();
    let [at] = differing.as_slice() else { return Ok(None) };
    if !matches!(first.get(at), Some(Constraint::Interval(..))) {
        return Ok(None);
    }
    let Some(common) = space.intersect(first, second) else { return Ok(None) };
    let encloses = space.remainder(a, b)?.is_empty() || space.remainder(b, a)?.is_empty();
    Ok((!encloses).then_some(common))
}

/// An uncovered stretch of an ordered thing with covered neighbours on both sides.
fn interior_gap(space: &mut Space<'_>, region: &Region, covered: &[Region]) -> Result<Option<Finding>, TooMuch> {
    let ordered: Vec<(usize, Number, bool, Number, bool)> = region
        .iter()
        .filter_map(|(at, constraint)| match constraint {
            Constraint::Interval(Some((low, i)), Some((high, j))) => Some((*at, *low, *i, *high, *j)),
            _ => None,
        })
        .collect();
    let one = Number::Decimal(rust_decimal::Decimal::ONE);
    for (at, low, low_in, high, high_in) in ordered {
        // A wide stretch is what `otherwise` is for, and a value written by itself is meant to stand alone; a gap no
        // wider than one is a slip between `<` and `<=`, or between 300,000 and 300,001.
        let exact = space
            .dimensions
            .get(at)
            .is_some_and(|dimension| dimension.exact.contains(&low) || dimension.exact.contains(&high));
        if exact || !high.subtract(low).is_ok_and(|width| width <= one) {
            continue;
        }
        let mut below = region.clone();
        below.insert(at, neighbour(space, at, low, low_in, covered, false));
        let mut above = region.clone();
        above.insert(at, neighbour(space, at, high, high_in, covered, true));
        let known = |space: &mut Space<'_>, side: &Region| -> Result<bool, TooMuch> {
            Ok(space.is_inhabited(side) && space.remainder(std::slice::from_ref(side), covered)?.is_empty())
        };
        if known(space, &below)? && known(space, &above)? {
            return Ok(Some(Finding::Gap { where_: space.describe(region) }));
        }
    }
    Ok(None)
}

/// A sliver right beside an end: up to the next bound that any condition has.
fn neighbour(space: &Space<'_>, at: usize, end: Number, inside: bool, covered: &[Region], above: bool) -> Constraint {
    let one = Number::Decimal(rust_decimal::Decimal::ONE);
    let integer = space.dimensions.get(at).is_some_and(|dimension| dimension.integer);
    if integer {
        let next = if above { end.plus(one) } else { end.subtract(one) }.unwrap_or(end);
        return Constraint::Interval(Some((next, true)), Some((next, true)));
    }
    if !inside {
        // The end itself is outside the gap.
        return Constraint::Interval(Some((end, true)), Some((end, true)));
    }
    let bounds = covered.iter().filter_map(|region| region.get(&at)).flat_map(|constraint| match constraint {
        Constraint::Interval(low, high) => [low.map(|(value, _)| value), high.map(|(value, _)| value)],
        Constraint::Values(_) => [None, None],
    });
    let beyond = bounds.flatten().filter(|bound| if above { *bound > end } else { *bound < end });
    let next = if above { beyond.min() } else { beyond.max() };
    let open = |value: Number| Some((value, false));
    if above {
        Constraint::Interval(open(end), next.and_then(open))
    } else {
        Constraint::Interval(next.and_then(open), open(end))
    }
}
