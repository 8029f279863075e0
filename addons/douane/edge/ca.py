"""The certificate authority that agents trust: made at the first start, its key for no one but the node."""

from __future__ import annotations

import datetime
import logging
import os
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from douane.edge.home import Home, HomeError

logger = logging.getLogger(__name__)

VALID_DAYS = 3650
_WARN_DAYS = 30
_SIGNS_ONLY = x509.KeyUsage(
    key_cert_sign=True,
    crl_sign=True,
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    encipher_only=False,
    decipher_only=False,
)


def ensure_ca(home: Home) -> Path:
    """Make the CA if there is none, check it otherwise; returns the certificate's path; raises `HomeError`."""
    pem = home.ca_dir / "mitmproxy-ca.pem"
    if not pem.exists():
        _write_private(pem, _new_ca())
    try:
        content = pem.read_bytes()
        certificate = x509.load_pem_x509_certificate(content[content.index(b"-----BEGIN CERTIFICATE-----") :])
        key = serialization.load_pem_private_key(content, None)
    except (ValueError, TypeError, OSError) as error:
        raise HomeError(f"the CA in {pem} cannot be read: {error}. Move the file away to make a new one.") from error
    if key.public_key() != certificate.public_key():
        raise HomeError(
            f"the CA's key and certificate in {pem} do not belong together. Move it away to make a new one."
        )
    left = certificate.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
    if left <= datetime.timedelta():
        raise HomeError(f"the CA in {pem} has ended. Move it away to make a new one, and let agents trust that.")
    if left <= datetime.timedelta(days=_WARN_DAYS):
        logger.warning("the CA in %s ends in %d days; certs/README.md says how to rotate it", pem, left.days)
    _publish(home, certificate.public_bytes(serialization.Encoding.PEM))
    return home.ca_cert


def _publish(home: Home, certificate: bytes) -> None:
    try:
        (home.ca_dir / "mitmproxy-ca-cert.pem").write_bytes(certificate)
        if not home.ca_cert.exists() or home.ca_cert.read_bytes() != certificate:
            home.ca_cert.write_bytes(certificate)
        home.ca_cert.chmod(0o644)
    except OSError as error:
        raise HomeError(f"cannot write {home.ca_cert}: {error.strerror}") from error


def _new_ca() -> bytes:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, "Douane CA"), x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Douane")]
    )
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=2))
        .not_valid_after(now + datetime.timedelta(days=VALID_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            _SIGNS_ONLY,
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    return private + certificate.public_bytes(serialization.Encoding.PEM)


def _write_private(path: Path, content: bytes) -> None:
    """Write a file that nobody else could read even for a moment, whole or not at all."""
    temporary = path.with_suffix(".new")
    temporary.unlink(missing_ok=True)
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
