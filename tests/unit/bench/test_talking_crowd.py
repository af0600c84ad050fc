"""What is compared when counting is measured: equal steps, counted all or not at all."""

import pytest

from rnnserve_bench.in_process import TalkingCrowd
from small_models import publish, small_model

ROWS = 6


@pytest.mark.parametrize("streams", [1, 2, ROWS])
async def test_counted_steps_are_all_counted_and_the_others_are_not(tmp_path, streams):
    publish(small_model("gru", 1), tmp_path)
    crowd = TalkingCrowd(tmp_path, "gru1", ROWS, streams)
    for counted in (False, True, True, False):
        await crowd.step(crowd.frames(), counted=counted)
    # What the last answers took is told when the next are taken.
    await crowd.step(crowd.frames(), counted=True)
    _, metrics = crowd.meters
    found = {
        sample.name: sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.labels == {"model": "gru1"}
    }
    assert found["rnnserve_steps_total"] == 3 * ROWS
    assert found["rnnserve_step_seconds_count"] == 3 * ROWS
    assert found["rnnserve_reply_seconds_count"] == 2 * ROWS
