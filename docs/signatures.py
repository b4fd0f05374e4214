"""Signatures of the public names, read from the source. Writes them to `tests/api.txt`; with `--check` it only compares.

Reading needs neither torch nor an installation, and shows annotations and defaults as they are written.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from generated import keep

ROOT = Path(__file__).parents[1]
SNAPSHOT = ROOT / "tests" / "api.txt"
#: Types that no one imports from `mammozoo` and that public signatures name: name → module.
NAMED = {
    "Modality": "mammozoo.data.dataset",
    "Box": "mammozoo.data.io.regions",
    "Transform": "mammozoo.data.transforms",
    "By": "mammozoo.models.backbone",
    "Values": "mammozoo.evaluation.resampling",
    "Counts": "mammozoo.evaluation.resampling",
    "PerSample": "mammozoo.evaluation.resampling",
    "Ranked": "mammozoo.evaluation.resampling",
    "Score": "mammozoo.evaluation.scores",
    "EvaluationScores": "mammozoo.evaluation.result",
    "Listed": "mammozoo.api.listing",
}
WHAT_TO_DO = """
The public signatures differ from those in tests/api.txt. Plugins are written against them, so:
  1. Say what changed in docs/api-changes.md.
  2. If a plugin that worked could fail now, raise `mammozoo.API` (src/mammozoo/__init__.py); the page says what counts.
  3. Run: python docs/signatures.py && python docs/make_hooks.py
"""


def render(source: Path) -> str:
    """The snapshot: every hook, every public name of `mammozoo` and of `mammozoo.testing`."""
    api = value_of(source, "mammozoo", "API")
    parts = [f"# Public signatures, API {api}. Written by docs/signatures.py, compared by tests/test_api.py."]
    parts += ["## Hooks", "\n".join(signature(source, "mammozoo.hookspecs", name) for name in hooks(source))]
    for title, names in (("mammozoo", public(source)), ("mammozoo.testing", testing(source)), ("Named by them", NAMED)):
        parts.append(f"## {title}")
        parts += [f"# {module}\n{signature(source, module, name)}" for name, module in names.items()]
    return "\n\n".join(parts) + "\n"


def public(source: Path) -> dict[str, str]:
    """Name → module of what `import mammozoo` offers."""
    names: dict[str, str] = ast.literal_eval(value_of(source, "mammozoo", "_PUBLIC"))
    return names


def testing(source: Path) -> dict[str, str]:
    """Name → module of what `mammozoo.testing` offers."""
    nodes = ast.parse(text_of(source, "mammozoo.testing")).body
    imports = [node for node in nodes if isinstance(node, ast.ImportFrom)]
    return {alias.asname or alias.name: str(node.module) for node in imports for alias in node.names}


def hooks(source: Path) -> list[str]:
    """The names of all hooks, in the order of `hookspecs.py`."""
    nodes = ast.parse(text_of(source, "mammozoo.hookspecs")).body
    return [
        n.name for n in nodes if isinstance(n, ast.FunctionDef) and "hookspec" in map(ast.unparse, n.decorator_list)
    ]


def text_of(source: Path, module: str) -> str:
    """The source of a module of ours."""
    path = source.joinpath(*module.split("."))
    return (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text(encoding="utf-8")


def node_of(source: Path, module: str, name: str) -> ast.stmt:
    """The statement that defines a name in a module.

    Raises:
        LookupError: there is none.
    """
    for node in ast.parse(text_of(source, module)).body:
        targets = [node.target] if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [])
        if getattr(node, "name", None) == name or any(isinstance(t, ast.Name) and t.id == name for t in targets):
            return node
    raise LookupError(f"{module} defines no '{name}'")


def value_of(source: Path, module: str, name: str) -> str:
    """The value of a name, as source text."""
    node = node_of(source, module, name)
    assert isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None
    return ast.unparse(node.value)


def doc_of(source: Path, module: str, name: str) -> str:
    """The docstring of a class or function; of an assignment the `#:` comment before it."""
    node = node_of(source, module, name)
    if isinstance(node, ast.ClassDef | ast.FunctionDef):
        return ast.get_docstring(node) or ""
    lines, comment = text_of(source, module).splitlines()[: node.lineno - 1], list[str]()
    while lines and lines[-1].startswith("#:"):
        comment.insert(0, lines.pop().removeprefix("#:").strip())
    return " ".join(comment)


def signature(source: Path, module: str, name: str) -> str:
    """A public name as in a stub: a class with its public attributes and methods, a function's head, or an assignment."""
    node, lines = node_of(source, module, name), text_of(source, module).splitlines()
    if isinstance(node, ast.ClassDef):
        first = min(part.lineno for part in (node, *node.decorator_list))
        body = list(members(node, lines))
        return "\n".join([*lines[first - 1 : node.lineno], *body] if body else [f"{lines[node.lineno - 1]} ..."])
    return head(node, lines) if isinstance(node, ast.FunctionDef) else source_of(node, lines)


def members(node: ast.ClassDef, lines: list[str]) -> Iterator[str]:
    """Attributes and fields with their defaults, what `__init__` sets, methods and properties."""
    was_method = None
    for item in node.body:
        if isinstance(item, ast.AnnAssign | ast.Assign):
            target = item.target if isinstance(item, ast.AnnAssign) else item.targets[0]
            is_public = isinstance(target, ast.Name) and not target.id.startswith("_") and target.id != "model_config"
        else:
            is_public = isinstance(item, ast.FunctionDef) and (item.name[0] != "_" or item.name.endswith("__"))
        if is_public:
            if was_method not in (None, isinstance(item, ast.FunctionDef)):
                yield ""
            was_method = isinstance(item, ast.FunctionDef)
            if isinstance(item, ast.FunctionDef):
                yield from (f"    @{ast.unparse(decorator)}" for decorator in item.decorator_list)
                yield head(item, lines)
                if item.name == "__init__":
                    yield from ["", *sorted(set(attributes(item))), ""]
            else:
                yield f"    {source_of(item, lines)}"


def head(node: ast.FunctionDef, lines: list[str]) -> str:
    """A function as written, with `...` for its body."""
    if node.body[0].lineno == node.lineno:
        return lines[node.lineno - 1]
    written = "\n".join(lines[node.lineno - 1 : node.body[0].lineno - 1])
    return re.sub(r":( *#.*)?$", ": ...", written)


def attributes(init: ast.FunctionDef) -> Iterator[str]:
    """The public attributes that an `__init__` sets."""
    kinds = {id(n.target): f": {ast.unparse(n.annotation)}" for n in ast.walk(init) if isinstance(n, ast.AnnAssign)}
    for node in ast.walk(init):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and node.attr[0] != "_":
            yield f"    {ast.unparse(node)}{kinds.get(id(node), '')}"


def source_of(node: ast.stmt, lines: list[str]) -> str:
    """A statement as written, without the comment behind it."""
    return str(ast.get_source_segment("\n".join(lines), node))


if __name__ == "__main__":
    sys.exit(keep(SNAPSHOT, render(ROOT / "src"), sys.argv[1:], WHAT_TO_DO))
