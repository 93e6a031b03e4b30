"""What the folder of a new experiment holds: texts that run as they are, and invite to be replaced."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from textwrap import dedent
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

MODULES = {
    "datasources": "where the data comes from",
    "steps": "what is done with it",
    "outputs": "how values become files, and files become values",
    "verifiers": "how a treatment is compared with the baseline",
    "hooks": "what else happens while the experiment runs",
}


@dataclass(frozen=True)
class NewExperiment:
    """What a new experiment is to have.

    Attributes
    ----------
    name : str
        Its name.
    command_name : str
        What the command line calls it: its name, or its path.
    example : bool
        Whether it shows all that a config.yaml is usually made of, rather than the least.
    inputs : mapping of str to str
        The artifacts of other experiments that it reads, ``experiment#artifact``, by alias.
    requested_modules : frozenset of str
        The modules that were asked for, of `MODULES`.
    """

    name: str
    command_name: str
    example: bool = False
    inputs: Mapping[str, str] = field(default_factory=dict)
    requested_modules: frozenset[str] = frozenset()

    @property
    def run(self) -> str:
        """The command that runs it."""
        return f"crystallize run {shlex.quote(self.command_name)}"

    @property
    def modules(self) -> list[str]:
        """The modules that are made: those that config.yaml names something of, and those asked for."""
        needed = {"steps"}
        if not self.inputs:
            needed.add("datasources")
        if self.example:
            needed |= {"outputs", "verifiers"}
        return [module for module in MODULES if module in needed | self.requested_modules]

    @property
    def has_treatment(self) -> bool:
        """Whether there is a treatment."""
        return not self.inputs or self.processes_inputs

    @property
    def processes_inputs(self) -> bool:
        """Whether something is done with the inputs besides looking at them."""
        return not {"outputs", "verifiers"}.isdisjoint(self.modules)


def texts_of(new: NewExperiment) -> dict[str, str]:
    """Return the text of each file of the new experiment's folder."""
    texts = {
        "datasources": lambda: _DATASOURCES,
        "steps": lambda: _steps(new),
        "outputs": lambda: _OUTPUTS,
        "verifiers": lambda: _VERIFIERS,
        "hooks": lambda: _HOOKS,
    }
    modules = {f"{module}.py": texts[module]().replace("<NAME>", new.name) for module in new.modules}
    return {"config.yaml": _config(new), **modules}


# -- config.yaml -------------------------------------------------------------------------------------------


def _config(new: NewExperiment) -> str:
    sections = [
        _head_section(new),
        _datasource_section(new),
        _steps_section(new),
    ]
    if "outputs" in new.modules:
        sections.append(_OUTPUT_SECTION)
    if new.has_treatment:
        sections.append(_treatments_section(new))
    if "verifiers" in new.modules:
        sections.append(_hypotheses_section(new))
    sections.append(_further_keys(new))
    return "\n".join(dedent(section).lstrip("\n") for section in sections if section)


def _head_section(new: NewExperiment) -> str:
    if new.inputs:
        about = "What do other experiments hand on?"
        replicates = "# replicates: 100      # if it is not said: as many as the experiments above have\n"
    else:
        about = "Which estimate comes closest to the centre of heavy-tailed data?"
        replicates = "replicates: 100        # how often everything is repeated, under every condition\n"
    return (
        f"# Run it:     {new.run}\n"
        f"# Check it:   crystallize check {shlex.quote(new.command_name)}\n"
        "# Your editor completes and checks this file if its first line is\n"
        "#   # yaml-language-server: $schema=schema.json\n"
        "# with the path of what `crystallize config schema --output schema.json` wrote.\n"
        "\n"
        f"description: {about}\n"
        f"{replicates}"
        "seed: 1                # the same random numbers in each run; without it, a new seed is drawn and recorded\n"
    )


def _datasource_section(new: NewExperiment) -> str:
    lines = []
    if new.inputs:
        lines += [
            "datasource:            # the steps get a dictionary: for each name what the artifact's loader made"
        ]
        lines += [f"  {alias}: {_scalar(reference)}" for alias, reference in new.inputs.items()]
    else:
        lines += [
            "datasource:            # a function of datasources.py; the first step gets what it returns"
        ]
    if "datasources" in new.modules:
        about = "              # and a function of datasources.py" if new.inputs else ""
        lines += [f"  sample:{about}", "    heavy_tailed: {size: 30}"]
    return "\n".join(lines) + "\n"


def _steps_section(new: NewExperiment) -> str:
    lines = ["steps:                 # functions of steps.py: each gets what the one before returned"]
    if new.inputs:
        lines += ["  - show_inputs", *(["  - add_up"] if new.processes_inputs else [])]
    elif new.example:
        lines += ["  - contaminate: {share: 0.1}", "  - estimate"]
    else:
        lines += ["  - estimate"]
    return "\n".join(lines) + "\n"


_OUTPUT_SECTION = """
    outputs:               # files that steps write; other experiments read this one as <this experiment>#summary
      summary:             # for the step with a parameter `summary: Artifact`
        file_name: summary.json
        writer: dump_json  # functions of outputs.py, or the name of a loader: json, csv, npy, ...
        loader: load_json
    """


def _treatments_section(new: NewExperiment) -> str:
    lines = [
        "treatments:            # the conditions besides the baseline: values for parameters of the steps"
    ]
    if new.inputs:
        lines += ["  doubled: {factor: 2.0}"]
    else:
        lines += ["  median: {estimator: median}"]
        lines += ["  trimmed_mean: {estimator: trimmed_mean}"] if new.example else []
    return "\n".join(lines) + "\n"


def _hypotheses_section(new: NewExperiment) -> str:
    name, metric = ("doubling_matters", "total") if new.inputs else ("estimators_differ", "error")
    # A total is neither good nor bad.
    direction = "" if new.inputs else "    direction: min       # smaller is better; max if larger is\n"
    return (
        "hypotheses:            # what to ask of the metrics, for each treatment against the baseline\n"
        f"  - name: {name}\n"
        "    verifier: sign_test  # a function of verifiers.py\n"
        f"    metrics: {metric}\n"
        f"{direction}"
        "    args: {alpha: 0.05}\n"
    )


def _further_keys(new: NewExperiment) -> str:
    absent = {
        "treatments:": not new.has_treatment,
        "outputs:": "outputs" not in new.modules,
        "hypotheses:": "verifiers" not in new.modules,
    }
    hints = {
        "treatments:": "conditions to compare with the baseline, such as   more: {parameter_of_a_step: 2}",
        "outputs:": "files that steps write and other experiments can read",
        "hypotheses:": "what to ask of the metrics",
    }
    lines = ["# There is more to say, if you like:"]
    lines += [f"#   {key:<13}{hints[key]}" for key, missing in absent.items() if missing]
    lines += ["#   execution:   serial, thread, process or async: how the replicates are run"]
    return "\n".join(lines) + "\n"


def _scalar(text: str) -> str:
    """Return `text` as a YAML scalar, in quotes if it needs them."""
    import yaml

    written: str = yaml.safe_dump(text, allow_unicode=True, width=float("inf"))
    return written.removesuffix("\n").removesuffix("\n...")


# -- the modules -------------------------------------------------------------------------------------------

_DATASOURCES = '''"""Data sources of <NAME>: functions that return what the first step gets."""

from crystallize import data_source


@data_source
def heavy_tailed(ctx, *, size=30):
    """Draw numbers with many outliers, whose true centre is 0.

    All conditions of a replicate get the same ones, to be compared in pairs.
    """
    return ctx.rng.standard_t(df=2, size=size)
'''

_OUTPUTS = '''"""Outputs of <NAME>: how a value becomes a file, and the file a value again."""

import json


def dump_json(value):
    """Return the content of the file for what a step wrote."""
    return json.dumps(value, indent=2).encode()


def load_json(path):
    """Return what an experiment that reads the artifact gets."""
    return json.loads(path.read_bytes())
'''

_VERIFIERS = '''"""Verifiers of <NAME>: functions that compare a treatment with the baseline."""

from crystallize import verifier
from scipy.stats import binomtest


@verifier
def sign_test(baseline_samples, treatment_samples, *, alpha=0.05):
    """Tell whether the treatment is lower more often, or less often, than by chance.

    The samples hold, for each metric, a condition's values, replicate by replicate.
    """
    (before,), (after,) = baseline_samples.values(), treatment_samples.values()
    lower = sum(b < a for a, b in zip(before, after, strict=True))
    higher = sum(b > a for a, b in zip(before, after, strict=True))
    p_value = float(binomtest(lower, lower + higher).pvalue) if lower + higher else 1.0
    verdict = {"p_value": p_value, "significant": p_value <= alpha}
    return {**verdict, "lower": lower, "higher": higher}
'''

_HOOKS = '''"""Hooks of <NAME>: functions that Crystallize calls while the experiment runs.

`crystallize.hookspecs` lists all of them, with their arguments.
"""

import time

from crystallize import hookimpl


@hookimpl
def before_replicate(experiment, ctx):
    """Remember when this condition of this replicate began."""
    ctx.add("began", time.perf_counter())


@hookimpl
def after_step(experiment, step, data, ctx):
    """Record, as a metric, how many seconds have passed when the step is done."""
    ctx.metrics.add(f"{ctx['step_name']}.seconds", time.perf_counter() - ctx["began"])
'''


def _steps(new: NewExperiment) -> str:
    writes = "outputs" in new.modules
    names = "Artifact, pipeline_step" if writes else "pipeline_step"
    imports = [f"from crystallize import {names}"]
    if new.inputs:
        imports = ["from collections.abc import Mapping", "from numbers import Real", "", *imports]
        parts = [_SHOW_INPUTS, *([_add_up(writes)] if new.processes_inputs else []), _NUMBERS_IN]
    else:
        imports = ["import numpy as np", *imports]
        parts = [_estimate(new, writes)]
        if new.example:
            imports.append("from scipy.stats import trim_mean")
            parts = [_CONTAMINATE, _TRIMMED_MEAN, *parts]
    title = '"""Steps of <NAME>: functions that take data and return data, or (data, metrics)."""'
    head = "\n".join([title, "", *imports, ""])
    apart = "\n\n" if parts[0].startswith(("def", "@")) else "\n"  # as formatters have it
    return f"{head}{apart}" + "\n\n".join(parts)


_CONTAMINATE = '''@pipeline_step()
def contaminate(sample, ctx, *, share=0.1):
    """Shift some of the values, as a broken instrument would."""
    spoilt = ctx.rng.random(len(sample)) < share  # each run draws the same
    return sample + 5.0 * spoilt
'''


_TRIMMED_MEAN = '''def trimmed_mean(sample):
    """Return the mean without a fifth of the values at each end."""
    return trim_mean(sample, 0.2)
'''


def _estimate(new: NewExperiment, writes: bool) -> str:
    trimmed = ', "trimmed_mean": trimmed_mean' if new.example else ""
    artifact = "summary: Artifact, " if writes else ""
    write = '    summary.write({"centre": float(centre), "size": len(sample)})\n' if writes else ""
    return (
        f'ESTIMATORS = {{"mean": np.mean, "median": np.median{trimmed}}}\n\n\n'
        "@pipeline_step()\n"
        f'def estimate(sample, *, {artifact}estimator="mean"):\n'
        '    """Estimate the centre; a treatment, or else the default, says how."""\n'
        "    centre = ESTIMATORS[estimator](sample)\n"
        f"{write}"
        '    return centre, {"error": abs(centre)}\n'
    )


_SHOW_INPUTS = '''@pipeline_step()
def show_inputs(inputs):
    """Show in the table of results what has arrived, and hand it on."""
    return inputs, all_numbers(inputs)
'''

_NUMBERS_IN = '''def all_numbers(inputs):
    """Return, by name, what a table can show of the inputs."""
    found = [numbers_in(alias, value) for alias, value in inputs.items()]
    return {name: number for numbers in found for name, number in numbers}


def numbers_in(name, value):
    """Yield the numbers in a value, or else how long it is, or that it is there."""
    if getattr(value, "shape", None) == ():
        value = value.item()  # an array without dimensions: a single number
    if isinstance(value, Real):
        yield name, value
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from numbers_in(f"{name}.{key}", part)
    elif hasattr(value, "__len__"):
        yield f"{name}.length", len(value)
    else:
        yield f"{name}.arrived", 1
'''


def _add_up(writes: bool) -> str:
    artifact = "summary: Artifact, " if writes else ""
    write = '    summary.write({"total": float(total)})\n' if writes else ""
    return (
        "@pipeline_step()\n"
        f"def add_up(inputs, *, {artifact}factor=1.0):\n"
        '    """Add all numbers that have arrived: a stand-in for your own work."""\n'
        "    total = factor * sum(all_numbers(inputs).values())\n"
        f"{write}"
        '    return total, {"total": total}\n'
    )
