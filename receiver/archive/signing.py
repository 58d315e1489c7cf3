"""Ed25519: keys in PEM files, signatures in hexadecimal. `cryptography` is an extra: it is imported when it is needed.

Must not know what is signed.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from receiver.errors import ArchiveError, SetupError, describe

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey


class Signer:
    """Has a private key."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public_key = _hex(key.public_key())

    def sign(self, text: str) -> str:
        """The signature."""
        return self._key.sign(text.encode()).hex()


def signer(path: Path) -> Signer:
    """With the private key of this file. Raises ArchiveError."""
    ed25519, serialization = _library()
    key = _read(path, lambda data: serialization.load_pem_private_key(data, None))
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise ArchiveError(f"{path}: this is no Ed25519 private key (openssl genpkey -algorithm ed25519)")
    return Signer(key)


def public_key(path: Path) -> str:
    """The public key of this file, as archives name it. Raises ArchiveError."""
    ed25519, serialization = _library()
    key = _read(path, serialization.load_pem_public_key)
    if not isinstance(key, ed25519.Ed25519PublicKey):
        raise ArchiveError(f"{path}: this is no Ed25519 public key (openssl pkey -pubout)")
    return _hex(key)


def is_signed(text: str, signature: str, key: str) -> bool:
    """Whether the owner of this public key has signed it."""
    ed25519, _ = _library()
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - see above

    try:
        ed25519.Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)).verify(bytes.fromhex(signature), text.encode())
    except (InvalidSignature, ValueError):
        return False
    return True


def _library() -> tuple[Any, Any]:
    try:
        from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - see above
        from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise SetupError("archives are signed with cryptography: pip install 'esc-receiver[archive]'") from error
    return ed25519, serialization


def _read(path: Path, load: Any) -> Any:
    try:
        return load(path.read_bytes())
    except (OSError, ValueError, TypeError) as error:
        raise ArchiveError(f"{path} cannot be used as a key: {describe(error)}") from error


def _hex(key: Ed25519PublicKey) -> str:
    return key.public_bytes_raw().hex()
