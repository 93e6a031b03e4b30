"""The screen on which an experiment runs, driven by its keys on experiments on disk."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from crystallize_tui.app import CrystallizeApp
from crystallize_tui.project import read_experiment
from crystallize_tui.run_screen import SECONDS_BETWEEN_TICKS, RunScreen
from crystallize_tui.state import STATE
from textual.pilot import Pilot  # noqa: TC002
from textual.widgets import OptionList

from crystallize.config.folders import folder_of
from crystallize.store.journal_reader import JournalReader
from crystallize.store.journal_writer import JournalWriter
from crystallize.store.outcome import Outcome, ReplicateResult

MOST_SECONDS = 60.0
CONFIG = """
replicates: 4
seed: 1
datasource: numbers
steps: [wait, score]
treatments: {more: {extra: 10}, less: {extra: -10}}
"""
SOURCES = """
def numbers(ctx):
    return ctx["replicate"]
"""
STEPS = """
import time
from pathlib import Path
from crystallize import pipeline_step

@pipeline_step()
def wait(data):
    while data >= 2 and Path("closed").exists():
        time.sleep(0.01)
    return data

@pipeline_step(cacheable=True)
def score(data, ctx, *, extra=0):
    if extra and Path("broken").exists():
        open("nowhere/model.bin")
    ctx.metrics.add("score", data + extra)
    return data
"""


def write(name: str, config: str = CONFIG, steps: str = STEPS, sources: str = SOURCES) -> Path:
    folder = Path("experiments") / name
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in (("config.yaml", config), ("steps.py", steps), ("datasources.py", sources)):
        (folder / file).write_text(dedent(text).lstrip())
    return folder / "config.yaml"


def text_of(app: CrystallizeApp) -> str:
    """Return what is on the screen."""
    return "\n".join("".join(part.text for part in strip) for strip in app.screen._compositor.render_strips())


class Driven:
    """A run screen that is driven by keys."""

    def __init__(self, app: CrystallizeApp, pilot: Pilot[Any], screen: RunScreen) -> None:
        self.app, self.pilot, self.screen = app, pilot, screen

    @property
    def text(self) -> str:
        return text_of(self.app)

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.pilot.pause()

    async def until(self, wanted: str | Callable[[], bool]) -> None:
        """Wait until a text is on the screen, or something holds."""
        end = time.monotonic() + MOST_SECONDS
        while not (wanted in self.text if isinstance(wanted, str) else wanted()):
            assert time.monotonic() < end, f"not there: {wanted}\n{self.text}"
            await self.pilot.pause(0.05)

    async def highlight(self, option: str) -> None:
        plan = self.screen.query_one("#plan", OptionList)
        plan.highlighted = plan.get_option_index(option)
        await self.pilot.pause()


def drive(
    config: Path, scenario: Callable[[Driven], Awaitable[None]], size: tuple[int, int] = (80, 24)
) -> CrystallizeApp:
    """Open the run screen of an experiment and let the scenario drive it; what still runs is ended."""

    async def run() -> CrystallizeApp:
        app = CrystallizeApp()
        async with app.run_test(size=size, notifications=True) as pilot:
            screen = RunScreen(read_experiment(folder_of(config.absolute())))
            await app.push_screen(screen)
            await pilot.pause()
            try:
                await scenario(Driven(app, pilot, screen))
            finally:
                for process in app.active.values():
                    process.cancel()
                    process._process.wait(MOST_SECONDS)
                    process.close()
        return app

    return asyncio.run(run())


# -- running -------------------------------------------------------------------------------------------------


def test_an_experiment_runs_and_its_conditions_and_metrics_are_shown():
    async def scenario(driven: Driven) -> None:
        await driven.until("has no run yet: R runs it")
        await driven.press("R")
        await driven.until("v0 is complete")
        for expected in ("baseline   ━━━━━━━━━━  4/4", "more       ━━━━━━━━━━  4/4", "11.5 ± 2.1", "▁▃▆█"):
            await driven.until(expected)

    drive(write("study"), scenario)


def test_what_has_arrived_is_shown_while_the_run_goes_on():
    Path("closed").touch()

    async def scenario(driven: Driven) -> None:
        await driven.press("R")
        await driven.until("2/4")
        await driven.until("runs, also when the terminal is closed")
        await driven.until("● study")
        Path("closed").unlink()
        await driven.until("v0 is complete")

    drive(write("study"), scenario)


def test_a_run_that_is_cancelled_keeps_what_has_finished_and_goes_on_from_there():
    Path("closed").touch()

    async def scenario(driven: Driven) -> None:
        await driven.press("R")
        await driven.until("2/4")
        await driven.press("R")
        await driven.until("v0 is interrupted: R goes on with it")
        await driven.until("2/4")
        Path("closed").unlink()
        await driven.press("R")
        await driven.until("v0 is complete")
        await driven.until("4/4")
        assert not Path("data/study/v1").exists()

    drive(write("study"), scenario)


def test_a_resume_that_owes_nothing_says_how_to_run_everything_anew():
    async def scenario(driven: Driven) -> None:
        await driven.press("R")
        await driven.until("The run is complete.")
        await driven.press("R")
        await driven.until("Nothing was owed.")

    drive(write("study"), scenario)


def test_a_screen_that_was_left_finds_its_run_again():
    Path("closed").touch()

    async def scenario(driven: Driven) -> None:
        await driven.press("R")
        await driven.until("2/4")
        await driven.press("escape")
        await driven.until("The run of study goes on.")
        (process,) = driven.app.active.going_on()
        again = RunScreen(driven.screen.experiment)
        await driven.app.push_screen(again)
        await driven.until(f"(process {process.pid})")
        await driven.press("L")
        await driven.until("study: 4 replicates under baseline, more, less")
        Path("closed").unlink()
        await driven.until("v0 is complete")

    drive(write("study"), scenario)


def test_leaving_says_how_a_run_that_goes_on_is_watched_ended_and_resumed():
    Path("closed").touch()

    async def scenario(driven: Driven) -> None:
        await driven.press("l", "R")  # without the step cache, and as a rerun
        await driven.until("2/4")
        (process,) = driven.app.active.going_on()
        assert driven.app.active.farewell() == [
            f"A run of study goes on as process {process.pid}. End it: kill -INT {process.pid}",
            "  Watch it: crystallize runs tail study",
            "  Go on with it later: crystallize run study --no-cache --resume",
        ]

    app = drive(write("study"), scenario)
    assert app.active.farewell() == []


def test_a_run_is_no_child_of_the_terminal():
    Path("closed").touch()

    async def scenario(driven: Driven) -> None:
        await driven.press("R")
        await driven.until("2/4")
        (process,) = driven.app.active.going_on()
        assert os.getsid(process.pid) != os.getsid(0)

    drive(write("study"), scenario)


def test_a_run_of_another_process_is_watched_and_not_run_a_second_time():
    config = write("study")
    Path("closed").touch()
    other = subprocess.Popen(
        [sys.executable, "-m", "crystallize", "run", "study"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    async def scenario(driven: Driven) -> None:
        await driven.until("is run by another process, which is watched here")
        await driven.until("2/4")
        await driven.press("R")
        await driven.until("Another process makes a run")
        await driven.press("L")
        await driven.until("Another process makes this run")
        Path("closed").unlink()
        await driven.until("v0 is complete")

    try:
        drive(config, scenario)
    finally:
        other.send_signal(signal.SIGINT)
        other.wait()


def test_a_run_that_was_killed_is_interrupted_and_can_be_resumed():
    Path("closed").touch()

    async def scenario(driven: Driven) -> None:
        await driven.press("R")
        await driven.until("2/4")
        (process,) = driven.app.active.going_on()
        os.kill(process.pid, signal.SIGKILL)
        await driven.until("v0 is interrupted: R goes on with it")
        Path("closed").unlink()
        await driven.press("R")
        await driven.until("v0 is complete")

    drive(write("study"), scenario)


# -- graphs --------------------------------------------------------------------------------------------------


@pytest.fixture
def graph() -> Path:
    """Make an experiment that reads what another one writes, and return its config.yaml."""
    write(
        "producer",
        config=CONFIG.replace("[wait, score]", "[wait, publish]")
        + "outputs: {out: {file_name: out.json, loader: json}}\n",
        steps=STEPS
        + """
from crystallize import Artifact

@pipeline_step()
def publish(data, ctx, *, extra=0, out: Artifact):
    ctx.metrics.add("made", data + extra)
    out.write({"value": data + extra})
    return data
""",
    )
    return write(
        "consumer",
        config="""
        replicates: 4
        seed: 1
        datasource: {out: producer#out}
        steps: [look]
        treatments: {more: {}}
        hypotheses: [{name: larger, verifier: paired_t_test, metrics: seen, direction: max}]
        """,
        steps="""
        from crystallize import pipeline_step
        @pipeline_step()
        def look(data, ctx):
            ctx.metrics.add("seen", data["out"]["value"])
            return data
        """,
    )


def test_what_a_graph_depends_on_runs_first_and_is_shown_while_it_runs(graph):
    Path("closed").touch()

    async def scenario(driven: Driven) -> None:
        await driven.until("Runs first")
        await driven.until("○ producer")
        await driven.press("R")
        await driven.until("producer v0: running")
        await driven.until("● producer")
        await driven.until("○ consumer")
        Path("closed").unlink()
        await driven.until("v0 is complete")
        await driven.until("✓ producer")
        await driven.until("✓ consumer")
        await driven.until("consumer v0: complete")

    drive(graph, scenario)


def test_enter_shows_another_experiment_of_the_graph(graph):
    async def scenario(driven: Driven) -> None:
        await driven.press("R")
        await driven.until("v0 is complete")
        await driven.highlight("node:producer")
        await driven.press("enter")
        await driven.until("producer v0: complete")
        await driven.until("made")

    drive(graph, scenario)


# -- switches ------------------------------------------------------------------------------------------------


def test_l_switches_caching_and_the_strategy_with_it_and_the_state_is_kept():
    config = write("study")

    async def scenario(driven: Driven) -> None:
        await driven.until("Next run: resume, cache on")
        await driven.press("l")
        await driven.until("Next run: rerun, cache off")

    async def next_start(driven: Driven) -> None:
        await driven.until("Next run: rerun, cache off")
        await driven.press("R")
        await driven.until("v0 is complete")
        await driven.press("R")
        await driven.until("v1 is complete")

    drive(config, scenario)
    assert json.loads((config.parent / STATE).read_text())["cache"] is False
    drive(config, next_start)


def test_l_on_a_step_switches_that_one_and_the_run_does_what_the_screen_says():
    async def scenario(driven: Driven) -> None:
        await driven.press("R")
        await driven.until("v0 is complete")
        await driven.highlight("step:score")
        await driven.press("l")
        await driven.until("score: cached")
        await driven.press("l")
        await driven.until("score: not cached")
        await driven.until("Next run: rerun, cache on")
        await driven.press("R")
        await driven.until("v1 is complete")
        assert "--cache no:score" in " ".join(driven.app.active[driven.screen.experiment.config].arguments)
        await driven.press("l")
        await driven.until("Next run: resume")

    drive(write("study"), scenario)


def test_x_switches_a_treatment_off_which_then_does_not_run():
    config = write("study")

    async def scenario(driven: Driven) -> None:
        await driven.press("x")
        await driven.until("Move to a treatment in the list")
        await driven.highlight("treatment:more")
        await driven.press("x")
        await driven.until("[ ] more")
        await driven.until("1 treatment off")
        await driven.press("R")
        await driven.until("v0 is complete")

    drive(config, scenario)
    assert sorted(folder.name for folder in Path("data/study/v0").iterdir() if folder.is_dir()) == [
        "baseline",
        "less",
    ]


def test_with_all_treatments_off_the_baseline_runs_alone():
    async def scenario(driven: Driven) -> None:
        for name in ("more", "less"):
            await driven.highlight(f"treatment:{name}")
            await driven.press("enter")
        await driven.press("R")
        await driven.until("v0 is complete")

    drive(write("study"), scenario)
    assert [folder.name for folder in Path("data/study/v0").iterdir() if folder.is_dir()] == ["baseline"]


def test_a_damaged_state_is_told_and_left_out():
    config = write("study")
    (config.parent / STATE).write_text("{")

    async def scenario(driven: Driven) -> None:
        await driven.until(f"{STATE} is damaged, and is left out")
        await driven.press("l")
        assert "damaged" not in driven.text

    drive(config, scenario, (120, 24))


def test_t_shows_everything_in_plain_characters():
    async def scenario(driven: Driven) -> None:
        await driven.press("R")
        await driven.until("v0 is complete")
        await driven.press("t")
        await driven.until("##########  4/4")
        await driven.until("11.5 +- 2.1")
        await driven.until("_-+#")
        await driven.until("ok study")
        await driven.press("t")
        await driven.until("━━━━━━━━━━  4/4")

    drive(write("study"), scenario)


# -- the log -------------------------------------------------------------------------------------------------


def test_the_log_can_be_searched_and_escape_ends_the_search():
    async def scenario(driven: Driven) -> None:
        await driven.press("R")
        await driven.until("v0 is complete")
        await driven.press("L")
        await driven.until("Seed: 1")
        await driven.press("slash")
        await driven.press(*"SEED:")
        await driven.until(lambda: "Seed: 1" in driven.text and "Results:" not in driven.text)
        await driven.press("enter", "escape")
        await driven.until("Results:")
        await driven.press("escape")
        assert driven.app.screen is not driven.screen

    drive(write("study"), scenario)


def test_what_steps_print_cannot_steer_the_terminal():
    steps = STEPS.replace(
        "    ctx.metrics.add", "    print('\\x1b[2Jgone', flush=True)\n    ctx.metrics.add"
    ).replace('"score"', '"sc\\x1b[31more"')

    async def scenario(driven: Driven) -> None:
        await driven.press("R")
        await driven.until("v0 is complete")
        assert r"sc\x1b[31more" in driven.text
        await driven.press("L", "slash", *"gone")
        await driven.until(r"\x1b[2Jgone")
        assert "\x1b" not in driven.text

    drive(write("study", steps=steps), scenario)


# -- the summary ---------------------------------------------------------------------------------------------


def test_the_summary_has_intervals_hypotheses_and_artifacts(graph):
    async def scenario(driven: Driven) -> None:
        await driven.press("S")
        await driven.until("No run is stored yet")
        await driven.press("R")
        await driven.until("verdict")
        for expected in (
            "95% interval",
            "hypothesis 'larger'",
            "Results: data/consumer/v0",
        ):
            await driven.until(expected)

    drive(graph, scenario, (110, 40))


def test_enter_opens_an_artifact(graph):
    async def scenario(driven: Driven) -> None:
        await driven.press("R")
        await driven.until("v0 is complete")
        await driven.press("S")
        await driven.until("out.json")
        await driven.press("enter")
        await driven.until('"value": 0')
        await driven.until("replicate_0/baseline/PublishStep/out.json")
        await driven.press("escape")
        assert driven.app.screen is driven.screen

    drive(graph.parent.parent / "producer" / "config.yaml", scenario, (120, 40))


# -- what goes wrong -----------------------------------------------------------------------------------------


def test_a_failed_outcome_is_listed_with_the_command_that_repeats_it():
    Path("broken").touch()

    async def scenario(driven: Driven) -> None:
        await driven.press("R")
        await driven.until("v0 is complete, 8 failed outcomes")
        await driven.until("✗ study")
        await driven.until("Errors (8)")
        await driven.press("E")
        await driven.until("nowhere/model.bin")
        await driven.until("crystallize run study --replicate 3 --condition less --debug")
        Path("broken").unlink()
        await driven.press("R")
        await driven.until("v0 is complete")
        await driven.until(lambda: "Errors (" not in driven.text)

    drive(write("study"), scenario, (120, 40))


def test_a_run_that_fails_at_once_says_why():
    async def scenario(driven: Driven) -> None:
        await driven.press("R")
        await driven.until("could not be run: E shows why")
        await driven.press("E")
        await driven.until("'scores'")

    drive(write("study", config=CONFIG.replace("score]", "scores]")), scenario, (120, 30))


def test_a_config_that_breaks_while_it_is_open_is_told_and_mended_by_the_next_start():
    config = write("study")

    async def scenario(driven: Driven) -> None:
        config.write_text("steps: [")
        await driven.press("R")
        await driven.until("cannot be run: E shows why")
        await driven.until("config.yaml:2:1")
        config.write_text(CONFIG)
        await driven.press("R")
        await driven.until("v0 is complete")

    drive(config, scenario, (120, 30))


def test_a_config_that_is_gone_is_told():
    config = write("study")

    async def scenario(driven: Driven) -> None:
        config.unlink()
        await driven.press("R")
        await driven.until("cannot be run: E shows why")
        await driven.press("l", "S", "P", "h", "escape")
        assert driven.app.screen is driven.screen

    drive(config, scenario, (120, 30))


def test_an_experiment_whose_config_is_broken_from_the_start_can_be_opened():
    config = write("study", config="steps: [")

    async def scenario(driven: Driven) -> None:
        await driven.until("cannot be run: E shows why")
        await driven.press("l", "x", "S", "L", "P", "E", "t", "enter")
        await driven.until("config.yaml:2:1")

    drive(config, scenario, (120, 30))


def test_a_damaged_journal_is_told():
    config = write("study")
    subprocess.run([sys.executable, "-m", "crystallize", "run", "study"], check=True, capture_output=True)
    journal = Path("data/study/v0/journal.jsonl")
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([*lines[:-1], b"nonsense\n"]))

    async def scenario(driven: Driven) -> None:
        await driven.until("1 damaged line in its journal")
        await driven.until("3/4")

    async def no_journal_at_all(driven: Driven) -> None:
        await driven.press("E")
        await driven.until("the file is no journal of a run")
        await driven.press("S")
        await driven.until("journal.jsonl")

    drive(config, scenario, (120, 30))
    journal.write_bytes(b"nonsense\n")
    drive(config, no_journal_at_all, (120, 30))


# -- a long run ----------------------------------------------------------------------------------------------


def write_long_journal(run: Path, replicates: int) -> None:
    """Put outcomes of so many replicates in the place of a run's own."""
    journal = run / "journal.jsonl"
    (session,) = (session for _, session in JournalReader(journal).find_sessions())
    journal.unlink()
    writer = JournalWriter(journal, session._replace(replicates=replicates, conditions=("baseline",)))
    for replicate in range(replicates):
        metrics = {"score": [float(replicate % 7)]}
        writer.add(ReplicateResult(replicate, (Outcome("baseline", 1, metrics, {}, started=1.0),)))
    writer.close()


def test_a_run_of_100_000_replicates_is_drawn_at_most_ten_times_a_second_and_keys_are_answered_meanwhile():
    config = write("study")
    subprocess.run([sys.executable, "-m", "crystallize", "run", "study"], check=True, capture_output=True)
    write_long_journal(Path("data/study/v0"), 100_000)

    async def scenario(driven: Driven) -> None:
        assert "100000/100000" not in driven.text
        await driven.press("l")
        assert "Next run: rerun" in driven.text
        assert "100000/100000" not in driven.text  # the key did not wait for the journal
        ticks, draws = driven.screen.ticks, driven.screen.redraws
        await driven.until("100000/100000")
        assert driven.screen.redraws - draws <= driven.screen.ticks - ticks < 1000
        assert SECONDS_BETWEEN_TICKS >= 0.1
        draws = driven.screen.redraws
        await driven.pilot.pause(1.0)
        assert driven.screen.redraws == draws  # nothing is new

    drive(config, scenario)
