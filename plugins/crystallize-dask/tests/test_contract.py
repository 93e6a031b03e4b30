"""What every execution strategy with worker processes owes, on a cluster of somebody else and on our own."""

from __future__ import annotations

import pytest
from crystallize_dask import DaskExecution

from crystallize.testing import WorkerProcessesContract


class TestCluster(WorkerProcessesContract):
    workers_outlive_the_run = True

    @pytest.fixture
    def strategy(self, shared_cluster):
        return DaskExecution(shared_cluster.address)


class TestThisMachine(WorkerProcessesContract):
    most_replicates = 60

    @pytest.fixture
    def strategy(self):
        return DaskExecution(max_workers=2)
