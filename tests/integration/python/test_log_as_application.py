"""The log as an application of the `eventsourcing` library: of a database, and of an exported file."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from eventsourcing.application import AggregateNotFoundError
from eventsourcing.projection import ApplicationSubscription

from domain.record import RecordedEvent
from domain.run.state import Run
from domain.session.state import SessionWorker
from infrastructure.audit.exported_file import NotAnExport
from infrastructure.eventsourcing_library.mapper import SequencedEvent
from interfaces.errors import StartRefused
from interfaces.python import ExportedLog, FleetlogApplication, LogIsReadOnly
from interfaces.python.read_only_log import ReadOnlyLog
from interfaces.settings_reading import load_settings
from tests.integration.audit.conftest import audit_of
from tests.support.async_run import run
from tests.support.log_events import new_event
from tests.support.mixed_history import append_all, mixed_history
from tests.support.projecting import projection_harness


@pytest.fixture
def export(database: str, tmp_path: Path) -> Path:
    """Of a log with two sessions and their runs."""
    file = tmp_path / "log.jsonl"

    async def write() -> None:
        async with projection_harness(database) as harness, audit_of(harness) as audit:
            await append_all(harness.store, mixed_history(sessions=2))
            file.write_bytes(b"".join([lines async for lines in audit.export()]))

    run(write())
    return file


@pytest.fixture(params=["database", "file"])
def log(request: pytest.FixtureRequest, database: str, export: Path) -> Iterator[ReadOnlyLog]:
    opened = FleetlogApplication(env={"DATABASE_URL": database}) if request.param == "database" else ExportedLog(export)
    with opened as log:
        yield log


async def folded(database: str) -> list[RecordedEvent]:
    async with projection_harness(database) as harness:
        return list(await harness.store.read_all(after=0, limit=100_000))


def test_it_has_the_events_of_the_log(log: ReadOnlyLog, database: str) -> None:
    events = run(folded(database))
    assert len(events) > 100
    assert list(log.recorded_events()) == events
    assert list(log.recorded_events(after=50)) == events[50:]
    wanted = ["run.queued", "session.activated"]
    assert list(log.recorded_events(topics=wanted)) == [each for each in events if each.event.wire_name in wanted]
    section = log.notification_log["1,10"]
    assert [log.mapper.to_domain_event(each) for each in section.items] == events[:10]
    assert log.recorder.max_notification_id() == events[-1].position


def test_a_subscription_begins_after_a_position(log: ReadOnlyLog, database: str) -> None:
    events = run(folded(database))
    with ApplicationSubscription(log, gt=events[-3].position) as subscription:
        found = [next(subscription) for _ in range(2)]
    assert [recorded for recorded, _ in found] == events[-2:]
    assert [tracking.notification_id for _, tracking in found] == [events[-2].position, events[-1].position]


def test_its_repository_has_the_states_of_sessions_and_runs_at_any_version(log: ReadOnlyLog) -> None:
    runs = [recorded.stream for recorded in log.recorded_events(topics=["run.queued"])]
    sessions = {recorded.stream for recorded in log.recorded_events(topics=["session.activated"])}
    for stream in runs:
        state = log.repository.get(stream)
        assert isinstance(state, Run)
        assert type(log.repository.get(stream, version=1).stage).__name__ == "Queued"
        assert type(state.stage).__name__ == "Finished"
    for stream in sessions:
        assert isinstance(log.repository.get(stream), SessionWorker)
        assert stream in log.repository


def test_an_unknown_stream_is_not_found(log: ReadOnlyLog) -> None:
    for stream in ("run:nobody", "session:nobody", "nobody"):
        with pytest.raises(AggregateNotFoundError):
            log.repository.get(stream)
        assert stream not in log.repository
    some_run = next(iter(log.recorded_events(topics=["run.queued"]))).stream
    with pytest.raises(AggregateNotFoundError):
        log.repository.get(some_run, version=0)


def test_nothing_is_written_through_it(log: ReadOnlyLog) -> None:
    sequenced = SequencedEvent(stream="run:mine", seq=1, new=new_event("x"))
    for write in (
        lambda: log.save(sequenced),
        lambda: log.events.put([sequenced]),
        lambda: log.take_snapshot("run:mine"),
    ):
        with pytest.raises(LogIsReadOnly, match="Send a command instead"):
            write()
    with pytest.raises(AggregateNotFoundError):
        log.repository.get("run:mine")


def test_settings_of_other_applications_change_nothing(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in {"PERSISTENCE_MODULE": "eventsourcing.postgres", "CREATE_TABLE": "yes"}.items():
        monkeypatch.setenv(key, value)
    with FleetlogApplication(env={"DATABASE_URL": database}) as log:
        assert list(log.recorded_events()) == []


def test_without_a_database_it_says_how_to_find_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    with pytest.raises(OSError, match="of_installation"):
        FleetlogApplication()
    with pytest.raises(OSError, match="DATABASE_URL is no address of a database"):
        FleetlogApplication(env={"DATABASE_URL": "nonsense"})


def test_an_export_ends_and_a_part_of_one_says_what_it_lacks(export: Path, tmp_path: Path) -> None:
    with ExportedLog(export) as whole, ApplicationSubscription(whole) as subscription:
        assert len(list(subscription)) == len(list(whole))
    part = tmp_path / "part.jsonl"
    part.write_bytes(b"".join(export.read_bytes().splitlines(keepends=True)[5:]))
    with ExportedLog(part) as log:
        assert next(iter(log)).position == 6
        with pytest.raises(AggregateNotFoundError, match="the first 5 events of session:"):
            log.repository.get(next(iter(log)).stream)


def test_a_file_that_is_no_whole_export_is_refused_by_its_line(export: Path, tmp_path: Path) -> None:
    with pytest.raises(NotAnExport, match="can't be read"):
        ExportedLog(tmp_path / "nonesuch")
    lines = export.read_bytes().splitlines(keepends=True)
    cut, swapped = tmp_path / "cut", tmp_path / "swapped"
    cut.write_bytes(b"".join(lines[:3]) + lines[3][:50])
    with pytest.raises(NotAnExport, match="line 4"):
        ExportedLog(cut)
    swapped.write_bytes(lines[1] + lines[0])
    with pytest.raises(NotAnExport, match="line 2 has position 1"):
        ExportedLog(swapped)
    endless = tmp_path / "endless"
    endless.touch()
    os.truncate(endless, 1 << 40)
    with pytest.raises(NotAnExport, match="a line has more than 16,777,216 bytes"):
        ExportedLog(endless)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"position": 2**63}, "line 3: Expected `int` <= "),
        ({"seq": 0}, "line 3: Expected `int` >= 1"),
        ({"seq": 900}, "line 3: seq 900 of "),
    ],
)
def test_a_line_that_is_none_is_refused_when_the_file_is_opened(
    export: Path, tmp_path: Path, change: dict[str, int], message: str
) -> None:
    with pytest.raises(NotAnExport, match=message) as refused:
        ExportedLog(tampered(export, tmp_path / "tampered", 3, change))
    assert str(tmp_path / "tampered") in str(refused.value)


def test_what_is_no_file_of_text_is_named(tmp_path: Path) -> None:
    binary = tmp_path / "binary"
    binary.write_bytes(b'{"tenant": "\xff"}\n')
    with pytest.raises(NotAnExport, match="binary is no whole export: line 1"):
        ExportedLog(binary)
    with pytest.raises(NotAnExport, match=f"{tmp_path} can't be read: Is a directory"):
        ExportedLog(tmp_path)
    with pytest.raises(NotAnExport, match="can't be read: embedded null byte"):
        ExportedLog("a\0b")


@pytest.mark.parametrize(
    "change",
    [
        {"payload": "{"},
        {"payload": '{"spec": 5}'},
        {"payload": None, "payloadBase64": "%%%"},
        {"payload": None},
        {"metadata": "[]"},
        {"type": None},
        {"occurredAt": "yesterday"},
        {"recordedAt": 2**62},
        {"schemaVersion": -1},
    ],
    ids=str,
)
def test_an_event_that_can_not_be_read_is_named_by_its_line(
    export: Path, tmp_path: Path, change: dict[str, object]
) -> None:
    with ExportedLog(tampered(export, tmp_path / "tampered", 3, change)) as log:
        events = iter(log)
        with pytest.raises(NotAnExport, match="tampered is no export: line 3: "):
            for _ in events:
                pass


def test_a_file_that_is_cut_while_it_is_open_and_one_that_is_closed_say_so(export: Path) -> None:
    with ExportedLog(export) as log:
        os.truncate(export, export.stat().st_size // 2)
        with pytest.raises(NotAnExport, match="changed since it was opened"):
            list(log)
        with pytest.raises(NotAnExport, match="changed since it was opened"):
            list(log.exported_lines())
    with pytest.raises(NotAnExport, match="has been closed"):
        next(iter(log))


def tampered(export: Path, copy: Path, number: int, change: dict[str, Any]) -> Path:
    """A copy in which a line has other values, or none where they are None."""
    lines = export.read_bytes().splitlines(keepends=True)
    changed = {**msgspec.json.decode(lines[number - 1]), **change}
    kept = {key: value for key, value in changed.items() if value is not None}
    copy.write_bytes(b"".join([*lines[: number - 1], msgspec.json.encode(kept) + b"\n", *lines[number:]]))
    return copy


def test_another_tenants_events_are_another_log(export: Path, tmp_path: Path) -> None:
    mixed = tmp_path / "mixed"
    lines = export.read_bytes().splitlines()
    theirs = msgspec.json.encode({**msgspec.json.decode(lines[-1]), "tenant": "theirs"})
    mixed.write_bytes(b"\n".join([*lines[:-1], theirs]) + b"\n")
    with ExportedLog(mixed) as ours, ExportedLog(mixed, tenant="theirs") as others:
        assert len(list(ours)) == len(lines) - 1
        assert [each.tenant for each in others] == ["theirs"]


def test_an_exported_file_is_read_whatever_the_environment_says(export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEETLOG_PERSISTENCE_MODULE", "infrastructure.eventsourcing_library.factory")
    with ExportedLog(export) as log:
        assert len(list(log)) > 100


def test_an_installation_whose_database_does_not_answer_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def silent(_: object) -> str:
        await asyncio.Event().wait()
        return ""

    monkeypatch.setattr("interfaces.bootstrap.direct_access.reachable_database", silent)
    monkeypatch.setattr("interfaces.python.fleetlog_application.FIND_TIMEOUT_S", 0.01)
    monkeypatch.delenv("DATABASE_URL", raising=False)
    with pytest.raises(StartRefused, match=r"did not answer within 0\.01 s; see `fleetlog doctor`"):
        FleetlogApplication.of_installation(load_settings({"FLEETLOG_HOME": str(tmp_path)}))


def test_an_event_is_read_without_those_of_other_tenants_around_it(
    export: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mixed = tmp_path / "mixed"
    lines = [msgspec.json.decode(line) for line in export.read_bytes().splitlines()]
    tenants = ["default", *["theirs"] * 20, "default", *["theirs"] * 20]
    mixed.write_bytes(
        b"".join(
            msgspec.json.encode({**line, "tenant": tenant}) + b"\n"
            for line, tenant in zip(lines, tenants, strict=False)
        )
    )
    with ExportedLog(mixed) as ours:
        sizes: list[int] = []
        pread = os.pread

        def recorded_pread(descriptor: int, size: int, offset: int) -> bytes:
            sizes.append(size)
            return pread(descriptor, size, offset)

        monkeypatch.setattr(os, "pread", recorded_pread)
        assert [each.position for each in ours] == [1, 22]
    written = mixed.read_bytes().splitlines(keepends=True)
    assert sizes == [len(written[0]), len(written[21])]
