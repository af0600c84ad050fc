"""TLS on the gRPC port of a server process; its health and metrics stay plaintext."""

import re
import ssl
import subprocess
import sys
import time

import grpc
import pytest
import trustme
from grpc_health.v1 import health_pb2, health_pb2_grpc

from certificates import HOST, Mounted
from rnnserve.client import AsyncClient, Client, Fleet, ServerError
from server_process import ServerProcess
from small_models import publish, small_model

HEALTH = re.compile(r"health alone: grpc (\S+)")
EXPIRY = "rnnserve_certificate_expiry_timestamp_seconds"


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    publish(small_model("gru", 1), folder)
    return folder


@pytest.fixture(scope="module")
def mounted(tmp_path_factory, authority):
    return Mounted(tmp_path_factory.mktemp("mounted"), authority.issue_cert(HOST))


@pytest.fixture(scope="module")
def server(repository, mounted, authority):
    options = ("--tls-certificate", str(mounted.certificate), "--tls-key", str(mounted.key))
    with ServerProcess(repository, *options, "--health-port", "0") as process:
        yield process
        assert process.stop() == 0
        assert "Traceback" not in "".join(process.log)


@pytest.fixture(scope="module")
def client_ca(tmp_path_factory, clients):
    path = tmp_path_factory.mktemp("clients") / "ca.pem"
    clients.cert_pem.write_to_path(path)
    return path


@pytest.fixture(scope="module")
def mutual(repository, tmp_path_factory, authority, client_ca):
    pair = Mounted(tmp_path_factory.mktemp("mutual"), authority.issue_cert(HOST))
    options = ("--tls-certificate", str(pair.certificate), "--tls-key", str(pair.key))
    with ServerProcess(repository, *options, "--tls-client-ca", str(client_ca)) as process:
        yield process
        assert process.stop() == 0


def trusting(authority, leaf=None) -> grpc.ChannelCredentials:
    pair = (leaf.private_key_pem.bytes(), leaf.cert_chain_pems[0].bytes()) if leaf else ()
    return grpc.ssl_channel_credentials(authority.cert_pem.bytes(), *pair)


def names(target: str, credentials: grpc.ChannelCredentials | None) -> list[str]:
    with Client(target, credentials=credentials) as client:
        return [model.name for model in client.models().ready]


def shown(server) -> int:
    """The serial number of the certificate that a new connection sees."""
    from cryptography import x509

    host, port = server.target.rsplit(":", 1)
    pem = ssl.get_server_certificate((host, int(port)))
    return x509.load_pem_x509_certificate(pem.encode()).serial_number


def test_who_trusts_the_authority_is_served_and_nobody_else(server, authority):
    assert names(server.target, trusting(authority)) == ["gru1"]
    for credentials in (None, trusting(trustme.CA())):
        with pytest.raises(ServerError) as refused:
            names(server.target, credentials)
        assert refused.value.code is grpc.StatusCode.UNAVAILABLE


def test_health_and_metrics_stay_plaintext(server):
    target = next(found[1] for found in map(HEALTH.search, server.log) if found)
    with grpc.insecure_channel(target) as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    assert server.metrics()[EXPIRY] > time.time()


async def test_a_stream_lives_on_when_the_certificate_changes(server, mounted, authority):
    before, expiry = shown(server), server.metrics()[EXPIRY]
    async with (
        AsyncClient(server.target, credentials=trusting(authority)) as client,
        client.open("gru1") as session,
    ):
        await session.step([1])
        mounted.swap(authority.issue_cert(HOST, "another.test"), key_of=authority.issue_cert(HOST))
        assert shown(server) == before
        mounted.swap(authority.issue_cert(HOST))
        assert shown(server) != before
        await session.step([2])
        assert await client.models()
    assert server.metrics()[EXPIRY] >= expiry
    assert sum("the certificate from before stays" in line for line in server.log) == 1
    assert names(server.target, trusting(authority)) == ["gru1"]


def test_a_client_has_to_show_a_certificate_of_the_right_authority(mutual, authority, clients):
    right = clients.issue_cert("a-client")
    assert names(mutual.target, trusting(authority, right)) == ["gru1"]
    for wrong in (None, authority.issue_cert("a-client"), trustme.CA().issue_cert("a-client")):
        with pytest.raises(ServerError):
            names(mutual.target, trusting(authority, wrong))


def test_whom_the_clients_come_from_may_change(mutual, authority, clients, client_ca):
    others = trustme.CA(key_type=trustme.KeyType.ECDSA)
    try:
        others.cert_pem.write_to_path(client_ca)
        assert names(mutual.target, trusting(authority, others.issue_cert("new"))) == ["gru1"]
        with pytest.raises(ServerError):
            names(mutual.target, trusting(authority, clients.issue_cert("old")))
    finally:
        clients.cert_pem.write_to_path(client_ca)


def test_commands_reach_a_server_with_tls(mutual, authority, clients, tmp_path):
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    leaf = clients.issue_cert("a-client")
    leaf.cert_chain_pems[0].write_to_path(tmp_path / "me.pem")
    leaf.private_key_pem.write_to_path(tmp_path / "me.key")
    options = ("--tls-ca", tmp_path / "ca.pem", "--tls-client-certificate", tmp_path / "me.pem")
    command = (sys.executable, "-m", "rnnserve", "health", "--target", mutual.target)
    ran = subprocess.run(
        [*command, *options, "--tls-client-key", tmp_path / "me.key"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert (ran.stdout, ran.stderr, ran.returncode) == ("SERVING\n", "", 0)


def test_an_unfit_certificate_ends_the_start_in_a_sentence(repository, tmp_path):
    (tmp_path / "tls.crt").write_text("half of it")
    command = (sys.executable, "-m", "rnnserve", "serve", "--repository", repository)
    options = ("--tls-certificate", tmp_path / "tls.crt", "--tls-key", tmp_path / "tls.crt")
    ended = subprocess.run([*command, *options], check=False, capture_output=True, text=True)
    assert ended.returncode == 1
    assert f"--tls-certificate {tmp_path / 'tls.crt'}: " in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_fleet_asks_for_the_names_certificate_whatever_the_address(
    repository, tmp_path, authority
):
    pair = Mounted(tmp_path, authority.issue_cert("rnnserve.test"))
    options = ("--tls-certificate", str(pair.certificate), "--tls-key", str(pair.key))
    with ServerProcess(repository, *options) as process:
        port = process.target.rsplit(":", 1)[1]

        def opened(name: str) -> int:
            with (
                Fleet(
                    f"{name}:{port}",
                    credentials=trusting(authority),
                    resolve=lambda name, port: {"127.0.0.1"},
                ) as fleet,
                fleet.open("gru1") as session,
            ):
                return session.step([1]).shape[0]

        assert opened("rnnserve.test") == 1
        with pytest.raises(ServerError) as error:
            opened("another.test")
        assert error.value.code is grpc.StatusCode.UNAVAILABLE
        assert process.stop() == 0
