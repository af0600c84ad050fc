"""The gRPC port's certificate, its key, and the authorities of its clients' certificates.

The files are looked at before every handshake and now and then besides. New ones are taken up when
all of them can be read and belong together; until then the old ones serve, and the log says once
which file is in the way. What was connected before stays so. cryptography is imported here only.
"""

import asyncio
import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from rnnserve.errors import OperatorError
from rnnserve.settings import ServeSettings

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 10.0

Stamp = tuple[tuple[int, int, int] | None, ...]
"""Of each file: which one it is, when it was written, how large it is; None: it isn't there."""


class Unfit(Exception):
    """Files that can't serve; the message names the option and the file."""


@dataclass(frozen=True)
class TlsFiles:
    """Where they are."""

    certificate: Path
    key: Path
    client_ca: Path | None

    def stamp(self) -> Stamp:
        """Differs when a file was written or replaced, by a link's new target too."""
        return tuple(map(_stamp, self._paths()))

    def read(self) -> "Pair":
        """All of them, checked against each other. Raises Unfit."""
        chain_pem = _read("--tls-certificate", self.certificate)
        key_pem = _read("--tls-key", self.key)
        chain = _certificates("--tls-certificate", self.certificate, chain_pem)
        try:
            belongs = _private_key(self.key, key_pem).public_key() == chain[0].public_key()
        except UnsupportedAlgorithm as error:
            raise Unfit(f"--tls-key {self.key}: {error}") from None
        if not belongs:
            raise Unfit(
                f"--tls-key {self.key}: it doesn't belong to the first certificate of "
                f"{self.certificate}"
            )
        authorities = None
        if self.client_ca is not None:
            authorities = _read("--tls-client-ca", self.client_ca)
            _certificates("--tls-client-ca", self.client_ca, authorities)
        expires_s = chain[0].not_valid_after_utc.timestamp()
        return Pair(chain_pem, key_pem, authorities, expires_s)

    def _paths(self) -> tuple[Path, ...]:
        paths = (self.certificate, self.key)
        return paths if self.client_ca is None else (*paths, self.client_ca)


@dataclass(frozen=True)
class Pair:
    """Files that belong together, as they were read."""

    chain_pem: bytes
    key_pem: bytes
    authorities_pem: bytes | None
    expires_s: float
    """When the first certificate does, as seconds since 1970."""

    def configuration(self) -> grpc.ServerCertificateConfiguration:
        return grpc.ssl_server_certificate_configuration(
            [(self.key_pem, self.chain_pem)], self.authorities_pem
        )


class Certificates:
    """What new connections are shown. May be asked from any thread."""

    def __init__(self, files: TlsFiles, on_read: Callable[[float], None]) -> None:
        """`on_read` is told when the certificate expires, now and whenever there is a new one.

        Raises OperatorError where the files can't serve.
        """
        self._files = files
        self._on_read = on_read
        self._lock = threading.Lock()
        self._looked_at = files.stamp()
        try:
            self._pair = files.read()
        except Unfit as problem:
            raise OperatorError(str(problem)) from None
        self._shown = self._pair
        on_read(self._pair.expires_s)

    def credentials(self) -> grpc.ServerCredentials:
        """For the port; they follow the files."""
        return grpc.dynamic_ssl_server_credentials(
            self._pair.configuration(),
            self._before_handshake,  # type: ignore[arg-type]  # None is an answer too
            require_client_authentication=self._files.client_ca is not None,
        )

    def look(self) -> None:
        """Take up files that have changed; those that can't serve leave what does."""
        with self._lock:
            self._look()

    async def follow(self) -> None:
        """Look now and then, so that it is known when the certificate expires even where nobody
        connects; until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            await asyncio.to_thread(self.look)

    def _before_handshake(self) -> grpc.ServerCertificateConfiguration | None:
        """What is to be shown from now on; None: what was."""
        with self._lock:
            self._look()
            if self._shown is self._pair:
                return None
            self._shown = self._pair
            return self._pair.configuration()

    def _look(self) -> None:
        stamp = self._files.stamp()
        if stamp == self._looked_at:
            return
        self._looked_at = stamp
        try:
            pair = self._files.read()
        except Unfit as problem:
            logger.warning("%s; the certificate from before stays", problem)
            return
        if pair != self._pair:
            self._pair = pair
            self._on_read(pair.expires_s)
            logger.info("the certificate was read again")


def tls_files(settings: ServeSettings) -> TlsFiles | None:
    """What the options name; None: no TLS. Raises OperatorError where they don't fit together."""
    certificate, key = settings.tls_certificate, settings.tls_key
    if certificate is None and key is None:
        if settings.tls_client_ca is not None:
            raise OperatorError("--tls-client-ca needs --tls-certificate and --tls-key")
        return None
    if certificate is None:
        raise OperatorError("--tls-key needs --tls-certificate")
    if key is None:
        raise OperatorError("--tls-certificate needs --tls-key")
    if settings.http_port is not None:
        raise OperatorError(
            "--http-port speaks plaintext, and --tls-certificate asks for TLS: leave one of them "
            "out, or let a proxy end TLS in front of both ports"
        )
    return TlsFiles(certificate, key, settings.tls_client_ca)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _read(option: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Unfit(f"{option} {path}: {error.strerror}") from None


def _private_key(path: Path, pem: bytes) -> PrivateKeyTypes:
    try:
        return load_pem_private_key(pem, password=None)
    except TypeError:
        raise Unfit(f"--tls-key {path}: it has a passphrase; give one without") from None
    except ValueError:
        raise Unfit(f"--tls-key {path}: not a private key in PEM") from None


def _certificates(option: str, path: Path, pem: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise Unfit(f"{option} {path}: no certificate in PEM") from None
