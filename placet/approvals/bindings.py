"""Which parts of a workload a statement's subjects pin, and whether they are still the same."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Self

from placet.approvals.in_toto import IMAGE_PREFIX, MODEL_PREFIX, PROJECTION_SUBJECT, Subject
from placet.approvals.rejections import Refusal, RejectionCode
from placet.canonical import Digest
from placet.model import Image, ModelIdentity

_SHOWN_CHARS = 40


def plain(text: str) -> str:
    """Text of a request, short and without characters that could drive a terminal."""
    return "".join(char if char.isprintable() else "?" for char in text[:_SHOWN_CHARS])


@dataclass(frozen=True, slots=True)
class Pinned:
    """The parts of a workload that a statement can pin. Made by ``of``, once for all the statements on a workload.

    Attributes:
        projection: the governed fields as a subject.
        images: every image.
        image_subjects: the images as subjects; None among them says that one is not pinned by a digest.
        model_subjects: the model's artifact as a subject, where it has a digest.
    """

    projection: Subject
    images: Sequence[Image]
    image_subjects: frozenset[Subject | None]
    model_subjects: frozenset[Subject]

    @classmethod
    def of(cls, projection: Digest, images: Sequence[Image], model: ModelIdentity) -> Self:
        """What a workload with these parts pins.

        Args:
            projection: digest of the governed fields.
            images: every image.
            model: the model identity.
        """
        return cls(
            projection=Subject(PROJECTION_SUBJECT, projection),
            images=images,
            image_subjects=frozenset(
                Subject(IMAGE_PREFIX + image.name, image.digest) if image.digest is not None else None
                for image in images
            ),
            model_subjects=frozenset(
                [Subject(MODEL_PREFIX + model.name, model.digest)] if model.digest is not None else []
            ),
        )


def matching_bindings(subjects: Collection[Subject], here: Pinned) -> frozenset[str]:
    """Which of ``BINDINGS`` the subjects cover with exactly what is here: no more, no less."""
    matching = set()
    if _of(subjects, PROJECTION_SUBJECT) == [here.projection]:
        matching.add("projection")
    images = _under(subjects, IMAGE_PREFIX)
    # A custom resource may name no image: that there is none is said by the projection alone.
    if images == here.image_subjects and (images or "projection" in matching):
        matching.add("images")
    if (models := _under(subjects, MODEL_PREFIX)) and models == here.model_subjects:
        matching.add("model")
    return frozenset(matching)


def _of(subjects: Collection[Subject], name: str) -> list[Subject]:
    return [subject for subject in subjects if subject.name == name]


def _under(subjects: Collection[Subject], prefix: str) -> set[Subject]:
    return {subject for subject in subjects if subject.name.startswith(prefix)}


def refuse_bindings(
    subjects: Collection[Subject], here: Pinned, *, matching: Collection[str], demanded: Collection[str]
) -> Refusal | None:
    """Refuse where a demanded binding is covered and differs; one that is not covered is for policy to miss.

    Args:
        subjects: of the statement, distinct.
        here: what is there.
        matching: what ``matching_bindings`` says of the two.
        demanded: some of ``BINDINGS``.
    """
    open_ones = set(demanded) - set(matching)
    if "projection" in open_ones and _of(subjects, PROJECTION_SUBJECT):
        sentence = "the workload differs from the one that was signed (projection digest)"
        return Refusal(RejectionCode.PROJECTION_DIFFERS, sentence)
    if "images" in open_ones and (images := _under(subjects, IMAGE_PREFIX)):
        return Refusal(RejectionCode.IMAGE_DIFFERS, _describe_images(images, here))
    if "model" in open_ones and _under(subjects, MODEL_PREFIX):
        sentence = "the digest of the model artifact differs from the one that was signed"
        return Refusal(RejectionCode.MODEL_DIFFERS, sentence)
    return None


def _describe_images(signed: set[Subject], here: Pinned) -> str:
    signed_names = {subject.name for subject in signed}
    for image in here.images:
        container = plain(image.container.rpartition("[")[2].removesuffix("]"))
        if image.digest is None:
            return f"image of container {container} is not pinned by a digest"
        if Subject(IMAGE_PREFIX + image.name, image.digest) not in signed:
            what = "image digest" if IMAGE_PREFIX + image.name in signed_names else "image"
            return f"{what} of container {container} differs"
    gone = min(signed - here.image_subjects)
    return f"image {gone.name.removeprefix(IMAGE_PREFIX)[:128]} was signed and is not in the workload"
