"""The grammar of names with options."""

from pathlib import Path
from typing import Any, Literal

import pytest

from mammozoo.config.names import Spec, call, parse, parse_sum
from mammozoo.errors import UsageError


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("drs", Spec("drs")),
        ("last-blocks:2", Spec("last-blocks", ("2",))),
        ("last-blocks:2,stage", Spec("last-blocks", ("2", "stage"))),
        ("last-blocks:k=1,by=stage", Spec("last-blocks", (), (("k", "1"), ("by", "stage")))),
        ("last-blocks:1,by=stage", Spec("last-blocks", ("1",), (("by", "stage"),))),
        ("torchvision/squeezenet1_1", Spec("torchvision/squeezenet1_1")),
        ("resnet50.a1_in1k", Spec("resnet50.a1_in1k")),
        ("csv:path=C:/data/a=b.csv", Spec("csv", (), (("path", "C:/data/a=b.csv"),))),
        ("  phantom:n = 400, seed = 1  ", Spec("phantom", (), (("n", "400"), ("seed", "1")))),
    ],
)
def test_parse(text: str, spec: Spec) -> None:
    assert parse(text) == spec
    assert parse(str(spec)) == spec, "what is printed can be read again"


@pytest.mark.parametrize(
    "text",
    ["", ":1", "drs:", "-x", "a b", "a :k=1", "a:,", "a:1,", "a:=1", "a:k=", "a:k=1,2", "../a", "a;b", "a\nb", "ü"],
)
def test_parse_refuses(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert f"'{' '.join(text.splitlines())}'" in str(caught.value)


def test_parse_sum_and_call_convert_to_the_stated_types() -> None:
    assert parse_sum("drs+last-blocks:1") == [Spec("drs"), Spec("last-blocks", ("1",))]
    assert parse_sum("drs + full") == [Spec("drs"), Spec("full")]
    for text in ("drs+", "+drs", "drs++full", "+"):
        with pytest.raises(UsageError):
            parse_sum(text)
    assert call(make, parse("x"), None) == (None, 1, "block", 0.5, False)
    assert call(make, parse("x:2,stage,rate=1e-3,on=true"), None) == (None, 2, "stage", 0.001, True)
    assert type(call(make, parse("x:2"), None)[1]) is int
    assert call(make, parse("x:some/folder")) == (Path("some/folder"), 1, "block", 0.5, False)
    assert type(call(make, parse("x:rate=3"), None)[3]) is float


def make(
    first: Path | None, k: int = 1, by: Literal["block", "stage"] = "block", rate: float = 0.5, on: bool = False
) -> Any:
    return first, k, by, rate, on


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x:two", ["'k'", "'two'", "integer"]),
        ("x:1.5", ["'k'", "'1.5'"]),
        ("x:by=layer", ["'by'", "'layer'", "'block'"]),
        ("x:rat=1", ["no option 'rat'", "Did you mean 'rate'?", "k, by, rate, on"]),
        ("x:1,k=2", ["'k' is given twice"]),
        ("x:k=1,k=2", ["'k' is given twice"]),
        ("x:1,block,0.1,true,5", ["takes k, by, rate, on"]),
        ("x:first=a", ["no option 'first'"]),
    ],
)
def test_call_refuses(text: str, words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        call(make, parse(text), None)
    for word in [f"'{text}'", *words]:
        assert word in str(caught.value)


def test_call_of_something_without_options_or_that_needs_one() -> None:
    assert call(lambda: 7, parse("x")) == 7
    with pytest.raises(UsageError, match="takes no options"):
        call(lambda: 7, parse("x:1"))
    with pytest.raises(UsageError, match=r"no option 'a'\. It takes none"):
        call(lambda: 7, parse("x:a=1"))

    def needs(layer: int) -> int:
        return layer

    assert call(needs, parse("gamma:3")) == 3
    with pytest.raises(UsageError, match="needs a value for 'layer'"):
        call(needs, parse("gamma"))


NOBODY = "~nobody-of-this-name/x"
TRAIN = "train --dataset phantom:n=24 --backbone test_resnet --weights"


@pytest.mark.parametrize(
    ("words", "variable"),
    [
        (f"predict --example --model {NOBODY}", ""),
        (f"predict --example --model run:{NOBODY}", ""),
        (f"{TRAIN} {NOBODY}", ""),
        (f"{TRAIN} file:{NOBODY}.safetensors", ""),
        (f"{TRAIN} random", "MAMMOZOO_CACHE"),
        ("zoo list", "MAMMOZOO_ZOO"),
    ],
)
def test_the_home_of_nobody_is_no_folder(words: str, variable: str, command, monkeypatch) -> None:
    monkeypatch.setenv(variable or "UNUSED", NOBODY)
    command(*words.split()).refused(2, "nobody-of-this-name")
