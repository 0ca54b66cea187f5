"""Faults that come back, and what people find out about them.

Revision: 0016.
"""

from migrations.sql import execute

revision = "0016"
down_revision = "0015"

TABLES = """
CREATE TABLE problem (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('unit', 'model', 'site', 'alarm')),
    subject text NOT NULL,
    failure text NOT NULL,
    device_id bigint REFERENCES device ON DELETE CASCADE,
    site_id bigint REFERENCES site,
    state text NOT NULL DEFAULT 'detected' CHECK (state IN ('detected', 'investigating',
        'known_error', 'resolved', 'closed', 'dismissed')),
    found_at timestamptz NOT NULL,
    last_at timestamptz NOT NULL,
    settled_at timestamptz,
    owner text NOT NULL DEFAULT '',
    root_cause text NOT NULL DEFAULT '',
    workaround text NOT NULL DEFAULT '',
    measures text NOT NULL DEFAULT '',
    CHECK ((state IN ('closed', 'dismissed')) = (settled_at IS NOT NULL))
);
CREATE UNIQUE INDEX problem_open ON problem (kind, subject, failure)
    WHERE state NOT IN ('closed', 'dismissed');
CREATE INDEX ON problem (device_id) WHERE device_id IS NOT NULL;
COMMENT ON TABLE problem IS
    'written by rules: a fault that comes back at a unit, model, site or as an alarm (ITIL)';
COMMENT ON COLUMN problem.subject IS 'id of the unit or site, or the model';
COMMENT ON COLUMN problem.failure IS 'failure mode of tickets, cause of incidents, or rule';

CREATE TABLE problem_evidence (
    problem_id bigint NOT NULL REFERENCES problem ON DELETE CASCADE,
    about text NOT NULL CHECK (about IN ('ticket', 'incident', 'suppression')),
    ref bigint NOT NULL,
    at timestamptz NOT NULL,
    PRIMARY KEY (problem_id, about, ref)
);
COMMENT ON TABLE problem_evidence IS 'written by rules: each time that the fault came';

CREATE TABLE problem_event (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    problem_id bigint NOT NULL REFERENCES problem ON DELETE CASCADE,
    at timestamptz NOT NULL,
    kind text NOT NULL,
    actor text NOT NULL,
    detail jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX ON problem_event (problem_id, id);
COMMENT ON TABLE problem_event IS 'written by rules, append-only';
CREATE TRIGGER append_only BEFORE UPDATE ON problem_event
FOR EACH ROW EXECUTE FUNCTION refuse_change();
"""

SECURITY = """
ALTER TABLE problem ENABLE ROW LEVEL SECURITY;
ALTER TABLE problem FORCE ROW LEVEL SECURITY;
CREATE POLICY staff ON problem USING ((SELECT is_staff()));
CREATE POLICY service ON problem TO ridethrough_ingest USING (true) WITH CHECK (true);
ALTER TABLE problem_evidence ENABLE ROW LEVEL SECURITY;
ALTER TABLE problem_evidence FORCE ROW LEVEL SECURITY;
CREATE POLICY staff ON problem_evidence USING ((SELECT is_staff()));
CREATE POLICY service ON problem_evidence TO ridethrough_ingest USING (true) WITH CHECK (true);
ALTER TABLE problem_event ENABLE ROW LEVEL SECURITY;
ALTER TABLE problem_event FORCE ROW LEVEL SECURITY;
CREATE POLICY staff ON problem_event USING ((SELECT is_staff()));
CREATE POLICY service ON problem_event TO ridethrough_ingest USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE ON problem TO ridethrough_ingest, ridethrough_api;
GRANT SELECT, INSERT ON problem_evidence, problem_event TO ridethrough_ingest, ridethrough_api;
"""


def upgrade() -> None:
    """Create the problem records."""
    execute(TABLES)
    execute(SECURITY)


def downgrade() -> None:
    """Drop them."""
    execute("DROP TABLE problem_event, problem_evidence, problem;")
