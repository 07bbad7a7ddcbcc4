"""The same grid in one process, in worker processes, on Dask: equal records, nothing computed twice."""

import os
import signal
from collections import Counter

import pytest
from waiting import wait

N_JOBS = 24
FITS = sorted(f"fit {m} {s}" for m in ("grid_one", "grid_three") for s in range(3) for _ in range(2))


def test_one_process_scores_the_grid(serial):
    assert len(serial.records()) == N_JOBS and sorted(serial.computed()) == FITS
    status = serial.status()
    assert status["counts"] == {"done": N_JOBS, "running": 0, "waiting": 0, "failed": 0}


ENGINES = ["local:2", pytest.param("dask:local", marks=pytest.mark.slow)]


@pytest.mark.parametrize("on", ENGINES)
def test_an_engine_gives_the_records_of_one_process_and_computes_nothing_twice(serial, place, on):
    done = place.run(place.score("--on", on))
    assert done.returncode == 0, done.stderr
    assert sorted(place.computed()) == FITS
    assert [r.scores for r in place.records()] == [r.scores for r in serial.records()]
    assert place.records() == serial.records()


@pytest.mark.slow
@pytest.mark.parametrize("on", ["local:2", "dask:local"])
def test_a_killed_worker_is_replaced_and_its_task_tried_again(serial, place, on):
    """One real kill -9 in mid-fit."""
    hold = place.hold("grid_one-0")
    with place.start(place.score("--on", on)) as running:
        wait(lambda: "fit grid_one 0" in place.computed())
        os.kill(place.fitting("grid_one 0"), signal.SIGKILL)
        hold.unlink()
        output, _ = running.communicate(timeout=240)
    assert running.returncode == 0, output
    assert place.records() == serial.records()
    again = Counter(place.computed()) - Counter(FITS)
    assert again == {"fit grid_one 0": 1}


@pytest.mark.slow
def test_a_task_whose_workers_are_killed_every_time_is_given_up_and_reported(place):
    hold = place.hold("grid_one-0")
    command = place.score("--on", "local:2", models=["grid_one"], datasets=place.datasets[:1], seeds=2)
    with place.start(command) as running:
        for n in range(1, 4):
            wait(lambda n=n: place.computed().count("fit grid_one 0") == n)
            os.kill(place.fitting("grid_one 0"), signal.SIGKILL)
        output, _ = running.communicate(timeout=240)
    hold.unlink()
    assert running.returncode == 1 and "was lost 3 times" in output, output
    assert place.computed().count("fit grid_one 0") == 3
    assert {(r.seed, r.protocol["name"]) for r in place.records()} == {
        (0, "nap"),
        (1, "encoding"),
        (1, "nap"),
    }
    assert place.status()["counts"] == {"done": 3, "running": 0, "waiting": 0, "failed": 1}


@pytest.mark.slow
def test_a_full_disk_is_tried_again_by_another_worker(serial, place):
    (place.plugin / "full-grid_three-1").touch()
    done = place.run(place.score("--on", "local:2"))
    assert done.returncode == 0, done.stderr
    assert place.records() == serial.records()
    assert Counter(place.computed()) - Counter(FITS) == {"fit grid_three 1": 1}


@pytest.mark.slow
def test_an_interrupted_run_continues_with_what_is_left(serial, place):
    """Ctrl-C: workers end, nothing is begun again that was done."""
    place.hold("grid_three-2")
    with place.start(place.score("--on", "local:2")) as running:
        wait(lambda: "fit grid_three 2" in place.computed())
        running.send_signal(signal.SIGINT)
        output, _ = running.communicate(timeout=60)
    assert running.returncode == 130 and "the same command resumes" in output
    wait(lambda: place.status()["counts"]["running"] == 0)
    done = place.status()["counts"]["done"]
    (place.plugin / "hold-grid_three-2").unlink()
    finished = place.run(place.score("--on", "local:2"))
    assert finished.returncode == 0 and place.records() == serial.records(), finished.stderr
    assert 0 < done < N_JOBS and len(list(place.out.glob("grids/*"))) == 1


@pytest.mark.slow
def test_workers_may_be_started_by_anything(serial, place):
    """`ngb work` beside a run: both share the tasks."""
    hold = place.hold("grid_one-0")
    of_one = {"datasets": place.datasets[:1]}  # so that one worker alone is held
    with place.start(place.score("--on", "local:1", **of_one)) as running:
        wait(lambda: "fit grid_one 0" in place.computed())
        with place.start(place.command("work", place.out)) as helper:
            wait(
                lambda: len(place.computed()) == len(FITS) // 2 - 1
            )  # but one, whose fold the held one leads
            hold.unlink()
            helped, _ = helper.communicate(timeout=240)
        output, _ = running.communicate(timeout=240)
    assert (running.returncode, helper.returncode) == (0, 0), output + helped
    assert place.records() == [r for r in serial.records() if r.dataset["id"] == "a"]
    assert sorted(place.computed()) == sorted(set(FITS))


def test_a_worker_without_access_to_the_run_folder_is_one_sentence(place):
    done = place.run(place.command("work", place.out))
    assert done.returncode == 1 and "There is no grid in" in done.stderr
