"""What a model has done, as ModelStatistics tells it.

Both APIs count into the same sums. `queue` lasts until the first block of a request, and
`compute_infer` from there to its answer, with what is copied before and after a run: nothing is
left for `compute_input` and `compute_output`.
"""

from collections.abc import Callable

from rnnserve.engine.model import Model
from rnnserve.triton import grpc_service_pb2 as wire


def model_statistics(
    model: Model, now_s: float, wall_clock_s: Callable[[], float]
) -> wire.ModelStatistics:
    """`now_s` on the engine's clock; `wall_clock_s` tells seconds since 1970."""
    sums = model.statistics
    count = sums.answered_chunks
    last_ms = 0
    if sums.last_s is not None:
        last_ms = round((wall_clock_s() - (now_s - sums.last_s)) * 1e3)
    return wire.ModelStatistics(
        name=model.spec.name,
        version=str(model.spec.version),
        last_inference=last_ms,
        inference_count=sums.answered_rows,
        execution_count=sums.runs,
        inference_stats=wire.InferStatistics(
            success=_lasted(count, sums.whole_s),
            fail=_lasted(sums.failed_chunks, 0.0),
            queue=_lasted(count, sums.queue_s),
            compute_input=_lasted(count, 0.0),
            compute_infer=_lasted(count, sums.whole_s - sums.queue_s),
            compute_output=_lasted(count, 0.0),
            cache_hit=_lasted(0, 0.0),
            cache_miss=_lasted(0, 0.0),
        ),
        batch_stats=[
            wire.InferBatchStatistics(
                batch_size=rows,
                compute_input=_lasted(runs, 0.0),
                compute_infer=_lasted(runs, run_s),
                compute_output=_lasted(runs, 0.0),
            )
            for rows, (runs, run_s) in sorted(sums.by_rows.items())
        ],
    )


def _lasted(count: int, seconds: float) -> wire.StatisticDuration:
    return wire.StatisticDuration(count=count, ns=max(0, round(seconds * 1e9)))
