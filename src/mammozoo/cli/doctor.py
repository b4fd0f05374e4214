"""`mammozoo doctor`."""

from __future__ import annotations

from pathlib import Path

from mammozoo.cli.options import Json
from mammozoo.cli.output import print_json, print_table
from mammozoo.errors import MammozooError

EXAMPLES = "mammozoo doctor"


def doctor(as_json: Json = False) -> None:
    """Report versions, device, precision, caches, the Hub and plugins, for a bug report."""
    import os
    import platform
    import shutil
    from importlib import metadata

    from mammozoo.plugins import registry

    plugins = registry().survey()  # before torch: a plugin that imports it at once must be timed with it
    import torch
    from huggingface_hub import constants

    import mammozoo
    from mammozoo.models.device import choose_engine
    from mammozoo.zoo.hub import check_reachable, endpoint

    engine = choose_engine()
    gpu = f" ({torch.cuda.get_device_name()})" if engine.device.type == "cuda" else ""
    try:
        check_reachable()
        hub = f"{endpoint()} answers"
    except MammozooError as error:
        hub = str(error)
    libraries = ("torch", "torchvision", "timm", "huggingface_hub", "albumentations")
    facts: dict[str, str] = {
        "mammozoo": mammozoo.__version__,
        "Python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        **{name: metadata.version(name) for name in libraries},
        "device": f"{engine.device}{gpu}",
        "precision": f"{engine.precision} (chosen by auto)",
        "processor": f"{torch.backends.cpu.get_cpu_capability()}, {os.cpu_count()} cores, torch uses {torch.get_num_threads()}",
        "disk free here": f"{shutil.disk_usage('.').free / 1e9:.1f} GB",
        "Hub cache": str(constants.HF_HUB_CACHE),
        "Hub": hub,
    }
    for plugin in plugins:
        state = f"{plugin.state}: {plugin.reason}" if plugin.reason else plugin.state
        key = f"plugin {plugin.name}"
        key += f" of {plugin.distribution}" if key in facts else ""
        facts[key] = "; ".join([f"{plugin.distribution} {plugin.version}, {state}", *plugin.notes])
    # A bug report is public, and the home folder holds the user's name.
    facts = {what: value.replace(str(Path.home()), "~") for what, value in facts.items()}
    if as_json:
        print_json({"facts": facts})
    else:
        print_table("", ["what", "is"], facts.items())
