"""The command line: one module a command, found by name only when it is used."""

from __future__ import annotations

import sys
from typing import Any, Final, NoReturn

import click

from placet import __version__
from placet.cli.group import PLUGIN, Lazy, LazyGroup, keep_lines, name_program
from placet.cli.output import fail
from placet.cli.process import DEBUG_VARIABLE, run, run_step, told_from_answers
from placet.errors import PlacetError

# A command's module under placet.cli has a click command or group of the command's name.
_SUMMARIES: Final = {
    "approve": "Sign workloads for an environment, in one role.",
    "audit": "Find, read, verify and prove what was decided.",
    "break-glass": "Let one workload in without its approvals, by two persons, and review it.",
    "checklist": "Answer the sixteen items of the production checklist for workloads.",
    "completion": "Print the script that completes placet's commands in a shell.",
    "config": "Check, describe and show the configuration of a gate.",
    "digest": "Print the projection digest of workloads: what an approval signs.",
    "doctor": "Say what in a running cluster leaves a hole in the gate.",
    "evidence": "Attest what rules and the risk score ask for, and check such attestations.",
    "exempt": "Sign that a workload needs no approval, and list what was signed.",
    "help": "Show the help of a command.",
    "init": "Make keys, a signed keyring, a configuration and an example team in a folder.",
    "keyring": "Say who may approve and attest what.",
    "keys": "Make, show and fetch the keys that sign approvals, evidence and keyrings.",
    "plan": "Say whether workloads would be admitted, and what is missing.",
    "policy": "Write policies, test them, prove what they do, and judge single inputs and past decisions.",
    "revoke": "Take an approval back, by its id.",
    "score": "Show the risk score, where each part of it comes from, and what would lower it.",
    "verify": "Show which approvals on workloads count, and why others do not.",
}
# Commands of a higher layer, which announces them as entry points: placet/ never imports it.
_PLUGGED: Final = {
    "demo": "Show a model refused, approved, admitted and proved.",
    "serve": "Run the admission webhook.",
}
_ENTRY_POINTS: Final = "placet.commands"


def _own(name: str, summary: str) -> Lazy:
    word = name.replace("-", "_")
    return Lazy(f"placet.cli.{word}", word, summary)


class _Plugged(Lazy):
    """A command that another layer announces."""

    __slots__ = ()

    def load(self) -> click.Command:
        """Import it by its entry point."""
        from importlib.metadata import entry_points

        for point in entry_points(group=_ENTRY_POINTS, name=self.attribute):
            command: click.Command = point.load()
            return command
        raise PlacetError(f"`placet {self.attribute}` is not installed", hint="Install placet again.")


class _Root(LazyGroup):
    """The whole command line."""

    def make_context(self, *args: Any, **more: Any) -> click.Context:
        """Read the command line; --help is answered here."""
        with told_from_answers():
            return super().make_context(*args, **more)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an error of ours becomes one sentence on stderr and exit code 2."""
        # What is coloured is decided stream by stream in placet.cli.output; nothing is to be stripped after that.
        ctx.color = True
        try:
            with told_from_answers():
                return super().invoke(ctx)
        except PlacetError as exc:
            fail(exc)


@click.group(
    cls=_Root,
    lazy={
        **{name: _own(name, text) for name, text in _SUMMARIES.items()},
        **{name: _Plugged("", name, text) for name, text in _PLUGGED.items()},
    },
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="placet")
def root() -> None:
    r"""Signed approvals for model workloads on Kubernetes.

    A workload that serves a model enters a cluster only with the approvals that its environment and its risk call for.
    These commands make keys and approvals, say beforehand what the gate would answer, run the gate, and read, verify
    and prove its record. `placet help` with a command's name says more about it.

    \b
    Examples:
      placet init gate --cluster prod-eu-1 --no-passphrase
      placet plan -f deploy.yaml -e production --config gate/placet.yaml
      placet help audit verify

    \b
    Exit codes:
      0    fine
      1    violations found
      2    wrong usage, or it could not be told
      130  interrupted with Ctrl-C
      141  nobody read the output to its end

    \b
    Environment:
      PLACET_CONFIG             the configuration file, instead of ./placet.yaml
      PLACET_AUDIT_STORE        the record that `placet audit` reads
      PLACET_KEY_PASSPHRASE     opens a private key that signs
      PLACET_LOG_KEY_PASSPHRASE opens the key that signs the record's checkpoints
      KUBECONFIG                clusters to ask, as for kubectl
      NO_COLOR, FORCE_COLOR     never, or always, write in colour
      PLACET_DEBUG              shows where an internal error came from

    \b
    See also: placet help COMMAND, placet completion, docs/commands.md
    """


keep_lines(root)


def main() -> NoReturn:
    """Entry point of the console script."""
    run(root, program="placet")


def kubectl_main() -> NoReturn:
    """Entry point of ``kubectl-placet``, which kubectl runs as ``kubectl placet``."""
    run(name_program(root, PLUGIN), program=PLUGIN)


def kubectl_complete() -> NoReturn:
    """Entry point of ``kubectl_complete-placet``, which kubectl asks for what may come next."""
    from placet.cli.completion import complete_for_kubectl

    run_step(lambda: complete_for_kubectl(root, sys.argv[1:]))


__all__ = ["DEBUG_VARIABLE", "kubectl_complete", "kubectl_main", "main", "root"]
