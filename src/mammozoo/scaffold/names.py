"""The names in a new package: from what the user calls it to distribution, module and class."""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass

from mammozoo.errors import ConflictError, UsageError
from mammozoo.plugins import registry

LONGEST = 40  #: letters of a name: the lines of the generated code then stay within 120
_WORDS = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


@dataclass(frozen=True)
class Names:
    """How a package is called in each place.

    Attributes:
        name: of the plugin, and of the thing in lists, recipes and flags: `our-hospital`.
    """

    name: str

    @property
    def identifier(self) -> str:
        """In names of Python's: `our_hospital`."""
        return self.name.replace("-", "_")

    @property
    def distribution(self) -> str:
        """By which pip knows it: `mammozoo-our-hospital`."""
        return f"mammozoo-{self.name}"

    @property
    def module(self) -> str:
        """By which Python imports it: `mammozoo_our_hospital`."""
        return f"mammozoo_{self.identifier}"

    @property
    def prefix(self) -> str:
        """In front of the names of its classes: `OurHospital`."""
        return "".join(word.capitalize() for word in self.name.split("-"))


def names(text: str) -> Names:
    """The names that follow from `text`, normalised as pip does: lower case, and `-` for runs of `-`, `_` and `.`.

    A leading `mammozoo-` is taken off first, so that the distribution has it once.

    Raises:
        UsageError: it gives no name that Python and recipes can say.
    """
    name = re.sub(r"[-_.]+", "-", text).lower().removeprefix("mammozoo-")
    if not _WORDS.fullmatch(name):
        raise UsageError(
            f"'{text}' cannot name a package: take letters, digits and '-', a letter first, as in 'our-hospital'."
        )
    if keyword.iskeyword(name) or keyword.iskeyword(name.capitalize()):
        raise UsageError(
            f"'{text}' cannot name a package: '{name}' is a word of Python's own. Add another, '{name}-net'."
        )
    if len(name) > LONGEST:
        raise UsageError(f"'{text}' is too long for a name: {len(name)} letters, {LONGEST} are enough.")
    return Names(name)


def refuse_taken(chosen: Names, kind: str) -> None:
    """See that neither a plugin nor one of `kind` (`strategies`, …) has this name; installed, the two would clash.

    Raises:
        ConflictError: it is taken.
    """
    known = registry()
    item = known.items(kind).get(chosen.name)
    plugins = [plugin for plugin in known.plugins if plugin.name == chosen.name]
    if item is None and not plugins:
        return
    owner = plugins[0] if item is None else item.plugin
    what = "a plugin" if item is None else f"one of the {kind}"
    raise ConflictError(
        f"The name '{chosen.name}' is taken: {what} of {owner.distribution} {owner.version} has it. Choose another; "
        f"`mammozoo list {kind}` and `mammozoo plugins list` show those that are."
    )
