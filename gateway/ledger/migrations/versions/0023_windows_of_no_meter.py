"""Overage that was none: limits on a group of routes called `over` were taken for it, under `<meter>:<window>`.

No meter's name holds a colon. Nothing was reported of them, since no tier bills such a meter.
"""

from __future__ import annotations

from alembic import op

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    op.execute("DELETE FROM metered_windows WHERE meter LIKE '%:%'")
    op.execute("DELETE FROM meter_turns WHERE meter LIKE '%:%'")
