//! Exact numbers: a decimal, or a fraction where no decimal is exact. Nothing is ever rounded but by name.

use std::cmp::Ordering;
use std::fmt;

use rust_decimal::Decimal;

/// An exact number of the policy language.
#[derive(Debug, Clone, Copy)]
pub enum Number {
    /// A decimal.
    Decimal(Decimal),
    /// A fraction in lowest terms that no decimal equals; both are integers and the second is positive.
    Fraction(Decimal, Decimal),
}

/// Why a calculation has no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NumberError {
    /// The result needs more than 28 digits.
    #[error("the result has more digits than an exact number can hold (28)")]
    Overflow,
    /// Division by zero.
    #[error("division by zero")]
    DivisionByZero,
}

/// How `round` chooses between two multiples of its unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoundingMode {
    /// Away from zero.
    Up,
    /// Towards zero.
    Down,
    /// Towards plus infinity.
    Ceiling,
    /// Towards minus infinity.
    Floor,
    /// To the nearest; a tie goes away from zero.
    HalfUp,
    /// To the nearest; a tie goes towards zero.
    HalfDown,
    /// To the nearest; a tie goes to the even multiple.
    HalfEven,
}

impl RoundingMode {
    /// All modes by the names they have in a policy.
    pub const ALL: [(&'static str, Self); 7] = [
        ("up", Self::Up),
        ("down", Self::Down),
        ("ceiling", Self::Ceiling),
        ("floor", Self::Floor),
        ("half_up", Self::HalfUp),
        ("half_down", Self::HalfDown),
        ("half_even", Self::HalfEven),
    ];

    /// The mode of a name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, mode)| *mode)
    }

    /// The name of the mode.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(_, mode)| *mode == self).map_or("half_up", |(name, _)| name)
    }
}

/// Numerator and positive denominator while a calculation runs.
#[derive(Clone, Copy)]
struct Ratio {
    n: i128,
    d: i128,
}

fn gcd(a: u128, b: u128) -> u128 {
    let (mut a, mut b) = (a, b);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

fn signed_gcd(a: i128, b: i128) -> i128 {
    i128::try_from(gcd(a.unsigned_abs(), b.unsigned_abs())).unwrap_or(1).max(1)
}

fn power_of_ten(exponent: u32) -> Result<i128, NumberError> {
    10_i128.checked_pow(exponent).ok_or(NumberError::Overflow)
}

fn decimal(mantissa: i128, scale: u32) -> Option<Decimal> {
    Decimal::try_from_i128_with_scale(mantissa, scale).ok()
}

/// The decimal of a mantissa and a scale; trailing zeros are dropped only when it does not fit otherwise.
fn fit(mut mantissa: i128, mut scale: u32) -> Result<Decimal, NumberError> {
    loop {
        if let Some(value) = decimal(mantissa, scale) {
            return Ok(value);
        }
        if scale == 0 || mantissa % 10 != 0 {
            return Err(NumberError::Overflow);
        }
        mantissa /= 10;
        scale -= 1;
    }
}

fn add_decimals(a: Decimal, b: Decimal) -> Result<Decimal, NumberError> {
    let (scale, x, y) = match a.scale().cmp(&b.scale()) {
        Ordering::Equal => (a.scale(), Some(a.mantissa()), Some(b.mantissa())),
        Ordering::Less => {
            (b.scale(), a.mantissa().checked_mul(power_of_ten(b.scale() - a.scale())?), Some(b.mantissa()))
        }
        Ordering::Greater => {
            (a.scale(), Some(a.mantissa()), b.mantissa().checked_mul(power_of_ten(a.scale() - b.scale())?))
        }
    };
    match (x, y) {
        (Some(x), Some(y)) => fit(x.checked_add(y).ok_or(NumberError::Overflow)?, scale),
        _ => {
            let (short_a, short_b) = (a.normalize(), b.normalize());
            if (short_a.scale(), short_b.scale()) == (a.scale(), b.scale()) {
                return Err(NumberError::Overflow);
            }
            add_decimals(short_a, short_b)
        }
    }
}

fn multiply_decimals(a: Decimal, b: Decimal) -> Result<Decimal, NumberError> {
    if let Some(product) = a.mantissa().checked_mul(b.mantissa()) {
        return fit(product, a.scale() + b.scale());
    }
    let (a, b) = (a.normalize(), b.normalize());
    let product = a.mantissa().checked_mul(b.mantissa()).ok_or(NumberError::Overflow)?;
    fit(product, a.scale() + b.scale())
}

impl Ratio {
    fn reduced(n: i128, d: i128) -> Result<Self, NumberError> {
        if d == 0 {
            return Err(NumberError::DivisionByZero);
        }
        let divisor = signed_gcd(n, d);
        let (n, d) = (n / divisor, d / divisor);
        if d < 0 {
            let n = n.checked_neg().ok_or(NumberError::Overflow)?;
            return Ok(Self { n, d: d.checked_neg().ok_or(NumberError::Overflow)? });
        }
        Ok(Self { n, d })
    }

    fn of(number: Number) -> Result<Self, NumberError> {
        match number {
            Number::Decimal(value) => {
                let value = if value.scale() == 0 { value } else { value.normalize() };
                Self::reduced(value.mantissa(), power_of_ten(value.scale())?)
            }
            Number::Fraction(n, d) => Ok(Self { n: n.mantissa(), d: d.mantissa() }),
        }
    }

    fn add(self, other: Self) -> Result<Self, NumberError> {
        let divisor = signed_gcd(self.d, other.d);
        let (left, right) = (other.d / divisor, self.d / divisor);
        let sum = self
            .n
            .checked_mul(left)
            .zip(other.n.checked_mul(right))
            .and_then(|(a, b)| a.checked_add(b))
            .ok_or(NumberError::Overflow)?;
        Self::reduced(sum, self.d.checked_mul(left).ok_or(NumberError::Overflow)?)
    }

    fn multiply(self, other: Self) -> Result<Self, NumberError> {
        let (first, second) = (signed_gcd(self.n, other.d), signed_gcd(other.n, self.d));
        let n = (self.n / first).checked_mul(other.n / second);
        let d = (self.d / second).checked_mul(other.d / first);
        match (n, d) {
            (Some(n), Some(d)) => Self::reduced(n, d),
            _ => Err(NumberError::Overflow),
        }
    }

    fn inverse(self) -> Result<Self, NumberError> {
        Self::reduced(self.d, self.n)
    }

    /// A decimal when one is exact, else the fraction.
    fn number(self) -> Result<Number, NumberError> {
        let (mut rest, mut twos, mut fives) = (self.d, 0_u32, 0_u32);
        while rest % 2 == 0 {
            rest /= 2;
            twos += 1;
        }
        while rest % 5 == 0 {
            rest /= 5;
            fives += 1;
        }
        let scale = twos.max(fives);
        if rest == 1 && scale <= Decimal::MAX_SCALE {
            let exact = power_of_ten(scale)
                .ok()
                .and_then(|power| self.n.checked_mul(power / self.d))
                .and_then(|n| decimal(n, scale));
            if let Some(exact) = exact {
                return Ok(Number::Decimal(exact));
            }
        }
        match (decimal(self.n, 0), decimal(self.d, 0)) {
            (Some(n), Some(d)) => Ok(Number::Fraction(n, d)),
            _ => Err(NumberError::Overflow),
        }
    }

    /// Compares by continued fractions, so that nothing can overflow.
    fn compare(self, other: Self) -> Ordering {
        let (mut left, mut right) = (self, other);
        let mut flipped = false;
        loop {
            let (whole_left, whole_right) = (left.n.div_euclid(left.d), right.n.div_euclid(right.d));
            let rest_left = left.n.rem_euclid(left.d);
            let rest_right = right.n.rem_euclid(right.d);
            let order = match whole_left.cmp(&whole_right) {
                Ordering::Equal => match (rest_left == 0, rest_right == 0) {
                    (true, true) => Ordering::Equal,
                    (true, false) => Ordering::Less,
                    (false, true) => Ordering::Greater,
                    (false, false) => {
                        (left, right) = (Self { n: left.d, d: rest_left }, Self { n: right.d, d: rest_right });
                        flipped = !flipped;
                        continue;
                    }
                },
                unequal => unequal,
            };
            return if flipped { order.reverse() } else { order };
        }
    }
}

impl Number {
    /// Zero.
    pub const ZERO: Self = Self::Decimal(Decimal::ZERO);

    /// A whole number; beyond 28 digits there is none.
    pub fn from_i128(value: i128) -> Result<Self, NumberError> {
        decimal(value, 0).map(Self::Decimal).ok_or(NumberError::Overflow)
    }

    /// The quotient of two integers.
    pub fn ratio(n: i128, d: i128) -> Result<Self, NumberError> {
        Ratio::reduced(n, d)?.number()
    }

    /// The exact decimal, when there is one.
    #[must_use]
    pub fn as_decimal(self) -> Option<Decimal> {
        match self {
            Self::Decimal(value) => Some(value),
            Self::Fraction(..) => None,
        }
    }

    /// The integer, when it is one.
    #[must_use]
    pub fn as_integer(self) -> Option<i128> {
        let value = self.as_decimal()?;
        value.is_integer().then(|| value.trunc().mantissa())
    }

    /// Whether it is zero.
    #[must_use]
    pub fn is_zero(self) -> bool {
        matches!(self, Self::Decimal(value) if value.is_zero())
    }

    /// Whether it is below zero.
    #[must_use]
    pub fn is_negative(self) -> bool {
        match self {
            Self::Decimal(value) | Self::Fraction(value, _) => value.is_sign_negative() && !value.is_zero(),
        }
    }

    /// The sum.
    pub fn plus(self, other: Self) -> Result<Self, NumberError> {
        match (self, other) {
            (Self::Decimal(a), Self::Decimal(b)) => add_decimals(a, b).map(Self::Decimal),
            _ => Ratio::of(self)?.add(Ratio::of(other)?)?.number(),
        }
    }

    /// The difference.
    pub fn subtract(self, other: Self) -> Result<Self, NumberError> {
        self.plus(other.negate())
    }

    /// The product.
    pub fn multiply(self, other: Self) -> Result<Self, NumberError> {
        match (self, other) {
            (Self::Decimal(a), Self::Decimal(b)) => multiply_decimals(a, b).map(Self::Decimal),
            _ => Ratio::of(self)?.multiply(Ratio::of(other)?)?.number(),
        }
    }

    /// The quotient.
    pub fn divide(self, other: Self) -> Result<Self, NumberError> {
        if other.is_zero() {
            return Err(NumberError::DivisionByZero);
        }
        Ratio::of(self)?.multiply(Ratio::of(other)?.inverse()?)?.number()
    }

    /// The remainder of two integers, with the sign of the first.
    pub fn remainder(self, other: Self) -> Result<Self, NumberError> {
        match (self.as_integer(), other.as_integer()) {
            (_, Some(0)) => Err(NumberError::DivisionByZero),
            (Some(a), Some(b)) => Self::from_i128(a % b),
            _ => Err(NumberError::Overflow),
        }
    }

    /// With the other sign.
    #[must_use]
    pub fn negate(self) -> Self {
        match self {
            Self::Decimal(value) if value.is_zero() => self,
            Self::Decimal(value) => Self::Decimal(-value),
            Self::Fraction(n, d) => Self::Fraction(-n, d),
        }
    }

    /// Without its sign.
    #[must_use]
    pub fn abs(self) -> Self {
        if self.is_negative() { self.negate() } else { self }
    }

    /// The multiple of a positive unit that the mode chooses.
    pub fn round(self, mode: RoundingMode, unit: Decimal) -> Result<Self, NumberError> {
        let unit = Self::Decimal(unit);
        let quotient = Ratio::of(self)?.multiply(Ratio::of(unit)?.inverse()?)?;
        Self::from_i128(round_ratio(quotient, mode))?.multiply(unit)
    }
}

/// The integer that the mode chooses for a fraction.
fn round_ratio(value: Ratio, mode: RoundingMode) -> i128 {
    let floor = value.n.div_euclid(value.d);
    let rest = value.n.rem_euclid(value.d);
    if rest == 0 {
        return floor;
    }
    let negative = value.n < 0;
    // `rest` is below the denominator, so the difference cannot overflow where doubling could.
    let against_half = rest.cmp(&(value.d - rest));
    let upwards = match mode {
        RoundingMode::Ceiling => true,
        RoundingMode::Floor => false,
        RoundingMode::Up => !negative,
        RoundingMode::Down => negative,
        RoundingMode::HalfUp => against_half == Ordering::Greater || against_half == Ordering::Equal && !negative,
        RoundingMode::HalfDown => against_half == Ordering::Greater || against_half == Ordering::Equal && negative,
        RoundingMode::HalfEven => {
            against_half == Ordering::Greater || against_half == Ordering::Equal && floor.rem_euclid(2) == 1
        }
    };
    floor + i128::from(upwards)
}

impl From<Decimal> for Number {
    fn from(value: Decimal) -> Self {
        Self::Decimal(value)
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Number {}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Number {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            // Of one scale, which is the commonest, the mantissas have the order of the numbers.
            (Self::Decimal(a), Self::Decimal(b)) if a.scale() == b.scale() => a.mantissa().cmp(&b.mantissa()),
            (Self::Decimal(a), Self::Decimal(b)) => a.cmp(b),
            // A decimal always has a ratio; were there none, its sign would still order it.
            _ => match (Ratio::of(*self), Ratio::of(*other)) {
                (Ok(a), Ok(b)) => a.compare(b),
                _ => self.is_negative().cmp(&other.is_negative()).reverse(),
            },
        }
    }
}

/// A decimal is shown without trailing zeros; a fraction by its first digits and `…`.
impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decimal(value) => write!(f, "{}", value.normalize()),
            Self::Fraction(n, d) => {
                let sign = if n.is_sign_negative() { "-" } else { "" };
                let (n, d) = (n.mantissa().unsigned_abs(), d.mantissa().unsigned_abs());
                write!(f, "{sign}{}.", n / d)?;
                let mut rest = n % d;
                for _ in 0..SHOWN_DIGITS {
                    rest *= 10;
                    write!(f, "{}", rest / d)?;
                    rest %= d;
                }
                f.write_str("…")
            }
        }
    }
}

/// The digits shown of a fraction.
const SHOWN_DIGITS: usize = 10;

/// Parses a number exactly: digits, `_` between digits, one point, a sign; never an exponent.
#[must_use]
pub fn parse_decimal(text: &str) -> Option<Decimal> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let well_formed = !unsigned.is_empty()
        && unsigned.len() <= MAX_NUMBER_CHARACTERS
        && unsigned.bytes().all(|b| b.is_ascii_digit() || b == b'_' || b == b'.')
        && unsigned.bytes().next().is_some_and(|b| b.is_ascii_digit())
        && unsigned.bytes().last().is_some_and(|b| b.is_ascii_digit())
        && !["__", "_.", "._"].iter().any(|wrong| unsigned.contains(wrong))
        && unsigned.bytes().filter(|b| *b == b'.').count() <= 1;
    if !well_formed {
        return None;
    }
    Decimal::from_str_exact(&text.replace('_', "")).ok()
}

const MAX_NUMBER_CHARACTERS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn n(text: &str) -> Number {
        Number::Decimal(parse_decimal(text).unwrap())
    }

    #[test]
    fn quotients_are_exact() {
        let third = n("10").divide(n("3")).unwrap();
        assert_eq!(third.multiply(n("3")).unwrap(), n("10"));
        assert_eq!(third.to_string(), "3.3333333333…");
        assert!(third > n("3.3333333333333333333333333333"));
        assert!(third < n("3.3333333333333333333333333334"));
        assert_eq!(n("1").divide(n("8")).unwrap().to_string(), "0.125");
        assert_eq!(n("1").divide(n("0")), Err(NumberError::DivisionByZero));
        assert_eq!(n("0").divide(n("7")).unwrap(), Number::ZERO);
    }

    #[test]
    fn rounding_is_what_its_name_says() {
        let cases = [
            ("7550.1", "half_up", "10", "7550"),
            ("2.5", "half_up", "1", "3"),
            ("2.5", "half_down", "1", "2"),
            ("2.5", "half_even", "1", "2"),
            ("3.5", "half_even", "1", "4"),
            ("-2.5", "half_up", "1", "-3"),
            ("-2.5", "half_down", "1", "-2"),
            ("-2.1", "up", "1", "-3"),
            ("-2.9", "down", "1", "-2"),
            ("-2.1", "floor", "1", "-3"),
            ("-2.9", "ceiling", "1", "-2"),
            ("0.125", "half_up", "0.01", "0.13"),
            ("17", "up", "5", "20"),
        ];
        for (value, mode, unit, rounded) in cases {
            let unit = parse_decimal(unit).unwrap();
            assert_eq!(
                n(value).round(RoundingMode::parse(mode).unwrap(), unit),
                Ok(n(rounded)),
                "{value} {mode} {unit}"
            );
        }
        // K2: 39,000 won × 6 ÷ 31, to the nearest 10.
        let points = n("39000").multiply(n("6")).unwrap().divide(n("31")).unwrap();
        assert_eq!(points.round(RoundingMode::HalfUp, Decimal::TEN), Ok(n("7550")));
    }

    #[test]
    fn what_does_not_fit_is_an_error_never_a_rounding() {
        let tiny = n("0.0000000000000000000000000001");
        assert_eq!(tiny.multiply(n("0.1")), Err(NumberError::Overflow));
        assert_eq!(n("79228162514264337593543950335").plus(n("1")), Err(NumberError::Overflow));
        assert_eq!(n("79228162514264337593543950335").plus(n("0.1")), Err(NumberError::Overflow));
        assert_eq!(n("1000000000000.00").multiply(n("1000000000000.00")).unwrap(), n("1000000000000000000000000"));
        for wrong in [
            "",
            "1e5",
            "1.",
            ".5",
            "1__0",
            "_1",
            "1_",
            "--1",
            "1.2.3",
            "0x10",
            "nan",
            "99999999999999999999999999999999",
        ] {
            assert_eq!(parse_decimal(wrong), None, "{wrong}");
        }
    }
}
