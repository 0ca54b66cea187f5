"""Plans of maintenance and dates that come near.

Revision: 0011.
"""

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Change nothing yet."""


def downgrade() -> None:
    """Change nothing yet."""
