"""Adapters: the difference to a pinned base, and the very same model when the two are joined."""

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from huggingface_hub.utils import WeakFileLock

from mammozoo.errors import IncompatibleError, MammozooError, NotFoundError, NotVerifiedError, UsageError
from mammozoo.files import sha256
from mammozoo.models.backbone import load_exactly
from mammozoo.models.config import read_config
from mammozoo.models.factory import build_backbone, build_model, load_model, round_weights, save_model
from mammozoo.models.weights import read_tensors, write_tensors
from mammozoo.zoo.adapter import is_adapter, join, read_adapter, split
from mammozoo.zoo.cache import clean

from ..helpers import edit_json, flip

STRATEGIES = ["frozen", "drs", "last-blocks:1", "drs+last-blocks:1"]


@pytest.fixture(scope="module")
def plain(tiny_run, tmp_path_factory) -> Path:
    """A base: a whole network that no strategy has changed."""
    folder = tmp_path_factory.mktemp("plain")
    config = read_config(tiny_run.path).model_copy(update={"name": "plain", "strategy": "full", "head": "gap"})
    torch.manual_seed(0)
    model, _ = build_model(build_backbone(config.backbone), "full", "gap", config.classes, config.input)
    save_model(model, config, folder)
    return folder


def learnt(base: Path, strategy: str, out: Path, *, head: str = "gap", dtype: torch.dtype = torch.float32) -> Path:
    """A model as training leaves it: the base's network, and other numbers wherever the strategy lets it learn."""
    config = read_config(base).model_copy(update={"name": "learnt", "strategy": strategy, "head": head})
    torch.manual_seed(1)
    backbone = build_backbone(config.backbone)
    state = read_tensors(base / "model.safetensors")
    own = {name.removeprefix("backbone."): t for name, t in state.items() if name.startswith("backbone.")}
    load_exactly(backbone, own)
    model, _ = build_model(backbone, strategy, head, config.classes, config.input)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    round_weights(model, dtype)
    save_model(model, config, out, dtype)
    (out / "README.md").write_text("the card")
    return out


def same(a: Path, b: Path) -> bool:
    names = ("model.safetensors", "config.json", "README.md")
    return all((a / name).read_bytes() == (b / name).read_bytes() for name in names)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_an_adapter_holds_what_learnt_and_joined_it_is_the_model_byte_by_byte(strategy, plain: Path, tmp_path) -> None:
    model = learnt(plain, strategy, tmp_path / "model")
    split(model, plain, tmp_path / "adapter")
    assert is_adapter(tmp_path / "adapter") and not is_adapter(model)
    join(tmp_path / "adapter", plain, tmp_path / "joined")
    assert same(tmp_path / "joined", model)
    assert {path.name for path in (tmp_path / "joined").iterdir()} == {"README.md", "config.json", "model.safetensors"}
    backbone = build_backbone(read_config(model).backbone)
    network, _ = build_model(backbone, strategy, "gap", ("a", "b"), read_config(model).input)
    learning = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    adapter = read_adapter(tmp_path / "adapter")
    assert set(adapter.tensors) == learning == set(read_tensors(tmp_path / "adapter" / "adapter.safetensors"))
    assert adapter.base.name == read_config(plain).name
    assert adapter.base.sha256 == sha256(plain / "model.safetensors")
    assert adapter.full_sha256 == sha256(model / "model.safetensors")
    small, whole = tmp_path / "adapter" / "adapter.safetensors", model / "model.safetensors"
    assert strategy not in ("frozen", "drs") or small.stat().st_size < whole.stat().st_size / 50


def test_a_join_under_way_is_not_cleaned_up(plain: Path, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("MAMMOZOO_CACHE", str(tmp_path / "cache"))
    split(learnt(plain, "frozen", tmp_path / "model"), plain, tmp_path / "adapter")
    out, swept = tmp_path / "cache" / "joined" / "one", []
    with monkeypatch.context() as patch:  # whenever a file is written and not yet in its place
        patch.setattr("mammozoo.files.os.fsync", lambda descriptor: swept.append(clean()))
        join(tmp_path / "adapter", plain, out)
    assert swept == [(0, 0)] * 3 and same(out, tmp_path / "model")
    (out / ".model.safetensors.x.tmp").write_bytes(b"left by a killed one")
    assert clean() == (1, 20) and len(list(out.iterdir())) == 3


def test_what_another_program_downloads_is_left_alone(tmp_path, monkeypatch) -> None:
    """The client holds its own lock while it writes; what a killed one left is removed."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    part = tmp_path / "models--a--b" / "blobs" / f"{'0' * 64}.0123abcd.incomplete"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"half")
    with WeakFileLock(tmp_path / ".locks" / "models--a--b" / f"{'0' * 64}.lock"):
        assert clean() == (0, 0)
    assert clean() == (1, 4) and not part.exists()


def test_a_block_that_a_layer_was_put_behind_is_found_under_its_new_name(tmp_path, plain: Path) -> None:
    base = tmp_path / "base"
    config = read_config(plain).model_copy(update={"backbone": "resnet9:width=4", "name": "nine"})
    backbone = build_backbone(config.backbone)
    save_model(build_model(backbone, "scratch", "gap", config.classes, config.input)[0], config, base)
    model = learnt(base, "drs", tmp_path / "model")
    split(model, base, tmp_path / "adapter")
    assert read_adapter(tmp_path / "adapter").renamed == {
        "backbone.res1": "backbone.res1.block", "backbone.res3": "backbone.res3.block",
    }  # fmt: skip
    join(tmp_path / "adapter", base, tmp_path / "joined")
    assert same(tmp_path / "joined", model)


def test_a_published_network_without_our_names_can_be_the_base(plain: Path, tmp_path) -> None:
    """As ImageNet weights are on the Hub: the network's own names, a classifier, batch norm's counters, no config of ours."""
    tensors = read_tensors(plain / "model.safetensors")
    theirs = {name.removeprefix("backbone.net."): t for name, t in tensors.items() if name.startswith("backbone.")}
    more = {"fc.weight": torch.rand(1000, 8), "fc.bias": torch.rand(1000), "bn1.num_batches_tracked": torch.tensor(0)}
    write_tensors(tmp_path / "hub" / "model.safetensors", theirs | more)
    model = learnt(plain, "frozen", tmp_path / "model")
    with pytest.raises(UsageError, match="does not say its name"):
        split(model, tmp_path / "hub", tmp_path / "adapter")
    split(model, tmp_path / "hub", tmp_path / "adapter", base_name="imagenet-test-resnet")
    adapter = read_adapter(tmp_path / "adapter")
    assert adapter.renamed == {"": "backbone.net"} and adapter.dropped == ("fc.bias", "fc.weight")
    assert set(adapter.tensors) == {name for name in tensors if name.startswith("head.")}
    join(tmp_path / "adapter", tmp_path / "hub", tmp_path / "joined")
    assert same(tmp_path / "joined", model)


@pytest.mark.parametrize(
    ("more", "kept"),
    [
        ({"head": "flatten-2fc:first=4,second=3"}, {"dropped": ("head.2.bias", "head.2.weight")}),
        ({"dtype": torch.float16}, {"dtype": "F16"}),
        ({"dtype": torch.float64}, {"dtype": "F64"}),
    ],
)
def test_another_head_or_precision_than_the_bases(more, kept, plain: Path, tmp_path) -> None:
    model = learnt(plain, "drs", tmp_path / "model", **more)
    split(model, plain, tmp_path / "adapter")
    adapter = read_adapter(tmp_path / "adapter")
    assert {key: getattr(adapter, key) for key in kept} == kept
    join(tmp_path / "adapter", plain, tmp_path / "joined")
    assert same(tmp_path / "joined", model)


def test_with_little_in_common_there_is_no_adapter(plain: Path, tmp_path) -> None:
    model = learnt(plain, "full", tmp_path / "model")  # only batch norm's statistics are still the base's
    with pytest.raises(UsageError, match="little in common") as caught:
        split(model, plain, tmp_path / "adapter")
    assert "frozen, drs, last-blocks" in str(caught.value)
    assert not (tmp_path / "adapter").exists()


# ---------------------------------------------------------------- joining


@pytest.fixture
def pair(plain: Path, tmp_path) -> tuple[Path, Path, Path]:
    """(adapter, base, where the model goes)."""
    base = tmp_path / "base"
    for name in ("model.safetensors", "config.json"):
        base.mkdir(exist_ok=True)
        shutil.copy(plain / name, base)
    split(learnt(base, "drs", tmp_path / "model"), base, tmp_path / "adapter")
    return tmp_path / "adapter", base, tmp_path / "made" / "joined"


@pytest.mark.parametrize("how", ["weights", "config", "card", "card gone", "config gone", "emptied"])
def test_what_is_not_right_is_made_again(how: str, pair: tuple[Path, Path, Path], tmp_path) -> None:
    join(*pair)
    made = pair[2]
    damage: dict[str, Callable[[], object]] = {
        "weights": lambda: flip(made / "model.safetensors"),
        "config": lambda: (made / "config.json").write_text(
            (made / "config.json").read_text().replace("benign", "cancer")
        ),
        "card": lambda: (made / "README.md").write_text("safe for patients"),
        "card gone": lambda: (made / "README.md").unlink(),
        "config gone": lambda: (made / "config.json").unlink(),
        "emptied": lambda: [path.unlink() for path in made.iterdir()],
    }
    damage[how]()
    join(*pair)
    assert same(made, tmp_path / "model")


def test_it_is_made_once_and_anew_for_a_new_card(pair: tuple[Path, Path, Path]) -> None:
    join(*pair)
    (pair[0] / "README.md").write_text("version 2")
    join(*pair)
    assert (pair[2] / "README.md").read_text() == "version 2"
    join(*pair)
    before = (pair[2] / "model.safetensors").stat()
    shutil.rmtree(pair[1])
    join(*pair)
    assert (pair[2] / "model.safetensors").stat() == before, "neither read nor written; no base is needed"
    assert [path.name for path in pair[2].parent.iterdir()] == ["joined"]


def test_many_at_once_and_an_adapter_alone(pair: tuple[Path, Path, Path], tmp_path) -> None:
    with ThreadPoolExecutor(8) as pool:
        for one in [pool.submit(join, *pair) for _ in range(8)]:
            one.result()
    assert same(pair[2], tmp_path / "model")
    assert [path.name for path in pair[2].parent.iterdir()] == ["joined"]
    with pytest.raises(NotFoundError, match=r"holds an adapter.*--model learnt"):
        load_model(pair[0])


def edit(folder: Path, **changes: object) -> None:
    edit_json(folder / "config.json", lambda content: content["adapter"].update(changes))


WRONG: dict[str, tuple[Callable[[Path, Path], object], type[MammozooError], str]] = {
    "another base": (lambda a, b: flip(b / "model.safetensors"), NotVerifiedError, "not the base that the adapter was made for"),
    "no base": (lambda a, b: (b / "model.safetensors").unlink(), NotFoundError, "needs its base"),
    "a bit of it": (lambda a, b: flip(a / "adapter.safetensors"), NotVerifiedError, "do not give the model"),
    "a tensor more": (
        lambda a, b: write_tensors(
            a / "adapter.safetensors", read_tensors(a / "adapter.safetensors") | {"../../x": torch.zeros(1)}
        ),
        NotVerifiedError, "do not give the model",
    ),
    "no tensors": (lambda a, b: (a / "adapter.safetensors").unlink(), NotFoundError, "no weights file"),
    "a pickle": (lambda a, b: torch.save({}, a / "adapter.safetensors"), NotVerifiedError, "not a valid safetensors file"),
    "another result": (lambda a, b: edit(a, full_sha256="0" * 64), NotVerifiedError, "do not give the model"),
    "other names": (lambda a, b: edit(a, renamed={"backbone": "elsewhere"}), NotVerifiedError, "do not give the model"),
    "a rounding": (lambda a, b: edit(a, dtype="F16"), NotVerifiedError, "do not give the model"),
    "a strange type": (lambda a, b: edit(a, dtype="F8"), IncompatibleError, "adapter.dtype"),
    "no hash": (lambda a, b: edit(a, full_sha256="latest"), IncompatibleError, "adapter.full_sha256"),
    "more fields": (lambda a, b: edit(a, url="http://elsewhere"), IncompatibleError, "adapter.url"),
    "no section": (lambda a, b: (a / "config.json").write_text('{"mammozoo": {}}'), NotFoundError, "not an adapter"),
    "no JSON": (lambda a, b: (a / "config.json").write_text("{"), IncompatibleError, "not a mammozoo config"),
    "nested": (lambda a, b: (a / "config.json").write_text("[" * 100_000), IncompatibleError, "not a mammozoo config"),
    "no config": (lambda a, b: (a / "config.json").unlink(), NotFoundError, "no config.json"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_what_does_not_belong_together_makes_nothing(what: str, pair: tuple[Path, Path, Path]) -> None:
    damage, kind, words = WRONG[what]
    damage(pair[0], pair[1])
    with pytest.raises(kind, match=words):
        join(*pair)
    assert not pair[2].exists()
