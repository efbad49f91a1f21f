//! The tables as Diesel sees them; a test compares this file with the migrated database.

diesel::table! {
    service (id) {
        id -> Int4,
        name -> Text,
        organisation -> Text,
        title_ko -> Text,
        title_en -> Text,
    }
}

diesel::table! {
    incident (id) {
        id -> Int4,
        name -> Text,
        title_ko -> Text,
        title_en -> Text,
        cause_ko -> Text,
        cause_en -> Text,
        source_hash -> Text,
        loaded_at -> Timestamptz,
    }
}

diesel::table! {
    impact (incident_id, service_id, starts_at) {
        incident_id -> Int4,
        service_id -> Int4,
        starts_at -> Timestamptz,
        ends_at -> Timestamptz,
        severity -> Text,
    }
}

diesel::table! {
    asset (id) {
        id -> Int4,
        code -> Text,
        class -> Text,
        scale -> Int2,
    }
}

diesel::table! {
    staff (name) {
        name -> Text,
        role -> Text,
        added_at -> Timestamptz,
        revoked_at -> Nullable<Timestamptz>,
        services -> Nullable<Jsonb>,
        decides_up_to -> Nullable<Int8>,
        subject -> Nullable<Text>,
    }
}

diesel::table! {
    staff_credential (staff) {
        staff -> Text,
        setup_hash -> Nullable<Bytea>,
        setup_until -> Nullable<Timestamptz>,
        password -> Nullable<Text>,
        totp -> Nullable<Bytea>,
        totp_step -> Int8,
        recovery -> Jsonb,
        changed_at -> Timestamptz,
    }
}

diesel::table! {
    session (id) {
        id -> Uuid,
        token_hash -> Bytea,
        staff -> Text,
        method -> Text,
        started_at -> Timestamptz,
        seen_at -> Timestamptz,
        verified_at -> Timestamptz,
        ends_at -> Timestamptz,
        ended_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    api_key (id) {
        id -> Uuid,
        staff -> Text,
        label -> Text,
        scopes -> Jsonb,
        token_hash -> Bytea,
        previous_hash -> Nullable<Bytea>,
        previous_until -> Nullable<Timestamptz>,
        days -> Int2,
        created_by -> Text,
        created_at -> Timestamptz,
        expires_at -> Timestamptz,
        used_at -> Nullable<Timestamptz>,
        revoked_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    sign_in_guess (bucket) {
        bucket -> Bytea,
        failures -> Int4,
        failed_at -> Timestamptz,
    }
}

diesel::table! {
    policy (id) {
        id -> Int4,
        incident_id -> Int4,
        name -> Text,
        service_id -> Int4,
        basis -> Text,
    }
}

diesel::table! {
    policy_version (id) {
        id -> Int4,
        policy_id -> Int4,
        hash -> Text,
        source -> Text,
        published_by -> Text,
        published_at -> Timestamptz,
        approved_by -> Nullable<Text>,
        approved_at -> Nullable<Timestamptz>,
        retired_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    account (id) {
        id -> Int4,
        name -> Text,
        kind -> Text,
        asset_id -> Int4,
    }
}

diesel::table! {
    budget (id) {
        id -> Int4,
        incident_id -> Int4,
        service_id -> Int4,
        asset_id -> Int4,
        expense_id -> Int4,
        provision_id -> Int4,
        approved -> Int8,
        spent -> Int8,
    }
}

diesel::table! {
    budget_request (id) {
        id -> Int8,
        budget_id -> Int4,
        amount -> Int8,
        authorised_by -> Text,
        authorised_at -> Timestamptz,
        approved_by -> Nullable<Text>,
        approved_at -> Nullable<Timestamptz>,
        rejected_by -> Nullable<Text>,
        rejected_at -> Nullable<Timestamptz>,
        kind -> Text,
    }
}

diesel::table! {
    programme_use (policy_id, asset_id) {
        policy_id -> Int4,
        asset_id -> Int4,
        takers -> Int8,
        amount -> Int8,
    }
}

diesel::table! {
    roster (id) {
        id -> Int8,
        incident_id -> Int4,
        file_name -> Text,
        file_hash -> Text,
        accepted -> Int8,
        refused -> Int8,
        imported_at -> Timestamptz,
    }
}

diesel::table! {
    holding (incident_id, customer_id, service_id, reference) {
        roster_id -> Int8,
        incident_id -> Int4,
        service_id -> Int4,
        customer_id -> Text,
        reference -> Text,
        facts -> Nullable<Json>,
        common_id -> Nullable<Int4>,
    }
}

diesel::table! {
    common_facts (id) {
        id -> Int4,
        facts -> Json,
    }
}

diesel::table! {
    claim (id, customer_id) {
        customer_id -> Text,
        id -> Uuid,
        reference -> Text,
        incident_id -> Int4,
        service_id -> Int4,
        state -> Text,
        facts -> Jsonb,
        version -> Int4,
        created_at -> Timestamptz,
        submitted_at -> Nullable<Timestamptz>,
        updated_at -> Timestamptz,
        kind -> Text,
        channel -> Text,
        loss -> Nullable<Uuid>,
        duplicate_of -> Nullable<Uuid>,
        credited_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    personal (customer_id, claim_id) {
        customer_id -> Text,
        claim_id -> Uuid,
        sealed -> Bytea,
        address -> Nullable<Text>,
    }
}

diesel::table! {
    assessment (customer_id, claim_id, seq) {
        customer_id -> Text,
        claim_id -> Uuid,
        seq -> Int4,
        policy_version_id -> Nullable<Int4>,
        outcome -> Text,
        trace -> Text,
        assessed_at -> Timestamptz,
    }
}

diesel::table! {
    idempotency (customer_id, key) {
        customer_id -> Text,
        key -> Text,
        request_hash -> Bytea,
        status -> Int2,
        location -> Nullable<Text>,
        body -> Bytea,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    notice (customer_id, claim_id, event, occasion) {
        customer_id -> Text,
        id -> Uuid,
        claim_id -> Uuid,
        event -> Text,
        state -> Text,
        attempts -> Int4,
        next_at -> Timestamptz,
        queued_at -> Timestamptz,
        sent_at -> Nullable<Timestamptz>,
        last_error -> Nullable<Text>,
        occasion -> Int4,
        bounced_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    looking (customer_id, claim_id, staff) {
        customer_id -> Text,
        claim_id -> Uuid,
        staff -> Text,
        seen_at -> Timestamptz,
    }
}

diesel::table! {
    mailed_code (address) {
        address -> Text,
        sealed -> Bytea,
        state -> Text,
        code_hash -> Nullable<Text>,
        tries -> Int4,
        sends -> Int4,
        asked -> Int4,
        hour_from -> Timestamptz,
        asked_at -> Timestamptz,
        next_at -> Timestamptz,
        expires_at -> Timestamptz,
    }
}

diesel::table! {
    evidence (customer_id, id) {
        customer_id -> Text,
        id -> Uuid,
        claim_id -> Uuid,
        document -> Text,
        kind -> Text,
        bytes -> Int8,
        received_hash -> Bytea,
        content_hash -> Bytea,
        blob -> Text,
        remarks -> Jsonb,
        state -> Text,
        begun_at -> Timestamptz,
        stored_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    run (id) {
        id -> Int8,
        incident_id -> Int4,
        state -> Text,
        scope -> Jsonb,
        started_by -> Text,
        started_at -> Timestamptz,
        ended_at -> Nullable<Timestamptz>,
        note -> Nullable<Text>,
        plan -> Nullable<Jsonb>,
        plan_hash -> Nullable<Text>,
        needs_approval -> Bool,
        approved_by -> Nullable<Text>,
        approved_at -> Nullable<Timestamptz>,
        served -> Bool,
        request_key -> Nullable<Text>,
    }
}

diesel::table! {
    signature_limit (what, asset_id) {
        what -> Text,
        asset_id -> Int4,
        most -> Int8,
        set_by -> Text,
        set_at -> Timestamptz,
    }
}

diesel::table! {
    run_allowance (run_id, asset_id) {
        run_id -> Int8,
        asset_id -> Int4,
        most -> Int8,
        issued -> Int8,
    }
}

diesel::table! {
    run_chunk (run_id, seq) {
        run_id -> Int8,
        seq -> Int4,
        from_customer -> Nullable<Text>,
        till_customer -> Nullable<Text>,
        tally -> Nullable<Jsonb>,
        done_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    run_exception (run_id, customer_id, policy_version_id, subject) {
        run_id -> Int8,
        customer_id -> Text,
        policy_version_id -> Int4,
        subject -> Text,
        reason -> Text,
    }
}

diesel::table! {
    posting (id) {
        id -> Int8,
        run_id -> Nullable<Int8>,
        chunk_seq -> Nullable<Int4>,
        recorded_at -> Timestamptz,
    }
}

diesel::table! {
    posting_total (posting_id, debit_account, credit_account, code, policy_version_id) {
        posting_id -> Int8,
        debit_account -> Int4,
        credit_account -> Int4,
        code -> Int2,
        policy_version_id -> Int4,
        transfers -> Int8,
        amount -> Int8,
    }
}

diesel::table! {
    transfer (customer_id, id) {
        customer_id -> Text,
        id -> Uuid,
        posting_id -> Int8,
        amount -> Int8,
        debit_account -> Int4,
        credit_account -> Int4,
        asset_id -> Int4,
        policy_version_id -> Int4,
        code -> Int2,
        subject -> Text,
    }
}

diesel::table! {
    correction (id) {
        id -> Int8,
        kind -> Text,
        items -> Jsonb,
        items_hash -> Bytea,
        reason -> Text,
        effective_on -> Date,
        asked_by -> Text,
        asked_at -> Timestamptz,
        needs_approval -> Bool,
        approved_by -> Nullable<Text>,
        approved_at -> Nullable<Timestamptz>,
        rejected_by -> Nullable<Text>,
        rejected_at -> Nullable<Timestamptz>,
        posting_id -> Nullable<Int8>,
    }
}

diesel::table! {
    correction_total (correction_id, asset_id) {
        correction_id -> Int8,
        asset_id -> Int4,
        amount -> Int8,
    }
}

diesel::table! {
    credit_movement (customer_id, credit_id, seq) {
        customer_id -> Text,
        credit_id -> Uuid,
        seq -> Int4,
        previous_seq -> Nullable<Int4>,
        transfer_id -> Uuid,
        code -> Int2,
        original_id -> Nullable<Uuid>,
        amount -> Int8,
        issued -> Int8,
        owed_before -> Int8,
        owed_after -> Int8,
        effective_on -> Date,
        reason -> Nullable<Text>,
    }
}

diesel::table! {
    audit (id) {
        id -> Int8,
        at -> Timestamptz,
        actor -> Text,
        origin -> Text,
        action -> Text,
        object -> Text,
        detail -> Jsonb,
        before_hash -> Nullable<Bytea>,
        after_hash -> Nullable<Bytea>,
        hash -> Nullable<Bytea>,
    }
}

diesel::table! {
    posting_seal (posting_id) {
        posting_id -> Int8,
        transfers -> Int8,
        root -> Bytea,
        salt -> Bytea,
        first_customer -> Text,
        last_customer -> Text,
        marks -> Bytea,
    }
}

diesel::table! {
    log_leaf (seq) {
        seq -> Int8,
        kind -> Int2,
        source -> Int8,
        hash -> Bytea,
        document -> Nullable<Text>,
    }
}

diesel::table! {
    log_node (level, place) {
        level -> Int2,
        place -> Int8,
        hash -> Bytea,
    }
}

diesel::table! {
    log_head (size) {
        size -> Int8,
        root -> Bytea,
        at -> Text,
        public_key -> Bytea,
        signature -> Bytea,
    }
}

diesel::table! {
    /// Rows on their way in: a temporary table of the importing transaction.
    holding_incoming (line) {
        line -> Int8,
        incident_id -> Int4,
        service_id -> Int4,
        customer_id -> Text,
        reference -> Text,
        facts -> Json,
    }
}

diesel::table! {
    task (customer_id, claim_id) {
        customer_id -> Text,
        claim_id -> Uuid,
        service_id -> Int4,
        queue -> Text,
        is_open -> Bool,
        since -> Timestamptz,
        assignee -> Nullable<Text>,
        leased_by -> Nullable<Text>,
        leased_until -> Nullable<Timestamptz>,
        due_at -> Nullable<Timestamptz>,
        reminded -> Int2,
    }
}

diesel::table! {
    decision (customer_id, claim_id, seq) {
        customer_id -> Text,
        claim_id -> Uuid,
        seq -> Int4,
        outcome -> Text,
        awards -> Jsonb,
        reasons -> Jsonb,
        policy_version_id -> Nullable<Int4>,
        decided_by -> Text,
        decided_at -> Timestamptz,
        needs_approval -> Bool,
        approved_by -> Nullable<Text>,
        approved_at -> Nullable<Timestamptz>,
        rejected_by -> Nullable<Text>,
        rejected_at -> Nullable<Timestamptz>,
        in_force_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    appeal (customer_id, claim_id, against) {
        customer_id -> Text,
        claim_id -> Uuid,
        against -> Int4,
        filed_at -> Timestamptz,
        decided_by -> Nullable<Text>,
        countersigned_by -> Nullable<Text>,
        read_by -> Nullable<Text>,
        read_at -> Nullable<Timestamptz>,
        outcome -> Nullable<Text>,
    }
}

diesel::table! {
    message (customer_id, claim_id, id) {
        customer_id -> Text,
        claim_id -> Uuid,
        id -> Uuid,
        kind -> Text,
        staff -> Nullable<Text>,
        sealed -> Bytea,
        sent_at -> Timestamptz,
    }
}

diesel::table! {
    triage (customer_id, claim_id) {
        customer_id -> Text,
        claim_id -> Uuid,
        findings -> Jsonb,
        at -> Timestamptz,
    }
}

diesel::table! {
    claim_trait (customer_id, claim_id, kind, hash) {
        customer_id -> Text,
        claim_id -> Uuid,
        kind -> Text,
        hash -> Int8,
    }
}

diesel::table! {
    second_reading (customer_id, claim_id, ruling) {
        customer_id -> Text,
        claim_id -> Uuid,
        ruling -> Int4,
        service_id -> Int4,
        sample -> Text,
        policy -> Text,
        first_by -> Nullable<Text>,
        drawn_at -> Timestamptz,
        read_by -> Nullable<Text>,
        read_at -> Nullable<Timestamptz>,
        agrees -> Nullable<Bool>,
    }
}

diesel::table! {
    webhook (id) {
        id -> Uuid,
        url -> Text,
        purpose -> Text,
        service_id -> Nullable<Int4>,
        secret -> Bytea,
        previous_secret -> Nullable<Bytea>,
        previous_until -> Nullable<Timestamptz>,
        created_by -> Text,
        created_at -> Timestamptz,
        disabled_at -> Nullable<Timestamptz>,
        disabled_why -> Nullable<Text>,
        failures -> Int4,
        failing_since -> Nullable<Timestamptz>,
        retry_at -> Nullable<Timestamptz>,
        last_error -> Nullable<Text>,
        events -> Jsonb,
    }
}

diesel::table! {
    webhook_message (customer_id, id) {
        customer_id -> Text,
        id -> Uuid,
        webhook_id -> Uuid,
        claim_id -> Uuid,
        event -> Text,
        occasion -> Int4,
        claim_state -> Text,
        state -> Text,
        attempts -> Int4,
        next_at -> Timestamptz,
        queued_at -> Timestamptz,
        sent_at -> Nullable<Timestamptz>,
        last_error -> Nullable<Text>,
    }
}

diesel::table! {
    delivery (id) {
        id -> Uuid,
        service_id -> Int4,
        posting_id -> Int8,
        retry_of -> Nullable<Uuid>,
        first_customer -> Text,
        first_credit -> Uuid,
        last_customer -> Text,
        last_credit -> Uuid,
        credits -> Int4,
        state -> Text,
        attempts -> Int4,
        next_at -> Timestamptz,
        queued_at -> Timestamptz,
        as_of -> Nullable<Timestamptz>,
        ended_at -> Nullable<Timestamptz>,
        last_error -> Nullable<Text>,
    }
}

diesel::table! {
    delivery_refusal (customer_id, delivery_id, credit_id) {
        customer_id -> Text,
        delivery_id -> Uuid,
        credit_id -> Uuid,
        reason -> Text,
        refused_at -> Timestamptz,
    }
}

diesel::allow_tables_to_appear_in_same_query!(
    service,
    incident,
    impact,
    asset,
    staff,
    staff_credential,
    session,
    api_key,
    sign_in_guess,
    policy,
    policy_version,
    account,
    budget,
    budget_request,
    programme_use,
    roster,
    holding,
    common_facts,
    claim,
    personal,
    assessment,
    idempotency,
    notice,
    mailed_code,
    evidence,
    run,
    run_chunk,
    run_exception,
    signature_limit,
    correction,
    correction_total,
    run_allowance,
    posting,
    posting_total,
    transfer,
    credit_movement,
    audit,
    posting_seal,
    log_leaf,
    log_node,
    log_head,
    task,
    decision,
    appeal,
    message,
    triage,
    claim_trait,
    second_reading,
    webhook,
    webhook_message,
    delivery,
    delivery_refusal,
);
