"""A server whose log nobody reads, or that has nowhere to write it, serves and stops alike."""

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import pytest

from raw_session import close, exchange, open_session
from rnnserve.client import Client
from rnnserve.v1 import rnnserve_pb2_grpc
from server_process import READY, free_port
from small_models import publish, small_model

SERVE = (sys.executable, "-m", "rnnserve", "serve", "--metrics-port", "0", "--repository")
PIPE_BYTES = 4096


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unread")
    publish(small_model("gru", 1), folder)
    return folder


@contextmanager
def running(*command: str, **how) -> Iterator[subprocess.Popen]:
    with subprocess.Popen(command, **how) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_log_that_nobody_reads_holds_up_neither_steps_nor_the_stop(repository):
    with running(
        *SERVE, str(repository), "--port", "0", stderr=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        assert process.stderr is not None
        fcntl.fcntl(process.stderr, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        target = next(found for line in process.stderr if (found := READY.search(line)))[1]
        # From here on nobody reads. Each session is a line of some 150 bytes.
        with grpc.insecure_channel(target) as channel:
            stub = rnnserve_pb2_grpc.RnnServeStub(channel)
            for _ in range(2 * PIPE_BYTES // 100):
                exchange(stub, close(open_session(stub, "gru1")))
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_a_server_without_standard_error_stops_in_order(repository):
    port = free_port()
    command = (*SERVE, str(repository), "--port", str(port))
    with running("sh", "-c", 'exec "$@" 2>&-', "sh", *command) as process:
        with Client(f"127.0.0.1:{port}") as client:
            client.wait_ready(20)
            with client.open("gru1") as session:
                session.step([1])
        error = os.readlink(f"/proc/{process.pid}/fd/2")
        assert error == os.devnull
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_sighup_while_it_starts_ends_nothing(repository):
    with running(
        *SERVE, str(repository), "--port", "0", stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline()
        for line in process.stderr:
            process.send_signal(signal.SIGHUP)
            if READY.search(line):
                break
        process.send_signal(signal.SIGTERM)
        process.stderr.read()
        assert process.wait(20) == 0
