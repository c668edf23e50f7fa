"""The diagnosis of an installation: every check is heard, whatever becomes of the others."""

import asyncio
from collections.abc import Sequence

import pytest

from application.operations import diagnosis
from application.operations.diagnosis import Check, CheckResult, diagnose
from tests.support.async_run import run


class WrongSetting(Exception):
    """Its text says what to do."""


def check(name: str, *, needs: str = "", mend: str = "", error: Exception | None = None) -> Check:
    async def look() -> Sequence[CheckResult]:
        if error is not None:
            raise error
        return [CheckResult(name=name, status="ok", detail="works")]

    return Check(name=name, run=look, needs=needs, mend=mend)


def test_what_a_check_raises_is_its_error_and_says_how_to_mend_it() -> None:
    checks = (check("database", error=ConnectionError("refused"), mend="start it"), check("disk"))

    assert run(diagnose(checks)) == [
        CheckResult(name="database", status="error", detail="ConnectionError: refused", mend="start it"),
        CheckResult(name="disk", status="ok", detail="works"),
    ]


def test_an_error_that_explains_itself_is_shown_without_its_type() -> None:
    (result,) = run(
        diagnose((check("providers", error=WrongSetting("KEY_FILE: not there")),), plain_errors=(WrongSetting,))
    )

    assert (result.status, result.detail) == ("error", "KEY_FILE: not there")


def test_a_check_whose_need_is_in_error_is_left_out() -> None:
    checks = (check("database", error=ValueError("x")), check("projections", needs="database"))

    _, left_out = run(diagnose(checks))

    assert left_out == CheckResult(name="projections", status="warning", detail="not looked at without database")


def test_a_check_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, "CHECK_TIMEOUT_S", 0.01)

    async def hang() -> Sequence[CheckResult]:
        await asyncio.Event().wait()
        return []

    (result,) = run(diagnose((Check(name="docker", run=hang, mend="start it"),)))

    assert result == CheckResult(name="docker", status="error", detail="no answer within 0.01 s")


def test_a_check_may_have_several_results() -> None:
    both = [CheckResult(name=name, status="ok", detail="") for name in ("one", "other")]

    async def look() -> Sequence[CheckResult]:
        return both

    assert run(diagnose((Check(name="providers", run=look),))) == both
