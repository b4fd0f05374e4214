#!/usr/bin/env bash
# What mammozoo does on a graphics card: its tests there and its speed, in one table, in nine minutes at most.
#
#   benchmarks/gpu.sh [--out DIR] [--device cuda|cpu] [--small] [--minutes 9] [--wheels DIR]
#   benchmarks/gpu.sh --prepare DIR [--python 3.12]
#
# The first needs no network and no data. DIR gets gpu.md and gpu.json (default: $OUT if that is set, else gpu-results/).
# On a machine that has torch but not all that mammozoo needs, --wheels DIR (default: benchmarks/wheels/, if it is there)
# installs what is missing, and mammozoo itself, into a temporary folder behind what the machine has.
# The second makes that folder of wheels, where there is a network and mammozoo is installed, for the other machine's Python.
# PYTHON names the interpreter (default: python3).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=${PYTHON:-python3}
prepare='' version=3.12 wheels='' rest=()
while (($#)); do
    case $1 in
        --prepare) prepare=$2 && shift 2 ;;
        --python) version=$2 && shift 2 ;;
        --wheels) wheels=$2 && shift 2 ;;
        *) rest+=("$1") && shift ;;
    esac
done

if [[ $prepare ]]; then
    mkdir -p "$prepare"
    lacking=$("$python" "$here/wheels.py" lacking)
    platforms=()
    for glibc in 2_28 2_27 2_24 2_17; do platforms+=(--platform "manylinux_${glibc}_$(uname -m)"); done
    # shellcheck disable=SC2086 # one word a distribution
    "$python" -m pip download -qq --no-deps --only-binary=:all: --dest "$prepare" --python-version "$version" \
        --implementation cp --abi "cp${version/./}" --abi abi3 --abi none "${platforms[@]}" $lacking
    "$python" -m pip wheel --quiet --no-deps --wheel-dir "$prepare" "$here/.."
    du -sh "$prepare"
    exit
fi

if [[ -z $wheels && -d $here/wheels ]]; then wheels=$here/wheels; fi
if [[ $wheels ]]; then
    site=$(mktemp -d)
    trap 'rm -rf "$site"' EXIT
    mapfile -t absent < <("$python" "$here/wheels.py" absent "$wheels")
    "$python" -m pip install --quiet --no-index --no-deps --target "$site" "${absent[@]}"
    export PYTHONPATH=${PYTHONPATH:+$PYTHONPATH:}$site
fi
"$python" "$here/gpu.py" "${rest[@]}"
