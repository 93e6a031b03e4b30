"""Refuse answers that would not give a working project, before anything is written."""

import builtins
import json
import keyword
import re
import sys
import unicodedata
from urllib.parse import urlsplit

LONGEST_NAME = 40  # longer ones break the lines of the code, which a formatter would then complain of
LONGEST_SUMMARY = 512  # what package indexes take

# The names of Crystallize's own parts, commands and add-ons.
TAKEN = {
    *("artifact", "logging", "seed"),
    *("async", "dask", "process", "serial", "thread"),
    *("bytes", "csv", "json", "npy", "npz", "pickle", "text", "yaml"),
    *("dunnett-test", "equivalence-test", "mcnemar-test", "non-inferiority-test"),
    *("paired-t-test", "sign-flip-test", "welch-t-test", "wilcoxon-test"),
    *("numpy", "pandas", "polars", "pyarrow", "scipy-sparse", "torch"),
    *("apply", "cache", "check", "config", "demo", "diff", "export", "graph", "list", "lock", "new", "plan"),
    *("plugins", "run", "runs", "show", "tui", "verify"),
}
# What modules and tests of the project use under names that could also be those of the new function or class.
USED = {
    *("BasePlugin", "annotations", "called", "entry_points", "math", "pytest", "typer", "verifier"),
    *("app", "argument", "arguments", "done", "entry", "found", "hypothesis", "result", "run_experiment"),
    "samples",
}


def main():
    # Twice tojson: JSON within a string of Python, whatever the answers hold.
    answers = json.loads({{ cookiecutter | tojson | tojson }})
    problems = [*wrong_names(answers), *wrong_texts(answers)]
    for problem in problems:
        print(f"Error: {problem}.", file=sys.stderr)
    if problems:
        # cookiecutter prints a traceback when a hook fails, below what the reader has to see.
        sys.exit("Nothing was made. The traceback below is how cookiecutter says so.")


def wrong_names(answers):
    name, module, short = answers["distribution"], answers["__module"], answers["__short"]
    made, is_function = answers["__object"], not answers["__suffix"]
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", name):
        yield (
            f"{name!r} is no name for a distribution. It has ASCII letters, digits, '-', '_' and '.', "
            "and begins and ends with a letter or digit"
        )
    elif len(name) > LONGEST_NAME:
        yield f"{name!r} is longer than {LONGEST_NAME} characters. Choose a shorter name"
    elif answers["__name"] in ("crystallize", "crystallize-lab"):
        yield f"{name!r} is Crystallize itself. Choose a name of your own, such as 'crystallize-step-timer'"
    elif short in TAKEN:
        yield f"{short!r}, which is {name!r} without 'crystallize-', is a part of Crystallize. Choose another name"
    elif not module.isidentifier() or not short[0].isalpha():
        yield f"{name!r} gives a module or a class that begins with a digit. Begin the name with a letter"
    elif any(keyword.iskeyword(word) for word in (module, answers["__function"])):
        yield f"{short!r} is a keyword of Python. Choose another name"
    elif module in sys.stdlib_module_names or module in ("test", "tests"):
        yield f"{module!r} is a module that Python has already. Begin the name with 'crystallize-'"
    elif made in USED or (is_function and made in dir(builtins)):
        yield f"{made!r} would hide what Python or Crystallize means by it. Choose another name"
    elif short.startswith("test"):
        yield f"{short!r} begins with 'test', so that pytest would take it for a test. Choose another name"


def wrong_texts(answers):
    for question in ("description", "author"):
        text = " ".join(answers[question].split())
        if not text:
            yield f"the {question} is empty"
        elif any(unicodedata.category(character) in ("Cc", "Cs") for character in text):
            yield f"the {question} has control characters: {text!r}"
    if len(answers["description"]) > LONGEST_SUMMARY:
        yield f"the description is longer than {LONGEST_SUMMARY} characters. Say the rest in the README"
    url = answers["repository"]
    if not re.fullmatch(r"https?://[^\s\"'\\<>{}|^`\x00-\x1f\x7f]+", url) or not is_complete(url):
        yield f"the repository {url!r} is no address. Write it like 'https://github.com/your-name/{answers['__name']}'"


def is_complete(url):
    try:
        return bool(urlsplit(url).hostname)
    except ValueError:
        return False


main()
