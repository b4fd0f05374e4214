"""Turn an exception out of a third-party plugin into one paragraph that names the plugin."""

from __future__ import annotations

import re
import traceback
from pathlib import Path

from mammozoo.errors import FailedError
from mammozoo.plugins.discovery import cause
from mammozoo.plugins.registry import registry

_FRAME = re.compile(r'File "(.+?)", line (\d+), in (\S+)')


def guests() -> str:
    """The third-party plugins that are loaded: `tail-lab 3.1, peft 0.2`; empty if there are none."""
    if not registry.cache_info().currsize:
        return ""
    return ", ".join(
        f"{plugin.distribution} {plugin.version}"
        for plugin in registry().plugins
        if not plugin.builtin and plugin.state != "failed"
    )


def blame(error: BaseException) -> FailedError | None:
    """The error to report if code of a third-party plugin raised `error`; None if no such code is in its traceback.

    The innermost frame in a plugin's files counts. The traceback is read as text because the frames of worker processes reach
    us only as text, inside the message.
    """
    if isinstance(error, KeyboardInterrupt) or not registry.cache_info().currsize:
        return None
    text = "".join(traceback.format_exception(error))
    for name, line, function in reversed(_FRAME.findall(text)):
        if owner := registry().owner(Path(name)):
            plugin, file = owner
            reason = cause(error)
            if "Traceback (most recent" in reason:  # of a worker process: the last line is the exception
                reason = text.rstrip().rpartition("\n")[2].strip()
            return FailedError(
                f"Plugin '{plugin.name}' ({plugin.distribution} {plugin.version}) failed in '{function}' ({file}, line {line}): "
                f"{reason}. Please report this to its authors; `mammozoo --debug` before the command shows the whole "
                "traceback. MAMMOZOO_PLUGINS= (empty) turns off all third-party plugins."
            )
    return None
