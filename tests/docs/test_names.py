"""The links from names to the reference."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

import crystallize

REFERENCE = Path(__file__).resolve().parents[2] / "docs" / "reference"
INDEX = {
    "Experiment": "e/#Experiment",
    "Experiment.run": "e/#Experiment.run",
    "FrozenContext.rng": "c/#FrozenContext.rng",
    "FrozenContext": "c/#FrozenContext",
    "after_step": "h/#after_step",
    "treatment": "t/#treatment",
    "crystallize run": "cli/#crystallize-run",
}


@pytest.mark.parametrize(
    ("written", "target"),
    [
        ("Experiment", "e/#Experiment"),
        ("Experiment(execution=&quot;process&quot;)", "e/#Experiment"),
        ("crystallize.experiments.Experiment.run", "e/#Experiment.run"),
        ("experiment.run(replicates=3)", "e/#Experiment.run"),
        ("ctx.rng", "c/#FrozenContext.rng"),
        ("ctx.metrics", "c/#FrozenContext"),
        ("after_step(ctx)", "h/#after_step"),
        ("@treatment", "t/#treatment"),
        ("treatment(&quot;wide&quot;)", "t/#treatment"),
        ("crystallize run NAME --set a=1", "cli/#crystallize-run"),
    ],
)
def test_inline_code_that_begins_with_a_name_is_a_link(names: ModuleType, written: str, target: str) -> None:
    html = f"<p>Take <code>{written}</code>.</p>"
    linked = f'<p>Take <a href="{target}"><code>{written}</code></a>.</p>'
    assert names.with_links(html, INDEX) == linked


@pytest.mark.parametrize(
    "html",
    [
        "<code>treatment</code>",  # a key of config.yaml
        "<code>ctx</code>",
        "<code>Experiments</code>",
        "<code>experiment#artifact</code>",
        "<code>crystallize</code>",
        '<a href="x"><code>Experiment</code></a>',
        '<h2 id="x">The <code>Experiment</code></h2>',
        "<pre><span></span><code>Experiment\n</code></pre>",
        '<span class="n">treatment</span>',  # a variable
        '<span class="nc">Experiment</span>',  # a class that the page defines
    ],
)
def test_everything_else_stays_as_it_is(names: ModuleType, html: str) -> None:
    assert names.with_links(html, INDEX) == html


def test_names_in_blocks_of_python_are_links(names: ModuleType) -> None:
    html = '<span class="n">Experiment</span> <span class="nd">@treatment</span> <span class="nf">after_step</span>'
    assert names.with_links(html, INDEX) == (
        '<a href="e/#Experiment"><span class="n">Experiment</span></a>'
        ' <a href="t/#treatment"><span class="nd">@treatment</span></a>'
        ' <a href="h/#after_step"><span class="nf">after_step</span></a>'
    )


def test_every_public_name_and_every_command_has_its_place(names: ModuleType) -> None:
    index = names.index_of({page.stem: page.read_text(encoding="utf-8") for page in REFERENCE.glob("*.md")})
    assert set(crystallize.__all__) <= set(index)
    assert index["treatment"] != index["Treatment"]
    assert index["RunExperiment.__call__"].endswith("#crystallize.testing.RunExperiment.call")
    assert index["crystallize plugins list"] == "command-line#crystallize-plugins-list"
