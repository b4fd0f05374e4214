"""The names in a new package: distribution, module and class from the name that the user gives."""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass

from mammozoo.errors import ConflictError, UsageError
from mammozoo.plugins import registry

LONGEST = 40  #: letters of a name, so that the lines of the generated code stay within 120
_WORDS = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


@dataclass(frozen=True)
class Names:
    """The names of a package in each place; `name` is that of the plugin, and of the thing in lists and recipes: `our-hospital`."""

    name: str

    @property
    def identifier(self) -> str:
        """The name in Python: `our_hospital`."""
        return self.name.replace("-", "_")

    @property
    def distribution(self) -> str:
        """The name for pip: `mammozoo-our-hospital`."""
        return f"mammozoo-{self.name}"

    @property
    def module(self) -> str:
        """The name of the import package: `mammozoo_our_hospital`."""
        return f"mammozoo_{self.identifier}"

    @property
    def prefix(self) -> str:
        """The start of the names of its classes: `OurHospital`."""
        return "".join(word.capitalize() for word in self.name.split("-"))


def names(text: str) -> Names:
    """The names that follow from `text`, normalised as by pip, without a leading `mammozoo-`.

    Raises UsageError if it gives no name that Python and recipes can write.
    """
    name = re.sub(r"[-_.]+", "-", text).lower().removeprefix("mammozoo-")
    refusal = f"'{text}' cannot name a package"
    if not _WORDS.fullmatch(name):
        raise UsageError(f"{refusal}: use letters, digits and '-', with a letter first, as in 'our-hospital'.")
    if keyword.iskeyword(name) or keyword.iskeyword(name.capitalize()):
        raise UsageError(f"{refusal}: '{name}' is a keyword of Python. Add a word, as in '{name}-net'.")
    if len(name) > LONGEST:
        raise UsageError(f"{refusal}: it has {len(name)} letters, and {LONGEST} are the most.")
    return Names(name)


def refuse_taken(names: Names, kind: str) -> None:
    """Raise ConflictError if a plugin or a thing of `kind` (`strategies`, …) has this name; installed, the two would clash."""
    known = registry()
    taken = {plugin.name: ("a plugin", plugin) for plugin in known.plugins}
    taken |= {item.name: (f"one of the {kind}", item.plugin) for item in known.items(kind).values()}
    if names.name in taken:
        what, owner = taken[names.name]
        raise ConflictError(
            f"The name '{names.name}' is taken: {what} of {owner.distribution} {owner.version} has it. Choose another; "
            f"`mammozoo list {kind}` and `mammozoo plugins list` show those that are."
        )
