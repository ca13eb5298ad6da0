"""Blocks on a Dask cluster: in order, few at a time; lost workers are replaced, errors help."""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import time

import pytest
from absent import without

from openmm_slm.errors import SLMError
from openmm_slm.files import dask_cluster as cluster_file
from openmm_slm.files.dask_cluster import dask_cluster
from openmm_slm.files.dask_worker import make_block

distributed = pytest.importorskip("distributed")


def product(setup):
    """A function that multiplies; a negative number is refused, and `inf` ends the worker."""
    (factor,) = setup

    def make(number):
        if number == float("inf"):
            os.kill(os.getpid(), signal.SIGKILL)
        if number < 0:
            raise ValueError(f"{number} is negative")
        return factor * number

    return make


def two() -> int:
    return 2


@pytest.fixture(scope="module")
def client():
    """Workers that are threads of this process: they start at once."""
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None
    )
    with cluster, distributed.Client(cluster, set_as_default=False) as client:
        yield client


def test_results_keep_their_order_and_few_wait(client):
    with dask_cluster(client) as cluster:
        taken = []

        def items():
            for number in range(200):
                taken.append(number)
                yield number

        for place, made in enumerate(cluster.blocks(product, (3,), items())):
            assert made == 3 * place
            assert len(taken) <= place + 1 + cluster.at_once
        assert place == 199 and cluster.at_once == 6
    assert client.status == "running"  # the user's client stays open


def test_an_error_of_a_block_arrives_at_its_turn_and_the_rest_is_given_back(client):
    with dask_cluster(client) as cluster:
        blocks = cluster.blocks(product, (3,), [1, 2, -1, 4])
        assert [next(blocks), next(blocks)] == [3, 6]
        with pytest.raises(ValueError, match="-1 is negative"):
            next(blocks)
        assert list(cluster.blocks(product, (1,), range(50))) == list(range(50))


def test_a_worker_that_differs_is_named(client):
    with (
        pytest.raises(SLMError, match=r"Dask worker . at .*: two is 2, but in this run 3; install"),
        dask_cluster(client, (two, (), 3)),
    ):
        pass
    # One that comes later is checked by its first block.
    task = client.submit(make_block, "late", [(two, (), 3)], product, "key", (3,), 4)
    with pytest.raises(SLMError, match=r"Dask worker . at .*: two is 2"):
        task.result()


def test_no_scheduler_and_files_that_are_none(tmp_path, monkeypatch):
    monkeypatch.setattr(cluster_file, "ANSWER", 0.5)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    (tmp_path / "garbage.json").write_text("{")
    (tmp_path / "other.json").write_text(json.dumps({"id": 1}))
    (tmp_path / "old.json").write_text(json.dumps({"address": address}))
    for given, named in (
        (address, "no Dask scheduler answered at tcp.* start one"),
        ("http:nonsense", "no Dask scheduler answered"),
        (str(tmp_path / "absent.json"), "absent.json: not readable as a scheduler file"),
        (str(tmp_path / "garbage.json"), "garbage.json: not readable as a scheduler file"),
        (str(tmp_path / "other.json"), "other.json: .*no entry 'address'"),
        (tmp_path / "old.json", "no Dask scheduler answered"),
        ("local:none", "'local:none'; give local, or local:N"),
        (3, "dask is of type int; give a distributed.Client"),
    ):
        with pytest.raises(SLMError, match=named), dask_cluster(given):
            pass


def test_what_a_failed_client_left_is_closed_before_another_starts(client):
    def connecting():
        found = [each for each in gc.get_objects() if type(each) is distributed.Client]
        return sum(each.status == "connecting" for each in found)

    gc.disable()  # else it may be closed at any time, also while the next client starts
    try:
        with pytest.raises(SLMError, match="no Dask scheduler"), dask_cluster("http:nonsense"):
            pass
        assert connecting()
        with dask_cluster(client.scheduler.address):
            assert not connecting()
    finally:
        gc.enable()


def test_dask_is_imported_only_if_it_is_asked_for():
    import subprocess
    import sys

    code = "import sys, openmm_slm.cli.main; print({'dask', 'distributed'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
    code = without(("distributed",)) + (
        "from openmm_slm.cli.main import main\n"
        "main(['sample', 'ACDEF', '-n', '1', '-o', 'nowhere', '--dask', 'local'])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.returncode == 2 and "openmm_slm[cluster]" in found.stderr, found.stderr


@pytest.mark.slow
def test_a_block_that_ends_its_workers_is_an_error_and_one_that_was_killed_is_made_again():
    with dask_cluster("local:2") as cluster:
        blocks = cluster.blocks(product, (3,), range(400))
        next(blocks)
        pid = next(iter(cluster.client.run(os.getpid).values()))
        os.kill(pid, signal.SIGKILL)
        assert list(blocks) == [3 * number for number in range(1, 400)]
        deadline = time.monotonic() + 60
        while len(cluster.client.nthreads()) < 2:  # the one that died is replaced
            assert time.monotonic() < deadline
            time.sleep(0.1)
        with pytest.raises(SLMError, match="ended its Dask worker 4 times.*smaller batch_size"):
            list(cluster.blocks(product, (3,), [float("inf")]))
