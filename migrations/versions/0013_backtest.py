"""Rules tried on history: what readings have to keep for that, and the runs.

Revision: 0013.
"""

from migrations.sql import execute

revision = "0013"
down_revision = "0012"

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


def upgrade() -> None:
    """Let readings keep how they were to be believed."""
    execute(READINGS)


def downgrade() -> None:
    """Forget how readings were to be believed."""
    execute("""
        ALTER TABLE telemetry DROP COLUMN believed_seconds;
        ALTER TABLE telemetry DROP COLUMN told;
        ALTER TABLE telemetry DROP COLUMN withheld;
    """)
