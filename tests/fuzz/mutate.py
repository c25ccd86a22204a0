"""Changes to an input: to the tree of a JSON document, or to its bytes, by a random number generator that is given.

Coverage tells which inputs to keep; these are what gets past the first bracket. The tree is changed with the values
that stand elsewhere in it, because what opens a gate is seldom noise: it is a right value in a wrong place.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from typing import Any, Final

ODD: Final[tuple[Any, ...]] = (
    *(None, True, False, 0, 1, -1, 2, 100, 2**31, 2**53, 2**63, -(2**63), 1.5, 1e308, 1e-9),
    *("", "0", "true", "null", "\0", "\u202e", "\ufeff", "\u2028", "\U0001f600", "K", "x" * 300, "*", "../..", "a b"),
    *([], {}, [None], [[]], {"": ""}, [{}], ["", ""]),
)
# Words that mean something to the API server or to the gate.
WORDS: Final = (
    *("Pod", "Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job", "CronJob", "List", "Scale", "PodList"),
    *("v1", "apps/v1", "apps/v1beta1", "extensions/v1beta1", "batch/v1", "autoscaling/v1", "apps", "batch"),
    *("CREATE", "UPDATE", "DELETE", "CONNECT", "create", "PATCH"),
    *("scale", "status", "resize", "binding", "ephemeralcontainers", "exec", "deployments", "pods", "replicasets"),
    *("production", "staging", "development", "ml-serving", "kube-system", "default", "llama", "other"),
    *("alice@example.org", "bob@example.org", "system:masters", "Always", "OnDelete", "Recreate", "RollingUpdate"),
    *("ClusterFirst", "Default", "None", "HostToContainer", "runtime/default", "unconfined", "localhost/x"),
    *("registry.example.com/other@sha256:" + "0" * 64, "docker.io/library/busybox:1", "sha256:" + "9" * 64),
    *("metadata.labels", "metadata.annotations['x']", "metadata.labels['app.kubernetes.io/name']"),
    *("kube-api-access-abcde", "/var/run/secrets/kubernetes.io/serviceaccount", "25%", "1Gi", "1024Mi", "0.5"),
)
KEYS: Final = (
    *("name", "namespace", "generateName", "uid", "labels", "annotations", "ownerReferences", "deletionTimestamp"),
    *("controller", "kind", "apiVersion", "metadata", "spec", "template", "status", "object", "oldObject", "items"),
    *("containers", "initContainers", "ephemeralContainers", "volumes", "env", "envFrom", "command", "args", "image"),
    *("volumeMounts", "volumeDevices", "securityContext", "lifecycle", "livenessProbe", "restartPolicy", "replicas"),
    *("serviceAccount", "serviceAccountName", "hostNetwork", "hostPID", "hostUsers", "runtimeClassName", "dnsPolicy"),
    *("shareProcessNamespace", "privileged", "subPath", "workingDir", "resources", "claims", "terminationMessagePath"),
    *("placet.dev/model", "placet.dev/model-version", "placet.dev/model-digest", "placet.dev/parameters"),
    *("placet.dev/approval.security", "placet.dev/approval.technical", "placet.dev/approval.Security"),
    *("container.apparmor.security.beta.kubernetes.io/server", "subResource", "dryRun", "strategy", "userInfo"),
    *("preStop", "postStart", "exec", "httpGet", "valueFrom", "fieldRef", "fieldPath", "sizeLimit", "nodeName"),
)

_Place = tuple[Any, Any]


def mutate(raw: bytes, rng: random.Random, *, max_bytes: int, head_line: bool = False) -> bytes:
    """One changed input; of JSON mostly changed JSON, and sometimes changed bytes.

    Args:
        raw: what to change.
        rng: decides everything.
        max_bytes: the longest result.
        head_line: see ``Target``.
    """
    if head_line:
        head, newline, body = raw.partition(b"\n")
        if rng.random() < 0.1:
            head = _mutate_bytes(head, rng) if rng.random() < 0.5 else rng.choice(WORDS).encode()
        return (head.replace(b"\n", b"") + (newline or b"\n") + mutate(body, rng, max_bytes=max_bytes))[:max_bytes]
    if rng.random() < 0.85:
        try:
            tree = json.loads(raw)
        except (ValueError, RecursionError):
            pass
        else:
            return _mutate_json(tree, rng)[:max_bytes]
    return _mutate_bytes(raw, rng)[:max_bytes]


def _mutate_json(tree: Any, rng: random.Random) -> bytes:
    root = [tree]
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 5))):
        _edit(root, rng)
    text = json.dumps(root[0], ensure_ascii=rng.random() < 0.3, separators=(",", ":") if rng.random() < 0.7 else None)
    raw = text.encode("utf-8", "surrogatepass")
    return _with_key_twice(raw, rng) if rng.random() < 0.05 else raw


def _places(root: list[Any]) -> list[_Place]:
    """Every place of a value: what holds it, and under which key or index."""

    def walk(holder: Any) -> Iterator[_Place]:
        for key, child in holder.items() if isinstance(holder, dict) else enumerate(holder):
            yield holder, key
            if isinstance(child, dict | list):
                yield from walk(child)

    return list(walk(root))


def _edit(root: list[Any], rng: random.Random) -> None:
    places = _places(root)
    holder, key = rng.choice(places)
    value = holder[key]
    match rng.randrange(12):
        case 0 if holder is not root:
            del holder[key]
        case 1:
            holder[key] = copy.deepcopy(rng.choice(ODD))
        case 2:
            holder[key] = rng.choice(WORDS)
        case 3 | 4:
            other, where = rng.choice(places)
            holder[key] = copy.deepcopy(other[where])
        case 5 if isinstance(holder, dict):
            renamed = rng.choice(KEYS) if rng.random() < 0.7 else _respelled(key, rng)
            holder[renamed] = holder.pop(key)
        case 6 if isinstance(value, dict):
            other, where = rng.choice(places)
            value[rng.choice(KEYS)] = copy.deepcopy(other[where] if rng.random() < 0.5 else rng.choice(ODD + WORDS))
        case 7 if isinstance(value, list):
            _edit_list(value, rng)
        case 8 if isinstance(value, str):
            holder[key] = _respelled(value, rng)
        case 9 if isinstance(value, int | float) and not isinstance(value, bool):
            holder[key] = rng.choice((value + 1, value - 1, value * 2, -value, str(value), float(value)))
        case 10:
            holder[key] = [value] if rng.random() < 0.5 else {rng.choice(KEYS): value}
        case _:
            same = [one for one in places if one[1] == key and one[0] is not holder]
            if same:  # what stands under the same key elsewhere: the old object's name, another container's image
                other, where = rng.choice(same)
                holder[key], other[where] = copy.deepcopy(other[where]), copy.deepcopy(value)


def _edit_list(value: list[Any], rng: random.Random) -> None:
    if value and rng.random() < 0.5:
        value.insert(rng.randrange(len(value) + 1), copy.deepcopy(rng.choice(value)))
    elif len(value) > 1 and rng.random() < 0.5:
        rng.shuffle(value)
    else:
        value.append(copy.deepcopy(rng.choice(ODD + WORDS)))


def _respelled(text: str, rng: random.Random) -> str:
    at = rng.randrange(len(text) + 1)
    match rng.randrange(8):
        case 0:
            return text.swapcase()
        case 1:
            return f"{text} "
        case 2:
            return text[:at] + rng.choice(("\0", "\u200b", "/", "%2f", ".", "\u0430", "\u017f", "0", "-")) + text[at:]
        case 3:
            return text[:at] + text[at + 1 :]
        case 4:
            return text + text
        case 5:
            return text[:at]
        case 6:
            return text.replace("a", "\u0430", 1)
        case _:
            return text[:at] + chr(rng.randrange(0x20, 0x7F)) + text[at + 1 :]


def _with_key_twice(raw: bytes, rng: random.Random) -> bytes:
    """A member written once more, before or after the first: readers differ in which one they take."""
    at = raw.find(b'":', rng.randrange(len(raw) + 1))
    start = raw.rfind(b'"', 0, at)
    if at < 0 or start < 0:
        return raw
    return raw[:start] + raw[start : at + 2] + rng.choice((b"null,", b'"x",', b"1,", b"{},")) + raw[start:]


def _mutate_bytes(raw: bytes, rng: random.Random) -> bytes:
    changed = bytearray(raw)
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(len(changed) + 1)
        match rng.randrange(7):
            case 0 if at < len(changed):
                changed[at] ^= 1 << rng.randrange(8)
            case 1 if at < len(changed):
                changed[at] = rng.randrange(256)
            case 2:
                changed[at:at] = bytes([rng.randrange(256)])
            case 3:
                del changed[at : at + rng.randrange(1, 9)]
            case 4:
                length = rng.randrange(1, 65)
                changed[at:at] = changed[rng.randrange(len(changed) + 1) :][:length]
            case 5:
                changed[at:at] = rng.choice((*WORDS, *KEYS)).encode()
            case _:
                changed[at:at] = rng.choice((b"\r\n", b"\0", b"\xff", b"\xef\xbb\xbf", b"{", b"[", b'"', b"\\", b": "))
    return bytes(changed)
