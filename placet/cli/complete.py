"""What may come next on a command line. Nothing here ever fails or speaks: a shell would print it into the line."""

from __future__ import annotations

import functools
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import click
from click.shell_completion import CompletionItem

_MOST: Final = 20
_TIME: Final = len("2026-11-22T18:00")
KINDS: Final = (
    "cronjob",
    "daemonset",
    "deployment",
    "job",
    "pod",
    "replicaset",
    "replicationcontroller",
    "statefulset",
)
_Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def _quiet(function: Callable[[click.Context, str], Iterable[CompletionItem]]) -> _Complete:
    """Those of the function's items that begin as what was typed; none where it fails."""

    @functools.wraps(function)
    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG001 - click's signature
        try:
            return [item for item in function(ctx, incomplete) if str(item.value).startswith(incomplete)]
        except Exception:  # noqa: BLE001 - whatever is wrong, the command itself says it when it runs
            return []

    return complete


@_quiet
def complete_environment(ctx: click.Context, incomplete: str) -> Iterator[CompletionItem]:  # noqa: ARG001 - click's
    """Environments of the policy data: the operator's where there is a configuration, else those that ship."""
    from placet.assemble import load_policies
    from placet.cli import clock
    from placet.config import load_config
    from placet.policy.data import load_policy_data

    file = _config_file(ctx)
    data = load_policies(load_config(file), now=clock.now_utc())[0] if file.is_file() else load_policy_data(None)
    for name in sorted(data.value["environments"]):
        yield CompletionItem(name)


@_quiet
def complete_rule(ctx: click.Context, incomplete: str) -> Iterator[CompletionItem]:  # noqa: ARG001 - click's
    """Rules of the policies, with their titles."""
    from placet.policy.bundle import shipped_bundle

    for rule in shipped_bundle().rules:
        yield CompletionItem(rule.id, help=rule.title)


@_quiet
def complete_decision(ctx: click.Context, incomplete: str) -> Iterator[CompletionItem]:  # noqa: ARG001 - click's
    """Ids of the newest decisions of the record."""
    for body in _newest(ctx):
        what = f"{'allow' if body['allowed'] else 'deny'} {body.get('kind')}/{body.get('name')}"
        yield CompletionItem(str(body["decision_id"]), help=f"{str(body['time'])[:_TIME]} {what}")


def complete_recorded(name: str) -> _Complete:
    """Values that a member of the newest decisions of the record has."""

    @_quiet
    def complete(ctx: click.Context, incomplete: str) -> Iterator[CompletionItem]:  # noqa: ARG001 - click's
        values: list[Any] = [
            body.get("model", {}).get("name") if name == "model" else body.get(name)
            for body in _newest(ctx, 10 * _MOST)
        ]
        for value in dict.fromkeys(value for value in values if isinstance(value, str) and value.isprintable()):
            yield CompletionItem(value)

    return complete


def _newest(ctx: click.Context, limit: int = _MOST) -> list[Any]:
    from placet.audit.query import Query, find
    from placet.cli.record_source import open_record

    with ctx.scope(cleanup=False), open_record(ctx.params.get("store"), _config_file(ctx)) as reader:
        return [one.body for one in find(reader, Query(), limit=limit).found]


def _config_file(ctx: click.Context) -> Path:
    return Path(ctx.params.get("config_file") or os.environ.get("PLACET_CONFIG") or "placet.yaml")


@_quiet
def complete_context(ctx: click.Context, incomplete: str) -> Iterator[CompletionItem]:  # noqa: ARG001 - click's
    """Contexts of the kubeconfig."""
    import yaml

    files = str(ctx.params.get("kubeconfig") or os.environ.get("KUBECONFIG") or Path.home() / ".kube" / "config")
    for file in filter(None, files.split(os.pathsep)):
        if Path(file).is_file():
            for entry in yaml.safe_load(Path(file).read_text(encoding="utf-8"))["contexts"]:
                yield CompletionItem(entry["name"])


@_quiet
def complete_target(ctx: click.Context, incomplete: str) -> Iterator[CompletionItem]:  # noqa: ARG001 - click's
    """Kinds that can be named, the registry's too; names are not asked for, as that would wait for a cluster."""
    from placet.cli.workloads import load_kinds

    for kind in KINDS:
        yield CompletionItem(f"{kind}/")
    file = _config_file(ctx)
    custom = load_kinds(file if file.is_file() else None).custom
    distinct = {f"{one.resource}.{one.group}": one.name.lower() for one in custom}  # a kind may have several entries
    names = Counter([*KINDS, *distinct.values()])
    for full, name in distinct.items():  # one name of several kinds would be asked for in full
        yield CompletionItem(f"{name}/" if names[name] == 1 else f"{full}/", help=full)


@_quiet
def complete_command(ctx: click.Context, incomplete: str) -> Iterator[CompletionItem]:
    """Commands below those that were typed already, for ``placet help``."""
    current = ctx.find_root()
    for name in ctx.params.get("command") or ():
        if not isinstance(current.command, click.Group):
            return
        found = current.command.get_command(current, name)
        if found is None:
            return
        current = click.Context(found, info_name=name, parent=current)
    if isinstance(current.command, click.Group):
        yield from click.Group.shell_complete(current.command, current, incomplete)
