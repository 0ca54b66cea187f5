"""Rules tried on history.

Revision: 0013.
"""

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Change nothing yet."""


def downgrade() -> None:
    """Change nothing yet."""
