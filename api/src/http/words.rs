//! What readers of JSON and parameters say is wrong, in words for whoever sent it: no names of our types, and nothing of
//! what was sent.

/// A fault as it is told.
pub(super) struct Fault {
    /// The member that is missing, where one is.
    pub missing: Option<String>,
    /// What is wrong.
    pub detail: String,
}

/// Puts a reader's words into ours.
pub(super) fn told(message: &str) -> Fault {
    // The place in the text is added at the end; the pointer says it better.
    let message = message.split(" at line ").next().unwrap_or(message);
    let missing = message.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`'));
    if let Some(name) = missing {
        return Fault { missing: Some(name.to_owned()), detail: "is missing".into() };
    }
    Fault { missing: None, detail: in_words(message) }
}

fn in_words(message: &str) -> String {
    let expected = || message.rsplit_once(", expected ").map(|(_, expected)| expected);
    let starts = |beginnings: &[&str]| beginnings.iter().any(|beginning| message.starts_with(beginning));
    if starts(&["unknown field "]) {
        // Of what is sent in place of a list of names, the names are ours and the rest is not.
        return match expected() {
            Some(names) => format!("there is no such member; there is {names}"),
            None => "there is no such member".into(),
        };
    }
    if starts(&["unknown variant "]) {
        return format!("must be {}", expected().unwrap_or("another name"));
    }
    if starts(&["invalid type: ", "invalid value: ", "invalid length "]) {
        return format!("must be {}", expected().map_or("something else", kind));
    }
    if starts(&["duplicate field "]) {
        return "stands twice".into();
    }
    if starts(&["UUID parsing failed"]) {
        return "is no UUID".into();
    }
    match message {
        "premature end of input" | "input contains invalid characters" | "input is out of range" | "trailing input" => {
            "is no date: write it as 2022-12-29".into()
        }
        "invalid digit found in string" | "cannot parse integer from empty string" => "must be a whole number".into(),
        "number too large to fit in target type" | "number too small to fit in target type" => {
            "is a number that is too large or too small".into()
        }
        // What JSON's reader says where a name belongs and something else stands.
        "expected value" => "must be a string".into(),
        "provided string was not `true` or `false`" => "must be true or false".into(),
        other => other.to_owned(),
    }
}

/// What a reader wants, by the name that JSON has for it.
fn kind(expected: &str) -> &str {
    match expected {
        "i8" | "i16" | "i32" | "i64" | "u8" | "u16" | "u32" | "u64" | "usize" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "a boolean" => "true or false",
        "a map" => "an object",
        "a sequence" => "a list",
        "a borrowed string" | "string or map" | "variant identifier" | "field identifier" => "a string",
        "a formatted UUID string" | "a UUID string" => "a UUID",
        "a formatted date string" => "a date",
        other if other.starts_with("struct ") => "an object",
        other if other.starts_with("enum ") => "a string",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::told;

    #[test]
    fn nothing_of_rust_and_nothing_of_the_senders_is_left() {
        for (message, wanted) in [
            ("invalid type: integer `19840229`, expected a string at line 1 column 27", "must be a string"),
            ("invalid type: string \"x, expected y\", expected struct Contact", "must be an object"),
            ("invalid value: integer `-1`, expected u32", "must be a whole number"),
            ("unknown field `kim`, expected `name` or `role`", "there is no such member; there is `name` or `role`"),
            ("unknown variant `pigeon`, expected one of `web`, `phone`", "must be one of `web`, `phone`"),
            ("premature end of input", "is no date: write it as 2022-12-29"),
            ("UUID parsing failed: invalid length: expected 32, found 3", "is no UUID"),
            ("is longer than 3", "is longer than 3"),
        ] {
            assert_eq!(told(message).detail, wanted);
        }
        assert_eq!(told("missing field `service` at line 1 column 2").missing.as_deref(), Some("service"));
    }
}
