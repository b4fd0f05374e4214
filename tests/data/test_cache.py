"""The array store: reading back, damage, eviction, concurrent writers, and full or read-only disks."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mammozoo.data import cache as module
from mammozoo.data.cache import Store, Stream, cache_folder, key_of

WHAT = {"what": "numbers", "n": 3}
NUMBERS = np.arange(12, dtype=np.float32).reshape(3, 4)


@pytest.fixture(autouse=True)
def new_process(monkeypatch) -> None:
    """State of a process that has not opened an entry or logged a warning."""
    monkeypatch.setattr(module, "_opened", {})
    module._warn_once.cache_clear()


def entry(folder: Path, description: dict[str, object] = WHAT) -> Path:
    return folder / "arrays" / key_of(description)


def test_what_is_put_is_got_mapped_and_read_only_by_a_key_of_plain_json(tmp_path) -> None:
    store = Store(tmp_path)
    assert store.get(WHAT) is None
    stored = store.put(WHAT, {"a": NUMBERS, "b": np.array([7], np.uint64)})
    assert stored is not None
    found = Store(tmp_path).get(dict(reversed(WHAT.items())))
    assert found["a"].dtype == np.float32 and np.array_equal(found["a"], NUMBERS)
    assert found["b"].tolist() == [7]
    assert isinstance(found["a"].base, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        found["a"][0] = 1
    assert Store(tmp_path).get({**WHAT, "n": 4}) is None
    assert json.loads((entry(tmp_path) / "entry.json").read_text())["made_from"] == WHAT
    assert [path.name for path in (tmp_path / "arrays").iterdir()] == [key_of(WHAT)]
    assert key_of({"a": 1, "b": [2]}) == key_of({"b": [2], "a": 1}) != key_of({"a": 1, "b": [3]})
    with pytest.raises(TypeError):
        key_of({"a": object()})
    with pytest.raises(ValueError):
        key_of({"a": float("nan")})


def test_a_stream_is_written_as_it_is_made(tmp_path) -> None:
    parts = (NUMBERS[i : i + 2] for i in (0, 2))
    found = Store(tmp_path).put(WHAT, {"a": Stream((3, 4), np.dtype(np.float32), parts)})
    assert np.array_equal(found["a"], NUMBERS)
    with pytest.raises(ValueError, match="2 of 3 rows"):
        Store(tmp_path).put({"n": 1}, {"a": Stream((3, 4), np.dtype(np.float32), [NUMBERS[:2]])})
    with pytest.raises(ValueError, match="float64"):
        Store(tmp_path).put({"n": 1}, {"a": Stream((3, 4), np.dtype(np.float32), [NUMBERS.astype(float)])})
    assert Store(tmp_path).get({"n": 1}) is None
    assert len(list((tmp_path / "arrays").iterdir())) == 1


def test_damage_is_noticed_and_removed(tmp_path, caplog) -> None:
    def flip(path: Path) -> None:
        content = bytearray((path / "a.npy").read_bytes())
        content[-3] ^= 1
        (path / "a.npy").write_bytes(content)

    def cut(path: Path) -> None:
        (path / "a.npy").write_bytes((path / "a.npy").read_bytes()[:-4])

    def lose(path: Path) -> None:
        (path / "a.npy").unlink()

    def scribble(path: Path) -> None:
        (path / "entry.json").write_text("[]")

    for harm in (flip, cut, lose, scribble):
        store = Store(tmp_path)
        store.put(WHAT, {"a": NUMBERS})
        harm(entry(tmp_path))
        if harm is not cut:  # the size is compared each time, the bytes once a process
            module._opened.clear()
        caplog.clear()
        assert store.get(WHAT) is None, harm.__name__
        assert harm is lose or str(entry(tmp_path)) in caplog.text
        assert not entry(tmp_path).exists()
        again = store.put(WHAT, {"a": NUMBERS})
        assert np.array_equal(again["a"], NUMBERS)


def test_the_least_recently_used_leaves_first_and_what_is_in_use_stays(tmp_path) -> None:
    array = np.zeros(10_000, np.uint8)
    store = Store(tmp_path, limit=35_000)
    for n in range(3):
        store.put({"n": n}, {"a": array})
        os.utime(entry(tmp_path, {"n": n}) / "entry.json", (n, n))
    module._opened.clear()
    store.get({"n": 0})  # now the youngest, and in use
    store.put({"n": 3}, {"a": array})
    assert [store.get({"n": n}) is not None for n in range(4)] == [True, False, True, True]
    assert store.put({"n": 4}, {"a": array}) is None  # all the others are in use by now
    assert store.put({"n": 5}, {"a": np.zeros(40_000, np.uint8)}) is None
    assert [store.get({"n": n}) is not None for n in range(6)] == [True, False, True, True, False, False]


def test_what_a_killed_process_left_is_removed_after_a_day(tmp_path) -> None:
    for name, age in ((".tmp-1-a", 90_000), (".tmp-2-b", 60)):
        left = tmp_path / "arrays" / name
        left.mkdir(parents=True)
        (left / "a.npy").write_bytes(b"half")
        before = left.stat().st_mtime - age
        os.utime(left, (before, before))
    Store(tmp_path).put(WHAT, {"a": NUMBERS})
    assert {path.name for path in (tmp_path / "arrays").iterdir()} == {".tmp-2-b", key_of(WHAT)}


def test_a_folder_that_cannot_be_means_no_cache_and_one_line(tmp_path, caplog, monkeypatch) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("MAMMOZOO_CACHE", str(tmp_path / "file" / "cache"))
    for _ in range(2):
        store = Store()
        assert store.get(WHAT) is None
        assert store.put(WHAT, {"a": NUMBERS}) is None
    assert len(caplog.records) == 1 and "No cache" in caplog.text


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process are POSIX")
def test_a_disk_that_fills_up_while_writing_leaves_nothing(tmp_path, caplog) -> None:
    import resource

    store = Store(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000_000, hard))
    try:
        assert store.put(WHAT, {"a": np.zeros(6_000_000, np.uint8)}) is None
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "No cache" in caplog.text
    assert list((tmp_path / "arrays").iterdir()) == []
    assert store.put(WHAT, {"a": NUMBERS}) is not None


def test_processes_that_write_at_once_agree(tmp_path) -> None:
    program = """
import sys, numpy as np
from pathlib import Path
from mammozoo.data.cache import Store
for n in range(8):
    found = Store(Path(sys.argv[1])).put({"n": n}, {"a": np.full(50_000, int(sys.argv[2]), np.uint8)})
    assert len(set(found["a"].tolist())) == 1
"""
    writers = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path), str(rank)], stderr=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    for writer in writers:
        _, errors = writer.communicate(timeout=60)
        assert writer.returncode == 0, errors
    assert {path.name for path in (tmp_path / "arrays").iterdir()} == {key_of({"n": n}) for n in range(8)}


def test_the_environment_says_where_and_how_much(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("MAMMOZOO_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.setenv("MAMMOZOO_CACHE_GB", "0.5")
    assert Store().limit == 5 * 10**8
    monkeypatch.setenv("MAMMOZOO_CACHE_GB", "0")
    off = Store()
    assert off.put(WHAT, {"a": NUMBERS}) is None and off.get(WHAT) is None
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv("MAMMOZOO_CACHE_GB", "much")
    assert Store().limit == module.LIMIT
    monkeypatch.delenv("MAMMOZOO_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == Path.home() / ".cache" / "mammozoo"
