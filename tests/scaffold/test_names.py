"""From what a user calls a package to the names in it."""

from __future__ import annotations

import pytest

from mammozoo.errors import ConflictError, UsageError
from mammozoo.scaffold.names import LONGEST, Names, names, refuse_taken


@pytest.mark.parametrize(
    "text", ["our-hospital", "Our-Hospital", "our_hospital", "our.hospital", "our--hospital", "mammozoo-our-hospital"]
)
def test_all_spellings_are_one_name(text: str) -> None:
    made = names(text)
    assert made == Names("our-hospital")
    assert (made.distribution, made.module) == ("mammozoo-our-hospital", "mammozoo_our_hospital")
    assert (made.identifier, made.prefix) == ("our_hospital", "OurHospital")


def test_digits_and_the_longest() -> None:
    assert names("net9-v2").prefix == "Net9V2"
    assert names("a" * LONGEST).name == "a" * LONGEST


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "cannot name a package"),
        ("mammozoo-", "cannot name a package"),
        ("our hospital", "a letter first"),
        ("3d-net", "a letter first"),
        ("../net", "letters, digits and '-'"),
        ("net:k=1", "letters, digits and '-'"),
        ("a+b", "letters, digits and '-'"),
        ("-net", "a letter first"),
        ("net-", "letters, digits and '-'"),
        ("größe", "letters, digits and '-'"),
        ("lambda", "keyword"),
        ("Class", "keyword"),
        ("none", "keyword"),
        ("a" * (LONGEST + 1), f"{LONGEST + 1} letters"),
    ],
)
def test_what_python_or_a_recipe_cannot_say_is_refused(text: str, words: str) -> None:
    with pytest.raises(UsageError, match="name") as caught:
        names(text)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("drs", "strategies", "one of the strategies of mammozoo"),
        ("busi", "datasets", "one of the datasets of mammozoo"),
        ("resnet18", "backbones", "one of the backbones of mammozoo"),
        ("gamma", "metrics", "a plugin of mammozoo"),
    ],
)
def test_a_name_that_is_taken(name: str, kind: str, words: str) -> None:
    with pytest.raises(ConflictError) as caught:
        refuse_taken(Names(name), kind)
    assert words in str(caught.value) and f"`mammozoo list {kind}`" in str(caught.value)


def test_a_name_of_another_kind_is_free() -> None:
    """A score may be called like a data set: nobody asks for both at one place."""
    refuse_taken(Names("busi"), "metrics")
