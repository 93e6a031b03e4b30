"""What a terminal may be given."""

from __future__ import annotations

import io

from hypothesis import given
from hypothesis import strategies as st

from crystallize.utils.terminal import is_terminal, visible


@given(st.text(st.characters(codec=None)))
def test_whatever_steers_a_terminal_becomes_an_escape_and_all_else_stays(text: str) -> None:
    shown = visible(text)
    assert visible(shown) == shown
    shown.encode()  # no halves of surrogate pairs
    for character in set(shown) - set("\n\t"):
        assert character.isprintable() or character in text
        assert character >= " "
        assert not "\x7f" <= character <= "\x9f"
        assert not "\u202a" <= character <= "\u202e"
    if text.isprintable():
        assert shown == text


def test_lines_and_tabs_stay_and_a_lone_return_does_not() -> None:
    assert visible("a\r\nb\tc\n") == "a\nb\tc\n"
    assert visible("kept\rhidden") == r"kept\rhidden"


def test_a_stream_that_cannot_tell_is_no_terminal() -> None:
    closed = io.StringIO()
    closed.close()
    for stream in (None, object(), closed, io.StringIO()):
        assert not is_terminal(stream)
