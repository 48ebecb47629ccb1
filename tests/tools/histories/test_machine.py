from __future__ import annotations

import pytest

from pipeline.storage.local import LocalStorage
from tools.histories.disk import Disk
from tools.histories.history import simulated
from tools.histories.machine import Machine, Rates, Violation

CALM = Rates(switch=0.0, seconds=0.0)


def run(machine: Machine, disk: Disk, *programs) -> list:
    with simulated(machine, disk, None):
        threads = [machine.start("a program", "a host", program) for program in programs]
        machine.run()
        machine.finish()
    return threads


def test_what_was_put_survives_a_crash_and_what_was_only_written_may_not():
    left = set()
    for seed in range(20):
        machine = Machine(seed, CALM)
        disk = Disk(machine)

        def program(machine: Machine = machine, disk: Disk = disk) -> None:
            LocalStorage("/disk/run").put("a/b", b"put")
            with disk.open("/disk/run/a/c", "xb") as file:
                file.write(b"only written")
            machine.crash()

        run(machine, disk, program)
        contents = disk.contents("/disk/run/a/")
        assert contents["b"] == b"put"
        left.add(contents.get("c"))
    assert {None, b"only written"} < left


def test_a_folder_that_a_killed_process_made_is_on_the_disk_before_anything_in_it_counts():
    machine = Machine(0, CALM)
    disk = Disk(machine)

    def killed() -> None:
        for path in ("/disk", "/disk/run"):
            disk.make_folder(path)
            disk.sync_folder(path.rpartition("/")[0] or "/")
        disk.make_folder("/disk/run/a")
        machine.kill(machine.current.process)

    def next_one() -> None:
        machine.sleep(1.0)
        LocalStorage("/disk/run").put("a/b", b"put")
        machine.crash()

    disk.machine.random.choice = lambda choices: 0.0 if 0.5 in choices else choices[0]  # nothing that was not synced
    run(machine, disk, killed, next_one)
    assert disk.contents("/disk/run/") == {"a/b": b"put"}


def test_a_killed_process_runs_no_finally():
    machine = Machine(0, CALM)
    disk = Disk(machine)
    done = []

    def killed() -> None:
        disk.make_folder("/disk")
        try:
            machine.kill(machine.current.process)
        finally:
            done.append(machine.over)
            disk.make_folder("/disk/finally")

    (thread,) = run(machine, disk, killed)
    assert done == [True]
    assert list(disk.root.names["disk"].names) == []
    assert thread.process.fate == "killed"


def test_a_program_that_waits_for_ever_is_told():
    machine = Machine(0, CALM)
    disk = Disk(machine)

    def waits() -> None:
        disk.make_folder("/disk")
        with disk.folder_lock("/disk"), disk.folder_lock("/disk"):
            pass

    with pytest.raises(Violation, match="a program never ends"):
        run(machine, disk, waits)
    machine.finish()
