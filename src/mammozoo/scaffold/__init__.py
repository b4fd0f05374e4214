"""A new plugin package from templates. It installs, passes its own tests and appears in every list as it is."""

from mammozoo.scaffold.kinds import KINDS as KINDS
from mammozoo.scaffold.kinds import Kind as Kind
from mammozoo.scaffold.names import Names as Names
from mammozoo.scaffold.package import Package as Package
from mammozoo.scaffold.package import write as write
