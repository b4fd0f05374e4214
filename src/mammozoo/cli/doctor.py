"""`mammozoo doctor`."""

from __future__ import annotations

from pathlib import Path

import typer

from mammozoo.cli.output import print_json, print_table


def doctor(
    as_json: bool = typer.Option(False, "--json", help="Machine-readable result on stdout."),
) -> None:
    """Report versions, device, precision, caches, the Hub and plugins; made to be pasted into a bug report."""
    facts = _facts()
    if as_json:
        print_json({"facts": facts})
    else:
        print_table("", ["what", "is"], facts.items())


def _facts() -> dict[str, str]:
    import os
    import platform
    import shutil
    from importlib import metadata

    from mammozoo.plugins import registry

    plugins = registry().plugins  # before torch is here: one that imports it at once is slow in every other command
    registry().survey()
    import torch
    from huggingface_hub import constants

    import mammozoo
    from mammozoo.errors import MammozooError
    from mammozoo.models.device import choose_engine
    from mammozoo.zoo.hub import check_reachable, endpoint

    engine = choose_engine()
    gpu = f" ({torch.cuda.get_device_name()})" if engine.device.type == "cuda" else ""
    try:
        check_reachable()
        hub = f"{endpoint()} answers"
    except MammozooError as error:
        hub = str(error)
    facts = {
        "mammozoo": mammozoo.__version__,
        "Python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        **{
            name: metadata.version(name)
            for name in ("torch", "torchvision", "timm", "huggingface_hub", "albumentations")
        },
        "device": f"{engine.device}{gpu}",
        "precision": f"{engine.precision} (chosen by auto)",
        "processor": f"{torch.backends.cpu.get_cpu_capability()}, {os.cpu_count()} cores, torch uses {torch.get_num_threads()}",
        "disk free here": f"{shutil.disk_usage('.').free / 1e9:.1f} GB",
        "Hub cache": str(constants.HF_HUB_CACHE),
        "Hub": hub,
    }
    for plugin in plugins:
        state = plugin.state + (f": {plugin.reason}" if plugin.reason else "")
        called = f"plugin {plugin.name}"
        called += f" of {plugin.distribution}" if called in facts else ""
        facts[called] = "; ".join([f"{plugin.distribution} {plugin.version}, {state}", *plugin.notes])
    # A bug report is public, and the home folder tells the user's name.
    home = str(Path.home())
    return {what: said.replace(home, "~") for what, said in facts.items()}
