"""What the fork server imports for the workers of a cluster on this machine: Dask, which takes most of a second."""

from __future__ import annotations

import warnings

from crystallize_dask.local_worker import spare_dask_the_filters

with warnings.catch_warnings():
    spare_dask_the_filters()
    import crystallize_dask.tasks  # noqa: F401
