"""Precision and recall of detection over a corpus of labelled objects, with every miss and false alarm named.

The corpus is a folder with ``objects.jsonl``: one JSON object a line with ``id``, ``repo``, ``path``, ``label``,
``object``. Only the label M (serves a model) is positive. A (undecidable) and X (a partial patch) are left out. All
others must not be found: D and T, which fetch and train; R, U and B, which stand before or call a server; RT, which is
a template and runs nothing; S, G, V and O. ``suspected`` counts as not found, and is counted by label beside it.

Nothing is learned from the corpus, so no fold is trained on: the folds by repository show whether the numbers rest on a
few repositories, and which tables decide in each.
"""

from __future__ import annotations

import argparse
import json
import sys
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from placet.detection import Rules, Verdict, detect, read_rules
from placet.policy.data import load_policy_data

POSITIVE: Final = "M"
LEFT_OUT: Final = frozenset({"A", "X"})
LEAST_PRECISION: Final = 0.98
LEAST_RECALL: Final = 0.95
FOLDS: Final = 5


@dataclass(frozen=True, slots=True)
class Judged:
    """One object of the corpus, and what detection makes of it."""

    id: str
    repo: str
    path: str
    label: str
    name: str
    verdict: Verdict

    @property
    def found(self) -> bool:
        """Whether detection says that it serves a model."""
        return self.verdict.answer == "serves_model"

    @property
    def right(self) -> bool:
        """Whether that is so."""
        return self.found == (self.label == POSITIVE)


@dataclass(frozen=True, slots=True)
class Quality:
    """Counts of a set of objects."""

    found: int
    false: int
    missed: int

    @classmethod
    def of(cls, judged: Iterable[Judged]) -> Quality:
        """Count."""
        counts = Counter((one.found, one.label == POSITIVE) for one in judged)
        return cls(counts[True, True], counts[True, False], counts[False, True])

    @property
    def precision(self) -> float:
        """Share of those found that serve a model; 1 where none was found."""
        return self.found / (self.found + self.false) if self.found + self.false else 1.0

    @property
    def recall(self) -> float:
        """Share of those that serve a model that was found; 1 where there are none."""
        return self.found / (self.found + self.missed) if self.found + self.missed else 1.0

    def __str__(self) -> str:
        counts = f"{self.found} found, {self.false} false alarms, {self.missed} missed"
        return f"precision {self.precision:.4f}  recall {self.recall:.4f}  ({counts})"


def judge_corpus(lines: Iterable[str], rules: Rules) -> list[Judged]:
    """Judge each object that has a label which can be right or wrong."""
    judged = []
    for line in lines:
        entry: dict[str, Any] = json.loads(line)
        if entry["label"] in LEFT_OUT:
            continue
        obj = entry["object"]
        name = f"{obj.get('kind')}/{(obj.get('metadata') or {}).get('name')}"
        judged.append(Judged(str(entry["id"]), entry["repo"], entry["path"], entry["label"], name, detect(obj, rules)))
    return judged


def fold_of(repo: str) -> int:
    """The fold of a repository, the same each time."""
    return zlib.crc32(repo.encode()) % FOLDS


def render_report(judged: Sequence[Judged]) -> list[str]:
    """The report, a line each."""
    lines = [f"{len(judged)} objects of {len({one.repo for one in judged})} repositories: {Quality.of(judged)}"]
    suspected = Counter(one.label for one in judged if one.verdict.answer == "suspected")
    lines.append(f"suspected, by label: {dict(sorted(suspected.items())) or 'none'}")
    for fold in range(FOLDS):
        part = [one for one in judged if fold_of(one.repo) == fold]
        tables = Counter(reason.table for one in part if one.found for reason in one.verdict.reasons[:1])
        shown = ", ".join(f"{table} {count}" for table, count in tables.most_common())
        lines.append(f"fold {fold + 1}: {len(part)} objects, {Quality.of(part)}; by {shown or 'nothing'}")
    for one in judged:
        if not one.right:
            word = "FALSE ALARM" if one.found else "MISS"
            why = ", ".join(f"{reason.table} {reason.key}" for reason in one.verdict.reasons[:4])
            lines.append(
                f"{word}  {one.label}  {one.id}  {one.repo}  {one.path}  {one.name}  {why or one.verdict.answer}"
            )
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the report; 1 where the numbers are too low, 2 where there is no corpus."""
    parser = argparse.ArgumentParser(description="Precision and recall of detection over a corpus of labelled objects.")
    parser.add_argument("corpus", type=Path, help="folder with objects.jsonl")
    parser.add_argument("--policy-data", type=Path, help="operator's policy data file over the shipped tables")
    given = parser.parse_args(arguments)
    rules = read_rules(load_policy_data(given.policy_data).value["detection"])
    try:
        lines = (given.corpus / "objects.jsonl").read_text(encoding="utf-8").splitlines()
    except OSError as exc:
        print(f"{given.corpus}/objects.jsonl can't be read: {exc.strerror}", file=sys.stderr)
        return 2
    judged = judge_corpus(lines, rules)
    if not any(one.label == POSITIVE for one in judged):
        print(f"no object in {given.corpus} is labelled {POSITIVE}", file=sys.stderr)
        return 2
    print("\n".join(render_report(judged)))
    quality = Quality.of(judged)
    return int(quality.precision < LEAST_PRECISION or quality.recall < LEAST_RECALL)


if __name__ == "__main__":
    sys.exit(main())
