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


class TestThisMachine(
    WorkerProcessesContract,
    only=[
        "test_workers_draw_different_numbers_from_global_generators",
        "test_no_worker_is_left_after_a_run",
        "test_no_worker_is_left_after_ctrl_c",
    ],
):
    """A cluster of our own differs in its scheduler, which is a thread here, and in how workers start and end.

    What a run does on it is what it does on anybody's, and it starts a scheduler and workers for each test.
    `test_deaths` has more of how these workers die, and `test_this_machine` of what they leave.
    """

    @pytest.fixture
    def strategy(self):
        return DaskExecution(max_workers=2)


class TestThisMachineWithOneWorker(
    WorkerProcessesContract,
    only=[
        "test_several_replicates_may_lose_their_workers",
        "test_an_experiment_whose_worker_is_killed_gives_the_bytes_of_a_serial_run",
        "test_threads_do_not_add_up_from_run_to_run",
        "test_a_run_leaves_no_file_open",
        "test_the_process_is_left_as_it_was",
        "test_it_works_in_a_thread_other_than_the_main_one",
        "test_it_works_where_an_event_loop_is_running",
    ],
):
    """What the coordinator does, starts and leaves, whatever the number of workers."""

    @pytest.fixture
    def strategy(self):
        return DaskExecution(max_workers=1)
