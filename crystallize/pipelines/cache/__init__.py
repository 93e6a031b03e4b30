"""The step cache: what a step gave for an input is kept, and given again for the same input.

::

    settings.py       where the cache is, and whether a run uses it
    cached_step.py    runs a step, or does what it did before
    unread.py         outputs that nobody has needed so far
    step_key.py       what a step is made of: its folder
    reads.py          what a step learns from its context: its entries
    trace.py          what a step leaves behind besides its output
    entry.py          an entry as a file
    step_folder.py    the files of one step
    history.py        what has changed since something was stored
    upkeep.py         sizes, limits, removal
"""
