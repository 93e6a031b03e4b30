"""Make the names of the API, and the commands, links to their documentation while MkDocs builds the site.

A name is linked where it stands as inline code (``Experiment.run``, ``ctx.record(name, value)``,
``crystallize run --set``) and where a block of Python uses or imports it. What can be linked is read off the
headings of the reference pages: those that have an anchor of their own, as all have that ``api.py`` makes, and
those of commands. MkDocs calls :func:`on_files` and :func:`on_page_content` (its ``hooks:`` setting).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import api

HEADING = re.compile(
    r"^##+ (?:(?P<command>crystallize [a-z ]+)|(?P<name>.+?) \{ #(?P<anchor>[\w.-]+) \})$", re.MULTILINE
)
LINKABLE = re.compile(
    r"<(?P<whole>a|h[1-6])\b.*?</(?P=whole)>"  # links and headings stay as they are
    r"|<code>(?P<inline>[^<\n]+)</code>"
    r'|<span class="(?:n|nd|nf)">(?P<token>[^<]+)</span>',  # a name, decorator or function of a Python block
    re.DOTALL,
)
DOTTED = re.compile(r"(?P<decorator>@?)(?P<name>[A-Za-z_]\w*(?:\.\w+)*)(?P<rest>$|[(\[.].*)")
INSTANCES = {
    "ctx": "FrozenContext",
    "experiment": "Experiment",
    "graph": "ExperimentGraph",
    "hypothesis": "Hypothesis",
    "result": "Result",
}
"""What the pages call an instance, with its class."""

_index: dict[str, str] = {}  # of the site that is being built


def on_files(files: Any, **_: Any) -> None:
    """Read which names the reference documents, and where. MkDocs calls this."""
    pages = (file for file in files.documentation_pages() if file.src_uri.startswith("reference/"))
    _index.clear()
    _index.update(index_of({page.url: page.content_string for page in pages}))


def on_page_content(html: str, page: Any, **_: Any) -> str:
    """Link the names in a page. MkDocs calls this."""
    from mkdocs.utils import get_relative_url

    return with_links(html, {name: get_relative_url(target, page.url) for name, target in _index.items()})


def index_of(pages: Mapping[str, str]) -> dict[str, str]:
    """Return where each name is that the headings document: the URL of its page, and the anchor.

    Parameters
    ----------
    pages : mapping of str to str
        The Markdown of each page, by its URL.
    """
    index = {}
    for url, markdown in pages.items():
        for heading in HEADING.finditer(api.on_page_markdown(markdown)):
            if heading["command"]:
                index[heading["command"]] = f"{url}#{heading['command'].replace(' ', '-')}"
            else:
                index[heading["name"].replace("\\", "")] = f"{url}#{heading['anchor']}"
    return index


def with_links(html: str, index: Mapping[str, str]) -> str:
    """Return the HTML of a page with a link around each name that `index` has."""

    def link(found: re.Match[str]) -> str:
        target = None
        if found["inline"]:
            target = _find(found["inline"], index)
        elif found["token"] and not _is_a_word(found["token"]):
            target = index.get(found["token"].removeprefix("@"))
        return f'<a href="{target}">{found[0]}</a>' if target else found[0]

    return LINKABLE.sub(link, html)


def _find(written: str, index: Mapping[str, str]) -> str | None:
    """Return where the command or name at the beginning of inline code is documented."""
    if written.startswith("crystallize "):
        words = written.split()
        return next((index[name] for n in (3, 2) if (name := " ".join(words[:n])) in index), None)
    found = DOTTED.fullmatch(written)
    if found is None or (_is_a_word(found["name"]) and not found["decorator"] and not found["rest"]):
        return None
    parts = found["name"].split(".")
    if parts[0] == "crystallize":
        return index.get(parts[-1]) or index.get(".".join(parts[-2:]))
    if len(parts) == 1:
        return index.get(parts[0])
    owner = INSTANCES.get(parts[0], parts[0])
    return index.get(f"{owner}.{parts[1]}") or index.get(owner)


def _is_a_word(name: str) -> bool:
    """Whether `name` may be an ordinary word, or a key of config.yaml: ``treatment``, ``verifier``."""
    return name.islower() and "_" not in name and "." not in name and not name.startswith("@")
