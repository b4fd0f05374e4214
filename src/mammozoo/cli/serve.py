"""`mammozoo serve`: one page on this computer, where an image is dropped and the model's answer shown."""

from __future__ import annotations

import signal

import typer

from mammozoo import api
from mammozoo.cli.options import Device
from mammozoo.cli.output import note, say

EXAMPLES = """
mammozoo serve
mammozoo serve --model runs/first
"""


def serve(
    model: str = typer.Option(None, help="A zoo name, or the path of a run or model; without it, the built-in model."),
    port: int = typer.Option(8765, min=0, max=65535, help="Port on this computer; 0 takes any free port."),
    device: Device = "auto",
) -> None:
    """Try a model in the browser: drop an image and see the prediction. For this computer only; research only."""
    from mammozoo.cli.server import HERE, make_server

    server = make_server(api.load(model, device=device), port)
    for name in ("SIGTERM", "SIGHUP"):  # end as Ctrl-C does, so that an image at work is removed
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.default_int_handler)
    try:
        say(f"http://{HERE}:{server.server_port}/")
        note("Open this address on this computer. Nothing leaves the computer, and no image is kept. Stop with Ctrl-C.")
        server.serve_forever()
    except KeyboardInterrupt:
        note("Ended.")
    finally:
        server.server_close()
