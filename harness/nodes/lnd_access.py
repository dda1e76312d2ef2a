"""Credentials of an LND for programs on this machine: its certificate and macaroon as files, and lndconnect strings."""

import base64
import ssl
from pathlib import Path

from harness.nodes.base import HostAccess


def from_this_machine(folder: Path, certificate: bytes, macaroon: bytes, grpc: str, rest: str | None) -> HostAccess:
    """Write certificate (PEM) and macaroon (raw) into the folder, and return how to use them. grpc, rest: host:port.

    LND's certificate is also valid for 127.0.0.1. Raises ValueError if this is not a certificate.
    """
    certificate_file, macaroon_file = folder / "tls.cert", folder / "admin.macaroon"
    certificate_file.write_bytes(certificate)
    macaroon_file.touch(mode=0o600)
    macaroon_file.write_bytes(macaroon)
    variables = {
        "LND_GRPC": grpc,
        "LND_TLS_CERTIFICATE": str(certificate_file),
        "LND_MACAROON": str(macaroon_file),
        "LNDCONNECT": lndconnect(grpc, certificate, macaroon),
    }
    if rest is not None:
        variables |= {"LND_REST": f"https://{rest}", "LNDCONNECT_REST": lndconnect(rest, certificate, macaroon)}
    files = (f"--tlscertpath={certificate_file}", f"--macaroonpath={macaroon_file}")
    return HostAccess("lncli", ("--network=regtest", f"--rpcserver={grpc}", *files), variables)


def lndconnect(address: str, certificate: bytes, macaroon: bytes) -> str:
    """See lnd_connect_uri.md of github.com/LN-Zap/lndconnect: base64url without padding, the certificate as DER."""

    def encoded(content: bytes) -> str:
        return base64.urlsafe_b64encode(content).rstrip(b"=").decode()

    der = ssl.PEM_cert_to_DER_cert(certificate.decode())
    return f"lndconnect://{address}?cert={encoded(der)}&macaroon={encoded(macaroon)}"
