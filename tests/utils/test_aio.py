"""Awaiting from synchronous code."""

from __future__ import annotations

import asyncio
import gc
import threading
from contextvars import ContextVar

import pytest

from crystallize.utils.aio import close_loop, in_thread, run_awaitable

WORD: ContextVar[str] = ContextVar("word", default="none")


@pytest.fixture(autouse=True)
def _closed():
    yield
    close_loop()


async def loop_in_use():
    await asyncio.sleep(0)
    return asyncio.get_running_loop()


def test_the_result_of_a_coroutine_is_returned():
    async def give():
        await asyncio.sleep(0)
        return 3

    assert run_awaitable(give()) == 3


def test_anything_awaitable_will_do():
    class Odd:
        def __await__(self):
            yield from asyncio.sleep(0).__await__()
            return "odd"

    assert run_awaitable(Odd()) == "odd"


def test_exceptions_pass():
    async def fail():
        raise LookupError("no")

    with pytest.raises(LookupError, match="no"):
        run_awaitable(fail())


def test_one_loop_serves_all_calls_of_a_thread():
    assert run_awaitable(loop_in_use()) is run_awaitable(loop_in_use())


def test_each_thread_has_its_own_loop_and_closes_it_at_its_end():
    loops = []
    thread = threading.Thread(target=lambda: loops.append(run_awaitable(loop_in_use())))
    thread.start()
    thread.join()
    gc.collect()
    assert loops[0].is_closed()
    assert run_awaitable(loop_in_use()) is not loops[0]


def test_a_new_loop_comes_after_one_that_was_closed():
    first = run_awaitable(loop_in_use())
    close_loop()
    assert first.is_closed()
    assert not run_awaitable(loop_in_use()).is_closed()


def test_closing_without_a_loop_does_nothing():
    close_loop()
    close_loop()


def test_it_works_while_a_loop_is_running_with_one_other_loop_for_all_calls():
    async def notebook():
        WORD.set("said outside")
        return [run_awaitable(look()) for _ in range(3)]

    async def look():
        return WORD.get(), asyncio.get_running_loop()

    found = asyncio.run(notebook())
    assert {word for word, _ in found} == {"said outside"}
    assert len({loop for _, loop in found}) == 1
    close_loop()
    assert found[0][1].is_closed()


def test_exceptions_pass_while_a_loop_is_running():
    async def fail():
        raise LookupError("no")

    async def notebook():
        with pytest.raises(LookupError, match="no"):
            run_awaitable(fail())

    asyncio.run(notebook())


def test_waiting_may_be_nested():
    async def inner():
        return 2

    async def outer():
        return run_awaitable(inner()) * 2

    async def notebook():
        return run_awaitable(outer())

    assert asyncio.run(notebook()) == 4


def test_the_main_threads_loop_is_closed_at_exit(run_python):
    done = run_python(
        "import asyncio\n"
        "from crystallize.utils.aio import run_awaitable\n"
        "run_awaitable(asyncio.sleep(0))\n"
        "async def notebook(): run_awaitable(asyncio.sleep(0))\n"
        "asyncio.run(notebook())\n"
    )
    assert done.stderr == ""


def test_asyncio_is_not_imported_before_something_is_awaited(run_python):
    run_python(
        "import sys, crystallize.utils.aio as aio; aio.close_loop(); assert 'asyncio' not in sys.modules",
        fresh=True,
    )


def test_what_is_about_to_begin_in_a_thread_is_cancelled_again_until_it_has_ended():
    calls = []
    over = threading.Event()

    def cancel():
        calls.append(None)
        if len(calls) == 2:
            over.set()

    async def main():
        task = asyncio.ensure_future(in_thread(lambda: over.wait(60), on_cancel=cancel))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert over.is_set()
