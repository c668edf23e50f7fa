"""Chat history: sessions as chats, with titles that may come first, and the messages that the log has."""

import uuid
from typing import Any

import httpx
import pytest

from interfaces.http.compatibility import chat_history
from tests.support.api_server import PLANTED
from tests.support.problems import fields, problem

PATH = "/api/chat-opencode-history"


@pytest.fixture
def user() -> str:
    return f"u-{uuid.uuid4().hex}"


@pytest.fixture
def chat_id() -> str:
    return f"c-{uuid.uuid4().hex}"


def ok(answer: httpx.Response) -> Any:
    assert answer.is_success, answer.text
    return answer.json()


def name(client: httpx.Client, **body: Any) -> Any:
    return ok(client.post(PATH, json=body))


def run(client: httpx.Client, session_id: str, user: str, *said: str, answer: str = "", **spec: Any) -> str:
    """A run that began with these messages, and its answer, which a callback reports."""
    messages = [{"role": "assistant" if each.startswith("<") else "user", "content": each} for each in said]
    body = {"provider": "scripted", "sessionId": session_id, "userLoginName": user, "messages": messages, **spec}
    run_id = str(ok(client.post("/api/runs/queue/enqueue", json=body))["runId"])
    if answer:
        report = {"eventId": "answer", "type": "message.stop", "text": answer}
        ok(client.post(f"/api/runs/{run_id}/callbacks", json=report))
    return run_id


def chats(client: httpx.Client, **query: Any) -> list[Any]:
    query = {"minPosition": last(client), **query}
    return list(ok(client.get(PATH, params=query))["items"])


def last(client: httpx.Client) -> int:
    return int(ok(client.get("/api/providers"))["asOfPosition"])


def chat(client: httpx.Client, chat_id: str, **query: Any) -> Any:
    return ok(client.get(f"{PATH}/{chat_id}", params={"minPosition": last(client), **query}))


def said(shown: Any) -> list[tuple[str, str]]:
    return [(message["role"], message["content"]) for message in shown["messages"]]


def test_a_title_may_come_before_anything_else(client: httpx.Client, user: str, chat_id: str) -> None:
    named = name(client, chatId=chat_id, title="  My\n taxes ", userId=user)
    assert (named["chatId"], named["title"]) == (chat_id, "My taxes")
    (listed,) = chats(client, userId=user)
    assert listed.items() >= {"chatId": chat_id, "title": "My taxes", "userLoginName": user}.items()
    assert listed["updatedAt"]
    assert chat(client, chat_id).items() >= {"chatId": chat_id, "title": "My taxes", "messages": []}.items()


def test_a_named_session_is_no_worker_and_is_activated_as_a_new_one(
    client: httpx.Client, user: str, chat_id: str
) -> None:
    name(client, chatId=chat_id, title="Mine", userId=user)
    problem(client.get(f"/api/session-workers/{chat_id}", params={"minPosition": last(client)}), 404)
    assert ok(client.get("/api/session-workers", params={"userLoginName": user}))["items"] == []
    who = {"appId": "other-app", "userLoginName": f"{user}-2", "projectName": "own"}
    activated = ok(client.post(f"/api/session-workers/{chat_id}/activate", json=who, params={"waitMs": 0}))
    worker = ok(client.get(f"/api/session-workers/{chat_id}", params={"minPosition": activated["position"]}))
    assert (worker["appId"], worker["generation"], worker["phase"]) == ("other-app", 1, "activating")
    (listed,) = chats(client, userId=f"{user}-2", projectName="own")
    assert (listed["title"], listed["appId"]) == ("Mine", "other-app")
    assert chats(client, userId=user) == []


def test_without_an_id_one_is_made_and_a_key_makes_it_once(client: httpx.Client, user: str) -> None:
    headers = {"idempotency-key": uuid.uuid4().hex}
    first, again = (ok(client.post(PATH, json={"userId": user}, headers=headers)) for _ in range(2))
    assert first == again
    assert [each["chatId"] for each in chats(client, userId=user)] == [first["chatId"]]
    assert ok(client.post(PATH))["chatId"] != first["chatId"]


def test_the_messages_are_those_of_the_runs_in_their_order(client: httpx.Client, user: str, chat_id: str) -> None:
    first = run(client, chat_id, user, "How are you?", answer="Well.")
    run(client, chat_id, user, "How are you?", "<Well.", "And now?", answer="Better.")
    shown = chat(client, chat_id)
    assert said(shown) == [
        ("user", "How are you?"), ("assistant", "Well."), ("user", "And now?"), ("assistant", "Better."),
    ]  # fmt: skip
    assert shown["title"] == "How are you?"
    assert shown["nextCursor"] is None
    assert [each["id"] for each in shown["messages"]][:2] == [f"{first}/0", f"{first}/answer"]
    assert [each["status"] for each in shown["messages"]] == ["queued"] * 4


def test_what_the_first_run_began_with_is_shown_whole_but_for_the_system(
    client: httpx.Client, user: str, chat_id: str
) -> None:
    imported = [{"role": "system", "content": "be kind"}, {"role": "user", "content": "a"},
                {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]  # fmt: skip
    body = {"provider": "scripted", "sessionId": chat_id, "userLoginName": user, "messages": imported}
    ok(client.post("/api/runs/queue/enqueue", json=body))
    assert said(chat(client, chat_id)) == [("user", "a"), ("assistant", "b"), ("user", "c")]


def test_a_put_records_the_title_and_answers_what_the_log_has(client: httpx.Client, user: str, chat_id: str) -> None:
    run(client, chat_id, user, "hello", answer="hi")
    body = {"title": "Greetings", "messages": [{"role": "user", "content": "forged"}], "anything": 1}
    shown = ok(client.put(f"{PATH}/{chat_id}", json=body))
    assert (shown["title"], said(shown)) == ("Greetings", [("user", "hello"), ("assistant", "hi")])
    before = last(client)
    assert ok(client.put(f"{PATH}/{chat_id}", json=body))["title"] == "Greetings"
    assert ok(client.put(f"{PATH}/{chat_id}", json={}))["title"] == "Greetings"
    assert last(client) == before
    assert ok(client.put(f"{PATH}/{chat_id}", json={"title": ""}))["title"] == "hello"


def test_the_latest_come_first_and_each_page_leads_to_the_next(client: httpx.Client, user: str) -> None:
    ids = [name(client, title=f"t{number}", userId=user)["chatId"] for number in range(3)]
    run(client, ids[0], user, "news")
    page = ok(client.get(PATH, params={"userId": user, "limit": 2, "minPosition": last(client)}))
    assert [each["chatId"] for each in page["items"]] == [ids[0], ids[2]]
    rest = ok(client.get(PATH, params={"userId": user, "limit": 2, "cursor": page["nextCursor"]}))
    assert ([each["chatId"] for each in rest["items"]], rest["nextCursor"]) == ([ids[1]], None)
    assert [each["chatId"] for each in chats(client, userId=user, projectName="")] == [ids[0], ids[2], ids[1]]
    assert chats(client, userId=user, projectName="elsewhere") == []


def test_a_long_chat_comes_in_pages_of_runs_and_bytes(
    client: httpx.Client, user: str, chat_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(7):
        run(client, chat_id, user, f"m{number}")
    page = chat(client, chat_id, limit=3)
    assert [text for _, text in said(page)] == ["m4", "m5", "m6"]
    before = chat(client, chat_id, limit=3, cursor=page["nextCursor"])
    assert [text for _, text in said(before)] == ["m1", "m2", "m3"]
    assert [text for _, text in said(chat(client, chat_id))] == [f"m{number}" for number in range(7)]
    monkeypatch.setattr(chat_history, "MAX_BYTES", 1)
    large = chat(client, chat_id)
    assert [text for _, text in said(large)] == ["m2", "m3", "m4", "m5", "m6"]
    assert [text for _, text in said(chat(client, chat_id, cursor=large["nextCursor"]))] == ["m0", "m1"]


def test_a_long_message_is_cut_and_says_so(client: httpx.Client, user: str, chat_id: str) -> None:
    run(client, chat_id, user, "x" * 70_000)
    (message,) = chat(client, chat_id)["messages"]
    assert (len(message["content"]), message["truncated"]) == (65_536, True)


def test_a_secret_in_a_title_is_not_recorded(client: httpx.Client, user: str, chat_id: str) -> None:
    assert PLANTED not in name(client, chatId=chat_id, title=f"key {PLANTED}", userId=user)["title"]
    assert PLANTED not in str(chats(client, userId=user))


@pytest.mark.usefixtures("nothing_is_written")
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"title": "x" * 501}, "title"),
        ({"title": 5}, "title"),
        ({"title": "a\x00b"}, "title"),
        ({"chatId": "no/id"}, "chatId"),
        ({"chatId": "cleanup"}, "chatId"),
        ({"userId": "no user"}, "userId"),
        ({"userId": "kb"}, "userId"),
        ({"projectName": "no project"}, "projectName"),
        ({"appId": "-"}, "appId"),
    ],
)
def test_bad_input_is_refused_by_its_field(client: httpx.Client, body: dict[str, Any], field: str) -> None:
    assert fields(client.post(PATH, json=body)) == [field]


def test_an_unknown_chat_and_bad_queries(client: httpx.Client) -> None:
    problem(client.get(f"{PATH}/nobody-named-this"), 404)
    problem(client.put(f"{PATH}/nobody-named-this", json={"messages": []}), 404)
    assert fields(client.get(PATH, params={"userId": "no user"})) == ["userId"]
    assert fields(client.get(PATH, params={"cursor": "x"})) == ["cursor"]
    assert fields(client.put(f"{PATH}/cleanup", json={"title": "a"})) == ["chatId"]
