"""What pages promise of their code, apart from what it prints."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import crystallize

ROOT = Path(__file__).resolve().parents[2]


def test_the_readme_and_the_first_page_show_the_same_experiment() -> None:
    readme, index = (
        re.search(r'```python\n.*?```\n\n```text title="output"\n.*?```', page.read_text("utf-8"), re.DOTALL)
        for page in (ROOT / "README.md", ROOT / "docs" / "index.md")
    )
    assert readme
    assert index
    assert readme[0] == index[0]


def test_the_code_for_pytorch_is_valid_and_runs_where_pytorch_is_installed(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "how-to" / "pytorch.md").read_text(encoding="utf-8")
    files = dict(re.findall(r'^```python title="(.+?)"\n(.*?)^```$', page, re.DOTALL | re.MULTILINE))
    assert len(files) == page.count("```python")
    for name, text in files.items():
        tree = compile(text, name, "exec", ast.PyCF_ONLY_AST)
        for each in ast.walk(tree):
            if isinstance(each, ast.ImportFrom) and (each.module or "").startswith("crystallize"):
                module = importlib.import_module(each.module or "")
                assert [alias.name for alias in each.names if not hasattr(module, alias.name)] == []
        if importlib.util.find_spec("torch"):
            tmp_path.joinpath(name).write_text(text, encoding="utf-8")
            subprocess.run([sys.executable, name], cwd=tmp_path, check=True, timeout=240)


def test_the_reference_has_each_key_that_a_built_in_verifier_returns() -> None:
    page = (ROOT / "docs" / "reference" / "hypotheses.md").read_text(encoding="utf-8")
    shares = {"m": [1, 0, 1, 0]}, {"m": [1, 1, 0, 1]}
    for name in re.findall(r"`(\w+_test)`", page):
        needs = {"margin": 1.0} if name in {"equivalence_test", "non_inferiority_test"} else {}
        needs |= {"direction": "min"} if name == "non_inferiority_test" else {}
        found = getattr(crystallize, name)(**needs)(*shares)
        assert [key for key in found if f"`{key}`" not in page] == []
