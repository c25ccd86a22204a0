"""Policy packages in an OCI registry.

An artifact has two layers: OPA's own bundle, in the media type by which an OPA server that is configured with this
reference finds it, and the package, by which placet does. Both are what the package's manifest names.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Final

from placet.errors import EngineError, InputError
from placet.policy.bundle import MANIFEST, SOURCES
from placet.policy.locations import Fetched, Location
from placet.policy.package import parse_package
from placet.policy.registry_client import RegistryClient

if TYPE_CHECKING:
    from pathlib import Path

ARTIFACT_TYPE: Final = "application/vnd.placet.policy.v1"
PACKAGE_TYPE: Final = "application/vnd.placet.policy.package.v1.tar+gzip"
OPA_TYPE: Final = "application/vnd.oci.image.layer.v1.tar+gzip"
MANIFEST_TYPE: Final = "application/vnd.oci.image.manifest.v1+json"
_CONFIG_TYPE: Final = "application/vnd.oci.empty.v1+json"
_CONFIG: Final = b"{}"
_MAX_MANIFEST_BYTES: Final = 1 << 20


def fetch_artifact(location: Location, *, ca_file: Path | None, tag: str) -> Fetched:
    """The package of an artifact; its bytes are those that the registry's manifest names.

    Raises:
        EngineError: ``bundle_unreachable``, ``bundle_missing``, or ``bundle_invalid`` where it is no package of ours.
    """
    with RegistryClient(location, ca_file) as client:
        raw = client.get(f"manifests/{client.reference}", accept=MANIFEST_TYPE)
        digest = _digest(raw)
        if not location.moves and digest != client.reference:
            raise EngineError(f"{location.text} gives another manifest", code="bundle_invalid")
        if digest == tag:
            return Fetched(None, tag)
        layer = _package_layer(raw, location)
        package = client.get(f"blobs/{layer}")
        if _digest(package) != layer:
            raise EngineError(f"{location.text} gives another package than its manifest names", code="bundle_invalid")
        return Fetched(package, digest)


def store_artifact(raw: bytes, location: Location, *, ca_file: Path | None) -> str:
    """Push a package under a tag.

    Returns:
        the reference by digest, ``oci://host/name@sha256:...``.

    Raises:
        EngineError: ``bundle_unreachable``, or the registry does not take it.
        InputError: the reference is by digest.
    """
    if not location.moves:
        raise InputError("a digest can't be pushed to", hint="Name a tag: oci://registry.example.org/team/policies:3")
    files = parse_package(raw)
    layers = [(files[SOURCES], OPA_TYPE, SOURCES), (raw, PACKAGE_TYPE, "policies.tar.gz")]
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "artifactType": ARTIFACT_TYPE,
        "config": _descriptor(_CONFIG, _CONFIG_TYPE),
        "layers": [
            {**_descriptor(content, kind), "annotations": {"org.opencontainers.image.title": title}}
            for content, kind, title in layers
        ],
        "annotations": {"dev.placet.manifest": _digest(files[MANIFEST])},
    }
    rendered = json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode()
    with RegistryClient(location, ca_file) as client:
        for content in (_CONFIG, *(layer[0] for layer in layers)):
            client.upload(content, _digest(content))
        client.put(f"manifests/{client.reference}", rendered, MANIFEST_TYPE)
    return f"{location.text.rpartition(':')[0]}@{_digest(rendered)}"


def _package_layer(raw: bytes, location: Location) -> str:
    fault = f"{location.text} is an artifact, but no policy package"
    try:
        manifest = json.loads(raw) if len(raw) <= _MAX_MANIFEST_BYTES else {}
        (digest,) = [layer["digest"] for layer in manifest["layers"] if layer["mediaType"] == PACKAGE_TYPE]
    except (ValueError, KeyError, TypeError, RecursionError) as exc:
        raise EngineError(
            fault, code="bundle_invalid", hint="`placet policy bundle push` makes those that placet reads."
        ) from exc
    if not isinstance(digest, str):
        raise EngineError(fault, code="bundle_invalid")
    return digest


def _descriptor(content: bytes, kind: str) -> dict[str, Any]:
    return {"mediaType": kind, "size": len(content), "digest": _digest(content)}


def _digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()
