"""The names of networks, read from source: the same as those that the libraries list."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import timm
import torchvision

from mammozoo import BackboneSpec
from mammozoo.errors import NotFoundError
from mammozoo.plugins import registry
from mammozoo_basics import catalogue


def test_the_names_of_timm() -> None:
    assert catalogue.timm_names() == sorted(timm.list_models())


def test_the_names_of_torchvision() -> None:
    with_features = ("alexnet", "densenet", "efficientnet", "mobilenet", "squeezenet", "vgg")
    names = torchvision.models.list_models(module=torchvision.models)
    assert catalogue.torchvision_names() == sorted(name for name in names if name.startswith(with_features))


@pytest.mark.parametrize("name", ["resnet18", "torchvision/squeezenet1_1", "resnet9"])
def test_a_lookup_makes_no_other_specs(name: str, fresh: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    monkeypatch.setattr(
        catalogue, "BackboneSpec", lambda name, *rest, **more: made.append(name) or BackboneSpec(name, *rest, **more)
    )
    assert fresh().get("backbones", name).name == name
    assert made == ([name] if name != "resnet9" else [])


@pytest.mark.parametrize("name", ["resnet1000", "torchvision/resnet18", "torchvision/", "hub/resnet18"])
def test_a_name_that_no_library_has(name: str) -> None:
    assert catalogue.Catalogue().find(name) is None
    with pytest.raises(NotFoundError):
        registry().get("backbones", name)


def test_a_library_without_readable_source_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "registered_names", lambda package: [])
    assert catalogue.timm_names() == sorted(timm.list_models())
    assert "squeezenet1_1" in catalogue.torchvision_names()


def test_no_source_no_names() -> None:
    assert catalogue.registered_names("a_package_that_nobody_has") == []
    assert catalogue.registered_names("json") == []  # it has no models


def test_listing_imports_neither() -> None:
    code = (
        "import sys; from mammozoo.plugins import registry; n = len(registry().items('backbones'));"
        "print(n > 1000, [m for m in ('timm', 'torchvision') if m in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert answer.stdout.split("\n")[0] == "True []"


def test_loading_the_built_in_plugins_imports_no_heavy_library() -> None:
    """A command pays only for the kind of thing that it needs."""
    code = (
        "import sys; from mammozoo.plugins import registry; r = registry(); names = {*r.items('recipes'), *r.items('papers')};"
        "print('byra-busi' in names, [m for m in ('torch', 'numpy', 'scipy', 'PIL') if m in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert answer.stdout.split("\n")[0] == "True []"
