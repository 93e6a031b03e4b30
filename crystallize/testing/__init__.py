"""What the tests of a plugin use: fixtures for pytest, and contracts to subclass.

The fixtures are there as soon as Crystallize is installed; see :mod:`crystallize.testing.plugin`. The names
below are loaded when they are first used: a test run that uses none of them pays for none.
"""

TYPE_CHECKING = False  # not from typing, as in crystallize/__init__.py
if TYPE_CHECKING:
    from crystallize.testing.distribution import TmpPlugin
    from crystallize.testing.execution import ExecutionStrategyContract
    from crystallize.testing.hashers import HasherContract
    from crystallize.testing.loaders import LoaderContract
    from crystallize.testing.recorder import HookCall, HookRecorder
    from crystallize.testing.running import RunExperiment
    from crystallize.testing.simulation import SimulatedTransport
    from crystallize.testing.workers import WorkerProcessesContract

_HOMES = {
    "ExecutionStrategyContract": "execution",
    "HasherContract": "hashers",
    "HookCall": "recorder",
    "HookRecorder": "recorder",
    "LoaderContract": "loaders",
    "RunExperiment": "running",
    "SimulatedTransport": "simulation",
    "TmpPlugin": "distribution",
    "WorkerProcessesContract": "workers",
}
_CONTRACTS = ("execution", "hashers", "loaders", "workers")

__all__ = [
    "ExecutionStrategyContract",
    "HasherContract",
    "HookCall",
    "HookRecorder",
    "LoaderContract",
    "RunExperiment",
    "SimulatedTransport",
    "TmpPlugin",
    "WorkerProcessesContract",
]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'crystallize.testing' has no attribute {name!r}")
    from importlib import import_module

    module = f"crystallize.testing.{home}"
    if home in _CONTRACTS:
        _rewrite_asserts(name)
    found = getattr(import_module(module), name)
    globals()[name] = found  # the next look-up does not come here
    return found


def _rewrite_asserts(name: str) -> None:
    """Have pytest show the values of an assertion of ours that fails, as it does in a test file."""
    try:
        import pytest
    except ModuleNotFoundError as error:
        raise ImportError(
            f"crystallize.testing.{name} is made of tests for pytest, which is not installed. "
            "Install it with: pip install pytest"
        ) from error
    from sys import modules

    for contract in _CONTRACTS:
        module = f"crystallize.testing.{contract}"
        if module not in modules:  # else it is too late, and a warning
            pytest.register_assert_rewrite(module)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
