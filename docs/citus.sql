-- How the tables of Redress are spread over the machines of a Citus cluster. Plain PostgreSQL never runs this file.
-- Run it once, as the owner, on the coordinator, after `redress migrate` and before the first roster:
--   psql "$REDRESS_DATABASE_URL" -v ON_ERROR_STOP=1 -1 -f docs/citus.sql
-- tests/sharding.rs holds it against the migrations: every table stands here exactly once.

CREATE EXTENSION IF NOT EXISTS citus;

-- Small, written by people or once a chunk, joined by everything: a copy on every machine.
SELECT create_reference_table('service');
SELECT create_reference_table('incident');
SELECT create_reference_table('impact');
SELECT create_reference_table('asset');
SELECT create_reference_table('staff');
SELECT create_reference_table('policy');
SELECT create_reference_table('policy_version');
SELECT create_reference_table('account');
SELECT create_reference_table('budget');
SELECT create_reference_table('budget_request');
SELECT create_reference_table('programme_use');
SELECT create_reference_table('roster');
SELECT create_reference_table('common_facts');
SELECT create_reference_table('run');
SELECT create_reference_table('run_chunk');
SELECT create_reference_table('signature_limit');
SELECT create_reference_table('correction');
SELECT create_reference_table('correction_total');
SELECT create_reference_table('run_allowance');
SELECT create_reference_table('posting');
SELECT create_reference_table('posting_total');
SELECT create_reference_table('webhook');
SELECT create_reference_table('delivery');

-- The log has one order and one writer, and the doors of the staff are few: they stay on the coordinator.
SELECT citus_add_local_table_to_metadata('audit');
SELECT citus_add_local_table_to_metadata('posting_seal');
SELECT citus_add_local_table_to_metadata('log_leaf');
SELECT citus_add_local_table_to_metadata('log_node');
SELECT citus_add_local_table_to_metadata('log_head');
SELECT citus_add_local_table_to_metadata('staff_credential');
SELECT citus_add_local_table_to_metadata('session');
SELECT citus_add_local_table_to_metadata('api_key');
SELECT citus_add_local_table_to_metadata('sign_in_guess');
SELECT citus_add_local_table_to_metadata('mailed_code');

-- What belongs to customers: rows of one customer stand on one machine, so every join of them is local to it.
SELECT create_distributed_table('holding', 'customer_id');
SELECT create_distributed_table('claim', 'customer_id', colocate_with => 'holding');
SELECT create_distributed_table('personal', 'customer_id', colocate_with => 'holding');
SELECT create_distributed_table('evidence', 'customer_id', colocate_with => 'holding');
SELECT create_distributed_table('assessment', 'customer_id', colocate_with => 'holding');
SELECT create_distributed_table('idempotency', 'customer_id', colocate_with => 'holding');
SELECT create_distributed_table('notice', 'customer_id', colocate_with => 'holding');
SELECT create_distributed_table('run_exception', 'customer_id', colocate_with => 'holding');
SELECT create_distributed_table('transfer', 'customer_id', colocate_with => 'holding');
SELECT create_distributed_table('credit_movement', 'customer_id', colocate_with => 'holding');
SELECT create_distributed_table('task', 'customer_id', colocate_with => 'holding');
SELECT create_distributed_table('decision', 'customer_id', colocate_with => 'holding');
SELECT create_distributed_table('appeal', 'customer_id', colocate_with => 'holding');
SELECT create_distributed_table('message', 'customer_id', colocate_with => 'holding');
SELECT create_distributed_table('triage', 'customer_id', colocate_with => 'holding');
SELECT create_distributed_table('claim_trait', 'customer_id', colocate_with => 'holding');
SELECT create_distributed_table('second_reading', 'customer_id', colocate_with => 'holding');
SELECT create_distributed_table('webhook_message', 'customer_id', colocate_with => 'holding');
SELECT create_distributed_table('delivery_refusal', 'customer_id', colocate_with => 'holding');
SELECT create_distributed_table('looking', 'customer_id', colocate_with => 'holding');
