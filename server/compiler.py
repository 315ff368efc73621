"""The process that compiles policies, so that those that serve only load what comes of it.

    the file's bytes ──▶ names, values, patterns, and the meaning known before ──▶ the first artefact
                     ──▶ what `like` examples are new is encoded, all is calibrated ──▶ the whole one

It is kept warm: its interpreter, its encoder and the vectors of examples are what a new target would wait
for.  It gives a build by meaning up as soon as another policy waits; when it dies, another one is started.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import socket
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guards.registry import Guard
from policies.calibrate import refuse_rate
from policies.discretion import discreet
from policies.loader import policy_of
from policies.policy import Policy
from policies.problems import PolicyError
from policies.source import Source
from server.artefact import ABOUT, Artefact, packed, unpacked
from server.compiled import CompiledPolicies
from server.keys import installation_key
from server.messages import Line, PlainLine, Said
from server.processes import SPAWN, be_quiet, exited, kill_group, lead_a_group

if TYPE_CHECKING:
    from guards.meaning import Meaning

log = logging.getLogger("lethe")

_RESTART_S = 1.0
_TOLD_S = 10.0
"""Who waits for a policy is told so often how far it is."""


class Refused(Exception):
    """What was to be compiled is no policy that can be enforced; nothing of it is wrong but the file."""

    def __init__(self, line: str, text: str) -> None:
        """line: for a log, without a word of the policy.  text: for who started the server, on a terminal."""
        super().__init__(line)
        self.line = line
        self.text = text


class NotCompiled(Exception):
    """It could not be found out whether it is a policy; another try may help.  The message is for a log."""


class Compiler:
    """The compiling process, as its parent sees it."""

    def __init__(self, state: Path, encoder: str | None) -> None:
        self._source = state, encoder
        self._process: BaseProcess | None = None
        self._line: Line | None = None
        self._replies: asyncio.Queue[tuple[Said, bytes] | None] = asyncio.Queue()
        self._job = 0
        self._informed = False
        """Whether the process has been told of a policy in force, or has compiled one itself."""
        self._keeping: asyncio.Task[None] | None = None
        self._up = asyncio.Event()

    async def start(self) -> None:
        """Start the process, and another one whenever it has died."""
        await self._spawn()
        self._keeping = asyncio.create_task(self._keep())

    async def begin(self, source: Source, path: Path, *, base: Artefact | None, only_whole: bool) -> None:
        """Have a policy file as it was read compiled; whatever was being compiled before is given up.

        base: the artefact in force, if any: what it knows by meaning is used again.
        only_whole: whether the first artefact is left out, since it is in force or nothing would use it.
        """
        self._job += 1
        self._replies = asyncio.Queue()
        await self._up.wait()
        assert self._line is not None
        try:
            if base is not None and not self._informed:
                await self._line.say({"do": "know", "kept": base.kept}, base.data)
            self._informed = True
            head, data = source.packed()
            said = {
                "do": "compile",
                "job": self._job,
                "file": str(path),
                "only_whole": only_whole,
                "parts": head,
            }
            await self._line.say(said, data)
        except OSError:
            self._replies.put_nowait(None)

    async def artefact(self) -> Artefact:
        """Return the next artefact of what was begun; the last is whole.  Raises Refused or NotCompiled.

        Where it takes long, how far it is goes into the log, each thing once.
        """
        doing, told = "waiting for the process that compiles", ""
        while True:
            try:
                async with asyncio.timeout(_TOLD_S):
                    reply = await self._replies.get()
            except TimeoutError:
                if doing != told:
                    log.info("compiling the policy: %s", doing)
                told = doing
                continue
            if reply is None:
                raise NotCompiled("the process that compiles policies died")
            said, data = reply
            if "refused" in said:
                raise Refused(said["refused"], said["text"])
            if "failed" in said:
                raise NotCompiled(said["failed"])
            if "doing" not in said:
                return Artefact(**{name: said[name] for name in (*ABOUT, "kept")}, data=data)
            doing = said["doing"]

    async def stop(self) -> None:
        """End the process at once, with whatever it has started; what it was doing is lost."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        if self._process is not None and self._process.pid is not None:
            kill_group(self._process)
            await exited(self._process)
            self._process.join()
        if self._line is not None:
            self._line.close()

    async def _spawn(self) -> None:
        ours, theirs = socket.socketpair()
        self._process = SPAWN.Process(target=_compile_for_ever, args=(theirs, *self._source), daemon=True)
        self._process.start()
        theirs.close()
        self._line = await Line.over(ours)
        self._informed = False
        self._up.set()

    async def _keep(self) -> None:
        while True:
            assert self._line is not None and self._process is not None
            while (reply := await self._line.hear()) is not None:
                if reply[0].get("job") == self._job:
                    self._replies.put_nowait(reply)
            self._up.clear()
            self._replies.put_nowait(None)
            kill_group(self._process)
            await exited(self._process)
            self._process.join()
            self._line.close()
            await asyncio.sleep(_RESTART_S)
            log.warning("the process that compiles policies died; starting another")
            await self._spawn()


# -- the process itself -----------------------------------------------------------------------------------


def _compile_for_ever(theirs: socket.socket, state: Path, encoder: str | None) -> None:
    lead_a_group()
    be_quiet()
    _Bench(PlainLine(theirs), state, encoder).work()


class _Superseded(Exception):
    """Something else is to be done."""


class _Bench:
    """Where policies are compiled, one after the other."""

    def __init__(self, line: PlainLine, state: Path, encoder: str | None) -> None:
        self._line = line
        self._state = state
        self._encoder = encoder
        self._meaning: Meaning | None = None
        """The last that was made: where the next one begins."""
        self._base: tuple[str, bytes] | None = None
        """A guard that is in force and whose meaning was not looked at yet: its file, or itself."""
        self._maker: Any = None
        self._compiled: CompiledPolicies | None = None
        self._doing = ""

    def work(self) -> None:
        """Do what is asked until nobody asks any more."""
        while (asked := self._line.hear()) is not None:
            said, data = asked
            # Whatever goes wrong goes to the parent, in words that quote nothing; a traceback would.
            with contextlib.suppress(OSError):
                if said["do"] == "know":
                    self._base = said["kept"], data
                else:
                    self._compile(said, data)

    def _known(self) -> Meaning | None:
        """Return the meaning that the next one begins with."""
        if self._base is not None:
            (kept, data), self._base = self._base, None
            with contextlib.suppress(Exception):  # without it all is encoded anew, which takes longer
                guard = self._kept().guard(kept) if kept else unpacked(data)
                self._meaning = guard.meaning
        return self._meaning

    def _kept(self) -> CompiledPolicies:
        if self._compiled is None:
            self._compiled = CompiledPolicies(self._state, installation_key(self._state), self._encoder)
        return self._compiled

    def _compile(self, said: Said, data: bytes) -> None:
        gc.disable()
        try:
            source = Source.unpacked(said["parts"], data)
            if (found := self._kept().find(source.digest)) is not None:
                self._base = found.kept, found.data
                self._say(said, found)
                return
            self._tell(said, f"reading {len(data):,} bytes")
            self._make(policy_of(source, said["file"]), said)
        except PolicyError as error:
            self._line.say({"job": said["job"], "refused": discreet(error), "text": str(error)})
        except _Superseded:
            pass
        except Exception as error:  # noqa: BLE001  (what it is of no type tells more than its type)
            self._line.say({"job": said["job"], "failed": _failure(error)})
        finally:
            gc.enable()

    def _make(self, policy: Policy, said: Said) -> None:
        refuse_rate(policy, said["file"])
        known = self._known() if policy.uses_meaning else None
        carried = None if known is None else known.carried(policy)
        whole = not policy.uses_meaning or (known is not None and known.serves(policy))
        self._tell(said, f"names and values of {len(policy.targets):,} targets")
        if whole or not said["only_whole"]:
            missing = _with_examples(policy) if known is None else known.missing(policy)
            self._send(said, Guard(policy, carried, pending=frozenset() if whole else missing), whole)
        if not whole:
            self._meaning = self._built(policy, said)
            self._tell(said, f"names and values of {len(policy.targets):,} targets, with their meaning")
            self._send(said, Guard(policy, self._meaning), True)

    def _built(self, policy: Policy, said: Said) -> Meaning:
        from server.compiling import MeaningMaker

        def tell(doing: str) -> None:
            self._tell(said, doing)

        if self._maker is None:
            self._maker = MeaningMaker(self._state, self._encoder, self._give_way, tell)
        meaning: Meaning = self._maker.make(policy, tell)
        return meaning

    def _give_way(self) -> None:
        if self._line.waiting():
            raise _Superseded

    def _tell(self, said: Said, doing: str) -> None:
        if doing != self._doing:
            self._doing = doing
            self._line.say({"job": said["job"], "doing": doing})

    def _send(self, said: Said, guard: Guard, whole: bool) -> None:
        policy, meaning = guard.policy, guard.meaning
        flawed = 0 if meaning is None else len(meaning.problems)
        made = Artefact(policy.digest, policy.name, len(policy.targets), whole, flawed)
        if whole:
            self._tell(said, "writing what was compiled")
            self._say(said, self._kept().keep(guard, made))
        else:
            self._say(said, replace(made, data=packed(guard)))

    def _say(self, said: Said, made: Artefact) -> None:
        about = {name: getattr(made, name) for name in (*ABOUT, "kept")}
        self._line.say({"job": said["job"], **about}, made.data)


def _with_examples(policy: Policy) -> frozenset[str]:
    return frozenset(target.id for target in policy.targets if target.like)


def _failure(error: Exception) -> str:
    from guards.base import EncoderUnavailable

    # Our own errors say what an operator can do, and quote no example.
    if isinstance(error, EncoderUnavailable):
        return str(error)
    return f"the policy cannot be compiled: unforeseen {type(error).__name__}"
