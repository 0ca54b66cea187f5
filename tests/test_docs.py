"""What the documents say is so: rules, commands, settings, routes, tables, files and links."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.routing import APIRoute
from pydantic import SecretStr

from collector.profile import check
from rules.catalogue import Rule, catalogue
from service_api.app import NOUNS
from service_api.cli import parser
from service_api.jobs import jobs
from service_api.settings import Settings

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
TEXTS = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in DOCUMENTS}
EVERYTHING = "\n".join(TEXTS.values())
RULES, OPERATIONS = TEXTS["docs/rules.md"], TEXTS["docs/operations.md"]
MIGRATIONS = "\n".join(p.read_text() for p in sorted((ROOT / "migrations/versions").glob("*.py")))

each_document = pytest.mark.parametrize("name", TEXTS)


def inline(text: str) -> list[str]:
    """Return what stands between backticks, outside of fenced blocks."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))


def fenced(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def duration(seconds: float) -> str:
    for size, word in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds and seconds % size == 0:
            return f"{seconds / size:g} {word}"
    return f"{seconds:g} s" if seconds else "at once"


def row_of(rule: Rule) -> str:
    """Write the row that a rule has in docs/rules.md."""
    condition = f"`{' '.join(rule.condition.text.split())}`"
    if rule.clear is not None:
        condition += f"<br>over: `{' '.join(rule.clear.text.split())}`"
    if rule.inhibited_by:
        condition += "<br>explained by: " + ", ".join(f"`{key}`" for key in rule.inhibited_by)
    times = [duration(one.total_seconds()) for one in (rule.raise_after, rule.clear_after)]
    cells = [
        f"`{rule.key}`<br>{rule.title_en} {rule.title_zh}",
        rule.severity,
        condition,
        " / ".join(times),
        f"`{rule.ticket.failure_mode}`" if rule.ticket else "–",
        rule.source,
    ]
    return f"| {' | '.join(cells)} |"


@pytest.mark.parametrize("rule", catalogue().values(), ids=lambda rule: rule.key)
def test_a_shipped_rule_stands_in_the_document_as_it_is(rule):
    assert row_of(rule) in RULES.splitlines()


def test_the_document_names_no_rule_that_is_not_shipped():
    assert set(re.findall(r"^\| `(\w+)`<br>", RULES, re.MULTILINE)) == set(catalogue())


def command_lines(text: str) -> Iterator[str]:
    """Yield the project's commands in shell blocks, up to a pipe, and those between backticks."""
    for block in fenced(text, "sh"):
        for line in re.sub(r"\\\n\s*", "", block).splitlines():
            yield from re.findall(r"(?:^|\s)(?:\S*/)?(ridethrough [^|#>;&)]+)", line)
    for words in inline(text):
        if words.startswith("ridethrough "):
            yield words


def test_commands_are_found_in_the_documents():
    assert "ridethrough rules check" in {line.strip() for line in command_lines(TEXTS["README.md"])}


@pytest.mark.parametrize("line", sorted({line.strip() for line in command_lines(EVERYTHING)}))
def test_a_documented_command_is_one(line, capsys):
    words = shlex.split(line)[1:]
    if "--help" in words:
        with pytest.raises(SystemExit) as ended:
            parser().parse_args(words)
        assert ended.value.code == 0
        capsys.readouterr()
    else:
        assert callable(parser().parse_args(words).command)


def test_every_command_is_documented():
    first_words = {line.split()[1] for line in command_lines(EVERYTHING)}
    names = re.findall(r"^    (\w+) {2,}\w", parser().format_help(), re.MULTILINE)
    assert len(names) > 10
    assert set(names) - first_words == set()


def test_a_documented_make_target_is_one():
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {m for text in inline(EVERYTHING) for m in re.findall(r"^make (\w+)", text)}
    named |= {
        m for b in fenced(EVERYTHING, "sh") for m in re.findall(r"^make (\w+)", b, re.MULTILINE)
    }
    assert {"demo", "test"} <= named <= targets


def test_every_setting_is_documented_and_no_other():
    known = {f"RIDETHROUGH_{name.upper()}" for name in Settings.model_fields}
    rows = set(re.findall(r"^\| `(RIDETHROUGH_\w+)` \|", OPERATIONS, re.MULTILINE))
    assert rows == known
    elsewhere = "\n".join(
        (ROOT / name).read_text() for name in ("compose.yaml", ".ci/run", "tests/conftest.py")
    )
    for name in set(re.findall(r"RIDETHROUGH_[A-Z_]*[A-Z]", EVERYTHING)) - known:
        assert name in elsewhere, name


@pytest.mark.parametrize("name", Settings.model_fields)
def test_a_setting_has_the_default_that_is_documented(name):
    default = Settings.model_fields[name].default
    written = "–" if default is None else f"`{str(default).lower()}`"
    assert re.search(
        rf"^\| `RIDETHROUGH_{name.upper()}` \| {re.escape(written)} \|", OPERATIONS, re.MULTILINE
    )


def test_every_job_is_documented_with_its_rhythm():
    settings = Settings(ingest_database_url=SecretStr("postgresql:///unused"))
    for job in jobs(settings).values():
        every = duration(job.every.total_seconds())
        assert re.search(rf"^\| `{job.name}` \| {every} \|", OPERATIONS, re.MULTILINE), job.name


def routes() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {"/api/v1/openapi.json": {"GET"}}
    for noun in NOUNS:
        for router in (getattr(noun, "api", None), getattr(noun, "pages", None)):
            for route in router.routes if router is not None else ():
                if isinstance(route, APIRoute):
                    found.setdefault(route.path, set()).update(route.methods)
    return found


ROUTES = routes()


def fits(path: str, pattern: str) -> bool:
    return re.fullmatch(re.sub(r"\{[^}]*\}", "[^/]+", pattern), path) is not None


def asked(text: str) -> Iterator[tuple[str | None, str]]:
    """Yield (method or None, path) of the API's routes that a document names."""
    for method, path in re.findall(
        r"(?:\b(GET|POST|PUT|PATCH|DELETE) )?(/api/v1/[\w/{}.-]*)", text
    ):
        yield method or None, path.rstrip("/.")


@each_document
def test_a_documented_route_is_one(name):
    for method, path in asked(TEXTS[name]):
        found = [methods for pattern, methods in ROUTES.items() if fits(path, pattern)]
        assert found, path
        assert method is None or any(method in methods for methods in found), (method, path)


@each_document
def test_a_documented_page_is_one(name):
    for path in re.findall(r"(?:page|pages) `(/[\w/-]*)`", TEXTS[name]):
        assert any(fits(path, pattern) for pattern in ROUTES), path


@each_document
def test_a_documented_table_is_one(name):
    for table in re.findall(r"(?:table|tables|view|views) `(\w+)`", TEXTS[name]):
        assert re.search(rf"CREATE (?:TABLE|VIEW) {table} ", MIGRATIONS), table


FOLDERS = (
    "rules",
    "collector",
    "device_sims",
    "service_api",
    "migrations",
    "tests",
    "bench",
    "docs",
)


@each_document
def test_a_documented_file_is_there(name):
    for words in inline(TEXTS[name]):
        first = words.partition("/")[0]
        is_path = first in FOLDERS and "/" in words and not re.search(r"[\s*{…]", words)
        if is_path:
            assert (ROOT / words).exists(), words


@each_document
def test_a_link_leads_somewhere(name):
    for target in re.findall(r"(?<!!)\[[^\]]*\]\(([^)]+)\)", TEXTS[name]):
        path, _, heading = target.partition("#")
        if path.startswith(("http://", "https://")):
            continue
        there = (ROOT / name).parent / path if path else ROOT / name
        assert there.exists(), target
        if heading:
            titles = re.findall(r"^#+ (.+)$", there.read_text(encoding="utf-8"), re.MULTILINE)
            anchors = {re.sub(r"[^\w\- ]", "", t.lower()).replace(" ", "-") for t in titles}
            assert heading in anchors, target


@each_document
def test_a_document_does_not_shout(name):
    prose = re.sub(r"```.*?```|`[^`\n]*`|!\[", "", TEXTS[name], flags=re.DOTALL)
    assert "!" not in prose
    assert "！" not in prose


@pytest.mark.parametrize("text", fenced(TEXTS["docs/add-your-ups.md"], "yaml"))
def test_the_example_of_a_profile_is_sound(text, tmp_path):
    path = tmp_path / "example.yaml"
    path.write_text(text, encoding="utf-8")
    assert check(path) == []
