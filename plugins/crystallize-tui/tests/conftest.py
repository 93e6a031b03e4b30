"""A project on disk, and a terminal UI that a test plays with: keys go in, and the screen is read as text."""

from __future__ import annotations

import asyncio
import gc
import inspect
import json
import os
import re
import resource
import selectors
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    chdir,
    contextmanager,
    suppress,
)
from datetime import UTC, datetime, timedelta
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import pytest
from crystallize_tui.app import CrystallizeApp
from textual.css.stylesheet import Stylesheet
from textual.events import Key
from textual.screen import Screen

from crystallize import ExperimentGraph
from tests.warm_interpreter import WarmInterpreter

if TYPE_CHECKING:
    from textual.pilot import Pilot

MOST_SECONDS = 60.0
SOON = 0.04
"""So many seconds from now is soon: of 60 pictures in a second, Textual draws the next one or the one after it."""
SCREENS = Path(__file__).parent / "screens"
UPDATE = "CRYSTALLIZE_UPDATE_SCREENS"
_is_updating = bool(os.environ.get(UPDATE))  # before each test loses what begins with CRYSTALLIZE_
_DATE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d")


class Waits(selectors.DefaultSelector):
    """What an event loop waits with: it knows when there is nothing to do.

    Attributes
    ----------
    for_idle, for_news : list of asyncio.Future
        They are done as soon as there is nothing to do, now or soon; those for news once something has happened before.
    """

    def __init__(self) -> None:
        super().__init__()
        self.for_idle: list[asyncio.Future[None]] = []
        self.for_news: list[asyncio.Future[None]] = []

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait for what happens, but not before those who wait for idleness are told of it."""
        if self.for_idle and (timeout is None or timeout > SOON):
            happened = super().select(0)
            while not happened and self.for_idle:
                future = self.for_idle.pop()
                if not future.done():
                    future.set_result(None)
            return happened
        happened = super().select(timeout)
        if timeout is None or timeout > 0:
            self.for_idle += self.for_news
            self.for_news.clear()
        return happened


class Loop(asyncio.SelectorEventLoop):
    """An event loop that a test can wait for, in place of guessing how long something takes."""

    def __init__(self) -> None:
        self._waits = Waits()
        super().__init__(self._waits)

    async def idle(self) -> None:
        """Wait until nothing is to be done, now or soon; not long, for the timers of an app that ends tick on."""
        self._waits.for_idle.append(future := self.create_future())
        await asyncio.wait([future], timeout=5)

    async def news(self) -> None:
        """Wait until something has happened, and what it led to is done."""
        self._waits.for_news.append(future := self.create_future())
        await future


async def idle(*_: object) -> None:
    """Wait until nothing is to be done, now or soon."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, Loop)
    await loop.idle()


@pytest.fixture(autouse=True)
def no_guesses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have Textual's pilot wait until nothing is to be done; it would look at how busy the processor is."""
    monkeypatch.setattr("textual.app.wait_for_idle", idle)
    monkeypatch.setattr("textual.pilot.wait_for_idle", idle)


_draw = Screen._compositor_refresh


@pytest.fixture(autouse=True)
def drawn_when_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the screen drawn when a test has waited for it, or reads it: nobody sees most of the pictures in between."""

    def draw_if_below_another(self: Screen[Any]) -> None:
        if self is not self.app.screen:
            _draw(self)

    monkeypatch.setattr(Screen, "_compositor_refresh", draw_if_below_another)


_parse = Stylesheet._parse_rules
_parsed: dict[Any, Any] = {}


@pytest.fixture(autouse=True)
def styles_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parse each style sheet once for all tests, for each theme: a terminal UI does so when it opens."""

    def parse(self: Stylesheet, *what: Any, **more: Any) -> Any:
        key = (what, *more.items(), *self._variables.items())
        if key not in _parsed:
            _parsed[key] = _parse(self, *what, **more)
        return _parsed[key]

    monkeypatch.setattr(Stylesheet, "_parse_rules", parse)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test that is a coroutine function."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True


@pytest.fixture(autouse=True)
def own_folder_and_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each test in an empty folder, without the developer's settings."""
    for name in [name for name in os.environ if name.startswith("CRYSTALLIZE_")]:
        monkeypatch.delenv(name)
    for name in ("NO_COLOR", "COLORFGBG", "VISUAL", "EDITOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    folder = tmp_path / "cwd"
    folder.mkdir()
    monkeypatch.chdir(folder)


@pytest.fixture(autouse=True)
def no_collection() -> Iterator[None]:
    """Look for no garbage while a test draws screens: among all that is imported here, it takes a fifth of the time."""
    gc.disable()
    yield
    gc.enable()


class Ui:
    """A terminal UI in a terminal of some size.

    Parameters
    ----------
    pilot : Pilot
        What presses the keys.
    """

    def __init__(self, pilot: Pilot[None]) -> None:
        self.pilot = pilot
        self.app = pilot.app

    async def press(self, *keys: str) -> None:
        """Press keys, and wait for what each leads to; the screen is drawn after the last."""
        for key in keys:
            await self.app._press_keys([key])
            await self._quiet()
        _draw(self.app.screen)

    async def press_at_once(self, *keys: str) -> None:
        """Press keys that arrive together, as they do from far away."""
        for key in keys:
            self.app.post_message(Key(key, key if len(key) == 1 else None))
        await self.settled()

    async def type(self, text: str) -> None:
        """Type a text where the focus is, in place of what is there."""
        await self.press("end", "ctrl+u", *text)

    async def settled(self) -> None:
        """Wait until nothing is going on any more: all workers have ended, and nothing is to be done."""
        await self._quiet()
        _draw(self.app.screen)

    async def _quiet(self) -> None:
        await idle()
        while self.app.workers:
            await self.app.workers.wait_for_complete()
            await idle()

    async def until(self, wanted: str | Callable[[], bool], seconds: float = MOST_SECONDS) -> None:
        """Wait until a text is on the screen, or something holds."""
        loop = asyncio.get_running_loop()
        assert isinstance(loop, Loop)
        try:
            async with asyncio.timeout(seconds):
                while not (wanted in self.text if isinstance(wanted, str) else wanted()):
                    await loop.news()
        except TimeoutError:
            raise AssertionError(f"not there: {wanted}\n{self.text}") from None

    async def until_told(self, wanted: str) -> None:
        """Wait until the dialog says a text, whatever its lines."""
        await self.until(lambda: wanted in self.told)

    @property
    def text(self) -> str:
        """What is on the screen, line by line."""
        strips = self.app.screen._compositor.render_strips()
        return "\n".join("".join(segment.text for segment in strip).rstrip() for strip in strips)

    @property
    def dialog(self) -> list[str]:
        """The lines of the dialog that stands before the screen, without its frame."""
        lines = [line for line in self.text.splitlines() if line.count("│") >= 2]
        return [line[line.index("│") + 1 : line.rindex("│")].strip(" ▁▂▃▄▅▆▇█") for line in lines]

    @property
    def told(self) -> str:
        """What the dialog says, whatever its lines."""
        return " ".join(" ".join(self.dialog).split())

    @property
    def notices(self) -> list[str]:
        """What the UI has told in passing."""
        return [notice.message for notice in self.app._notifications]

    def line(self, start: str) -> str:
        """Return the line of the screen that has a text, behind signs and blanks."""
        return next(line for line in self.text.splitlines() if re.match(rf"[\W_]*{re.escape(start)}", line))


Open = Callable[..., AbstractAsyncContextManager[Ui]]


@pytest.fixture
def open_ui() -> Open:
    """Return what opens the UI in this folder: ``async with open_ui(size=(80, 24)) as ui``."""

    @asynccontextmanager
    async def run(root: Path | None = None, size: tuple[int, int] = (80, 24)) -> AsyncIterator[Ui]:
        app = CrystallizeApp(root)
        async with app.run_test(size=size, notifications=True) as pilot:
            ui = Ui(pilot)
            await ui.settled()
            yield ui

    return run


@pytest.fixture
def same_screen() -> Callable[[str, Ui], Awaitable[None]]:
    """Return what compares a screen with the one that is kept, which the environment variable makes anew."""

    async def compare(name: str, ui: Ui) -> None:
        file = SCREENS / f"{name}.txt"

        def shown() -> str:
            return _DATE.sub("2000-01-01 00:00", ui.text) + "\n"

        await ui.settled()
        if _is_updating:
            file.write_text(shown(), encoding="utf-8")
        wanted = file.read_text(encoding="utf-8")
        with suppress(AssertionError):  # the next one says more
            await ui.until(lambda: shown() == wanted, seconds=10)
        assert shown() == wanted, f"run with {UPDATE}=1 if it is to look so"

    return compare


FILES: dict[str, str] = {
    "make/config.yaml": """
        # Where it all begins.
        description: Make numbers
        replicates: 3   # few
        seed: 1
        datasource: numbers
        steps:
          - scale: {factor: 2.0}
          - publish
        outputs: {total: {file_name: total.json, loader: json}}
        treatments:
          bigger: {offset: 2}   # by much
          smaller: {offset: -2}
        cli: {group: Basics, priority: 1, icon: "*", color: green}
        """,
    "make/datasources.py": """
        def numbers():
            return [1, 2, 3]
        """,
    "make/steps.py": """
        from crystallize import Artifact, pipeline_step

        @pipeline_step()
        def scale(data, *, factor=1.0):
            return [factor * each for each in data]

        @pipeline_step()
        def publish(data, *, offset=0, total: Artifact):
            value = sum(data) + offset
            total.write(value)
            return value, {"total": value}
        """,
    "use/config.yaml": """
        description: Read what make has published
        datasource: {total: make#total}
        steps: [look]
        cli: {group: Further}
        """,
    "use/steps.py": """
        from crystallize import pipeline_step

        @pipeline_step()
        def look(data):
            return data, {"seen": data["total"]}
        """,
    "secret/config.yaml": """
        datasource: nothing
        steps: [nothing]
        cli: {hidden: true}
        """,
    "torn/config.yaml": """
        datasource: x
        steps: [a]
        replicates: ten
        """,
}


def write(folder: Path, files: dict[str, str]) -> None:
    """Write files below a folder."""
    for name, text in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(dedent(text).lstrip("\n"), encoding="utf-8")


@pytest.fixture(scope="session")
def made_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a project whose experiment ``make`` has run, once for all tests."""
    folder = tmp_path_factory.mktemp("project")
    write(folder / "experiments", FILES)
    with chdir(folder):
        ExperimentGraph.from_yaml("experiments/make/config.yaml").run()
    return folder


@pytest.fixture
def project(made_project: Path) -> Path:
    """Copy the project into the test's folder: an experiment, a graph, a hidden one and a broken one.

    The first has run: it took two minutes, and that is three hours ago.
    """
    shutil.copytree(made_project, Path.cwd(), dirs_exist_ok=True, symlinks=True)
    metadata = Path("data/make/v0/metadata.json")
    ended = datetime.now(UTC) - timedelta(hours=3)
    times = {"started": str(ended - timedelta(minutes=2)), "finished": str(ended), "duration": 120.0}
    metadata.write_text(json.dumps(json.loads(metadata.read_text()) | times))
    return Path("experiments").absolute()


@pytest.fixture(scope="session")
def warm_interpreter() -> Iterator[WarmInterpreter]:
    """Return an interpreter that has imported all of Crystallize, started as the screen starts its commands."""
    interpreter = WarmInterpreter(environment=os.environ | {"PYTHONUNBUFFERED": "1"}, options=["-P"])
    yield interpreter
    interpreter.close()


@pytest.fixture
def warm_commands(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Start the commands of Crystallize as forks of a warm interpreter, where the system knows how to."""
    if sys.platform == "linux":
        monkeypatch.setattr(subprocess, "Popen", request.getfixturevalue("warm_interpreter").Popen)


def pytest_make_parametrize_id(val: Any, argname: str) -> str | None:
    """Call a size by how one says it; pytest asks this for the tests of other folders, too."""
    return f"{val[0]}x{val[1]}" if argname == "size" and isinstance(val, tuple) else None


@pytest.fixture
def full_disk() -> Callable[[], AbstractContextManager[None]]:
    """Return a block in which this process can write no file that has more than some bytes."""

    @contextmanager
    def limit() -> Iterator[None]:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        # Python ignores the signal that comes with it.
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limit
