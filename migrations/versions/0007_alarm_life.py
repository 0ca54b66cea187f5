"""The life of an alarm: shelved, suppressed, latched, out of service.

Revision: 0007.
"""

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Change nothing yet."""


def downgrade() -> None:
    """Change nothing yet."""
