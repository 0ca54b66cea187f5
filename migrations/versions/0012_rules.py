"""Rules as people change them.

Revision: 0012.
"""

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Change nothing yet."""


def downgrade() -> None:
    """Change nothing yet."""
