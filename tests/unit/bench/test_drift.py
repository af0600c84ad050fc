"""The judge of a soak, on made-up series: leaks are found, and noise is not taken for one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnserve_bench.soak.drift import Allowance, judge
from rnnserve_bench.soak.observing import SERIES, Look, drifts

HOUR_S = 3600.0
TEN_MB = Allowance(10.0)
# Where onnxruntime has run, there are no denormals.
NOISE_MB = st.floats(0, 4, allow_subnormal=False)
FLAT = {"memory_mb": 150.0, "threads": 12.0, "files": 28.0, "tasks": 40.0, "sessions": 150.0}
FLAT |= {"loop_lag_ms": 1.0, "cpu": 0.7, "probe_p50_ms": 5.0, "probe_p99_ms": 20.0}


def judged(values, allowance=TEN_MB, hours=1.0):
    times_s = np.linspace(0, hours * HOUR_S, len(values))
    return judge("memory", "MB", times_s, values, allowance)


def memory(seed: int, samples: int, leak_mb: float, noise_mb: float) -> np.ndarray:
    """A process that warms up to 150 MB, breathes, and leaks so much in an hour."""
    rng = np.random.default_rng(seed)
    place = np.linspace(0, 1, samples)
    warm = 150 - 40 * np.exp(-place * 30)
    return warm + leak_mb * place + rng.normal(0, noise_mb, samples)


@settings(deadline=None)
@given(st.integers(0, 1000), st.integers(100, 500), st.floats(40, 500), NOISE_MB)
def test_a_leak_is_caught(seed, samples, leak_mb, noise_mb):
    assert judged(memory(seed, samples, leak_mb, noise_mb)).is_drifting


@settings(deadline=None)
@given(
    st.integers(0, 1000), st.integers(100, 500), st.floats(-50, 3, allow_subnormal=False), NOISE_MB
)
def test_noise_and_shrinking_are_no_leak(seed, samples, leak_mb, noise_mb):
    assert not judged(memory(seed, samples, leak_mb, noise_mb)).is_drifting


@settings(deadline=None)
@given(st.integers(0, 1000), st.floats(100, 1e6))
def test_spikes_in_a_fifth_of_the_samples_are_no_drift(seed, height):
    values = memory(seed, 200, 0, 1)
    rng = np.random.default_rng(seed)
    values[rng.choice(200, 40, replace=False)] += height
    assert not judged(values).is_drifting


def test_a_single_step_is_no_drift_but_a_staircase_is():
    """A pool that grew once has grown; one that grows again and again doesn't end."""
    assert not judged([150.0] * 90 + [200.0] * 110).is_drifting
    assert judged([150.0 + 10 * (n // 40) for n in range(200)]).is_drifting


def test_what_a_process_takes_while_it_warms_up_is_no_drift():
    assert not judged([50.0 + min(n, 20) * 10 for n in range(100)]).is_drifting


def test_a_share_allows_more_to_what_is_large():
    values = np.linspace(100, 130, 50)
    assert judged(values, Allowance(5.0)).is_drifting
    assert not judged(values, Allowance(5.0, 0.3)).is_drifting


def test_samples_that_are_missing_change_nothing():
    values = memory(1, 120, 60, 0)
    holed = values.copy()
    holed[::7] = np.nan
    assert judged(holed).an_hour == pytest.approx(judged(values).an_hour, rel=0.1)


def test_thousands_of_samples_are_judged_as_hundreds_are():
    assert judged(memory(2, 9000, 60, 2)).an_hour == pytest.approx(
        judged(memory(2, 300, 60, 2)).an_hour, rel=0.1
    )


def test_too_few_samples_are_no_verdict():
    with pytest.raises(ValueError, match="too few"):
        judged([1.0] * 5)


@pytest.mark.parametrize("name", [name for name, _, _ in SERIES])
def test_whatever_is_sampled_is_judged_and_says_its_name(name):
    """One series leaks, all others are flat."""
    looks = [Look(time_s=60.0 * n, **{**FLAT, name: FLAT[name] + 5.0 * n}) for n in range(60)]
    drifting = [drift for drift in drifts(looks) if drift.is_drifting]
    assert [drift.name for drift in drifting] == [name]
    assert name in str(drifting[0])
    flat = [Look(60.0 * n, **FLAT) for n in range(60)]
    assert not any(drift.is_drifting for drift in drifts(flat))
