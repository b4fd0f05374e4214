#!/usr/bin/env bash
# A stranger's first hour, in minutes: clone, report, compare, serve and push, by what README and --help say. Images are generated.
# Usage: first_hour.sh [FOLDER] with `mammozoo` and `python` on the PATH.
set -euo pipefail
cd "${1:-$(mktemp -d)}"
export MAMMOZOO_CACHE=$PWD/cache HF_HUB_OFFLINE=1
say() { printf '\n== %s\n' "$*"; }

say "what it is"
mammozoo --version
mammozoo --help >/dev/null
mammozoo doctor

say "a folder with a table of patients"
python - <<'PYTHON'
import csv
from pathlib import Path

from PIL import Image

from mammozoo.data.joined import open_dataset

data, rows = open_dataset("phantom:n=60", None), []
for number, sample in enumerate(data.samples()):
    for folder in ("clinic", "elsewhere"):
        path = Path(folder) / sample.label / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        if (folder == "clinic") == (number < 40):
            Image.fromarray(data.read(sample)).save(path)
            rows += [(path, sample.label, f"P{number // 2}")] if folder == "clinic" else []
Path("new").mkdir()
Image.fromarray(data.read(data.samples()[-1])).save("new/1.png")
with open("clinic.csv", "w", newline="") as file:
    csv.writer(file).writerows([("path", "label", "patient"), *rows])
PYTHON
mammozoo data check clinic --html pairs.html
mammozoo data show clinic.csv
mammozoo init clinic --out recipe.yaml

say "train, report, compare"
TINY=(--epochs 1 --folds 2 --set size=64)
mammozoo train clinic.csv --dry-run
mammozoo train clinic.csv "${TINY[@]}" --out runs/full
mammozoo train clinic.csv "${TINY[@]}" --strategy frozen --out runs/frozen
test -s runs/full/report.html
mammozoo report runs/full --format md
mammozoo cite runs/full
mammozoo compare runs/full runs/frozen

say "predict and evaluate"
mammozoo predict new --model runs/full --csv predictions.csv
mammozoo evaluate runs/full elsewhere
mammozoo explain runs/full new/1.png --out maps

say "serve"
mammozoo serve --model runs/full --port 0 >page.txt 2>&1 &
SERVER=$!
trap 'kill "$SERVER" 2>/dev/null || true' EXIT
for _ in $(seq 120); do grep -q "http://" page.txt && break; kill -0 "$SERVER"; sleep 0.5; done
curl --fail --silent "$(grep -o 'http://[^ ]*' page.txt | head -1)" | grep -i "research"
kill "$SERVER" && wait "$SERVER" || true
trap - EXIT

say "share in a folder, and use from there"
mammozoo zoo push runs/full --to our-zoo --name clinic-net --license Apache-2.0
MAMMOZOO_ZOO=$PWD/our-zoo mammozoo predict new --model clinic-net
say "done"
