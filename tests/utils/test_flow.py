"""One path through the engine for synchronous and asynchronous steps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from crystallize.utils.flow import Flow, adrive, drive


async def double(value: Any) -> Any:
    await asyncio.sleep(0)
    return value * 2


async def fail() -> None:
    await asyncio.sleep(0)
    raise ValueError("from the awaitable")


def adrive_alone(flow: Flow[Any]) -> Any:
    return asyncio.run(adrive(flow))


def drive_inside_a_running_loop(flow: Flow[Any]) -> Any:
    async def inside() -> Any:
        return drive(flow)

    return asyncio.run(inside())


DRIVERS = [drive, adrive_alone, drive_inside_a_running_loop]
each_driver = pytest.mark.parametrize("run", DRIVERS, ids=lambda run: run.__name__)


@each_driver
def test_a_flow_is_sent_what_its_awaitables_give(run: Callable[[Flow[Any]], Any]) -> None:
    def flow() -> Flow[Any]:
        first = yield double(1)
        second = yield double(first)
        return first, second

    assert run(flow()) == (2, 4)


@each_driver
def test_a_flow_that_awaits_nothing_just_returns(run: Callable[[Flow[Any]], Any]) -> None:
    def flow() -> Flow[int]:
        if False:
            yield double(0)
        return 7

    assert run(flow()) == 7


@each_driver
def test_an_awaitables_error_is_raised_where_the_flow_waits_for_it(run: Callable[[Flow[Any]], Any]) -> None:
    def flow() -> Flow[Any]:
        try:
            yield fail()
        except ValueError as error:
            caught = str(error)
        after = yield double(3)
        return caught, after

    assert run(flow()) == ("from the awaitable", 6)


@each_driver
def test_a_later_error_does_not_count_as_raised_while_an_earlier_one_was_handled(
    run: Callable[[Flow[Any]], Any],
) -> None:
    def flow() -> Flow[Any]:
        with suppress(ValueError):
            yield fail()
        try:
            raise KeyError("later")
        except KeyError as later:
            return later.__context__

    assert run(flow()) is None


@each_driver
@pytest.mark.parametrize("error", [KeyError("x"), KeyboardInterrupt()])
def test_an_error_of_the_flow_reaches_the_caller(
    run: Callable[[Flow[Any]], Any], error: BaseException
) -> None:
    def flow() -> Flow[Any]:
        yield double(1)
        raise error

    with pytest.raises(type(error)):
        run(flow())


def test_a_flow_without_awaitables_never_imports_asyncio(run_python: Any) -> None:
    run_python(
        "import sys\n"
        "from crystallize.utils.flow import drive\n"
        "def flow():\n"
        "    if False: yield\n"
        "    return 1\n"
        "assert drive(flow()) == 1\n"
        "assert 'asyncio' not in sys.modules\n",
        fresh=True,
    )
