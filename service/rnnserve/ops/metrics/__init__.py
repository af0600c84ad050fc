"""What Prometheus sees. prometheus_client is imported in this folder only.

Never a label for a session: the number of series depends on the models and the reasons alone.
"""

from rnnserve.ops.metrics.metrics import Metrics
from rnnserve.ops.metrics.port import MetricsPort

__all__ = ["Metrics", "MetricsPort"]
