//! The rules' conditions as one flat list of tests, each with the place to go on when it is true and when it is
//! false. Whoever assesses millions of subjects walks it without recursion; anything intricate is a test that asks
//! the evaluator.

use std::cmp::Ordering;

use chrono::{DateTime, Utc};

use super::ast::BinaryOp;
use super::eval::{Evaluated, Frame, Tracer};
use super::ir::{Node, NodeId};
use super::number::Number;
use super::program::Program;
use super::rules::Rule;
use super::value::{Constant, Value, same_text};

/// Places from here on are rules that decide.
const DECIDES: u16 = 0x8000;
/// The most tests that places can name, with room for one more of each rule.
const MAX_TESTS: usize = DECIDES as usize - 2 * super::limits::MAX_RULES;
/// No rule decides.
const NONE: u16 = u16::MAX;

/// One test.
#[derive(Debug, Clone)]
struct Test {
    kind: Kind,
    slot: u16,
    /// Whether it is true when the fact is below, equal, above: one bit each.
    when: u8,
    rule: u16,
    yes: u16,
    no: u16,
    node: NodeId,
    constant: u32,
}

#[derive(Debug, Clone)]
enum Kind {
    /// A boolean fact.
    Bool,
    /// A number compared with a whole number.
    Whole(i64),
    /// An instant compared with a written one.
    Instant(DateTime<Utc>),
    /// A text compared with a written one.
    Text(Box<str>),
    /// Anything else.
    Other,
}

/// The tests of all rules.
#[derive(Debug, Clone, Default)]
pub(crate) struct Plan {
    tests: Vec<Test>,
    start: u16,
    first_rule: u16,
}

struct Planner<'p> {
    program: &'p Program,
    tests: Vec<Test>,
    rule: u16,
}

impl Plan {
    pub(crate) fn new(program: &Program, rules: &[Rule]) -> Self {
        let mut planner = Planner { program, tests: Vec::new(), rule: 0 };
        let mut next = NONE;
        // From the last to the first, so that the place to go on to is always known.
        for (place, rule) in rules.iter().enumerate().rev() {
            planner.rule = u16::try_from(place).unwrap_or(0);
            let decides = DECIDES | planner.rule;
            next = match rule.when {
                None => decides,
                Some(when) if planner.tests.len() + planner.size(when) < MAX_TESTS => {
                    planner.condition(when, decides, next)
                }
                Some(when) => planner.whole(when, decides, next),
            };
        }
        // They were added backwards; read forwards, most go on to their neighbour.
        let count = u16::try_from(planner.tests.len()).unwrap_or(0);
        let forward = |place: u16| if place < DECIDES { count - 1 - place } else { place };
        let mut tests = planner.tests;
        tests.reverse();
        for test in &mut tests {
            (test.yes, test.no) = (forward(test.yes), forward(test.no));
        }
        Self { tests, start: forward(next), first_rule: 0 }
    }

    /// The place of the rule that decides, if one does.
    #[inline]
    pub(crate) fn run<'a, T: Tracer<'a>>(
        &self,
        frame: &mut Frame<'a, '_, T>,
        mut passed: impl FnMut(&mut T, u16),
    ) -> Evaluated<Option<usize>> {
        let (mut at, mut rule) = (self.start, self.first_rule);
        // Most tests go on to the next one in the list: that is a branch the processor foresees, where the place
        // alone would be a value it has to wait for.
        'jump: while at < DECIDES {
            for (place, test) in (at..).zip(self.tests.get(usize::from(at)..).unwrap_or_default()) {
                if T::WATCHES {
                    while rule < test.rule {
                        passed(&mut frame.tracer, rule);
                        rule += 1;
                    }
                }
                let next = if test.holds(frame)? { test.yes } else { test.no };
                if next != place + 1 {
                    at = next;
                    continue 'jump;
                }
            }
            return Ok(None);
        }
        if at == NONE {
            return Ok(None);
        }
        let decided = at & !DECIDES;
        if T::WATCHES {
            while rule < decided {
                passed(&mut frame.tracer, rule);
                rule += 1;
            }
        }
        Ok(Some(usize::from(decided)))
    }
}

impl Test {
    #[inline]
    fn holds<'a, T: Tracer<'a>>(&self, frame: &mut Frame<'a, '_, T>) -> Evaluated<bool> {
        let fact = frame.slots.get(usize::from(self.slot));
        let equal_or_less = |equal: bool| if equal { Ordering::Equal } else { Ordering::Less };
        let order = match &self.kind {
            Kind::Instant(bound) => match fact {
                Some(Value::Timestamp(at)) => at.cmp(bound),
                _ => return self.slowly(frame),
            },
            Kind::Whole(bound) => match fact {
                Some(Value::Number(Number::Decimal(value))) if value.scale() == 0 => {
                    value.mantissa().cmp(&i128::from(*bound))
                }
                _ => return self.slowly(frame),
            },
            Kind::Text(wanted) => match fact {
                Some(Value::Text(text)) => equal_or_less(same_text(wanted, text)),
                _ => return self.slowly(frame),
            },
            Kind::Bool => match fact {
                Some(Value::Bool(value)) => equal_or_less(*value),
                _ => return self.slowly(frame),
            },
            Kind::Other => return self.slowly(frame),
        };
        let bit = match order {
            Ordering::Less => 1,
            Ordering::Equal => 2,
            Ordering::Greater => 4,
        };
        let result = self.when & bit != 0;
        if T::WATCHES {
            frame.tracer.slot(self.slot);
            let sides = match self.kind {
                Kind::Bool => None,
                _ => frame.slots.get(usize::from(self.slot)).map(|left| (*left, frame.constant(self.constant))),
            };
            frame.tracer.atom(self.node, sides, result, false);
        }
        Ok(result)
    }
}

impl Test {
    /// Asks the evaluator, which also says what is missing.
    #[inline(never)]
    fn slowly<'a, T: Tracer<'a>>(&self, frame: &mut Frame<'a, '_, T>) -> Evaluated<bool> {
        frame.truth(self.node)
    }
}

impl Planner<'_> {
    /// Adds the tests of a condition; its first test's place. Depth is checked before.
    fn condition(&mut self, id: NodeId, yes: u16, no: u16) -> u16 {
        match self.program.node(id) {
            Node::And(left, right) => {
                let second = self.condition(right, yes, no);
                self.condition(left, second, no)
            }
            Node::Or(left, right) => {
                let second = self.condition(right, yes, no);
                self.condition(left, yes, second)
            }
            Node::Not(inner) => self.condition(inner, no, yes),
            node => {
                let (kind, slot, when, constant) = self.kind(node);
                let test = Test { kind, slot, when, rule: self.rule, yes, no, node: id, constant };
                self.tests.push(test);
                u16::try_from(self.tests.len() - 1).unwrap_or(NONE)
            }
        }
    }

    /// The number of tests that a condition would become.
    fn size(&self, id: NodeId) -> usize {
        match self.program.node(id) {
            Node::And(left, right) | Node::Or(left, right) => self.size(left) + self.size(right),
            Node::Not(inner) => self.size(inner),
            _ => 1,
        }
    }

    /// A whole condition as one test: there are fewer rules than places, so this always fits.
    fn whole(&mut self, id: NodeId, yes: u16, no: u16) -> u16 {
        self.tests.push(Test { kind: Kind::Other, slot: 0, when: 0, rule: self.rule, yes, no, node: id, constant: 0 });
        u16::try_from(self.tests.len() - 1).unwrap_or(NONE)
    }

    fn kind(&self, node: Node) -> (Kind, u16, u8, u32) {
        let other = (Kind::Other, 0, 0, 0);
        match node {
            Node::Slot(slot) => (Kind::Bool, slot, 2, 0),
            Node::CompareSlot { op, slot, constant } => {
                let when = match op {
                    BinaryOp::Less => 1,
                    BinaryOp::LessEqual => 3,
                    BinaryOp::Equal => 2,
                    BinaryOp::NotEqual => 5,
                    BinaryOp::Greater => 4,
                    BinaryOp::GreaterEqual => 6,
                    _ => return other,
                };
                let kind = match self.program.constants.get(constant as usize) {
                    Some(Constant::Number(Number::Decimal(value))) if value.scale() == 0 => {
                        match i64::try_from(value.mantissa()) {
                            Ok(whole) => Kind::Whole(whole),
                            Err(_) => return other,
                        }
                    }
                    Some(Constant::Timestamp(at)) => Kind::Instant(*at),
                    Some(Constant::Text(text)) => Kind::Text(text.clone()),
                    _ => return other,
                };
                (kind, slot, when, constant)
            }
            _ => other,
        }
    }
}
