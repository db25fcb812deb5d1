"""Certificates for tests of TLS, that also the strict checks of Python 3.13 take for good ones."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path
from typing import Tuple

import pytest

_AUTHORITIES = ("ca", "other")

_NAMES = "DNS:localhost,IP:127.0.0.1"

_SIGNED = (
    ("server", "ca", _NAMES),
    ("named", "ca", "DNS:localhost"),
    ("client", "ca", _NAMES),
    ("stranger", "other", _NAMES),
)
"""Each with who signs it, and what it may be called."""


def make_certificates(folder: Path) -> Path:
    """Fill it: two authorities, a server, one known by its name alone, a client, a stranger.

    Each is a ``NAME.pem`` with its ``NAME.key``. Skips the test where no openssl is.
    """
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl to make certificates with")

    def make(*arguments: str) -> None:
        subprocess.run([openssl, *arguments], cwd=str(folder), check=True, capture_output=True)

    def key(name: str, what: str) -> Tuple[str, ...]:
        curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
        return (*curve, "-keyout", f"{name}.key", "-out", f"{name}.{what}", "-subj", f"/CN={name}")

    for name in _AUTHORITIES:
        usage = ("-addext", "keyUsage=critical,keyCertSign,cRLSign")
        make("req", "-x509", *key(name, "pem"), "-days", "2", *usage)
    for name, signer, names in _SIGNED:
        extensions = f"subjectAltName={names}\nauthorityKeyIdentifier=keyid\n"
        (folder / f"{name}.ext").write_text(extensions, encoding="ascii")
        make("req", *key(name, "csr"))
        signed = ("-CA", f"{signer}.pem", "-CAkey", f"{signer}.key", "-CAcreateserial")
        own = ("-in", f"{name}.csr", "-out", f"{name}.pem", "-extfile", f"{name}.ext")
        make("x509", "-req", *own, *signed, "-days", "2")
    return folder


def server_tls(certificates: Path, name: str = "server") -> str:
    """For a server's configuration: who it is, and that it wants to be shown a certificate."""
    return f"""tls {{ cert_file: "{certificates}/{name}.pem", key_file: "{certificates}/{name}.key",
                   ca_file: "{certificates}/ca.pem", verify: true, timeout: 5 }}"""


def tls(certificates: Path, authority: str, client: str = "") -> ssl.SSLContext:
    """Whom a part believes, and what it shows, if anything."""
    context = ssl.create_default_context(cafile=str(certificates / f"{authority}.pem"))
    if client:
        pem, key = (str(certificates / f"{client}.{each}") for each in ("pem", "key"))
        context.load_cert_chain(pem, key)
    return context
