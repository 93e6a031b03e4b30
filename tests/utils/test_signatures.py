"""What a callable takes, also where it does not tell."""

from __future__ import annotations

from typing import Any

import pytest

from crystallize.errors import InvalidTypeError, MissingParameterError
from crystallize.utils.signatures import (
    check_call,
    is_async,
    mismatch,
    name_of,
    place_of_code,
    signature_of,
    takes_keyword,
)


def scale(data: Any, *, factor: float) -> Any:
    return data * factor


class Scale:
    def __call__(self, data: Any) -> Any:
        return data


class Later:
    async def __call__(self, data: Any) -> Any:
        return data


def test_a_callable_written_in_c_may_have_no_signature() -> None:
    assert signature_of(max) is None
    assert mismatch(max, 1, 2, 3, nonsense=True) == ""
    assert takes_keyword(max, "anything")


def test_types_are_evaluated_where_all_of_them_can_be() -> None:
    def unknown(data: Nowhere) -> Any:  # type: ignore[name-defined]  # noqa: F821
        return data

    def broken(data: 1 / 0) -> Any:  # type: ignore[valid-type]
        return data

    evaluated, as_text = signature_of(scale, with_types=True), signature_of(scale)
    assert evaluated is not None
    assert as_text is not None
    assert evaluated.parameters["factor"].annotation is float
    assert as_text.parameters["factor"].annotation == "float"
    for fn in (unknown, broken):
        found = signature_of(fn, with_types=True)
        assert found is not None
        assert isinstance(found.parameters["data"].annotation, str)


def test_a_mismatch_says_what_does_not_fit() -> None:
    assert mismatch(scale, None, factor=2.0) == ""
    assert "'factr'" in mismatch(scale, None, factor=1.0, factr=2.0)
    assert "'factor'" in mismatch(scale, None)
    assert mismatch(Scale(), None) == ""
    assert "too many" in mismatch(Scale(), None, None)


def test_a_wrong_call_is_an_error_that_shows_the_signature() -> None:
    check_call("step 'scale'", scale, None, factor=2.0)
    with pytest.raises(MissingParameterError, match=r"^step 'scale': .*'factor'\. It takes \(data: 'Any', "):
        check_call("step 'scale'", scale, None)
    with pytest.raises(InvalidTypeError, match=r"^step 'scale': .*'factr'"):
        check_call("step 'scale'", scale, None, factor=1.0, factr=2.0)


def test_a_keyword_is_taken_by_name_or_with_all_others() -> None:
    assert takes_keyword(scale, "factor")
    assert not takes_keyword(scale, "factr")
    assert takes_keyword(lambda **options: None, "factor")
    assert not takes_keyword(lambda factor, /: None, "factor")
    assert not takes_keyword(lambda *factor: None, "factor")


def test_an_object_with_an_async_call_is_async() -> None:
    async def later() -> None: ...

    assert is_async(later)
    assert is_async(Later())
    assert not is_async(scale)
    assert not is_async(Scale())


def test_a_callable_has_a_name_and_perhaps_a_place() -> None:
    assert (name_of(scale), name_of(Scale())) == ("scale", "Scale")
    assert place_of_code(scale).startswith(f"{__file__}:")
    assert place_of_code(max) == ""
