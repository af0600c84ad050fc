"""Which certificate the gRPC port shows, and what is said of one that is unfit."""

import datetime

import pytest
import trustme

from certificates import HOST, Mounted
from rnnserve.errors import OperatorError
from rnnserve.ops.tls import Certificates, TlsFiles, tls_files
from rnnserve.settings import ServeSettings

EXPIRES = datetime.datetime(2099, 5, 6, 7, 8, 9, tzinfo=datetime.UTC)


@pytest.fixture(scope="module")
def authority():
    return trustme.CA(key_type=trustme.KeyType.ECDSA)


@pytest.fixture
def leaf(authority):
    return authority.issue_cert(HOST, not_after=EXPIRES)


@pytest.fixture
def mounted(tmp_path, leaf):
    return Mounted(tmp_path, leaf)


class Told(list):
    """When the certificates that were taken up expire."""

    __call__ = list.append


def certificates(mounted, told, client_ca=None) -> Certificates:
    return Certificates(TlsFiles(mounted.certificate, mounted.key, client_ca), told)


def refusal(mounted, client_ca=None) -> str:
    with pytest.raises(OperatorError) as refused:
        certificates(mounted, Told(), client_ca)
    return str(refused.value)


def test_when_a_certificate_expires_is_told_when_it_is_read(mounted, authority, caplog):
    told = Told()
    shown = certificates(mounted, told)
    assert told == [EXPIRES.timestamp()]
    later = EXPIRES + datetime.timedelta(days=1)
    mounted.swap(authority.issue_cert(HOST, not_after=later))
    shown.look()
    shown.look()
    assert told == [EXPIRES.timestamp(), later.timestamp()]
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


@pytest.mark.parametrize("option", ["tls_certificate", "tls_key"])
@pytest.mark.parametrize("trouble", ["missing", "garbage", "half"])
def test_an_unfit_file_is_named_with_its_option(mounted, option, trouble):
    path = mounted.certificate if option == "tls_certificate" else mounted.key
    content = path.read_bytes()
    path.unlink()
    if trouble != "missing":
        path.write_bytes(content[: len(content) // 2] if trouble == "half" else b"no PEM at all")
    said = refusal(mounted)
    assert said.startswith(f"--{option.replace('_', '-')} {path}: ")
    assert trouble != "missing" or said.endswith("No such file or directory")


def test_a_key_of_another_certificate_is_refused(mounted, authority, leaf):
    mounted.swap(leaf, key_of=authority.issue_cert(HOST))
    assert "doesn't belong to" in refusal(mounted)


def test_authorities_that_are_none_are_refused(mounted, tmp_path):
    (tmp_path / "ca.pem").write_text("nobody")
    assert refusal(mounted, tmp_path / "ca.pem").startswith("--tls-client-ca ")


def test_an_unfit_pair_leaves_the_one_from_before_and_is_told_once(
    mounted, authority, leaf, caplog
):
    told = Told()
    shown = certificates(mounted, told)
    new = authority.issue_cert(HOST)
    mounted.swap(new, key_of=leaf)
    for _ in range(3):
        shown.look()
    assert len(told) == 1
    (warning,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert str(mounted.key) in warning.getMessage()
    mounted.swap(new)
    shown.look()
    assert len(told) == 2


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({"tls_certificate"}, "--tls-certificate needs --tls-key"),
        ({"tls_key"}, "--tls-key needs --tls-certificate"),
        ({"tls_client_ca"}, "--tls-client-ca needs"),
    ],
)
def test_options_that_need_others_say_which(tmp_path, given, missing):
    with pytest.raises(OperatorError) as refused:
        tls_files(ServeSettings(**dict.fromkeys(given, tmp_path)))
    assert missing in str(refused.value)


def test_without_options_there_is_no_tls_and_beside_http_there_can_be_none(tmp_path):
    assert tls_files(ServeSettings()) is None
    both = ServeSettings(tls_certificate=tmp_path, tls_key=tmp_path, http_port=8000)
    with pytest.raises(OperatorError) as refused:
        tls_files(both)
    assert "--http-port" in str(refused.value)
