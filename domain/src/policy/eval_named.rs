//! Evaluates what a policy works out by name, each at most once: derived facts, decision tables, clocks.

use chrono::TimeDelta;

use super::eval::{Evaluated, Fault, FaultKind, Frame, Tracer, count_value, elapsed, fault};
use super::ir::NodeId;
use super::limits::MAX_LOCALS;
use super::program::{Body, Clock, Counts, Program, Table};
use super::time::{last_date, local_date, start_of_day};
use super::value::Value;
use crate::window::Window;

impl<'a, T: Tracer<'a>> Frame<'a, '_, T> {
    // ---- named values -----------------------------------------------------------------------------

    pub(crate) fn named_value(&mut self, at: u16, node: NodeId) -> Evaluated<Value<'a>> {
        let program: &'a Program = self.program;
        match self.named.get(usize::from(at)) {
            Some(Value::Missing) => {}
            Some(value) => return Ok(*value),
            None => return fault(FaultKind::Internal, node),
        }
        let Some(named) = program.named.get(usize::from(at)) else { return fault(FaultKind::Internal, node) };
        // A derived fact sees no bound variables; the caller's are put back afterwards.
        let locals = std::mem::replace(&mut self.locals, [Value::Missing; MAX_LOCALS]);
        self.nesting += 1;
        let value = match &named.body {
            Body::Expression(expression) => self.value(*expression),
            Body::Table(table) => self.table(at, table, node),
            Body::Clock(clock) => self.clock(clock, node),
        };
        self.nesting -= 1;
        self.locals = locals;
        let value = value?;
        if let Some(place) = self.named.get_mut(usize::from(at)) {
            *place = value;
        }
        self.tracer.named(at, value);
        Ok(value)
    }

    fn table(&mut self, at: u16, table: &Table, node: NodeId) -> Evaluated<Value<'a>> {
        for (number, row) in table.rows.iter().enumerate() {
            let matches = match row.when {
                None => true,
                Some(when) => self.truth(when)?,
            };
            if matches {
                self.tracer.row(at, u16::try_from(number).ok());
                return self.value(row.value);
            }
        }
        self.tracer.row(at, None);
        match table.otherwise {
            Some(otherwise) => self.value(otherwise),
            None => fault(FaultKind::Internal, node),
        }
    }

    fn clock(&mut self, clock: &Clock, node: NodeId) -> Evaluated<Value<'a>> {
        let (starts, stops) = (self.value(clock.starts)?, self.value(clock.stops)?);
        let paused = match clock.paused {
            None => Vec::new(),
            Some(paused) => {
                let paused = self.value(paused)?;
                self.windows(paused, node)?
            }
        };
        let (Value::Timestamp(starts), Value::Timestamp(stops)) = (starts, stops) else {
            return fault(FaultKind::Internal, node);
        };
        let running = Window::new(starts, stops).ok();
        match (clock.counts, running) {
            (Counts::Time, None) => Ok(Value::Duration(TimeDelta::zero())),
            (Counts::Time, Some(window)) => elapsed(window, paused, node).map(Value::Duration),
            (Counts::Days(_) | Counts::WorkingDays(..), None) => count_value(0, node),
            (Counts::Days(zone), Some(window)) => self.full_days(window, &paused, zone, None, node),
            (Counts::WorkingDays(zone, calendar), Some(window)) => {
                self.full_days(window, &paused, zone, Some(calendar), node)
            }
        }
    }

    /// Full local days after the first one that ended within the window, without days that a pause touches.
    fn full_days(
        &mut self,
        window: Window,
        paused: &[Window],
        zone: chrono_tz::Tz,
        calendar: Option<u16>,
        node: NodeId,
    ) -> Evaluated<Value<'a>> {
        let outside = Fault { kind: FaultKind::OutsideTime, node };
        let mut day = local_date(window.from(), zone).succ_opt().ok_or(outside)?;
        let last = last_date(&window, zone);
        let mut count = 0;
        while day <= last {
            self.step(1 + paused.len(), node)?;
            let next = day.succ_opt().ok_or(outside)?;
            let begin = start_of_day(day, zone).ok_or(outside)?;
            let end = start_of_day(next, zone).ok_or(outside)?;
            let touched = paused.iter().any(|pause| pause.from() < end && begin < pause.until());
            let worked = match calendar {
                None => true,
                Some(calendar) => self.is_working(calendar, day, node)?,
            };
            count += usize::from(end <= window.until() && !touched && worked);
            day = next;
        }
        count_value(count, node)
    }
}
