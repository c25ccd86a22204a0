"""Targets: what reads JSON, YAML and the text inside workloads."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

from placet.canonical import MAX_DEPTH, parse_json, parse_strictly, render_canonical, render_strictly
from placet.errors import CanonicalError, FormatError, ManifestError, ReviewError, WorkloadError
from placet.images import parse_image
from placet.manifests import parse_manifests
from placet.plainjson import NOT_PLAIN, parse_plain, render_plain
from placet.projection import project
from placet.projection.quantity import canonical_quantity
from placet.review import OPERATIONS, parse_review
from placet.workload import read_workload
from tests.fuzz.target import require

TESTS: Final = Path(__file__).resolve().parents[1]
_REVIEW_DEPTH: Final = 128
_BYTES: Final = 8 * 1024 * 1024


def written(value: Any) -> str:
    """A value with the type of every number and the order of every object."""
    return json.dumps(value)


def read_both_ways(raw: bytes, *, max_depth: int, allow_floats: bool) -> Any:
    """What the strict reader gives; the quick one must give the same or nothing. None where it refuses."""
    try:
        strict = parse_strictly(raw, max_depth=max_depth, allow_floats=allow_floats)
    except FormatError:
        strict = NOT_PLAIN
    quick = parse_plain(raw, max_depth=max_depth, allow_floats=allow_floats)
    if quick is not NOT_PLAIN:
        require(strict is not NOT_PLAIN, "what the quick reader takes, the strict one takes")
        require(written(quick) == written(strict), "both readers read the same")
    if strict is NOT_PLAIN:
        return None
    taken = parse_json(raw, max_bytes=_BYTES, max_depth=max_depth, allow_floats=allow_floats)
    require(written(taken) == written(strict), "the reader gives what the strict one gives")
    require(written(json.loads(raw)) == written(strict), "the standard library reads the same")
    return strict


def run_review(raw: bytes) -> None:
    """The body of an admission call."""
    tree = read_both_ways(raw, max_depth=_REVIEW_DEPTH, allow_floats=True)
    try:
        request = parse_review(raw)
    except ReviewError as error:
        require(400 <= error.status < 500 and error.code.startswith("review_"), "a refusal is a 4xx with its code")
        return
    require(tree is not None, "no review is read from what is no JSON")
    asked = tree["request"]
    require(request.operation in OPERATIONS and request.uid.isprintable(), "an operation and a uid that can be shown")
    require((request.object, request.old_object) == (asked.get("object"), asked.get("oldObject")), "the same objects")
    require(request.username == asked["userInfo"]["username"], "the same user")
    require(request.namespace == asked.get("namespace", ""), "the same namespace")


def run_json(raw: bytes) -> None:
    """Canonical JSON, and the reader of all that is signed."""
    read_both_ways(raw, max_depth=_REVIEW_DEPTH, allow_floats=True)
    value = read_both_ways(raw, max_depth=MAX_DEPTH, allow_floats=False)
    if value is None:
        return
    quick = render_plain(value, max_depth=MAX_DEPTH)
    try:
        canonical = render_strictly(value)
    except CanonicalError:
        require(quick is None, "what the strict writer refuses, the quick one leaves to it")
        return
    require(quick is None or quick == canonical, "both writers write the same")
    require(render_canonical(value) == canonical, "the writer gives what the strict one gives")
    again = parse_json(canonical, max_bytes=_BYTES)
    require(render_canonical(again) == canonical, "canonical bytes stay what they are")
    require(json.dumps(again, sort_keys=True) == json.dumps(value, sort_keys=True), "nothing is lost in writing")


def run_yaml(raw: bytes) -> None:
    """Manifests as kubectl reads them."""
    try:
        manifests = parse_manifests(raw, file="fuzz.yaml")
    except ManifestError as error:
        require(error.code, "a refusal has a code")
        return
    for manifest in manifests:
        as_json = json.dumps(manifest.object).encode()
        (again,) = parse_manifests(as_json, file="fuzz.json")
        require(written(again.object) == written(manifest.object), "an object is the same when it is written as JSON")


_HOST: Final = r"[A-Za-z0-9.\[\]:-]+"
_NAME: Final = re.compile(rf"{_HOST}/[a-z0-9]+(?:[._/-]+[a-z0-9]+)*", re.ASCII)


def run_image(raw: bytes) -> None:
    """Image references."""
    text = raw.decode("utf-8", "replace")
    try:
        image = parse_image(text, container="spec.containers[server]")
    except WorkloadError as error:
        require(error.code == "image_invalid", "a refusal has the documented code")
        return
    require(_NAME.fullmatch(image.name), "a name is registry/repository in lower case")
    require(("@" in text) == (image.digest is not None), "an image has a digest where one is written")
    require(image.digest is None or text.endswith(f"@{image.digest}"), "the digest is the one that is written")
    require(text.isascii() and text.isprintable(), "a reference is printable ASCII")
    complete = f"{image.name}{':' if image.tag else ''}{image.tag}{'@' if image.digest else ''}{image.digest or ''}"
    if len(complete) <= 512:  # the longest that is read; completing makes it longer
        again = parse_image(complete, container="")
        require((again.name, again.tag, again.digest) == (image.name, image.tag, image.digest), "complete stays so")


_SUFFIXES: Final = {
    **{suffix: Fraction(1024) ** power for power, suffix in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)},
    **{suffix: Fraction(1000) ** power for power, suffix in enumerate(("n", "u", "m", "", *"kMGTPE"), -3)},
}
_QUANTITY: Final = re.compile(r"([+-]?)([0-9]*)\.?([0-9]*)(.*)", re.ASCII | re.DOTALL)


def _amount(text: str) -> Fraction:
    """What a quantity that was taken is worth, by another way than the product's."""
    match = _QUANTITY.fullmatch(text)
    require(match is not None, "a quantity begins with digits")
    sign, whole, part, suffix = match.groups()  # type: ignore[union-attr]
    value = Fraction(int(whole + part or "0"), 10 ** len(part))
    factor = _SUFFIXES.get(suffix)
    if factor is None:
        require(re.fullmatch(r"[eE][+-]?[0-9]+", suffix, re.ASCII), "no other suffix is taken")
        factor = Fraction(10) ** int(suffix[1:])
    return (-1 if sign == "-" else 1) * value * factor


def run_quantity(raw: bytes) -> None:
    """Sizes such as ``1024Mi``."""
    text = raw.decode("utf-8", "replace")
    try:
        canonical = canonical_quantity(text)
    except FormatError as error:
        require(error.code == "quantity_invalid", "a refusal has the documented code")
        return
    require(canonical_quantity(canonical) == canonical, "the canonical form stays what it is")
    worth, was = _amount(canonical), _amount(text.strip(" \t\r\n"))
    finest = Fraction(1, 10**9)
    capped = abs(was) > 2**63 - 1 and text.strip()[-1:] == "i"
    require(capped or abs(worth - was) < finest, "a quantity keeps its worth")
    require(abs(worth) <= abs(was) + finest and (worth >= 0) == (was >= 0), "and its sign")


def _reordered(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _reordered(value[key]) for key in reversed(value)}
    return [_reordered(item) for item in value] if isinstance(value, list) else value


def _with_the_unknown(value: Any) -> Any:
    """With a field that no API has in every object that is not text by key, and null beside it."""
    if isinstance(value, dict):
        by_key = value and all(isinstance(one, str) for one in value.values())
        inside = {key: _with_the_unknown(child) for key, child in value.items()}
        return inside if by_key or not value else {**inside, "notAFieldOfAnyApi": {"a": [1]}, "norThisOne": None}
    return [_with_the_unknown(item) for item in value] if isinstance(value, list) else value


def run_projection(raw: bytes) -> None:
    """Any object, projected and read as a workload."""
    try:
        obj = parse_json(raw, max_bytes=_BYTES, max_depth=_REVIEW_DEPTH, allow_floats=True)
    except FormatError:
        return
    try:
        projection = project(obj)
    except WorkloadError as error:
        require(error.code, "a refusal has a code")
        with contextlib.suppress(WorkloadError):
            read_workload(obj)
            require(False, "what has no projection is no workload")  # noqa: FBT003
        return
    require(render_canonical(json.loads(projection.canonical)) == projection.canonical, "a projection is canonical")
    require(project(_reordered(obj)).digest == projection.digest, "the order of keys means nothing")
    metadata = obj.get("metadata")
    # Labels, annotations and selectors are text by key, where every key counts for who reads them.
    if b"fieldRef" not in raw and b"atch" not in raw and isinstance(metadata, dict):
        unknown = {**obj, "spec": _with_the_unknown(obj["spec"])}
        with contextlib.suppress(WorkloadError):  # a text-by-key that is mixed with other values is refused either way
            require(project(unknown).digest == projection.digest, "fields that no API has mean nothing")
    with contextlib.suppress(WorkloadError):
        require(read_workload(obj).projection.digest == projection.digest, "a workload has its object's projection")


def reviews() -> Iterator[bytes]:
    """The reviews of a real API server, and one of each workload."""
    for file in sorted((TESTS / "data" / "reviews").glob("*.json")):
        yield file.read_bytes()
        yield json.dumps(json.loads(file.read_bytes()), separators=(",", ":")).encode()
    template = json.loads((TESTS / "data" / "reviews" / "deployment-llama-create.json").read_bytes())
    for obj in workloads():
        template["request"]["object"] = obj
        yield json.dumps(template, separators=(",", ":")).encode()


def workloads() -> Iterator[Any]:
    """The objects whose projections are golden."""
    for file in sorted((TESTS / "data" / "workloads").glob("*.yaml")):
        for manifest in parse_manifests(file.read_bytes(), file=file.name):
            yield manifest.object


def json_texts() -> Iterator[bytes]:
    """Canonical and other JSON."""
    yield from (
        b"{}",
        b"[]",
        b'{"a":1.5e3,"b":[true,null]}',
        b'"\\ud83d\\ude00"',
        b'{"\xf0\x9f\x98\x80":1,"\xef\xbf\xbf":2}',
    )
    yield from (b'{"a":"<&>\\u003c"}\n', b"\xef\xbb\xbf{}", '{"a":1}'.encode("utf-16"), b'{"a":9007199254740993}')
    yield from (b'{"a":1,"a":2}', b"-0", b"1e400", b"[" * 140 + b"]" * 140, b'{"a":1} x')
    for file in sorted((TESTS / "golden" / "projection").glob("*.json")):
        yield file.read_bytes()


def yaml_texts() -> Iterator[bytes]:
    """Manifests, and every scalar whose reading kubectl and others differ in."""
    yield (TESTS / "data" / "scalars.yaml").read_bytes()
    for file in sorted((TESTS / "data" / "workloads").glob("*.yaml")):
        yield file.read_bytes()
    yield b"apiVersion: v1\nkind: Pod\nmetadata: &a {name: x}\nspec: {<<: *a, containers: [*a]}\n---\n"
    yield b"kind: List\napiVersion: v1\nitems:\n- {apiVersion: v1, kind: Pod, metadata: {name: y}}\n"
    yield b'{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x"}}'


def images() -> Iterator[bytes]:
    """References of every form."""
    digest = "sha256:" + "8c" * 32
    for name in ("nginx", "registry.example.com:5000/a/b", "localhost/x", "docker.io/nginx", "[::1]:5000/x", "A.B/c"):
        yield from (f"{name}{rest}".encode() for rest in ("", ":1.2", f"@{digest}", f":1.2@{digest}", "@sha512:00"))


def quantities() -> Iterator[bytes]:
    """Sizes of every family."""
    yield from (
        b"1024Mi",
        b"0.5",
        b"10e2",
        b"1E",
        b"1e-3",
        b"-3.5Ki",
        b"+.5Gi",
        b"0.1n",
        b"9223372036854775808Ei",
        b"5.",
    )


def objects() -> Iterator[bytes]:
    """One object a seed."""
    for obj in workloads():
        yield json.dumps(obj, separators=(",", ":")).encode()


RUNS: Final[dict[str, tuple[Callable[[bytes], None], Callable[[], Iterator[bytes]]]]] = {
    "review": (run_review, reviews),
    "json": (run_json, json_texts),
    "yaml": (run_yaml, yaml_texts),
    "image": (run_image, images),
    "quantity": (run_quantity, quantities),
    "projection": (run_projection, objects),
}
