"""Every event survives its way into the log and back."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.event import (
    ENVELOPE_FIELDS,
    Event,
    NewerSchemaVersion,
    UnknownEventType,
    decode,
    encode,
    upcast,
    wire,
)
from tests.support.domain_events import domain_events
from tests.support.event_strategies import instances

EVENTS = list(domain_events().items())


@pytest.mark.parametrize(("name", "event_type"), EVENTS, ids=[name for name, _ in EVENTS])
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_every_event_round_trips(name, event_type, data):
    event = data.draw(instances(event_type))
    payload = encode(event)
    assert decode(name, event_type.schema_version, payload) == event
    fields = json.loads(payload)
    assert not ENVELOPE_FIELDS & fields.keys()


@pytest.mark.parametrize(("name", "event_type"), EVENTS, ids=[name for name, _ in EVENTS])
def test_every_event_is_immutable_and_knows_its_name(name, event_type):
    assert event_type.__struct_config__.frozen
    assert (event_type.wire_name, event_type.schema_version >= 1) == (name, True)


def test_an_unknown_name_is_told_from_a_newer_version():
    with pytest.raises(UnknownEventType, match=r"'run\.exploded'"):
        decode("run.exploded", 1, b"{}")
    with pytest.raises(NewerSchemaVersion, match="version 99"):
        decode("run.queued", 99, b"{}")


def test_a_payload_that_does_not_fit_is_refused():
    with pytest.raises(msgspec.ValidationError):
        decode("message.delta", 1, b'{"text": 1}')


def test_fields_of_a_later_code_are_ignored():
    decoded: Any = decode("message.delta", 1, b'{"text": "x", "color": "red"}')
    assert decoded.text == "x"


class TestRegistration:
    @pytest.fixture(autouse=True)
    def _forget(self, monkeypatch):
        for registry in ("_types", "_upcasts", "_decoders"):
            monkeypatch.setattr(f"domain.event.{registry}", {})

    def test_takes_a_name_once(self):
        @wire("spec.named")
        class Named(Event, frozen=True, kw_only=True):
            pass

        with pytest.raises(ValueError, match=r"'spec\.named' is taken by .*Named"):
            wire("spec.named")(Named)

    @pytest.mark.parametrize("field", sorted(ENVELOPE_FIELDS))
    def test_leaves_the_envelope_s_fields_to_the_stream(self, field):
        python_name = {"runId": "run_id", "sessionId": "session_id"}.get(field, field)
        taken: Any = msgspec.defstruct(
            "Taken", [(python_name, str)], bases=(Event,), frozen=True, kw_only=True, rename="camel"
        )
        with pytest.raises(ValueError, match="collide with the stream envelope"):
            wire("spec.taken")(taken)

    def test_upcasts_step_by_step(self):
        @wire("spec.grown", version=3)
        class Grown(Event, frozen=True, kw_only=True):
            whole_name: str

        upcast("spec.grown", 1)(lambda fields: {"name": fields["n"]})
        upcast("spec.grown", 2)(lambda fields: {"wholeName": fields["name"]})
        for version, payload in enumerate((b'{"n": "x"}', b'{"name": "x"}', b'{"wholeName": "x"}'), start=1):
            assert decode("spec.grown", version, payload) == Grown(whole_name="x")
