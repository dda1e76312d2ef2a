"""A certificate authority for one testbed: the LSPs' components trust it, and it vouches for the push gateway."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

VALID_DAYS = 365
_PEM = serialization.Encoding.PEM
_MAY_SIGN_CERTIFICATES = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
_ON_THIS_MACHINE = IPv4Address("127.0.0.1")


@dataclass(frozen=True)
class Authority:
    """ca: its certificate; server: certificate and key of the one server that it vouches for. Both PEM."""

    ca: str
    server: str

    @classmethod
    def for_server(cls, host: str) -> "Authority":
        """A new authority and a server that has this name, and answers on this machine's 127.0.0.1.

        The authority's own key is forgotten at once, so nobody can make a second certificate.
        """
        ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        ca_name = _name("authority of a testbed")
        ca_id = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
        ca = (
            _certificate(ca_name, ca_key.public_key(), ca_name)
            .add_extension(x509.BasicConstraints(True, 0), critical=True)
            .add_extension(_MAY_SIGN_CERTIFICATES, critical=True)
            .add_extension(ca_id, critical=False)
        )
        names = x509.SubjectAlternativeName([x509.DNSName(host), x509.IPAddress(_ON_THIS_MACHINE)])
        server = (
            _certificate(_name(host), key.public_key(), ca_name)
            .add_extension(names, critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ca_id), critical=False)
        )
        key_pem = key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        ca_pem, server_pem = (each.sign(ca_key, hashes.SHA256()).public_bytes(_PEM).decode() for each in (ca, server))
        return cls(ca_pem, server_pem + key_pem.decode())


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _certificate(name: x509.Name, key: ec.EllipticCurvePublicKey, issuer: x509.Name) -> x509.CertificateBuilder:
    now, day = datetime.now(UTC), timedelta(days=1)
    builder = x509.CertificateBuilder().subject_name(name).public_key(key).issuer_name(issuer)
    valid = builder.not_valid_before(now - day).not_valid_after(now + VALID_DAYS * day)
    return valid.serial_number(x509.random_serial_number())
