//! Everything of a policy that expressions refer to, compiled: facts, parameters, tables, clocks, calendars, nodes.

use chrono::NaiveDate;
use chrono_tz::Tz;

use super::diagnostic::Span;
use super::ir::{Node, NodeId};
use super::number::Number;
use super::time::Calendar;
use super::types::{Names, Type};
use super::value::Constant;
use crate::incident::Localised;

/// Where a fact is read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    HoldingReference,
    HoldingKind,
    HoldingProduct,
    HoldingFrom,
    HoldingUntil,
    Holding(Box<str>),
    CustomerId,
    Customer(Box<str>),
    IncidentId,
    IncidentStarted,
    IncidentWindows,
    IncidentUnavailable,
    IncidentDegraded,
    IncidentWindow,
    Incident(Box<str>),
    ClaimSubmitted,
    Claim(Box<str>),
    EvidenceCount,
    EvidenceKinds,
}

/// A fact that the policy reads.
#[derive(Debug, Clone)]
pub(crate) struct Slot {
    pub(crate) name: Box<str>,
    pub(crate) source: Source,
    pub(crate) kind: Type,
    pub(crate) default: Option<Constant>,
    pub(crate) optional: bool,
    pub(crate) low: Option<Number>,
    pub(crate) high: Option<Number>,
    pub(crate) title: Option<Localised>,
    pub(crate) reference: Option<String>,
    /// Not below zero and no other bound, the commonest of all.
    pub(crate) not_negative: bool,
    /// Only whole numbers.
    pub(crate) is_integer: bool,
    pub(crate) declared: bool,
    pub(crate) used: bool,
    pub(crate) span: Span,
}

/// A parameter and its values by date.
#[derive(Debug, Clone)]
pub(crate) struct Parameter {
    pub(crate) name: String,
    pub(crate) kind: Type,
    pub(crate) reference: Option<String>,
    /// In order of `from`; a value that never changes has no dates.
    pub(crate) values: Vec<DatedValue>,
}

#[derive(Debug, Clone)]
pub(crate) struct DatedValue {
    pub(crate) from: Option<NaiveDate>,
    pub(crate) until: Option<NaiveDate>,
    pub(crate) value: Number,
    pub(crate) reference: Option<String>,
}

impl Parameter {
    pub(crate) fn is_dated(&self) -> bool {
        self.values.iter().any(|value| value.from.is_some() || value.until.is_some())
    }

    /// The value valid on a date.
    pub(crate) fn on(&self, date: NaiveDate) -> Option<&DatedValue> {
        let after = self.values.partition_point(|value| value.from.is_none_or(|from| from <= date));
        let value = self.values.get(after.checked_sub(1)?)?;
        value.until.is_none_or(|until| date < until).then_some(value)
    }
}

/// Something worked out at most once in an assessment: a derived fact, a table, a clock.
#[derive(Debug, Clone)]
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) kind: Type,
    pub(crate) body: Body,
    pub(crate) title: Option<Localised>,
    pub(crate) reference: Option<String>,
}

#[derive(Debug, Clone)]
pub(crate) enum Body {
    Expression(NodeId),
    Table(Table),
    Clock(Clock),
}

#[derive(Debug, Clone)]
pub(crate) struct Table {
    pub(crate) rows: Vec<TableRow>,
    pub(crate) otherwise: Option<NodeId>,
    pub(crate) span: Span,
}

#[derive(Debug, Clone)]
pub(crate) struct TableRow {
    /// Nothing: every value.
    pub(crate) when: Option<NodeId>,
    pub(crate) value: NodeId,
    pub(crate) span: Span,
}

#[derive(Debug, Clone)]
pub(crate) struct Clock {
    pub(crate) starts: NodeId,
    pub(crate) stops: NodeId,
    pub(crate) paused: Option<NodeId>,
    pub(crate) counts: Counts,
}

/// What a clock shows.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Counts {
    Time,
    Days(Tz),
    WorkingDays(Tz, u16),
}

/// The compiled expressions of a policy and what they refer to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Program {
    pub(crate) names: Names,
    pub(crate) nodes: Vec<Node>,
    pub(crate) spans: Vec<Span>,
    pub(crate) types: Vec<Type>,
    pub(crate) constants: Vec<Constant>,
    pub(crate) arguments: Vec<NodeId>,
    pub(crate) slots: Vec<Slot>,
    pub(crate) named: Vec<Named>,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) calendars: Vec<Calendar>,
    pub(crate) zone: Option<Tz>,
}

impl Program {
    pub(crate) fn node(&self, id: NodeId) -> Node {
        self.nodes[id.0 as usize]
    }

    #[inline]
    pub(crate) fn node_ref(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    pub(crate) fn span(&self, id: NodeId) -> Span {
        self.spans.get(id.0 as usize).copied().unwrap_or_default()
    }

    pub(crate) fn push(&mut self, node: Node, kind: Type, span: Span) -> NodeId {
        let id = NodeId(u32::try_from(self.nodes.len()).unwrap_or(u32::MAX));
        self.nodes.push(node);
        self.types.push(kind);
        self.spans.push(span);
        id
    }

    pub(crate) fn constant(&mut self, value: Constant) -> u32 {
        self.constants.push(value);
        let place = self.constants.len() - 1;
        u32::try_from(place).unwrap_or(u32::MAX)
    }

    pub(crate) fn constant_of(&self, id: NodeId) -> Option<&Constant> {
        match self.node(id) {
            Node::Constant(place) => self.constants.get(place as usize),
            _ => None,
        }
    }
}
