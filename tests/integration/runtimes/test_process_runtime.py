"""The `process` runtime: its contract with the real executor, and beyond that a stand-in whose moods the tests set."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from application.ports import ContainerGone, ContainerSpec, RuntimeUnavailable, StartFailed
from infrastructure.runtimes.polling import wait_until
from infrastructure.runtimes.process import ProcessWorkerRuntime
from infrastructure.runtimes.process_identity import ProcessIdentity, alive, identify
from tests.contract.worker_runtime_contract import SPEC, WorkerRuntimeContract, boot_id
from tests.support.async_run import run
from tests.support.process_bench import REAL, ProcessBench

OTHER = ContainerSpec(session_id="other-session", generation=1, token="token")


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[ProcessBench]:
    bench = ProcessBench(tmp_path / "home")
    yield bench
    bench.clean_up()


class TestContract(WorkerRuntimeContract):
    @pytest.fixture
    def bench(self, tmp_path: Path) -> Iterator[ProcessBench]:
        bench = ProcessBench(tmp_path / "home", argv=REAL)
        yield bench
        bench.clean_up()


def started_agent(bench: ProcessBench) -> ProcessIdentity:
    """Start the session's executor with an agent in a process session of its own."""
    container = run(bench.runtime.create(SPEC))
    bench.state(SPEC, "agent").touch()
    run(bench.runtime.start(SPEC, container.container_id))
    agent = identify(int(bench.state(SPEC, "agent.pid").read_text()))
    assert agent
    return agent


def test_only_the_owner_gets_in(bench: ProcessBench) -> None:
    container = run(bench.runtime.create(SPEC))
    run(bench.runtime.start(SPEC, container.container_id))
    assert {mode & 0o077 for mode in bench.modes(SPEC).values()} == {0}
    assert bench.folder(SPEC).path.parent.stat().st_mode & 0o077 == 0


def test_the_executor_gets_its_secrets_by_file(bench: ProcessBench) -> None:
    container = run(bench.runtime.create(SPEC))
    run(bench.runtime.start(SPEC, container.container_id, maintenance=True))
    config = bench.config(SPEC)
    assert (config["token"], config["s3SecretKey"], config["maintenance"]) == ("token-5up3r", "s3-secret-5up3r", True)


def test_it_is_out_of_reach_of_our_ctrl_c(bench: ProcessBench) -> None:
    container = run(bench.runtime.create(SPEC))
    run(bench.runtime.start(SPEC, container.container_id))
    pid = bench.process(SPEC).pid
    assert os.getsid(pid) == pid != os.getsid(0)


def test_an_agent_that_left_its_group_dies_with_a_stop(bench: ProcessBench) -> None:
    agent = started_agent(bench)
    run(bench.runtime.stop(SPEC, bench.folder(SPEC).name))
    assert not alive(agent)


def test_an_agent_that_outlived_its_killed_executor_dies_before_the_next_boot(bench: ProcessBench) -> None:
    agent = started_agent(bench)
    bench.kill_executor(SPEC)
    assert alive(agent)
    run(bench.runtime.start(SPEC, bench.folder(SPEC).name))
    assert not alive(agent)


def test_an_agent_that_outlived_its_killed_executor_dies_with_a_shutdown(bench: ProcessBench) -> None:
    agent = started_agent(bench)
    bench.kill_executor(SPEC)
    run(bench.runtime.end_idle())
    assert not alive(agent)


def test_an_executor_deaf_to_sigterm_is_killed(bench: ProcessBench, tmp_path: Path) -> None:
    container = run(bench.runtime.create(SPEC))
    bench.state(SPEC, "deaf").touch()
    run(bench.runtime.start(SPEC, container.container_id))
    process = bench.process(SPEC)
    impatient = ProcessWorkerRuntime(bench.home, bench.setup, environment={}, stop_timeout_s=0.2)
    run(impatient.stop(SPEC, container.container_id))
    impatient.close()
    assert not alive(process)


def test_a_stale_endpoint_is_ignored(bench: ProcessBench) -> None:
    container = run(bench.runtime.create(SPEC))
    other = run(bench.runtime.create(OTHER))
    running = run(bench.runtime.start(OTHER, other.container_id))
    shutil.copy(bench.state(OTHER, "endpoint.json"), bench.state(SPEC, "endpoint.json"))
    inspected = run(bench.runtime.inspect(SPEC, container.container_id, container.daemon_id))
    assert inspected
    assert inspected.url == ""
    started = run(bench.runtime.start(SPEC, container.container_id))
    assert started.url != running.url


def test_a_process_that_got_the_recorded_id_later_is_left_alone(bench: ProcessBench) -> None:
    container = run(bench.runtime.create(SPEC))
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        bench.folder(SPEC).remember_process(ProcessIdentity(pid=stranger.pid, started=1, machine_boot=""))
        run(bench.runtime.start(SPEC, container.container_id))
        run(bench.runtime.stop(SPEC, container.container_id))
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait(10)


def test_a_start_that_was_cut_short_before_its_process_was_known_leaves_no_second_executor(bench: ProcessBench) -> None:
    container = run(bench.runtime.create(SPEC))
    run(bench.runtime.start(SPEC, container.container_id))
    lost = bench.process(SPEC)
    (bench.folder(SPEC).path / "process.json").unlink()
    run(bench.runtime.start(SPEC, container.container_id))
    assert not alive(lost)
    assert alive(bench.process(SPEC))


def test_another_configuration_restarts_an_idle_executor_but_not_one_with_a_run(bench: ProcessBench) -> None:
    container = run(bench.runtime.create(SPEC))
    boot = boot_id(run(bench.runtime.start(SPEC, container.container_id)))
    store = replace(bench.setup.object_store, endpoint="http://127.0.0.1:10")
    moved = bench.another_process(replace(bench.setup, object_store=store))
    bench.state(SPEC, "active-runs").write_text("run-1")
    assert boot_id(run(moved.start(SPEC, container.container_id))) == boot
    bench.state(SPEC, "active-runs").unlink()
    assert boot_id(run(moved.start(SPEC, container.container_id))) != boot


def test_a_mute_executor_is_replaced(bench: ProcessBench) -> None:
    container = run(bench.runtime.create(SPEC))
    run(bench.runtime.start(SPEC, container.container_id))
    mute = bench.process(SPEC)
    bench.state(SPEC, "mute").touch()
    impatient = ProcessWorkerRuntime(
        bench.home, bench.setup, environment=dict(os.environ), executor_argv=bench.argv, start_timeout_s=0.5
    )
    with pytest.raises(StartFailed, match="did not serve within"):
        run(impatient.start(SPEC, container.container_id))
    impatient.collect_exits()
    impatient.close()
    assert not alive(mute)
    bench.state(SPEC, "mute").unlink()
    assert run(bench.runtime.start(SPEC, container.container_id)).status == "running"


def test_a_full_disk_or_a_closed_folder_is_said_clearly(bench: ProcessBench, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, content: bytes, *, mode: int = 0o600) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("infrastructure.runtimes.worker_folder.write_durably", refuse)
    with pytest.raises(StartFailed, match="the disk is full"):
        run(bench.runtime.create(SPEC))
    monkeypatch.undo()
    container = run(bench.runtime.create(SPEC))
    monkeypatch.setattr("infrastructure.runtimes.executor_process.write_durably", refuse)
    with pytest.raises(StartFailed, match="the disk is full"):
        run(bench.runtime.start(SPEC, container.container_id))


def test_a_half_made_folder_is_completed(bench: ProcessBench) -> None:
    run(bench.runtime.create(SPEC))
    (bench.folder(SPEC).path / "container.json").unlink()
    (bench.folder(SPEC).path / "home").rmdir()
    assert run(bench.runtime.own_containers()) == []
    run(bench.runtime.create(SPEC))
    assert [each.session_id for each in run(bench.runtime.own_containers())] == [SPEC.session_id]


def test_closed_folders_and_links_in_the_workspace_do_not_stop_a_removal(bench: ProcessBench, tmp_path: Path) -> None:
    container = run(bench.runtime.create(SPEC))
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o750)
    workspace = bench.folder(SPEC).path / "workspace"
    (workspace / "link").symlink_to(outside)
    (workspace / "closed" / "inner").mkdir(parents=True)
    (workspace / "closed" / "inner").chmod(0o500)
    (workspace / "closed").chmod(0o500)
    run(bench.runtime.remove(SPEC, container.container_id))
    assert not bench.folder(SPEC).path.exists()
    assert outside.stat().st_mode & 0o777 == 0o750


def test_what_an_interrupted_removal_left_is_deleted_later(bench: ProcessBench) -> None:
    remains = bench.home / "workers" / ".removed-abc-g1-00"
    (remains / "workspace").mkdir(parents=True)
    bench.another_process()
    assert not remains.exists()


def test_a_home_that_is_not_there_is_no_answer(bench: ProcessBench) -> None:
    container = run(bench.runtime.create(SPEC))
    workers = bench.home / "workers"
    workers.rename(bench.home / "away")
    try:
        with pytest.raises(RuntimeUnavailable):
            run(bench.runtime.inspect(SPEC, container.container_id, container.daemon_id))
        with pytest.raises(RuntimeUnavailable):
            run(bench.runtime.start(SPEC, container.container_id))
        with pytest.raises(RuntimeUnavailable):
            run(bench.runtime.remove(SPEC, container.container_id))
    finally:
        (bench.home / "away").rename(workers)


def test_two_that_make_the_home_at_once_agree_on_its_id(tmp_path: Path) -> None:
    async def make(index: int) -> str:
        bench = await asyncio.to_thread(ProcessBench, tmp_path / "shared")
        info = await bench.runtime.create(ContainerSpec(session_id=f"s{index}", generation=1, token="t"))
        bench.runtime.close()
        return info.daemon_id

    async def race() -> list[str]:
        return await asyncio.gather(*(make(index) for index in range(6)))

    assert len(set(run(race()))) == 1


def test_shutdown_ends_all_and_end_idle_spares_runs(bench: ProcessBench) -> None:
    for spec in (SPEC, OTHER):
        container = run(bench.runtime.create(spec))
        run(bench.runtime.start(spec, container.container_id))
    bench.state(SPEC, "active-runs").write_text("run-1")
    busy, idle = bench.process(SPEC), bench.process(OTHER)
    run(bench.runtime.end_idle())
    assert (alive(busy), alive(idle)) == (True, False)
    run(bench.runtime.shutdown())
    assert not alive(busy)
    assert {each.status for each in run(bench.runtime.own_containers())} == {"exited"}


def test_it_outlives_a_control_plane_that_is_killed(bench: ProcessBench) -> None:
    run(bench.runtime.create(SPEC))
    program = f"""
        import os, signal
        from pathlib import Path
        from tests.contract.worker_runtime_contract import SPEC
        from tests.support.async_run import run
        from tests.support.process_bench import REAL, ProcessBench

        bench = ProcessBench(Path({str(bench.home)!r}))
        started = run(bench.runtime.start(SPEC, bench.folder(SPEC).name))
        print(started.url, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    control_plane = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60, check=False
    )
    assert control_plane.returncode == -signal.SIGKILL, control_plane.stderr
    adopted = run(bench.runtime.start(SPEC, bench.folder(SPEC).name))
    assert adopted.url == control_plane.stdout.strip()
    process = bench.process(SPEC)
    run(bench.runtime.stop(SPEC, adopted.container_id))
    assert wait_until(lambda: not alive(process), 5)


def test_records_hold_no_secret(bench: ProcessBench) -> None:
    container = run(bench.runtime.create(SPEC))
    run(bench.runtime.start(SPEC, container.container_id))
    folder = bench.folder(SPEC)
    record = folder.record()
    assert record
    assert b"5up3r" not in msgspec.json.encode(record) + folder.log_file.read_bytes()


def test_a_container_without_its_workspace_is_gone(bench: ProcessBench) -> None:
    container = run(bench.runtime.create(SPEC))
    run(bench.runtime.start(SPEC, container.container_id))
    run(bench.runtime.stop(SPEC, container.container_id))
    shutil.rmtree(bench.folder(SPEC).path / "workspace")

    assert run(bench.runtime.inspect(SPEC, container.container_id, container.daemon_id)) is None
    with pytest.raises(ContainerGone):
        run(bench.runtime.start(SPEC, container.container_id))
    assert not (bench.folder(SPEC).path / "workspace").exists()
    run(bench.runtime.remove(SPEC, container.container_id))
    assert not bench.folder(SPEC).exists()


def test_the_end_of_a_log_is_told_in_whole_lines_without_secrets(bench: ProcessBench) -> None:
    runtime = bench.another_process(replace(bench.setup, redact=lambda text: text.replace("sk-1234", "[secret]")))
    container = run(runtime.create(SPEC))
    bench.folder(SPEC).log_file.write_text("".join(f"sk-1234 {number:6d}" * 200 + "\n" for number in range(5)))
    bench.break_start(SPEC)

    with pytest.raises(StartFailed) as failure:
        run(runtime.start(SPEC, container.container_id))

    lines = str(failure.value).partition("the end of its log:\n")[2].splitlines()
    assert lines[-1].endswith("told so by a test")
    whole = [line for line in lines if "[secret]" in line]
    assert [(line[:8], len(line)) for line in whole] == [("[secret]", 200 * len("[secret] 000000"))] * len(whole)
    assert whole
    assert "sk-" not in str(failure.value)
