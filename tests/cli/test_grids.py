"""``crystallize run --grid`` and ``--dry-run``, and what other commands make of grids."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from crystallize.cli.option_values import read_grid
from crystallize.utils.quantities import format_duration

CONFIG = """
replicates: 4
seed: 1
datasource: numbers
steps: [fit]
treatments:
  baseline: {lr: 0.5}
  named: {lr: 0.7}
  grid: {lr: [0.1, 0.2], depth: [2, 4]}
"""


@pytest.fixture(autouse=True)
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write the experiment ``sweep`` into a project of its own; return its config.yaml."""
    folder = tmp_path / "experiments" / "sweep"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(CONFIG)
    (folder / "datasources.py").write_text("def numbers(ctx): return ctx.rng.normal()\n")
    (folder / "steps.py").write_text(
        "def fit(data, lr=0.05, depth=2, fails=False):\n"
        "    if fails: raise ValueError('no')\n"
        "    return data, {'loss': data + lr * depth}\n"
    )
    monkeypatch.chdir(tmp_path)
    return folder / "config.yaml"


def conditions(run: str = "data/sweep/v0") -> list[str]:
    return list(json.loads(Path(run, "metadata.json").read_text())["conditions"])


# -- running ---------------------------------------------------------------------------------------------------------


def test_a_grid_of_the_file_runs(call):
    assert call("run", "sweep").code == 0
    assert conditions()[:3] == ["baseline", "named", "lr=0.1,depth=2"]
    assert len(conditions()) == 6


def test_a_grid_of_the_command_line_takes_the_place_of_the_files_treatments_but_for_the_baselines(call):
    done = call("run", "sweep", "--grid", "lr=1e-3,0.2", "--grid", "depth=8", "--json")
    assert done.code == 0
    measured = json.loads(done.out)["sweep"]["conditions"]
    assert list(measured) == ["baseline", "lr=0.001,depth=8", "lr=0.2,depth=8"]
    metadata = json.loads(Path("data/sweep/v0/metadata.json").read_text())
    assert metadata["conditions"]["baseline"] == {"lr": 0.5}
    assert metadata["coordinates"]["lr=0.2,depth=8"] == {"lr": 0.2, "depth": 8}


def test_with_another_level_a_resumed_run_owes_its_cells_only(call):
    call("run", "sweep", "--grid", "lr=1,2")
    before = Path("data/sweep/v0/journal.jsonl").read_text().count('"replicate":')
    assert call("run", "sweep", "--grid", "lr=1,2,3", "--resume").code == 0
    after = Path("data/sweep/v0/journal.jsonl").read_text().count('"replicate":')
    assert (before, after) == (4 * 3, 4 * 4)


def test_levels_are_read_as_in_yaml():
    assert read_grid(["a=1,1e-3,true,x y,[1, 2],'1,5'", "b = 0x10"]).factors == {
        "a": [1, 1e-3, True, "x y", [1, 2], "1,5"],
        "b": [16],
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--grid", "lr"], "'lr' is not of the form FACTOR=LEVEL,..."),
        (["--grid", "=1"], "is not of the form"),
        (["--grid", "lr="], "the factor 'lr' has no levels"),
        (["--grid", "lr=1,1"], "the factor 'lr' has the level 1 twice"),
        (["--grid", "lr=1", "--grid", "lr=2"], "'lr' is given twice"),
        (["--grid", "lr=[1"], "the levels of 'lr' cannot be read: '[1'"),
        (["--grid", "lr=!!set {}"], "cannot be read"),
        (["--grid", "replicate=1"], "which the framework sets itself"),
        (["--grid", "lrr=1,2"], "sets 'lrr', which nothing reads from the context"),
        (["--grid", "lrr=1,2", "--dry-run"], "Did you mean 'lr'?"),
        (["--grid", "lr=1", "-t", "named"], "leave the other option out"),
        (["--grid", "lr=1", "--debug", "--replicate", "0"], "leave the other option out"),
        (["--dry-run", "--resume"], "it tells of a whole run"),
        (["--dry-run", "--debug"], "it tells of a whole run"),
    ],
)
def test_a_mistake_is_told_and_nothing_runs(call, options, message):
    done = call("run", "sweep", *options)
    assert done.code == 2
    assert message in done.err
    assert not Path("data").exists()


# -- looking ahead ---------------------------------------------------------------------------------------------------


def test_a_dry_run_tells_count_and_list_and_runs_nothing(call):
    done = call("run", "sweep", "--dry-run")
    assert (done.code, done.err) == (0, "Nothing was run.\n")
    assert done.out.splitlines() == [
        "sweep: 6 conditions x 4 replicates = 24 outcomes",
        "  factors: lr (2 levels), depth (2 levels)",
        "  - baseline",
        "  - named",
        "  - lr=0.1,depth=2",
        "  - lr=0.1,depth=4",
        "  - lr=0.2,depth=2",
        "  - lr=0.2,depth=4",
        "  cost: not known, for no run with outcomes is stored",
    ]
    assert not Path("data").exists()


def test_a_dry_run_takes_options_into_account_and_lists_the_first_of_many(call):
    done = call("run", "sweep", "--dry-run", "-n", "100", "--grid", f"lr={','.join(map(str, range(1000)))}")
    lines = done.out.splitlines()
    assert lines[0] == "sweep: 1001 conditions x 100 replicates = 100100 outcomes"
    assert lines[-2] == "  and 982 more"
    assert len(lines) < 30
    one = call("run", "sweep", "--dry-run", "-t", "named").out
    assert one.startswith("sweep: 2 conditions x 4 replicates")


def test_a_dry_run_of_one_treatment_refuses_what_its_run_refuses(call, sweep):
    steps = sweep.with_name("steps.py")
    steps.write_text(steps.read_text() + "\ndef finish(data, *, needed): return data\n")
    sweep.with_name("datasources.py").write_text("def numbers(): return 1.0\n")
    sweep.write_text(CONFIG.replace("steps: [fit]", "steps: [finish, fit]"))
    for options in ((), ("--dry-run",)):
        done = call("run", "sweep", "-t", "named", *options)
        assert (done.code, "needs the parameter 'needed'" in done.err) == (2, True)


def test_the_cost_is_that_of_the_newest_run(call):
    call("run", "sweep", "--grid", "lr=7")
    done = call("run", "sweep", "--grid", "lr=7,8", "--dry-run", "--json")
    told = json.loads(done.out)["sweep"]
    assert told["outcomes"] == 12
    assert told["by"] == "v0"
    assert 0 < told["seconds"] < 5
    text = call("run", "sweep", "--grid", "lr=7,8", "--dry-run").out
    assert "of work" in text
    assert "by v0; 1 condition new, taken to be like the others" in text


def test_durations_are_for_people():
    assert [format_duration(seconds) for seconds in (0.012, 2.5, 59.97, 200, 18_720, 36_000_000)] == [
        *("12 ms", "2.5 s", "1 min 0 s", "3 min 20 s", "5 h 12 min", "10,000 h 0 min"),
    ]


# -- other commands --------------------------------------------------------------------------------------------------


def test_a_run_of_a_grid_that_the_command_line_named_is_verified(call):
    call("run", "sweep", "--grid", "lr=3,4")
    done = call("verify", "sweep")
    assert (done.code, done.out.splitlines()[0]) == (0, "PASS: 12 outcomes are the same, to the last bit.")


def test_an_outcome_of_such_a_run_is_repeated_with_the_command_that_is_told(call):
    done = call("run", "sweep", "--grid", "fails=true")
    assert done.code == 1
    (told,) = (
        line for line in done.err.splitlines() if line.startswith("Run this outcome alone: crystallize ")
    )
    again = call(*told.partition("crystallize ")[2].split())
    assert again.code == 1
    assert "ValueError: no" in again.err


def test_show_runs_tells_the_factors(call):
    call("run", "sweep")
    assert "Factors:    lr (0.1, 0.2), depth (2, 4)" in call("runs", "show", "sweep").out


def test_show_tells_the_effects_of_the_factors(call):
    call("run", "sweep")
    shown = call("show", "sweep", "--effects", "loss")
    assert shown.code == 0
    assert shown.out.splitlines()[2].startswith("lr ")
    told = json.loads(call("show", "sweep", "--effects", "loss", "--json").out)
    assert [each["factors"] for each in told["effects"]] == [["lr"], ["depth"], ["lr", "depth"]]
    wrong = call("show", "sweep", "--effects", "los")
    assert (wrong.code, "Did you mean 'loss'?" in wrong.err) == (2, True)
    call("run", "sweep", "-t", "named")
    assert "the run has no design" in call("show", "sweep", "--effects", "loss").err


def test_show_tells_which_conditions_may_be_the_best(call):
    call("run", "sweep")
    shown = call("show", "sweep", "--best", "loss", "--direction", "min")
    assert shown.code == 0
    assert shown.out.startswith("condition")
    assert "cannot be told from the best, the one with the smallest true" in shown.out
    told = shown.out.splitlines()[-1].split()
    assert told[:4] == ["crystallize", "run", "sweep", "--treatment"]
    assert call(*told[1:]).code == 0
    stored = ("show", "sweep", "--version", "0", "--best", "loss")
    told = json.loads(call(*stored, "--direction", "max", "--json").out)
    assert (told["direction"], len(told["candidates"])) == ("max", 6)
    assert "--direction" in call("show", "sweep", "--best", "loss").err
    for wrong, said in (
        (("--best", "los", "--direction", "min"), "Did you mean 'loss'?"),
        (("--direction", "min"), "it goes with --best METRIC"),
        (("--tree", "condition > replicate", "--json"), "a tree is text, and no JSON"),
        (("--best", "loss", "--effects", "loss"), "each is printed instead of all else"),
    ):
        done = call("show", "sweep", *wrong)
        assert (done.code, said in done.err) == (2, True)


def test_what_measures_the_best_again_has_the_levels_and_settings_of_the_command_line(call):
    call("run", "sweep", "--grid", "lr=0.7,0.8", "--set", "depth=3")
    told = {
        end: call("show", "sweep", "--best", "loss", "--direction", end).out.splitlines()[-1].split()
        for end in ("min", "max")
    }
    (cell,) = (words for words in told.values() if "--grid" in words)
    assert cell[:5] == ["crystallize", "run", "sweep", "--set", "depth=3"]
    assert call(*cell[1:]).code == 0
    assert cell[6] in ("lr=0.7", "lr=0.8")
    assert cell[6] in call("show", "sweep").out


def test_check_list_and_graph_know_grids(call, sweep):
    assert call("check").out == "sweep  ok\n"
    assert "baseline, named, lr=0.1,depth=2" in call("graph", "sweep").out
    (listed,) = json.loads(call("list", "--json").out)
    assert listed["treatments"][-1] == "lr=0.2,depth=4"
    sweep.write_text(CONFIG.replace("depth:", "dpth:"))
    done = call("check")
    assert done.code == 2
    assert "treatments.grid.dpth: nothing reads the factor 'dpth'" in done.out


def test_a_treatment_of_a_grid_is_completed(complete):
    assert complete("crystallize run sweep -t lr=0.1,") == ["lr=0.1,depth=2", "lr=0.1,depth=4"]


# -- the order in time -----------------------------------------------------------------------------------------------


def order_of(run: str) -> tuple[str, list[int]]:
    lines = [json.loads(line) for line in Path(run, "journal.jsonl").read_text().splitlines()]
    began = sorted((line["started"], line["replicate"]) for line in lines if "condition" in line)
    order = json.loads(Path(run, "metadata.json").read_text())["order"]
    return order, list(dict.fromkeys(replicate for _, replicate in began))


def test_the_order_is_that_of_the_file_or_of_the_command_line(call, sweep):
    call("run", "sweep", "-n", "9")
    assert order_of("data/sweep/v0") == ("interleaved", list(range(9)))
    sweep.write_text(f"order: randomised\n{CONFIG}")
    call("run", "sweep", "-n", "9")
    order, replicates = order_of("data/sweep/v1")
    assert order == "randomised"
    assert sorted(replicates) == list(range(9)) != replicates
    assert "Order:      randomised" in call("runs", "show", "sweep").out
    call("run", "sweep", "-n", "9", "--order", "interleaved")
    assert order_of("data/sweep/v2")[0] == "interleaved"
    for condition in ("baseline", "lr=0.1,depth=2"):
        stored = {Path(f"data/sweep/v{number}/{condition}/results.json").read_bytes() for number in range(3)}
        assert len(stored) == 1


def test_an_unknown_order_is_refused(call, sweep):
    done = call("run", "sweep", "--order", "random")
    assert done.code == 2
    assert "order is 'interleaved' or 'randomised', got 'random'" in done.err
    sweep.write_text(f"order: random\n{CONFIG}")
    assert "order: found the text 'random'. It is 'interleaved' or 'randomised'" in call("check").out
