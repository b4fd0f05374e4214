"""Plugins: found by entry point, loaded so that a broken one harms nobody else, and called for the named things they provide."""

from mammozoo.plugins.discovery import DISTRIBUTION as DISTRIBUTION
from mammozoo.plugins.provided import Item as Item
from mammozoo.plugins.provided import Plugin as Plugin
from mammozoo.plugins.registry import GROUP as GROUP
from mammozoo.plugins.registry import KINDS as KINDS
from mammozoo.plugins.registry import Registry as Registry
from mammozoo.plugins.registry import registry as registry
