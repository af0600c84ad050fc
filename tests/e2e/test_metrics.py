"""What /metrics says of real calls is what was done, and Prometheus can have nothing against it."""

import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from peers.place import PROMETHEUS, PROMTOOL_PROGRAM
from peers.prometheus import settled
from rnnserve.client import Client
from rnnserve.client.errors import ServerError
from server_process import ServerProcess
from small_models import publish, small_model

STEPS, TOKENS, WITHIN_S = 12, 7, 5.0
OF_MODEL = '{model="gru1"}'


@dataclass(frozen=True)
class Page:
    """/metrics, when all that was done is over."""

    text: str
    samples: dict[str, float]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """Single steps, a chunk, an error and a generation."""
    repository = tmp_path_factory.mktemp("metrics")
    publish(small_model("gru", 1), repository)
    with ServerProcess(repository, "--max-sessions", "9") as server:
        with Client(server.target) as client:
            with client.open("gru1") as session:
                for token in range(STEPS):
                    session.step([token])
                session.step([1, 2, 3])
            with pytest.raises(ServerError), client.open("nothing"):
                pass
            for _ in client.generate("gru1", [1, 2], max_tokens=TOKENS, seed=1):
                pass
        # An answer is here before the server has come to count that it was sent, and gauges are
        # looked at every now and then.
        samples = settled(server.metrics, is_over, WITHIN_S)
        with urllib.request.urlopen(server.metrics_url) as answer:
            yield Page(answer.read().decode(), samples)


def is_over(samples: dict[str, float]) -> bool:
    """Whether the stream has ended, and the replies on it are counted."""
    is_quiet = samples["rnnserve_streams"] == 0 == samples["rnnserve_carry_bytes" + OF_MODEL]
    return is_quiet and samples["rnnserve_reply_seconds_count" + OF_MODEL] >= STEPS + 1


def test_promtool_finds_nothing_to_complain_about(page):
    PROMETHEUS.require()
    checked = subprocess.run(
        [str(PROMTOOL_PROGRAM), "check", "metrics"],
        input=page.text,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("rnnserve_reply_seconds_count", STEPS + 1),
        ("rnnserve_first_token_seconds_count", 1),
        ("rnnserve_token_interval_seconds_count", TOKENS - 1),
        ("rnnserve_tokens_total", TOKENS),
        ("rnnserve_sessions_opened_total", 2),
        ("rnnserve_sessions", 0),
    ],
)
def test_what_was_done_is_what_is_counted(page, name, count):
    assert page.samples[name + OF_MODEL] == count


def test_waiting_is_a_part_of_what_a_step_takes_and_a_reply_takes_some_time(page):

    def sum_s(what: str) -> float:
        return page.samples[f"rnnserve_{what}_seconds_sum{OF_MODEL}"]

    assert 0 < sum_s("queue") < sum_s("step")
    assert sum_s("reply") > 0
    assert sum_s("first_token") > 0


def test_every_cause_and_every_fault_of_ours_has_a_series_before_it_happens(page):
    causes = {
        cause: page.samples[f'rnnserve_sessions_ended_total{{cause="{cause}",model="gru1"}}']
        for cause in ("closed", "idle", "life", "drained", "failed")
    }
    assert causes == {"closed": 2, "idle": 0, "life": 0, "drained": 0, "failed": 0}
    errors = {
        name: value for name, value in page.samples.items() if "rnnserve_errors_total{" in name
    }
    assert errors.pop('rnnserve_errors_total{fault="caller",reason="unknown_model"}') == 1
    assert set(errors.values()) == {0}
    assert {name.split('"')[1] for name in errors} == {"load", "server"}


def test_limits_and_versions_are_told(page):
    assert page.samples["rnnserve_sessions_limit"] == 9
    assert page.samples["rnnserve_draining"] == 0
    states = {
        state: page.samples[f'rnnserve_model_versions{{model="gru1",state="{state}"}}']
        for state in ("ready", "stale", "retiring", "unavailable")
    }
    assert states == {"ready": 1, "stale": 0, "retiring": 0, "unavailable": 0}
