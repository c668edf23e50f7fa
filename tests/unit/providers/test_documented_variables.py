"""The configuration page names every variable that a provider takes."""

from pathlib import Path

from interfaces.bootstrap.agents import declared_variables
from interfaces.cli.settings_reference import render_others, render_reference

PAGE = Path(__file__).resolve().parents[3] / "docs/reference/configuration.md"


def test_every_variable_of_a_provider_is_named() -> None:
    for credentials, variables in declared_variables().values():
        assert all(f"`{name}`" in render_others() for name in (*credentials, *variables))


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == render_reference(), (
        "render it again: python -m interfaces.cli.settings_reference > docs/reference/configuration.md"
    )
