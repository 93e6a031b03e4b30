"""``crystallize export``: a stored run as an RO-Crate."""

from __future__ import annotations

import json
import os
from pathlib import Path

from rocrate.rocrate import ROCrate


def test_the_newest_run_of_an_experiment_becomes_a_zip_file_here(call, project):
    assert call("run", "make").code == 0
    assert call("run", "make", "--set", "factor=3").code == 0
    done = call("export", "make")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("Wrote make-v1-ro-crate.zip: 11 files, ")
    crate = ROCrate("make-v1-ro-crate.zip")
    assert crate.root_dataset["name"] == "Run make v1"
    assert crate.root_dataset["description"].startswith("Make numbers. 3 replicates of baseline, bigger.")


def test_the_options_say_which_run_where_and_under_which_license(call, project):
    assert call("run", "make").code == 0
    address = "https://spdx.org/licenses/CC-BY-4.0"
    options = ("--format", "ro-crate", "--license", address)
    assert call("export", "make@v0", "-o", "new/crate", *options).out.startswith(
        "Wrote new/crate: 11 files, "
    )
    assert ROCrate("new/crate").root_dataset["license"].id == address
    assert call("export", "data/make/v0", "--output", "crate.zip").code == 0
    assert ROCrate("crate.zip").root_dataset["name"] == "Run make v0"


def test_the_definition_of_a_config_file_is_among_the_settings(call, project):
    assert call("run", "make").code == 0
    assert call("export", "make", "-o", "crate").code == 0
    graph = json.loads(Path("crate/ro-crate-metadata.json").read_text())["@graph"]
    settings = {entity["name"]: entity["value"] for entity in graph if "value" in entity}
    assert settings["conditions.bigger.settings.factor"] == 2
    assert settings["master_seed"] == 1
    (action,) = (entity for entity in graph if entity["@type"] == "CreateAction")
    assert "Started as: " in action["description"]


def test_artifacts_that_were_removed_are_counted(call, project):
    assert call("run", "make").code == 0
    assert call("runs", "prune", "make", "--keep", 0, "--yes").code == 0
    out = call("export", "make").out
    assert "Only described, since they are no longer stored: 6 artifacts." in out


def test_an_older_crate_is_replaced_with_force_only(call, project):
    assert call("run", "make").code == 0
    assert call("export", "make", "-o", "crate").code == 0
    done = call("export", "make", "-o", "crate")
    assert (done.code, done.out) == (2, "")
    assert "crate' exists already. Choose another name, or replace it with --force" in done.err
    assert call("export", "make", "-o", "crate", "--force").code == 0


def test_wrong_use_is_told(call, project):
    assert call("run", "make").code == 0
    wrong = {
        ("make", "--format", "csv"): "'csv' is not one of 'ro-crate'",
        ("mak",): "Did you mean 'make'?",
        ("make@v7",): "version 7 is not stored of experiment 'make' (",
        ("make", "-o", "."): "a crate cannot take the place of the working directory",
        ("make", "-o", "data", "--force"): "exists already and is no crate",
        ("use",): "no complete run is stored of experiment 'use'",
    }
    before = sorted(os.walk("."))
    for arguments, told in wrong.items():
        done = call("export", *arguments)
        assert (done.code, done.out) == (2, ""), arguments
        assert told in done.err
        assert "Traceback" not in done.err
    assert sorted(os.walk(".")) == before
