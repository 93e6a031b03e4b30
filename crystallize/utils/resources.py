"""Objects that each worker makes for itself."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from crystallize.errors import InvalidTypeError
from crystallize.utils.context import FrozenContext, Resource


def resource_factory(fn: Callable[[FrozenContext], Any]) -> Resource:
    """Wrap a function that makes an object which cannot, or should not, be sent to a worker.

    Put the result into ``Experiment(initial_ctx={"db": resource_factory(connect)})``; steps that read ``"db"``
    get the object itself. The function is called when the entry is first read: once for each worker (each
    thread or process) and each entry.

    Parameters
    ----------
    fn : callable
        Takes the context of the outcome that first reads the entry, and returns the object. Lambdas and
        functions of a script work, in processes too.

    Returns
    -------
    Resource
        The value to put into the context.

    Raises
    ------
    InvalidTypeError
        If `fn` is not callable.
    """
    if not callable(fn):
        raise InvalidTypeError(
            f"resource_factory takes a function that makes the object, got {fn!r}",
            hint="Pass the function itself: resource_factory(connect)",
        )
    return FactoryResource(fn)


class FactoryResource(Resource):
    """A resource made by a function; each thread of each process has its own objects."""

    def __init__(self, fn: Callable[[FrozenContext], Any]) -> None:
        self.fn = fn
        self._made = threading.local()

    def resolve(self, key: str, ctx: FrozenContext) -> Any:
        """Return this thread's object for the entry, which the function makes when it is first asked for."""
        objects: dict[str, Any] = self._made.__dict__
        if key not in objects:
            objects[key] = self.fn(ctx)
        return objects[key]

    def __reduce__(self) -> tuple[Any, ...]:
        return resource_factory, (self.fn,)

    def __repr__(self) -> str:
        return f"resource_factory({getattr(self.fn, '__qualname__', self.fn)!s})"
