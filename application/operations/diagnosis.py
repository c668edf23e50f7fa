"""The diagnosis of an installation: checks that are run one after the other, and their results."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

CHECK_TIMEOUT_S = 15.0


class CheckResult(msgspec.Struct, frozen=True, kw_only=True):
    """`mend` says what to do about a warning or an error."""

    name: str
    status: Literal["ok", "warning", "error"]
    detail: str
    mend: str = ""


@dataclass(frozen=True, kw_only=True)
class Check:
    """Whatever `run` raises is an error of this check, to be mended as `mend` says. `needs` names an earlier check: if
    that has an error, this one is not run."""

    name: str
    run: Callable[[], Awaitable[Sequence[CheckResult]]]
    needs: str = ""
    mend: str = ""


async def diagnose(checks: Sequence[Check], *, plain_errors: tuple[type[Exception], ...] = ()) -> list[CheckResult]:
    """The results of all checks, in their order. `plain_errors`: errors that are shown without
    their type, since their text says enough. Never raises."""
    results: list[CheckResult] = []
    for check in checks:
        if any(result.name == check.needs and result.status == "error" for result in results):
            detail = f"not looked at without {check.needs}"
            results.append(CheckResult(name=check.name, status="warning", detail=detail))
        else:
            results += await _results(check, plain_errors)
    return results


async def _results(check: Check, plain_errors: tuple[type[Exception], ...]) -> Sequence[CheckResult]:
    mend = ""
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            return await check.run()
    except TimeoutError:
        detail = f"no answer within {CHECK_TIMEOUT_S:g} s"
    except plain_errors as error:
        detail, mend = str(error), check.mend
    except Exception as error:  # noqa: BLE001  # whatever a check raises is what it found
        detail, mend = f"{type(error).__name__}: {error}", check.mend
    return [CheckResult(name=check.name, status="error", detail=detail, mend=mend)]
