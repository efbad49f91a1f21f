//! Reads the declarations of a policy: facts, parameters, calendars.

use chrono::NaiveDate;

use super::diagnostic::{Span, suggestion};
use super::document::{Item, Table, Text, as_table, date_of, exact_number, mismatch, shorten, span, timestamp_of};
use super::facts::{FactValue, builtin_type, slot};
use super::limits::{MAX_ENTRIES, MAX_ENUM_VALUES, MAX_FACTS, MAX_HOLIDAYS, MAX_PARAMETER_VALUES, MAX_PARAMETERS};
use super::load::Loader;
use super::number::Number;
use super::program::{DatedValue, Parameter, Slot};
use super::subject::constant_of;
use super::time::{Calendar, parse_weekday};
use super::types::{Base, Type, Unit};
use crate::window::Window;

const TYPES: [&str; 11] =
    ["bool", "int", "decimal", "money", "text", "enum", "date", "timestamp", "duration", "window", "list"];

/// A value of TOML as a fact: the same notation as in a facts file, and TOML's own dates and times.
pub(crate) fn fact_value(item: &Item<'_>) -> Option<FactValue> {
    use toml::de::DeValue;
    Some(match item.get_ref() {
        DeValue::String(text) => FactValue::Text((&**text).into()),
        DeValue::Boolean(value) => FactValue::Bool(*value),
        DeValue::Integer(_) | DeValue::Float(_) => FactValue::Number(exact_number(item)?),
        DeValue::Datetime(value) => FactValue::Text(value.to_string().into()),
        DeValue::Array(items) => FactValue::List(items.iter().map(fact_value).collect::<Option<_>>()?),
        DeValue::Table(table) => {
            if table.len() != 2 {
                return None;
            }
            let (from, until) = (timestamp_of(table.get("from")?)?, timestamp_of(table.get("until")?)?);
            FactValue::Window(Window::new(from, until).ok()?)
        }
    })
}

/// Whether a name may stand behind a prefix.
pub(crate) fn is_name(text: &str) -> bool {
    const LONGEST: usize = 64;
    text.len() <= LONGEST
        && text.bytes().next().is_some_and(|b| b.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// Whether a text may be the code of a rule, reason, queue or document.
pub(crate) fn is_code(text: &str) -> bool {
    const LONGEST: usize = 64;
    text.len() <= LONGEST
        && text.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
}

impl<'d> Loader<'_, 'd, '_> {
    /// Every table of a section by its name; wrong names become messages.
    pub(crate) fn named_tables(&mut self, section: &str, most: usize) -> Vec<(&'d str, Span, Table<'d>)> {
        let Some(tables) = self.top.clone().inner(section, format!("`{section}`"), self.checker.messages) else {
            return Vec::new();
        };
        let mut found = Vec::new();
        for (name, place, item) in tables.entries() {
            self.check_name(section, name, place);
            if found.len() >= most {
                let message = format!("more than {most} tables [{section}.*]");
                self.checker.error("too-large", place, message, "split the policy into several");
                break;
            }
            found.extend(
                as_table(item, format!("{section} \"{}\"", shorten(name)), self.checker.messages)
                    .map(|table| (name, place, table)),
            );
        }
        found
    }

    pub(crate) fn check_name(&mut self, section: &str, name: &str, place: Span) {
        if !is_name(name) {
            let message = format!("`{}` is no name for a {section}", shorten(name));
            self.checker.error("wrong-name", place, message, "use a-z, 0-9 and _, beginning with a letter");
        }
    }

    // ---- facts ------------------------------------------------------------------------------------

    pub(crate) fn facts(&mut self) {
        let Some(section) = self.top.clone().inner("facts", "[facts]", self.checker.messages) else { return };
        let mut declared = Vec::new();
        for (name, place, item) in section.entries() {
            let Some(table) = as_table(item, format!("the fact \"{}\"", shorten(name)), self.checker.messages) else {
                continue;
            };
            // [facts.claim] loss = {…} and "claim.loss" = {…} say the same.
            let prefix = matches!(name, "holding" | "customer" | "incident" | "claim" | "evidence");
            if prefix && table.get("type").is_none_or(|item| item.get_ref().is_table()) {
                for (inner, place, item) in table.entries() {
                    let name = format!("{name}.{inner}");
                    let table = as_table(item, format!("the fact \"{}\"", shorten(&name)), self.checker.messages);
                    declared.extend(table.map(|table| (name, place, table)));
                }
            } else {
                declared.push((name.to_owned(), place, table));
            }
        }
        for (name, place, table) in declared {
            if self.checker.program.slots.len() >= MAX_FACTS {
                self.checker.error(
                    "too-large",
                    place,
                    format!("more than {MAX_FACTS} facts"),
                    "split the policy into several",
                );
                return;
            }
            self.fact(&name, place, &table);
        }
    }

    fn fact(&mut self, name: &str, place: Span, table: &Table<'d>) {
        const KEYS: [&str; 11] =
            ["type", "asset", "unit", "values", "min", "max", "default", "optional", "title", "reference", "of"];
        table.only(&KEYS, self.checker.messages);
        let Some(kind) = self.fact_type(table) else { return };
        let Some(mut slot) = slot(name, kind) else {
            let message = format!("`{}` is no name for a fact", shorten(name));
            let remedy = "begin with who vouches for it: holding., customer., incident., claim. or evidence., then a-z, 0-9 and _";
            self.checker.error("wrong-name", place, message, remedy);
            return;
        };
        self.check_builtin(name, kind, table);
        slot.declared = true;
        slot.span = place;
        slot.optional = table.boolean("optional", self.checker.messages).unwrap_or(false);
        slot.title = self.localised(table, "title");
        slot.reference = self.reference(table);
        self.bounds(&mut slot, table);
        self.default(&mut slot, table);
        if self.checker.program.slots.iter().any(|known| known.name == slot.name) {
            self.checker.error("twice", place, format!("the fact `{name}` is declared twice"), "keep one of the two");
            return;
        }
        self.checker.program.slots.push(slot);
    }

    fn check_builtin(&mut self, name: &str, kind: Type, table: &Table<'d>) {
        let Some(own) = builtin_type(name) else { return };
        let narrower = own == Type::TEXT && matches!(kind, Type { base: Base::Enum(_), list: false });
        if own != kind && !narrower {
            let message = format!("`{name}` is built in and is {}", self.checker.program.names.type_name(own));
            self.checker.error(
                "type",
                table.key_span("type"),
                message,
                "give it that type, or leave the declaration out",
            );
        }
    }

    fn fact_type(&mut self, table: &Table<'d>) -> Option<Type> {
        let name = table.required_text("type", "{ type = \"int\" }", self.checker.messages)?;
        if name.value == "list" {
            let of = table.required_text("of", "{ type = \"list\", of = \"window\" }", self.checker.messages)?;
            let element = self.single_type(&of, table)?;
            return Some(Type { list: true, ..element });
        }
        self.single_type(&name, table)
    }

    fn single_type(&mut self, name: &Text<'_>, table: &Table<'d>) -> Option<Type> {
        let misplaced = [("asset", "money"), ("values", "enum")];
        for (key, owner) in misplaced {
            if table.get(key).is_some() && name.value != owner {
                let message = format!("`{key}` belongs to the type {owner}");
                self.checker.error(
                    "unknown-key",
                    table.key_span(key),
                    message,
                    format!("write type = \"{owner}\", or take it out"),
                );
            }
        }
        Some(match name.value {
            "bool" => Type::BOOL,
            "int" | "decimal" => {
                let unit = self.unit(table).unwrap_or(Unit::Plain);
                Type::number(name.value == "int", unit)
            }
            "money" => {
                let asset =
                    table.required_text("asset", "{ type = \"money\", asset = \"KRW\" }", self.checker.messages)?;
                let code = self.asset_code(&asset)?;
                Type::number(false, Unit::Asset(self.checker.program.names.asset(&code)))
            }
            "text" => Type::TEXT,
            "enum" => self.enumeration(table)?,
            "date" => Type::DATE,
            "timestamp" => Type::TIMESTAMP,
            "duration" => Type::DURATION,
            "window" => Type::WINDOW,
            _ => {
                self.unknown_value(name, "type", TYPES.iter().copied());
                return None;
            }
        })
    }

    /// The unit that a table names.
    pub(crate) fn unit(&mut self, table: &Table<'d>) -> Option<Unit> {
        let text = table.text("unit", self.checker.messages)?;
        let currency = text.value.len() == 3 && text.value.bytes().all(|b| b.is_ascii_uppercase());
        if currency || text.value.contains(':') {
            self.asset_code(&text)?;
        } else if !is_name(text.value) {
            let message = format!("\"{}\" is no unit", shorten(text.value));
            self.checker.error(
                "wrong-name",
                text.span,
                message,
                "write an asset (\"KRW\") or a word of a-z: \"days\", \"percent\"",
            );
            return None;
        }
        Some(self.checker.program.names.unit(text.value))
    }

    fn enumeration(&mut self, table: &Table<'d>) -> Option<Type> {
        if table.get("values").is_none() {
            table.missing("values", "{ type = \"enum\", values = [\"web\", \"app_store\"] }", self.checker.messages);
            return None;
        }
        let values = table.texts("values", self.checker.messages);
        if values.is_empty() || values.len() > MAX_ENUM_VALUES {
            let message = format!("an enumeration has 1 to {MAX_ENUM_VALUES} values");
            self.checker.error(
                "wrong-value",
                table.key_span("values"),
                message,
                "list them: values = [\"web\", \"app_store\"]",
            );
            return None;
        }
        let names = &mut self.checker.program.names;
        names.enums.push(values.iter().map(|value| value.value.into()).collect());
        Some(Type::one(Base::Enum(u16::try_from(names.enums.len() - 1).ok()?)))
    }

    fn bounds(&mut self, slot: &mut Slot, table: &Table<'d>) {
        let is_number = slot.kind.element().is_number();
        for key in ["min", "max"] {
            if table.get(key).is_some() && !is_number {
                let message = format!("`{key}` belongs to numbers");
                self.checker.error("unknown-key", table.key_span(key), message, "take it out");
            }
        }
        if !is_number {
            return;
        }
        let money = matches!(slot.kind.element().unit(), Some(Unit::Asset(_)));
        slot.low = table.number("min", self.checker.messages).map(Number::Decimal).or(money.then_some(Number::ZERO));
        slot.high = table.number("max", self.checker.messages).map(Number::Decimal);
        if let (Some(low), Some(high)) = (slot.low, slot.high)
            && high < low
        {
            let message = format!("`max` ({high}) is below `min` ({low})");
            self.checker.error("wrong-value", table.key_span("max"), message, "exchange or correct them");
        }
    }

    fn default(&mut self, slot: &mut Slot, table: &Table<'d>) {
        let Some(item) = table.get("default") else { return };
        let read = match fact_value(item) {
            Some(value) => constant_of(slot, &value, &self.checker.program).map_err(|error| error.message().to_owned()),
            None => Err(format!("the default of `{}` cannot be read", slot.name)),
        };
        match read {
            Ok(value) => slot.default = Some(value),
            Err(message) => {
                self.checker.error("wrong-value", span(item), message, "write the default as in a facts file");
            }
        }
    }

    // ---- parameters -------------------------------------------------------------------------------

    pub(crate) fn parameters(&mut self) {
        for (name, place, table) in self.named_tables("parameter", MAX_PARAMETERS) {
            table.only(&["unit", "reference", "value", "values", "title"], self.checker.messages);
            self.localised(&table, "title");
            let unit = self.unit(&table);
            let reference = self.reference(&table);
            let values = self.parameter_values(&table, place);
            let integer = values.iter().all(|value| value.value.as_integer().is_some());
            // Without a unit it is like a number written in place, unless it is said to count something.
            let kind = Type::number(integer, unit.unwrap_or(Unit::Literal));
            if !values.is_empty() {
                self.checker.program.parameters.push(Parameter { name: name.to_owned(), kind, reference, values });
            }
        }
    }

    fn parameter_values(&mut self, table: &Table<'d>, place: Span) -> Vec<DatedValue> {
        if table.get("value").is_some() && table.get("values").is_some() {
            let message = "a parameter has `value` (never changes) or `values` (dated), not both";
            self.checker.error("unknown-key", table.key_span("value"), message, "keep one of the two");
        }
        if table.get("value").is_some() {
            let value = table.number("value", self.checker.messages);
            return value
                .map(|value| DatedValue { from: None, until: None, value: value.into(), reference: None })
                .into_iter()
                .collect();
        }
        let rows = table.list_of_tables("values", self.checker.messages);
        if rows.is_empty() || rows.len() > MAX_PARAMETER_VALUES {
            let message = format!("{} needs a `value`, or 1 to {MAX_PARAMETER_VALUES} dated `values`", table.what);
            self.checker.error("missing-key", place, message, "values = [ { from = 2019-04-01, value = \"8.00\" } ]");
            return Vec::new();
        }
        let mut values: Vec<(DatedValue, Span)> = Vec::new();
        for row in rows {
            row.only(&["from", "until", "value", "reference"], self.checker.messages);
            let example = "{ from = 2019-04-01, value = \"8.00\" }";
            for key in ["from", "value"] {
                if row.get(key).is_none() {
                    row.missing(key, example, self.checker.messages);
                }
            }
            let (from, until) = (row.date("from", self.checker.messages), row.date("until", self.checker.messages));
            let value = row.number("value", self.checker.messages);
            let reference = self.reference(&row);
            if let (Some(from), Some(until)) = (from, until)
                && until <= from
            {
                self.checker.error(
                    "wrong-value",
                    row.key_span("until"),
                    format!("it ends on {until}, not after it begins"),
                    "`until` is the first day it no longer counts",
                );
            }
            if let (Some(from), Some(value)) = (from, value) {
                values.push((DatedValue { from: Some(from), until, value: value.into(), reference }, row.span));
            }
        }
        self.check_order(&values);
        values.into_iter().map(|(value, _)| value).collect()
    }

    fn check_order(&mut self, values: &[(DatedValue, Span)]) {
        for (earlier, later) in values.iter().zip(values.iter().skip(1)) {
            let (a, b) = (&earlier.0, &later.0);
            if b.from <= a.from {
                self.checker.error(
                    "wrong-order",
                    later.1,
                    "the values stand in the order of their dates, each date once",
                    "put the earlier `from` first",
                );
            } else if a.until.is_some_and(|until| b.from.is_some_and(|from| from < until)) {
                self.checker.error(
                    "overlap",
                    later.1,
                    "this value begins before the one above ends",
                    "correct `until` above, or leave it out",
                );
            }
        }
    }

    // ---- calendars --------------------------------------------------------------------------------

    pub(crate) fn calendars(&mut self) {
        for (name, place, table) in self.named_tables("calendar", MAX_ENTRIES) {
            table.only(&["weekend", "holidays", "from", "until", "reference", "title"], self.checker.messages);
            self.localised(&table, "title");
            let weekend = self.weekend(&table);
            let mut holidays = self.holidays(&table);
            holidays.sort_unstable();
            holidays.dedup();
            let (from, until) = (table.date("from", self.checker.messages), table.date("until", self.checker.messages));
            if weekend.iter().all(|free| *free) {
                self.checker.error(
                    "wrong-value",
                    place,
                    "a week without a working day has no working days",
                    "leave a weekday out of `weekend`",
                );
            }
            self.reference(&table);
            self.checker.program.calendars.push(Calendar { name: name.to_owned(), weekend, holidays, from, until });
        }
    }

    fn weekend(&mut self, table: &Table<'d>) -> [bool; 7] {
        let mut weekend = [false; 7];
        if table.get("weekend").is_none() {
            weekend[5] = true;
            weekend[6] = true;
            return weekend;
        }
        for text in table.texts("weekend", self.checker.messages) {
            match parse_weekday(text.value) {
                Some(day) => {
                    let place = usize::try_from(day.num_days_from_monday()).unwrap_or(0);
                    weekend[place] = true;
                }
                None => {
                    self.unknown_value(&text, "weekday", ["mon", "tue", "wed", "thu", "fri", "sat", "sun"].into_iter())
                }
            }
        }
        weekend
    }

    fn holidays(&mut self, table: &Table<'d>) -> Vec<NaiveDate> {
        use toml::de::DeValue;
        let Some(item) = table.get("holidays") else { return Vec::new() };
        let DeValue::Array(items) = item.get_ref() else {
            mismatch(self.checker.messages, "`holidays`", "a list of dates", item, "holidays = [2026-12-25]");
            return Vec::new();
        };
        if items.len() > MAX_HOLIDAYS {
            let message = format!("more than {MAX_HOLIDAYS} holidays");
            self.checker.error("too-large", span(item), message, "keep the years that matter");
            return Vec::new();
        }
        let mut dates = Vec::new();
        for item in items {
            match date_of(item) {
                Some(date) => dates.push(date),
                None => mismatch(self.checker.messages, "a holiday", "a date", item, "2026-12-25"),
            }
        }
        dates
    }

    /// A calendar's place, by the name in a clock.
    pub(crate) fn calendar_place(&mut self, text: &Text<'_>) -> Option<u16> {
        let names: Vec<&str> = self.checker.program.calendars.iter().map(|calendar| calendar.name.as_str()).collect();
        if let Some(place) = names.iter().position(|name| *name == text.value) {
            return u16::try_from(place).ok();
        }
        let remedy = match suggestion(text.value, names) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => "declare it: [calendar.name] with its holidays".to_owned(),
        };
        self.checker.error(
            "unknown-name",
            text.span,
            format!("no calendar is called \"{}\"", shorten(text.value)),
            remedy,
        );
        None
    }
}
