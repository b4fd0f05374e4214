"""Named checks of the plugin contract, for pytest and for `mammozoo plugins check`.

    from mammozoo.testing import parametrize_with_checks

    @parametrize_with_checks("yourthing")
    def test_contract(check):
        check.run()

In the style of scikit-learn's `parametrize_with_checks`: each check has a name, tries one promise on one thing, and says what
is broken, why that matters and what to do.
"""

from mammozoo.testing.check import BrokenContractError as BrokenContractError
from mammozoo.testing.check import Check as Check
from mammozoo.testing.check import NotChecked as NotChecked
from mammozoo.testing.check import Result as Result
from mammozoo.testing.check import Settings as Settings
from mammozoo.testing.check import run as run
from mammozoo.testing.plugin import checks as checks
from mammozoo.testing.plugin import parametrize_with_checks as parametrize_with_checks
