from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet.errors import FormatError
from placet.projection.quantity import canonical_quantity

SUFFIXES: dict[str, Fraction] = {
    **{
        suffix: Fraction(10) ** (3 * power)
        for power, suffix in enumerate(["n", "u", "m", "", "k", "M", "G", "T", "P", "E"], -3)
    },
    **{suffix: Fraction(1024) ** power for power, suffix in enumerate(["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"], 1)},
}


# What resource.Quantity of Kubernetes 1.37 makes of them.
@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("1024Mi", "1Gi"),
        ("1Gi", "1Gi"),
        ("1.5Gi", "1536Mi"),
        ("0.5Ki", "512"),
        ("1023Ki", "1023Ki"),
        ("1.0001Ki", "1024102400u"),
        ("0.5", "500m"),
        (".5", "500m"),
        ("5.", "5"),
        ("1000", "1k"),
        ("1000k", "1M"),
        ("1500m", "1500m"),
        ("2000m", "2"),
        ("1e3", "1e3"),
        ("1E3", "1e3"),
        ("10e2", "1e3"),
        ("12e-1", "1200e-3"),
        ("1E", "1E"),
        ("0.1n", "1n"),
        ("-0.1n", "-1n"),
        ("-1Ki", "-1Ki"),
        ("+1Gi", "1Gi"),
        ("0", "0"),
        ("0Mi", "0"),
        ("-0", "0"),
        ("00.0", "0"),
        ("9Ei", "9223372036854775807"),
        # Whole and binary, without a suffix left: read again, it is a decimal number.
        ("18703.125Ki", "19152k"),
        (" 1Gi ", "1Gi"),
        ("1e30", "1e30"),
        ("1000000000e21", "1e30"),
    ],
)
def test_quantity_has_one_canonical_form(written: str, canonical: str) -> None:
    assert canonical_quantity(written) == canonical
    assert canonical_quantity(canonical) == canonical


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        ".",
        "Gi",
        "1 Gi",
        "1gi",
        "1K",
        "1e",
        "1ee",
        "1e1e1",
        "1i",
        "--1",
        "0x10",
        "1_000",
        "\u0661",
        "1e31",
        "9" * 65,
        "1000E",
        "10e30",
        "100000000000000000000e0020",  # written as 100e39, which is no quantity
        "-1000000e0030",
    ],
)
def test_refuses_what_is_no_quantity(text: str) -> None:
    with pytest.raises(FormatError) as caught:
        canonical_quantity(text)
    assert caught.value.code == "quantity_invalid"


@given(st.integers(-(10**9), 10**9), st.sampled_from(["", "m", "k", "M", "G", "Ki", "Mi", "Gi"]))
def test_canonical_form_keeps_the_value(number: int, suffix: str) -> None:
    text = canonical_quantity(f"{number}{suffix}")
    digits = text.rstrip("KMGTPEkmi")
    assert int(digits) * SUFFIXES[text[len(digits) :]] == number * SUFFIXES[suffix]


@given(st.text(max_size=70))
def test_nothing_but_a_format_error_escapes(text: str) -> None:
    try:
        assert canonical_quantity(canonical_quantity(text)) == canonical_quantity(text)
    except FormatError as error:
        assert error.code == "quantity_invalid"
