"""An approval as a Sigstore bundle v0.3, the form that cosign reads with ``--bundle``.

https://github.com/sigstore/protobuf-specs/blob/main/protos/sigstore_bundle.proto
"""

from __future__ import annotations

import base64
import hashlib
from typing import Final

from placet.approvals.envelope import Envelope, pae
from placet.approvals.keys import PublicKey, check_signature
from placet.canonical import render_canonical
from placet.errors import SigningKeyError

BUNDLE_MEDIA_TYPE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"


def render_bundle(envelope: Envelope, public_key: PublicKey) -> bytes:
    """The envelope with the one signature of a key, as a bundle.

    A bundle carries one signature; of an envelope that several signed, each makes a bundle of their own.

    Raises:
        SigningKeyError: the key made none of the envelope's signatures.
    """
    message = pae(envelope.payload_type, envelope.payload)
    for signature in envelope.signatures:
        if check_signature(public_key, message, signature.sig):
            break
    else:
        raise SigningKeyError("the key made no signature of the envelope")
    # The hint is cosign's: base64 of the SHA-256 of the key's DER.
    hint = base64.b64encode(hashlib.sha256(public_key.spki).digest()).decode("ascii")
    return render_canonical(
        {
            "mediaType": BUNDLE_MEDIA_TYPE,
            "verificationMaterial": {"publicKey": {"hint": hint}, "tlogEntries": []},
            "dsseEnvelope": {
                "payload": base64.b64encode(envelope.payload).decode("ascii"),
                "payloadType": envelope.payload_type,
                "signatures": [{"sig": base64.b64encode(signature.sig).decode("ascii")}],
            },
        }
    )
