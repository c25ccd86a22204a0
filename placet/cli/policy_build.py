"""``placet policy bundle build``: compile what ships and a team's own policies into one bundle."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from placet.cli.options import output_option
from placet.cli.output import EXIT_VIOLATIONS, print_result, safe, say, style
from placet.cli.policy_authoring import finding_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from placet.policy.authoring.opa import Opa
    from placet.policy.authoring.tree import Tree
    from placet.policy.bundle import Bundle

SCHEMA: Final = "placet.dev/policy-bundle-built/v1"
_FOLDER: Final = click.Path(path_type=Path, file_okay=False)


@click.command()
@click.option(
    "--policies",
    multiple=True,
    type=_FOLDER,
    help="Folder of your policies: an overlay of what ships (repeatable), or a whole tree; else what ships alone.",
)
@click.option(
    "--out", "folder", required=True, type=_FOLDER, help="Folder for the bundle; one that is there is replaced."
)
@click.option("--opa", "program", type=click.Path(path_type=Path), help="The opa to compile with.")
@click.option("--check", is_flag=True, help="Write nothing: say whether the folder holds these very bytes.")
@output_option("json", "yaml")
def build(policies: tuple[Path, ...], folder: Path, program: Path | None, *, check: bool, output: str) -> None:
    r"""Compile policies into a bundle: what ships, with your own rules and data beside it.

    Your policies are checked first, as `placet policy check` does, and nothing is written while something is wrong with
    them. The same policies give the same bytes on every machine. The bundle is for the release of placet that built it;
    a new one is signed again.

    \b
    Examples:
      placet policy bundle build --policies our-policies --out policies.d
      placet policy bundle build --policies team-a --policies team-b --out policies.d
      placet policy bundle build --policies our-policies --out policies.d --check

    \b
    Exit codes:
      0  it is written; with --check, the folder holds it
      1  something is wrong with the policies; with --check, the folder holds something else
      2  there are no policies, their data can't be used, or there is no opa

    \b
    Environment:
      PLACET_OPA  the opa to use; else the one on PATH

    \b
    See also: placet policy check, placet policy test, placet policy bundle sign, docs/policy-authors.md
    """
    from placet.errors import InputError
    from placet.policy.authoring.compiling import compile_tree
    from placet.policy.authoring.opa import find_opa
    from placet.policy.authoring.tree import find_tree, shipped_tree
    from placet.policy.package import save_files

    opa = find_opa({"PLACET_OPA": str(program)} if program else None)
    tree = find_tree(*policies) if policies else shipped_tree()
    _require_faultless(opa, tree)
    files = compile_tree(opa, tree)
    bundle = _try(files)
    if check:
        _compare(files, folder)
    else:
        try:
            save_files(files, folder)
        except OSError as exc:
            raise InputError(f"can't write {folder}: {exc.strerror or exc}") from exc
        say(f"next: placet policy bundle sign {folder} --key KEY --version N")
    _print(bundle, tree, folder, files, output)


def _require_faultless(opa: Opa, tree: Tree) -> None:
    from placet.policy.authoring.checking import find_faults
    from placet.policy.authoring.overlay import load_tree_data

    if not tree.own and not tree.strays:
        return
    found = find_faults(opa, tree, load_tree_data(tree, None))
    for one in found:
        click.echo(finding_line(one), err=True)
    if found:
        say("nothing was written")
        sys.exit(EXIT_VIOLATIONS)


def _try(files: Mapping[str, bytes]) -> Bundle:
    """The bundle as a gate would read it: its data merged and checked, its module loaded."""
    import tempfile

    from placet.policy.bundle import load_bundle
    from placet.policy.data import load_policy_data
    from placet.policy.package import save_files
    from placet.policy.wasm import EmbeddedEngine

    with tempfile.TemporaryDirectory(prefix="placet-built-") as aside:
        tried = Path(aside) / "bundle"
        save_files(files, tried)
        bundle = load_bundle(tried)
        EmbeddedEngine(bundle, load_policy_data(None, bundle)).close()
    return bundle


def _compare(files: Mapping[str, bytes], folder: Path) -> None:
    from placet.policy.signed import SIGNATURE

    present = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    present.pop(SIGNATURE, None)
    differing = sorted(
        name for name in files.keys() | present.keys() if name not in present or _read(present[name]) != files.get(name)
    )
    if differing:
        say(f"{folder} is not what the policies give: {', '.join(map(safe, differing))}")
        sys.exit(EXIT_VIOLATIONS)


def _read(path: Path) -> bytes:
    from placet.errors import InputError

    try:
        return path.read_bytes()
    except OSError as exc:
        raise InputError(f"{path} can't be read: {exc.strerror or exc}") from exc


def _print(bundle: Bundle, tree: Tree, folder: Path, files: Mapping[str, bytes], output: str) -> None:
    from placet.canonical import Digest
    from placet.policy.bundle import MANIFEST

    digest = str(Digest.of(files[MANIFEST]))
    own = sorted(tree.rules)
    if output != "text":
        print_result(
            {
                "schema": SCHEMA,
                "folder": str(folder),
                "digest": digest,
                "revision": bundle.revision,
                "compiler": bundle.compiler,
                "rules": [rule.id for rule in bundle.rules],
                "own_rules": own,
                "own_data": [one.name for one in tree.overlay.values()],
            },
            output,
        )
        return
    click.echo(f"{style('built', 'green', bold=True)}  {folder}: {len(bundle.rules)} rules, {digest}")
    for rule in own if not tree.whole else ():
        click.echo(f"  rule  {rule}  {safe(tree.rules[rule].shown)}")
    for one in tree.overlay.values():
        click.echo(f"  data  {safe(one.name)}")
