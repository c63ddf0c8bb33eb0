"""A private CA and server certificates for the tests, created with openssl."""

import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]


class Certificate(NamedTuple):
    """The PEM files of a certificate and of its private key."""

    certificate: Path
    key: Path


def make_ca(folder: Path, name: str) -> Certificate:
    """Create a CA, valid for two days."""
    ca = Certificate(folder / f"{name}.pem", folder / f"{name}.key")
    usage = ["-addext", "keyUsage=critical,keyCertSign,cRLSign"]
    _openssl("req", "-x509", *_KEY, "-subj", f"/CN={name}", *usage, "-keyout", ca.key, "-out", ca.certificate)
    return ca


def make_server_certificate(folder: Path, ca: Certificate, address: str) -> Certificate:
    """Create a certificate for an IP address, signed by the CA."""
    server = Certificate(folder / "server.pem", folder / "server.key")
    extensions = ["-addext", f"subjectAltName=IP:{address}", "-addext", "basicConstraints=critical,CA:FALSE"]
    signer = ["-CA", ca.certificate, "-CAkey", ca.key]
    files = ["-keyout", server.key, "-out", server.certificate]
    _openssl("req", "-x509", *_KEY, "-subj", "/CN=server", *extensions, *signer, *files)
    return server


def _openssl(*arguments: str | Path) -> None:
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("The openssl program is not installed.")
    subprocess.run([program, *arguments], check=True, capture_output=True, timeout=30)
