"""Mistakes at random in values, texts and bytes; the one source of them, so that every kind of input meets all."""

import copy
import itertools
import json
import random
from collections.abc import Callable
from typing import Any

import yaml

#: Texts that stand for a whole file.
RAW = [
    "", " ", "\n", "1:" * 200_000 + "1", "2026-01-01", "2020-99-99", "0o17", "0x1F", "1_000", "1e999", "1.0e+999", ".inf",
    ".nan",
    "NaN", "-Infinity", "9" * 5000, "-0", "07", "yes", "~", "null", "[" * 3000, "{" * 3000, '{"a":' * 3000,
    "[" * 90 + "]" * 90,
    "&a [*a]", "*a", "!!python/object/apply:os.system [id]", "!!int 1:1:1", "!!binary aGk=", "!!timestamp 2026-01-01", "!x y",
    "<<: {a: 1}", "? [a]\n: b", '"\\ud800"', '"\\u0000"', "\0", "\x1b[2J", "\ufeff", "\u2028", "\x85", "\u202e",
    "|\n  text", "'",
    '"', "a: b: c", "\t- x", "%YAML 9.9\n---\n", "--- \n--- ", "#", "{a: 1, a: 2}", '{"a": 1, "a": 2}', "x" * 200_000, "😀",
    "../../etc/passwd", "/", "=", ":", "a=b=c", "1.5e3", "true", "[]", "{}", "[[]]", '[{}]', '{"splits": {}}', '""', "7",
    "- 1\n" * 30_000, "a," * 30_000, "a\n" * 30_000, '"a\n' * 300, "path,label\r" * 300, "sep=|\npath|label\n",
    "path,label,path\n",
    "a: &a [x]\n" + "".join(f"{b}: &{b} [{f'*{a},' * 9}]\n" for a, b in itertools.pairwise("abcdefghijkl")),
]  # fmt: skip
SHORT = [text for text in RAW if len(text) < 1000]
#: Values in the place of another one.
VALUES = [
    None, True, False, -1, 0, 1, 2, 3, 1023, 1024, 2**31, 2**32 - 1, 2**63, 2**64, 10**30, 10**300, -1e-300, 1e300, 1e308,
    1e-320, 0.5,
    7.5, -3, "", " ", "x", "0", "1", "-1", "7.5", "-3", "1e999", "nan", "inf", "x" * 5000, "\n", "\x1b[31m", "a\u202eb",
    "..", "/", "~",
    "~nosuchuser", "a:b=c", "🙂", "[/]", "[red]", "=1+1", "<script>", "{0}", "%s", "\udcff", "True", "train", "test",
    "a.png", "holdout",
    [], {}, [[]], [{}], [None], ["x", 1], ["a", "a"], {"x": 1}, {"": None}, {"a": {"b": []}}, ["a"] * 300, [0] * 3000,
]  # fmt: skip
WHOLE_NUMBERS = [0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 32, 64, 127, 128, 255, 256, 4096, 9999, 10_001, 32767, 32768, 65535,
65536, 10**6,
                 2**31 - 1, 2**31, 2**32 - 1]  # fmt: skip


def spoilt(content: Any, dump: Callable[[Any], str], rng: random.Random) -> bytes:
    """The text of `content` with mistakes in its values, text and bytes; seldom with none, or another text altogether."""
    if rng.random() < 0.08:
        return rng.choice(RAW).encode("utf-8", "surrogatepass")
    content = json.loads(json.dumps(content))
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3))):
        content = other(content, rng)
    text = dump(content)
    if rng.random() < 0.3:
        ends = [n + 2 for n in range(len(text) - 2) if text[n : n + 2] in (": ", "- ", ", ")]
        place = rng.choice([0, len(text), *ends, *(n + 1 for n, c in enumerate(text) if c in ",\n")])
        text = text[:place] + rng.choice(SHORT) + text[place + rng.choice((0, 0, 1, 5)) :]
    if rng.random() < 0.05:
        return text.encode(rng.choice(("utf-16", "utf-16-le", "utf-32", "cp1252", "utf-7")), "ignore")
    data = text.encode("utf-8", "surrogatepass")
    return damaged(data, rng) if rng.random() < 0.3 else data


def other(value: Any, rng: random.Random) -> Any:
    """One value anywhere in it is another one, given twice, of another name, or gone."""
    if isinstance(value, dict | list) and value and rng.random() < 0.9:
        key = rng.choice(sorted(value)) if isinstance(value, dict) else rng.randrange(len(value))
        chance = rng.random()
        if chance < 0.1:
            del value[key]
        elif chance < 0.15 and isinstance(value, dict):
            value[rng.choice(SHORT)] = value.pop(key)
        elif chance < 0.15:
            value.insert(rng.randrange(len(value) + 1), copy.deepcopy(value[key]))
        else:
            value[key] = other(value[key], rng)
        return value
    return copy.deepcopy(rng.choice(VALUES))


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Bytes changed, lost, doubled or put in, once or a few times."""
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        start = rng.randrange(len(data) + 1)
        length = rng.choice((0, 1, 1, 2, 4, 40, len(data) - start))
        part = data[start : start + length]
        number = rng.choice(WHOLE_NUMBERS).to_bytes(8, rng.choice(("little", "big")))
        new = rng.choice(
            (b"", part * 2, rng.randbytes(max(1, length % 50)), number[:2], number[:4], number[4:], b"\xff" * len(part),
             bytes(len(part)), b"\r\n", b"\xff", b'"', b"\0")
        )  # fmt: skip
        data = data[:start] + new + data[start + length :]
    return data


def table(rows: Any) -> str:
    """Rows as CSV without any quotes."""
    rows = [row for row in rows if isinstance(row, list)] if isinstance(rows, list) else []
    return "\n".join(",".join(map(str, row)) for row in rows)


def yaml_of(content: Any) -> str:
    """What `yaml` writes."""
    return yaml.safe_dump(content, allow_unicode=True, sort_keys=False)
