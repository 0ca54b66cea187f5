"""The guided test of a unit's alarms, and its report signed by both parties.

Revision: 0017.
"""

from migrations.sql import execute

revision = "0017"
down_revision = "0016"

TABLES = """
CREATE TABLE commissioning (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id bigint NOT NULL REFERENCES customer,
    site_id bigint NOT NULL REFERENCES site,
    device_id bigint NOT NULL REFERENCES device ON DELETE CASCADE,
    work_session_id bigint NOT NULL REFERENCES work_session,
    started_at timestamptz NOT NULL,
    started_by text NOT NULL,
    finished_at timestamptz,
    content jsonb,
    seal text,
    engineer_name text,
    engineer_signature text,
    engineer_signed_at timestamptz,
    customer_name text,
    customer_signature text,
    customer_signed_at timestamptz,
    CHECK ((finished_at IS NULL) = (content IS NULL)),
    CHECK ((finished_at IS NULL) = (seal IS NULL)),
    CHECK (engineer_signed_at IS NULL OR finished_at IS NOT NULL),
    CHECK (customer_signed_at IS NULL OR finished_at IS NOT NULL)
);
CREATE UNIQUE INDEX commissioning_running ON commissioning (device_id) WHERE finished_at IS NULL;
CREATE INDEX ON commissioning (device_id, started_at DESC);
COMMENT ON TABLE commissioning IS
    'written by service_api: a guided test of a unit''s alarms; its content is sealed when finished';
COMMENT ON COLUMN commissioning.seal IS 'SHA-256 of the content''s canonical JSON';

CREATE TABLE commissioning_step (
    commissioning_id bigint NOT NULL REFERENCES commissioning ON DELETE CASCADE,
    rule_key text NOT NULL,
    turn integer NOT NULL,
    state text NOT NULL DEFAULT 'waiting'
        CHECK (state IN ('waiting', 'running', 'passed', 'failed', 'skipped')),
    started_at timestamptz,
    waits_until_at timestamptz,
    attempts integer NOT NULL DEFAULT 0,
    alarm_id bigint REFERENCES alarm ON DELETE SET NULL,
    observed_at timestamptz,
    received_at timestamptz,
    raised_at timestamptz,
    announced_at timestamptz,
    reason text,
    PRIMARY KEY (commissioning_id, rule_key)
);
COMMENT ON TABLE commissioning_step IS 'written by service_api: one alarm that is provoked';

CREATE FUNCTION keep_sealed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.finished_at IS NOT NULL AND (NEW.content <> OLD.content OR NEW.seal <> OLD.seal
        OR NEW.finished_at IS DISTINCT FROM OLD.finished_at
        OR (OLD.engineer_signed_at IS NOT NULL
            AND (NEW.engineer_signed_at, NEW.engineer_name, NEW.engineer_signature)
                IS DISTINCT FROM
                (OLD.engineer_signed_at, OLD.engineer_name, OLD.engineer_signature))
        OR (OLD.customer_signed_at IS NOT NULL
            AND (NEW.customer_signed_at, NEW.customer_name, NEW.customer_signature)
                IS DISTINCT FROM
                (OLD.customer_signed_at, OLD.customer_name, OLD.customer_signature)))
    THEN
        RAISE EXCEPTION 'a finished report is not changed' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER keep_sealed BEFORE UPDATE ON commissioning
FOR EACH ROW EXECUTE FUNCTION keep_sealed();
"""

SECURITY = """
ALTER TABLE commissioning ENABLE ROW LEVEL SECURITY;
ALTER TABLE commissioning FORCE ROW LEVEL SECURITY;
CREATE POLICY seen ON commissioning
    USING ((SELECT is_staff()) OR customer_id = (SELECT seen_customer()));
CREATE POLICY service ON commissioning TO ridethrough_ingest USING (true) WITH CHECK (true);
ALTER TABLE commissioning_step ENABLE ROW LEVEL SECURITY;
ALTER TABLE commissioning_step FORCE ROW LEVEL SECURITY;
CREATE POLICY seen ON commissioning_step
    USING ((SELECT is_staff())
        OR EXISTS (SELECT FROM commissioning c WHERE c.id = commissioning_id))
    WITH CHECK ((SELECT is_staff()));
CREATE POLICY service ON commissioning_step TO ridethrough_ingest USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE ON commissioning, commissioning_step TO ridethrough_api;
"""


def upgrade() -> None:
    """Create the tables of commissioning."""
    execute(TABLES)
    execute(SECURITY)


def downgrade() -> None:
    """Drop them."""
    execute("DROP TABLE commissioning_step, commissioning; DROP FUNCTION keep_sealed;")
