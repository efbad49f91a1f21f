//! Reads an expression: a subset of the syntax of CEL, by precedence, with a checked depth.

use super::ast::{BinaryOp, Expr, ExprKind};
use super::diagnostic::{Messages, Span};
use super::document::{Text, places};
use super::lexer::{Lexeme, SyntaxError, Token, lex};
use super::limits::{MAX_EXPRESSION_BYTES, MAX_EXPRESSION_DEPTH};

/// Parses an expression that stands in a text of the file; errors become messages at their place.
pub(crate) fn parse_expression(source: &str, text: &Text<'_>, messages: &mut Messages<'_>) -> Option<Expr> {
    if text.value.len() > MAX_EXPRESSION_BYTES {
        messages.error(
            "too-long",
            text.span,
            format!("this expression has {} bytes; at most {MAX_EXPRESSION_BYTES} are read", text.value.len()),
            "split it into derived facts",
        );
        return None;
    }
    let places = places(source, text);
    let place = |byte: usize| places.get(byte).or(places.last()).copied().unwrap_or(text.span.start);
    let spot = |start: usize, end: usize| {
        let (start, end) = (place(start), place(end));
        Span { start, end: end.max(start + 1) }
    };
    match parse_text(text.value) {
        Ok(mut expression) => {
            relocate(&mut expression, &spot);
            Some(expression)
        }
        Err(error) => {
            messages.error(error.code, spot(error.start, error.end), error.message, error.remedy);
            None
        }
    }
}

/// Parses an expression on its own; places are bytes of the text.
pub(crate) fn parse_text(text: &str) -> Result<Expr, SyntaxError> {
    let lexemes = lex(text)?;
    let mut parser = Parser { lexemes: &lexemes, at: 0, depth: 0 };
    let expression = parser.condition()?;
    match parser.peek() {
        Token::End => Ok(expression),
        _ => Err(parser.unexpected("the expression should end here")),
    }
}

/// Gives every part of an expression one and the same place.
pub(crate) fn move_to(expression: &mut Expr, place: Span) {
    relocate(expression, &|_, _| place);
}

/// Gives every part its place in the file. The depth is bounded by the parser.
fn relocate(expression: &mut Expr, spot: &impl Fn(usize, usize) -> Span) {
    expression.span = spot(expression.span.start, expression.span.end);
    match &mut expression.kind {
        ExprKind::Bool(_) | ExprKind::Number(_) | ExprKind::Text(_) | ExprKind::Name(_) => {}
        ExprKind::List(items) => items.iter_mut().for_each(|item| relocate(item, spot)),
        ExprKind::Field(inner, _) | ExprKind::Not(inner) | ExprKind::Negate(inner) => relocate(inner, spot),
        ExprKind::Binary(_, left, right) => {
            relocate(left, spot);
            relocate(right, spot);
        }
        ExprKind::Condition(condition, yes, no) => {
            relocate(condition, spot);
            relocate(yes, spot);
            relocate(no, spot);
        }
        ExprKind::Call { name_span, args, .. } => {
            *name_span = spot(name_span.start, name_span.end);
            args.iter_mut().for_each(|argument| relocate(argument, spot));
        }
    }
}

struct Parser<'l> {
    lexemes: &'l [Lexeme],
    at: usize,
    depth: u16,
}

type Parsed = Result<Expr, SyntaxError>;

impl Parser<'_> {
    fn lexeme(&self) -> &Lexeme {
        // The last lexeme is always the end and is never passed.
        &self.lexemes[self.at.min(self.lexemes.len() - 1)]
    }

    fn peek(&self) -> &Token {
        &self.lexeme().token
    }

    fn advance(&mut self) {
        self.at = (self.at + 1).min(self.lexemes.len() - 1);
    }

    fn take(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Token::Sign(here) if *here == sign);
        if found {
            self.advance();
        }
        found
    }

    fn expect(&mut self, sign: &'static str, place: &str) -> Result<usize, SyntaxError> {
        let end = self.lexeme().end;
        if self.take(sign) { Ok(end) } else { Err(self.unexpected(&format!("`{sign}` is missing {place}"))) }
    }

    fn unexpected(&self, wanted: &str) -> SyntaxError {
        let lexeme = self.lexeme();
        let (shown, remedy) = match &lexeme.token {
            Token::End => ("the expression ends too early".to_owned(), "complete it"),
            Token::Word(word) => match word.as_str() {
                "and" | "AND" => ("`and` is not a word of the language".to_owned(), "write `&&`"),
                "or" | "OR" => ("`or` is not a word of the language".to_owned(), "write `||`"),
                "not" | "NOT" => ("`not` is not a word of the language".to_owned(), "write `!`"),
                _ => (format!("`{word}` is not expected here"), "put an operator before it, or take it out"),
            },
            Token::Number(value) => (format!("`{value}` is not expected here"), "put an operator before it"),
            Token::Text(_) => ("a text is not expected here".to_owned(), "put an operator before it"),
            Token::Sign("&&" | "||") => ("an operand is missing here".to_owned(), "write a condition on both sides"),
            Token::Sign("<" | "<=" | ">" | ">=" | "==" | "!=") => {
                ("comparisons cannot be chained".to_owned(), "write both comparisons: `15 <= x && x < 30`")
            }
            Token::Sign(",") => ("`,` is not expected here".to_owned(), "group digits by `_`: 300_000"),
            Token::Sign(sign) => {
                (format!("`{sign}` is not expected here"), "take it out, or complete what stands before it")
            }
        };
        let (start, end) = (lexeme.start, lexeme.end.max(lexeme.start + 1));
        SyntaxError::new(start, end, format!("{shown}: {wanted}"), remedy)
    }

    /// Runs one level deeper, within the limit.
    fn deeper(&mut self, parse: impl FnOnce(&mut Self) -> Parsed) -> Parsed {
        if self.depth >= MAX_EXPRESSION_DEPTH {
            return Err(self.too_deep());
        }
        self.depth += 1;
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }

    fn too_deep(&self) -> SyntaxError {
        let lexeme = self.lexeme();
        SyntaxError {
            code: "too-deep",
            start: lexeme.start,
            end: lexeme.end.max(lexeme.start + 1),
            message: format!("this expression is nested deeper than {MAX_EXPRESSION_DEPTH} levels"),
            remedy: "split it into derived facts".to_owned(),
        }
    }

    fn node(&self, kind: ExprKind, start: usize, end: usize) -> Parsed {
        let depth = 1 + match &kind {
            ExprKind::Bool(_) | ExprKind::Number(_) | ExprKind::Text(_) | ExprKind::Name(_) => 0,
            ExprKind::List(items) => items.iter().map(|item| item.depth).max().unwrap_or(0),
            ExprKind::Field(inner, _) | ExprKind::Not(inner) | ExprKind::Negate(inner) => inner.depth,
            ExprKind::Binary(_, left, right) => left.depth.max(right.depth),
            ExprKind::Condition(condition, yes, no) => condition.depth.max(yes.depth).max(no.depth),
            ExprKind::Call { args, .. } => args.iter().map(|argument| argument.depth).max().unwrap_or(0),
        };
        if depth > MAX_EXPRESSION_DEPTH {
            return Err(self.too_deep());
        }
        Ok(Expr { kind, span: Span { start, end }, depth })
    }

    fn condition(&mut self) -> Parsed {
        let condition = self.or()?;
        if !self.take("?") {
            return Ok(condition);
        }
        let yes = self.deeper(Self::condition)?;
        self.expect(":", "between the two values of `? :`")?;
        let no = self.deeper(Self::condition)?;
        let (start, end) = (condition.span.start, no.span.end);
        self.node(ExprKind::Condition(Box::new(condition), Box::new(yes), Box::new(no)), start, end)
    }

    fn or(&mut self) -> Parsed {
        self.left_associative(Self::and, &[("||", BinaryOp::Or)])
    }

    fn and(&mut self) -> Parsed {
        self.left_associative(Self::relation, &[("&&", BinaryOp::And)])
    }

    fn relation(&mut self) -> Parsed {
        const RELATIONS: [(&str, BinaryOp); 6] = [
            ("==", BinaryOp::Equal),
            ("!=", BinaryOp::NotEqual),
            ("<=", BinaryOp::LessEqual),
            (">=", BinaryOp::GreaterEqual),
            ("<", BinaryOp::Less),
            (">", BinaryOp::Greater),
        ];
        let left = self.sum()?;
        let op = match self.peek() {
            Token::Sign(sign) => RELATIONS.iter().find(|(known, _)| known == sign).map(|(_, op)| *op),
            Token::Word(word) if word == "in" => Some(BinaryOp::In),
            _ => None,
        };
        let Some(op) = op else { return Ok(left) };
        self.advance();
        let right = self.sum()?;
        let again = matches!(self.peek(), Token::Sign(sign) if RELATIONS.iter().any(|(known, _)| known == sign));
        if again {
            return Err(self.unexpected("one comparison has two sides"));
        }
        self.binary(op, left, right)
    }

    fn sum(&mut self) -> Parsed {
        self.left_associative(Self::product, &[("+", BinaryOp::Add), ("-", BinaryOp::Subtract)])
    }

    fn product(&mut self) -> Parsed {
        self.left_associative(
            Self::unary,
            &[("*", BinaryOp::Multiply), ("/", BinaryOp::Divide), ("%", BinaryOp::Remainder)],
        )
    }

    fn left_associative(&mut self, part: fn(&mut Self) -> Parsed, operators: &[(&str, BinaryOp)]) -> Parsed {
        let mut left = part(self)?;
        loop {
            let op = operators.iter().find(|(sign, _)| matches!(self.peek(), Token::Sign(here) if here == sign));
            let Some((_, op)) = op else { return Ok(left) };
            self.advance();
            let right = part(self)?;
            left = self.binary(*op, left, right)?;
        }
    }

    fn binary(&mut self, op: BinaryOp, left: Expr, right: Expr) -> Parsed {
        let (start, end) = (left.span.start, right.span.end);
        self.node(ExprKind::Binary(op, Box::new(left), Box::new(right)), start, end)
    }

    fn unary(&mut self) -> Parsed {
        let start = self.lexeme().start;
        if self.take("!") {
            let inner = self.deeper(Self::unary)?;
            let end = inner.span.end;
            return self.node(ExprKind::Not(Box::new(inner)), start, end);
        }
        if self.take("-") {
            let inner = self.deeper(Self::unary)?;
            let end = inner.span.end;
            if let ExprKind::Number(value) = inner.kind {
                return self.node(ExprKind::Number(-value), start, end);
            }
            return self.node(ExprKind::Negate(Box::new(inner)), start, end);
        }
        self.member()
    }

    /// A primary followed by fields and calls: `a.f(b)` is `f(a, b)`.
    fn member(&mut self) -> Parsed {
        let mut value = self.primary()?;
        while self.take(".") {
            let name_span = Span { start: self.lexeme().start, end: self.lexeme().end };
            let Token::Word(name) = self.peek().clone() else {
                return Err(self.unexpected("a name follows the point"));
            };
            self.advance();
            let start = value.span.start;
            if self.take("(") {
                let (mut args, end) = self.list(")")?;
                args.insert(0, value);
                value = self.node(ExprKind::Call { name, name_span, args }, start, end)?;
                continue;
            }
            let plain = match &value.kind {
                ExprKind::Name(first) if !first.contains('.') => Some(format!("{first}.{name}")),
                _ => None,
            };
            value = match plain {
                Some(dotted) => self.node(ExprKind::Name(dotted), start, name_span.end)?,
                None => self.node(ExprKind::Field(Box::new(value), name), start, name_span.end)?,
            };
        }
        Ok(value)
    }

    fn primary(&mut self) -> Parsed {
        let Lexeme { token, start, end } = self.lexeme().clone();
        match token {
            Token::Number(value) => {
                self.advance();
                self.node(ExprKind::Number(value), start, end)
            }
            Token::Text(value) => {
                self.advance();
                self.node(ExprKind::Text(value), start, end)
            }
            Token::Word(word) => {
                if matches!(word.as_str(), "and" | "or" | "not" | "in") {
                    return Err(self.unexpected("a value should stand here"));
                }
                self.advance();
                match word.as_str() {
                    "true" => self.node(ExprKind::Bool(true), start, end),
                    "false" => self.node(ExprKind::Bool(false), start, end),
                    _ if self.take("(") => {
                        let (args, close) = self.list(")")?;
                        self.node(ExprKind::Call { name: word, name_span: Span { start, end }, args }, start, close)
                    }
                    _ => self.node(ExprKind::Name(word), start, end),
                }
            }
            Token::Sign("(") => {
                self.advance();
                let inner = self.deeper(Self::condition)?;
                let close = self.expect(")", "after this")?;
                Ok(Expr { span: Span { start, end: close }, ..inner })
            }
            Token::Sign("[") => {
                self.advance();
                let (items, close) = self.list("]")?;
                self.node(ExprKind::List(items), start, close)
            }
            _ => Err(self.unexpected("a value should stand here")),
        }
    }

    /// Values joined by commas, up to and with the closing sign.
    fn list(&mut self, close: &'static str) -> Result<(Vec<Expr>, usize), SyntaxError> {
        let mut items = Vec::new();
        let end = self.lexeme().end;
        if self.take(close) {
            return Ok((items, end));
        }
        loop {
            items.push(self.deeper(Self::condition)?);
            if self.take(",") {
                continue;
            }
            let end = self.expect(close, "after the values")?;
            return Ok((items, end));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        match parse_text(text) {
            Ok(expression) => expression.canonical(),
            Err(error) => format!("{}..{} {}", error.start, error.end, error.message),
        }
    }

    #[test]
    fn precedence_is_that_of_cel() {
        assert_eq!(shown("!a.b || c.d == 0 && 1 + 2 * -x <= 3"), "(!a.b || ((c.d == 0) && ((1 + (2 * -x)) <= 3)))");
        assert_eq!(shown("a ? b : c ? d : e"), "(a ? b : (c ? d : e))");
        assert_eq!(shown("x.y.all(d, d > 300_000)"), "all(x.y, d, (d > 300000))");
        assert_eq!(shown("1 - 2 - 3"), "((1 - 2) - 3)");
        assert_eq!(shown("incident.window.from"), "incident.window.from");
        assert_eq!(shown("x in ['a', \"b\"] // why"), "(x in ['a', 'b'])");
    }

    #[test]
    fn errors_say_what_and_where() {
        assert_eq!(shown("1 < 2 < 3"), "6..7 comparisons cannot be chained: one comparison has two sides");
        assert_eq!(shown("a and b"), "2..5 `and` is not a word of the language: the expression should end here");
        assert_eq!(shown("(1 + "), "5..6 the expression ends too early: a value should stand here");
        assert_eq!(shown("'abc"), "0..4 this text has no end");
        assert_eq!(shown("1e5"), "0..3 `1e5` is not an exact number");
        assert_eq!(shown("a = b"), "2..3 `=` has no meaning here");
    }

    #[test]
    fn hostile_depth_is_refused() {
        for hostile in
            ["(".repeat(4_000), "!".repeat(4_000), "[".repeat(4_000), "f(".repeat(4_000), "1?2:".repeat(2_000)]
        {
            assert!(parse_text(&hostile).is_err());
        }
        assert!(parse_text(&vec!["1"; 2_000].join("+")).is_err());
        assert!(parse_text(&vec!["1"; 90].join("+")).is_ok());
    }
}
