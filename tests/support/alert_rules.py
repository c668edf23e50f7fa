"""What the page on alerts says: its rules, the files that it loads them with, and its table of what to do."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ALERTS = ROOT / "docs/how-to/alerts.md"
OBSERVE = ROOT / "docs/how-to/observe.md"
BLOCK = re.compile(r"^( *)```yaml\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
RULE = re.compile(
    r"^ {6}- alert: (?P<name>Fleetlog\w+)\n {8}expr: (?P<expression>.+)\n(?: {8}for: (?P<duration>\d+[smh])\n)?"
    r" {8}labels: \{severity: (?P<severity>page|ticket)\}\n"
    r" {8}annotations: \{summary: \"(?P<summary>.+)\"\}\n",
    re.MULTILINE,
)
DURATION = re.compile(r"^ {8}for: \d+[smh]\n", re.MULTILINE)


@dataclass(frozen=True)
class Rule:
    """`duration`: how long the expression holds before it fires; empty: at once."""

    name: str
    expression: str
    duration: str
    severity: str
    summary: str


def block(page: Path, key: str) -> str:
    """The block of YAML on the page that begins with this key, without its indentation."""
    found = [
        "".join(line.removeprefix(indent) for line in text.splitlines(keepends=True))
        for indent, text in BLOCK.findall(page.read_text(encoding="utf-8"))
    ]
    (one,) = (text for text in found if text.startswith(f"{key}:"))
    return one


def rules_file() -> str:
    """As it is on the page."""
    return block(ALERTS, "groups")


def impatient_rules_file() -> str:
    """The same rules, which fire as soon as their expressions hold."""
    return DURATION.sub("", rules_file())


def rules() -> dict[str, Rule]:
    text = rules_file()
    found = [Rule(**{name: value or "" for name, value in match.groupdict().items()}) for match in RULE.finditer(text)]
    assert len(found) == text.count("- alert:"), "a rule is not written as the others are"
    return {rule.name: rule for rule in found}


def told_in_the_table() -> list[str]:
    """The alerts that the page says what to do about."""
    return re.findall(
        r"^\| `(Fleetlog\w+)` \| [^|]{20,} \| [^|]{20,} \|$", ALERTS.read_text(encoding="utf-8"), re.MULTILINE
    )
