"""Work that was announced, work at a unit, commissioning.

Revision: 0014.
"""

from migrations.sql import execute

revision = "0014"
down_revision = "0013"

TABLES = """
CREATE TABLE planned_work (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id bigint NOT NULL REFERENCES customer,
    site_id bigint NOT NULL REFERENCES site,
    device_id bigint REFERENCES device ON DELETE CASCADE,
    title text NOT NULL,
    starts_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL,
    announced_at timestamptz NOT NULL,
    announced_by text NOT NULL,
    withdrawn_at timestamptz,
    withdrawn_by text,
    CHECK (ends_at > starts_at)
);
CREATE INDEX ON planned_work (site_id, starts_at);
COMMENT ON TABLE planned_work IS
    'written by service_api: what a customer or dispatcher said would happen, and when';
"""

SECURITY = """
ALTER TABLE planned_work ENABLE ROW LEVEL SECURITY;
ALTER TABLE planned_work FORCE ROW LEVEL SECURITY;
CREATE POLICY seen ON planned_work
    USING ((SELECT is_staff()) OR customer_id = (SELECT seen_customer()));
CREATE POLICY service ON planned_work TO ridethrough_ingest USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE ON planned_work TO ridethrough_ingest, ridethrough_api;
"""


def upgrade() -> None:
    """Create the table of announced work."""
    execute(TABLES)
    execute(SECURITY)


def downgrade() -> None:
    """Drop it."""
    execute("DROP TABLE planned_work;")
