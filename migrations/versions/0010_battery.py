"""What a battery figure stands on.

Revision: 0010.
"""

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Change nothing yet."""


def downgrade() -> None:
    """Change nothing yet."""
