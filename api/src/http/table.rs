//! Every route and who may use it: what the OpenAPI document says of credentials, and what the tests walk.

use crate::rights::Right;

/// Who may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// Anybody.
    Public,
    /// Whoever holds the credentials of the claim or customer.
    Claimant,
    /// The same, and members of staff with the right.
    ClaimantOr(Right),
    /// Any member of staff, about what is his own; about others' with more rights.
    Member,
    /// Members of staff with the right.
    Staff(Right),
}

/// A route of the API.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    /// The method.
    pub method: &'static str,
    /// The path's template.
    pub path: &'static str,
    /// Who may use it.
    pub who: Who,
}

const fn route(method: &'static str, path: &'static str, who: Who) -> Route {
    Route { method, path, who }
}

/// The table. A route that is documented and not in it fails a test; so does one whose answers differ from it.
pub const ROUTES: &[Route] = &[
    route("GET", "/livez", Who::Public),
    route("GET", "/readyz", Who::Public),
    route("GET", "/metrics", Who::Public),
    route("POST", "/v1/claims", Who::Public),
    route("GET", "/v1/claims", Who::Staff(Right::ReadClaims)),
    route("GET", "/v1/claims/export", Who::Staff(Right::ReadClaims)),
    route("POST", "/v1/claims/file", Who::Staff(Right::WorkClaims)),
    route("GET", "/v1/queues", Who::Staff(Right::ReadClaims)),
    route("GET", "/v1/second-readings", Who::Staff(Right::DecideClaims)),
    route("GET", "/v1/reports/agreement", Who::Staff(Right::ReadReports)),
    route("POST", "/v1/decisions/bulk", Who::Staff(Right::DecideClaims)),
    route("GET", "/v1/claims/{id}", Who::ClaimantOr(Right::ReadClaims)),
    route("PATCH", "/v1/claims/{id}", Who::Claimant),
    route("POST", "/v1/claims/{id}/submit", Who::Claimant),
    route("POST", "/v1/claims/{id}/withdraw", Who::Claimant),
    route("POST", "/v1/claims/{id}/appeal", Who::Claimant),
    route("GET", "/v1/claims/{id}/messages", Who::ClaimantOr(Right::ReadClaims)),
    route("POST", "/v1/claims/{id}/messages", Who::ClaimantOr(Right::WorkClaims)),
    route("POST", "/v1/claims/next", Who::Staff(Right::WorkClaims)),
    route("POST", "/v1/claims/{id}/lease", Who::Staff(Right::WorkClaims)),
    route("POST", "/v1/claims/{id}/release", Who::Staff(Right::WorkClaims)),
    route("POST", "/v1/claims/{id}/assign", Who::Staff(Right::WorkClaims)),
    route("POST", "/v1/claims/{id}/request-information", Who::Staff(Right::WorkClaims)),
    route("POST", "/v1/claims/{id}/answer", Who::Staff(Right::WorkClaims)),
    route("POST", "/v1/claims/{id}/decision", Who::Staff(Right::DecideClaims)),
    route("POST", "/v1/claims/{id}/approve-decision", Who::Staff(Right::ApproveDecisions)),
    route("POST", "/v1/claims/{id}/reopen", Who::Staff(Right::DecideClaims)),
    route("POST", "/v1/claims/{id}/second-reading", Who::Staff(Right::DecideClaims)),
    route("GET", "/v1/claims/{id}/evidence", Who::ClaimantOr(Right::ReadClaims)),
    route("POST", "/v1/claims/{id}/evidence", Who::ClaimantOr(Right::WorkClaims)),
    route("GET", "/v1/claims/{id}/evidence/{evidence}", Who::ClaimantOr(Right::ReadClaims)),
    route("POST", "/v1/claimants/codes", Who::Public),
    route("POST", "/v1/claimants/sessions", Who::Public),
    route("GET", "/v1/claimants/claims", Who::Claimant),
    route("GET", "/v1/coverage", Who::Public),
    route("PUT", "/v1/claims/{id}/preferences", Who::Claimant),
    route("GET", "/v1/notices", Who::Staff(Right::ReadNotices)),
    route("POST", "/v1/notices/requeue", Who::Staff(Right::ManageNotices)),
    route("POST", "/v1/notices/bounces", Who::Staff(Right::ManageNotices)),
    route("GET", "/v1/audit/proof/{claim}", Who::Claimant),
    route("GET", "/v1/audit", Who::Staff(Right::ReadAudit)),
    route("GET", "/v1/budgets", Who::Staff(Right::ReadBudgets)),
    route("POST", "/v1/budgets", Who::Staff(Right::AuthoriseBudgets)),
    route("POST", "/v1/budgets/release", Who::Staff(Right::AuthoriseBudgets)),
    route("POST", "/v1/budgets/{id}/approve", Who::Staff(Right::ApproveBudgets)),
    route("POST", "/v1/budgets/{id}/reject", Who::Staff(Right::ApproveBudgets)),
    route("GET", "/v1/credits", Who::Staff(Right::ReadLedger)),
    route("POST", "/v1/credits/{id}/reverse", Who::Staff(Right::ReverseCredits)),
    route("GET", "/v1/corrections", Who::Staff(Right::ReadLedger)),
    route("GET", "/v1/corrections/{id}", Who::Staff(Right::ReadLedger)),
    route("POST", "/v1/corrections/{id}/approve", Who::Staff(Right::ApproveCorrections)),
    route("POST", "/v1/corrections/{id}/reject", Who::Staff(Right::ApproveCorrections)),
    route("GET", "/v1/deliveries", Who::Staff(Right::ReadLedger)),
    route("GET", "/v1/deliveries/{id}", Who::Staff(Right::ReadLedger)),
    route("POST", "/v1/deliveries/{id}/retry", Who::Staff(Right::ManageDeliveries)),
    route("POST", "/v1/deliveries/acknowledgements", Who::Staff(Right::ManageDeliveries)),
    route("GET", "/v1/webhooks", Who::Staff(Right::ManageWebhooks)),
    route("POST", "/v1/webhooks", Who::Staff(Right::ManageWebhooks)),
    route("POST", "/v1/webhooks/{id}/rotate", Who::Staff(Right::ManageWebhooks)),
    route("DELETE", "/v1/webhooks/{id}", Who::Staff(Right::ManageWebhooks)),
    route("GET", "/v1/webhooks/{id}/messages", Who::Staff(Right::ManageWebhooks)),
    route("POST", "/v1/webhooks/{id}/redeliver", Who::Staff(Right::ManageWebhooks)),
    route("GET", "/v1/ledger/accounts/{id}/balance", Who::Staff(Right::ReadLedger)),
    route("GET", "/v1/ledger/transfers", Who::Staff(Right::ReadLedger)),
    route("GET", "/v1/reports/funnel", Who::Staff(Right::ReadReports)),
    route("GET", "/v1/reports/exposure", Who::Staff(Right::ReadReports)),
    route("GET", "/v1/reports/liability", Who::Staff(Right::ReadReports)),
    route("GET", "/v1/reports/notice-clocks", Who::Staff(Right::ReadReports)),
    route("POST", "/v1/runs", Who::Staff(Right::RunIssue)),
    route("GET", "/v1/runs", Who::Staff(Right::ReadRuns)),
    route("GET", "/v1/runs/{id}", Who::Staff(Right::ReadRuns)),
    route("POST", "/v1/runs/{id}/approve", Who::Staff(Right::ApproveRuns)),
    route("POST", "/v1/runs/{id}/pause", Who::Staff(Right::RunIssue)),
    route("POST", "/v1/runs/{id}/resume", Who::Staff(Right::RunIssue)),
    route("POST", "/v1/runs/{id}/cancel", Who::Staff(Right::RunIssue)),
    route("GET", "/v1/incidents", Who::Staff(Right::ReadPolicies)),
    route("POST", "/v1/incidents", Who::Staff(Right::ManageIncidents)),
    route("GET", "/v1/incidents/{id}", Who::Staff(Right::ReadPolicies)),
    route("GET", "/v1/incidents/{id}/windows", Who::Staff(Right::ReadPolicies)),
    route("POST", "/v1/incidents/{id}/windows", Who::Staff(Right::ManageIncidents)),
    route("GET", "/v1/services", Who::Staff(Right::ReadPolicies)),
    route("GET", "/v1/assets", Who::Staff(Right::ReadPolicies)),
    route("GET", "/v1/policies", Who::Staff(Right::ReadPolicies)),
    route("POST", "/v1/policies", Who::Staff(Right::ReadPolicies)),
    route("POST", "/v1/policies/{id}/simulate", Who::Staff(Right::ReadPolicies)),
    route("POST", "/v1/policies/{id}/publish", Who::Staff(Right::PublishPolicies)),
    route("POST", "/v1/policies/{id}/approve", Who::Staff(Right::ApprovePolicies)),
    route("POST", "/v1/rosters", Who::Staff(Right::ImportRosters)),
    route("GET", "/v1/session", Who::Member),
    route("POST", "/v1/session", Who::Public),
    route("DELETE", "/v1/session", Who::Member),
    route("POST", "/v1/session/setup", Who::Public),
    route("POST", "/v1/session/setup/confirm", Who::Public),
    route("GET", "/v1/session/oidc", Who::Public),
    route("GET", "/v1/session/oidc/callback", Who::Public),
    route("POST", "/v1/session/step-up", Who::Member),
    route("GET", "/v1/sessions", Who::Member),
    route("DELETE", "/v1/sessions/{id}", Who::Member),
    route("GET", "/v1/staff", Who::Staff(Right::ReadStaff)),
    route("POST", "/v1/staff", Who::Staff(Right::ManageStaff)),
    route("POST", "/v1/staff/{name}/revoke", Who::Staff(Right::ManageStaff)),
    route("POST", "/v1/staff/{name}/reset", Who::Staff(Right::ManageStaff)),
    route("GET", "/v1/api-keys", Who::Member),
    route("POST", "/v1/api-keys", Who::Member),
    route("POST", "/v1/api-keys/{id}/rotate", Who::Member),
    route("DELETE", "/v1/api-keys/{id}", Who::Member),
];
