"""A Hub on this machine for the tests of the zoo, and the command line that uses it."""

import dataclasses
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mammozoo.zoo.card import Publication
from mammozoo.zoo.staging import Staged, stage

sys.path.insert(0, str(Path(__file__).parent))  # pytest's importlib mode leaves helper modules to us

from far import Far
from hub_server import Hub

Zoo = Callable[..., Any]


@pytest.fixture
def hub() -> Iterator[Hub]:
    """An empty Hub. A test after which it had crashed is a failed test."""
    made = Hub()
    yield made
    made.stop()
    assert not made.crashes


@pytest.fixture
def hub_here(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """The client of this process uses the Hub. Call it to log somebody in, with an empty cache; alice is.

    The client freezes its settings at import; here they are thawed one by one.
    """
    from huggingface_hub import constants, hf_api
    from huggingface_hub.utils import _http

    def log_in(user: str | None, home: str = "hf-here") -> Path:
        for name, value in hub.environment(tmp_path / home, user).items():
            monkeypatch.setenv(name, value)
        cache = tmp_path / home / "hub"
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
        return cache

    log_in("alice")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
    template = hub.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setattr(hf_api.api, "endpoint", hub.endpoint)
    _http.close_session()
    yield log_in
    _http.set_client_factory(_http.default_client_factory)
    _http.close_session()


@pytest.fixture
def with_hub(
    hub: Hub, hub_here: Callable[..., Path], command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> Zoo:
    """`mammozoo WORDS` against the Hub. `user` is whose token it has, `home` its HF_HOME; more variables as keywords."""
    from huggingface_hub import constants
    from huggingface_hub.utils import _http

    def run(*words: object, user: str | None = None, home: str = "hf", **more: str) -> Any:
        hub_here(user, home)
        with monkeypatch.context() as patch:
            for name, value in more.items():
                patch.setenv(name, value)
            patch.setattr(constants, "HF_HUB_OFFLINE", more.get("HF_HUB_OFFLINE") == "1")
            patch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", int(more.get("HF_HUB_DOWNLOAD_TIMEOUT", 10)))
            answer = command(*words)
        _http.close_session()
        assert "hf_token" not in answer.out + answer.err, "a token is never shown"
        return answer

    return run


@pytest.fixture(scope="session")
def staged() -> Callable[..., Staged]:
    """Stages a run for `lab/tiny`; what is said of it can be changed by keyword."""

    def make(run: Path, out: Path, *, allow_stamped: bool = True, **changes: Any) -> Staged:
        about = Publication("tiny", "1.0.0", "Apache-2.0", "none: generated images", "lab/tiny")
        return stage(run, dataclasses.replace(about, **changes), out, allow_stamped=allow_stamped)

    return make


@pytest.fixture(scope="session")
def model(staged, tiny_run, tmp_path_factory) -> Staged:
    """What would be published of the small run; never changed."""
    return staged(tiny_run.path, tmp_path_factory.mktemp("staged") / "model")


@pytest.fixture
def far(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Far:
    made = Far(hub, tmp_path / "zoo")
    made.publish()
    monkeypatch.setenv("MAMMOZOO_ZOO", str(made.folder))
    return made
