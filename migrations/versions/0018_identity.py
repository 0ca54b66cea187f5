"""The serial number that the records hold a unit to.

Revision: 0018.
"""

from migrations.sql import execute

revision = "0018"
down_revision = "0017"

TABLES = """
ALTER TABLE device ADD COLUMN serial_confirmed text;
UPDATE device SET serial_confirmed = serial;
CREATE INDEX device_serial ON device (serial);
CREATE INDEX ON device (serial_confirmed);
COMMENT ON COLUMN device.serial_confirmed IS
    'the first that was told, or the one that a person confirmed; serial is what is told now';
CREATE FUNCTION confirm_first_serial() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.serial_confirmed := coalesce(NEW.serial_confirmed, NEW.serial);
    RETURN NEW;
END
$$;
CREATE TRIGGER confirm_first_serial BEFORE INSERT OR UPDATE OF serial ON device
FOR EACH ROW EXECUTE FUNCTION confirm_first_serial();

CREATE TABLE identity_decision (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    device_id bigint NOT NULL REFERENCES device ON DELETE CASCADE,
    at timestamptz NOT NULL,
    kind text NOT NULL CHECK (kind IN ('confirmed', 'addresses_exchanged')),
    actor text NOT NULL,
    detail jsonb NOT NULL
);
CREATE INDEX ON identity_decision (device_id, id);
COMMENT ON TABLE identity_decision IS
    'written by service_api, append-only: what people said of a unit that was another one';
CREATE TRIGGER append_only BEFORE UPDATE ON identity_decision
FOR EACH ROW EXECUTE FUNCTION refuse_change();
ALTER TABLE identity_decision ENABLE ROW LEVEL SECURITY;
ALTER TABLE identity_decision FORCE ROW LEVEL SECURITY;
CREATE POLICY staff ON identity_decision USING ((SELECT is_staff()));
CREATE POLICY service ON identity_decision TO ridethrough_ingest USING (true) WITH CHECK (true);
GRANT SELECT, INSERT ON identity_decision TO ridethrough_api;
"""


def upgrade() -> None:
    """Keep the confirmed serial number and what people decide about it."""
    execute(TABLES)


def downgrade() -> None:
    """Drop both."""
    execute("""
        DROP TABLE identity_decision;
        DROP TRIGGER confirm_first_serial ON device;
        DROP FUNCTION confirm_first_serial;
        DROP INDEX device_serial;
        ALTER TABLE device DROP COLUMN serial_confirmed;
    """)
