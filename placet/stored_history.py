"""What a record knows of the past, read without a gate that writes to it; for the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from placet.audit.location import StoreLocation, open_reader
from placet.audit.stored import admitted_in, approved_elsewhere_in, approved_in
from placet.canonical import Digest
from placet.precedent import Precedent, read_precedents
from placet.promotion import AdmittedElsewhere, read_elsewhere


class StoredHistory:
    """What a record knows, opened to read alone; for the command line."""

    def __init__(self, store: StoreLocation, *, cluster: str) -> None:
        self._store = store
        self._cluster = cluster

    def model_seen(self, *, environment: str, model: str) -> bool | None:
        """Whether the record shows that this model was approved and admitted in this environment."""
        with open_reader(self._store) as reader:
            return reader.model_seen(cluster=self._cluster, environment=environment, model=model)

    def admitted(
        self, *, environment: str, namespace: str, kind: str, name: str, projection: Digest
    ) -> Sequence[Precedent] | None:
        """Decisions that admitted this content of the workload with every approval, the newest first, a few."""
        with open_reader(self._store) as reader:
            return read_precedents(
                admitted_in(
                    reader,
                    cluster=self._cluster,
                    environment=environment,
                    namespace=namespace,
                    kind=kind,
                    name=name,
                    projection=projection,
                )
            )

    def admitted_with(
        self, *, environment: str, namespace: str, group: str, kind: str, name: str, template: Digest
    ) -> Sequence[Precedent] | None:
        """Decisions that admitted a custom resource with this pod template in it, newest first, a few."""
        with open_reader(self._store) as reader:
            found = approved_in(
                reader,
                cluster=self._cluster,
                environment=environment,
                namespace=namespace,
                kind=kind,
                name=name,
            )
            return with_template(found, group, template)

    def admitted_elsewhere(self, *, environment: str, projection: Digest) -> Sequence[AdmittedElsewhere] | None:
        """Decisions that admitted this content in other environments with every approval, the earliest first."""
        with open_reader(self._store) as reader:
            return read_elsewhere(approved_elsewhere_in(reader, environment=environment, projection=projection))


def with_template(bodies: Sequence[Mapping[str, Any]], group: str, template: Digest) -> Sequence[Precedent]:
    """Those of a group that have a pod template in them, as precedents."""
    text = str(template)
    return read_precedents(
        body
        for body in bodies
        if body.get("group") == group and isinstance(body.get("templates"), list) and text in body["templates"]
    )
