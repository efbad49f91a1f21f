//! What an expression looks like before its types are known.

use rust_decimal::Decimal;

use super::diagnostic::Span;

/// An expression with its place in the file.
#[derive(Debug, Clone)]
pub(crate) struct Expr {
    pub(crate) kind: ExprKind,
    pub(crate) span: Span,
    /// One more than that of the deepest part.
    pub(crate) depth: u16,
}

#[derive(Debug, Clone)]
pub(crate) enum ExprKind {
    Bool(bool),
    Number(Decimal),
    Text(String),
    List(Vec<Expr>),
    /// A dotted name of one or two segments: `x`, `claim.loss`.
    Name(String),
    Field(Box<Expr>, String),
    Not(Box<Expr>),
    Negate(Box<Expr>),
    Binary(BinaryOp, Box<Expr>, Box<Expr>),
    Condition(Box<Expr>, Box<Expr>, Box<Expr>),
    Call {
        name: String,
        name_span: Span,
        args: Vec<Expr>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BinaryOp {
    Or,
    And,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    In,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

impl BinaryOp {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Or => "||",
            Self::And => "&&",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessEqual => "<=",
            Self::Greater => ">",
            Self::GreaterEqual => ">=",
            Self::In => "in",
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
        }
    }

    /// The comparison with its sides exchanged.
    pub(crate) fn mirrored(self) -> Self {
        match self {
            Self::Less => Self::Greater,
            Self::LessEqual => Self::GreaterEqual,
            Self::Greater => Self::Less,
            Self::GreaterEqual => Self::LessEqual,
            same => same,
        }
    }

    pub(crate) fn is_order(self) -> bool {
        matches!(self, Self::Less | Self::LessEqual | Self::Greater | Self::GreaterEqual)
    }
}

impl Expr {
    /// The expression written out in one way only, so that equal meanings are equal texts.
    pub(crate) fn canonical(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) {
        match &self.kind {
            ExprKind::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            ExprKind::Number(value) => out.push_str(&value.normalize().to_string()),
            ExprKind::Text(value) => {
                out.push('\'');
                out.push_str(value);
                out.push('\'');
            }
            ExprKind::List(items) => write_list(out, "[", items, "]"),
            ExprKind::Name(name) => out.push_str(name),
            ExprKind::Field(inner, name) => {
                inner.write(out);
                out.push('.');
                out.push_str(name);
            }
            ExprKind::Not(inner) => write_prefix(out, '!', inner),
            ExprKind::Negate(inner) => write_prefix(out, '-', inner),
            ExprKind::Binary(op, left, right) => {
                out.push('(');
                left.write(out);
                out.push(' ');
                out.push_str(op.as_str());
                out.push(' ');
                right.write(out);
                out.push(')');
            }
            ExprKind::Condition(condition, yes, no) => {
                out.push('(');
                condition.write(out);
                out.push_str(" ? ");
                yes.write(out);
                out.push_str(" : ");
                no.write(out);
                out.push(')');
            }
            ExprKind::Call { name, args, .. } => {
                out.push_str(name);
                write_list(out, "(", args, ")");
            }
        }
    }
}

fn write_prefix(out: &mut String, sign: char, inner: &Expr) {
    out.push(sign);
    inner.write(out);
}

fn write_list(out: &mut String, open: &str, items: &[Expr], close: &str) {
    out.push_str(open);
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push_str(", ");
        }
        item.write(out);
    }
    out.push_str(close);
}
