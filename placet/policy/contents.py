"""What an OPA server must hold to judge for the gate, how that is compared, and how it is given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from placet.canonical import Digest, render_canonical
from placet.errors import CanonicalError, EngineError
from placet.policy.bundle import Bundle
from placet.policy.data import PolicyData
from placet.policy.failures import failure
from placet.policy.sockets import Deadline

_ID_PREFIX: Final = "placet/"
_OURS: Final = frozenset({"admission", "placet"})
_OPAS_OWN: Final = "system"
_NO_POLICIES: Final = "the policies were missing"
_NO_DATA: Final = "the policy data was missing"
GIVE_S: Final = 60.0
"""Longest that a server may take for all policies; what it has taken by then it need not be given again."""
LOST: Final = frozenset({_NO_POLICIES, _NO_DATA})
"""What ``Contents.ensure`` found when a server has merely lost what it was given, as in a restart."""


@dataclass(frozen=True, slots=True)
class Module:
    """A Rego module that a server holds.

    Attributes:
        id: by which it was put.
        root: the first part of its package's path, ``admission``.
        raw: its text.
    """

    id: str
    root: str
    raw: str


class Server(Protocol):
    """The part of OPA's REST API that deals with what it holds."""

    def read_modules(self, deadline: Deadline) -> list[Module]:
        """Every module."""

    def read_data(self, path: str, deadline: Deadline) -> Any:
        """The value at a path, without an input; None when there is none."""

    def put_module(self, module_id: str, raw: str, deadline: Deadline) -> None:
        """Add or replace a module."""

    def delete_module(self, module_id: str, deadline: Deadline) -> None:
        """Take a module away, if there is one."""

    def put_data(self, path: str, value: Mapping[str, Any], deadline: Deadline) -> None:
        """Set the value at a path."""

    def delete_data(self, path: str, deadline: Deadline) -> None:
        """Take the value at a path away, if there is one."""


class Contents:
    """The policies and the data of one gate on a server.

    Pulled, the policies are the server's own affair: its bundle's revision stands in each answer, and nobody can write
    below a bundle's root. Pushed, no answer names a revision. So the digest that stands beside the data, and that each
    decision repeats, is there one of the policies and the data together, and it is given last: a server that repeats
    it has been given everything since it started.

    Attributes:
        stamp: what each decision must repeat as ``data_digest``.
    """

    def __init__(self, bundle: Bundle, data: PolicyData, *, push: bool) -> None:
        """Read the bundle's modules.

        Raises:
            EngineError: ``bundle_invalid``.
        """
        self._push = push
        self._modules = {_ID_PREFIX + name: text for name, text in bundle.load_modules().items()}
        self._rules = sorted(rule.id.split(".") for rule in bundle.rules)
        self.stamp = str(data.digest)
        if push:
            both = {"data": str(data.digest), "policies": bundle.revision}
            self.stamp = str(Digest.of(render_canonical(both)))
        self._data = {**data.stamped(expected_rules=len(bundle.rules)), "digest": self.stamp}
        self._data_bytes = render_canonical(self._data)

    def ensure(self, server: Server, deadline: Deadline, giving: Deadline | None = None) -> str:
        """Compare what the server holds, and give it what it lacks.

        Args:
            server: that judges.
            deadline: for comparing, and for giving the data.
            giving: for giving all policies, which takes longer: OPA compiles everything after each. Else the same.

        Returns:
            what was not as it must be and is now; "" when there was nothing.

        Raises:
            EngineError: the server can't be asked, or holds, or goes on holding, what it must not.
        """
        before = self._difference_of_policies(server, deadline)
        if before and not self._push:
            raise failure("engine_drift", before)
        if before:
            deadline = giving or deadline
            self._give_policies(server, deadline)
            if after := self._difference_of_policies(server, deadline):
                raise failure("engine_drift", after)
        data = server.read_data("placet", deadline)
        if self._is_ours(data):
            return before
        server.put_data("placet", self._data, deadline)
        if not self._is_ours(server.read_data("placet", deadline)):
            raise failure("engine_other_data", "the policy engine took the policy data, and holds other data")
        return before or ("the policy data is another" if data else _NO_DATA)

    def _difference_of_policies(self, server: Server, deadline: Deadline) -> str:
        held = server.read_modules(deadline)
        if foreign := [module for module in held if module.root not in {*_OURS, _OPAS_OWN}]:
            # Not ours to take away, in either mode: somebody points the gate at an OPA that serves others too.
            raise failure("engine_drift", f"the policy engine holds {len(foreign)} policies that are not the gate's")
        held = [module for module in held if module.root in _OURS]
        if Counter(module.raw for module in held) != Counter(self._modules.values()):
            return _NO_POLICIES if not held else "the policies are others"
        if self._push and {module.id for module in held} != self._modules.keys():
            return "the policies are others"
        judged = server.read_data("admission/main/judged", deadline)
        return "" if judged == self._rules else "data stands where the policies look for rules"

    def _is_ours(self, data: Any) -> bool:
        try:
            return render_canonical(data) == self._data_bytes
        except CanonicalError:
            return False

    def _give_policies(self, server: Server, deadline: Deadline) -> None:
        # First the stamp goes: while some policies are there and some are not, no answer counts.
        server.put_data("placet", {}, deadline)
        server.delete_data("admission", deadline)
        held = {module.id: module for module in server.read_modules(deadline) if module.root in _OURS}
        stale = [name for name, module in held.items() if self._modules.get(name) != module.raw]
        _do_in_any_order(stale, lambda name: server.delete_module(name, deadline))
        missing = [name for name in sorted(self._modules) if name not in held or name in stale]
        _do_in_any_order(missing, lambda name: server.put_module(name, self._modules[name], deadline))


def _do_in_any_order(names: Iterable[str], act: Callable[[str], None]) -> None:
    """OPA compiles after each step and refuses one that leaves a function called that is not there.

    Raises:
        EngineError: ``engine_push_refused`` when no step that is left is taken.
    """
    waiting = list(names)
    while waiting:
        refused: list[str] = []
        for name in waiting:
            try:
                act(name)
            except EngineError as error:
                if error.code != "engine_push_refused":
                    raise
                refused.append(name)
                last = error
        if len(refused) == len(waiting):
            raise last
        waiting = refused
