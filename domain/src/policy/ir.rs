//! The compiled form of expressions: nodes in one arena, names resolved to places, types already checked.

use super::ast::BinaryOp;
use super::number::RoundingMode;

/// The place of a node in the policy's arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NodeId(pub(crate) u32);

/// Places `[from, until)` in the list of arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ArgRange {
    pub(crate) from: u32,
    pub(crate) until: u32,
}

/// A compiled expression.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Node {
    Constant(u32),
    /// A fact.
    Slot(u16),
    /// A derived fact, table or clock, worked out once.
    Named(u16),
    /// A parameter; of dated ones the value on the date that the node gives.
    Parameter {
        parameter: u16,
        date: Option<NodeId>,
    },
    Local(u8),
    Not(NodeId),
    Negate(NodeId),
    And(NodeId, NodeId),
    Or(NodeId, NodeId),
    Condition(NodeId, NodeId, NodeId),
    /// `==`, `!=`, `<`, `<=`, `>`, `>=` of two values of one type.
    Compare(BinaryOp, NodeId, NodeId),
    /// The commonest comparison, of a fact with a constant, without a detour.
    CompareSlot {
        op: BinaryOp,
        slot: u16,
        constant: u32,
    },
    In(NodeId, NodeId),
    Arithmetic(BinaryOp, NodeId, NodeId),
    List(ArgRange),
    WindowFrom(NodeId),
    WindowUntil(NodeId),
    Has(u16),
    Coalesce(u16, NodeId),
    Round {
        value: NodeId,
        mode: RoundingMode,
        unit: u32,
    },
    Call {
        function: Function,
        args: ArgRange,
        extra: Extra,
    },
    Aggregate {
        kind: Aggregate,
        list: NodeId,
        local: u8,
        body: Option<NodeId>,
    },
}

/// What a function needs beside its arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extra {
    None,
    /// A time zone.
    Zone(chrono_tz::Tz),
    /// The place of a calendar.
    Calendar(u16),
    /// Seconds from midnight.
    TimeOfDay(u32),
}

/// What is done with each element of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Aggregate {
    SumNumbers,
    SumDurations,
    Count,
    Any,
    All,
    Map,
    Filter,
}

/// The functions of the language that take plain values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Function {
    Min,
    Max,
    Abs,
    Same,
    Prorate,
    Size,
    StartsWith,
    EndsWith,
    ContainsText,
    MakeWindow,
    Length,
    Overlaps,
    Overlap,
    ContainsInstant,
    Total,
    Longest,
    WindowsIn,
    Elapsed,
    Days,
    Hours,
    Minutes,
    Seconds,
    DaysBetween,
    HoursBetween,
    MinutesBetween,
    MonthsBetween,
    AddDays,
    AddMonths,
    LocalDate,
    LocalHour,
    LocalMinute,
    StartOfDay,
    At,
    Year,
    Month,
    Day,
    Weekday,
    DaysInMonth,
    MonthOf,
    DayOf,
    DaysOf,
    MonthsOf,
    Dates,
    WorkingDaysBetween,
    AddWorkingDays,
    IsWorkingDay,
}
