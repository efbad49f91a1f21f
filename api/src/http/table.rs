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

/// What becomes of a POST that is sent again, because its answer was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeated {
    /// It takes an Idempotency-Key: the same key gets the same answer.
    Key,
    /// It does no harm by its nature, which the sentence says.
    Harmless(&'static str),
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
    /// What becomes of it when it is sent again; of no interest where the method promises that it is harmless.
    pub repeated: Repeated,
}

impl Route {
    /// A POST that needs no key, since doing it again changes nothing.
    const fn harmless(self, why: &'static str) -> Self {
        Self { repeated: Repeated::Harmless(why), ..self }
    }
}

const fn route(method: &'static str, path: &'static str, who: Who) -> Route {
    Route { method, path, who, repeated: Repeated::Key }
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
    route("POST", "/v1/claims/{id}/evidence", Who::ClaimantOr(Right::WorkClaims))
        .harmless("the same file is the same evidence"),
    route("GET", "/v1/claims/{id}/evidence/{evidence}", Who::ClaimantOr(Right::ReadClaims)),
    route("POST", "/v1/claimants/codes", Who::Public)
        .harmless("an address is given one code a minute, however often it is asked for"),
    route("POST", "/v1/claimants/sessions", Who::Public).harmless("a code opens one session"),
    route("GET", "/v1/claimants/claims", Who::Claimant),
    route("GET", "/v1/coverage", Who::Public),
    route("PUT", "/v1/claims/{id}/preferences", Who::Claimant),
    route("GET", "/v1/notices", Who::Staff(Right::ReadNotices)),
    route("POST", "/v1/notices/requeue", Who::Staff(Right::ManageNotices))
        .harmless("what is queued already stays as it is"),
    route("POST", "/v1/notices/bounces", Who::Staff(Right::ManageNotices)).harmless("a mail comes back once"),
    route("GET", "/v1/audit/proof/{claim}", Who::Claimant),
    route("GET", "/v1/audit", Who::Staff(Right::ReadAudit)),
    route("GET", "/v1/budgets", Who::Staff(Right::ReadBudgets)),
    route("POST", "/v1/budgets", Who::Staff(Right::AuthoriseBudgets)),
    route("POST", "/v1/budgets/release", Who::Staff(Right::AuthoriseBudgets)),
    route("POST", "/v1/budgets/{id}/approve", Who::Staff(Right::ApproveBudgets))
        .harmless("a request is decided once, then it is 409"),
    route("POST", "/v1/budgets/{id}/reject", Who::Staff(Right::ApproveBudgets))
        .harmless("a request is decided once, then it is 409"),
    route("GET", "/v1/credits", Who::Staff(Right::ReadLedger)),
    route("POST", "/v1/credits/{id}/reverse", Who::Staff(Right::ReverseCredits))
        .harmless("each original is reversed at most once, then it is 409"),
    route("GET", "/v1/corrections", Who::Staff(Right::ReadLedger)),
    route("GET", "/v1/corrections/{id}", Who::Staff(Right::ReadLedger)),
    route("POST", "/v1/corrections/{id}/approve", Who::Staff(Right::ApproveCorrections))
        .harmless("a correction is decided once, then it is 409"),
    route("POST", "/v1/corrections/{id}/reject", Who::Staff(Right::ApproveCorrections))
        .harmless("a correction is decided once, then it is 409"),
    route("GET", "/v1/deliveries", Who::Staff(Right::ReadLedger)),
    route("GET", "/v1/deliveries/{id}", Who::Staff(Right::ReadLedger)),
    route("POST", "/v1/deliveries/{id}/retry", Who::Staff(Right::ManageDeliveries))
        .harmless("what is sent again already is not sent twice"),
    route("POST", "/v1/deliveries/acknowledgements", Who::Staff(Right::ManageDeliveries))
        .harmless("saying the same again changes nothing"),
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
    route("GET", "/v1/runs/{id}/exceptions", Who::Staff(Right::ReadRuns)),
    route("POST", "/v1/runs/{id}/approve", Who::Staff(Right::ApproveRuns))
        .harmless("a run is approved once, then it is 409"),
    route("POST", "/v1/runs/{id}/pause", Who::Staff(Right::RunIssue))
        .harmless("a paused run is not paused again: it is 409"),
    route("POST", "/v1/runs/{id}/resume", Who::Staff(Right::RunIssue))
        .harmless("a running run is not resumed again: it is 409"),
    route("POST", "/v1/runs/{id}/cancel", Who::Staff(Right::RunIssue))
        .harmless("a run is cancelled once, then it is 409"),
    route("GET", "/v1/incidents", Who::Staff(Right::ReadPolicies)),
    route("POST", "/v1/incidents", Who::Staff(Right::ManageIncidents)).harmless("the same file again changes nothing"),
    route("GET", "/v1/incidents/{id}", Who::Staff(Right::ReadPolicies)),
    route("GET", "/v1/incidents/{id}/windows", Who::Staff(Right::ReadPolicies)),
    route("POST", "/v1/incidents/{id}/windows", Who::Staff(Right::ManageIncidents))
        .harmless("the same windows again change nothing"),
    route("GET", "/v1/services", Who::Staff(Right::ReadPolicies)),
    route("GET", "/v1/assets", Who::Staff(Right::ReadPolicies)),
    route("GET", "/v1/policies", Who::Staff(Right::ReadPolicies)),
    route("POST", "/v1/policies", Who::Staff(Right::ReadPolicies)).harmless("nothing is kept"),
    route("POST", "/v1/policies/{id}/simulate", Who::Staff(Right::ReadPolicies)).harmless("nothing is kept"),
    route("POST", "/v1/policies/{id}/publish", Who::Staff(Right::PublishPolicies))
        .harmless("a version is published once, then it is 409"),
    route("POST", "/v1/policies/{id}/approve", Who::Staff(Right::ApprovePolicies))
        .harmless("a version is approved once, then it is 409"),
    route("POST", "/v1/rosters", Who::Staff(Right::ImportRosters)).harmless("the same file again changes nothing"),
    route("GET", "/v1/session", Who::Member),
    route("POST", "/v1/session", Who::Public).harmless("a code of the second factor counts once, then it is 401"),
    route("DELETE", "/v1/session", Who::Member),
    route("POST", "/v1/session/setup", Who::Public).harmless("the last answer holds, until it is confirmed"),
    route("POST", "/v1/session/setup/confirm", Who::Public).harmless("the token is used up, then it is 401"),
    route("GET", "/v1/session/oidc", Who::Public),
    route("GET", "/v1/session/oidc/callback", Who::Public),
    route("POST", "/v1/session/step-up", Who::Member).harmless("a code of the second factor counts once"),
    route("GET", "/v1/sessions", Who::Member),
    route("DELETE", "/v1/sessions/{id}", Who::Member),
    route("GET", "/v1/staff", Who::Staff(Right::ReadStaff)),
    route("POST", "/v1/staff", Who::Staff(Right::ManageStaff)).harmless("a name is taken once, then it is 409"),
    route("POST", "/v1/staff/{name}/revoke", Who::Staff(Right::ManageStaff))
        .harmless("a member is revoked once, then it is 404"),
    route("POST", "/v1/staff/{name}/reset", Who::Staff(Right::ManageStaff)).harmless("only the last token works"),
    route("GET", "/v1/api-keys", Who::Member),
    route("POST", "/v1/api-keys", Who::Member),
    route("POST", "/v1/api-keys/{id}/rotate", Who::Member),
    route("DELETE", "/v1/api-keys/{id}", Who::Member),
];
