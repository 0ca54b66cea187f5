"""Rules tried on history: what readings have to keep for that, and the runs.

Revision: 0010.
"""

from migrations.sql import execute

revision = "0010"
down_revision = "0009"

READINGS = """
ALTER TABLE telemetry ADD COLUMN believed_seconds real;
ALTER TABLE telemetry ADD COLUMN told smallint;
ALTER TABLE telemetry ADD COLUMN withheld text[];
COMMENT ON COLUMN telemetry.believed_seconds IS
    'how long fast points were believed, infinity: until replaced; NULL: not kept, three polls';
COMMENT ON COLUMN telemetry.told IS
    'bits: 1 told fast points, 2 told slow ones, 4 came late and was not judged; NULL: not kept';
COMMENT ON COLUMN telemetry.withheld IS 'columns that were told and not to be believed';
"""

RUNS = """
CREATE TABLE backtest (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    state text NOT NULL CHECK (state IN
        ('asked', 'estimated', 'queued', 'running', 'done', 'failed', 'cancelled')),
    rules jsonb NOT NULL,
    since_at timestamptz NOT NULL,
    until_at timestamptz NOT NULL CHECK (until_at > since_at),
    scope jsonb NOT NULL DEFAULT '{}',
    asked_by text NOT NULL,
    asked_at timestamptz NOT NULL,
    started_at timestamptz,
    beat_at timestamptz,
    finished_at timestamptz,
    cancelled_by text,
    parts_done integer NOT NULL DEFAULT 0,
    parts integer NOT NULL DEFAULT 0,
    estimate jsonb,
    result jsonb,
    error_en text,
    error_zh text
);
CREATE INDEX ON backtest (asked_at DESC, id DESC);
CREATE INDEX ON backtest (id) WHERE state IN ('asked', 'queued', 'running');
COMMENT ON TABLE backtest IS
    'written by service_api: rules to be tried on history, asked for, estimated, run one at a time';
COMMENT ON COLUMN backtest.rules IS 'one or two of {"key", "text"}: a rule in force, or its TOML';
COMMENT ON COLUMN backtest.beat_at IS 'when the run last said how far it is; long ago: it died';
ALTER TABLE backtest ENABLE ROW LEVEL SECURITY;
ALTER TABLE backtest FORCE ROW LEVEL SECURITY;
CREATE POLICY staff ON backtest USING ((SELECT is_staff())) WITH CHECK ((SELECT is_staff()));
CREATE POLICY service ON backtest TO ridethrough_ingest USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE ON backtest TO ridethrough_api;
GRANT SELECT, UPDATE, DELETE ON backtest TO ridethrough_ingest;
"""


def upgrade() -> None:
    """Let readings keep how they were to be believed, and back-tests be asked for."""
    execute(READINGS)
    execute(RUNS)


def downgrade() -> None:
    """Forget back-tests, and how readings were to be believed."""
    execute("""
        DROP TABLE backtest;
        ALTER TABLE telemetry DROP COLUMN believed_seconds;
        ALTER TABLE telemetry DROP COLUMN told;
        ALTER TABLE telemetry DROP COLUMN withheld;
    """)
