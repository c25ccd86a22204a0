"""The input document: checked against its schema, and made into bytes, before any engine sees it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from placet.canonical import render_canonical
from placet.errors import CanonicalError, EngineError
from placet.policy.schema import describe, validator

INPUT_SCHEMA: Final = "placet.dev/policy-input/v2"


def check_document(document: Mapping[str, Any]) -> None:
    """Return when the document is of ``policies/schemas/input.json``.

    Raises:
        EngineError: ``input_invalid``; the message names the place and the kind of fault, never a value.
    """
    render_document(document)


def render_document(document: Mapping[str, Any]) -> bytes:
    """The document's canonical bytes, the only ones that an engine is given.

    An engine that can't parse its input takes it as undefined without an error. So the bytes come from values that
    were checked, by the one serialiser that refuses NaN, floats and lone surrogates.

    Raises:
        EngineError: ``input_invalid`` when the document is not of the schema or has no canonical form.
    """
    try:
        raw = render_canonical(document)
        error = next(iter(validator("input").iter_errors(document)), None)
    except (CanonicalError, ValueError, TypeError) as exc:
        raise EngineError(f"the policy input has no canonical form: {exc}", code="input_invalid") from exc
    if error is not None:
        where, fault = describe(error)
        raise EngineError(f"the policy input {fault} at {where or 'the top'}", code="input_invalid")
    return raw
