from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet.canonical import Digest
from placet.errors import WorkloadError
from placet.images import MAX_CHARACTERS, parse_image, take_image

HEX = "0123456789abcdef" * 4
WHERE = "spec.containers[server]"


def name_of(reference: str) -> str:
    return parse_image(reference, container=WHERE).name


@pytest.mark.parametrize(
    ("reference", "name", "tag", "pinned"),
    [
        ("nginx", "docker.io/library/nginx", "", False),
        ("nginx:1.27", "docker.io/library/nginx", "1.27", False),
        ("docker.io/nginx", "docker.io/library/nginx", "", False),
        ("index.docker.io/library/nginx", "docker.io/library/nginx", "", False),
        ("docker.io/library/nginx:1", "docker.io/library/nginx", "1", False),
        ("vllm/vllm-openai:v0.6.3", "docker.io/vllm/vllm-openai", "v0.6.3", False),
        (f"vllm/vllm-openai@sha256:{HEX}", "docker.io/vllm/vllm-openai", "", True),
        (f"ghcr.io/a/b/c:v1@sha256:{HEX}", "ghcr.io/a/b/c", "v1", True),
        ("localhost/x", "localhost/x", "", False),
        ("localhost:5000/x:1", "localhost:5000/x", "1", False),
        ("reg:5000/x", "reg:5000/x", "", False),
        ("GHCR/x", "GHCR/x", "", False),
        ("[2001:db8::1]:5000/x", "[2001:db8::1]:5000/x", "", False),
        ("us-docker.pkg.dev/p/r/i__x-y.z", "us-docker.pkg.dev/p/r/i__x-y.z", "", False),
        ("a/b", "docker.io/a/b", "", False),
        ("nginx:5000", "docker.io/library/nginx", "5000", False),
        (f"x:{'t' * 128}", "docker.io/library/x", "t" * 128, False),
    ],
)
def test_reference_is_read_as_runtimes_read_it(reference: str, name: str, tag: str, *, pinned: bool) -> None:
    image = parse_image(reference, container=WHERE)
    assert (image.name, image.tag, image.reference, image.container) == (name, tag, reference, WHERE)
    assert image.digest == (Digest(HEX) if pinned else None)


@pytest.mark.parametrize(
    "reference",
    [
        "",
        " ",
        " nginx",
        "nginx ",
        "nginx\n",
        "ngi\x00nx",
        "Nginx",
        "a/B",
        "a//b",
        "/a",
        "a/",
        "a/b/",
        ".a",
        "a..b",
        "a___b",
        "-a",
        "a-",
        "a:",
        ":tag",
        "a:-tag",
        "a:b:c",
        f"x:{'t' * 129}",
        "a@",
        "@sha256:" + HEX,
        f"a@sha256:{HEX[:-1]}",
        f"a@sha256:{HEX}0",
        f"a@sha256:{HEX.upper()}",
        f"a@SHA256:{HEX}",
        f"a@sha512:{HEX}{HEX}",
        f"a@{HEX}",
        f"a@sha256:{HEX}@sha256:{HEX}",
        f"a@sha256:{HEX}:tag",
        f"a@sha256:{HEX}\n",
        HEX,
        "http://reg/a",
        "reg_x:5000/a",
        "reg.:5000/a",
        "-reg.io/a",
        "reg:port/a",
        "[::1/a",
        "\u0430/b",
        "a\u200b",
        "a:\u0661",
        "$(IMAGE)",
        "${IMAGE}",
        "<image>",
        "x" * 256,
        "a" * 513,
    ],
)
def test_refuses_what_is_no_reference(reference: str) -> None:
    with pytest.raises(WorkloadError) as caught:
        parse_image(reference, container=WHERE)
    assert caught.value.code == "image_invalid"
    assert str(caught.value).startswith(f"{WHERE}: ")
    assert str(caught.value).isprintable()


def test_what_is_no_reference_is_taken_as_written_and_what_is_one_is_read() -> None:
    assert take_image("reg.io/a:1", container=WHERE) == parse_image("reg.io/a:1", container=WHERE)
    for written in ("$(IMAGE)", "", "x" * (MAX_CHARACTERS + 1)):
        taken = take_image(written, container=WHERE)
        assert (taken.reference, taken.name, taken.digest) == (written[:MAX_CHARACTERS], "", None)


def test_tag_and_digest_make_no_other_name() -> None:
    assert name_of("reg.io/a") == name_of("reg.io/a:1") == name_of(f"reg.io/a:2@sha256:{HEX}")


@given(st.text(max_size=80) | st.text(string.ascii_letters + string.digits + "./:@-_[]", max_size=80))
def test_nothing_but_a_workload_error_escapes_and_a_name_is_stable(reference: str) -> None:
    try:
        image = parse_image(reference, container=WHERE)
    except WorkloadError as error:
        assert error.code == "image_invalid"
    else:
        again = parse_image(image.name, container=WHERE)
        assert (again.name, again.tag, again.digest) == (image.name, "", None)
