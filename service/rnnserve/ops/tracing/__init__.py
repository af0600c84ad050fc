"""Spans by OpenTelemetry, on their way to a collector. It is imported in this folder only.

A call has a span where its caller's trace is sampled. Where no trace comes with it, a long call
begins one, and of the short ones a share does. Below a call, the first chunk and a share of the
others have a span `step`, with `queue` and `run` in it: made when the chunk is answered, from the
times that it carries anyway. No payload, and of a session's id only what tells it from its
neighbours: the id entitles whoever holds it.

Sources: W3C Trace Context; OpenTelemetry's semantic conventions for RPC and for HTTP.
"""

from rnnserve.ops.tracing.collector import Tracing
from rnnserve.ops.tracing.spans import Spans

__all__ = ["Spans", "Tracing"]
