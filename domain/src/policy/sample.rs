//! Which decided claims a second person reads: a share of all, and a share of those that were declined.

use rust_decimal::Decimal;

use super::load::Loader;

/// The shares that `[second_reading]` states.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sample {
    random: Decimal,
    declines: Decimal,
}

/// Why a claim was drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drawn {
    /// As one of all.
    Random,
    /// As one of the declined.
    Decline,
}

impl Drawn {
    /// The name in the interface and in storage.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::Decline => "decline",
        }
    }
}

impl Sample {
    /// Whether a decided claim is drawn. `lot` is a number of the claim that nobody can choose, even over its range: who
    /// is drawn is the same whenever it is asked.
    #[must_use]
    pub fn draw(&self, lot: u32, declined: bool) -> Option<Drawn> {
        // A share is exact: so many of all numbers of 32 bits.
        let below = |share: Decimal| Decimal::from(lot) < share * Decimal::from(1_u64 << 32);
        if declined && below(self.declines) {
            return Some(Drawn::Decline);
        }
        below(self.random).then_some(Drawn::Random)
    }
}

impl Loader<'_, '_, '_> {
    pub(crate) fn sample(&mut self) -> Sample {
        let Some(table) = self.top.clone().inner("second_reading", "[second_reading]", self.checker.messages) else {
            return Sample::default();
        };
        table.only(&["random", "declines"], self.checker.messages);
        let mut share = |key: &str| {
            let share = table.number(key, self.checker.messages).unwrap_or_default();
            if share < Decimal::ZERO || share > Decimal::ONE {
                let message = format!("`{key}` is a share from 0 to 1");
                self.checker.error("wrong-value", table.key_span(key), message, format!("{key} = 0.05"));
            }
            share
        };
        Sample { random: share("random"), declines: share("declines") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_exact_at_both_ends() {
        let sample = |random, declines| Sample { random: Decimal::new(random, 2), declines: Decimal::new(declines, 2) };
        assert_eq!(sample(0, 0).draw(0, true), None);
        assert_eq!(sample(100, 0).draw(u32::MAX, false), Some(Drawn::Random));
        assert_eq!(sample(0, 100).draw(u32::MAX, true), Some(Drawn::Decline));
        assert_eq!(sample(0, 100).draw(0, false), None);
        let half = sample(50, 0);
        assert_eq!((half.draw((1 << 31) - 1, false), half.draw(1 << 31, false)), (Some(Drawn::Random), None));
    }
}
