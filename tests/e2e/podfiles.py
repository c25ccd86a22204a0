"""What a kubelet puts into a container's file system: ConfigMaps, Secrets, claims and tokens, below a folder.

A volume of ConfigMaps or Secrets looks as in a real Pod: every name in it is a link through ``..data`` to a folder of
its own version, and one rename switches all of them at once.
"""

from __future__ import annotations

import base64
import itertools
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.e2e.apiclient import ApiClient

ACCOUNT_FOLDER: Final = "/var/run/secrets/kubernetes.io/serviceaccount"
DEFAULT_MODE: Final = 0o644
_GROUP_READS: Final = 0o440  # added to what a Pod with an fsGroup reads (pkg/volume/volume_linux.go)
_TOKEN_MODE: Final = 0o600  # of a token, where the Pod says who reads it (pkg/volume/projected/projected.go)
_VERSIONS: Final = itertools.count(1)


class MountError(Exception):
    """A volume can't be set up yet; the message is what a kubelet would say."""


@dataclass(frozen=True, slots=True)
class Content:
    """One file of a volume.

    Attributes:
        raw: its bytes.
        mode: who may read it; the owner is whoever runs this kubelet.
    """

    raw: bytes
    mode: int = DEFAULT_MODE


class PodFiles:
    """The files of one Pod.

    A path in a container is found at ``root`` with the path behind it; siblings stay siblings, so relative paths lead
    where they lead in a cluster.
    """

    def __init__(
        self, api: ApiClient, pod: Mapping[str, Any], root: Path, claims: Path, ports: Mapping[int, int]
    ) -> None:
        """Describe the files; nothing is written before ``sync``.

        Args:
            api: where ConfigMaps and Secrets are read.
            pod: the Pod.
            root: its file system, a folder of its own.
            claims: folder of all PersistentVolumeClaims, which Pods share.
            ports: container port -> port of this machine, since all Pods here share its addresses.
        """
        self._api = api
        self._pod = pod
        self._root = root
        self._claims = claims
        self._ports = dict(ports)
        self._written: dict[Path, dict[str, Content]] = {}
        self._tokens: dict[str, bytes] = {}
        metadata = pod["metadata"]
        self._base = f"/api/v1/namespaces/{metadata['namespace']}"
        self._volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes", ())}
        self._has_group = "fsGroup" in pod["spec"].get("securityContext", {})

    def path(self, inside: str) -> Path:
        """Where a path of the container is on this machine."""
        return self._root / inside.lstrip("/")

    def rewrite(self, text: str) -> str:
        """An argument or an environment variable with paths and ports as they are on this machine."""
        mounts = sorted(self._mounts(), key=len, reverse=True)
        for mount in mounts:
            if text == mount or text.startswith(f"{mount}/"):
                return f"{self.path(mount)}{text[len(mount) :]}"
        return self._rewrite_ports(text)

    def sync(self) -> None:
        """Write what is not there yet, or has changed.

        Raises:
            MountError: something that a volume names does not exist.
        """
        for mount, volume in self._mounts().items():
            folder = self.path(mount)
            contents = self._contents(volume)
            if contents is None:
                self._place(volume, folder)
            elif self._written.get(folder) != contents:
                write_atomically(folder, contents)
                self._written[folder] = contents

    def _mounts(self) -> dict[str, dict[str, Any]]:
        spec = self._pod["spec"]
        containers = [*spec.get("initContainers", ()), *spec["containers"]]
        return {
            mount["mountPath"]: self._volumes[mount["name"]]
            for container in containers
            for mount in container.get("volumeMounts", ())
        }

    def _rewrite_ports(self, text: str) -> str:
        for port, here in self._ports.items():
            text = re.sub(rf"(?<=port: ){port}\b|(?<=:){port}\b", str(here), text)
        return text

    def _place(self, volume: Mapping[str, Any], folder: Path) -> None:
        if "emptyDir" in volume:
            folder.mkdir(parents=True, exist_ok=True)
            return
        claim = volume["persistentVolumeClaim"]["claimName"]
        self._require(f"persistentvolumeclaims/{claim}", f'persistentvolumeclaim "{claim}" not found')
        (self._claims / claim).mkdir(parents=True, exist_ok=True)
        if not folder.is_symlink():
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.symlink_to(self._claims / claim)

    def _contents(self, volume: Mapping[str, Any]) -> dict[str, Content] | None:
        """Relative path -> content; None for a volume that is no view of objects."""
        name = volume["name"]
        if "configMap" in volume or "secret" in volume:
            described = volume.get("configMap") or volume["secret"]
            found = self._source(name, volume, described.get("defaultMode", DEFAULT_MODE))
        elif "projected" in volume:
            found = {}
            for source in volume["projected"]["sources"]:
                found.update(self._source(name, source, volume["projected"].get("defaultMode", DEFAULT_MODE)))
        else:
            return None
        more = _GROUP_READS if self._has_group else 0
        return {path: Content(content.raw, content.mode | more) for path, content in found.items()}

    def _source(self, volume: str, source: Mapping[str, Any], mode: int) -> dict[str, Content]:
        if "configMap" in source:
            described = source["configMap"]
            return self._pick(volume, described, self._object("configmaps", described, described["name"]), mode)
        if "secret" in source:
            described = source["secret"]
            name = described.get("secretName") or described["name"]
            return self._pick(volume, described, self._object("secrets", described, name), mode)
        if "serviceAccountToken" in source:
            raw = self._token(source["serviceAccountToken"])
            return {source["serviceAccountToken"]["path"]: Content(raw, _TOKEN_MODE if self._has_group else mode)}
        if "downwardAPI" in source:
            return {
                item["path"]: Content(str(field_of(self._pod, item["fieldRef"]["fieldPath"])).encode(), mode)
                for item in source["downwardAPI"]["items"]
            }
        message = f"this kubelet knows no volume source {sorted(source)}"
        raise AssertionError(message)

    def _object(self, resource: str, described: Mapping[str, Any], name: str) -> dict[str, bytes]:
        if described.get("optional") and self._api.find(f"{self._base}/{resource}/{name}") is None:
            return {}
        found = self._require(f"{resource}/{name}", f'{resource.removesuffix("s")} "{name}" not found')
        if resource == "secrets":
            return {key: base64.b64decode(value) for key, value in found.get("data", {}).items()}
        binary = {key: base64.b64decode(value) for key, value in found.get("binaryData", {}).items()}
        return {key: self._rewrite_ports(value).encode() for key, value in found.get("data", {}).items()} | binary

    def _require(self, place: str, message: str) -> dict[str, Any]:
        found = self._api.find(f"{self._base}/{place}")
        if found is None:
            raise MountError(message)
        return found

    @staticmethod
    def _pick(volume: str, described: Mapping[str, Any], data: dict[str, bytes], mode: int) -> dict[str, Content]:
        if "items" not in described:
            return {key: Content(raw, mode) for key, raw in data.items()}
        missing = [item["key"] for item in described["items"] if item["key"] not in data]
        if missing and not described.get("optional"):
            message = f'volume "{volume}" references non-existent key: {", ".join(missing)}'
            raise MountError(message)
        there = [item for item in described["items"] if item["key"] in data]
        return {item["path"]: Content(data[item["key"]], item.get("mode", mode)) for item in there}

    def _token(self, described: Mapping[str, Any]) -> bytes:
        """A token as the kubelet asks for it: bound to the Pod."""
        path = described["path"]
        if path not in self._tokens:
            metadata, account = self._pod["metadata"], self._pod["spec"]["serviceAccountName"]
            bound = {"kind": "Pod", "apiVersion": "v1", "name": metadata["name"], "uid": metadata["uid"]}
            request = {
                "apiVersion": "authentication.k8s.io/v1",
                "kind": "TokenRequest",
                "spec": {"boundObjectRef": bound, "expirationSeconds": described.get("expirationSeconds", 3600)},
            }
            made = self._api.create(f"{self._base}/serviceaccounts/{account}/token", request)
            self._tokens[path] = made["status"]["token"].encode()
        return self._tokens[path]


def write_atomically(folder: Path, contents: Mapping[str, Content]) -> None:
    """Replace all files of a folder at once, as the kubelet does."""
    version = folder / f"..{next(_VERSIONS):06d}"
    for name, content in contents.items():
        file = version / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.raw)
        file.chmod(content.mode)
    version.mkdir(parents=True, exist_ok=True)
    before = (folder / "..data").readlink() if (folder / "..data").is_symlink() else None
    (folder / "..data_tmp").symlink_to(version.name)
    (folder / "..data_tmp").rename(folder / "..data")
    visible = {name.split("/")[0] for name in contents}
    for name in visible:
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(Path("..data") / name)
    for entry in folder.iterdir():
        if not entry.name.startswith("..") and entry.name not in visible:
            entry.unlink()
    if before is not None:
        shutil.rmtree(folder / before)


def provision_claims(api: ApiClient, namespace: str, folder: Path) -> None:
    """Make a volume for each claim that has none, as a storage class would; the claim is bound to it soon after."""
    for claim in api.get(f"/api/v1/namespaces/{namespace}/persistentvolumeclaims")["items"]:
        if "volumeName" in claim["spec"]:
            continue
        name = claim["metadata"]["name"]
        volume = {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": claim["metadata"]["uid"]},
            "spec": {
                "capacity": claim["spec"]["resources"]["requests"],
                "accessModes": claim["spec"]["accessModes"],
                "persistentVolumeReclaimPolicy": "Retain",
                "hostPath": {"path": str(folder / name)},
                "claimRef": {"kind": "PersistentVolumeClaim", "namespace": namespace, "name": name},
            },
        }
        api.create("/api/v1/persistentvolumes", volume, may_exist=True)


def field_of(pod: Mapping[str, Any], path: str) -> Any:
    """A field of the downward API."""
    value: Any = pod
    for part in path.split("."):
        value = value[part]
    return value
