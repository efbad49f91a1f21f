//! Cuts an expression into words.

use rust_decimal::Decimal;

use super::number::parse_decimal;

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Token {
    Number(Decimal),
    Text(String),
    Word(String),
    Sign(&'static str),
    End,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Lexeme {
    pub(crate) token: Token,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// What cannot be cut, where, and what to do.
#[derive(Debug)]
pub(crate) struct SyntaxError {
    pub(crate) code: &'static str,
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) message: String,
    pub(crate) remedy: String,
}

impl SyntaxError {
    pub(crate) fn new(start: usize, end: usize, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { code: "syntax", start, end, message: message.into(), remedy: remedy.into() }
    }
}

/// Two-character signs first, so that `<=` is never `<` and `=`.
const SIGNS: [&str; 23] = [
    "&&", "||", "==", "!=", "<=", ">=", "(", ")", "[", "]", ",", ".", "?", ":", "<", ">", "!", "+", "-", "*", "/", "%",
    ";",
];

pub(crate) fn lex(text: &str) -> Result<Vec<Lexeme>, SyntaxError> {
    let mut lexemes = Vec::new();
    let mut at = 0;
    while let Some(c) = text.get(at..).and_then(|rest| rest.chars().next()) {
        let rest = text.get(at..).unwrap_or("");
        if c.is_whitespace() {
            at += c.len_utf8();
            continue;
        }
        if rest.starts_with("//") {
            at += rest.find('\n').unwrap_or(rest.len());
            continue;
        }
        let (token, length) = if c.is_ascii_digit() {
            number(rest, at)?
        } else if c == '\'' || c == '"' {
            quoted(rest, at, c)?
        } else if c.is_ascii_alphabetic() || c == '_' {
            let length = rest.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
            (Token::Word(rest.get(..length).unwrap_or("").to_owned()), length)
        } else if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            (Token::Sign(sign), sign.len())
        } else {
            return Err(stray(rest, at, c));
        };
        lexemes.push(Lexeme { token, start: at, end: at + length });
        at += length;
    }
    lexemes.push(Lexeme { token: Token::End, start: text.len(), end: text.len() });
    Ok(lexemes)
}

fn stray(rest: &str, at: usize, c: char) -> SyntaxError {
    let remedy = match c {
        '=' => "comparison is written `==`".to_owned(),
        '&' => "`and` is written `&&`".to_owned(),
        '|' => "`or` is written `||`".to_owned(),
        '‘' | '’' | '“' | '”' => "use straight quotes: 'text'".to_owned(),
        '≤' => "write `<=`".to_owned(),
        '≥' => "write `>=`".to_owned(),
        '≠' => "write `!=`".to_owned(),
        '×' => "write `*`".to_owned(),
        '÷' => "write `/`".to_owned(),
        '₩' | '£' | '$' | '€' => "write the number alone; the fact's declaration says the currency".to_owned(),
        _ => "take it out; texts stand in single quotes: 'text'".to_owned(),
    };
    let end = at + rest.chars().next().map_or(1, char::len_utf8);
    SyntaxError::new(at, end, format!("`{}` has no meaning here", c.escape_debug()), remedy)
}

fn number(rest: &str, at: usize) -> Result<(Token, usize), SyntaxError> {
    let bytes = rest.as_bytes();
    let mut length = 0;
    while let Some(b) = bytes.get(length) {
        let point = *b == b'.' && bytes.get(length + 1).is_some_and(u8::is_ascii_digit);
        if b.is_ascii_alphanumeric() || *b == b'_' || point {
            length += 1;
        } else {
            break;
        }
    }
    let digits = rest.get(..length).unwrap_or("");
    match parse_decimal(digits) {
        Some(value) => Ok((Token::Number(value), length)),
        None => {
            let grouped = rest.get(length..).is_some_and(|after| after.starts_with(','));
            let remedy = if digits.contains(['e', 'E']) {
                "write all the digits, without an exponent"
            } else if grouped {
                "group digits by `_`: 300_000"
            } else {
                "write digits, `_` between them and one point: 300_000 or 2.50; at most 28 digits"
            };
            let shown: String = digits.chars().take(40).collect();
            Err(SyntaxError::new(at, at + length, format!("`{shown}` is not an exact number"), remedy))
        }
    }
}

fn quoted(rest: &str, at: usize, quote: char) -> Result<(Token, usize), SyntaxError> {
    let mut value = String::new();
    let mut chars = rest.char_indices().skip(1);
    while let Some((offset, c)) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some((_, escaped @ ('\\' | '\'' | '"'))) => value.push(escaped),
                Some((_, 'n')) => value.push('\n'),
                Some((_, 't')) => value.push('\t'),
                _ => {
                    let start = at + offset;
                    return Err(SyntaxError::new(
                        start,
                        start + 1,
                        "this escape is not known",
                        r"known are \\ \' \n and \t",
                    ));
                }
            },
            _ if c == quote => return Ok((Token::Text(value), offset + 1)),
            _ => value.push(c),
        }
    }
    Err(SyntaxError::new(at, at + rest.len(), "this text has no end", format!("close it with {quote}")))
}
