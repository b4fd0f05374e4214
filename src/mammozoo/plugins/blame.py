"""Whose code raised: an exception out of another's plugin as one paragraph that names it."""

from __future__ import annotations

import re
import traceback
from pathlib import Path

from mammozoo.errors import FailedError
from mammozoo.plugins.discovery import cause
from mammozoo.plugins.registry import registry

_FRAME = re.compile(r'File "(.+?)", line (\d+), in (\S+)')


def guests() -> str:
    """Other people's plugins that are loaded: `tail-lab 3.1, peft 0.2`; empty where there are none."""
    if not registry.cache_info().currsize:
        return ""
    loaded = [plugin for plugin in registry().plugins if not plugin.builtin and plugin.state != "failed"]
    return ", ".join(f"{plugin.distribution} {plugin.version}" for plugin in loaded)


def blame(error: BaseException) -> FailedError | None:
    """The error to report for one that the code of another's plugin raised; None where no such code had a part in it.

    It looks for the innermost frame in a plugin's files. The traceback is read as text, in which those of worker processes are
    too. An interrupt is nobody's fault, and errors of mammozoo's own say themselves what they have to say.
    """
    if isinstance(error, KeyboardInterrupt) or not registry.cache_info().currsize:
        return None
    text = "".join(traceback.format_exception(error))
    for name, line, function in reversed(_FRAME.findall(text)):
        owner = registry().owner(Path(name))
        if owner is not None:
            plugin, file = owner
            said = cause(error)
            if "Traceback (most recent" in said:  # a worker process's, whose last line is what it raised
                said = text.rstrip().rpartition("\n")[2].strip()
            return FailedError(
                f"Plugin '{plugin.name}' ({plugin.distribution} {plugin.version}) failed in '{function}' ({file}, line {line}): "
                f"{said}. That is for its authors to correct; `mammozoo --debug` before the command shows the whole "
                "traceback for them. MAMMOZOO_PLUGINS= (empty) leaves other people's plugins out."
            )
    return None
