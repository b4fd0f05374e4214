"""Write a package: the common templates and those of its kind, filled in."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

import jinja2

import mammozoo
from mammozoo.errors import ConflictError, UsageError, nearest
from mammozoo.files import write_text
from mammozoo.scaffold.kinds import KINDS
from mammozoo.scaffold.names import Names, names, refuse_taken

_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Package:
    """A package that was written: its files relative to `folder`, and the `next` command lines to install, test and try it."""

    names: Names
    kind: str
    folder: Path
    files: tuple[str, ...]
    next: tuple[str, ...]


def write(name: str, kind: str, parent: Path) -> Package:
    """Write a plugin package called `name` into the folder `parent`/`name`, which must be new or empty.

    Raises:
        UsageError: `kind` is none of `KINDS`, or `name` cannot name a package.
        ConflictError: the name is taken, or the folder is not empty.
        AccessError, FailedError: the folder cannot be written.
    """
    if kind not in KINDS:
        raise UsageError(f"There is no kind '{kind}'.{nearest(kind, KINDS)} There are {', '.join(KINDS)}.")
    chosen, folder = names(name), parent / name
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        what = f"The folder '{folder}' is not empty" if folder.is_dir() else f"'{folder}' is a file"
        raise ConflictError(f"{what}. Choose another name, or another place with --out.")
    refuse_taken(chosen, KINDS[kind].plural)
    content = _rendered(chosen, kind)
    for path, text in content.items():
        write_text(folder / path, text)
    return Package(chosen, kind, folder, tuple(sorted(content)), tuple(_commands(chosen, kind, folder)))


def _rendered(chosen: Names, kind: str) -> dict[str, str]:
    """Path in the package → text."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    install, test, *tries = _commands(chosen, kind, Path())
    facts = {
        **{key: getattr(chosen, key) for key in ("name", "identifier", "distribution", "module", "prefix")},
        **vars(KINDS[kind]),
        "kind": kind,
        "api": mammozoo.API,
        "mammozoo": ".".join(mammozoo.__version__.split(".")[:2]),
        "about": KINDS[kind].about.format(name=chosen.name),
        "check": f"mammozoo plugins check {chosen.name}{' --root pictures' if kind == 'dataset' else ''}",
        "install": install,
        "test": test,
        "tries": tries,
    }
    content = {}
    for template in environment.list_templates(extensions=["j2"]):
        part, _, path = template.partition("/")
        if part in ("common", kind):
            # The names of the files hold NAME where their text holds {{ identifier }}.
            path = path.removesuffix(".j2").replace("NAME", chosen.identifier)
            content[path] = environment.get_template(template).render(facts)
    return content


def _commands(chosen: Names, kind: str, folder: Path) -> list[str]:
    """Install, test and try, with `folder` as the path of the package."""
    install = f"pip install -e {shlex.quote(f'{folder}[test]')}"
    test = "python -m pytest" if folder == Path() else f"python -m pytest {shlex.quote(str(folder))}"
    drawing, pictures = (shlex.quote(str(folder / path)) for path in ("tests/pictures.py", "pictures"))
    places = {"name": chosen.name, "drawing": drawing, "pictures": pictures}
    return [install, test, *(line.format(**places) for line in KINDS[kind].tries)]
