"""What was done otherwise than the frozen protocol says, from the ledger and from the files as they are now."""

from __future__ import annotations

from typing import Any

from mammozoo.files import sha256
from mammozoo.study.ledger import damaged
from mammozoo.study.run import Study


def deviations(study: Study) -> list[str]:
    """One sentence for each deviation, the gravest first; empty if there is none that can be seen.

    Who replaces ledger and `frozen.json` together is not seen here: for that the page is deposited.
    """
    ledger, frozen = study.ledger, study.frozen
    found = [f"The ledger was changed: {study.problem}."] if study.problem else []
    if study.digest != frozen["protocol_sha256"]:
        found.append(f"The protocol was changed after it was frozen: {', '.join(study.changed) or 'in wording only'}.")
    found += [f"Stated by the authors on {one['time']}: {one.get('reason')}" for one in ledger.of("deviation")]
    for part in dict.fromkeys([*study.protocol.locked, *(str(one.get("part")) for one in ledger.of("opened"))]):
        found += _of_part(study, part)
    first = next(
        (n for n, one in enumerate(ledger.events) if one["event"] in ("trained", "chosen", "opening", "opened")), None
    )
    late = [] if first is None else [one for one in ledger.events[first:] if one["event"] == "frozen"]
    if late:
        found.append(f"The protocol was frozen again on {late[-1]['time']}, after models had been trained.")
    for event, key, what in (("trained", "predictions", "model"), ("table", "sha256", "path")):
        seen: dict[Any, set[str]] = {}
        for one in ledger.of(event):
            seen.setdefault((one.get(what), one.get("recipe")), set()).add(str(one.get(key)))
        found += [
            f"{name}: its predictions changed in the course of the study."
            for (name, _), several in seen.items()
            if len(several) > 1
        ]
    for path in dict.fromkeys(str(one.get("path")) for one in ledger.of("table")):
        read, file = ledger.of("table", path=path)[-1]["sha256"], study.folder / path
        if not file.is_file() or sha256(file) != read or frozen["tables"].get(path, read) != read:
            found.append(f"{path}: the table is not the one that was there at the freezing, or was read.")
    read = {str(one.get("path")) for one in ledger.of("table")}
    found += [
        f"{path}: the file is not the one that was there at the freezing."
        for path, digest in frozen["tables"].items()
        if path not in read and (study.folder / path).is_file() and sha256(study.folder / path) != digest
    ]
    chosen = [one for one in ledger.of("chosen") if one["protocol"] == frozen["protocol_sha256"]]
    if len({one.get("model") for one in chosen}) > 1:
        found.append(f"The choice changed: {', then '.join(str(one.get('model')) for one in chosen)}.")
    versions = [
        (one.get("mammozoo"), one.get("commit")) for one in ledger.events if one["event"] in ("frozen", "opened")
    ]
    if len(set(versions)) > 1:
        named = (f"{version}{f' at {commit[:12]}' if commit else ''}" for version, commit in dict.fromkeys(versions))
        found.append(f"The program was another one than at the freezing: {', then '.join(named)}.")
    return found


def _of_part(study: Study, part: str) -> list[str]:
    opened = study.ledger.of("opened", part=part)
    began = study.ledger.of("opening", part=part)
    found = []
    if len(opened) > 1:
        found.append(
            f"The locked part '{part}' was opened {len(opened)} times: {', '.join(one['time'] for one in opened)}."
        )
    elif len({one["protocol"] for one in began}) > 1:
        found.append(f"An opening of '{part}' was begun under one protocol and finished under another.")
    if opened and opened[0]["protocol"] != study.frozen["protocol_sha256"]:
        found.append(f"'{part}' was opened under another protocol than the frozen one.")
    for path in damaged(study.folder, opened[-1]) if opened else []:
        found.append(
            f"The predictions '{path.name}' of '{part}' are missing, or are not those that were written at the opening."
        )
    if not opened and (study.folder / "opened" / part).exists() and not began:
        found.append(f"There are predictions of '{part}', and the ledger knows of no opening.")
    for name, stamps in (opened[-1].get("stamps", {}) if opened else {}).items():
        found += [f"{name} on '{part}': {stamp}." for stamp in stamps if "leak" in stamp]
    if study.protocol.locked.get(part) and study.protocol.locked[part].dataset is None:
        for one in study.ledger.of("trained"):
            path = study.folder / "runs" / f"{one['model']}-{one['recipe']}" / "predictions.csv"
            if path.is_file() and sha256(path) != one["predictions"]:
                found.append(f"The run of '{one['model']}' is not the one that was trained.")
    return found
