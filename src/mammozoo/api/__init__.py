"""What mammozoo does, as functions. The command line calls them and shows what they return.

They print nothing. What takes long reports to a `Progress`. Heavy libraries are imported inside them: `--help` needs no torch.
"""

from mammozoo.api.classifier import Classifier as Classifier
from mammozoo.api.classifier import load as load
from mammozoo.api.from_model import embed as embed
from mammozoo.api.from_model import export as export
from mammozoo.api.from_model import recalibrate as recalibrate
from mammozoo.api.heat_maps import explain as explain
from mammozoo.api.listing import list as list
from mammozoo.api.prediction import predict as predict
from mammozoo.api.scoring import compare as compare
from mammozoo.api.scoring import evaluate as evaluate
from mammozoo.api.training import search as search
from mammozoo.api.training import train as train
