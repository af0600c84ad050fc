"""Certificates for tests, from authorities of their own, laid out as Kubernetes does: the files are
links into a folder behind a link that is swapped."""

from pathlib import Path

import trustme

HOST = "127.0.0.1"


def write_pair(folder: Path, leaf: trustme.LeafCert) -> None:
    """`tls.crt` and `tls.key`."""
    (folder / "tls.crt").write_bytes(leaf.cert_chain_pems[0].bytes())
    (folder / "tls.key").write_bytes(leaf.private_key_pem.bytes())


class Mounted:
    """A secret as a volume."""

    def __init__(self, folder: Path, leaf: trustme.LeafCert) -> None:
        self._folder = folder
        self._swaps = 0
        self.certificate, self.key = folder / "tls.crt", folder / "tls.key"
        self.certificate.symlink_to("..data/tls.crt")
        self.key.symlink_to("..data/tls.key")
        self.swap(leaf)

    def swap(self, leaf: trustme.LeafCert, key_of: trustme.LeafCert | None = None) -> None:
        """Both files are others from one moment to the next; `key_of`: whose key goes with it."""
        self._swaps += 1
        data = self._folder / f"..{self._swaps}"
        data.mkdir()
        write_pair(data, leaf)
        if key_of is not None:
            (data / "tls.key").write_bytes(key_of.private_key_pem.bytes())
        fresh = self._folder / "..fresh"
        fresh.symlink_to(data.name)
        fresh.replace(self._folder / "..data")
