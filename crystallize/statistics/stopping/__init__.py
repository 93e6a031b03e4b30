"""Rules that say when a run has seen enough: :mod:`decided`, :mod:`looks`, :mod:`precise` and :mod:`best`.

A rule is a small frozen object, which says what is asked for. What it has seen of one run is a
:class:`~crystallize.statistics.stopping.rule.Watch`, and what a run tells of it at its end a
:class:`~crystallize.statistics.stopping.report.Stopping`.
"""
