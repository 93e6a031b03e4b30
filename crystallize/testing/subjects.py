"""What the contracts of execution strategies drive: experiments that watch, replicates that follow a script.

Workers import this module, and may have no pytest: it does not import it.
"""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import json
import os
import pickle
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import count
from typing import TYPE_CHECKING, Any

import cloudpickle

from crystallize.datasources.artifact import Artifact
from crystallize.experiments.experiment import Experiment
from crystallize.experiments.treatment import Treatment
from crystallize.pipelines.pipeline_step import pipeline_step
from crystallize.plugins.artifact import ArtifactPlugin
from crystallize.testing.recorder import HookRecorder

if TYPE_CHECKING:
    from pathlib import Path

    from crystallize.errors import CrystallizeError

PATIENCE = 20.0
"""How many seconds something may take that is sure to happen."""

_PAUSE = 0.005
_SECONDS_OF_A_REPLICATE = 0.05
_SECONDS_TO_NOTICE_A_SIGNAL = 0.3


def until(happened: Callable[[], Any], seconds: float = PATIENCE) -> Generator[None, None, bool]:
    """Yield until something has happened; return whether it has, in time. For scripts of a replicate."""
    deadline = time.monotonic() + seconds
    while not (done := happened()) and time.monotonic() < deadline:
        yield
    return bool(done)


def wait_until(happened: Callable[[], Any], seconds: float = PATIENCE) -> bool:
    """Wait until something has happened; return whether it has, in time."""
    return bool(_play(until(happened, seconds)))


def ticket(folder: Path) -> int:
    """Return 0 the first time that any process asks, then 1, and so on: who began first is nobody's to choose."""
    for number in count():
        with suppress(FileExistsError):
            (folder / f"ticket-{number}").open("x").close()
            return number
    raise AssertionError("numbers do not end")


def _play(script: Any) -> Any:
    if not inspect.isgenerator(script):
        return script
    while True:
        try:
            next(script)
        except StopIteration as end:
            return end.value
        time.sleep(_PAUSE)


# -- without the engine --------------------------------------------------------------------------------------


class Cancelled(BaseException):
    """What :class:`Watched` raises once it was cancelled."""


class Owed:
    """The numbers of replicates that a strategy is to run, for threads to share: notes which it has taken.

    Parameters
    ----------
    numbers : sequence of int, optional
        The numbers. By default they go on until :meth:`end` is called, and nobody knows how many are left.
    """

    def __init__(self, numbers: Sequence[int] | None = None) -> None:
        self.taken: list[int] = []
        self.has_ended = False
        self._left = None if numbers is None else len(numbers)
        self._numbers = iter(count() if numbers is None else numbers)
        self._lock = threading.Lock()

    def __iter__(self) -> Owed:
        return self

    def __next__(self) -> int:
        """Take a number."""
        with self._lock:
            if self.has_ended:
                raise StopIteration
            self.taken.append(next(self._numbers))
            return self.taken[-1]

    def __length_hint__(self) -> int:
        """Return how many are left."""
        return NotImplemented if self._left is None else self._left - len(self.taken)

    def end(self) -> None:
        """Have nothing more be owed, as a rule does that has seen enough."""
        self.has_ended = True


class Watched(Experiment):
    """An experiment that notes what a strategy reports to it, whatever that is.

    Parameters
    ----------
    replicates : int or sequence of int, optional
        How many replicates are owed, or their numbers. By default the run is open-ended: ``owed.end()`` ends it.
    """

    def __init__(self, replicates: int | Sequence[int] | None = None) -> None:
        numbers = range(replicates) if isinstance(replicates, int) else replicates
        most = max(numbers, default=0) + 1 if numbers is not None else None
        super().__init__(lambda: None, [_nothing], name="watched", replicates=most)
        self._owed = Owed(numbers)
        self.told: list[Any] = []
        self.threads: set[int] = set()
        self.is_cancelled = False

    @property
    def owed(self) -> Owed:
        """What the strategy is to run."""
        return self._owed

    def replicate_done(self, result: Any) -> Any:
        """Note the result, and return what the strategy is to keep in its place."""
        self.check_cancelled()
        self.told.append(result)
        self.threads.add(threading.get_ident())
        return kept(result)

    def cancel(self) -> None:
        """Have the run end, as Experiment.cancel does."""
        self.is_cancelled = True

    def check_cancelled(self) -> None:
        """Raise if the run was cancelled."""
        if self.is_cancelled:
            raise Cancelled


def _nothing(data: None) -> None:
    """Do nothing."""


def kept(result: Any) -> tuple[str, Any]:
    """Return what :class:`Watched` has a strategy keep of a result."""
    return ("kept", result)


def all_kept(results: Iterable[Any]) -> list[tuple[str, Any]]:
    """Return what a strategy has to return that was given these results."""
    return [kept(result) for result in results]


class Thing:
    """A result of which it can be told whether somebody still holds it."""

    def __init__(self, replicate: int) -> None:
        self.replicate = replicate


class Scripted:
    """A ``replicate_fn`` that does what a function says, with everything else that an experiment's own has.

    Parameters
    ----------
    script : callable
        ``script(replicate)`` returns the result; if it is a generator function, a ``yield`` waits for a moment,
        without blocking an event loop that it runs in.
    """

    def __init__(self, script: Callable[[int], Any]) -> None:
        self.script = script
        self.loop = None

    def __call__(self, replicate: int) -> Any:
        """Run a replicate."""
        return _play(self.script(replicate))

    async def acall(self, replicate: int) -> Any:
        """Run a replicate in an event loop."""
        played = self.script(replicate)
        if not inspect.isgenerator(played):
            return played
        while True:
            try:
                next(played)
            except StopIteration as end:
                return end.value
            await asyncio.sleep(_PAUSE)

    def failed(self, replicate: int, error: CrystallizeError) -> tuple[str, int, str, str]:
        """Return the result of a replicate that the strategy could not run."""
        return ("failed", replicate, type(error).__name__, str(error))

    def describe_parts(self) -> dict[str, object]:
        """Return what is sent to a worker, for messages."""
        return {"the script": self.script}

    def recipe(self) -> tuple[Callable[..., Scripted], tuple[Any, ...]]:
        """Return the function and the arguments that make this object anew in a worker."""
        return Scripted, (self.script,)

    def __reduce__(self) -> tuple[Any, ...]:
        return _opened, (cloudpickle.dumps(self.recipe()),)


@lru_cache(maxsize=4)
def _opened(payload: bytes) -> Scripted:
    make, arguments = pickle.loads(payload)
    made: Scripted = make(*arguments)
    return made


# -- with somebody who disturbs ---------------------------------------------------------------------------


def run_and_interrupt(strategy: Any, experiment: Watched, folder: Path) -> None:
    """Run, and send this process a SIGINT; see :func:`run_and_disturb`."""

    def interrupt() -> None:
        os.kill(os.getpid(), signal.SIGINT)

    run_and_disturb(strategy, experiment, folder, interrupt, _SECONDS_TO_NOTICE_A_SIGNAL)


def run_and_disturb(
    strategy: Any, experiment: Watched, folder: Path, act: Callable[[], object], seconds: float
) -> None:
    """Run, and act once a result was reported and another replicate is running.

    Replicates wait until some seconds after that, for a strategy may have to let those in flight finish.
    """
    assert threading.current_thread() is threading.main_thread(), "signals go to the main thread"
    go, over = folder / "go", threading.Event()

    def script(replicate: int) -> Any:
        noted = folder / f"noting-{replicate}"  # whoever sees the file that it becomes sees all of it
        noted.write_text(str(os.getpid()))
        noted.rename(folder / f"begun-{replicate}")
        if ticket(folder) > 0:
            yield from until(go.exists, 3 * PATIENCE)
            yield from until(lambda: False, _SECONDS_OF_A_REPLICATE)
            (folder / f"ended-{replicate}").touch()
        return replicate

    def disturb() -> None:
        wait_until(
            lambda: over.is_set() or (experiment.told and len(list(folder.glob("begun-*"))) > 1),
            3 * PATIENCE,
        )
        if not over.is_set():
            act()
            over.wait(seconds)
        go.touch()

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        strategy.run_experiment_loop(experiment, Scripted(script))
    finally:
        over.set()
        thread.join()


# -- with the engine -----------------------------------------------------------------------------------------


def _fetch(ctx: Any) -> Any:
    return ctx.rng.normal(size=3).tolist()


@pipeline_step()
def draw(data: list[float], ctx: Any, *, scale: float = 1.0) -> list[float]:
    """Draw from both kinds of streams."""
    return [scale * value for value in (*data, ctx.rng.random(), ctx.stream("noise").random())]


@pipeline_step()
async def pause(data: list[float]) -> list[float]:
    """Let others have the event loop for a turn."""
    await asyncio.sleep(0)
    return data


@pipeline_step()
def write(
    data: list[float], ctx: Any, numbers: Artifact, lines: Artifact
) -> tuple[list[float], dict[str, Any]]:
    """Write an artifact as a whole and one part by part, and record metrics of several kinds."""
    numbers.write(data)
    with lines.open("w") as file:
        file.writelines(f"{value}\n" for value in data)
    ctx.record("largest", max(data), tags={"of": len(data)})
    return data, {"sum": sum(data), "none": None, "nan": float("nan"), "text": f"{len(data)} numbers"}


@pipeline_step()
def fail(data: list[float], ctx: Any) -> list[float]:
    """Fail in replicate 1 under every condition, and in every third one under one."""
    if ctx["replicate"] == 1 or (ctx["condition"] == "tripled" and ctx["replicate"] % 3 == 0):
        raise ZeroDivisionError(f"replicate {ctx['replicate']} fails under {ctx['condition']}")
    return data


def demanding(strategy: Any, root: Path, replicates: int) -> tuple[Experiment, HookRecorder]:
    """Return an experiment that uses all that a strategy could get wrong, and what records its hooks.

    Random streams, tags, artifacts, outcomes that fail, asynchronous steps, and closures.
    """
    factor = 3.0

    def triple(ctx: Any) -> None:
        ctx.add("scale", factor)

    recorder = HookRecorder()
    experiment = Experiment(
        _fetch,
        [draw(), pause(), write(), lambda data: [*data, factor], fail()],
        name="demanding",
        treatments=[Treatment("doubled", {"scale": 2.0}), Treatment("tripled", triple)],
        outputs={"numbers": Artifact("numbers.json", loader="json"), "lines": Artifact("lines.txt")},
        plugins=[recorder, ArtifactPlugin(root_dir=root)],
        execution=strategy,
        seed=11,
        replicates=replicates,
    )
    return experiment, recorder


def everything(experiment: Experiment, root: Path) -> dict[str, Any]:
    """Run an experiment and return all that it gave, in memory and on disk, part by part."""
    return describe(experiment.run(), root)


def describe(result: Any, root: Path) -> dict[str, Any]:
    """Return all that a run gave, part by part."""
    found: dict[str, Any] = {
        "seeds": result.seeds,
        "errors": [tuple(error) for error in result.errors],
        "result": result.to_json(),
        "provenance": json.dumps(list(result.provenance), default=repr),
    }
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        if path.name not in ("metadata.json", "journal.jsonl"):  # these hold times, and what came when
            found[path.relative_to(root).as_posix()] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found
