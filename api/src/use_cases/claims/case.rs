//! A claim with all that was said of it, locked while a command moves it.

use chrono::{DateTime, Utc};
use redress_domain::claim::ClaimMove;
use redress_domain::notice::Event;
use redress_domain::review::{Ruling, VerdictKind};
use redress_store::claims::{self, AssessmentRow, ClaimRow};
use redress_store::decisions::{self, AppealRow, DecisionRow};
use redress_store::messages::{self, MessageRow};
use redress_store::notices::{self, NoticeRow};
use redress_store::tasks::{self, TaskRow};
use redress_store::{Connection, StoreError, audit};
use uuid::Uuid;

use super::{StoredAssessment, state_of};
use crate::app::{Actor, App};
use crate::error::{AppError, AppResult};
use crate::refusal::Refusal;

/// A claim under way.
#[derive(Debug, Clone)]
pub struct Case {
    /// The claim as it stands.
    pub claim: ClaimRow,
    /// What the desk knows of it.
    pub task: Option<TaskRow>,
    /// What its policy said last.
    pub assessment: Option<AssessmentRow>,
    /// What people decided.
    pub decisions: Vec<DecisionRow>,
    /// The appeals.
    pub appeals: Vec<AppealRow>,
}

impl Case {
    /// The claim, locked until the transaction ends.
    pub(super) fn lock(connection: &mut Connection, id: Uuid) -> AppResult<Self> {
        let claim = claims::lock(connection, id)?.ok_or_else(|| StoreError::NotFound("such claim".into()))?;
        Self::of(connection, claim)
    }

    /// The claim as it stands, for whoever only looks.
    pub(super) fn of(connection: &mut Connection, claim: ClaimRow) -> AppResult<Self> {
        let (customer, id) = (claim.customer_id.as_str(), claim.id);
        Ok(Self {
            task: tasks::find(connection, customer, id)?,
            assessment: claims::last_assessment(connection, customer, id)?,
            decisions: decisions::of_claim(connection, customer, id)?,
            appeals: decisions::appeals(connection, customer, id)?,
            claim,
        })
    }

    /// Refuses whoever saw an older state of the claim than this.
    pub(super) fn expect(&self, version: Option<i32>) -> AppResult<()> {
        match version {
            Some(version) if version != self.claim.version => Err(Refusal::Stale { now: self.claim.version }.into()),
            _ => Ok(()),
        }
    }

    /// The decision that waits for a second signature.
    #[must_use]
    pub fn proposed(&self) -> Option<&DecisionRow> {
        self.decisions.iter().find(|decision| decision.in_force_at.is_none() && decision.rejected_at.is_none())
    }

    /// The decision of people that holds.
    #[must_use]
    pub fn in_force(&self) -> Option<&DecisionRow> {
        self.decisions.iter().rev().find(|decision| decision.in_force_at.is_some())
    }

    /// The appeal that nobody has read yet.
    #[must_use]
    pub fn open_appeal(&self) -> Option<&AppealRow> {
        self.appeals.iter().find(|appeal| appeal.read_at.is_none())
    }

    /// The last word on the claim: of people, else of its policy.
    pub fn ruling(&self) -> AppResult<Option<Ruling>> {
        if let Some(decision) = self.in_force() {
            let kind = VerdictKind::of(&decision.outcome)
                .ok_or_else(|| StoreError::corrupt(format!("decision outcome {:?}", decision.outcome)))?;
            let by = [Some(&decision.decided_by), decision.approved_by.as_ref()];
            return Ok(Some(Ruling {
                number: decision.seq,
                kind,
                appealable: true,
                at: decision.in_force_at.unwrap_or(decision.decided_at),
                by: by.into_iter().flatten().cloned().collect(),
            }));
        }
        let Some(row) = &self.assessment else { return Ok(None) };
        let kind = match row.outcome.as_str() {
            "award" => VerdictKind::Approve,
            "decline" => VerdictKind::Decline,
            _ => return Ok(None),
        };
        let reason = StoredAssessment::read(row)?.reason;
        let appealable = reason.is_none_or(|reason| reason.appealable);
        Ok(Some(Ruling { number: 0, kind, appealable, at: row.assessed_at, by: Vec::new() }))
    }

    /// What the log's hashes of it are over.
    pub(super) fn seen(&self) -> serde_json::Value {
        let mut state = state_of(&self.claim.state, self.claim.version, self.assessment.as_ref());
        state["decisions"] = serde_json::json!(self.decisions);
        state["appeals"] = serde_json::json!(self.appeals);
        state
    }

    /// Moves the claim; refused when its state does not allow it.
    pub(super) fn step(&mut self, connection: &mut Connection, action: ClaimMove, at: DateTime<Utc>) -> AppResult<()> {
        let to = self.claim.state()?.after(action).map_err(Refusal::Illegal)?;
        if action == ClaimMove::Withdraw && self.claim.credited_at.is_some() {
            return Err(Refusal::Conflict("what was credited cannot be withdrawn any more".into()).into());
        }
        if !claims::advance(connection, &self.claim.customer_id, self.claim.id, action, to, at)? {
            return Err(StoreError::Contention("a claim changed meanwhile".into()).into());
        }
        to.as_str().clone_into(&mut self.claim.state);
        self.claim.version += 1;
        self.claim.updated_at = at;
        Ok(())
    }

    /// Counts a change that moves the claim nowhere.
    pub(super) fn touch(&mut self, connection: &mut Connection, at: DateTime<Utc>) -> AppResult<()> {
        claims::touch(connection, &self.claim.customer_id, self.claim.id, at)?;
        self.claim.version += 1;
        self.claim.updated_at = at;
        Ok(())
    }

    /// Writes what was done into the log.
    pub(super) fn log(
        &self,
        connection: &mut Connection,
        actor: &Actor,
        action: &str,
        mut detail: serde_json::Value,
        before: &serde_json::Value,
    ) -> AppResult<()> {
        detail["status"] = self.claim.state.clone().into();
        let entry = actor.entry(action, format!("claim {}", self.claim.id), detail);
        Ok(audit::append(connection, &[entry.before(before).after(&self.seen())])?)
    }

    /// Tells the claimant, once for each version of the claim.
    pub(super) fn tell(&self, connection: &mut Connection, event: Event, at: DateTime<Utc>) -> AppResult<()> {
        let notice = NoticeRow::queued(&self.claim.customer_id, Uuid::now_v7(), self.claim.id, event, at);
        Ok(notices::queue(connection, &[notice.on_occasion(self.claim.version)])?)
    }

    /// Whether another message is kept: as many as are shown, and no more.
    pub(super) fn has_room(&self, connection: &mut Connection) -> AppResult<bool> {
        Ok(messages::count(connection, &self.claim.customer_id, self.claim.id)? < messages::MAX_SHOWN)
    }

    /// Keeps what somebody wrote, sealed; `staff` is none for the claimant.
    pub(super) fn write(
        &self,
        app: &App,
        connection: &mut Connection,
        kind: &str,
        staff: Option<&str>,
        text: &str,
        at: DateTime<Utc>,
    ) -> AppResult<Uuid> {
        if !self.has_room(connection)? {
            let most = messages::MAX_SHOWN;
            return Err(Refusal::Conflict(format!("a claim has at most {most} messages")).into());
        }
        let id = Uuid::now_v7();
        let row = MessageRow {
            customer_id: self.claim.customer_id.clone(),
            claim_id: self.claim.id,
            id,
            kind: kind.to_owned(),
            staff: staff.map(str::to_owned),
            sealed: app.secrets.seal(text.as_bytes(), &message_context(&self.claim, id))?,
            sent_at: at,
        };
        messages::insert(connection, &row)?;
        Ok(id)
    }
}

/// What the words of a message are bound to.
pub(super) fn message_context(claim: &ClaimRow, message: Uuid) -> String {
    format!("message/{}/{}/{message}", claim.customer_id, claim.id)
}

/// What a message says.
pub(super) fn open_message(app: &App, claim: &ClaimRow, row: &MessageRow) -> AppResult<String> {
    let plain = app.secrets.open(&row.sealed, &message_context(claim, row.id))?;
    String::from_utf8(plain).map_err(|error| AppError::from(StoreError::corrupt(error)))
}
