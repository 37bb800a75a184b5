"""Makes and checks DSSE envelopes with the reference implementation in Python, securesystemslib of PyPI. For tests alone.

    envelope.py generate PRIVATE PUBLIC            make a key pair
    envelope.py sign PRIVATE STATEMENT ENVELOPE    sign an in-toto statement
    envelope.py verify PUBLIC ENVELOPE             print the payload, if that key signed it
"""

import json
import sys
from pathlib import Path

from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import CryptoSigner, SSlibKey

PAYLOAD_TYPE = "application/vnd.in-toto+json"


def generate(private: Path, public: Path) -> None:
    secret = CryptoSigner.generate_ed25519().private_bytes
    private.touch(mode=0o600)
    private.write_bytes(secret)
    key = load_pem_private_key(secret, password=None).public_key()
    public.write_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def sign(private: Path, statement: Path, envelope: Path) -> None:
    signer = CryptoSigner(load_pem_private_key(private.read_bytes(), password=None))
    made = Envelope(statement.read_bytes(), PAYLOAD_TYPE, {})
    made.sign(signer)
    envelope.write_text(json.dumps(made.to_dict(), indent=2))


def verify(public: Path, envelope: Path) -> None:
    found = Envelope.from_dict(json.loads(envelope.read_text()))
    if found.payload_type != PAYLOAD_TYPE:
        sys.exit(f"the payload is of type {found.payload_type}")
    key = SSlibKey.from_crypto(load_pem_public_key(public.read_bytes()))
    # The library looks for keys by key id, which is a hint that an envelope need not give.
    keys = [SSlibKey(keyid, key.keytype, key.scheme, key.keyval) for keyid in found.signatures]
    try:
        found.verify(keys, 1)
    except (ValueError, VerificationError) as error:
        sys.exit(f"refused: {error}")
    sys.stdout.buffer.write(found.payload)


COMMANDS = {"generate": generate, "sign": sign, "verify": verify}

if __name__ == "__main__":
    command, *paths = sys.argv[1:]
    COMMANDS[command](*map(Path, paths))
