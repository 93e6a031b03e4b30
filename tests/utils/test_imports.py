"""No look at a library sees it while another thread imports it."""

from __future__ import annotations

import subprocess
import sys
from textwrap import dedent

from crystallize.utils.imports import imported


def test_a_module_is_there_if_it_was_imported():
    assert imported("sys") is sys
    assert imported("no_such_module") is None


def test_values_are_looked_at_while_another_thread_imports_numpy():
    script = """
        import sys
        import threading
        from crystallize import pipeline_step, standalone_context
        from crystallize.utils.fingerprint import fingerprint
        from crystallize.utils.imports import imported

        half_way, go_on = threading.Event(), threading.Event()

        class Wait:
            def find_spec(self, name, path, target=None):
                if name.startswith("numpy."):
                    half_way.set()
                    assert go_on.wait(60)

        @pipeline_step
        def step(data, ctx, items=(object(),)):
            ctx.record("kinds", [type(item).__name__ for item in items])
            return data

        assert "numpy" not in sys.modules
        sys.meta_path.insert(0, Wait())
        importing = threading.Thread(target=lambda: __import__("numpy"))
        importing.start()
        assert half_way.wait(60)
        assert "numpy" in sys.modules and imported("numpy") is None
        fingerprint(object())
        ctx = standalone_context({"items": [object(), {"a": range(3)}]})
        step()(1, ctx)
        print(dict(ctx.metrics))
        assert imported("numpy") is None
        go_on.set()
        importing.join()
        assert imported("numpy") is sys.modules["numpy"]
    """
    done = subprocess.run([sys.executable, "-c", dedent(script)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "{'kinds': [['object', 'dict']]}\n"


def test_the_engines_names_are_complete_in_every_thread_that_asks_first():
    script = """
        import collections.abc  # in Python 3.13.0 threads that are the first to import it get its empty shell
        import threading
        import crystallize

        faults = []
        barrier = threading.Barrier(8)

        def look(names):
            barrier.wait()
            try:
                for name in names:
                    getattr(crystallize, name)
            except BaseException as error:
                faults.append(error)

        names = crystallize.__all__
        threads = [threading.Thread(target=look, args=(names[i * 4 :] + names[: i * 4],)) for i in range(8)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert not faults, faults
    """
    done = subprocess.run([sys.executable, "-c", dedent(script)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
