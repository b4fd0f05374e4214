"""What is said of a bug, of mammozoo's or of a library's: one paragraph on stderr, and the traceback in a file."""

from __future__ import annotations

import datetime
import os
import re
import shlex
import sys
import traceback
from pathlib import Path

import typer

from mammozoo.errors import MammozooError, Scene, scene_of

#: Exit code of a bug, BSD's EX_SOFTWARE.
CRASHED = 70

_ON_A_DEVICE = ("train", "predict", "evaluate", "explain", "diagnose")  # commands that take --device
_TOKEN = re.compile(r"\bhf_[A-Za-z0-9]{8,}|(?<=://)[^/\s@]+@|(?<=[?&]token=)[^&\s]+")


def tell(error: BaseException) -> None:
    """Say on stderr what failed, how to go on, and where the traceback is; under MAMMOZOO_DEBUG show the traceback too."""
    from mammozoo.plugins.discovery import cause

    if os.environ.get("MAMMOZOO_DEBUG"):
        traceback.print_exception(error)
    scene, command = scene_of(error), _command()
    said = [f"{scene.doing or f'mammozoo {command}'.rstrip()} failed: {cause(error).rstrip('.')}."]
    others = _guests()
    said.append(
        "This is a bug of mammozoo or of a library below it"
        + (f", or comes of what a plugin gave them; others' are loaded: {others}." if others else ".")
    )
    if others:
        said.append("See whether it happens with MAMMOZOO_PLUGINS= (empty) too.")
    if command in _ON_A_DEVICE and _off_the_processor(scene):
        said.append("--device cpu may get past it.")
    if scene.run is not None:
        said.append(f"The run is kept, and goes on from where it was with: mammozoo train --resume {scene.run}")
        said.append(f"(traceback: '{scene.run / 'log.txt'}').")
    else:
        said.append(_kept(error))
    said.append("Please report it, with that traceback and what `mammozoo doctor` says.")
    typer.echo(f"mammozoo: {' '.join(said)}", err=True)


def _command() -> str:
    """The command's name; empty where there is none among the words."""
    known = {info.name for info in _app().registered_commands} | {group.name for group in _app().registered_groups}
    return next((word for word in sys.argv[1:] if word in known), "")


def _app() -> typer.Typer:
    from mammozoo.cli import app

    return app


def _guests() -> str:
    """Whose plugins are here: what they gave us may have led to it."""
    if "mammozoo.plugins" not in sys.modules:
        return ""
    from mammozoo.plugins.blame import guests

    return guests()


def _off_the_processor(scene: Scene) -> bool:
    """Whether a card had part in it; where nobody noted the device, whether this process has started one."""
    if scene.device:
        return not scene.device.startswith("cpu")
    torch = sys.modules.get("torch")
    return torch is not None and (torch.cuda.is_initialized() or torch.backends.mps.is_available())


def _kept(error: BaseException) -> str:
    """Where the traceback was written, or why it was not."""
    from mammozoo.data.cache import cache_folder
    from mammozoo.files import write_text

    shows = "MAMMOZOO_DEBUG=1 shows it."
    if (folder := cache_folder()) is None:
        return f"There is no home folder to write the traceback to; {shows}"
    now = datetime.datetime.now()
    path = folder / f"crash-{now:%Y%m%d-%H%M%S}-{os.getpid()}.txt"
    words = f"{now.isoformat(timespec='seconds')}  {shlex.join(['mammozoo', *sys.argv[1:]])}\n\n"
    try:
        write_text(path, _plain(words + "".join(traceback.format_exception(error))))
    except MammozooError as why:
        return f"The traceback could not be written ({str(why).rstrip('.')}); {shows}"
    return f"The traceback is in '{path}'."


def _plain(text: str) -> str:
    """Without access tokens, and without the home folder, which tells the user's name."""
    return _TOKEN.sub("***", text).replace(str(Path.home()), "~")
