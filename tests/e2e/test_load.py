"""`rnnserve bench` against a real server, from its command line."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from server_process import ServerProcess
from small_models import publish, small_model

MODEL = "lstm1"


def command(target: str, *options: str) -> list[str]:
    return [sys.executable, "-m", "rnnserve", "bench", MODEL, "--target", target, *options]


def bench(target: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(target, *options), check=False, capture_output=True, text=True, timeout=60
    )


def figures(path) -> dict:
    return json.loads(path.read_text())


def test_an_open_loop_sends_at_its_rate_and_writes_everything_down(server, tmp_path):
    more = ["--rate", "100..300", "--ramp-s", "1", "--duration-s", "2", "--warm-s", "0.5"]
    more += ["--sessions", "32", "--streams", "8", "--chunk", "1,1,1,64", "--workers", "2"]
    more += ["--json", str(tmp_path / "load.json"), "--png", str(tmp_path / "load.png")]
    done = bench(server.target, *more, "--max-error-share", "0")
    assert done.returncode == 0, done.stderr
    found = figures(tmp_path / "load.json")
    summary, series = found["summary"], found["series"]
    # 225 to 300 a second until 1 s, then 300, by a Poisson process.
    assert summary["due"] == summary["answered"] == pytest.approx(425, abs=100)
    assert summary["answered_steps_s"] > 5 * summary["answered_chunks_s"]
    assert sum(series["due"]) * series["slice_s"] > summary["due"]
    assert (tmp_path / "load.png").read_bytes().startswith(b"\x89PNG")
    assert "p99" in done.stdout


def test_a_stall_counts_for_all_that_were_due_in_it_and_not_for_one(server, tmp_path):
    """The server's process stands still for half a second."""
    more = ["--rate", "200", "--arrivals", "regular", "--duration-s", "3", "--warm-s", "0"]
    more += ["--sessions", "8", "--json", str(tmp_path / "load.json")]
    running = subprocess.Popen(command(server.target, *more), stdout=subprocess.DEVNULL)
    try:
        opened(server, MODEL, 8)
        time.sleep(1.0)
        server.signal(signal.SIGSTOP)
        time.sleep(0.5)
    finally:
        server.signal(signal.SIGCONT)
        assert running.wait(60) == 0
    summary = figures(tmp_path / "load.json")["summary"]
    assert summary["due"] == summary["answered"] == 600
    # A hundred of the 600 were due while it stood: whoever counts from sending sees eight.
    assert summary["latency_ms"]["p90"] > 100
    assert summary["waited_share"] > 0.1
    assert summary["served_ms"]["p90"] < summary["latency_ms"]["p90"]


def opened(server: ServerProcess, model: str, count: int) -> None:
    """Wait until so many sessions are open."""
    name = f'rnnserve_sessions{{model="{model}"}}'
    until_s = time.monotonic() + 300
    while server.metrics().get(name, 0) < count:
        assert time.monotonic() < until_s
        time.sleep(0.05)


def test_a_closed_loop_of_frames_leaves_no_session_behind(server, stub, tmp_path):
    more = ["--sessions", "48", "--frame", "16", "--think-ms", "1", "--duration-s", "1"]
    done = bench(server.target, *more, "--warm-s", "0.2", "--json", str(tmp_path / "load.json"))
    assert done.returncode == 0, done.stderr
    summary = figures(tmp_path / "load.json")["summary"]
    assert summary["answered"] == summary["due"] > 100
    # `stub` finds the server's tables empty.


def test_refusals_are_counted_by_their_reason_and_judged(server, tmp_path):
    """No step can be answered within a microsecond."""
    more = ["--rate", "200", "--duration-s", "1", "--warm-s", "0.2", "--timeout-ms", "0.001"]
    more += ["--max-error-share", "0.5", "--max-p99-ms", "1000"]
    done = bench(server.target, *more, "--json", str(tmp_path / "load.json"))
    assert done.returncode == 1
    summary = figures(tmp_path / "load.json")["summary"]
    assert summary["reasons"] == {"too_late": summary["due"]}
    assert "too_late" in done.stdout
    assert "weren't answered" in done.stderr


def test_ctrl_c_ends_early_and_reports(server):
    running = subprocess.Popen(
        command(server.target, "--rate", "100", "--duration-s", "60", "--warm-s", "0"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    opened(server, MODEL, 64)
    time.sleep(1.0)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=600)
    assert running.returncode == 130, err
    assert "answered" in out
    assert "ended early" in err
    assert "Traceback" not in err


def test_a_load_whose_server_died_goes_on_to_its_end_and_is_not_passed(tmp_path):
    """Without a limit too: what became of the rest is said."""
    publish(small_model("lstm", 1), tmp_path / "repository")
    more = ["--rate", "100", "--duration-s", "1.5", "--warm-s", "0", "--sessions", "8"]
    more += ["--settle-s", "0.5", "--json", str(tmp_path / "load.json")]
    with ServerProcess(tmp_path / "repository") as mortal:
        running = subprocess.Popen(
            command(mortal.target, *more),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        opened(mortal, MODEL, 8)
        time.sleep(0.8)
        mortal.process.kill()
        out, err = running.communicate(timeout=600)
    assert running.returncode == 1
    assert "8 streams ended before the time was over" in err
    assert "got back" in out
    summary = figures(tmp_path / "load.json")["summary"]
    assert 0 < summary["answered"] < summary["due"]
    assert set(summary["reasons"]) <= {"stream_ended", "not_sent", "no_answer"}


def test_a_closed_loop_does_not_pass_as_its_few_lost_chunks_are_a_small_share(tmp_path):
    publish(small_model("lstm", 1), tmp_path / "repository")
    more = ["--duration-s", "4", "--warm-s", "0", "--sessions", "4"]
    more += ["--max-error-share", "0.1", "--json", str(tmp_path / "load.json")]
    with ServerProcess(tmp_path / "repository") as mortal:
        running = subprocess.Popen(
            command(mortal.target, *more),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        opened(mortal, MODEL, 4)
        time.sleep(1.0)
        mortal.process.kill()
        _, err = running.communicate(timeout=600)
    summary = figures(tmp_path / "load.json")["summary"]
    assert summary["error_share"] < 0.1
    assert running.returncode == 1
    assert "4 streams ended before the time was over" in err
    assert 1 < summary["silent_s"] < 4


def test_a_rate_beyond_the_generator_is_within_no_limit(server, stub):
    more = ["--rate", "1e9", "--sessions", "4", "--duration-s", "1.2", "--settle-s", "0"]
    done = bench(server.target, *more, "--max-error-share", "0")
    assert done.returncode == 1
    assert "nothing was due" in done.stderr
    assert "Nothing was due after the warm-up" in done.stdout


def test_sessions_that_send_more_rarely_than_the_server_waits_are_explained(tmp_path):
    publish(small_model("lstm", 1), tmp_path / "repository")
    more = ["--rate", "4", "--sessions", "8", "--arrivals", "regular", "--duration-s", "4"]
    with ServerProcess(tmp_path / "repository", "--idle-timeout-s", "0.5") as hasty:
        done = bench(hasty.target, *more, "--warm-s", "0")
    assert "session_expired" in done.stdout
    assert "--idle-timeout-s" in done.stdout


def test_files_that_cannot_be_written_are_found_out_before_the_load(tmp_path):
    for option in ("--json", "--png"):
        done = bench("127.0.0.1:1", option, str(tmp_path / "nosuch" / "file"))
        assert done.returncode == 1
        assert f"{option} {tmp_path / 'nosuch' / 'file'}: there is no folder" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_server_that_is_not_there_is_a_sentence():
    done = bench("127.0.0.1:1")
    assert done.returncode == 1
    assert "no answer from 127.0.0.1:1: is `rnnserve serve` running" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--chunk", "513"], "the server takes 512 steps in a message"),
        (["--frame", "7"], "a multiple of --frame"),
        (["--rate", "5", "--think-ms", "3"], "of a closed loop"),
    ],
)
def test_what_cannot_be_run_is_a_sentence(server, stub, options, sentence):
    done = bench(server.target, *options)
    assert done.returncode == 1
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="the soak needs two cores")
def test_a_short_soak_finds_nothing_that_grows(tmp_path):
    soak = [sys.executable, "-m", "rnnserve_bench", "soak", "--minutes", "0.1"]
    done = subprocess.run(
        [*soak, "--output", str(tmp_path)], check=False, capture_output=True, text=True, timeout=110
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "soak.json").read_text())
    assert not found["failures"]
    assert all(found["performances"].values())
    assert len(found["performances"]) == 9
    assert "| memory_mb |" in (tmp_path / "soak.md").read_text()
    assert (tmp_path / "soak.png").read_bytes().startswith(b"\x89PNG")
