"""``placet break-glass``: two persons let a workload in without its approvals, and somebody else looks into it."""

from __future__ import annotations

import click

from placet.cli.glass_review import review
from placet.cli.glass_sign import sign
from placet.cli.group import Group


@click.group("break-glass", cls=Group)
def break_glass() -> None:
    r"""Let one workload in without its approvals, by two persons, and review it.

    A token is for exactly one content of one workload in one place. It holds for minutes, needs the signatures of two
    persons with the grant break-glass, and whatever it lets in is flagged everywhere and has to be reviewed by a
    deadline: after that nothing of the workload is deployed any more until it is.

    \b
    Examples:
      placet break-glass sign -f deploy.yaml -e production --reason "llama answers with garbage" --key gina.key
      placet break-glass sign -f deploy.yaml -e production --key hugo.key
      placet break-glass review -f deploy.yaml -e production --conclusion "right; approvals follow" --key rita.key

    \b
    See also: placet plan, placet revoke, docs/break-glass.md
    """


break_glass.add_command(sign)
break_glass.add_command(review)
