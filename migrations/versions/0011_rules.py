"""What people do with rules, kept.

Revision: 0011.
"""

from migrations.sql import execute

revision = "0011"
down_revision = "0010"

LOG = """
CREATE TABLE rule_event (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    rule_key text NOT NULL,
    at timestamptz NOT NULL,
    kind text NOT NULL CHECK (kind IN ('switched_off', 'switched_on')),
    actor text NOT NULL,
    reason text NOT NULL
);
CREATE INDEX ON rule_event (rule_key, id);
COMMENT ON TABLE rule_event IS 'written by rules, append-only: a rule switched off or on, by whom, why';
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON rule_event
FOR EACH ROW EXECUTE FUNCTION refuse_change();
GRANT SELECT, INSERT ON rule_event TO ridethrough_ingest, ridethrough_api;
"""


def upgrade() -> None:
    """Create the log of rules."""
    execute(LOG)


def downgrade() -> None:
    """Drop it."""
    execute("DROP TABLE rule_event;")
