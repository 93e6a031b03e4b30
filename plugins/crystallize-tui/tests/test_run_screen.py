"""The screen on which an experiment runs, driven by its keys on experiments on disk."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from crystallize_tui.log_pane import LogPane
from crystallize_tui.run_process import CommandProcess
from crystallize_tui.run_screen import SECONDS_BETWEEN_TICKS, RunScreen
from crystallize_tui.state import STATE
from rich.highlighter import ReprHighlighter
from textual.events import Key
from textual.widgets import Log, OptionList

from crystallize import ExperimentGraph
from crystallize.config.folders import folder_of
from crystallize.config.project import read_experiment
from crystallize.errors import GraphRunError
from crystallize.store.journal_reader import JournalReader
from crystallize.store.journal_writer import JournalWriter
from crystallize.store.outcome import Outcome, ReplicateResult

pytestmark = pytest.mark.usefixtures("warm_commands")

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


def run(config: Path) -> None:
    """Run an experiment here: for tests of what is shown of a run that is stored."""
    ExperimentGraph.from_yaml(config).run()


Open = Callable[..., AbstractAsyncContextManager[Any]]


@pytest.fixture
def open_run(open_ui) -> Open:
    """Return what opens the run screen of an experiment; what still runs when it is left is ended."""

    @asynccontextmanager
    async def opened(config: Path, size: tuple[int, int] = (80, 24)) -> AsyncIterator[Any]:
        async with open_ui(size=size) as ui:
            await ui.app.push_screen(screen_of(config))
            await ui.pilot.pause()
            try:
                yield ui
            finally:
                for process in ui.app.active.values():
                    process.end()

    return opened


def screen_of(config: Path) -> RunScreen:
    return RunScreen(read_experiment(folder_of(config.absolute())))


async def highlight(ui, option: str) -> None:
    plan = ui.app.screen.query_one("#plan", OptionList)
    plan.highlighted = plan.get_option_index(option)
    await ui.settled()


# -- running -------------------------------------------------------------------------------------------------


async def test_an_experiment_runs_and_its_conditions_and_metrics_are_shown(open_run):
    async with open_run(write("study")) as ui:
        await ui.until("has no run yet: R runs it")
        await ui.press("R")
        await ui.until("The run is complete.")
        await ui.until("v0 is complete")
        for expected in ("baseline   ━━━━━━━━━━  4/4", "more       ━━━━━━━━━━  4/4", "11.5 ± 2.1", "▁▃▆█"):
            await ui.until(expected)


async def test_a_long_name_leaves_the_state_to_be_seen(open_run):
    name = "a study of " + "everything and " * 5 + "all"
    async with open_run(write("study", f"name: {name}\n" + CONFIG)) as ui:
        await ui.until("g and everything and all  has no run yet: R runs it")


async def test_what_has_arrived_is_shown_while_the_run_goes_on(open_run):
    Path("closed").touch()
    async with open_run(write("study")) as ui:
        await ui.press("R")
        await ui.until("2/4")
        await ui.until("runs, also when the terminal is closed")
        await ui.until("● study")
        Path("closed").unlink()
        await ui.until("v0 is complete")


async def test_a_run_that_is_cancelled_keeps_what_has_finished_and_goes_on_from_there(open_run):
    Path("closed").touch()
    async with open_run(write("study")) as ui:
        await ui.press("R")
        await ui.until("2/4")
        await ui.press("R")
        await ui.until("v0 is interrupted: R goes on with it")
        await ui.until("2/4")
        await ui.press("l")
        await ui.until("v0 is interrupted: R runs it anew")
        await ui.press("l")
        Path("closed").unlink()
        await ui.press("R")
        await ui.until("v0 is complete")
        await ui.until("4/4")
        assert not Path("data/study/v1").exists()


async def test_a_resume_that_owes_nothing_says_how_to_run_everything_anew(open_run):
    config = write("study")
    run(config)
    async with open_run(config) as ui:
        await ui.press("R")
        await ui.until("Nothing was owed.")


async def test_a_rerun_in_the_same_folder_and_a_resume_of_failed_outcomes_are_told_as_runs(open_run):
    Path("broken").touch()
    config = write("study", CONFIG + "plugins: {artifact: {versioned: false}}\n")
    with pytest.raises(GraphRunError):
        run(config)
    Path("broken").unlink()
    async with open_run(config) as ui:
        await ui.press("R")
        await ui.until("The run is complete. S shows the")
        assert len(ui.notices) == 1
        await ui.press("l", "R")
        await ui.until(lambda: len(ui.notices) == 2)
        assert "The run is complete." in ui.notices[-1]


async def test_an_experiment_that_stores_no_runs_says_so_and_where_its_result_is(open_run):
    config = write("study", CONFIG + "plugins: {artifact: false}\n")
    async with open_run(config, (120, 40)) as ui:  # with room for what is told in passing
        await ui.until("has no stored run: E shows why")
        await ui.press("R")
        await ui.until("The run is complete. L shows what it")
        await ui.press("S")
        await ui.until("It stores no runs: its config.yaml")
        await ui.press("L")
        await ui.until("Results: not stored")


async def test_how_a_run_ended_is_told_once(open_run):
    config = write("study")
    async with open_run(config) as ui:
        await ui.press("R")
        await ui.until("The run is complete.")
        told = len(ui.notices)
        await ui.press("escape")
        await ui.app.push_screen(screen_of(config))
        ticks = ui.app.screen.ticks
        await ui.until(lambda: ui.app.screen.ticks > ticks + 1)
        assert len(ui.notices) == told


async def test_a_screen_that_was_left_finds_its_run_again(open_run):
    config = write("study")
    Path("closed").touch()
    async with open_run(config) as ui:
        await ui.press("R")
        await ui.until("2/4")
        await ui.press("escape")
        await ui.until("The run of study goes on.")
        (process,) = ui.app.active.going_on()
        await ui.app.push_screen(screen_of(config))
        await ui.until(f"(process {process.pid})")
        await ui.press("L")
        await ui.until("study: 4 replicates under baseline, more, less")
        Path("closed").unlink()
        await ui.until("v0 is complete")


async def test_leaving_says_how_a_run_that_goes_on_is_watched_ended_and_resumed(open_run):
    Path("closed").touch()
    async with open_run(write("study")) as ui:
        await ui.press("l", "R")  # without the step cache, and as a rerun
        await ui.until("2/4")
        (process,) = ui.app.active.going_on()
        assert os.getsid(process.pid) == process.pid  # a session of its own
        assert ui.app.active.farewell() == [
            f"A run of study goes on as process {process.pid}. End it: kill -INT {process.pid}",
            "  Watch it: crystallize runs tail study",
            "  Go on with it later: crystallize run study --no-cache --resume",
        ]
    assert ui.app.active.farewell() == []


async def test_a_run_of_another_process_is_watched_and_not_run_a_second_time(open_run):
    config = write("study")
    Path("closed").touch()
    other = CommandProcess("study", ["run", "study"], Path.cwd())  # of no screen
    try:
        async with open_run(config) as ui:
            await ui.until(f"is run by process {other.pid} on ")
            await ui.until("2/4")
            await ui.press("R")
            await ui.until(f"The run of process {other.pid} on ")
            await ui.press("L")
            await ui.until("Another process makes this run")
            Path("closed").unlink()
            await ui.until("v0 is complete")
    finally:
        other.end()


async def test_the_summary_of_a_run_that_is_watched_is_that_of_all_of_it_when_it_has_ended(open_run):
    config = write("study")
    run(config)
    Path("closed").touch()
    other = CommandProcess("study", ["run", "study", "--rerun"], Path.cwd())  # of no screen
    try:
        async with open_run(config) as ui:
            await ui.until("2/4")
            await ui.press("S")
            await ui.until("2 of 4 replicates.")
            Path("closed").unlink()
            await ui.until(lambda: "4 replicates." in ui.text and "of 4 replicates." not in ui.text)
            await ui.until("data/study/v1")
    finally:
        other.end()


async def test_a_run_that_was_killed_is_interrupted_and_can_be_resumed(open_run):
    Path("closed").touch()
    async with open_run(write("study")) as ui:
        await ui.press("R")
        await ui.until("2/4")
        (process,) = ui.app.active.going_on()
        os.kill(process.pid, signal.SIGKILL)
        await ui.until("v0 is interrupted: R goes on with it")
        await ui.press("E")
        await ui.until("The run ended by signal 9:")
        Path("closed").unlink()
        await ui.press("R")
        await ui.until("v0 is complete")


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


async def test_what_a_graph_depends_on_runs_first_is_shown_while_it_runs_and_later_by_enter(open_run, graph):
    Path("closed").touch()
    async with open_run(graph) as ui:
        await ui.until("Runs first")
        await ui.until("○ producer")
        await ui.press("R")
        await ui.until("producer v0: running")
        await ui.until("● producer")
        await ui.until("○ consumer")
        Path("closed").unlink()
        await ui.until("v0 is complete")
        await ui.until("✓ producer")
        await ui.until("✓ consumer")
        await ui.until("consumer v0: complete")
        await highlight(ui, "node:producer")
        await ui.press("enter")
        await ui.until("producer v0: complete")
        await ui.until("made")


# -- switches ------------------------------------------------------------------------------------------------


async def test_l_switches_caching_and_the_strategy_with_it_and_the_state_is_kept(open_run):
    config = write("study")
    run(config)
    async with open_run(config) as ui:
        await ui.until("Next run: resume, cache on")
        await ui.press("l")
        await ui.until("Next run: rerun, cache off")
        assert json.loads((config.parent / STATE).read_text())["cache"] is False
        await ui.app.switch_screen(screen_of(config))
        await ui.until("Next run: rerun, cache off")
        await ui.press("R")
        await ui.until("v1 is complete")


async def test_l_on_a_step_switches_that_one_and_the_run_does_what_the_screen_says(open_run):
    config = write("study")
    run(config)
    async with open_run(config) as ui:
        await highlight(ui, "step:score")
        await ui.press("l")
        await ui.until("score: cached")
        await ui.press("l")
        await ui.until("score: not cached")
        await ui.until("Next run: rerun, cache on")
        await ui.press("R")
        await ui.until("v1 is complete")
        assert "--cache no:score" in " ".join(ui.app.active[config.absolute()].arguments)
        await ui.press("l")
        await ui.until("Next run: resume")


async def test_a_switch_of_a_step_that_was_renamed_decides_nothing_any_more(open_run):
    config = write("study")
    async with open_run(config) as ui:
        await highlight(ui, "step:score")
        await ui.press("l", "l")
        await ui.until("Next run: rerun, cache on")
    for file in (config, config.with_name("steps.py")):
        file.write_text(file.read_text().replace("score", "rated"))
    async with open_run(config) as ui:
        await ui.until("Next run: resume, cache on")


async def test_x_switches_a_treatment_off_which_then_does_not_run(open_run):
    config = write("study")
    async with open_run(config) as ui:
        await ui.press("x")
        await ui.until("Move to a treatment in the list")
        await highlight(ui, "treatment:more")
        await ui.press("x")
        await ui.until("[ ] more")
        await ui.until("1 treatment off")
        await ui.press("R")
        await ui.until("v0 is complete")

    assert sorted(folder.name for folder in Path("data/study/v0").iterdir() if folder.is_dir()) == [
        "baseline",
        "less",
    ]


async def test_with_all_treatments_off_the_baseline_runs_alone(open_run):
    async with open_run(write("study")) as ui:
        for name in ("more", "less"):
            await highlight(ui, f"treatment:{name}")
            await ui.press("enter")
        await ui.press("R")
        await ui.until("v0 is complete")

    assert [folder.name for folder in Path("data/study/v0").iterdir() if folder.is_dir()] == ["baseline"]


async def test_a_damaged_state_is_told_and_left_out(open_run):
    config = write("study")
    (config.parent / STATE).write_text("{")
    async with open_run(config, (120, 24)) as ui:
        await ui.until(f"{STATE} is damaged, and is left out")
        await ui.press("l")
        assert "damaged" not in ui.text


async def test_t_shows_everything_in_plain_characters(open_run):
    config = write("study")
    run(config)
    async with open_run(config) as ui:
        await ui.until("v0 is complete")
        await ui.press("t")
        await ui.until("##########  4/4")
        await ui.until("11.5 +- 2.1")
        await ui.until("_-+#")
        await ui.until("ok study")
        await ui.press("t")
        await ui.until("━━━━━━━━━━  4/4")


# -- the log -------------------------------------------------------------------------------------------------


async def test_the_log_can_be_searched_and_escape_ends_the_search(open_run):
    async with open_run(write("study")) as ui:
        screen = ui.app.screen
        await ui.press("R")
        await ui.until("v0 is complete")
        await ui.press("L")
        await ui.until("Seed: 1")
        await ui.press_at_once("slash", *"SEED:")
        await ui.until(lambda: "Seed: 1" in ui.text and "Results:" not in ui.text)
        await ui.press("enter", "escape")
        await ui.until("Results:")
        await ui.press("escape")
        assert ui.app.screen is not screen


async def log_of(ui, *lines: str) -> LogPane:
    """Show a log, and what is drawn of it when it has its size."""
    log = LogPane("")
    log.styles.dock = "top"
    await ui.app.screen.mount(log)
    log.add(lines)
    for _ in range(2):  # in the room that there is, and then in what its note and its scrollbar leave
        await ui.settled()
        log.flush()
    await ui.settled()
    return log


async def test_the_lines_of_a_log_fit_its_width_and_are_coloured_when_they_are_seen(open_ui, monkeypatch):
    coloured = set()
    monkeypatch.setattr(ReprHighlighter, "highlight", lambda self, text: coloured.add(text.plain))
    async with open_ui() as ui:
        log = await log_of(ui, *(f"{'word ' * 20}number {place}" for place in range(4000)), "", "the last")
        assert re.search(r"word\nword.* number 3999[ ▁-█]*\n\nthe last", ui.text)
        assert len(coloured) < 100
        await ui.pilot.resize_terminal(130, 24)
        log.flush()
        await ui.settled()
        assert re.search(r"\n(word ){20}number 3999[ ▁-█]*\n\nthe last", ui.text)


async def test_who_reads_earlier_lines_of_a_log_stays_there(open_ui):
    async with open_ui() as ui:
        log = await log_of(ui, *(f"number {place}" for place in range(100)))
        assert "number 99" in ui.text
        log.query_one(Log).scroll_home(animate=False, immediate=True)
        log.add(["the next"])
        log.flush()
        await ui.settled()
        assert "number 0" in ui.text


async def test_what_steps_print_cannot_steer_the_terminal(open_run):
    steps = STEPS.replace(
        "    ctx.metrics.add", "    print('\\x1b[2Jgone', flush=True)\n    ctx.metrics.add"
    ).replace('"score"', '"sc\\x1b[31more"')
    async with open_run(write("study", steps=steps)) as ui:
        await ui.press("R")
        await ui.until("v0 is complete")
        await ui.until(r"sc\x1b[31more")
        await ui.press("L", "slash", *"gone")
        await ui.until(r"\x1b[2Jgone")
        assert "\x1b" not in ui.text


# -- the summary ---------------------------------------------------------------------------------------------


async def test_the_summary_has_intervals_hypotheses_and_artifacts(open_run, graph):
    async with open_run(graph, (110, 40)) as ui:
        await ui.press("S")
        await ui.until("No run is stored yet")
        await ui.press("R")
        await ui.until("verdict")
        for expected in ("95% interval", "hypothesis 'larger'", "Results: data/consumer/v0"):
            await ui.until(expected)


async def test_enter_opens_an_artifact(open_run, graph):
    producer = graph.parent.parent / "producer" / "config.yaml"
    run(producer)
    async with open_run(producer, (120, 40)) as ui:
        screen = ui.app.screen
        await ui.until("v0 is complete")
        await ui.press("S")
        await ui.until("out.json")
        await ui.press("enter")
        await ui.until('"value": 0')
        await ui.until("replicate_0/baseline/PublishStep/out.json")
        await ui.press("escape")
        assert ui.app.screen is screen


# -- what goes wrong -----------------------------------------------------------------------------------------


async def test_a_failed_outcome_is_listed_with_the_command_that_repeats_it(open_run):
    Path("broken").touch()
    async with open_run(write("study"), (120, 40)) as ui:
        await ui.press("R")
        await ui.until("v0 is complete, 8 failed outcomes")
        await ui.until("✗ study")
        await ui.until("Errors (8)")
        await ui.press("E")
        await ui.until("nowhere/model.bin")
        await ui.until("crystallize run study --replicate 3 --condition less --debug")
        write("study", steps="import nowhere")
        await ui.press("R")
        await ui.until("ModuleNotFoundError")
        await ui.until("nowhere/model.bin")
        write("study")
        Path("broken").unlink()
        await ui.press("R")
        await ui.until("v0 is complete")
        await ui.until(lambda: "Errors (" not in ui.text)


async def test_that_not_all_failures_and_not_all_rows_are_shown_is_told(open_run):
    Path("broken").touch()
    cells = f"treatments: {{grid: {{extra: {list(range(1, 202))}}}}}"
    config = write("study", CONFIG.partition("treatments:")[0] + cells)
    with pytest.raises(GraphRunError):
        run(config)
    async with open_run(config, (120, 40)) as ui:
        await ui.until("study v0: complete; of each table the first 200 rows")
        await ui.press("E")
        await ui.until("study: the last 200 of 804")


async def test_a_run_that_fails_at_once_says_why(open_run):
    async with open_run(write("study", config=CONFIG.replace("score]", "scores]")), (120, 30)) as ui:
        await ui.press("R")
        await ui.until("could not be run: E shows why")
        await ui.press("E")
        await ui.until("'scores'")
        run(write("study"))  # somebody else, from another terminal
        await ui.until("v0 is complete")
        await ui.until("Nothing has failed.")


async def test_a_config_that_breaks_while_it_is_open_is_told_and_mended_by_the_next_start(open_run):
    config = write("study")
    async with open_run(config, (120, 30)) as ui:
        config.write_text("steps: [")
        await ui.press("R")
        await ui.until("cannot be run: E shows why")
        await ui.until("config.yaml:2:1")
        config.write_text(CONFIG)
        await ui.press("R")
        await ui.until("v0 is complete")


async def test_a_config_that_is_gone_is_told(open_run):
    config = write("study")
    async with open_run(config, (120, 30)) as ui:
        screen = ui.app.screen
        config.unlink()
        await ui.press("R")
        await ui.until("cannot be run: E shows why")
        await ui.press("l", "S", "P", "h", "escape")
        assert ui.app.screen is screen


async def test_an_experiment_whose_config_is_broken_from_the_start_can_be_opened(open_run):
    config = write("study", config="steps: [")
    async with open_run(config, (120, 30)) as ui:
        await ui.until("cannot be run: E shows why")
        await ui.press("l", "x", "S", "L", "P", "E", "t", "enter")
        await ui.until("config.yaml:2:1")


async def test_the_way_out_of_a_damaged_run_works(open_run):
    config = write("study")
    run(config)
    Path("data/study/v0/metadata.json").write_text("nonsense")
    async with open_run(config) as ui:
        await ui.until("v0 is damaged: l and R run it anew")
        await ui.press("l")
        await ui.until("v0 is damaged: R runs it anew")
        await ui.press("R")
        await ui.until("v1 is complete")


async def test_a_damaged_journal_is_told(open_run):
    config = write("study")
    run(config)
    journal = Path("data/study/v0/journal.jsonl")
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([*lines[:-1], b"nonsense\n"]))
    async with open_run(config, (120, 30)) as ui:
        await ui.until("1 damaged line in its journal")
        await ui.until("3/4")
        journal.write_bytes(b"nonsense\n")
        await ui.app.push_screen(screen_of(config))
        await ui.press("E")
        await ui.until("the file is no journal of a run")
        await ui.press("S")
        await ui.until("journal.jsonl")


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


async def test_a_run_of_30_000_replicates_is_drawn_at_most_ten_times_a_second_and_keys_are_answered_meanwhile(
    open_ui,
):
    config = write("study")
    run(config)
    write_long_journal(Path("data/study/v0"), 30_000)
    async with open_ui() as ui:
        screen = screen_of(config)
        await ui.app.push_screen(screen)
        assert "30000/30000" not in ui.text
        ui.app.post_message(Key("l", "l"))
        # Not until it is idle, which it need not be before all is read.
        while "Next run: rerun" not in ui.text:
            await asyncio.sleep(0.01)
        assert "30000/30000" not in ui.text  # the key did not wait for the journal
        ticks, draws = screen.ticks, screen.redraws
        await ui.until("30000/30000")
        assert screen.redraws - draws <= screen.ticks - ticks < 1000
        assert SECONDS_BETWEEN_TICKS >= 0.1
        ticks, draws = screen.ticks, screen.redraws
        await ui.until(lambda: screen.ticks >= ticks + 10)
        assert screen.redraws == draws  # nothing is new
