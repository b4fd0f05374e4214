"""A score of another's plugin that may raise: then it is undefined, and hours of training are not lost with it."""

from __future__ import annotations

import dataclasses
import logging

import numpy as np

from mammozoo.evaluation.metric import Metric
from mammozoo.evaluation.outcome import Outcome
from mammozoo.evaluation.resampling import Resamples, Values
from mammozoo.plugins import Plugin
from mammozoo.plugins.discovery import cause

log = logging.getLogger(__name__)


def forgiving(metric: Metric, plugin: Plugin) -> Metric:
    """The same metric, NaN wherever it raises or gives no number; the first reason is a warning that names `plugin`.

    A metric that raises in single draws of the bootstrap only (those without a class, say) keeps its value and its interval.
    """
    heard: list[str] = []

    def tell(error: BaseException) -> None:
        if not heard:
            log.warning(
                "Score '%s' of plugin '%s' (%s %s) is undefined where it raises: %s",
                metric.name,
                plugin.name,
                plugin.distribution,
                plugin.version,
                cause(error),
            )
        heard.append(metric.name)

    def value(outcome: Outcome) -> float:
        try:
            return float(metric.value(outcome))
        except (Exception, SystemExit) as error:
            tell(error)
            return float("nan")

    def resampled(draws: Resamples) -> Values:
        try:
            assert metric.resampled is not None
            values = np.asarray(metric.resampled(draws), dtype=np.float64)
            if values.shape != (len(draws),):
                raise ValueError(f"`resampled` gives {values.shape}, not ({len(draws)},)")
            return values
        except (Exception, SystemExit) as error:
            tell(error)
            return np.full(len(draws), np.nan)

    return dataclasses.replace(metric, value=value, resampled=None if metric.resampled is None else resampled)
