"""Whatever is done to the log by hand is found, and the first event at fault is named."""

import pytest

from application.ports.log_audit import Checkpoint, Verification
from tests.integration.audit.conftest import audit_of
from tests.support.async_run import run
from tests.support.projecting import NAMES, projection_harness
from tests.support.tampering import execute, rewrite_from, swap_places


def verified(dsn: str, checkpoint: Checkpoint | None = None, *, read_models: bool = False) -> Verification:
    async def verify() -> Verification:
        async with projection_harness(dsn) as harness, audit_of(harness) as audit:
            return await audit.verify(checkpoint=checkpoint, read_models=read_models)

    return run(verify(), timeout=250)


def checkpoint_of(dsn: str, *, secret: bytes | None = None) -> Checkpoint:
    async def make() -> Checkpoint:
        async with (
            projection_harness(dsn) as harness,
            audit_of(harness, **({} if secret is None else {"secret": secret})) as a,
        ):
            return await a.checkpoint()

    return run(make())


def broken_place(found: Verification) -> tuple[int, str]:
    assert not found.ok
    assert found.broken is not None
    return found.broken.position, found.broken.kind


def test_an_untouched_log_holds_and_its_read_models_are_what_it_makes(log: str) -> None:
    found = verified(log, checkpoint_of(log), read_models=True)

    assert found.ok, found
    assert found.position > 300
    assert {each.projection: each.equal for each in found.projections} == dict.fromkeys(NAMES, True)
    assert all(each.rows == each.rebuilt_rows > 0 for each in found.projections)


def test_an_empty_log_holds(database: str) -> None:
    assert (verified(database).ok, verified(database).position) == (True, 0)


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ("payload = set_byte(payload, 5, get_byte(payload, 5) # 1)", "payload"),
        ("payload = ''", "payload"),
        ("metadata = metadata || ' '", "chain"),
        ("type = type || 'x'", "chain"),
        ("event_id = event_id || 'x'", "chain"),
        ("occurred_at = occurred_at + interval '1 microsecond'", "chain"),
        ("stream = 'run:another'", "sequence"),
        ("seq = seq + 1", "sequence"),
        ("schema_version = schema_version + 1", "chain"),
        ("payload_hash = sha256(payload_hash)", "payload"),
        ("payload_hash = ''", "payload"),
        ("chain_hash = ''", "chain"),
        ("chain_hash = set_byte(chain_hash, 31, get_byte(chain_hash, 31) # 128)", "chain"),
        ("recorded_at = recorded_at - interval '1 day'", "time"),
    ],
)
def test_one_changed_column_of_one_event_is_found_and_named(log: str, change: str, kind: str) -> None:
    execute(log, f"UPDATE events SET {change} WHERE position = 100")

    assert broken_place(verified(log)) == (100, kind)


def test_a_deleted_event_is_found_and_named(log: str) -> None:
    execute(log, "DELETE FROM events WHERE position = 57")

    assert broken_place(verified(log)) == (57, "missing")


def test_a_deleted_event_is_found_even_when_those_behind_it_close_up(log: str) -> None:
    execute(log, "DELETE FROM events WHERE position = 57")
    execute(log, "UPDATE events SET position = -position WHERE position > 57")
    execute(log, "UPDATE events SET position = -position - 1 WHERE position < 0")

    assert broken_place(verified(log))[0] == 57


def test_a_swapped_pair_is_found_and_named(log: str) -> None:
    swap_places(log, 120, 121)

    assert broken_place(verified(log))[0] == 120


def test_swapped_payloads_are_found_and_named(log: str) -> None:
    execute(
        log,
        "UPDATE events e SET payload = o.payload, payload_hash = o.payload_hash FROM events o "
        "WHERE e.position IN (30, 90) AND o.position = 120 - e.position",
    )

    assert broken_place(verified(log)) == (30, "chain")


def test_a_truncated_tail_is_found_against_a_checkpoint_alone(log: str) -> None:
    checkpoint = checkpoint_of(log)
    end = verified(log).position
    execute(log, "DELETE FROM events WHERE position > %(last)s", last=end - 3)

    assert verified(log).ok
    found = verified(log, checkpoint)
    assert not found.ok
    assert found.checkpoint is not None
    assert str(end - 2) in found.checkpoint.detail


def test_history_written_anew_with_all_its_hashes_is_found_against_a_checkpoint_alone(log: str) -> None:
    checkpoint = checkpoint_of(log)
    rewrite_from(log, 50, b'{"generation":1}')

    assert verified(log).ok
    found = verified(log, checkpoint)
    assert (found.ok, found.checkpoint is not None and found.checkpoint.ok) == (False, False)


def test_a_checkpoint_still_holds_when_the_log_has_gone_on(log: str) -> None:
    from tests.support.log_events import new_events

    checkpoint = checkpoint_of(log)

    async def go_on() -> None:
        async with projection_harness(log) as harness:
            await harness.store.append("run:later", 0, new_events("a", "b"))

    run(go_on())

    assert verified(log, checkpoint).ok


def test_a_checkpoint_that_another_key_signed_or_nobody_does_not_count(log: str) -> None:
    foreign = checkpoint_of(log, secret=b"somebody else's")
    own = checkpoint_of(log)
    changed = Checkpoint(
        statement=own.statement.replace('"events":', '"events" :'), signature=own.signature, public_key=own.public_key
    )

    assert not verified(log, foreign).ok
    assert not verified(log, changed).ok


def test_no_checkpoint_is_made_of_a_broken_log(log: str) -> None:
    from application.ports.log_audit import BrokenLog

    execute(log, "UPDATE events SET type = 'run.forged' WHERE position = 9")

    with pytest.raises(BrokenLog, match="position 9"):
        checkpoint_of(log)


def test_a_row_changed_by_hand_in_a_read_model_is_found(log: str) -> None:
    execute(log, "UPDATE read_models.runs SET state = 'failed' WHERE key = 'run-0'")

    found = verified(log, read_models=True)

    assert [each.projection for each in found.projections if not each.equal] == ["runs"]
    assert found.broken is None
    assert not found.ok
