//! Who may do what: the rights, the one table of roles and rights, and what narrows a member's own.

use std::borrow::Cow;

use clap::ValueEnum;
use redress_domain::id::ServiceId;
use redress_store::StoreError;
use redress_store::staff::StaffMember;
use serde::{Deserialize, Serialize};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::error::{AppError, AppResult};

/// What a member of staff is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize, ToSchema)]
#[value(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Reads and decides claims
    Agent,
    /// Leads agents
    Lead,
    /// Writes and publishes policies
    PolicyAuthor,
    /// Approves policies
    PolicyApprover,
    /// Authorises and approves budgets, issues
    Finance,
    /// Reads everything, changes nothing
    Auditor,
    /// Everything but a second signature on their own work
    Administrator,
}

impl Role {
    /// All roles.
    pub const ALL: &[Self] = &[
        Self::Agent,
        Self::Lead,
        Self::PolicyAuthor,
        Self::PolicyApprover,
        Self::Finance,
        Self::Auditor,
        Self::Administrator,
    ];

    /// The role's name in storage.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Lead => "lead",
            Self::PolicyAuthor => "policy_author",
            Self::PolicyApprover => "policy_approver",
            Self::Finance => "finance",
            Self::Auditor => "auditor",
            Self::Administrator => "administrator",
        }
    }

    /// The role of a name.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|role| role.as_str() == name)
    }

    /// The largest amount of money that somebody in this role decides alone, unless his own limit says otherwise.
    #[must_use]
    pub fn decides_up_to(self) -> i64 {
        match self {
            Self::Agent => 300_000,
            Self::Lead | Self::Administrator => 3_000_000,
            Self::PolicyAuthor | Self::PolicyApprover | Self::Finance | Self::Auditor => 0,
        }
    }

    /// A member's own limit, which narrows what the role may and never widens it; else says why not.
    pub fn narrowed(self, own: i64) -> Result<i64, String> {
        let most = self.decides_up_to();
        if own > most {
            return Err(format!("{own} is more than {} decides alone, which is {most}", self.as_str()));
        }
        Ok(own)
    }
}

/// Whether a right takes a second factor that was shown a short time ago. What does, no API key can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepUp {
    /// A session or a key suffices.
    No,
    /// The second factor must be fresh: money moves, or somebody else's rights.
    Fresh,
}

macro_rules! rights {
    ($($(#[$doc:meta])* $right:ident = ($name:literal, $step_up:ident, [$($role:ident),*]);)*) => {
        /// Something that takes permission.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        pub enum Right {
            $($(#[$doc])* #[serde(rename = $name)] $right,)*
        }

        impl Right {
            /// All rights.
            pub const ALL: &[Self] = &[$(Self::$right,)*];

            /// Its name, as the scopes of API keys have it; whether it takes a step-up; who has it besides administrators.
            const fn parts(self) -> (&'static str, StepUp, &'static [Role]) {
                match self {
                    $(Self::$right => ($name, StepUp::$step_up, &[$(Role::$role),*]),)*
                }
            }
        }
    };
}

// The one table. Administrators have every right besides.
rights! {
    /// See claims, and what claimants sent.
    ReadClaims = ("read_claims", No, [Agent, Lead, Auditor]);
    /// Work on claims: lease, ask, answer, file for a caller.
    WorkClaims = ("work_claims", No, [Agent, Lead]);
    /// Decide claims, alone up to the limit.
    DecideClaims = ("decide_claims", No, [Agent, Lead]);
    /// Give the second signature on a large decision.
    ApproveDecisions = ("approve_decisions", Fresh, [Lead]);
    /// See incidents, services, assets and policies, and simulate.
    ReadPolicies = ("read_policies", No, [Agent, Lead, PolicyAuthor, PolicyApprover, Finance, Auditor]);
    /// Publish a version of a policy.
    PublishPolicies = ("publish_policies", No, [PolicyAuthor]);
    /// Put a published version in force, or take it out of force.
    ApprovePolicies = ("approve_policies", Fresh, [PolicyApprover]);
    /// Load incidents and their windows.
    ManageIncidents = ("manage_incidents", No, [PolicyAuthor]);
    /// Import rosters.
    ImportRosters = ("import_rosters", No, [PolicyAuthor, Finance]);
    /// See budgets and what is asked for.
    ReadBudgets = ("read_budgets", No, [PolicyApprover, Finance, Auditor]);
    /// Ask for a budget, or to give back what is left of one.
    AuthoriseBudgets = ("authorise_budgets", Fresh, [Finance]);
    /// Approve or reject what another asked for of a budget.
    ApproveBudgets = ("approve_budgets", Fresh, [Finance]);
    /// See runs.
    ReadRuns = ("read_runs", No, [Finance, Auditor]);
    /// Start, pause, resume and cancel runs.
    RunIssue = ("run_issue", No, [Finance]);
    /// Approve a run that another started.
    ApproveRuns = ("approve_runs", Fresh, [Finance]);
    /// Approve or reject a large reversal or write-off that another asked for.
    ApproveCorrections = ("approve_corrections", Fresh, [Finance]);
    /// Set how much a run, a correction or a decision may move without a second person.
    LimitRuns = ("limit_runs", Fresh, []);
    /// See the ledger, the credits and how they are delivered.
    ReadLedger = ("read_ledger", No, [Finance, Auditor]);
    /// Reverse and write off credits, alone up to the limit.
    ReverseCredits = ("reverse_credits", Fresh, [Finance]);
    /// Retry deliveries, and record what services acknowledged.
    ManageDeliveries = ("manage_deliveries", No, [Finance]);
    /// See notices that could not be sent or came back.
    ReadNotices = ("read_notices", No, [Agent, Lead, Auditor]);
    /// Queue notices again, and report mail that came back.
    ManageNotices = ("manage_notices", No, [Lead]);
    /// See the reports.
    ReadReports = ("read_reports", No, [Lead, PolicyAuthor, PolicyApprover, Finance, Auditor]);
    /// See the audit log.
    ReadAudit = ("read_audit", No, [Auditor]);
    /// Change the key that signs the log's heads.
    RotateKeys = ("rotate_keys", Fresh, []);
    /// Say where webhooks go.
    ManageWebhooks = ("manage_webhooks", Fresh, []);
    /// See who the members of staff are, their sessions and keys.
    ReadStaff = ("read_staff", No, [Auditor]);
    /// Add and revoke members of staff, end their sessions, make keys for them.
    ManageStaff = ("manage_staff", Fresh, []);
}

impl PartialSchema for Right {
    fn schema() -> RefOr<Schema> {
        let names = Self::ALL.iter().map(|right| right.as_str());
        ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names)).build().into()
    }
}

impl ToSchema for Right {
    fn name() -> Cow<'static, str> {
        "Right".into()
    }
}

impl Right {
    /// The name that the scopes of API keys have.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.parts().0
    }

    /// Whether it takes a fresh second factor.
    #[must_use]
    pub fn needs_step_up(self) -> bool {
        self.parts().1 == StepUp::Fresh
    }

    /// Whether somebody in this role has it.
    #[must_use]
    pub fn is_of(self, role: Role) -> bool {
        role == Role::Administrator || self.parts().2.contains(&role)
    }

    /// The roles that have it.
    pub fn roles(self) -> impl Iterator<Item = Role> {
        Role::ALL.iter().copied().filter(move |role| self.is_of(*role))
    }
}

/// A member of staff and what he may do.
#[derive(Debug, Clone)]
pub struct Member {
    /// The name.
    pub name: String,
    /// The role.
    pub role: Role,
    /// The services he works for; all when none.
    pub services: Option<Vec<ServiceId>>,
    decides_up_to: Option<i64>,
}

impl Member {
    /// Whether the role has a right and it extends to a service; the refusal says which of both fails.
    pub fn require(&self, right: Right, service: Option<&ServiceId>) -> AppResult<()> {
        if !right.is_of(self.role) {
            let wanted: Vec<&str> = right.roles().map(Role::as_str).collect();
            return Err(AppError::Forbidden(format!(
                "{} is {} and may not do this; it takes {}",
                self.name,
                self.role.as_str(),
                wanted.join(" or ")
            )));
        }
        match service {
            Some(service) if !self.works_for(service) => {
                Err(AppError::Forbidden(format!("{} does not work for the service {service}", self.name)))
            }
            _ => Ok(()),
        }
    }

    /// Refuses whoever works for some services only.
    pub fn require_everywhere(&self) -> AppResult<()> {
        match self.services {
            None => Ok(()),
            Some(_) => Err(AppError::Forbidden("this takes a member who works for all services".into())),
        }
    }

    /// Whether a service is among his own.
    #[must_use]
    pub fn works_for(&self, service: &ServiceId) -> bool {
        self.services.as_ref().is_none_or(|services| services.contains(service))
    }

    /// The largest amount of money he decides without a second signature, in the currency's unit.
    #[must_use]
    pub fn decides_up_to(&self) -> i64 {
        let most = self.role.decides_up_to();
        // The role may have changed since the member's own limit was set.
        self.decides_up_to.map_or(most, |own| own.min(most))
    }
}

impl TryFrom<StaffMember> for Member {
    type Error = StoreError;

    fn try_from(row: StaffMember) -> Result<Self, StoreError> {
        let role = Role::of(&row.role).ok_or_else(|| StoreError::corrupt(format!("role {:?}", row.role)))?;
        let services = row.services.map(serde_json::from_value).transpose().map_err(StoreError::corrupt)?;
        Ok(Self { name: row.name, role, services, decides_up_to: row.decides_up_to })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_auditor_has_nothing_but_rights_to_read() {
        for right in Right::ALL {
            let reads = right.as_str().starts_with("read_");
            assert_eq!(right.is_of(Role::Auditor), reads, "{right:?}");
            assert!(right.is_of(Role::Administrator));
            assert!(!(reads && right.needs_step_up()), "{right:?}");
        }
    }

    #[test]
    fn every_name_leads_back() {
        for right in Right::ALL {
            let name = serde_json::to_value(right).unwrap();
            assert_eq!(name, right.as_str());
            assert_eq!(serde_json::from_value::<Right>(name).unwrap(), *right);
        }
        for role in Role::ALL {
            assert_eq!(Role::of(role.as_str()), Some(*role));
        }
    }
}
