"""How a running gateway tells what it does: logs and metrics.

- `logs` are events in one format, ours and the server's;
- `metrics` are all that is counted, `counting` is how calls are counted at no cost, and `metric_files` are where
  the workers of a machine add up theirs.
"""

from gateway.telemetry.counting import Count
from gateway.telemetry.logs import configure_logging
from gateway.telemetry.metric_files import fold_worker
from gateway.telemetry.metrics import Metrics

__all__ = ["Count", "Metrics", "configure_logging", "fold_worker"]
