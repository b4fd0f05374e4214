"""Other people's code and ours, by name: found, loaded so that a broken plugin hurts nobody, asked, and blamed by name.

discovery   from an entry point or a file to its module
isolation   what a plugin's code must not do to our process
provided    a plugin and what became of it; the named things that it brings
loaded      all of them together, the `Registry`
blame       whose code raised
"""

from mammozoo.plugins.discovery import DISTRIBUTION as DISTRIBUTION
from mammozoo.plugins.provided import Item as Item
from mammozoo.plugins.provided import Plugin as Plugin
from mammozoo.plugins.registry import GROUP as GROUP
from mammozoo.plugins.registry import KINDS as KINDS
from mammozoo.plugins.registry import Registry as Registry
from mammozoo.plugins.registry import registry as registry
