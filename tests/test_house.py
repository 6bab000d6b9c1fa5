"""The laws of the house, held over the text of promptry.py, which is parsed and never imported.

`find_violations(source)` returns one sentence per breach: its line, its section, the law, and what to do. Each law is
one function below, named in LAWS. The tests run every law on the real file, and on copies that were broken on purpose:
a law that never complains is not kept.

What counts as a use of a name: reading, calling or rebinding a module-level name anywhere that runs: function bodies,
decorators, default values, base classes, class bodies, tables at module level. Annotations count too: they never run
(`from __future__ import annotations`), but a reader meets the name in them and mypy resolves it. What does not count:
attribute and keyword names, text, and a parameter or local variable of the same name.
"""

from __future__ import annotations

import ast
import bisect
import gc
import re
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent

MAX_FUNCTION_LINES = 60
MAX_SECTION_LINES = 450
MAX_FILE_LINES = 30_000

TOP_LEVEL = {"promptry.py", "build.py", "pyproject.toml", "assets", "tests", "dist", "action.yml", "install.sh"}
TOP_LEVEL |= {"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", ".gitignore", ".github", ".ci"}

PROMISED_MODULES = sys.stdlib_module_names | {"peewee", "click"}
STAMPED_DATA = {"_EMBEDDED"}  # build.py writes it at the foot: the one name that may be used from above
STORE_DOORS = {"connect", "transact", "write_lock", "fetch", "query", "statements"}  # they take SQL, or lead to it
FACES_MUST_NOT_IMPORT = {"statistics", "scipy", "numpy", "decimal", "sqlite3", "peewee"}
FORBIDDEN_CLASS_WORDS = ("Manager", "Storage", "Registry")
CLOCK_READS = {
    f"time.{name}{unit}" for name in ("time", "monotonic", "perf_counter", "process_time") for unit in ("", "_ns")
}
CLOCK_READS |= {"datetime.datetime.now", "datetime.datetime.utcnow", "datetime.datetime.today", "datetime.date.today"}
MODEL_WRITES = {"insert", "insert_many", "insert_from", "replace", "replace_many", "update", "delete", "create"}
MODEL_WRITES |= {"bulk_create", "bulk_update", "get_or_create", "set_by_id", "delete_by_id"}

# The tests of a section are in tests/test_<section>.py, but for these.
TESTS_ELSEWHERE = {
    "TABLES": "test_schema",  # the models are held to the migrated file, table by table
    "COMMANDS": "test_cli",  # told there, made and called here
    "APPLICATION": "test_dashboard",  # it takes a server to be asked
    "MAIN": "test_cli",  # it only starts the CLI
    "EMBEDDED": "test_build",  # empty in the source; build.py stamps it
}

# Where everything may be caught: function -> why. A handler that ends in a bare `raise` needs no entry.
BROAD_EXCEPTS = {
    "track": "never breaks the caller",
    "render_prompt": "never breaks the caller: the text in the code is served",
    "_text_of": "str() of a caller's variable is not our code",
    "get_prompt_template": "never breaks the caller: the text in the code is served",
    "seed_prompt": "never breaks the caller",
    "record_call": "never breaks the caller",
    "flush_kept_rows": "runs at exit, where nobody could catch it",
    "_ship_quietly": "a thread beside the application; what failed is noted, and the rows wait in the store",
    "check_all": "a check is not our code; what it raises goes on, once all were made",
    "_emitting": "a case is not our code; what it raises is stored as its error",
    "_take": "what keeps a case from starting is raised where the run goes on",
    "_work": "what a case could not keep is raised where the run goes on",
    "_start_task": "what a case could not keep is raised where the run goes on",
    "run_command": "the faces' one translator",
    "_respond": "the one translator of the API",
    "_answered": "the one translator of the tools",
    "_run_trial": "the translator of a stream, which has begun before it fails",
    "safe_repr": "repr() of a caller's value is not our code",
    "_quietly": "never breaks the caller: his call of a provider goes on unrecorded",
    "_Watch": "whatever ends a stream is recorded, and raised again",
    "_note_chunk": "never breaks the caller: his stream goes on unrecorded",
    "plain_usage": "a provider's usage object is not our code",
    "open_response": "a provider's response is not our code",
    "call_function": "a user's function is not our code; what it raises becomes a ProviderError",
    "find_function": "a user's module is not our code; becomes a ConfigError",
    "_items_in_code": "what gives the items is not our code; becomes a WrongUse",
    "_import_from": "a suite's module is not our code; becomes a ConfigError",
}


# --------------------------------------------------------------------------------------
# Reading the house
# --------------------------------------------------------------------------------------

PREFACE = "(preface)"
RULE = "# " + "=" * 86
SQL = re.compile(
    r"\bSELECT\b[\s\S]+\bFROM\b|\bINSERT (OR \w+ )?INTO\b|\bREPLACE INTO\b|\bUPDATE\s+\w+\s+SET\b|\bDELETE FROM\b"
    r"|\bWITH\s+(RECURSIVE\s+)?\w+\s*(\([^)]*\)\s*)?AS\s*\(|^\s*PRAGMA\b"
)
SQL_WRITE = re.compile(
    r"\s*(?:INSERT\s+(?:OR\s+\w+\s+)?INTO|REPLACE\s+INTO|UPDATE(?:\s+OR\s+\w+)?|DELETE\s+FROM)\s+(\w+)"
)

Function = ast.FunctionDef | ast.AsyncFunctionDef
Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


class Section(NamedTuple):
    """A section: its title line, first and last line, sentence, and the lists its banner gives by keyword."""

    name: str
    title: int
    first: int
    last: int
    sentence: str
    lists: dict[str, set[str]]


class Definition(NamedTuple):
    """A name that is bound at module level."""

    name: str
    line: int
    section: str


class Use(NamedTuple):
    """A use of a module-level name in another section than the one that defines it."""

    name: str
    line: int
    section: str
    home: str


class Export(NamedTuple):
    """A name in `__all__` and the comment above it, which names a section."""

    name: str
    line: int
    group: str


class House(NamedTuple):
    """All that the laws look at; sections[0] is the preface, floors is the map in the docstring."""

    lines: list[str]
    tree: ast.Module
    nodes: list[ast.AST]
    sections: list[Section]
    floors: dict[str, list[str]]
    definitions: list[Definition]
    homes: dict[str, str]
    uses: list[Use]
    exports: list[Export]
    allowed_excepts: dict[str, str]

    def __repr__(self) -> str:
        return f"House of {len(self.lines)} lines"


class Violation(NamedTuple):
    """A breach of a law; the message says what to do."""

    line: int
    section: str
    law: str
    message: str

    def __str__(self) -> str:
        return f"line {self.line}, {self.section}: [{self.law}] {self.message}"


def read_house(source: str, allowed_excepts: dict[str, str] = BROAD_EXCEPTS) -> House:
    """Parse a source once, and find its sections, names and uses."""
    lines, tree = source.split("\n"), parse_undisturbed(source)
    sections = read_sections(lines)
    definitions = read_definitions(tree, sections)
    homes = {definition.name: definition.section for definition in reversed(definitions)}
    return House(
        lines,
        tree,
        list(ast.walk(tree)),
        sections,
        read_floors(ast.get_docstring(tree, clean=False) or ""),
        definitions,
        homes,
        list(find_uses(tree, sections, homes)),
        list(read_exports(tree, lines)),
        allowed_excepts,
    )


def parse_undisturbed(source: str) -> ast.Module:
    """Parse a source with no garbage collection in between: CPython 3.11 counts what that runs as depth of the tree."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        return ast.parse(source)
    finally:
        if was_on:
            gc.enable()


def read_sections(lines: list[str]) -> list[Section]:
    """Cut a file at its banners; what stands above the first is the preface."""
    titles = [number for number, line in enumerate(lines, 1) if line.startswith("# === ")]
    ends = [title - 2 for title in titles[1:]] + [len(lines)]
    preface = Section(PREFACE, 1, 1, titles[0] - 2 if titles else len(lines), "", {})
    return [preface, *(read_section(lines, title, end) for title, end in zip(titles, ends, strict=False))]


def read_section(lines: list[str], title: int, last: int) -> Section:
    """Read a banner: `# === NAME: sentence`, a rule, then `# Uses:`, `# Writes:`, `# Public:`, each to a full stop."""
    name, _, sentence = lines[title - 1].removeprefix("# === ").partition(":")
    head = ""
    for line in lines[title + 1 : last]:
        if not re.match(r"# (Uses|Writes|Public): |#   \S", line):
            break
        head += line[1:]
    found = re.findall(r"(Uses|Writes|Public): ([^:]*?)\.(?=\s|$)", head)
    lists = {keyword: {name.strip() for name in names.split(",")} - {"nothing"} for keyword, names in found}
    return Section(name.strip(), title, title - 1, last, sentence.strip(), lists)


def section_at(sections: list[Section], line: int) -> str:
    """Return the name of the section that a line is in."""
    return sections[bisect.bisect_right([section.first for section in sections], line) - 1].name


def read_definitions(tree: ast.Module, sections: list[Section]) -> list[Definition]:
    """List what is bound at module level from top to bottom; `|=` adds to a name and defines none.

    Of `if TYPE_CHECKING: ... else: ...` only what runs counts: the other branch tells the checker of the same names.
    """
    body: list[ast.stmt] = []
    for statement in tree.body:
        is_told = isinstance(statement, ast.If) and ast.unparse(statement.test) == "TYPE_CHECKING"
        body += statement.orelse if is_told else [statement]  # type: ignore[attr-defined]
    found = bindings(statement for statement in body if not isinstance(statement, ast.AugAssign))
    in_order = sorted(found, key=lambda pair: pair[1])
    return [Definition(name, line, section_at(sections, line)) for name, line in in_order]


def read_floors(docstring: str) -> dict[str, list[str]]:
    """Read the map: lines such as `    STORE    TABLES · MIGRATIONS`, indented by four, FLOOR before its sections."""
    found = re.findall(r"^ {4}([A-Z]+) +([A-Z]+(?:\s+·\s+[A-Z]+)*)[ ]*$", docstring, re.MULTILINE)
    return {floor: re.findall(r"[A-Z]+", names) for floor, names in found}


def read_exports(tree: ast.Module, lines: list[str]) -> Iterator[Export]:
    """Give the names in `__all__`, each with the nearest comment above it."""
    for statement in tree.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id="__all__")], value=ast.List(elts=elements)):
                for element in elements:
                    above = (line.strip() for line in reversed(lines[statement.lineno : element.lineno]))
                    group = next((line[2:] for line in above if line.startswith("# ")), "")
                    yield Export(ast.literal_eval(element), element.lineno, group)


# --------------------------------------------------------------------------------------
# Which names a piece of code binds, and which it uses
# --------------------------------------------------------------------------------------


def own_nodes(body: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """Give the nodes that belong to a scope itself: nested functions, classes and comprehensions are not entered."""
    pending = list(body)
    while pending:
        node = pending.pop()
        yield node
        if isinstance(node, Comprehension):
            pending.extend(inner for inner in ast.walk(node) if isinstance(inner, ast.NamedExpr))
        elif not isinstance(node, Function | ast.ClassDef | ast.Lambda):
            pending.extend(ast.iter_child_nodes(node))


def bindings(body: Iterable[ast.AST]) -> Iterator[tuple[str, int]]:
    """Give each (name, line) that a scope binds: assignments, imports, definitions, handlers, patterns."""
    for node in own_nodes(body):
        match node:
            case ast.Name(id=name, ctx=ast.Store()):
                yield name, node.lineno
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name, node.lineno
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                yield from ((alias.asname or alias.name.partition(".")[0], node.lineno) for alias in aliases)
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                yield name, node.lineno
            case ast.MatchMapping(rest=str(name)):
                yield name, node.lineno


def arguments_of(arguments: ast.arguments) -> list[ast.arg]:
    """Return all parameters of a function."""
    starred = [argument for argument in (arguments.vararg, arguments.kwarg) if argument is not None]
    return [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, *starred]


class Scope(NamedTuple):
    """The names that a function, class or comprehension keeps to itself, and those it declares global."""

    names: set[str]
    declared: set[str]
    is_class: bool = False


class UseFinder(ast.NodeVisitor):
    """Finds the names that code takes from module level, as Python would: by scopes."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []
        self.found: list[tuple[str, int]] = []

    def visit_Name(self, node: ast.Name) -> None:
        if not self.is_hidden(node.id):
            self.found.append((node.id, node.lineno))

    def is_hidden(self, name: str) -> bool:
        """Tell whether a name means something local; a class body is seen from itself only."""
        for depth, scope in enumerate(reversed(self.scopes)):
            if name in scope.declared:
                return False
            if name in scope.names and (depth == 0 or not scope.is_class):
                return True
        return False

    def visit_FunctionDef(self, node: Function) -> None:
        arguments = arguments_of(node.args)
        self.visit_all(*node.decorator_list, *node.args.defaults, *node.args.kw_defaults)
        self.visit_all(*(argument.annotation for argument in arguments), node.returns)
        self.visit_within(node.body, {argument.arg for argument in arguments})

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self.visit_all(*node.args.defaults, *node.args.kw_defaults)
        self.visit_within([node.body], {argument.arg for argument in arguments_of(node.args)})

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.visit_all(*node.decorator_list, *node.bases, *node.keywords)
        self.visit_within(node.body, set(), is_class=True)

    def visit_comprehension_scope(self, node: Comprehension) -> None:
        """Visit a comprehension: its first iterable belongs to the scope around it, its targets to itself."""
        first, *others = node.generators
        self.visit(first.iter)
        results = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        targets = [generator.target for generator in node.generators]
        self.scopes.append(Scope({name for name, _ in bindings(targets)}, set()))
        self.visit_all(*results, *first.ifs, *others)
        self.scopes.pop()

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = visit_comprehension_scope

    def visit_within(self, body: list[ast.stmt] | list[ast.expr], names: set[str], is_class: bool = False) -> None:
        """Visit the body of a new scope."""
        declared = {name for node in own_nodes(body) if isinstance(node, ast.Global) for name in node.names}
        bound = {name for name, _ in bindings(body)} - declared
        self.scopes.append(Scope(names | bound, declared, is_class))
        self.visit_all(*body)
        self.scopes.pop()

    def visit_all(self, *nodes: ast.AST | None) -> None:
        """Visit nodes, leaving out the places where there is none."""
        for node in nodes:
            if node is not None:
                self.visit(node)


def find_uses(tree: ast.Module, sections: list[Section], homes: dict[str, str]) -> Iterator[Use]:
    """Give the uses that cross a border between sections; the stamped data at the foot is nobody's neighbour."""
    finder = UseFinder()
    finder.visit(tree)
    for name, line in finder.found:
        section = section_at(sections, line)
        if homes.get(name, section) != section and name not in STAMPED_DATA:
            yield Use(name, line, section, homes[name])


# --------------------------------------------------------------------------------------
# The laws: each takes a House and gives (line, what to do) for every breach
# --------------------------------------------------------------------------------------

Breaches = Iterator[tuple[int, str]]


def the_map_lists_the_sections(house: House) -> Breaches:
    """The docstring's map lists exactly the banners, in order."""
    there, mapped = list(dict.fromkeys(section.name for section in house.sections[1:])), sections_on_map(house)
    for name in unwritten_sections(house):
        advice = f"the docstring's map lists {name}, which has no banner: write the section or take it off the map."
        yield 1, advice
    for section in house.sections[1:]:
        if section.name not in mapped:
            yield section.title, f"{section.name} is not on the docstring's map: add it to its floor."
    shared = [name for name in mapped if name in there]
    for wanted, found in zip(shared, (name for name in there if name in mapped), strict=False):
        if wanted != found:
            yield 1, f"the docstring's map has {wanted} where the file has {found}: bring them into one order."
            return


def sections_on_map(house: House) -> list[str]:
    """Return the sections that the docstring lists, from the ground up."""
    return [name for names in house.floors.values() for name in names]


def unwritten_sections(house: House) -> list[str]:
    """Return the sections that are on the map and not in the file."""
    there = {section.name for section in house.sections}
    return [name for name in sections_on_map(house) if name not in there]


def sections_have_names_of_their_own(house: House) -> Breaches:
    """No two sections share a name."""
    counts = Counter(section.name for section in house.sections)
    for section in house.sections:
        if counts[section.name] > 1:
            counts[section.name] -= 1
            yield section.title, f"two sections are called {section.name}: split by noun, never 'part 2'."


def banners_have_their_form(house: House) -> Breaches:
    """A banner is rule, title, rule, Uses, Public."""
    for section in house.sections[1:]:
        lines = [*house.lines, "", ""]
        above, below, after = lines[section.title - 2], lines[section.title], lines[section.title + 1]
        if not re.fullmatch(r"# === [A-Z]+: \S.*", house.lines[section.title - 1]):
            yield section.title, "the title is not '# === NAME: sentence'."
        if above != RULE or below != RULE:
            yield section.title, f"a title stands between two rules: '{RULE[:8]}...' of {len(RULE)} signs."
        if not after.startswith("# Uses: ") or not {"Uses", "Public"} <= section.lists.keys():
            advice = "'# Uses: A, B.' and '# Public: a, b.' follow, each with a full stop; 'nothing.' for none."
            yield section.title, advice


def uses_go_down_only(house: House) -> Breaches:
    """A section uses only what sections above it define."""
    order = {section.name: place for place, section in enumerate(house.sections)}
    for use in house.uses:
        if order[use.home] > order[use.section]:
            advice = f"'{use.name}' is defined further down, in {use.home}: move one of the two, or pass the value in."
            yield use.line, advice


def uses_lines_are_true(house: House) -> Breaches:
    """`# Uses:` names exactly the sections that a section uses."""
    order = {section.name: place for place, section in enumerate(house.sections)}
    for section in house.sections[1:]:
        seen = {use.home: use for use in reversed(house.uses) if use.section == section.name and use.home != PREFACE}
        said = section.lists.get("Uses", set())
        for home in sorted(seen.keys() - said, key=order.__getitem__):
            if order[home] < order[section.name]:
                yield seen[home].line, f"'{seen[home].name}' is of {home}: add {home} to '# Uses:' of {section.name}."
        for home in sorted(said - seen.keys()):
            yield section.title, f"'# Uses:' names {home}, and nothing here uses it: take it out."


def public_lines_are_true(house: House) -> Breaches:
    """`# Public:` names exactly what the section adds to `__all__`."""
    exported = {export.name: export for export in house.exports}
    said = {name: section.name for section in house.sections[1:] for name in section.lists.get("Public", set())}
    for section in house.sections[1:]:
        for name in sorted(section.lists.get("Public", set())):
            if house.homes.get(name) != section.name:
                yield section.title, f"'# Public:' names '{name}', which {section.name} does not define: take it out."
            elif name not in exported:
                advice = f"'{name}' is public here and not in __all__: add it there under '# {section.name}'."
                yield section.title, advice
    for name, export in exported.items():
        if name in house.homes and said.get(name) is None:
            yield export.line, f"'{name}' is in __all__: name it in '# Public:' of {house.homes[name]}, or take it out."


def all_lists_what_exists(house: House) -> Breaches:
    """`__all__` names what exists, once, below the name of its section."""
    for name, count in Counter(export.name for export in house.exports).items():
        if count > 1:
            yield house.exports[0].line, f"'{name}' stands {count} times in __all__: keep one."
    for export in house.exports:
        home = house.homes.get(export.name)
        if home is None and not unwritten_sections(house):
            yield export.line, f"'{export.name}' is in __all__ and defined nowhere: define it or take it out."
        elif home is not None and home != export.group:
            advice = f"'{export.name}' stands below '# {export.group}' in __all__ and is defined in {home}: move it."
            yield export.line, advice


def writes_lines_are_true(house: House) -> Breaches:
    """`# Writes:` names exactly the tables that the section's own statements write."""
    models = tables_by_model(house)
    written = [(table, line) for node in house.nodes for table, line in tables_written_by(node, models)]
    for section in house.sections[1:]:
        said = section.lists.get("Writes", set())
        seen = {table: line for table, line in written if section.first <= line <= section.last}
        for table in sorted(seen.keys() - said):
            yield seen[table], f"this writes {table}: add it to '# Writes:' of {section.name}."
        for table in sorted(said - seen.keys()):
            advice = f"'# Writes:' names {table}, which no statement of {section.name} writes itself: take it out."
            yield section.title, advice


def tables_by_model(house: House) -> dict[str, str]:
    """Return the table of each model: the text assigned to `table_name` in its Meta."""
    found = {}
    for model in house.tree.body:
        if isinstance(model, ast.ClassDef):
            for node in ast.walk(model):
                match node:
                    case ast.Assign(targets=[ast.Name(id="table_name")], value=ast.Constant(value=str(table))):
                        found[model.name] = table
    return found


def tables_written_by(node: ast.AST, models: dict[str, str]) -> Iterator[tuple[str, int]]:
    """Give (table, line) of a node that writes: `Model.insert(...)` and the like, or text that starts as one."""
    match node:
        case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=method)):
            if name in models and method in MODEL_WRITES:
                yield models[name], node.lineno
        case ast.Constant(value=str(text)) if found := SQL_WRITE.match(text):
            yield found[1], node.lineno


def private_names_stay_home(house: House) -> Breaches:
    """`_name` is used in its own section only."""
    for use in house.uses:
        if use.name.startswith("_") and not use.name.endswith("__"):
            advice = f"'{use.name}' is private to {use.home}: drop its underscore, or ask {use.home} by a function."
            yield use.line, advice


def faces_do_not_think(house: House) -> Breaches:
    """A face holds no model, no SQL and no statistics."""
    faces = set(house.floors.get("FACES", ()))
    for use in house.uses:
        if use.section in faces and (use.home == "TABLES" or use.name in STORE_DOORS | FACES_MUST_NOT_IMPORT):
            advice = f"'{use.name}' is not for a face: make one call to a function of LEDGERS or EVALS instead."
            yield use.line, advice
    documentation = set(map(id, docstrings(house)))
    for node in house.nodes:
        match node:
            case ast.Constant(value=str(text)) if SQL.search(text) and id(node) not in documentation:
                what = "this text is SQL: it belongs to the section that owns the table, or to assets/sql."
            case ast.Import() | ast.ImportFrom() if modules_imported_by(node) & FACES_MUST_NOT_IMPORT:
                what = "a face neither computes nor queries: import this in EVALS or STORE, and hand the result up."
            case _:
                continue
        if section_at(house.sections, node.lineno) in faces:
            yield node.lineno, what


def docstrings(house: House) -> Iterator[ast.Constant]:
    """Give the docstrings of a file."""
    for node in house.nodes:
        if isinstance(node, Function | ast.ClassDef | ast.Module):
            match node.body[:1]:
                case [ast.Expr(value=ast.Constant(value=str()) as text)]:
                    yield text


def modules_imported_by(node: ast.Import | ast.ImportFrom) -> set[str]:
    """Return the first part of the modules that a statement imports; a relative import gives a dot."""
    if isinstance(node, ast.ImportFrom):
        return {"." if node.level else (node.module or "").partition(".")[0]}
    return {alias.name.partition(".")[0] for alias in node.names}


def public_things_have_docstrings(house: House) -> Breaches:
    """The docstring of what is public starts with one sentence on one line."""
    for label, node in public_things(house):
        text = ast.get_docstring(node) or ""
        if not text:
            yield node.lineno, f"'{label}' is public and has no docstring: say in one sentence what comes back."
        elif not text.split("\n")[0].endswith("."):
            advice = f"the first line of the docstring of '{label}' is no whole sentence: end it with a full stop."
            yield node.lineno, advice


def public_things(house: House) -> Iterator[tuple[str, Function | ast.ClassDef]]:
    """Give public functions, public classes and their public methods, with their names."""
    for node in house.tree.body:
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
            yield node.name, node
            for method in node.body if isinstance(node, ast.ClassDef) else ():
                if isinstance(method, Function) and not method.name.startswith("_"):
                    yield f"{node.name}.{method.name}", method


def public_functions_have_hints(house: House) -> Breaches:
    """Every parameter and result of a public function has a type."""
    for label, node in public_things(house):
        if isinstance(node, Function):
            bare = [argument.arg for argument in arguments_of(node.args) if argument.annotation is None]
            if bare := [name for name in bare if name not in {"self", "cls"}]:
                yield node.lineno, f"'{label}' gives no type for {', '.join(bare)}: add it."
            if node.returns is None:
                yield node.lineno, f"'{label}' does not say what it returns: add '-> ...'."


def functions_are_short(house: House) -> Breaches:
    """No function is longer than 60 lines, those inside it included."""
    for node in functions_of(house):
        if length_of(node) > MAX_FUNCTION_LINES:
            advice = f"'{node.name}' has {length_of(node)} lines, {MAX_FUNCTION_LINES} are allowed: take a step out."
            yield node.lineno, advice


def functions_of(house: House) -> list[Function]:
    """Return all functions and methods, nested ones too."""
    return [node for node in house.nodes if isinstance(node, Function)]


def length_of(node: Function) -> int:
    """Return the lines from `def` to the end; decorators do not count."""
    return (node.end_lineno or node.lineno) - node.lineno + 1


def sections_are_short(house: House) -> Breaches:
    """No section is longer than 450 lines, from banner to banner."""
    for section in house.sections[1:]:
        length = section.last - section.first + 1
        if length > MAX_SECTION_LINES:
            advice = f"{section.name} has {length} lines, {MAX_SECTION_LINES} are allowed: split it by noun."
            yield section.title, advice


def the_file_is_bounded(house: House) -> Breaches:
    """The file has at most 30,000 lines."""
    if len(house.lines) > MAX_FILE_LINES:
        yield 1, f"the file has {len(house.lines)} lines, {MAX_FILE_LINES} are allowed: move data to assets/."


def names_are_defined_once(house: House) -> Breaches:
    """A module-level name is defined in one place."""
    first: dict[str, int] = {}
    for definition in house.definitions:
        if first.setdefault(definition.name, definition.line) != definition.line:
            where = first[definition.name]
            advice = f"'{definition.name}' is already defined in line {where}: a name has one meaning, rename one."
            yield definition.line, advice


def top_level_imports_are_promised(house: House) -> Breaches:
    """The top imports the standard library, peewee and click."""
    for node in own_nodes(house.tree.body):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for module in sorted(modules_imported_by(node) - PROMISED_MODULES):
                advice = f"'{module}' is not promised: import it inside the function that needs it."
                yield node.lineno, advice


def everything_is_caught_in_listed_places(house: House) -> Breaches:
    """`except Exception` stands only in the functions of BROAD_EXCEPTS, and each of those has one."""
    caught = dict(broad_handlers(house))
    for place, line in caught.items():
        if place not in house.allowed_excepts:
            advice = f"'{place}' catches everything: name the errors, or add it and the reason to test_house."
            yield line, advice
    for place in house.allowed_excepts.keys() - caught.keys():
        yield 1, f"'{place}' no longer catches everything: take it out of BROAD_EXCEPTS in test_house."


def broad_handlers(house: House) -> Iterator[tuple[str, int]]:
    """Give (module-level function or class, line) where everything is caught and not raised again.

    What a nested function catches is its outer function's.
    """
    for statement in house.tree.body:
        place = getattr(statement, "name", "(module level)")
        yield from ((place, getattr(node, "lineno", 1)) for node in ast.walk(statement) if catches_everything(node))


def catches_everything(node: ast.AST) -> bool:
    """Tell whether a node is a broad handler that does not end by raising again, or a broad contextlib.suppress."""
    match node:
        case ast.ExceptHandler(type=kind, body=[*_, last]):
            return is_broad([kind]) and not is_bare_raise(last)
        case ast.Call(func=ast.Attribute(attr="suppress") | ast.Name(id="suppress"), args=kinds):
            return is_broad(kinds)
    return False


def is_broad(kinds: Sequence[ast.expr | None]) -> bool:
    """Tell whether what is caught is everything: nothing named, Exception or BaseException, alone or among others."""
    names = {node.id for kind in kinds if kind is not None for node in ast.walk(kind) if isinstance(node, ast.Name)}
    return None in kinds or bool(names & {"Exception", "BaseException"})


def is_bare_raise(statement: ast.stmt) -> bool:
    """Tell whether a statement raises again what was caught."""
    return isinstance(statement, ast.Raise) and statement.exc is None


def only_clock_reads_the_clock(house: House) -> Breaches:
    """The time is read in CLOCK only."""
    aliases = imported_names(house)
    for node in house.nodes:
        if isinstance(node, ast.Attribute | ast.Name) and dotted(node, aliases) in CLOCK_READS:
            advice = f"'{dotted(node, aliases)}' reads the clock: call a function of CLOCK, which tests can freeze."
            if section_at(house.sections, node.lineno) != "CLOCK":
                yield node.lineno, advice


def imported_names(house: House) -> dict[str, str]:
    """Return what each imported name stands for, such as {"datetime": "datetime.datetime"}."""
    found = {}
    for node in house.nodes:
        if isinstance(node, ast.Import):
            found.update({alias.asname: alias.name for alias in node.names if alias.asname})
        elif isinstance(node, ast.ImportFrom):
            found.update({alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names})
    return found


def dotted(node: ast.AST, aliases: dict[str, str]) -> str:
    """Return `a.b.c` as it was imported, or an empty text for anything else."""
    match node:
        case ast.Name(id=name):
            return aliases.get(name, name)
        case ast.Attribute(value=value, attr=attribute) if dotted(value, aliases):
            return f"{dotted(value, aliases)}.{attribute}"
    return ""


def nothing_is_left_to_do(house: House) -> Breaches:
    """No TODO and no FIXME."""
    for number, line in enumerate(house.lines, 1):
        if re.search(r"\b(TODO|FIXME)\b", line):
            yield number, "do it now, or make it an issue: the source holds no reminders."


def classes_are_no_managers(house: House) -> Breaches:
    """No class is a Manager, Storage or Registry."""
    for node in house.nodes:
        if isinstance(node, ast.ClassDef) and any(word in node.name for word in FORBIDDEN_CLASS_WORDS):
            yield node.lineno, f"'{node.name}' hides what it does behind its name: write functions over the tables."


LAWS: dict[str, Callable[[House], Breaches]] = {
    "map": the_map_lists_the_sections,
    "section names": sections_have_names_of_their_own,
    "banner form": banners_have_their_form,
    "down only": uses_go_down_only,
    "Uses line": uses_lines_are_true,
    "Public line": public_lines_are_true,
    "Writes line": writes_lines_are_true,
    "__all__": all_lists_what_exists,
    "private names": private_names_stay_home,
    "thinking faces": faces_do_not_think,
    "docstrings": public_things_have_docstrings,
    "type hints": public_functions_have_hints,
    "function length": functions_are_short,
    "section length": sections_are_short,
    "file length": the_file_is_bounded,
    "one meaning": names_are_defined_once,
    "imports": top_level_imports_are_promised,
    "broad except": everything_is_caught_in_listed_places,
    "clock": only_clock_reads_the_clock,
    "reminders": nothing_is_left_to_do,
    "class names": classes_are_no_managers,
}


def find_violations(source: str) -> list[str]:
    """Return a sentence for each breach of a law: line, section, law, what to do; an empty list for a lawful house."""
    return [str(violation) for violation in list_violations(read_house(source))]


def list_violations(house: House, law: str | None = None) -> list[Violation]:
    """List the breaches of one law or of all, from top to bottom."""
    found = [
        Violation(line, section_at(house.sections, line), name, message)
        for name, breaches in LAWS.items()
        if law in {None, name}
        for line, message in breaches(house)
    ]
    return sorted(found)


def sections_without_tests(house: House, folder: Path) -> list[str]:
    """Return a sentence for each section that has no test file."""
    names = [section.name for section in house.sections[1:]]
    files = {name: folder / f"{TESTS_ELSEWHERE.get(name, f'test_{name.lower()}')}.py" for name in names}
    return [f"{name} has no tests: write tests/{file.name}." for name, file in files.items() if not file.is_file()]


# --------------------------------------------------------------------------------------
# The real file
# --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def source() -> str:
    return (ROOT / "promptry.py").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def house(source: str) -> House:
    return read_house(source)


@pytest.fixture(scope="module")
def breaches(house: House) -> Counter[str]:
    return Counter(violation.law for violation in list_violations(house))


@pytest.mark.parametrize("law", LAWS)
def test_the_house_keeps_the_law(house: House, law: str) -> None:
    found = list_violations(house, law)
    assert not found, f"{LAWS[law].__doc__}\n" + "\n".join(map(str, found))


def test_every_section_has_its_tests(house: House) -> None:
    missing = sections_without_tests(house, ROOT / "tests")
    assert not missing, "\n".join(missing)


def test_every_exception_of_the_test_mapping_is_a_section(house: House) -> None:
    assert set(TESTS_ELSEWHERE) <= set(sections_on_map(house))


def test_every_door_of_the_store_is_there(house: House) -> None:
    assert {name for name in STORE_DOORS if house.homes.get(name) not in {"STORE", "ROWS"}} == set()


def test_every_permission_to_catch_everything_has_a_reason() -> None:
    assert all(reason.strip() for reason in BROAD_EXCEPTS.values())


def test_nothing_stands_beside_the_module_that_was_not_put_there_on_purpose() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("this is no checkout, so nothing says what is tracked")
    command = ["git", "-c", "safe.directory=*", "ls-files"]
    tracked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert {path.split("/")[0] for path in tracked.splitlines()} == TOP_LEVEL


@pytest.mark.slow
def test_checking_the_whole_file_costs_no_more_than_compiling_it_twenty_times(source: str) -> None:
    floor = min(seconds_of(lambda: compile(source, "promptry.py", "exec")) for _ in range(3))
    assert seconds_of(lambda: find_violations(source)) < 20 * floor


def seconds_of(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def test_the_length_of_the_functions_is_told(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    lengths = sorted(map(length_of, functions_of(house)))
    with capsys.disabled():
        print(
            f"\n{len(lengths)} functions: median {statistics.median(lengths):g} lines (aim: 12), longest {lengths[-1]}"
        )


# --------------------------------------------------------------------------------------
# A small lawful house, and what breaks it
# --------------------------------------------------------------------------------------

SAMPLE = f'''"""A small house.

Floors, from the ground up:
    GROUND   ERRORS · CLOCK · ASSETS
    STORE    TABLES · STORE
    LEDGERS  PROMPTS
    FACES    CLI
    CELLAR   EMBEDDED
Find your way:   grep
"""

from __future__ import annotations

import time

import click
import peewee

__all__ = [
    # ERRORS
    "Fault",
    # PROMPTS
    "save_prompt",
]


{RULE}
# === ERRORS: what can go wrong
{RULE}
# Uses: nothing.
# Public: Fault.


class Fault(Exception):
    """The one error."""


def explain(error: Exception) -> str:
    """Return an error as text."""
    return str(error)


{RULE}
# === CLOCK: the one place that reads the time
{RULE}
# Uses: nothing.
# Public: nothing.

_last = 0.0


def now_s() -> float:
    """Return the present in seconds."""
    global _last
    _last = time.time()
    return _last


{RULE}
# === ASSETS: what was packed
{RULE}
# Uses: nothing.
# Public: nothing.


def asset() -> str:
    """Return the stamped data."""
    return _EMBEDDED


{RULE}
# === TABLES: the models
{RULE}
# Uses: nothing.
# Public: nothing.

db = peewee.SqliteDatabase(None)


class Prompt(peewee.Model):
    """One version of a prompt."""

    name = peewee.TextField()

    class Meta:
        database = db
        table_name = "prompts"


{RULE}
# === STORE: reads and writes
{RULE}
# Uses: ERRORS,
#   TABLES.
# Public: nothing.


def fetch(sql: str) -> list[tuple[str]]:
    """Return rows; raises Fault."""
    try:
        return _rows(sql)
    except ValueError as error:
        raise Fault(explain(error)) from error


def _rows(sql: str) -> list[tuple[str]]:
    return list(db.execute_sql(sql))


{RULE}
# === PROMPTS: one row per content
{RULE}
# Uses: ERRORS, TABLES, STORE.   Writes: prompts.
# Public: save_prompt.
#
# Uses of words in this text do not count: CLOCK.

STATES = ("new", "old")


def save_prompt(name: str) -> int:
    """Save a prompt; raises Fault."""
    try:
        return Prompt.insert(name=name).execute()
    except Exception as error:
        raise Fault(explain(error)) from error


def list_prompts() -> list[tuple[str]]:
    """List the prompts."""
    return fetch("SELECT name FROM prompts")


{RULE}
# === CLI: the commands
{RULE}
# Uses: PROMPTS.
# Public: nothing.


def render() -> str:
    """Return the prompts as text."""
    return str(list_prompts())


@click.command("list")
def cli_list() -> None:
    """List the prompts."""
    click.echo(render())


{RULE}
# === EMBEDDED: written by build.py
{RULE}
# Uses: nothing.
# Public: nothing.

_EMBEDDED = ""
'''
SAMPLE_EXCEPTS = {"save_prompt": "a reason"}

ONE_ERROR = '    """The one error."""\n'
EXPLAIN = '    """Return an error as text."""\n'
IN_ERRORS = "\n\ndef explain("
IN_CLI = "\n\ndef render("
CLI_LATER = '@click.command("list")'
CLI_HEAD = "# Uses: PROMPTS.\n# Public: nothing."
TOLD_TWICE = "\n\nif TYPE_CHECKING:\n    from typing import words\nelse:\n    words = 1\n    words = 2\n"
IN_PROMPTS = 'STATES = ("new", "old")\n'
VALUE_ERROR = "    except ValueError as error:\n"
RENDER = '    """Return the prompts as text."""\n'


def broken_laws(source: str) -> set[str]:
    """Return the names of the laws that a variant of the sample breaks."""
    return {violation.law for violation in list_violations(read_house(source, SAMPLE_EXCEPTS))}


def changed(old: str, new: str) -> str:
    """Return the sample with one thing changed, which must be there once."""
    assert SAMPLE.count(old) == 1, f"{old!r} stands {SAMPLE.count(old)} times in the sample"
    return SAMPLE.replace(old, new)


def test_the_small_house_is_lawful() -> None:
    assert [str(violation) for violation in list_violations(read_house(SAMPLE, SAMPLE_EXCEPTS))] == []


LONG_FUNCTION = "\n\ndef _long():\n" + "    asset()\n" * 60
NESTED_LONG_FUNCTION = "\n\ndef _outer():\n    def inner():\n" + "        asset()\n" * 59
PACKED = "    return _EMBEDDED\n"

# fmt: off
BROKEN = [
    # law, what was broken, old text, new text
    ("map", "a section is missing", "LEDGERS  PROMPTS", "LEDGERS  PROMPTS · DATASETS"),
    ("map", "a section is not on the map", "LEDGERS  PROMPTS\n", "LEDGERS  \n"),
    ("map", "two sections are swapped", "ERRORS · CLOCK · ASSETS", "CLOCK · ERRORS · ASSETS"),
    ("map", "a section stands on another floor", "CLI\n    CELLAR   EMBEDDED", "EMBEDDED\n    CELLAR   CLI"),
    ("section names", "two of one name", CLI_LATER, f"{RULE}\n# === CLI: part 2\n{RULE}\n{CLI_HEAD}\n\n{CLI_LATER}"),
    ("banner form", "no sentence", "# === STORE: reads and writes", "# === STORE:"),
    ("banner form", "no rule above", f"{RULE}\n# === STORE", "# =====\n# === STORE"),
    ("banner form", "no rule below", f"writes\n{RULE}", "writes\n# ===="),
    ("banner form", "no Uses line", f"{RULE}\n# Uses: nothing.\n# Public: Fault.", f"{RULE}\n# Public: Fault."),
    ("banner form", "no full stop", f"packed\n{RULE}\n# Uses: nothing.\n", f"packed\n{RULE}\n# Uses: nothing\n"),
    ("down only", "a call in a function", EXPLAIN, EXPLAIN + "    render()\n"),
    ("down only", "a call in the preface", "import peewee\n", "import peewee\n\nrender()\n"),
    ("Uses line", "a section is not named", "# Uses: ERRORS,\n#   TABLES.", "# Uses: TABLES."),
    ("Uses line", "a section is named in vain", "# Uses: PROMPTS.", "# Uses: PROMPTS, CLOCK."),
    ("Uses line", "a section that is nowhere", "# Uses: PROMPTS.", "# Uses: PROMPTS, ROOMS."),
    ("Uses line", "a lower section in vain", f"packed\n{RULE}\n# Uses: nothing.", f"packed\n{RULE}\n# Uses: CLI."),
    ("Uses line", "a new use", RENDER, RENDER + "    now_s()\n"),
    ("Public line", "a name is missing", "# Public: save_prompt.", "# Public: nothing."),
    ("Public line", "a name that is not in __all__", "# Public: save_prompt.", "# Public: save_prompt, list_prompts."),
    ("Public line", "a name of another section", "# Public: save_prompt.", "# Public: save_prompt, explain."),
    ("Writes line", "a table is missing", "   Writes: prompts.", ""),
    ("Writes line", "a table is named in vain", "Writes: prompts.", "Writes: prompts, votes."),
    ("Writes line", "a statement", "SELECT name FROM prompts", "DELETE FROM votes"),
    ("__all__", "a name that is nowhere", '    "Fault",\n', '    "Fault",\n    "track",\n'),
    ("__all__", "a name stands twice", '    "Fault",\n', '    "Fault",\n    "Fault",\n'),
    ("__all__", "a name below another section", '    "Fault",\n    # PROMPTS\n', '    # PROMPTS\n    "Fault",\n'),
    ("private names", "a call", 'return fetch("', 'return _rows("'),
    ("private names", "a table", IN_PROMPTS, IN_PROMPTS + "READERS = (_rows,)\n"),
    ("private names", "an annotation", "def save_prompt(name: str)", "def save_prompt(name: _rows)"),
    ("thinking faces", "a query", RENDER, RENDER + '    print("SELECT name FROM prompts")\n'),
    ("thinking faces", "a query in an f-string", RENDER, RENDER + '    print(f"WITH a AS (SELECT {1})")\n'),
    ("thinking faces", "a table of queries", IN_CLI, '\nQUERIES = {"all": "SELECT name FROM prompts"}\n' + IN_CLI),
    ("thinking faces", "the driver", RENDER, RENDER + "    peewee.SqliteDatabase('')\n"),
    ("thinking faces", "a module for sums", RENDER, RENDER + "    import decimal\n"),
    ("thinking faces", "a part of a module for sums", RENDER, RENDER + "    from scipy.stats import norm\n"),
    ("docstrings", "none on a function", RENDER, ""),
    ("docstrings", "none on a class", ONE_ERROR, "    pass\n"),
    ("docstrings", "none on a method", ONE_ERROR, ONE_ERROR + "\n    def to_dict(self) -> None: ...\n"),
    ("docstrings", "no sentence", "Return the present in seconds.", "Return the present in seconds"),
    ("docstrings", "a sentence over two lines", "present in seconds.", "present\n    in seconds."),
    ("type hints", "a parameter", "def explain(error: Exception)", "def explain(error)"),
    ("type hints", "a starred parameter", "def explain(error: Exception)", "def explain(error: Exception, **more)"),
    ("type hints", "a result", "def render() -> str", "def render()"),
    ("function length", "61 lines", PACKED, PACKED + LONG_FUNCTION),
    ("function length", "61 lines with the function inside", PACKED, PACKED + NESTED_LONG_FUNCTION),
    ("section length", "451 lines", PACKED, PACKED + "# more\n" * 440),
    ("file length", "30,001 lines", "import time\n", "import time\n" + "\n" * 30_000),
    ("one meaning", "a function of the same name", IN_PROMPTS, IN_PROMPTS + "STATES = ()\n"),
    ("one meaning", "a name in another section", IN_CLI, "\nSTATES = ()\n" + IN_CLI),
    ("one meaning", "beside a word for the checker", IN_ERRORS, TOLD_TWICE + IN_ERRORS),
    ("one meaning", "a definition hides an import", IN_ERRORS, "\ntime = 1\n" + IN_ERRORS),
    ("imports", "a package at the top", "import click\n", "import click\nimport numpy\n"),
    ("imports", "a package in a try", IN_ERRORS, "\ntry:\n    import regex.core\nfinally:\n    pass\n" + IN_ERRORS),
    ("imports", "a relative one", "import click\n", "import click\nfrom . import extras\n"),
    ("broad except", "a new place", "except ValueError as error", "except Exception as error"),
    ("broad except", "one of several", "except ValueError as error", "except (OSError, BaseException) as error"),
    ("broad except", "bare", "except ValueError as error:\n", "except:\n        error = None\n"),
    ("broad except", "suppressed", RENDER, RENDER + "    with contextlib.suppress(Exception):\n        pass\n"),
    ("broad except", "a permission is stale", "except Exception as error", "except OSError as error"),
    ("clock", "time.time", RENDER, RENDER + "    time.time()\n"),
    ("clock", "under another name", RENDER, RENDER + "    import time as t\n\n    t.perf_counter_ns()\n"),
    ("clock", "a function taken out", RENDER, RENDER + "    from time import monotonic\n\n    monotonic()\n"),
    ("clock", "datetime.now", RENDER, RENDER + "    from datetime import datetime\n\n    datetime.now()\n"),
    ("clock", "datetime.datetime.now", RENDER, RENDER + "    import datetime\n\n    datetime.datetime.now()\n"),
    ("clock", "as a default", "def cli_list()", "def cli_list(clock: object = time.monotonic)"),
    ("reminders", "TODO", RENDER, RENDER + "    # TODO: more\n"),
    ("reminders", "FIXME", RENDER, RENDER + "    # FIXME\n"),
    ("class names", "a manager", IN_ERRORS, '\n\nclass FaultManager:\n    """Manages."""\n' + IN_ERRORS),
    ("class names", "a private registry", IN_ERRORS, "\n\nclass _Registry:\n    pass\n" + IN_ERRORS),
]
# fmt: on


@pytest.mark.parametrize(
    ("law", "old", "new"), [pytest.param(law, *texts, id=f"{law}: {what}") for law, what, *texts in BROKEN]
)
def test_a_broken_copy_breaks_exactly_one_law(law: str, old: str, new: str) -> None:
    assert broken_laws(changed(old, new)) == {law}


# Code that uses `render`, which stands far below; put into ERRORS it breaks the law of down only.
# fmt: off
USES = {
    "function": "def _one():\n    return render()",
    "nested function": "def _one():\n    def inner():\n        return render()\n    return inner",
    "async function": "async def _one():\n    await render()",
    "lambda": "_one = lambda: render()",
    "attribute of it": "def _one():\n    return render.__doc__",
    "f-string": "def _one():\n    return f'{render()}'",
    "except clause": "def _one():\n    try:\n        pass\n    except render:\n        pass",
    "pattern": "def _one(this):\n    match this:\n        case render.STATE:\n            pass",
    "decorator": "@render\ndef _one(): ...",
    "decorator with arguments": "@print(render)\ndef _one(): ...",
    "decorator of a class": "@render\nclass _One: ...",
    "default": "def _one(this=render): ...",
    "default of a keyword": "def _one(*, this=render): ...",
    "default of its own name": "def _one(render=render): ...",
    "default of a lambda": "_one = lambda this=render: this",
    "base class": "class _One(render): ...",
    "metaclass": "class _One(metaclass=render): ...",
    "class body": "class _One:\n    this = render",
    "class in a class": "class _One:\n    class Meta:\n        this = render",
    "method that sees past its class": "class _One:\n    render = 1\n    def this(self):\n        return render",
    "table": "_ONE = (('GET', render),)",
    "dict": "_ONE = {'this': render}",
    "condition at module level": "if render:\n    _ONE = 1",
    "call at module level": "print(render)",
    "comprehension": "_ONE = [this for this in (1, 2) if render]",
    "first iterable of a comprehension": "_ONE = [render for render in render()]",
    "rebinding": "def _one():\n    global render\n    render = None",
    "global behind a local": "def _one(render):\n    def inner():\n        global render\n        render()",
    "annotation of a parameter": "def _one(this: render): ...",
    "annotation of a result": "def _one() -> list[render]: ...",
    "annotation of a field": "class _One:\n    this: render",
    "annotation of a variable": "_one: render = 1",
}
# fmt: on

# Code in which `render` is something of its own.
# fmt: off
NO_USES = {
    "parameter": "def _one(render):\n    render()",
    "keyword-only parameter": "def _one(*, render):\n    render()",
    "starred parameter": "def _one(*render):\n    return render",
    "double-starred parameter": "def _one(**render):\n    return render",
    "parameter of a lambda": "_one = lambda render: render",
    "local variable": "def _one():\n    render = 1\n    return render",
    "local variable set later": "def _one():\n    print(render)\n    render = 1",
    "local variable seen from within": "def _one():\n    render = 1\n    return lambda: render",
    "nonlocal variable": "def _one(render):\n    def inner():\n        nonlocal render\n        render = 1",
    "annotated local variable": "def _one():\n    render: int = 1\n    return render",
    "loop variable": "def _one():\n    for _, render in ():\n        render()",
    "with": "def _one():\n    with open('') as render:\n        render()",
    "except": "def _one():\n    try:\n        pass\n    except OSError as render:\n        print(render)",
    "import": "def _one():\n    from this import that as render\n    render()",
    "nested function": "def _one():\n    def render(): ...\n    render()",
    "comprehension": "_ONE = [render for render in ()]",
    "inner comprehension": "_ONE = {row: [render for this in row] for render in () for row in ()}",
    "walrus": "def _one():\n    if render := 1:\n        return render",
    "walrus in a comprehension": "def _one():\n    [1 for this in () if (render := this)]\n    return render",
    "captured pattern": "def _one(this):\n    match this:\n        case [render]:\n            return render",
    "starred pattern": "def _one(this):\n    match this:\n        case [*render]:\n            return render",
    "rest of a pattern": "def _one(this):\n    match this:\n        case {**render}:\n            return render",
    "class attribute": "class _One:\n    render = 1\n    this = render",
    "method": "class _One:\n    def render(self): ...",
    "attribute": "def _one(this):\n    return this.render",
    "keyword": "_ONE = dict(render=1)",
    "text": "_ONE = 'render'",
    "comment": "# render",
}
# fmt: on


@pytest.mark.parametrize("code", [pytest.param(code, id=name) for name, code in USES.items()])
def test_a_use_counts_wherever_it_stands(code: str) -> None:
    assert broken_laws(changed(IN_ERRORS, f"\n\n{code}\n{IN_ERRORS}")) == {"down only"}


@pytest.mark.parametrize("code", [pytest.param(code, id=name) for name, code in NO_USES.items()])
def test_a_name_of_its_own_is_no_use(code: str) -> None:
    assert broken_laws(changed(IN_ERRORS, f"\n\n{code}\n{IN_ERRORS}")) == set()


# fmt: off
LAWFUL = {
    "a constant built in two steps": (IN_PROMPTS, IN_PROMPTS + 'STATES += ("gone",)\n'),
    "everything caught and raised again": (VALUE_ERROR, "    except BaseException:\n        raise\n" + VALUE_ERROR),
    "a trigger is no write": ("SELECT name FROM prompts", "CREATE TRIGGER a INSERT ON b BEGIN DELETE FROM b; END"),
    "English in a face": (RENDER, RENDER + '    print("Select one FROM the list, or delete it with care.")\n'),
    "SQL in the docstring of a face": (IN_CLI, '\n\ndef _one():\n    """SELECT a FROM b."""\n' + IN_CLI),
    "a package inside a function": (RENDER, RENDER + "    import bottle\n"),
    "waiting": (RENDER, RENDER + "    time.sleep(1)\n"),
    "a time from elsewhere": (RENDER, RENDER + "    from datetime import datetime\n\n    datetime.fromisoformat('')\n"),
    "a function of 60 lines": (PACKED, PACKED + "\n\ndef _long():\n" + "    asset()\n" * 59),
    "a private function without docstring and hints": (PACKED, PACKED + "\n\ndef _bare(this):\n    return this\n"),
}
# fmt: on


@pytest.mark.parametrize(("old", "new"), [pytest.param(*texts, id=name) for name, texts in LAWFUL.items()])
def test_what_the_laws_allow_is_not_complained_of(old: str, new: str) -> None:
    assert broken_laws(changed(old, new)) == set()


def test_an_unwritten_section_is_missed_by_the_map_only() -> None:
    awaited = changed("LEDGERS  PROMPTS", "LEDGERS  PROMPTS · DATASETS").replace(
        '    "Fault",\n', '    "Fault",\n    # DATASETS\n    "save_dataset",\n'
    )
    assert broken_laws(awaited) == {"map"}


def test_the_stamped_data_is_the_one_name_used_from_above() -> None:
    other = SAMPLE.replace("_EMBEDDED", "_PACKED")
    assert broken_laws(other) == {"down only", "private names"}


def test_a_violation_says_where_and_what_to_do() -> None:
    found = list_violations(read_house(changed(EXPLAIN, EXPLAIN + "    render()\n"), SAMPLE_EXCEPTS))
    line = SAMPLE[: SAMPLE.index(EXPLAIN)].count("\n") + 2
    message = "'render' is defined further down, in CLI: move one of the two, or pass the value in."
    assert [str(violation) for violation in found] == [f"line {line}, ERRORS: [down only] {message}"]


def test_every_law_has_a_copy_that_breaks_it() -> None:
    assert {law for law, *_ in BROKEN} == set(LAWS)


def test_a_section_without_a_test_file_is_named(tmp_path: Path) -> None:
    for name in ("errors", "clock", "assets", "schema", "store", "cli", "build"):
        (tmp_path / f"test_{name}.py").touch()
    assert sections_without_tests(read_house(SAMPLE), tmp_path) == [
        "PROMPTS has no tests: write tests/test_prompts.py."
    ]


# --------------------------------------------------------------------------------------
# The real file, broken on purpose
# --------------------------------------------------------------------------------------

# law -> what is put at the end of which section; FACE is the shortest face, LONGEST and LAST are sections of any floor.
# fmt: off
BROKEN_HOUSES = [
    ("down only", {"ERRORS": "_one = broken_roof", "LAST": "broken_roof = 1"}),
    ("down only", {"ERRORS": "@broken_roof\ndef _one(): ...", "LAST": "broken_roof = print"}),
    ("Uses line", {"CLOCK": "broken_time = 1", "STATISTICS": "_ONE = (broken_time,)"}),
    ("Uses line", {"CLOCK": "broken_time = 1", "STATISTICS": "def _one(this=broken_time): ..."}),
    ("private names", {"CLOCK": "_broken_time = 1", "PROMPTS": "def _broken():\n    return _broken_time"}),
    ("Writes line", {"STATISTICS": '_ONE = "INSERT INTO votes (score) VALUES (1)"'}),
    ("thinking faces", {"FACE": '_ONE = "SELECT name FROM prompts"'}),
    ("thinking faces", {"FACE": "def _one():\n    import numpy"}),
    ("docstrings", {"ERRORS": "def broken_one() -> None:\n    return None"}),
    ("type hints", {"ERRORS": 'def broken_one(this) -> None:\n    """Return this."""'}),
    ("function length", {"ERRORS": "def _one():\n" + "    print()\n" * 60}),
    ("section length", {"LONGEST": "# more\n" * 100}),
    ("one meaning", {"ERRORS": "broken_one = 1\nbroken_one = 2"}),
    ("imports", {"ERRORS": "import numpy"}),
    ("broad except", {"ERRORS": "def _one():\n    try:\n        pass\n    except Exception:\n        pass"}),
    ("clock", {"ERRORS": "def _one():\n    return time.monotonic()"}),
    ("reminders", {"ERRORS": "# TODO: more"}),
    ("class names", {"ERRORS": "class _RunManager: ..."}),
    ("map", {"LAST": f"{RULE}\n# === ATTIC: one more\n{RULE}\n# Uses: nothing.\n# Public: nothing."}),
]
# fmt: on


def with_code(house: House, additions: dict[str, str]) -> str:
    """Return the real source with code put at the end of sections."""
    sections, lines = {section.name: section for section in house.sections}, list(house.lines)
    faces = [sections[name] for name in house.floors["FACES"] if name in sections]
    sections["LAST"] = house.sections[-1]
    sections["LONGEST"] = max(house.sections[1:], key=lambda section: section.last - section.first)
    if faces:
        sections["FACE"] = min(faces, key=lambda face: face.last - face.first)
    for name, code in sorted(additions.items(), key=lambda pair: -sections[pair[0]].last):
        lines[sections[name].last : sections[name].last] = ["", "", *code.split("\n"), "", ""]
    return "\n".join(lines)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("law", "additions"), [pytest.param(*case, id=f"{case[0]}: {' '.join(case[1])}") for case in BROKEN_HOUSES]
)
def test_the_real_house_would_not_hide_a_breach(
    house: House, breaches: Counter[str], law: str, additions: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "MAX_FILE_LINES", MAX_FILE_LINES + 200)  # what is added may need them
    after = Counter(violation.law for violation in list_violations(read_house(with_code(house, additions))))
    assert set(after - breaches) == {law} and not breaches - after
