"""Chat history as older clients know it, a view of the log: a chat is a session, its id the session's. Its messages are
those with which its runs began, and their answers.

The paths are those of the system that Fleetlog replaces (docs/reference/compatibility.md).
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec

from domain.errors import InvalidInput
from domain.identifiers import DEFAULT_APP, DEFAULT_PROJECT, check_id, run_stream
from domain.run.events import RunBlocked, RunQueued
from domain.run.values import Message
from domain.session.title import TitleSession
from interfaces.http.edge.endpoint import ApiCall, Endpoint, JsonAnswer
from interfaces.http.edge.examples import Example
from interfaces.http.edge.queries import PageLimit, Query, ReadQuery, Text
from interfaces.http.resources.reading import caught_up, found, reached
from interfaces.http.resources.run_requests import user_of
from interfaces.http.resources.views import AnswerBody
from interfaces.http_conventions.bodies import MAX_BODY_BYTES
from projections.chats import CHATS, ChatSummary
from projections.ports import ChatFilter, Page, RunFilter
from projections.runs import RUNS, RunSnapshot, RunSummary

RUNS_AT_ONCE = 5
MAX_BYTES = 1024 * 1024
"""Of messages, after which the page of a chat ends with the run that it is at, and those read with it."""
MAX_CONTENT_CHARS = 64 * 1024
"""Of what was asked; of more the beginning is shown. The text of an answer is bounded where runs are read."""


class ChatTitleBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`title`: 500 characters at most, on one line; without one, the chat's stays as it is. `userId`, `projectName` and
    `appId`: whose a chat is of which nothing is known yet; they default to the caller and `default`. Other fields, such
    as messages, are ignored: the log has them."""

    title: str | None = None
    user_id: str = ""
    project_name: str = ""
    app_id: str = ""


class NewChatBody(ChatTitleBody, frozen=True, kw_only=True):
    """As the body of `PUT`. `chatId`: the id of the session, which need not exist yet; one is made without it."""

    chat_id: str | None = None


class ChatsQuery(ReadQuery, frozen=True, kw_only=True):
    """`userId`: the user's login name. Empty parameters are as absent ones: they choose all."""

    user_id: Text = ""
    project_name: Text = ""
    limit: PageLimit = 100
    cursor: Text | None = None


class ChatQuery(ReadQuery, frozen=True, kw_only=True):
    """`limit`: of runs. `cursor`: the `nextCursor` of the page with what came later."""

    limit: PageLimit = 100
    cursor: Text | None = None


class ChatMessage(AnswerBody, frozen=True, kw_only=True):
    """`id`: of the message. `truncated`: `content` is the beginning of what was asked, or the end of an answer.
    `status`: the state of its run."""

    id: str
    role: Literal["user", "assistant"]
    content: str
    truncated: bool
    run_id: str
    created_at: datetime
    status: str


class Chat(AnswerBody, frozen=True, kw_only=True):
    """`messages`: in the order in which they were said, those of the latest runs. `nextCursor`: of what came before
    them, null if this is all."""

    chat_id: str
    title: str
    updated_at: datetime
    messages: tuple[ChatMessage, ...]
    next_cursor: str | None
    as_of_position: int


class RetitledChat(Chat, frozen=True, kw_only=True):
    """A chat as it is once its title is recorded; without one in the request nothing is."""

    position: int


class TitledChat(AnswerBody, frozen=True, kw_only=True):
    """`position`: a read with this `minPosition` has the title."""

    chat_id: str
    title: str
    position: int


_SENT_AS = {"sessionId": "chatId", "userLoginName": "userId"}


async def list_chats(call: ApiCall[None, ChatsQuery]) -> JsonAnswer:
    query = call.query
    for field, value in (("userId", query.user_id), ("projectName", query.project_name)):
        if value:
            check_id(field, value)
    await caught_up(call, CHATS.name)
    matching = ChatFilter(user_login_name=query.user_id or None, project_name=query.project_name or None)
    return JsonAnswer(await call.deps.reads.chats(matching, limit=query.limit, cursor=query.cursor))


async def name_chat(call: ApiCall[NewChatBody, Query]) -> JsonAnswer:
    chat_id = call.context.command_id if call.body.chat_id is None else check_id("chatId", call.body.chat_id)
    title, position = await _titled(call, chat_id)
    return JsonAnswer(TitledChat(chat_id=chat_id, title=title, position=position))


async def get_chat(call: ApiCall[None, ChatQuery]) -> JsonAnswer:
    await caught_up(call, CHATS.name)
    await caught_up(call, RUNS.name)
    return JsonAnswer(await _chat(call, limit=call.query.limit, cursor=call.query.cursor))


async def put_chat(call: ApiCall[ChatTitleBody, Query]) -> JsonAnswer:
    position = None
    if call.body.title is not None:
        _, position = await _titled(call, call.path["chatId"])
        await reached(call, CHATS.name, position)
    chat = await _chat(call, limit=100, cursor=None)
    return JsonAnswer(RetitledChat(**msgspec.structs.asdict(chat), position=position or chat.as_of_position))


async def _titled(call: ApiCall[Any, Any], chat_id: str) -> tuple[str, int]:
    """The title that the chat has after it was recorded, and the position of that."""
    body = call.body
    title = None if body.title is None else " ".join(body.title.split())
    command = TitleSession(
        session_id=chat_id,
        title=title,
        app_id=body.app_id or DEFAULT_APP,
        project_name=body.project_name or DEFAULT_PROJECT,
        user_login_name=body.user_id or user_of(call.context.actor),
    )
    try:
        titled = await call.deps.titles.title(command, call.context)
    except InvalidInput as error:
        raise InvalidInput(_SENT_AS.get(error.field, error.field), error.message) from error
    return titled.state.title, titled.position


async def _chat(call: ApiCall[Any, Any], *, limit: int, cursor: str | None) -> Chat:
    chat_id = call.path["chatId"]
    read = await call.deps.reads.chat(chat_id)
    chat: ChatSummary = found(read.value, f"no chat {chat_id!r} is known")
    messages: list[ChatMessage] = []
    size = 0
    while True:
        at_once = min(limit, RUNS_AT_ONCE)
        page = await call.deps.reads.runs(RunFilter(session_id=chat_id), limit=at_once, cursor=cursor)
        first = page.items[-1] if page.items and page.next_cursor is None else None
        said = await asyncio.gather(*(_said(call, run, is_first=run is first) for run in reversed(page.items)))
        earlier = [message for of_run in said for message in of_run]
        messages = [*earlier, *messages]
        size += sum(len(message.content.encode()) for message in earlier)
        limit, cursor = limit - len(page.items), page.next_cursor
        if cursor is None or limit == 0 or size >= MAX_BYTES:
            break
    return Chat(
        chat_id=chat_id,
        title=chat.title,
        updated_at=chat.updated_at,
        messages=tuple(messages),
        next_cursor=cursor,
        as_of_position=read.as_of_position,
    )


async def _said(call: ApiCall[Any, Any], run: RunSummary, *, is_first: bool) -> list[ChatMessage]:
    """What a run began with, and its answer. `is_first`: of its chat."""
    begin = await call.deps.store.read_stream(run_stream(run.run_id), limit=1)
    asked: Sequence[Message] = ()
    if begin and isinstance(begin[0].event, RunQueued | RunBlocked):
        asked = begin[0].event.spec.messages
    said = [
        _message(run, str(number), message.role, message.content, run.created_at)
        for number, message in enumerate(asked)
        if message.role != "system" and (is_first or number >= _new_from(asked))
    ]
    answer: RunSnapshot | None = (await call.deps.reads.run(run.run_id)).value
    if answer is not None and answer.text.strip():
        at = answer.finished_at or answer.updated_at
        said.append(_message(run, "answer", "assistant", answer.text, at, cut=answer.text_truncated))
    return said


def _new_from(asked: Sequence[Message]) -> int:
    """The number of the first message after the last one of an assistant: a client may send again what the chat has."""
    return max((number + 1 for number, message in enumerate(asked) if message.role == "assistant"), default=0)


def _message(run: RunSummary, name: str, role: Any, content: str, at: datetime, *, cut: bool = False) -> ChatMessage:
    return ChatMessage(
        id=f"{run.run_id}/{name}",
        role=role,
        content=content[:MAX_CONTENT_CHARS],
        truncated=cut or len(content) > MAX_CONTENT_CHARS,
        run_id=run.run_id,
        created_at=at,
        status=run.state,
    )


_TAG = "chat history"
_PATH = "/api/chat-opencode-history"
ENDPOINTS = (
    Endpoint(
        name="listChats",
        method="GET",
        path=_PATH,
        handler=list_chats,
        tag=_TAG,
        summary="Sessions as chats, the latest first",
        query=ChatsQuery,
        answers={200: Page[ChatSummary]},
        errors=(503,),
        example=Example(query={"userId": "ada", "projectName": "default", "limit": 10}),
    ),
    Endpoint(
        name="nameChat",
        method="POST",
        path=_PATH,
        handler=name_chat,
        tag=_TAG,
        summary="Name a session, which need not exist yet",
        body=NewChatBody,
        body_optional=True,
        max_body=MAX_BODY_BYTES,
        answers={200: TitledChat},
        command=True,
        example=Example(body={"chatId": "c1", "title": "The flaky test", "userId": "ada", "appId": "shop"}),
    ),
    Endpoint(
        name="getChat",
        method="GET",
        path=f"{_PATH}/{{chatId}}",
        handler=get_chat,
        tag=_TAG,
        summary="A chat with its messages",
        query=ChatQuery,
        answers={200: Chat},
        errors=(404, 503),
    ),
    Endpoint(
        name="retitleChat",
        method="PUT",
        path=f"{_PATH}/{{chatId}}",
        handler=put_chat,
        tag=_TAG,
        summary="Record a chat's title; its messages are what the log has",
        body=ChatTitleBody,
        body_optional=True,
        max_body=MAX_BODY_BYTES,
        answers={200: RetitledChat},
        command=True,
        errors=(404, 503),
        example=Example(body={"title": "The shop's prices"}),
    ),
)
