"""``placet policy``: what the policies do, before they decide anything."""

from __future__ import annotations

import click

from placet.cli.group import Group
from placet.cli.policy_bench import bench
from placet.cli.policy_bundle import bundle
from placet.cli.policy_check import check
from placet.cli.policy_config import policy_config
from placet.cli.policy_docs import docs
from placet.cli.policy_eval import evaluate
from placet.cli.policy_explain import explain
from placet.cli.policy_matrix import matrix
from placet.cli.policy_new import new
from placet.cli.policy_profile import profile
from placet.cli.policy_replay import replay
from placet.cli.policy_shadow import shadow
from placet.cli.policy_test import test


@click.group(cls=Group)
def policy() -> None:
    r"""Write policies, test them, prove what they do, and judge single inputs and past decisions.

    For whoever writes policies or policy data: nothing here asks a cluster or a gate.

    \b
    Examples:
      placet policy test
      placet policy matrix --data policy-data.yaml
      placet policy matrix --data policy-data.yaml --diff main
      placet policy eval -i input.json
      placet policy profile governance
      placet policy replay --since 30d --bundle new/
      placet policy shadow --since 7d

    \b
    See also: docs/policy-authors.md
    """


policy.add_command(bundle)
policy.add_command(matrix)
policy.add_command(evaluate)
policy.add_command(profile)
policy.add_command(new)
policy.add_command(test)
policy.add_command(check)
policy.add_command(policy_config)
policy.add_command(explain)
policy.add_command(bench)
policy.add_command(docs)
policy.add_command(replay)
policy.add_command(shadow)
