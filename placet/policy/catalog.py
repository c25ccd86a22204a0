"""What each rule says of itself: title, description, severity and solution, from the bundle's manifest."""

from __future__ import annotations

import functools

from placet.policy.bundle import Bundle, Rule, shipped_bundle

_UNKNOWN = Rule(
    id="",
    title="A rule that this release of placet does not know",
    description="",
    severity="high",
    solution="Compare the release of placet with that of the policy bundle.",
    controls=(),
)


class Catalog:
    """The rules of one bundle, by id. The guard ``admission.main`` is among them."""

    def __init__(self, bundle: Bundle) -> None:
        self._rules: dict[str, Rule] = {}
        self._bundles: dict[str, tuple[Rule, ...]] = {}
        self.learn(bundle)

    def learn(self, bundle: Bundle) -> None:
        """Add the rules of another bundle."""
        self._rules = {**self._rules, **{rule.id: rule for rule in (*bundle.rules, bundle.guard)}}
        self._bundles = {**self._bundles, bundle.revision: bundle.rules}

    def rules_of(self, revision: str) -> tuple[Rule, ...]:
        """The rules that policies of this revision judge by; empty where they are not known."""
        return self._bundles.get(revision, ())

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Every rule, sorted by id."""
        return tuple(self._rules[name] for name in sorted(self._rules))

    def rule(self, rule_id: str) -> Rule:
        """The rule of that id; a placeholder when there is none, since a refusal must be told in any case."""
        return self._rules.get(rule_id, _UNKNOWN)


@functools.cache
def catalog() -> Catalog:
    """What is known of rules: those that ship with placet, and those of bundles that this process has learned."""
    return Catalog(shipped_bundle())


def learn_rules(bundle: Bundle) -> None:
    """Know what the rules of another bundle say of themselves, from now on; the newest word counts."""
    catalog().learn(bundle)


def rule(rule_id: str) -> Rule:
    """The rule of that id in the bundle that ships with placet."""
    return catalog().rule(rule_id)
