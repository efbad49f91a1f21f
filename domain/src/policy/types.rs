//! The types of the language and their units: won never adds to days, nor days to hours.

use crate::asset::AssetCode;

/// What a number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// A number written in the policy; it takes the unit of what it meets.
    Literal,
    /// A number without a unit.
    Plain,
    /// Money, points, days of a pass …: the asset's place in the policy's list.
    Asset(u16),
    /// A unit by name: its place in the policy's list.
    Named(u16),
}

/// A type without the question whether it is a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Base {
    Bool,
    Number {
        integer: bool,
        unit: Unit,
    },
    Text,
    /// A text out of a declared set: the set's place in the policy's list.
    Enum(u16),
    Date,
    Timestamp,
    Duration,
    Window,
}

/// The type of an expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Type {
    pub(crate) base: Base,
    pub(crate) list: bool,
}

impl Type {
    pub(crate) const BOOL: Self = Self::one(Base::Bool);
    pub(crate) const TEXT: Self = Self::one(Base::Text);
    pub(crate) const DATE: Self = Self::one(Base::Date);
    pub(crate) const TIMESTAMP: Self = Self::one(Base::Timestamp);
    pub(crate) const DURATION: Self = Self::one(Base::Duration);
    pub(crate) const WINDOW: Self = Self::one(Base::Window);

    pub(crate) const fn one(base: Base) -> Self {
        Self { base, list: false }
    }

    pub(crate) const fn list(base: Base) -> Self {
        Self { base, list: true }
    }

    pub(crate) const fn number(integer: bool, unit: Unit) -> Self {
        Self::one(Base::Number { integer, unit })
    }

    pub(crate) fn element(self) -> Self {
        Self { base: self.base, list: false }
    }

    pub(crate) fn unit(self) -> Option<Unit> {
        match self {
            Self { base: Base::Number { unit, .. }, list: false } => Some(unit),
            _ => None,
        }
    }

    pub(crate) fn is_number(self) -> bool {
        self.unit().is_some()
    }

    pub(crate) fn is_integer(self) -> bool {
        matches!(self, Self { base: Base::Number { integer: true, .. }, list: false })
    }

    /// Whether values of the type stand in an order.
    pub(crate) fn is_ordered(self) -> bool {
        !self.list && matches!(self.base, Base::Number { .. } | Base::Date | Base::Timestamp | Base::Duration)
    }
}

/// The names that types refer to: assets, units, sets of values.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names {
    pub(crate) assets: Vec<crate::asset::Asset>,
    pub(crate) units: Vec<String>,
    pub(crate) enums: Vec<Vec<Box<str>>>,
}

impl Names {
    /// The place of an asset, added when it is new.
    pub(crate) fn asset(&mut self, code: &AssetCode) -> u16 {
        let place = self.assets.iter().position(|known| known.code() == code).unwrap_or_else(|| {
            self.assets.push(crate::asset::Asset::new(code.clone()));
            self.assets.len() - 1
        });
        u16::try_from(place).unwrap_or(u16::MAX)
    }

    /// The unit of a name: an asset's code, or a word; `day` and `days` are one.
    pub(crate) fn unit(&mut self, name: &str) -> Unit {
        if let Ok(code) = AssetCode::parse(name) {
            return Unit::Asset(self.asset(&code));
        }
        let name = match name {
            "day" => "days",
            "hour" => "hours",
            "minute" => "minutes",
            "second" => "seconds",
            "month" => "months",
            "week" => "weeks",
            "year" => "years",
            other => other,
        };
        let place = self.units.iter().position(|known| known == name).unwrap_or_else(|| {
            self.units.push(name.to_owned());
            self.units.len() - 1
        });
        Unit::Named(u16::try_from(place).unwrap_or(u16::MAX))
    }

    pub(crate) fn unit_name(&self, unit: Unit) -> String {
        match unit {
            Unit::Literal | Unit::Plain => "a plain number".to_owned(),
            Unit::Asset(at) => {
                self.assets.get(usize::from(at)).map_or_else(String::new, |asset| format!("money of {}", asset.code()))
            }
            Unit::Named(at) => {
                format!("a number of {}", self.units.get(usize::from(at)).map_or("?", String::as_str))
            }
        }
    }

    pub(crate) fn enum_values(&self, at: u16) -> &[Box<str>] {
        self.enums.get(usize::from(at)).map_or(&[], Vec::as_slice)
    }

    /// The type in words, for messages.
    pub(crate) fn type_name(&self, of: Type) -> String {
        let name = match of.base {
            Base::Bool => "true or false".to_owned(),
            Base::Number { unit, .. } => self.unit_name(unit),
            Base::Text => "a text".to_owned(),
            Base::Enum(at) => format!("one of {}", quoted(self.enum_values(at))),
            Base::Date => "a date".to_owned(),
            Base::Timestamp => "a timestamp".to_owned(),
            Base::Duration => "a duration".to_owned(),
            Base::Window => "a window".to_owned(),
        };
        if of.list { format!("a list (each {name})") } else { name }
    }
}

/// Values in quotes, joined by commas; a long list is cut.
pub(crate) fn quoted<T: AsRef<str>>(values: &[T]) -> String {
    const SHOWN: usize = 8;
    let mut shown: Vec<String> = values.iter().take(SHOWN).map(|value| format!("'{}'", value.as_ref())).collect();
    if values.len() > SHOWN {
        shown.push("…".to_owned());
    }
    shown.join(", ")
}

/// The type's name as it stands in a policy; of a list that of its elements.
pub(crate) fn kind_name(kind: Type) -> &'static str {
    match kind.base {
        Base::Bool => "bool",
        Base::Number { unit: Unit::Asset(_), .. } => "money",
        Base::Number { integer: true, .. } => "int",
        Base::Number { .. } => "decimal",
        Base::Text => "text",
        Base::Enum(_) => "enum",
        Base::Date => "date",
        Base::Timestamp => "timestamp",
        Base::Duration => "duration",
        Base::Window => "window",
    }
}
