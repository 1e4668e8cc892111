"""The lab's own certificate authority and the certificate of its vCenter, made by the openssl program."""

from pathlib import Path

from hikkoshi import tool

CA, CERTIFICATE, KEY = "ca.pem", "server.pem", "server.key"
DAYS = "800"
CURVE = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc", "-x509", "-days", DAYS]
SETTINGS = """\
[req]
distinguished_name = dn
prompt = no
[dn]
O = Hikkoshi lab
CN = {name}
[ca]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth, clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = IP:127.0.0.1, DNS:localhost
"""


def make(folder: Path) -> None:
    """Write ca.pem, server.pem and server.key (mode 0600) for 127.0.0.1 and localhost.

    The authority's key is thrown away as soon as it has signed: nobody can make a second certificate that the lab trusts.
    """
    folder.mkdir(parents=True, exist_ok=True)
    settings, ca_key = folder / "openssl.conf", folder / "ca.key"
    try:
        settings.write_text(SETTINGS.format(name="certificate authority"))
        own: list[str | Path] = ["-config", settings, "-extensions", "ca", "-keyout", ca_key, "-out", folder / CA]
        tool.run(["openssl", "req", *CURVE, *own], timeout=60)
        settings.write_text(SETTINGS.format(name="vCenter"))
        signed: list[str | Path] = ["-CA", folder / CA, "-CAkey", ca_key, "-config", settings, "-extensions", "server"]
        tool.run(["openssl", "req", *CURVE, *signed, "-keyout", folder / KEY, "-out", folder / CERTIFICATE], timeout=60)
        (folder / KEY).chmod(0o600)
    finally:
        settings.unlink(missing_ok=True)
        ca_key.unlink(missing_ok=True)
