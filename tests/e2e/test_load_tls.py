"""`rnnserve bench` against a server with TLS."""

import json
import subprocess
import sys

import pytest
import trustme

from certificates import HOST, Mounted
from server_process import ServerProcess
from small_models import publish, small_model

LOAD = ("--rate", "100", "--sessions", "8", "--streams", "4", "--connections", "2")
TIME = ("--duration-s", "1", "--warm-s", "0", "--chunk", "1,64")


@pytest.fixture(scope="module")
def mutual(tmp_path_factory, authority, clients):
    """A server that wants a certificate of its clients."""
    folder = tmp_path_factory.mktemp("mutual")
    publish(small_model("gru", 1), folder / "repository")
    clients.cert_pem.write_to_path(folder / "clients.pem")
    pair = Mounted(folder, authority.issue_cert(HOST))
    options = ("--tls-certificate", str(pair.certificate), "--tls-key", str(pair.key))
    options += ("--tls-client-ca", str(folder / "clients.pem"))
    with ServerProcess(folder / "repository", *options) as process:
        yield process
        assert process.stop() == 0
        assert "Traceback" not in "".join(process.log)


@pytest.fixture
def trusting(tmp_path, authority):
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return ("--tls-ca", str(tmp_path / "ca.pem"))


def showing(tmp_path, leaf: trustme.LeafCert) -> tuple[str, ...]:
    certificate, key = tmp_path / "me.pem", tmp_path / "me.key"
    leaf.cert_chain_pems[0].write_to_path(certificate)
    leaf.private_key_pem.write_to_path(key)
    return ("--tls-client-certificate", str(certificate), "--tls-client-key", str(key))


def bench(target: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rnnserve", "bench", "gru1", "--target", target]
    return subprocess.run(
        [*command, *LOAD, *TIME, *options], check=False, capture_output=True, text=True, timeout=60
    )


def test_a_load_over_mutual_tls_is_answered(mutual, trusting, clients, tmp_path):
    more = (*showing(tmp_path, clients.issue_cert("me")), "--json", str(tmp_path / "load.json"))
    done = bench(mutual.target, *trusting, *more, "--workers", "2", "--max-error-share", "0")
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "load.json").read_text())["summary"]
    assert summary["answered"] == summary["due"] > 50
    calls = mutual.metrics()
    assert sum(n for name, n in calls.items() if name.startswith("rnnserve_steps_total")) > 50


def test_who_is_not_trusted_makes_no_load(mutual, trusting, clients, tmp_path):
    stranger = trustme.CA(key_type=trustme.KeyType.ECDSA)
    stranger.cert_pem.write_to_path(tmp_path / "stranger.pem")
    mine = showing(tmp_path, clients.issue_cert("me"))
    for options in ((), trusting, ("--tls-ca", str(tmp_path / "stranger.pem"), *mine)):
        done = bench(mutual.target, *options)
        assert done.returncode == 1, options
        assert f"no answer from {mutual.target}" in done.stderr
        assert "--tls-ca" in done.stderr
        assert "Traceback" not in done.stderr


def test_tls_to_a_plaintext_server_is_a_sentence(server, trusting):
    done = bench(server.target, *trusting)
    assert done.returncode == 1
    assert f"no answer from {server.target}" in done.stderr
    assert "Traceback" not in done.stderr


def test_half_a_pair_is_a_sentence(trusting):
    done = bench("127.0.0.1:1", *trusting, "--tls-client-key", "me.key")
    assert done.returncode == 1
    assert "need each other" in done.stderr
