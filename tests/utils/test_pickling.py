"""How objects travel, and how the one that cannot is named."""

from __future__ import annotations

import io
import pickle
import threading
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from crystallize.utils.pickling import dump_result, pack, unpack, why_not_picklable

LOCK = "cannot pickle '_thread.lock' object"


@pytest.mark.parametrize(
    "value", [None, 3, "text", b"bytes", [1, {"a": (2, 3)}], np.arange(5), {"x": np.ones((3, 4), order="F")}]
)
def test_what_is_packed_comes_out_equal(value):
    assert pickle.dumps(unpack(*pack(value))) == pickle.dumps(value)


def test_arrays_are_not_copied_into_the_pickle():
    array = np.arange(100_000)
    packed = pack([array, "and more"])
    assert len(packed.body) < 1000
    assert np.shares_memory(np.frombuffer(packed.buffers[0]), array)


@pytest.mark.parametrize("protocol", [2, pickle.HIGHEST_PROTOCOL])
def test_what_is_packed_can_be_pickled_with_its_arrays(protocol):
    fixed, free = np.arange(3), np.arange(3.0)
    fixed.flags.writeable = False
    found = unpack(*pickle.loads(pickle.dumps(pack([fixed, free]), protocol)))
    assert [each.tolist() for each in found] == [[0, 1, 2], [0.0, 1.0, 2.0]]
    assert [each.flags.writeable for each in found] == [False, True]


def test_an_array_without_order_is_packed_too():
    array = np.arange(1000).reshape(10, 100)[:, ::3]
    assert np.array_equal(unpack(*pack(array)), array)


def test_lambdas_and_closures_are_packed():
    offset = 5
    assert unpack(*pack(lambda x: x + offset))(1) == 6


def test_a_module_is_as_before_after_it_was_packed_by_value(tmp_path, monkeypatch):
    import importlib.util
    import sys

    import cloudpickle

    file = tmp_path / "elsewhere.py"
    file.write_text("def double(x): return 2 * x\n")
    spec = importlib.util.spec_from_file_location("not_on_any_path", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setitem(sys.modules, spec.name, module)
    before = cloudpickle.list_registry_pickle_by_value()
    packed = pack(module.double)
    assert cloudpickle.list_registry_pickle_by_value() == before
    monkeypatch.delitem(sys.modules, spec.name)
    assert unpack(*packed)(4) == 8


def test_a_cached_function_of_such_a_module_takes_an_empty_cache_along(tmp_path, monkeypatch):
    import importlib.util
    import sys

    file = tmp_path / "elsewhere.py"
    file.write_text("import functools\n@functools.lru_cache(maxsize=3)\ndef double(x): return 2 * x\n")
    spec = importlib.util.spec_from_file_location("not_on_any_path", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setitem(sys.modules, spec.name, module)
    module.double(1)
    packed = pack([module.double, module.double])
    monkeypatch.delitem(sys.modules, spec.name)
    one, two = unpack(*packed)
    assert one is two  # steps of one worker share it
    assert one(4) == 8
    assert one.cache_info()[1:] == (1, 3, 1)


DECORATED = """
import functools

@functools.singledispatch
def size(x):
    return 0

@size.register
def _(x: int):
    return 1

@size.register(list)
def _(x):
    return sum(map(size, x))

class Model:
    @functools.cached_property
    def cached(self):
        "Says so."
        return [2]

    @functools.singledispatchmethod
    def of(self, x):
        return 3

    @of.register
    def _(self, x: int):
        return 4
"""


def test_functions_that_dispatch_and_cached_properties_of_such_a_module_travel(tmp_path, monkeypatch):
    import importlib.util
    import sys

    file = tmp_path / "elsewhere.py"
    file.write_text(DECORATED)
    spec = importlib.util.spec_from_file_location("not_on_any_path", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setitem(sys.modules, spec.name, module)
    assert module.size([1]) == 1  # which it remembers
    packed = pack((module.size, module.Model))
    monkeypatch.delitem(sys.modules, spec.name)
    size, model = unpack(*packed)
    assert (size([1, [2, "x"]]), model().of("x"), model().of(1)) == (2, 3, 4)
    made = model()
    assert made.cached is made.cached
    assert model.cached.__doc__ == "Says so."


def test_a_module_that_shadows_an_installed_one_travels_by_value(tmp_path, monkeypatch):
    import importlib.util
    import sys

    file = tmp_path / "steps.py"
    file.write_text("def double(x): return 2 * x\n")
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "shadowed.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path / "lib"))
    spec = importlib.util.spec_from_file_location("shadowed", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setitem(sys.modules, "shadowed", module)
    packed = pack(module.double)
    monkeypatch.delitem(sys.modules, "shadowed")
    assert unpack(*packed)(4) == 8


def test_installed_functions_travel_by_name():
    assert len(pack(np.linalg.norm).body) < 200
    assert unpack(*pack(partial)) is partial


def test_plain_results_are_pickled_plainly_and_others_all_the_same():
    assert dump_result((1, "a")) == pickle.dumps((1, "a"), 5)
    assert pickle.loads(dump_result(lambda: 7))() == 7


class Model:
    def __init__(self, **parts):
        self.__dict__.update(parts)


class Slotted:
    __slots__ = ("lock",)

    def __init__(self):
        self.lock = threading.Lock()


class Leaves:
    """Keeps its lock to itself."""

    def __init__(self):
        self.lock = threading.Lock()
        self.other = (threading.Lock(),)

    def __getstate__(self):
        return {"other": self.other}


def capturing(value):
    return lambda x: value


@pytest.mark.parametrize(
    ("value", "place"),
    [
        (threading.Lock(), "it"),
        (Model(fine=1, lock=threading.Lock()), "it, attribute 'lock'"),
        (Model(model=Model(lock=threading.Lock())), "it, attribute 'model.lock'"),
        (Model(models=[1, Model(lock=threading.Lock())]), "it, attribute 'models[1].lock'"),
        ({"a": 1, "b": {"c": threading.Lock()}}, "it, item '['b']['c']'"),
        (Slotted(), "it, attribute 'lock'"),
        (Leaves(), "it, attribute 'other[0]'"),
        (capturing(threading.Lock()), "it, variable 'value'"),
        (capturing(Model(lock=threading.Lock())), "it, variable 'value.lock'"),
        (Model(fn=capturing([threading.Lock()])), "it, attribute 'fn', variable 'value[0]'"),
        (partial(capturing, threading.Lock()), "it, argument '0'"),
        (partial(capturing, value=threading.Lock()), "it, argument 'value'"),
        (lambda x, lock=threading.Lock(): x, "it, default '<unlocked"),  # noqa: B008
    ],
)
def test_the_part_that_cannot_be_pickled_is_named(value, place):
    text = why_not_picklable(value, "it")
    assert text.startswith(place)
    assert text.endswith(LOCK)


def test_a_circle_is_followed_once():
    model = Model()
    model.itself = model
    model.also = SimpleNamespace(back=model, file=io.StringIO(), lock=threading.Lock())
    assert why_not_picklable(model, "it") == f"it, attribute 'also.lock': {LOCK}"


def test_there_is_nothing_to_say_of_what_can_be_pickled():
    assert why_not_picklable([1, 2], "it") == ""


def test_the_reason_is_the_objects_own_where_no_part_is_to_blame():
    class Refuses:
        def __reduce__(self):
            raise TypeError("not this one")

    assert why_not_picklable([Refuses()], "it") == "it, item '[0]': not this one"
