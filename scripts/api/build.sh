#!/usr/bin/env bash
# Makes the API reference from docstrings, into build/api (or the folder given), and fails where a public export, method or
# accessor has none, or a link leads nowhere. typedoc has packages of its own here, since it does not work with the compiler
# of the checkout. Ends with 3 where they cannot be installed.
#
#   scripts/api/build.sh [folder]
set -euo pipefail
cd "$(dirname "$0")"
out=$(realpath -m "${1:-../../build/api}")

if [ ! -x node_modules/.bin/typedoc ]; then
  npm install --no-audit --no-fund --no-package-lock --loglevel=error >&2 || {
    echo 'API reference: typedoc could not be installed' >&2
    exit 3
  }
fi
node_modules/.bin/typedoc --options typedoc.json --out "$out"
