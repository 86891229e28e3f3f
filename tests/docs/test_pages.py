"""What the pages name exists: files, headings, commands and their flags."""

import ast
import pathlib
import re
import shlex

import pytest
from command_lines import parse_command
from google.protobuf import text_format

from easyssl.config import load_config
from easyssl.config.messages import message_class, message_names

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES = sorted(str(p.relative_to(ROOT)) for p in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
PROGRAMS = {"easyssl", "python", "python3", "pip", "sh", "docker", "curl", "."}
# Folders whose content is in the repository; what `easyssl data` makes is not.
KEPT = re.compile(r"(benchmarks|docs|easyssl|protos|samples(?!/data/)|tests)/[\w./-]*\w$")


def read(page):
    return (ROOT / page).read_text(encoding="utf-8")


def without_code(text, instead=""):
    return re.sub(r"^```.*?^```", instead, text, flags=re.MULTILINE | re.DOTALL)


def anchors(page):
    """The anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", without_code(read(page)), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands(page):
    """The command lines in the shell blocks of a page, as words without variables."""
    for block in re.findall(r"^ *```sh\n(.*?)^ *```", read(page), flags=re.MULTILINE | re.DOTALL):
        pending = ""
        for line in block.replace("\\\n", " ").splitlines():
            pending += line + "\n"
            try:
                words = shlex.split(pending, comments=True)
            except ValueError:  # a quotation goes on in the next line
                continue
            pending = ""
            yield from without_variables(words)
        assert not pending, f"{page}: {pending}"


def without_variables(words):
    """Splits the words of a line into commands, without the variables that are set in front of them."""
    command = []
    for word in [*words, "&&"]:
        if word in ("&&", "&"):
            if command:
                yield command
            command = []
        elif command or not re.match(r"[A-Z_]+=", word):
            command.append(word)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(read(page))):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        path = ((ROOT / page).parent / file).resolve() if file else ROOT / page
        assert path.exists(), f"{page}: {target}"
        if anchor and path.suffix == ".md":
            assert anchor in anchors(path.relative_to(ROOT)), f"{page}: {target}"


@pytest.mark.parametrize("page", PAGES)
def test_commands_are_there_and_take_their_flags(page):
    for words in commands(page):
        program = words[0].removeprefix(".venv/bin/")
        assert program in PROGRAMS, f"{page}: {words}"
        if program == "easyssl" and not words[1].startswith("--"):
            args = parse_command(words[1:])
            if getattr(args, "config", "").startswith("samples/"):
                load_config(str(ROOT / args.config), overrides=args.overrides)
        if program == "pip":
            for extra in re.findall(r"\[(\w+)\]", " ".join(words)):
                assert f'"{extra}":' in (ROOT / "setup.py").read_text()
        for word in words[1:]:
            if KEPT.match(word) and f" --out {word}" not in shlex.join(words):
                assert (ROOT / word).exists(), f"{page}: {word}"


def config_snippets(page):
    """The parts of configs on a page, without the dots for what is left out."""
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```$", read(page), flags=re.MULTILINE | re.DOTALL):
        text = re.sub(r"(?<!\S)\.\.\.(?!\S)", "", block)
        # Blocks of what a command prints begin with neither a message nor a value.
        if not language and re.match(r"\s*(#.*\n\s*)*\w+(:? *\{|: *[\"'\[]|: *\w+ *(#.*)?\n)", text):
            yield text


def fits(text, name):
    try:
        text_format.Merge(text, message_class(name)())
    except text_format.ParseError:
        return False
    return True


@pytest.mark.parametrize("page", PAGES)
def test_parts_of_configs_can_be_read(page):
    for text in config_snippets(page):
        assert any(fits(text, name) for name in ["PipelineConfig", *message_names()]), f"{page}: {text}"


def test_pages_with_parts_of_configs_are_recognized():
    number = {page: len(list(config_snippets(page))) for page in PAGES}
    assert number["docs/components.md"] > 50 and number["docs/two-towers.md"] >= 3
    assert number["docs/quickstart.md"] == 0


@pytest.mark.parametrize("page", PAGES)
def test_files_named_in_the_text_exist(page):
    for name in re.findall(r"`([^`\n]+)`", without_code(read(page))):
        if KEPT.match(name) and "NAME" not in name:
            assert (ROOT / name).exists(), f"{page}: {name}"


@pytest.mark.parametrize("page", PAGES)
def test_modules_and_names_of_ours_exist(page):
    """`easyssl.a.b.name` in the text is a module, or a name that its module has."""
    for dotted in set(re.findall(r"`(easyssl(?:\.\w+)+)[`(]", without_code(read(page)))):
        parts = dotted.split(".")
        depth = max(n for n in range(1, len(parts) + 1) if source(parts[:n]) is not None)
        if rest := parts[depth:]:
            text = source(parts[:depth]).read_text(encoding="utf-8")
            assert rest[0] in names(ast.parse(text)), f"{page}: {dotted}"


def source(parts):
    path = ROOT.joinpath(*parts)
    return next((p for p in (path.with_suffix(".py"), path / "__init__.py") if p.exists()), None)


def names(tree):
    found = {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef | ast.FunctionDef)}
    found |= {
        a.asname or a.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for a in node.names
    }
    return found


@pytest.mark.parametrize("page", PAGES)
def test_no_two_blank_lines_in_a_row(page):
    assert "\n\n\n" not in without_code(read(page), instead="code")
