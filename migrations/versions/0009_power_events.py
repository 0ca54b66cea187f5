"""Outages and self-tests as episodes, and how often units fail.

Revision: 0009.
"""

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Change nothing yet."""


def downgrade() -> None:
    """Change nothing yet."""
