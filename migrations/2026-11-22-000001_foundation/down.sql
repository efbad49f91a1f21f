DROP TABLE audit, transfer, posting_total, posting, run_exception, run_chunk, run, notice, idempotency, assessment,
    personal, claim, holding, roster, programme_use, budget_request, budget, account, policy_version, policy, staff, asset, impact,
    incident, service;
-- The role stays: other databases of the same server may use it.
