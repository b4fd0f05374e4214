"""Signatures of the public names, read from the source. Writes them to `tests/api.txt`; with `--check` it only compares.

Reading needs neither torch nor an installation, and shows annotations and defaults as they are written.
"""

from __future__ import annotations

import ast
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
    "EvaluationScores": "mammozoo.api",
    "Listed": "mammozoo.api",
}
WHAT_TO_DO = """
The public signatures are others than those in tests/api.txt. Plugins are written against them, so:
  1. Say what changed in docs/api-changes.md.
  2. If a plugin that worked could fail now, raise `mammozoo.API` (src/mammozoo/__init__.py); the page says what counts.
  3. Run: python docs/signatures.py && python docs/make_hooks.py
"""


def render(source: Path) -> str:
    """The snapshot: every hook, every public name of `mammozoo` and of `mammozoo.testing`."""
    api = value_of(source, "mammozoo", "API")
    parts = [f"# Public signatures, API {api}. Written by docs/signatures.py, compared by tests/test_api.py."]
    parts += ["## Hooks", "\n".join(shown(source, "mammozoo.hookspecs", name) for name in hooks(source))]
    for title, names in (("mammozoo", public(source)), ("mammozoo.testing", testing(source)), ("Named by them", NAMED)):
        parts.append(f"## {title}")
        parts += [f"# {module}\n{shown(source, module, name)}" for name, module in names.items()]
    return "\n\n".join(parts) + "\n"


def public(source: Path) -> dict[str, str]:
    """Name → module of what `import mammozoo` offers."""
    return {
        str(name): str(module) for name, module in ast.literal_eval(value_of(source, "mammozoo", "_PUBLIC")).items()
    }


def testing(source: Path) -> dict[str, str]:
    """Name → module of what `mammozoo.testing` offers."""
    tree = parsed(source, "mammozoo.testing")
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module != "__future__"]
    return {alias.asname or alias.name: str(node.module) for node in imports for alias in node.names}


def hooks(source: Path) -> list[str]:
    """The names of all hooks, in the order of `hookspecs.py`."""
    nodes = parsed(source, "mammozoo.hookspecs").body
    return [n.name for n in nodes if isinstance(n, ast.FunctionDef) and "hookspec" in map(written, n.decorator_list)]


def parsed(source: Path, module: str) -> ast.Module:
    """The syntax tree of a module of ours."""
    path = source.joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(file.read_text(encoding="utf-8"))


def written(node: ast.AST) -> str:
    """A piece of source, in the quotes that the formatter likes."""
    text = ast.unparse(node)
    return text if '"' in text else text.replace("'", '"')


def node_of(source: Path, module: str, name: str) -> ast.stmt:
    """Where a name is defined in a module.

    Raises:
        LookupError: it is not.
    """
    for node in parsed(source, module).body:
        targets = [node.target] if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [])
        if getattr(node, "name", None) == name or any(isinstance(t, ast.Name) and t.id == name for t in targets):
            return node
    raise LookupError(f"{module} defines no '{name}'")


def value_of(source: Path, module: str, name: str) -> str:
    """What a name is set to, as source text."""
    node = node_of(source, module, name)
    assert isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None
    return written(node.value)


def shown(source: Path, module: str, name: str) -> str:
    """A public name as in a stub: a class with its public attributes and methods, a function's head, or an assignment."""
    node = node_of(source, module, name)
    if isinstance(node, ast.ClassDef):
        decorators = [f"@{written(d)}\n" for d in node.decorator_list]
        bases = ", ".join(map(written, [*node.bases, *(k.value for k in node.keywords)]))
        head = f"class {node.name}({bases}):" if bases else f"class {node.name}:"
        body: list[str] = []
        was_method = None
        for member in members(node):
            is_method = member.startswith(("def ", "@"))
            if was_method not in (None, is_method):
                body.append("")
            was_method = is_method
            body += [f"    {line}" for line in member.splitlines()]
        return "".join(decorators) + ("\n".join([head, *body]) if body else f"{head} ...")
    return head_of(node) if isinstance(node, ast.FunctionDef) else written(node)


def members(node: ast.ClassDef) -> Iterator[str]:
    """The lines of a class: attributes and fields with their defaults, what `__init__` sets, methods and properties."""
    for item in node.body:
        if isinstance(item, ast.AnnAssign | ast.Assign):
            target = item.target if isinstance(item, ast.AnnAssign) else item.targets[0]
            name = target.id if isinstance(target, ast.Name) else "_"
            if not name.startswith("_") and name != "model_config":
                yield written(item)
        elif isinstance(item, ast.FunctionDef) and (not item.name.startswith("_") or item.name.endswith("__")):
            yield from (f"@{written(d)}" for d in item.decorator_list)
            yield head_of(item)
            if item.name == "__init__":
                yield from sorted(set(assigned(item)))


def assigned(init: ast.FunctionDef) -> Iterator[str]:
    """The public attributes that an `__init__` sets."""
    for node in ast.walk(init):
        targets = (
            [node.target] if isinstance(node, ast.AnnAssign) else node.targets if isinstance(node, ast.Assign) else []
        )
        for target in targets:
            for one in target.elts if isinstance(target, ast.Tuple) else [target]:
                if isinstance(one, ast.Attribute) and written(one.value) == "self" and not one.attr.startswith("_"):
                    yield f"self.{one.attr}" + (
                        f": {written(node.annotation)}" if isinstance(node, ast.AnnAssign) else ""
                    )


def head_of(node: ast.FunctionDef) -> str:
    """A function without its body; one argument a line where it is long."""
    returns = f" -> {written(node.returns)}" if node.returns else ""
    parts = list(arguments(node.args))
    line = f"def {node.name}({', '.join(parts)}){returns}: ..."
    if len(line) <= 110:
        return line
    return "\n".join([f"def {node.name}(", *(f"    {part}," for part in parts), f"){returns}: ..."])


def arguments(given: ast.arguments) -> Iterator[str]:
    """Each argument as it is written, with `/` and `*` where they stand."""
    positional = [*given.posonlyargs, *given.args]
    defaults = [*[None] * (len(positional) - len(given.defaults)), *given.defaults]
    for number, (one, default) in enumerate(zip(positional, defaults, strict=True), 1):
        yield argument(one, default)
        if number == len(given.posonlyargs):
            yield "/"
    if given.vararg or given.kwonlyargs:
        yield f"*{argument(given.vararg, None)}" if given.vararg else "*"
    yield from map(argument, given.kwonlyargs, given.kw_defaults)
    if given.kwarg:
        yield f"**{argument(given.kwarg, None)}"


def argument(given: ast.arg, default: ast.expr | None) -> str:
    """`name: type = default`, as far as there is one."""
    typed = f"{given.arg}: {written(given.annotation)}" if given.annotation else given.arg
    if default is None:
        return typed
    return f"{typed}{' = ' if given.annotation else '='}{written(default)}"


def doc_of(source: Path, module: str, name: str) -> str:
    """The docstring of a class or function; of an assignment the `#:` comment before it."""
    node = node_of(source, module, name)
    if isinstance(node, ast.ClassDef | ast.FunctionDef):
        return ast.get_docstring(node) or ""
    path = source.joinpath(*module.split(".")).with_suffix(".py")
    lines, found = path.read_text(encoding="utf-8").splitlines()[: node.lineno - 1], []
    while lines and lines[-1].startswith("#:"):
        found.append(lines.pop().removeprefix("#:").strip())
    return " ".join(reversed(found))


if __name__ == "__main__":
    sys.exit(keep(SNAPSHOT, render(ROOT / "src"), sys.argv[1:], WHAT_TO_DO))
