"""The gate's side of the process that judges by a candidate: started, asked with a time limit, and ended."""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

from placet.errors import EngineError
from placet.shadow.answer import Answer
from placet.shadow.leaves import Candidate
from webhook.candidate import HOME, TIME_S, bare_environment

ANSWER_S: Final = 10.0
"""The longest that one answer is waited for."""
_MAX_ANSWER: Final = 1 << 20


class JudgeLostError(Exception):
    """The process has ended, or does not answer; it is no more.

    Attributes:
        code: ``judge_ended`` or ``judge_silent``.
    """

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class JudgeProcess:
    """One process, ready to judge. One thread at a time has it.

    Attributes:
        candidate: what it judges by.
    """

    def __init__(self, process: subprocess.Popen[bytes], line: socket.socket) -> None:
        self._process = process
        self._line = line
        self._read = b""
        self.candidate = Candidate("", "", "", 0, "")

    @classmethod
    def start(
        cls, folder: Path, operator_file: Path | None, *, manifest: str, version: int, time_s: float = TIME_S
    ) -> JudgeProcess:
        """Start it, and let it try the policies out before it judges by them.

        Args:
            folder: of the bundle, which was verified.
            operator_file: policy data that are merged over the bundle's; None for none.
            manifest: digest of the manifest that was verified.
            version: that was signed; 0 where nobody has to sign.
            time_s: the longest that it may take to be ready.

        Raises:
            EngineError: ``candidate_failed``, or what was found.
        """
        ours, theirs = socket.socketpair()
        arguments = [str(theirs.fileno()), str(folder), str(operator_file or "")]
        try:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "webhook.shadow_judge", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env=bare_environment(),
                cwd=HOME,
                process_group=0,  # what a terminal sends to the gate is not for it: the gate ends it
            )
        except OSError as exc:
            ours.close()
            raise _failed(f"no process could be started for it: {exc.strerror or exc}") from exc
        finally:
            theirs.close()
        made = cls(process, ours)
        try:
            told = made._receive(time_s)
            made._introduce(told, manifest=manifest, version=version)
        except JudgeLostError as exc:
            made.close()
            late = f"they were not ready within {time_s:g} s"
            raise _failed(late if exc.code == "judge_silent" else f"the process that tried them {made.end}") from exc
        except BaseException:
            made.close()
            raise
        return made

    @property
    def end(self) -> str:
        """How the process ended, for a sentence."""
        code = self._process.poll()
        if code is None:
            return "goes on"
        return f"ended with signal {-code}" if code < 0 else f"ended with status {code}"

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def judge(self, raw: bytes, *, time_s: float = ANSWER_S) -> tuple[Answer, float]:
        """Ask.

        Args:
            raw: canonical bytes of the policy input.
            time_s: the longest that the answer may take.

        Returns:
            the answer, and the seconds of a processor that it took.

        Raises:
            JudgeLostError: there is none, and the process was ended.
        """
        try:
            self._line.settimeout(time_s)
            self._line.sendall(raw + b"\n")
            told = self._receive(time_s)
            return Answer.parse(told), float(told["cpu_s"])
        except JudgeLostError:
            self.close()
            raise
        except (OSError, KeyError, TypeError, ValueError) as exc:
            self.close()
            raise JudgeLostError("judge_silent" if isinstance(exc, TimeoutError) else "judge_ended") from exc

    def interrupt(self) -> None:
        """Kill the process; whoever waits for its answer hears of it, and closes."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    def close(self) -> None:
        """End the process, whatever it does."""
        self._line.close()
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait()

    def _introduce(self, told: dict[str, Any], *, manifest: str, version: int) -> None:
        if told.get("code"):
            raise EngineError(
                f"tried aside, the policies fail: {told.get('message', '')}",
                code=str(told["code"]),
                hint=str(told.get("hint", "")),
            )
        if told.get("manifest") != manifest:
            raise _failed("they changed while they were tried")
        self.candidate = Candidate(
            str(told.get("revision", "")), manifest, str(told.get("data", "")), version, secrets.token_hex(8)
        )

    def _receive(self, time_s: float) -> dict[str, Any]:
        """The next line, as JSON."""
        until_s = time.monotonic() + time_s
        while b"\n" not in self._read:
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                raise JudgeLostError("judge_silent")
            self._line.settimeout(left_s)
            try:
                more = self._line.recv(1 << 16)
            except TimeoutError as exc:
                raise JudgeLostError("judge_silent") from exc
            except OSError as exc:
                raise JudgeLostError("judge_ended") from exc
            if not more or len(self._read) > _MAX_ANSWER:
                raise JudgeLostError("judge_ended")
            self._read += more
        line, _, self._read = self._read.partition(b"\n")
        try:
            value = json.loads(line)
        except ValueError as exc:
            raise JudgeLostError("judge_ended") from exc
        if not isinstance(value, dict):
            raise JudgeLostError("judge_ended")
        return value


def _failed(why: str) -> EngineError:
    return EngineError(f"the policies were tried aside, and {why}", code="candidate_failed")
