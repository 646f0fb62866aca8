#!/usr/bin/env bash
# Builds the addon and the CPU backend with node-gyp, into build/gyp/build/Release: for those who build with node-gyp and have
# no cmake. `npm run build:native` builds all backends, and what it has built is loaded first; DEPTHWISE_NATIVE_DIR names
# another folder. Downloads nothing where Node's headers lie beside Node.
#
#   scripts/build-gyp.sh [--test]      --test loads what was built, in a process of its own, and computes with it
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v python3 >/dev/null; then
  echo 'gyp: not built: node-gyp needs python3, which is not here' >&2
  exit 3
fi

# node-gyp empties the folder `build` beside its file, in which other builds are; and paths out of a file's folder would mix up
# the objects of targets. So a folder of its own, in which the sources are seen.
place=build/gyp
mkdir -p "$place"
for name in binding.gyp native node_modules; do ln -sfn "$PWD/$name" "$place/$name"; done

options=(--release --loglevel "${GYP_LOGLEVEL:-warn}")
# The headers of the Node that runs: official archives, Debian and nvm have them there.
headers=$(node -p 'path.dirname(path.dirname(fs.realpathSync(process.execPath)))')
if [ -f "$headers/include/node/common.gypi" ]; then options+=("--nodedir=$headers"); fi

gyp() { node_modules/.bin/node-gyp -C "$place" "${options[@]}" "$@"; }
started=$SECONDS
gyp configure >&2
gyp build --jobs "$(nproc)" >&2
echo "gyp: built in $((SECONDS - started)) s: $(cd "$place/build/Release" && echo depthwise.node depthwise_probe *.so)" >&2

if [ "${1:-}" = --test ]; then
  DEPTHWISE_NATIVE_DIR="$PWD/$place/build/Release" DEVICES=cpu REQUIRE_DEVICES=cpu \
    node_modules/.bin/mocha test/install/gyp.ts
fi
