"""``crystallize cache``, and the options of ``crystallize run`` that are about it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

DAY = 86_400
STEPS = """
from crystallize import PipelineStep, pipeline_step

print("said by a module")
OFFSET = 1

def clean(number):
    return number + OFFSET

@pipeline_step(cacheable=True)
def fit(data, *, lr=0.1, extra=0):
    return [clean(x) * lr + extra for x in data]

class Score(PipelineStep):
    cacheable = True
    def __call__(self, data, ctx):
        return data, {"score": sum(data)}

@pipeline_step()
def plain(data):
    return data
"""
CONFIG = """
datasource: numbers
replicates: 3
seed: 1
steps:
  - fit: {lr: 0.1}
  - Score
  - plain
treatments: {more: {extra: 1}}
"""


def write(name: str, steps: str = STEPS, config: str = CONFIG) -> Path:
    folder = Path("experiments") / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(dedent(config).lstrip())
    (folder / "steps.py").write_text(dedent(steps).lstrip())
    (folder / "datasources.py").write_text("def numbers(ctx):\n    return [1, ctx['replicate']]\n")
    return folder


@pytest.fixture
def study(call: Callable[..., Any]) -> Path:
    """Make the experiment ``study`` and run it."""
    folder = write("study")
    assert call("run", "study").code == 0
    return folder


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def entries(name: str = "*") -> list[Path]:
    """Return the entries of the steps whose code has this name."""
    described = {
        file.parent: json.loads(file.read_text())["name"] for file in Path(".cache").glob("*/step.json")
    }
    return [
        entry for folder, own in described.items() if name in ("*", own) for entry in folder.glob("*.pkl")
    ]


def hits(call: Any, *arguments: str) -> str:
    done = call("run", "study", *arguments)
    assert done.code == 0
    return next((line for line in done.err.splitlines() if line.startswith("From the cache")), "")


# -- runs ----------------------------------------------------------------------------------------------------


def test_a_run_says_at_its_end_how_many_outputs_came_from_the_cache(call, study):
    assert hits(call) == "From the cache: 12 of 12 outputs of 'study'."
    assert hits(call, "-n", "4") == "From the cache: 12 of 16 outputs of 'study'."
    done = call("run", "study", "--json")
    assert "From the cache: 12 of 12 outputs of 'study'." in done.err
    assert list(json.loads(done.out)) == ["study"]


def test_a_run_in_which_no_step_asks_for_the_cache_says_nothing_of_it(call, project):
    assert "cache" not in call("run", "make").err


def test_a_run_without_the_cache_neither_takes_nor_keeps(call, study):
    before = {path: path.stat().st_mtime_ns for path in entries()}
    assert hits(call, "--no-cache", "--set", "extra=5") == ""
    assert {path: path.stat().st_mtime_ns for path in entries()} == before


def test_a_run_uses_the_cache_that_config_yaml_switches_off_if_it_is_told_to(call, study):
    edit(study / "config.yaml", "seed: 1", "seed: 1\ncache: false")
    assert hits(call) == ""
    assert hits(call, "--use-cache") == "From the cache: 12 of 12 outputs of 'study'."
    assert hits(call, "--use-cache", "--cache", "no:fit") == "From the cache: 6 of 6 outputs of 'study'."


def test_a_run_that_refreshes_makes_every_output_anew_and_keeps_it(call, study):
    before = {path: path.read_bytes() for path in entries()}
    assert hits(call, "--refresh-cache") == "From the cache: 0 of 12 outputs of 'study'."
    after = {path: path.read_bytes() for path in entries()}
    assert after.keys() == before.keys()
    assert not set(after.values()) & set(before.values())  # they say when they were made
    assert hits(call) == "From the cache: 12 of 12 outputs of 'study'."


def test_the_options_reach_what_the_experiment_depends_on_and_count_more_than_the_file(call, study):
    edit(study / "config.yaml", "- fit: {lr: 0.1}", "- fit:")
    edit(
        study / "config.yaml",
        "treatments:",
        "cache: false\noutputs: {out: {file_name: out.json, loader: json}}\ntreatments:",
    )
    edit(study / "steps.py", "def plain(data):", "def plain(data, *, out):\n    out.write(data)")
    edit(study / "steps.py", "*, out", "*, out: Artifact")
    edit(study / "steps.py", "import PipelineStep", "import Artifact, PipelineStep")
    write(
        "after",
        config="datasource: {out: study#out}\nsteps: [look]\n",
        steps="""
        from crystallize import pipeline_step
        @pipeline_step(cacheable=True)
        def look(data):
            return data["out"]
        """,
    )
    for cached, told in [
        ((), "0 of 3 outputs of 'after'"),
        ((), "3 of 3 outputs of 'after'"),
        (("--refresh-cache",), "0 of 12 outputs of 'study', 0 of 3 outputs of 'after'"),
        (("--no-cache",), ""),
    ]:
        done = call("run", "after", *cached)
        assert done.code == 0
        assert (f"From the cache: {told}." in done.err) if told else ("From the cache" not in done.err)


def test_one_step_is_cached_or_not_whatever_the_files_say(call, study):
    assert hits(call, "--cache", "no:fit") == "From the cache: 6 of 6 outputs of 'study'."
    edit(study / "config.yaml", "  - plain", "  - plain:\n    cache: false")
    hits(call, "--cache", "plain")
    assert hits(call, "--cache", "plain") == "From the cache: 18 of 18 outputs of 'study'."


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (("fitt",), "no step 'fitt'"),
        (("no:nothing",), "Its steps are"),
        (("no:",), "STEP or no:STEP"),
        (("fit", "no:fit"), "'fit' is named twice"),
    ],
)
def test_what_is_no_step_cannot_be_cached(call, study, given, told):
    done = call("run", "study", *(word for step in given for word in ("--cache", step)))
    assert done.code == 2
    assert told in " ".join(done.err.replace("│", " ").split())


@pytest.mark.parametrize("other", ["--refresh-cache", "--use-cache"])
def test_two_options_that_contradict_each_other_are_refused(call, study, other):
    done = call("run", "study", "--no-cache", other)
    assert done.code == 2
    assert "--no-cache" in done.err
    assert other in done.err


def test_one_outcome_is_run_again_without_the_cache(call, study):
    edit(study / "steps.py", "    return [clean", "    print('it runs')\n    return [clean")
    assert "it runs" in call("run", "study", "--debug", "--replicate", "1").out
    assert "it runs" not in call("run", "study", "--debug", "--replicate", "1").out
    assert "it runs" in call("run", "study", "--debug", "--replicate", "1", "--no-cache").out


# -- info ----------------------------------------------------------------------------------------------------


def test_where_nothing_is_stored_it_says_where(call, monkeypatch):
    assert call("cache", "info") == (0, "Nothing is stored in .cache.\n", "")
    monkeypatch.setenv("CRYSTALLIZE_CACHE_DIR", "elsewhere")
    assert call("cache", "info").out == "Nothing is stored in elsewhere.\n"
    assert json.loads(call("cache", "info", "--json").out) == []


def test_what_is_stored_is_shown_step_by_step(call, study):
    edit(study / "config.yaml", "lr: 0.1", "lr: 0.2")
    call("run", "study", "-n", "2")
    header, _, *rows, _, total = call("cache", "info").out.splitlines()
    assert header.split() == ["step", "file", "versions", "entries", "size", "last", "used"]
    assert [row.split()[:4] for row in rows] == [
        ["Score", "experiments/study/steps.py", "1", "10"],
        ["fit", "experiments/study/steps.py", "2", "10"],
    ]
    assert total.startswith("20 entries, ")
    assert total.endswith(" in .cache.")
    assert max(map(len, [header, *rows])) <= 80


def test_one_experiment_and_one_step_are_shown_by_either_name(call, study):
    write("other", STEPS.replace("OFFSET = 1", "OFFSET = 2"))
    assert call("cache", "info", "other", "fit").out == "Nothing of it is stored in .cache.\n"
    call("run", "other", "-n", "1")
    shown = {
        name: [each["entries"] for each in json.loads(call("cache", "info", *name, "--json").out)]
        for name in [("study",), ("study", "fit"), ("study", "FitStep"), ("other", "fit"), ("study", "plain")]
    }
    assert shown[("study", "fit")] == shown[("study", "FitStep")] == [6]
    assert shown[("other", "fit")] == [2]
    assert shown[("study", "plain")] == []
    assert sum(shown[("study",)]) == 14  # Score is the same step in both


def test_json_has_all_that_is_known_of_a_step(call, study):
    done = call("cache", "info", "study", "fit", "--json")
    (found,) = json.loads(done.out)
    assert (found["step"], found["entries"]) == ("steps.fit", 6)
    assert found["file"] == str((study / "steps.py").absolute())
    assert found["bytes"] == sum(entry.stat().st_size for entry in Path(found["folder"]).glob("*.pkl"))
    assert found["first_used"] <= found["last_used"]
    assert 0 <= found["seconds"] < 1


# -- why -----------------------------------------------------------------------------------------------------


def why(call: Any, step: str = "fit") -> str:
    done = call("cache", "why", "study", step)
    assert (done.code, done.err) == (0, "said by a module\n")
    return str(done.out)


def test_before_the_first_run_nothing_is_stored(call):
    write("study")
    assert why(call) == "FitStep: nothing is stored yet.\n"


def test_an_edit_of_a_helper_and_another_parameter_are_named(call, study):
    edit(study / "steps.py", "number + OFFSET", "number - OFFSET")
    edit(study / "config.yaml", "lr: 0.1", "lr: 0.2")
    assert why(call).splitlines() == [
        "FitStep has changed since its outputs were stored last:",
        "  clean() in steps.py changed",
        "  lr: 0.1 -> 0.2",
    ]
    assert json.loads(call("cache", "why", "study", "FitStep", "--json").out)["entries"] == 0
    assert why(call, "Score").startswith("Score: nothing has changed, and 6 entries are stored.")


def test_comments_are_no_change(call, study):
    edit(study / "steps.py", "OFFSET = 1", "# as measured\nOFFSET = 1")
    assert "nothing has changed" in why(call)


def test_the_steps_of_another_experiment_are_no_earlier_state(call, study):
    write("other", STEPS.replace("OFFSET = 1", "OFFSET = 2"))
    assert call("cache", "why", "other", "fit").out == "FitStep: nothing is stored yet.\n"


def test_where_nothing_has_changed_the_newest_run_tells_why_steps_ran(call, study):
    edit(study / "config.yaml", "extra: 1", "extra: 2")
    call("run", "study")
    assert why(call).splitlines() == [
        "FitStep: nothing has changed, and 9 entries are stored. Equal input gives a stored output.",
        "In the newest run:",
        "  FitStep: 3 outputs from the cache, 3 made",
        "    3 since extra: 1 -> 2 ('more')",
    ]
    found = json.loads(call("cache", "why", "study", "fit", "--json").out)
    assert (found["step"], found["entries"], found["changes"]) == ("FitStep", 9, [])
    assert found["newest_run"] == {"hits": 3, "misses": 3, "reasons": {"extra: 1 -> 2": {"more": 3}}}


def test_a_run_that_is_gone_or_damaged_is_not_told_of(call, study):
    (study.parents[1] / "data/study/v0/metadata.json").write_text("no JSON")
    assert why(call).count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["stdy", "fit"], "Did you mean 'study'?"),
        (["study", "fitt"], "Did you mean 'fit'?"),
        (["study", "fitt"], "Its steps are 'FitStep', 'PlainStep', 'Score', 'fit', 'plain'"),
        (
            ["study", "plain"],
            "step 'PlainStep' is not cacheable. Decorate it with @pipeline_step(cacheable=True)",
        ),
        (["study", "plain"], "or write 'cache: true' beside its name in config.yaml"),
        (["study"], "Missing argument 'STEP'"),
    ],
)
def test_a_name_that_is_none_and_a_step_that_is_not_cached_are_mistakes(call, study, arguments, told):
    done = call("cache", "why", *arguments)
    assert (done.code, done.out) == (2, "")
    assert told in done.err


def test_a_config_that_switches_the_cache_off_is_told_of(call, study):
    edit(study / "config.yaml", "- fit: {lr: 0.1}", "- fit: {lr: 0.1}\n    cache: false")
    assert "step 'FitStep' is not cacheable" in call("cache", "why", "study", "fit").err
    edit(study / "config.yaml", "seed: 1", "seed: 1\ncache: false")
    done = call("cache", "why", "study", "Score")
    assert done.code == 2
    assert "does without the cache. Remove 'cache: false' from its config.yaml" in done.err


def test_a_config_with_mistakes_is_told_with_its_line(call, study):
    edit(study / "config.yaml", "lr: 0.1", "rate: 0.1")
    for command in ("why", "info", "clear"):
        done = call("cache", command, "study", "fit")
        assert done.code == 2
        assert "config.yaml:5:" in done.err


# -- clear and prune -----------------------------------------------------------------------------------------


def test_clearing_removes_everything_or_what_is_named(call, study):
    write("other", STEPS.replace("OFFSET = 1", "OFFSET = 2").replace("sum(data)", "max(data)"))
    call("run", "other")
    assert (
        call("cache", "clear", "study", "fit", "--yes").out.splitlines()[-1].startswith("Removed 6 entries, ")
    )
    assert len(entries()) == 18
    assert call("cache", "clear", "other", "-y").code == 0
    assert len(entries()) == 6
    assert call("cache", "clear", "-y").code == 0
    assert list(Path(".cache").iterdir()) == []
    assert call("cache", "clear", "-y") == (0, "There is nothing to remove.\n", "")
    assert hits(call) == "From the cache: 0 of 12 outputs of 'study'."


def test_nothing_is_removed_that_nobody_has_confirmed(call, study):
    done = call("cache", "clear")
    assert done.code == 2
    assert done.err == "Nothing was removed: add --yes, where nobody can be asked.\n"
    done = call("cache", "prune", "--max-size", "0", "--dry-run")
    assert done.code == 0
    assert done.out.splitlines()[-1].startswith("This would remove 12 entries, ")
    assert len(entries()) == 12


def test_entries_go_by_size_and_age(call, study):
    old, *others = entries("steps.fit")
    os.utime(old, (0, time.time() - 10 * DAY))
    os.utime(others[0], (0, time.time() - 3 * DAY))
    assert (
        call("cache", "prune", "--older-than", "1w", "-y")
        .out.splitlines()[-1]
        .startswith("Removed 1 entry, ")
    )
    assert not old.exists()
    rest = sum(entry.stat().st_size for entry in entries())
    assert call("cache", "prune", "study", "--max-size", f"{rest - 1}B", "-y").code == 0
    assert not others[0].exists()
    assert len(entries()) == 10
    assert (
        call("cache", "prune", "--max-size", "1GB", "--older-than", "1d").out
        == "There is nothing to remove.\n"
    )


def test_without_a_limit_that_of_the_environment_counts(call, study, monkeypatch):
    done = call("cache", "prune", "-y")
    assert done.code == 2
    assert "nothing says what to remove. Give --max-size or --older-than, or set" in done.err
    monkeypatch.setenv("CRYSTALLIZE_CACHE_MAX_MB", "0.0001")
    assert call("cache", "prune", "-y").code == 0
    assert entries() == []


@pytest.mark.parametrize("option", ["--max-size", "--older-than"])
def test_a_limit_that_cannot_be_read_is_told_with_its_form(call, option):
    done = call("cache", "prune", option, "much")
    assert done.code == 2
    assert f"Invalid value for '{option}': 'much' cannot be read" in done.err


def test_a_limit_of_the_environment_that_is_none_is_told_before_a_run(call, study, monkeypatch):
    monkeypatch.setenv("CRYSTALLIZE_CACHE_MAX_DAYS", "a week")
    for arguments in (("run", "study"), ("cache", "prune")):
        done = call(*arguments)
        assert done.code == 2
        assert "CRYSTALLIZE_CACHE_MAX_DAYS is a number, got 'a week'" in done.err


def test_what_cannot_be_removed_is_told(call, study, monkeypatch):
    refuse = Path.unlink

    def unlink(path: Path, *arguments: Any, **options: Any) -> None:
        if path.suffix == ".pkl":
            raise PermissionError(13, "Permission denied", str(path))
        refuse(path, *arguments, **options)

    monkeypatch.setattr(Path, "unlink", unlink)  # root may remove anything
    done = call("cache", "clear", "-y")
    assert done.code == 2
    assert done.out.splitlines()[-1] == "Removed 0 entries, 0 B."
    assert "Permission denied" in done.err
