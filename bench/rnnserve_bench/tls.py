"""TLS of a load: the files that say whom to trust and whom to be.

Paths and not a context, as a load is made in processes of their own and a context can't travel.
"""

import ssl
from dataclasses import dataclass
from pathlib import Path

from rnnserve_bench.errors import BenchProblem

HTTP2 = "h2"


@dataclass(frozen=True)
class Tls:
    """PEM files."""

    ca: Path
    """Authorities that the server's certificate must come from."""
    certificate: Path | None = None
    """To show to the server: mutual TLS. With `key`."""
    key: Path | None = None

    def context(self) -> ssl.SSLContext:
        """For connections that speak HTTP/2. Raises BenchProblem where the files don't do."""
        try:
            context = ssl.create_default_context(cafile=self.ca)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise BenchProblem(f"--tls-ca {self.ca}: {_said(error)}") from None
        if self.certificate is not None:
            try:
                # An empty password: a key that needs one is refused, and asks nobody for it.
                context.load_cert_chain(self.certificate, self.key, password="")
            except (OSError, ValueError) as error:
                raise BenchProblem(
                    f"--tls-client-certificate {self.certificate}, --tls-client-key {self.key}: "
                    f"{_said(error)}"
                ) from None
        context.set_alpn_protocols([HTTP2])
        return context


def _said(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return f"no PEM of that kind in it ({error.reason or error})"
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
