"""Code under test, held still wherever it asks the outside: a coroutine whose every `await` ends in an `Ask`.

The explorer answers an ask when it likes, in whatever order. A coroutine can't be copied, but one that always gets the
same answers does the same: a held one is kept as the answers that it has got, and brought back by giving them again.
"""

from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["store", "look", "act", "wait"]


@dataclass(frozen=True)
class Ask:
    """`store`: answered at once, as one step with what comes before and after. `look`: answered in the step that goes
    on. `act`: changes the world; others may come in before it, and between it and its answer. `wait`: until it holds.
    """

    kind: Kind
    name: str
    call: Callable[[Any], Any]

    def __await__(self) -> Generator["Ask", Any, Any]:
        answer = yield self
        if isinstance(answer, Exception):
            raise answer
        return answer


Answers = tuple[Any, ...]


@dataclass(frozen=True)
class Held:
    """Where a coroutine stands: the answers so far, and the ask that it waits at. With `answered`, that ask has its
    answer already, which the coroutine has not seen yet."""

    answers: Answers
    at: Ask
    answered: tuple[Any] | None = None


def go_on(coroutine: Coroutine[Any, Any, None], answers: Answers, model: Any) -> Held | None:
    """Run it over the answers that it has got, and on to the next ask that is not the store's. None: it has ended."""
    given = list(answers)
    try:
        ask = _next_ask(coroutine, None)
        for answer in answers:
            ask = _next_ask(coroutine, answer)
        while ask.kind == "store":
            given.append(answered(ask, model))
            ask = _next_ask(coroutine, given[-1])
    except StopIteration:
        return None
    coroutine.close()
    return Held(tuple(given), ask)


def _next_ask(coroutine: Coroutine[Any, Any, None], answer: Any) -> Ask:
    """Turns that it gives to others (`asyncio.sleep(0)`) ask for nothing."""
    ask = coroutine.send(answer)
    while ask is None:
        ask = coroutine.send(None)
    return ask


def answered(ask: Ask, model: Any) -> Any:
    """The answer to an ask, an error among them."""
    try:
        return ask.call(model)
    except AssertionError:
        raise
    except Exception as error:  # noqa: BLE001  an answer like any other
        return error
