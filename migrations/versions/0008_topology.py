"""What hangs on what at a site, and incidents that split and merge.

Revision: 0008.
"""

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Change nothing yet."""


def downgrade() -> None:
    """Change nothing yet."""
