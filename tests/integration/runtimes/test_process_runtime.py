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

from application.ports.object_store import ObjectStoreUnavailable
from application.ports.worker_runtime import ContainerGone, ContainerSpec, RuntimeUnavailable, StartFailed
from infrastructure.object_store.location import S3Credentials
from infrastructure.runtimes.polling import wait_until
from infrastructure.runtimes.process import ProcessWorkerRuntime
from infrastructure.runtimes.process_identity import ProcessIdentity, alive, identify
from tests.contract.worker_runtime_contract import SPEC, WorkerRuntimeContract, boot_id
from tests.support.async_run import run
from tests.support.process_runtime_harness import REAL, ProcessRuntimeHarness

OTHER = ContainerSpec(session_id="other-session", generation=1, token="token")


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[ProcessRuntimeHarness]:
    harness = ProcessRuntimeHarness(tmp_path / "home")
    yield harness
    harness.clean_up()


class TestContract(WorkerRuntimeContract):
    @pytest.fixture
    def harness(self, tmp_path: Path) -> Iterator[ProcessRuntimeHarness]:
        harness = ProcessRuntimeHarness(tmp_path / "home", argv=REAL)
        yield harness
        harness.clean_up()


def started_agent(harness: ProcessRuntimeHarness) -> ProcessIdentity:
    """Start the session's executor with an agent in a process session of its own."""
    container = run(harness.runtime.create(SPEC))
    harness.state(SPEC, "agent").touch()
    run(harness.runtime.start(SPEC, container.container_id))
    agent = identify(int(harness.state(SPEC, "agent.pid").read_text()))
    assert agent
    return agent


def test_only_the_owner_gets_in(harness: ProcessRuntimeHarness) -> None:
    container = run(harness.runtime.create(SPEC))
    run(harness.runtime.start(SPEC, container.container_id))
    assert {mode & 0o077 for mode in harness.modes(SPEC).values()} == {0}
    assert harness.folder(SPEC).path.parent.stat().st_mode & 0o077 == 0


def test_the_executor_gets_its_secrets_by_file(harness: ProcessRuntimeHarness) -> None:
    container = run(harness.runtime.create(SPEC))
    run(harness.runtime.start(SPEC, container.container_id, maintenance=True))
    config = harness.config(SPEC)
    assert (config["token"], config["s3SecretKey"], config["maintenance"]) == ("token-5up3r", "s3-secret-5up3r", True)


def test_it_is_out_of_reach_of_our_ctrl_c(harness: ProcessRuntimeHarness) -> None:
    container = run(harness.runtime.create(SPEC))
    run(harness.runtime.start(SPEC, container.container_id))
    pid = harness.process(SPEC).pid
    assert os.getsid(pid) == pid != os.getsid(0)


def test_an_agent_that_left_its_group_dies_with_a_stop(harness: ProcessRuntimeHarness) -> None:
    agent = started_agent(harness)
    run(harness.runtime.stop(SPEC, harness.folder(SPEC).name))
    assert not alive(agent)


def test_an_agent_that_outlived_its_killed_executor_dies_before_the_next_boot(harness: ProcessRuntimeHarness) -> None:
    agent = started_agent(harness)
    harness.kill_executor(SPEC)
    assert alive(agent)
    run(harness.runtime.start(SPEC, harness.folder(SPEC).name))
    assert not alive(agent)


def test_an_agent_that_outlived_its_killed_executor_dies_with_a_shutdown(harness: ProcessRuntimeHarness) -> None:
    agent = started_agent(harness)
    harness.kill_executor(SPEC)
    run(harness.runtime.end_idle())
    assert not alive(agent)


def test_an_executor_deaf_to_sigterm_is_killed(harness: ProcessRuntimeHarness, tmp_path: Path) -> None:
    container = run(harness.runtime.create(SPEC))
    harness.state(SPEC, "deaf").touch()
    run(harness.runtime.start(SPEC, container.container_id))
    process = harness.process(SPEC)
    impatient = ProcessWorkerRuntime(harness.home, harness.setup, environment={}, stop_timeout_s=0.2)
    run(impatient.stop(SPEC, container.container_id))
    impatient.close()
    assert not alive(process)


def test_a_stale_endpoint_is_ignored(harness: ProcessRuntimeHarness) -> None:
    container = run(harness.runtime.create(SPEC))
    other = run(harness.runtime.create(OTHER))
    running = run(harness.runtime.start(OTHER, other.container_id))
    shutil.copy(harness.state(OTHER, "endpoint.json"), harness.state(SPEC, "endpoint.json"))
    inspected = run(harness.runtime.inspect(SPEC, container.container_id, container.daemon_id))
    assert inspected
    assert inspected.url == ""
    started = run(harness.runtime.start(SPEC, container.container_id))
    assert started.url != running.url


def test_a_process_that_got_the_recorded_id_later_is_left_alone(harness: ProcessRuntimeHarness) -> None:
    container = run(harness.runtime.create(SPEC))
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        harness.folder(SPEC).remember_process(ProcessIdentity(pid=stranger.pid, started=1, machine_boot=""))
        run(harness.runtime.start(SPEC, container.container_id))
        run(harness.runtime.stop(SPEC, container.container_id))
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait(10)


def test_a_start_that_was_cut_short_before_its_process_was_known_leaves_no_second_executor(
    harness: ProcessRuntimeHarness,
) -> None:
    container = run(harness.runtime.create(SPEC))
    run(harness.runtime.start(SPEC, container.container_id))
    lost = harness.process(SPEC)
    (harness.folder(SPEC).path / "process.json").unlink()
    run(harness.runtime.start(SPEC, container.container_id))
    assert not alive(lost)
    assert alive(harness.process(SPEC))


def test_another_configuration_restarts_an_idle_executor_but_not_one_with_a_run(harness: ProcessRuntimeHarness) -> None:
    container = run(harness.runtime.create(SPEC))
    boot = boot_id(run(harness.runtime.start(SPEC, container.container_id)))
    store = msgspec.structs.replace(harness.setup.object_store, endpoint="http://127.0.0.1:10")
    moved = harness.another_process(replace(harness.setup, object_store=store))
    harness.state(SPEC, "active-runs").write_text("run-1")
    assert boot_id(run(moved.start(SPEC, container.container_id))) == boot
    harness.state(SPEC, "active-runs").unlink()
    assert boot_id(run(moved.start(SPEC, container.container_id))) != boot


def test_renewed_credentials_restart_no_executor(harness: ProcessRuntimeHarness) -> None:
    def given(number: int, *, renewed: bool) -> ProcessWorkerRuntime:
        credentials = S3Credentials(
            access_key=f"key-{number}", secret_key=f"secret-{number}", session_token=f"token-{number}", renewed=renewed
        )
        return harness.another_process(replace(harness.setup, credentials=lambda *_: credentials))

    container = run(harness.runtime.create(SPEC))
    boot = boot_id(run(given(1, renewed=True).start(SPEC, container.container_id)))
    assert harness.config(SPEC)["s3SessionToken"] == "token-1"
    assert boot_id(run(given(2, renewed=True).start(SPEC, container.container_id))) == boot

    lasting = boot_id(run(given(3, renewed=False).start(SPEC, container.container_id)))
    assert lasting != boot
    assert harness.config(SPEC)["s3SessionToken"] == "token-3"
    assert boot_id(run(given(4, renewed=False).start(SPEC, container.container_id))) != lasting


def test_without_credentials_a_start_is_tried_again_later(harness: ProcessRuntimeHarness) -> None:
    def away(*_: object) -> S3Credentials:
        raise ObjectStoreUnavailable("the metadata service does not answer")

    container = run(harness.runtime.create(SPEC))
    runtime = harness.another_process(replace(harness.setup, credentials=away))
    with pytest.raises(RuntimeUnavailable, match="the metadata service does not answer"):
        run(runtime.start(SPEC, container.container_id))


def test_a_mute_executor_is_replaced(harness: ProcessRuntimeHarness) -> None:
    container = run(harness.runtime.create(SPEC))
    run(harness.runtime.start(SPEC, container.container_id))
    mute = harness.process(SPEC)
    harness.state(SPEC, "mute").touch()
    impatient = ProcessWorkerRuntime(
        harness.home, harness.setup, environment=dict(os.environ), executor_argv=harness.argv, start_timeout_s=0.5
    )
    with pytest.raises(StartFailed, match="did not serve within"):
        run(impatient.start(SPEC, container.container_id))
    impatient.close()
    assert not alive(mute)
    harness.state(SPEC, "mute").unlink()
    assert run(harness.runtime.start(SPEC, container.container_id)).status == "running"


def test_a_full_disk_or_a_closed_folder_is_said_clearly(
    harness: ProcessRuntimeHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, content: bytes, *, mode: int = 0o600) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("infrastructure.runtimes.worker_folder.write_durably", refuse)
    with pytest.raises(StartFailed, match="the disk is full"):
        run(harness.runtime.create(SPEC))
    monkeypatch.undo()
    container = run(harness.runtime.create(SPEC))
    monkeypatch.setattr("infrastructure.runtimes.executor_process.write_durably", refuse)
    with pytest.raises(StartFailed, match="the disk is full"):
        run(harness.runtime.start(SPEC, container.container_id))


def test_a_half_made_folder_is_completed(harness: ProcessRuntimeHarness) -> None:
    run(harness.runtime.create(SPEC))
    (harness.folder(SPEC).path / "container.json").unlink()
    (harness.folder(SPEC).path / "home").rmdir()
    assert run(harness.runtime.own_containers()) == []
    run(harness.runtime.create(SPEC))
    assert [each.session_id for each in run(harness.runtime.own_containers())] == [SPEC.session_id]


def test_closed_folders_and_links_in_the_workspace_do_not_stop_a_removal(
    harness: ProcessRuntimeHarness, tmp_path: Path
) -> None:
    container = run(harness.runtime.create(SPEC))
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o750)
    workspace = harness.folder(SPEC).path / "workspace"
    (workspace / "link").symlink_to(outside)
    (workspace / "closed" / "inner").mkdir(parents=True)
    (workspace / "closed" / "inner").chmod(0o500)
    (workspace / "closed").chmod(0o500)
    run(harness.runtime.remove(SPEC, container.container_id))
    assert not harness.folder(SPEC).path.exists()
    assert outside.stat().st_mode & 0o777 == 0o750


def test_what_an_interrupted_removal_left_is_deleted_later(harness: ProcessRuntimeHarness) -> None:
    remains = harness.home / "workers" / ".removed-abc-g1-00"
    (remains / "workspace").mkdir(parents=True)
    harness.another_process()
    assert not remains.exists()


def test_a_home_that_is_not_there_is_no_answer(harness: ProcessRuntimeHarness) -> None:
    container = run(harness.runtime.create(SPEC))
    workers = harness.home / "workers"
    workers.rename(harness.home / "away")
    try:
        with pytest.raises(RuntimeUnavailable):
            run(harness.runtime.inspect(SPEC, container.container_id, container.daemon_id))
        with pytest.raises(RuntimeUnavailable):
            run(harness.runtime.start(SPEC, container.container_id))
        with pytest.raises(RuntimeUnavailable):
            run(harness.runtime.remove(SPEC, container.container_id))
    finally:
        (harness.home / "away").rename(workers)


def test_two_that_make_the_home_at_once_agree_on_its_id(tmp_path: Path) -> None:
    async def make(index: int) -> str:
        harness = await asyncio.to_thread(ProcessRuntimeHarness, tmp_path / "shared")
        info = await harness.runtime.create(ContainerSpec(session_id=f"s{index}", generation=1, token="t"))
        harness.runtime.close()
        return info.daemon_id

    async def race() -> list[str]:
        return await asyncio.gather(*(make(index) for index in range(6)))

    assert len(set(run(race()))) == 1


def test_shutdown_ends_all_and_end_idle_spares_runs(harness: ProcessRuntimeHarness) -> None:
    for spec in (SPEC, OTHER):
        container = run(harness.runtime.create(spec))
        run(harness.runtime.start(spec, container.container_id))
    harness.state(SPEC, "active-runs").write_text("run-1")
    busy, idle = harness.process(SPEC), harness.process(OTHER)
    run(harness.runtime.end_idle())
    assert (alive(busy), alive(idle)) == (True, False)
    run(harness.runtime.shutdown())
    assert not alive(busy)
    assert {each.status for each in run(harness.runtime.own_containers())} == {"exited"}


def test_it_outlives_a_control_plane_that_is_killed(harness: ProcessRuntimeHarness) -> None:
    run(harness.runtime.create(SPEC))
    program = f"""
        import os, signal
        from pathlib import Path
        from tests.contract.worker_runtime_contract import SPEC
        from tests.support.async_run import run
        from tests.support.process_runtime_harness import REAL, ProcessRuntimeHarness

        harness = ProcessRuntimeHarness(Path({str(harness.home)!r}))
        started = run(harness.runtime.start(SPEC, harness.folder(SPEC).name))
        print(started.url, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    control_plane = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60, check=False
    )
    assert control_plane.returncode == -signal.SIGKILL, control_plane.stderr
    adopted = run(harness.runtime.start(SPEC, harness.folder(SPEC).name))
    assert adopted.url == control_plane.stdout.strip()
    process = harness.process(SPEC)
    run(harness.runtime.stop(SPEC, adopted.container_id))
    assert wait_until(lambda: not alive(process), 90)


def test_records_hold_no_secret(harness: ProcessRuntimeHarness) -> None:
    container = run(harness.runtime.create(SPEC))
    run(harness.runtime.start(SPEC, container.container_id))
    folder = harness.folder(SPEC)
    record = folder.record()
    assert record
    assert b"5up3r" not in msgspec.json.encode(record) + folder.log_file.read_bytes()


def test_a_container_without_its_workspace_is_gone(harness: ProcessRuntimeHarness) -> None:
    container = run(harness.runtime.create(SPEC))
    run(harness.runtime.start(SPEC, container.container_id))
    run(harness.runtime.stop(SPEC, container.container_id))
    shutil.rmtree(harness.folder(SPEC).path / "workspace")

    assert run(harness.runtime.inspect(SPEC, container.container_id, container.daemon_id)) is None
    with pytest.raises(ContainerGone):
        run(harness.runtime.start(SPEC, container.container_id))
    assert not (harness.folder(SPEC).path / "workspace").exists()
    run(harness.runtime.remove(SPEC, container.container_id))
    assert not harness.folder(SPEC).exists()


def test_the_end_of_a_log_is_told_in_whole_lines_without_secrets(harness: ProcessRuntimeHarness) -> None:
    runtime = harness.another_process(replace(harness.setup, redact=lambda text: text.replace("sk-1234", "[secret]")))
    container = run(runtime.create(SPEC))
    harness.folder(SPEC).log_file.write_text("".join(f"sk-1234 {number:6d}" * 200 + "\n" for number in range(5)))
    harness.break_start(SPEC)

    with pytest.raises(StartFailed) as failure:
        run(runtime.start(SPEC, container.container_id))

    lines = str(failure.value).partition("the end of its log:\n")[2].splitlines()
    assert lines[-1].endswith("the test asked for it")
    whole = [line for line in lines if "[secret]" in line]
    assert [(line[:8], len(line)) for line in whole] == [("[secret]", 200 * len("[secret] 000000"))] * len(whole)
    assert whole
    assert "sk-" not in str(failure.value)
