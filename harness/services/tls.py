"""A certificate authority for one testbed: the LSPs' components trust it, and it vouches for the push gateway."""

from dataclasses import dataclass

import trustme

ON_THIS_MACHINE = "127.0.0.1"


@dataclass(frozen=True)
class Authority:
    """ca: its certificate; server: certificate and key of the one server that it vouches for. Both PEM."""

    ca: str
    server: str

    @classmethod
    def for_server(cls, host: str) -> "Authority":
        """A new authority and a server that has this name, and answers on this machine's 127.0.0.1.

        The authority's own key is not kept, so there is never a second certificate.
        """
        authority = trustme.CA(organization_name="a testbed", path_length=0)
        certificate = authority.issue_cert(host, ON_THIS_MACHINE, common_name=host)
        return cls(authority.cert_pem.bytes().decode(), certificate.private_key_and_cert_chain_pem.bytes().decode())
