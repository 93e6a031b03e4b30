"""``crystallize show``: stored results, read without the code that made them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest


@pytest.fixture
def stored(call, project) -> Path:
    assert call("run", "use").code == 0
    return Path("data/use/v0")


def table(out: str) -> list[str]:
    return [line for line in out.splitlines() if line.startswith(("metric", "seen", "-----"))]


def test_it_shows_what_the_run_printed(call, project):
    printed = call("run", "use").out
    shown = call("show", "use")
    assert (shown.code, shown.err) == (0, "")
    assert len(table(shown.out)) == 9
    assert "best is 'bigger'." in shown.out
    assert shown.out.partition("\n")[2].partition("\n")[2] in printed
    assert shown.out.endswith("Seed: 1\nResults: data/use/v0\n")


def test_nothing_of_the_users_is_imported(call, project, stored):
    for module in project.rglob("*.py"):
        module.write_text("raise RuntimeError('imported')\n")
    assert call("show", "use").code == 0


def test_json_has_metadata_metrics_errors_and_summary(call, stored):
    document = json.loads(call("show", "use", "--json").out)
    assert list(document) == ["experiment", "path", "status", "metadata", "metrics", "errors", "summary"]
    assert document["metrics"]["shifted"]["seen"] == [7, 7, 7]
    assert document["metadata"]["replicates"] == 3
    rows = {row["condition"]: row["difference"] for row in document["summary"]["rows"]}
    assert rows == {"baseline": None, "shifted": 1, "bigger": 6.5}


@pytest.mark.parametrize(
    ("plugins", "told"),
    [
        ("{ARTIFACT: {root_dir: kept}}", "kept/make/v0"),
        ("{artifact: {root_dir: ~/kept}}", "home/kept/make/v0"),
        ("{Crystallize_Lab: false}", "stores no results"),
    ],
)
def test_runs_are_where_config_yaml_says_however_it_is_spelled(call, project, monkeypatch, plugins, told):
    monkeypatch.setenv("HOME", str(Path("home").absolute()))
    config = project / "make" / "config.yaml"
    config.write_text(f"{config.read_text()}plugins: {plugins}\n")
    assert call("run", "make").code == 0
    shown = call("runs", "show", "make")
    assert told in shown.out + shown.err


def test_versions_are_shown_by_number_and_the_newest_complete_one_by_default(call, project):
    config = project / "make" / "config.yaml"
    config.write_text(config.read_text() + "plugins: {artifact: {root_dir: kept}}\n")
    for factor in (1, 2):
        assert call("run", "make", "--set", f"factor={factor}", "-t", "baseline").code == 0
    metrics = [
        json.loads(call("show", "make", "--json", *version).out)["metrics"]["baseline"]["total"][0]
        for version in ([], ["--version", "0"], ["--version", "1"])
    ]
    assert metrics == [12, 6, 12]
    missing = call("show", "make", "--version", "7")
    assert missing.code == 2
    assert "version 7 is not stored" in missing.err
    assert "There are v0, v1" in missing.err


def test_without_a_stored_run_it_says_how_to_get_one(call, project):
    done = call("show", "use")
    assert (done.code, done.out) == (2, "")
    assert "no complete run is stored of experiment 'use'" in done.err
    assert "crystallize run use" in done.err


def test_a_run_of_a_script_is_found_by_its_name(call):
    from crystallize import Experiment

    Experiment(lambda: 1, [lambda data: (data, {"one": data})], name="scripted").run(replicates=2)
    done = call("show", "scripted")
    assert done.code == 0
    assert "one" in done.out


def test_a_name_of_several_lines_keeps_to_its_row(call):
    from crystallize import Experiment

    Experiment(lambda: 1, [lambda data: (data, {"two\nlines\t": data})], name="scripted").run(replicates=2)
    done = call("show", "scripted")
    header, _, row = done.out.splitlines()[2:5]
    assert (header.split()[0], row.split()[0]) == ("metric", r"two\nlines\t")


def test_a_run_with_failures_is_shown_as_it_was_printed(call, project):
    steps = project / "use" / "steps.py"
    steps.write_text(
        "from crystallize import pipeline_step\n\n"
        "@pipeline_step()\n"
        "def look(data, ctx, *, shift=0.0):\n"
        "    if ctx['replicate'] == 0 and shift == 1:\n"
        "        raise OSError('unlucky')\n"
        "    return data, {'seen': shift * ctx['replicate']}\n"
    )
    printed = call("run", "use")
    assert printed.code == 1
    shown = call("show", "use").out
    assert set(table(shown)) <= set(table(printed.out))
    assert "failed replicates: 1 under 'shifted'." in shown
    document = json.loads(call("show", "use", "--json").out)
    rows = {row["condition"]: (row["n"], row["difference"]) for row in document["summary"]["rows"]}
    assert rows == {"baseline": (3, None), "shifted": (2, 1.5), "bigger": (3, 0.5)}
    assert [(error["replicate"], error["condition"]) for error in document["errors"]] == [(0, "shifted")]


def test_a_run_that_was_interrupted_shows_what_it_has_measured(call, stored):
    metadata = stored / "metadata.json"
    metadata.write_text(metadata.read_text().replace('"complete"', '"interrupted"'))
    (stored / "shifted" / "results.json").unlink()
    assert "no complete run is stored" in call("show", "use").err
    done = call("show", "use", "--version", "0")
    assert done.code == 0
    assert ", which is interrupted" in done.out
    metadata.write_text(metadata.read_text().replace('"interrupted"', '"running"'))  # as a kill leaves it
    killed = json.loads(call("show", "use", "--version", "0", "--json").out)
    assert (killed["status"], killed["metadata"]["status"]) == ("interrupted", "running")


@pytest.mark.parametrize("content", ["{", "[]", '{"metrics": 3}', '{"metrics": {"seen": 3}}'])
def test_damaged_results_of_a_run_without_a_journal_are_an_error_that_names_the_file(call, stored, content):
    (stored / "journal.jsonl").unlink()
    (stored / "shifted" / "results.json").write_text(content)
    done = call("show", "use")
    assert done.code == 2
    assert "data/use/v0/shifted/results.json" in done.err
    assert "Traceback" not in done.err


def test_a_damaged_journal_is_an_error_that_names_the_file(call, stored):
    (stored / "journal.jsonl").write_text("{}\n")
    done = call("show", "use")
    assert done.code == 2
    assert "data/use/v0/journal.jsonl:1" in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize("name", ["usee", "../use", "", "/"])
def test_an_unknown_name_is_wrong_use(call, stored, name):
    done = call("show", name)
    assert done.code == 2
    assert "Traceback" not in done.err


def test_an_experiment_whose_results_nothing_stores(call, project):
    config = project / "make" / "config.yaml"
    config.write_text(config.read_text() + "plugins: {artifact: false}\n")
    done = call("show", "make")
    assert done.code == 2
    assert "stores no results" in done.err


@pytest.mark.parametrize(
    "fmt", ["condition > replicate > step", "replicate > condition > step", "replicate > condition"]
)
def test_the_tree_is_the_same_from_a_live_result_and_from_disk(call, capfd, fmt):
    from crystallize import ArtifactPlugin, Experiment, Treatment, pipeline_step

    @pipeline_step()
    def look(data, *, shift=0):
        return data, {"seen": data + shift}

    live = Experiment(
        lambda: 1,
        [look],
        treatments=[Treatment("more", {"shift": 1})],
        seed=1,
        name="live",
        plugins=[ArtifactPlugin()],
    )
    result = live.run(replicates=2)
    result.print_tree(fmt)
    printed = capfd.readouterr().out
    assert "replicate 1" in printed
    assert call("show", "live", "--tree", fmt).out == printed
