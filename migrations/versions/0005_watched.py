"""When a unit is registered, watched again or changes hands; what the retention job may delete.

Revision: 0005.
"""

from migrations.sql import execute

revision = "0005"
down_revision = "0004"

# A unit that never answers is looked at like any other: its silence counts from its registration.
SILENCE = """
ALTER TABLE device ADD COLUMN watched_since_at timestamptz;
COMMENT ON COLUMN device.watched_since_at IS
    'written by its trigger: when the unit was switched on again or given to other collectors; silence before that does not count';

CREATE FUNCTION note_watched() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.enabled AND (NOT OLD.enabled OR NEW.collector_group <> OLD.collector_group) THEN
        NEW.watched_since_at := now();
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER note_watched BEFORE UPDATE OF enabled, collector_group ON device
FOR EACH ROW EXECUTE FUNCTION note_watched();

CREATE OR REPLACE FUNCTION make_device_state() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public AS $$
BEGIN
    INSERT INTO device_state (device_id, silence_check_at) VALUES (NEW.id, NEW.created_at);
    RETURN NEW;
END
$$;
UPDATE device_state s SET silence_check_at = d.created_at
FROM device d WHERE d.id = s.device_id AND s.silence_check_at IS NULL;
"""

# What the last owner's alarms and tickets say is the last owner's: they end with the ownership,
# and what still holds is raised anew for the next one. People's own requests stay open.
HANDOVER = """
CREATE FUNCTION end_with_ownership() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public AS $$
DECLARE
    asker text := coalesce(current_setting('ridethrough.scope', true), '');
BEGIN
    PERFORM set_config('ridethrough.scope', 'all', true);
    PERFORM FROM device_state WHERE device_id = NEW.id FOR UPDATE; -- nobody judges it meanwhile
    DELETE FROM rule_state WHERE device_id = NEW.id;
    WITH ended AS (
        UPDATE alarm SET state = 'cleared', cleared_at = greatest(now(), raised_at),
            changed_at = now()
        WHERE device_id = NEW.id AND cleared_at IS NULL RETURNING id, customer_id
    ), logged AS (
        INSERT INTO alarm_event (alarm_id, at, kind, actor, detail)
        SELECT id, now(), 'cleared', 'handover', '{"why": "the unit changed hands"}' FROM ended
    )
    INSERT INTO outbox (topic, customer_id, ref, at)
    SELECT 'alarm.cleared', customer_id, id, now() FROM ended;
    WITH ended AS (
        UPDATE ticket SET state = 'closed', closed_at = now(), closing_code = 'withdrawn',
            resolved_at = coalesce(resolved_at, now()), responded_at = coalesce(responded_at, now())
        WHERE device_id = NEW.id AND closed_at IS NULL AND incident_id IS NULL
            AND source <> 'person'
        RETURNING id, customer_id
    ), logged AS (
        INSERT INTO ticket_event (ticket_id, at, kind, actor, detail)
        SELECT id, now(), 'closed', 'handover',
            '{"closing_code": "withdrawn", "text": "the unit changed hands"}' FROM ended
    )
    INSERT INTO outbox (topic, customer_id, ref, at)
    SELECT 'ticket.closed', customer_id, id, now() FROM ended;
    NOTIFY ridethrough, 'change';
    PERFORM set_config('ridethrough.scope', asker, true);
    RETURN NULL;
END
$$;
CREATE TRIGGER end_with_ownership AFTER UPDATE OF customer_id ON device
FOR EACH ROW WHEN (NEW.customer_id <> OLD.customer_id) EXECUTE FUNCTION end_with_ownership();

-- The newest values that the last owner's unit told are not the next owner's to see.
CREATE OR REPLACE VIEW visible_device_state WITH (security_barrier) AS
SELECT s.* FROM device_state s JOIN device d ON d.id = s.device_id
WHERE (SELECT is_staff()) OR (d.customer_id = (SELECT seen_customer()) AND EXISTS (
    SELECT FROM device_owner o WHERE o.device_id = s.device_id AND o.customer_id = d.customer_id
    AND o.during @> coalesce(s.observed_at, now())));
"""

# The tick looks at these each second; the retention job deletes what is long over.
UPKEEP = """
CREATE INDEX ticket_unsettled ON ticket (id)
    WHERE closed_at IS NULL AND condition_cleared_at IS NULL;
GRANT DELETE ON outbox, job_run, collector, notice, user_token TO ridethrough_ingest;
GRANT SELECT (token_hash, expires_at) ON user_token TO ridethrough_ingest;
"""


def upgrade() -> None:
    """Watch units from their registration on, end with the ownership, let retention delete."""
    execute(SILENCE)
    execute(HANDOVER)
    execute(UPKEEP)


def downgrade() -> None:
    """Take all of that back."""
    execute("""
        REVOKE DELETE ON outbox, job_run, collector, notice, user_token FROM ridethrough_ingest;
        REVOKE SELECT (token_hash, expires_at) ON user_token FROM ridethrough_ingest;
        DROP INDEX ticket_unsettled;
        CREATE OR REPLACE VIEW visible_device_state WITH (security_barrier) AS
        SELECT s.* FROM device_state s JOIN device d ON d.id = s.device_id
        WHERE (SELECT is_staff()) OR d.customer_id = (SELECT seen_customer());
        DROP TRIGGER end_with_ownership ON device;
        DROP FUNCTION end_with_ownership;
        CREATE OR REPLACE FUNCTION make_device_state() RETURNS trigger LANGUAGE plpgsql
        SECURITY DEFINER SET search_path = public AS $$
        BEGIN
            INSERT INTO device_state (device_id) VALUES (NEW.id);
            RETURN NEW;
        END
        $$;
        DROP TRIGGER note_watched ON device;
        DROP FUNCTION note_watched;
        ALTER TABLE device DROP COLUMN watched_since_at;
    """)
