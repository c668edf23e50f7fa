"""No credential of a model gets into an event, however it is cut."""

import base64
import json
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote, urlencode

import pytest

from domain.run.events import MessageDelta, MessageStopped, ReasoningDelta, RunAgentFinished, RunWarning, ToolEnded
from domain.run.values import RunError, Warn
from infrastructure.redaction import LEARNT, SHORTEST_PART, RedactedEvents, Redactor, StreamRedactor, secrets_in

SECRET = "sk-ant-planted-0123456789"
PARTS = [SECRET[start : start + SHORTEST_PART] for start in range(len(SECRET) - SHORTEST_PART + 1)]
QUOTED = 'pass"word\\with escapes'


def told(events, *secrets):
    redacted = RedactedEvents(Redactor(secrets or [SECRET]))
    return [event for given in events for event in redacted.take(given)] + list(redacted.flush())


def text_of(events):
    return "".join(event.text for event in events)


@pytest.mark.parametrize("size", [1, 2, 5, 7, 24, 25, 26, 100])
def test_a_secret_is_found_in_whatever_pieces_it_is_streamed(size):
    text = f"key={SECRET}, again {SECRET}! sk-ant-plan is not all of it"
    pieces = [MessageDelta(text=text[start : start + size]) for start in range(0, len(text), size)]
    assert text_of(told(pieces)) == "key=[secret], again [secret]! sk-ant-plan is not all of it"


def test_what_may_begin_a_secret_waits_for_no_longer_than_the_next_event():
    half = MessageDelta(text="see sk-ant-pl")
    assert told([half, MessageStopped()]) == [
        MessageDelta(text="see "),
        MessageDelta(text="sk-ant-pl"),
        MessageStopped(),
    ]
    assert told([half, ReasoningDelta(text="x")])[-1] == ReasoningDelta(text="x")


def test_a_warning_in_the_middle_of_a_secret_does_not_let_it_out():
    warned = RunWarning(warning=Warn(code="not_understood", message=f"new: {SECRET}"))
    first, last = MessageDelta(text=f"see {SECRET[:9]}"), MessageDelta(text=f"{SECRET[9:]}.")
    clean = told([first, warned, last])
    assert text_of(event for event in clean if isinstance(event, MessageDelta)) == "see [secret]."
    assert [event.warning.message for event in clean if isinstance(event, RunWarning)] == ["new: [secret]"]


def test_ordinary_text_is_passed_on_as_it_comes():
    redacted = RedactedEvents(Redactor([SECRET]))
    assert list(redacted.take(MessageDelta(text="hello "))) == [MessageDelta(text="hello ")]


def test_tools_and_errors_are_searched_through_and_through():
    tool = ToolEnded(tool_id="t", output={"env": [f"A={SECRET}", 3], SECRET: None})
    failed = RunAgentFinished(outcome="failed", error=RunError(error_class="cli_crashed", message=f"bad key {SECRET}"))
    clean_tool, clean_end = told([tool, failed])
    assert clean_tool.output == {"env": ["A=[secret]", 3], "[secret]": None}
    assert clean_end.error.message == "bad key [secret]"


def test_characters_that_json_escapes_hide_nothing():
    (clean,) = told([ToolEnded(tool_id="t", output=f"<{QUOTED}>")], QUOTED)
    assert clean.output == "<[secret]>"


LONG = SECRET + "+/?&=" + "x1y2z3" * 12
ENCODINGS = {
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "urlsafe base64": lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    "hex": lambda text: text.encode().hex(),
    "upper hex": lambda text: text.encode().hex().upper(),
    "percent": lambda text: quote(text, safe=""),
    "lower percent": lambda text: re.sub("%..", lambda found: found[0].lower(), quote(text, safe="")),
    "form": lambda text: urlencode({"key": text}),
}


@pytest.mark.parametrize("secret", [SECRET, LONG], ids=["short", "long"])
@pytest.mark.parametrize("before", ["", "a", "ab", "abc"])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_what_is_encoded_is_found_wherever_it_lies_in_a_text(encoding, before, secret):
    text = ENCODINGS[encoding](f"{before}{secret} and more")
    whole = ENCODINGS[encoding](secret).removeprefix("key=").rstrip("=")
    clean = Redactor([secret]).text(f"before {text} after")

    assert "[secret]" in clean
    assert not any(whole[start : start + SHORTEST_PART] in clean for start in range(len(whole) - SHORTEST_PART))
    assert (clean.startswith("before "), clean.endswith(" after")) == (True, True)


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_what_is_encoded_and_broken_into_lines_is_found_too(line_end):
    digits = base64.b64encode(f"KEY={LONG}; done".encode()).decode()
    lines = line_end.join(digits[at : at + 30] for at in range(0, len(digits), 30))
    clean = Redactor([LONG]).text(lines)

    assert clean.count("[secret]") == 1
    assert len(clean) < 40
    assert base64.b64decode(clean.split("[secret]")[0][:4]) == b"KEY"


@pytest.mark.parametrize("size", [1, 3, 20])
def test_what_is_encoded_is_found_in_the_pieces_of_a_stream(size):
    text = f"key={base64.b64encode(SECRET.encode()).decode()}."
    pieces = [MessageDelta(text=text[start : start + size]) for start in range(0, len(text), size)]
    assert text_of(told(pieces)).startswith("key=[secret]")


def test_a_value_without_a_secret_stays_the_same():
    redactor, option = Redactor([SECRET]), Warn(code="c", message="harmless")
    assert redactor.value(option) is option
    assert redactor.value(Warn(code="c", message=f"<{SECRET}>")) == Warn(code="c", message="<[secret]>")


def test_a_secret_within_another_leaves_no_rest():
    (clean,) = told([ToolEnded(tool_id="t", output=SECRET + "-longer")], SECRET, SECRET + "-longer")
    assert clean.output == "[secret]"


def test_secrets_are_the_credentials_and_the_passwords_in_urls():
    variables = {"KEY": SECRET, "BASE": "https://u:hunter2hunter2@proxy/v1", "MODEL": "opus", "SHORT_KEY": "abc"}
    assert secrets_in(variables, ["KEY", "SHORT_KEY"]) == ("hunter2hunter2", SECRET)


@pytest.mark.parametrize("at", range(0, len(SECRET) + 1, 3))
def test_what_a_cut_leaves_of_a_secret_is_too_little_to_be_one(at):
    redactor = Redactor([SECRET])
    first, last = f"see {SECRET[:at]}", f"{SECRET[at:]} again"
    for piece in (redactor.text(first), redactor.text(last)):
        assert not any(part in piece for part in PARTS)
    assert redactor.text(first).startswith("see ")
    assert redactor.text(last).endswith(" again")


@pytest.mark.parametrize("size", [3, 10, 20])
def test_a_secret_that_is_interrupted_is_not_told_by_what_comes_before_and_after(size):
    pieces = [MessageDelta(text=SECRET[start : start + size]) for start in range(0, len(SECRET), size)]
    clean = told([MessageDelta(text="see "), *(each for piece in pieces for each in (piece, MessageStopped()))])
    shown = text_of(event for event in clean if isinstance(event, MessageDelta))
    assert shown.startswith("see ")
    assert not any(part in shown for part in PARTS)


def test_what_only_looked_like_a_secret_is_told_in_full_after_an_interruption():
    clean = told([MessageDelta(text=SECRET[:9]), MessageStopped(), MessageDelta(text="!"), MessageDelta(text="?")])
    assert text_of(event for event in clean if isinstance(event, MessageDelta)) == SECRET[:9] + "!?"


@pytest.mark.parametrize("secret", [SECRET, QUOTED + " and long"])
def test_json_stays_json_wherever_a_secret_is_in_it_and_however_deep(secret):
    redactor = Redactor([secret])
    inner = json.dumps({"key": secret, "half": secret[:-2]})
    document = {"said": f"<{secret}>", secret: [inner, 3, None, 1.5], "cut": secret[1:]}

    found = json.loads(redactor.json(json.dumps(document).encode()))

    assert found["said"] == "<[secret]>"
    assert found["[secret]"] == ['{"key": "[secret]", "half": "[secret]"}', 3, None, 1.5]
    assert found["cut"] == "[secret]"


def test_what_is_no_json_is_cleaned_as_text():
    assert Redactor([SECRET]).json(b"{oops " + SECRET.encode() + b"\xff") == "{oops [secret]\ufffd".encode()


@pytest.mark.parametrize("size", [1, 9, 24, 25, 60])
def test_the_end_of_a_stream_is_cut_off_after_its_secrets(size):
    stream, tail = StreamRedactor(Redactor([SECRET])), ""
    text = f"{SECRET}, " * 12 + "the end"
    for start in range(0, len(text), size):
        tail = (tail + stream.feed(text[start : start + size]))[-100:]
    tail += stream.flush()
    assert tail.endswith("[secret], [secret], the end")
    assert "sk-" not in tail


def test_a_password_in_a_url_is_known_as_it_is_written_and_as_it_is_meant():
    assert secrets_in({"BASE": "https://u:hunter2%40hunter2@proxy/v1"}, []) == ("hunter2%40hunter2", "hunter2@hunter2")


def test_a_text_full_of_parts_of_a_secret_is_gone_through_once():
    """Gone through anew for each part, this one would take minutes."""
    start, end = SECRET[:SHORTEST_PART], SECRET[-SHORTEST_PART:]
    redactor = Redactor([SECRET])
    assert redactor.text(f"{start}." * 200_000) == "[secret]." * 200_000
    assert redactor.text(f".{end}" * 200_000) == ".[secret]" * 200_000


def test_a_secret_that_is_learnt_later_is_replaced_from_then_on_and_the_oldest_are_forgotten():
    redactor = Redactor([SECRET])
    renewed = [f"{number:03}" * 10 + "-token" for number in range(LEARNT + 1)]
    assert redactor.text(renewed[0]) == renewed[0]
    redactor.learn(renewed[:1])
    assert redactor.text(f"{renewed[0]} {SECRET}") == "[secret] [secret]"
    redactor.learn(["short", *renewed[1:]])
    assert (redactor.text("short"), redactor.text(SECRET)) == ("short", "[secret]")
    assert redactor.text(renewed[-1]) == redactor.text(renewed[1]) == "[secret]"
    assert redactor.text(renewed[0]) == renewed[0]


@pytest.fixture
def switching_often():
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def test_a_redactor_learns_what_the_one_learns_that_it_was_derived_from():
    redactor = Redactor([SECRET])
    of_run = redactor.with_secret("the callback's token")
    of_server = of_run.with_secret("the server's password")
    redactor.learn(["renewed-credentials"])

    assert [each.text("renewed-credentials") for each in (of_run, of_server)] == ["[secret]", "[secret]"]


def test_secrets_that_are_learnt_at_once_are_all_replaced(switching_often):
    secrets = [f"{number:02}" * 10 + "-token" for number in range(LEARNT)]
    for _ in range(20):
        redactor = Redactor([SECRET])
        with ThreadPoolExecutor(LEARNT) as pool:
            list(pool.map(lambda secret, of=redactor: of.learn([secret]), secrets))
        assert redactor.text(" ".join(secrets)) == " ".join(["[secret]"] * LEARNT)


@pytest.mark.parametrize("size", [8, 9, 10, 11, 12, 14, 15, 40])
def test_a_secret_is_found_wherever_it_begins_and_ends_in_a_document(size):
    secret = "Zk7-Qw9_Xv3.Jp5~Hn1+Ty8/Rb2=Lm4*Gc6!Ds0?"[:size]
    redactor = Redactor([secret, "another-secret-that-is-not-there"])
    for before in range(17):
        for after in range(9):
            document = b'"%b%b%b"' % (b"." * before, secret.encode(), b"." * after)
            assert redactor.json(document) == b'"%b[secret]%b"' % (b"." * before, b"." * after)


def test_what_only_looks_like_a_part_of_a_secret_is_passed_on_as_it_is():
    redactor = Redactor([SECRET])
    for at in range(len(SECRET)):
        document = json.dumps({"text": f"{SECRET[at : at + SHORTEST_PART - 1]} and more"}).encode()
        assert redactor.json(document) is document
