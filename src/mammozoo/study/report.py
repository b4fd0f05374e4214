"""`report.md` of a study, deviations first; and `paper/PART` for each locked part."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from mammozoo import api
from mammozoo.errors import UsageError
from mammozoo.evaluation.compare import BOOTSTRAP
from mammozoo.evaluation.metric import printed
from mammozoo.files import write_text
from mammozoo.progress import Progress
from mammozoo.report.paper import material_of, write_paper
from mammozoo.report.paper_plots import Flow
from mammozoo.report.paper_tables import figure
from mammozoo.study.deviations import deviations
from mammozoo.study.run import Study, compared

REPORT = "report.md"


def write_report(folder: Path, progress: Progress | None = None) -> Path:
    """Write the results of a study that was carried out, and return the path of `report.md`; what is in `paper` is replaced.

    Raises:
        UsageError: a locked part has not been opened yet.
        NotFoundError, IncompatibleError: files of the study are missing or damaged.
    """
    study = Study(folder, progress)
    protocol, ledger = study.protocol, study.ledger
    opened = {part: next(reversed(ledger.of("opened", part=part)), None) for part in protocol.locked}
    chosen = next(reversed(ledger.of("chosen")), None)
    if chosen is None or not all(opened.values()):
        missing = ", ".join(part for part, event in opened.items() if event is None) or "its parts"
        raise UsageError(f"The study at '{folder}' has not opened {missing} yet: `mammozoo study run {folder}`.")
    found = deviations(study)
    lines = [f"# {protocol.question}", "", "## Deviations from the protocol", ""]
    lines += [f"* {text}" for text in found] or ["None that ledger and files show."]
    lines += ["", f"Frozen {study.frozen['date']}, SHA-256 of the protocol {study.frozen['protocol_sha256']}. Compare it with the "
              "deposited page.", "", "## Primary outcome", "", _verdict(study, str(chosen["model"])), "", "## Choice", "",
              _choice(study, chosen)]  # fmt: skip
    for part, event in opened.items():
        assert event is not None
        lines += [
            "",
            f"## {part}",
            "",
            f"Opened {event['time']}, {'once' if len(ledger.of('opened', part=part)) == 1 else 'last'}.",
        ]
        stamps = dict.fromkeys(stamp for several in event["stamps"].values() for stamp in several)
        lines += ["", *(f"Label: {stamp}.\n" for stamp in stamps), *_part(study, part, list(event["predictions"]))]
        source = study.folder / "opened" / part / f"{chosen['model']}.csv"
        made = material_of(source, subgroup=",".join(_columns(study, source)) or None, interval=protocol.interval)
        frozen = f"on {study.frozen['date'][:10]} (SHA-256 {study.frozen['protocol_sha256']})"
        methods = [
            f"The protocol was frozen {frozen}, and '{part}' was opened on {event['time'][:10]}.",
            _choice(study, chosen).partition("\n")[0],
            *_decided(study, list(event["predictions"])),
            *(f"Deviation from the protocol: {text}" for text in found),
        ]
        made = dataclasses.replace(
            made, methods=methods, flow=_flow(study, part, event, str(chosen["model"]), made.flow)
        )
        write_paper(study.folder / "paper" / part, made, replace=True)
    return write_text(study.folder / REPORT, "\n".join(lines) + "\n")


def _decided(study: Study, names: list[str]) -> list[str]:
    """By which threshold each model decides."""
    said, rule = [], f"by the rule {study.protocol.threshold}, chosen on development images"
    for name in names:
        model = study.protocol.models[name]
        if model.recipe or "development" in model.tables:
            said.append(f"{name} decides at a threshold {rule}.")
        elif model.tables:
            said.append(
                f"{name} decides as its table says, or at 0.5; on which images a threshold was chosen is not known here."
            )
        else:
            said.append(f"{name} decides at its own threshold.")
    return said


def _flow(study: Study, part: str, event: dict[str, Any], chosen: str, flow: Flow) -> Flow:
    """With the images that the part has and the protocol leaves out."""
    source = study.protocol.locked[part]
    left, scored = sum(event["left_out"].get(chosen, {}).values()), flow.steps[-1]
    asked = f"\nincluded where {source.where}" if source.where else ""
    first = f"images of {source.dataset or part}{asked}"
    return Flow([(first, f"left out by their label: {left:,}" if left else ""), scored], flow.ends)


def _verdict(study: Study, chosen: str) -> str:
    """The sentence on the comparison that was named primary, or on the score."""
    primary = study.protocol.primary
    if primary.model_dump(mode="json") != study.frozen["protocol"].get("primary"):
        return "None: the primary outcome in the protocol is not the one that was frozen. Put it back."
    names = compared(study.protocol, chosen)
    paths = {(study.folder / "opened" / primary.on / f"{name}.csv").as_posix(): name for name in names}
    if len(names) == 1 or primary.compare is None:
        scores = api.evaluate(next(iter(paths)), interval=study.protocol.interval).scores
        return f"{primary.metric} of {chosen} on {primary.on}: {figure(scores.get(primary.metric))}."
    if len(set(names)) == 1:
        return f"The chosen model is {chosen} itself, so there is nothing to compare on {primary.on}."
    result = next(one for one in api.compare(list(paths), primary.metric) if one.test == BOOTSTRAP)
    named = dataclasses.replace(result, a=paths[result.a], b=paths[result.b], better=paths.get(result.better or ""))
    return f"On {primary.on}: {named}"


def _choice(study: Study, chosen: dict[str, Any]) -> str:
    """How the model was chosen, and the scores that it was chosen from."""
    rule = study.protocol.choose
    if not chosen["scores"]:
        return f"{chosen['model']} is the only model; nothing was chosen."
    near = f"; of those within {rule.within:g} of the best the smallest network" if rule.within else ""
    of = f" of {study.protocol.data.dataset}" if study.protocol.data else ""
    what = f"{rule.metric} on {rule.on} images{of}"
    head = f"{chosen['model']} was chosen of {len(chosen['scores'])} by {what}{near}."
    rows = [
        f"| {name} | {value:.3f} | {chosen.get('images', {}).get(name, '–')} | {chosen['parameters'].get(name) or 'unknown'} |"
        for name, value in chosen["scores"].items()
    ]
    return "\n".join(
        [head, "", f"| model | {rule.metric} | images | parameters |", "| --- | ---: | ---: | ---: |", *rows]
    )


def _part(study: Study, part: str, names: list[str]) -> list[str]:
    """A table of the primary and secondary outcomes of the models that were tried on a part."""
    protocol = study.protocol
    shown = [*dict.fromkeys([protocol.primary.metric, *protocol.secondary])]
    lines = [f"| model | {' | '.join(map(printed, shown))} | n |", f"| --- |{' ---: |' * (len(shown) + 1)}"]
    for name in names:
        result = api.evaluate(study.folder / "opened" / part / f"{name}.csv", interval=protocol.interval)
        lines.append(f"| {name} | {' | '.join(figure(result.scores.get(score)) for score in shown)} | {result.n:,} |")
    return lines


def _columns(study: Study, source: Path) -> list[str]:
    """Which of the subgroups that the protocol names this part has."""
    rows = api.evaluate(source).evaluation.predictions
    return [name for name in study.protocol.subgroups if name in rows.meta]
