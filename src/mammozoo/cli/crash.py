"""The report of a bug, of mammozoo or of a library: one paragraph on stderr, and the traceback in a file."""

from __future__ import annotations

import datetime
import os
import re
import shlex
import sys
import traceback
from pathlib import Path

from mammozoo.cli.output import say
from mammozoo.errors import MammozooError, Scene, scene_of

#: Exit code of a bug, EX_SOFTWARE of sysexits.h.
CRASHED = 70

_WITH_DEVICE = ("train", "predict", "evaluate", "explain", "diagnose")  # commands that take --device
_TOKEN = re.compile(r"\bhf_[A-Za-z0-9]{8,}|(?<=://)[^/\s@]+@|(?<=[?&]token=)[^&\s]+")


def report_crash(error: BaseException) -> None:
    """Print what failed, how to continue, and where the traceback is; with MAMMOZOO_DEBUG also the traceback."""
    from mammozoo.plugins.discovery import cause

    if os.environ.get("MAMMOZOO_DEBUG"):
        traceback.print_exception(error)
    scene, command, plugins = scene_of(error), _command(), _third_party_plugins()
    message = f"{scene.doing or f'mammozoo {command}'.rstrip()} failed: {cause(error).rstrip('.')}. "
    message += "This is a bug of mammozoo or of a library"
    if plugins:
        message += f", or comes from a plugin (loaded: {plugins}). Try MAMMOZOO_PLUGINS= (empty)"
    message += ". "
    if command in _WITH_DEVICE and _used_a_card(scene):
        message += "--device cpu may avoid it. "
    if scene.run is not None:
        message += f"The run can be continued with: mammozoo train --resume {scene.run} "
        message += f"(traceback: '{scene.run / 'log.txt'}'). "
    else:
        message += f"{_write_traceback(error)} "
    say(f"mammozoo: {message}Please report it with that traceback and the output of `mammozoo doctor`.", err=True)


def _command() -> str:
    """The name of the command, or an empty text."""
    from mammozoo.cli import app

    known = {info.name for info in app.registered_commands} | {group.name for group in app.registered_groups}
    return next((word for word in sys.argv[1:] if word in known), "")


def _third_party_plugins() -> str:
    if "mammozoo.plugins" not in sys.modules:
        return ""
    from mammozoo.plugins.blame import guests

    return guests()


def _used_a_card(scene: Scene) -> bool:
    """Whether the work ran on a card; without a recorded device, whether this process has started one."""
    if scene.device:
        return not scene.device.startswith("cpu")
    torch = sys.modules.get("torch")
    return torch is not None and (torch.cuda.is_initialized() or torch.backends.mps.is_available())


def _write_traceback(error: BaseException) -> str:
    """Write the traceback into the cache folder; where it is, or why it could not be written."""
    from mammozoo.data.cache import cache_folder
    from mammozoo.files import write_text

    if (folder := cache_folder()) is None:
        return "There is no home folder for the traceback; MAMMOZOO_DEBUG=1 shows it."
    now = datetime.datetime.now()
    path = folder / f"crash-{now:%Y%m%d-%H%M%S}-{os.getpid()}.txt"
    text = f"{now.isoformat(timespec='seconds')}  {shlex.join(['mammozoo', *sys.argv[1:]])}\n\n"
    text += "".join(traceback.format_exception(error))
    try:
        write_text(path, _TOKEN.sub("***", text).replace(str(Path.home()), "~"))
    except MammozooError as reason:
        return f"The traceback could not be written ({str(reason).rstrip('.')}); MAMMOZOO_DEBUG=1 shows it."
    return f"The traceback is in '{path}'."
