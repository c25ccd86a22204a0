"""``placet policy``: what the policies do, before they decide anything."""

from __future__ import annotations

import click

from placet.cli.group import Group
from placet.cli.policy_eval import evaluate
from placet.cli.policy_matrix import matrix


@click.group(cls=Group)
def policy() -> None:
    r"""Prove what the approval matrix does, and judge single inputs.

    For whoever writes policy data: nothing here asks a cluster or a gate.

    \b
    Examples:
      placet policy matrix --data policy-data.yaml
      placet policy matrix --data policy-data.yaml --diff main
      placet policy eval -i input.json

    \b
    See also: docs/policy-authors.md
    """


policy.add_command(matrix)
policy.add_command(evaluate)
