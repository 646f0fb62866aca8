#!/usr/bin/env bash
# Builds the native code into build/Release; with --sanitize for AddressSanitizer, into build/sanitize/Release.
# Quick when nothing has changed. Installs nothing: says what is missing and how to get it. The CUDA backend is built where
# nvcc and the headers of cuDNN are, for the architectures of DEPTHWISE_CUDA_ARCHITECTURES ("80;90"; default 90).
#
#   scripts/build-native.sh [--sanitize] [--test]     --test runs test/native on what was built; with --sanitize
#                                                     all ops too, on buffers with memory of their own
#   scripts/build-native.sh --sanitize-simulation     runs all ops, graphs and training steps on the simulation of CUDA under
#                                                     AddressSanitizer and UndefinedBehaviorSanitizer; after a plain build
#   scripts/build-native.sh --sanitize-threads        runs the runtime's stress test under ThreadSanitizer
set -euo pipefail
cd "$(dirname "$0")/.."

out=build
sanitize=""
run_tests=false
for argument in "$@"; do
  case "$argument" in
    --sanitize) sanitize="address,undefined"; out=build/sanitize ;;
    --sanitize-simulation) sanitize="simulation"; out=build/sanitize-simulation ;;
    --sanitize-threads) sanitize="thread"; out=build/sanitize-threads ;;
    --test) run_tests=true ;;
    *) echo "usage: scripts/build-native.sh [--sanitize] [--test] | --sanitize-simulation | --sanitize-threads" >&2; exit 2 ;;
  esac
done

say() { echo "native: $*" >&2; }

# What has to be there; packages by Debian's and Ubuntu's names.
packages=()
need() { # <what> <package> <test...>
  local what=$1 package=$2
  shift 2
  if ! "$@" >/dev/null 2>&1; then
    say "missing: $what"
    packages+=("$package")
  fi
}
compiles() { echo "$1" | g++ -std=c++17 -x c++ -fsyntax-only -; }
need "a C++ compiler with C++17 (g++ 9 or later)" g++ compiles 'int main() {}'
need "cmake" cmake command -v cmake
need "make or ninja" make bash -c 'command -v ninja || command -v make'
need "oneDNN's headers (dnnl.h) and library" libdnnl-dev compiles '#include <dnnl.h>'
if [ ${#packages[@]} -gt 0 ]; then
  sudo=""
  [ "$(id -u)" = 0 ] || sudo="sudo "
  say "install it with: ${sudo}apt-get install --yes --no-install-recommends ${packages[*]}"
  exit 1
fi
if [ ! -x node_modules/.bin/cmake-js ]; then
  say "missing: npm packages. Install them with: npm install"
  exit 1
fi

if [ "$sanitize" = thread ]; then
  # Node does not run under ThreadSanitizer, so this is the runtime alone.
  cmake -S . -B "$out" -DCMAKE_BUILD_TYPE=Release -DDEPTHWISE_SANITIZE=thread >&2
  cmake --build "$out" --target depthwise_fake runtime_stress --parallel "$(nproc)" >&2
  exec "$out/Release/runtime_stress" "$out/Release/libdepthwise_fake.so"
fi

# Tests under AddressSanitizer. Node is not instrumented: the sanitizer has to come first in the process. V8's own leaks are
# not ours. UNCACHED: every buffer has memory of its own, every run a workspace of just its size. It takes its time, more so
# beside others: no test is to end for that.
sanitized() { # files and options of mocha
  DEPTHWISE_NATIVE_DIR="$PWD/$out/Release" UNCACHED=1 \
    LD_PRELOAD="$(g++ -print-file-name=libasan.so):$(g++ -print-file-name=libubsan.so)" \
    ASAN_OPTIONS=detect_leaks=0:halt_on_error=1 UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 \
    node --import=tsx node_modules/mocha/bin/mocha.js --timeout 300000 "$@"
}

if [ "$sanitize" = simulation ]; then
  # The losses of the training steps are compared with the CPU's, whose backend is taken as it was built.
  cpu=build/Release/libdepthwise_cpu.so
  [ -f "$cpu" ] || { say "there is no $cpu: run scripts/build-native.sh first"; exit 1; }
  cmake -S . -B "$out" -DCMAKE_BUILD_TYPE=Release -DDEPTHWISE_SANITIZE=address,undefined >&2
  cmake --build "$out" --parallel "$(nproc)" --target depthwise depthwise_cudasim depthwise_fake \
    cuda_device cuda_timing cudasim_check runtime_stress >&2
  cp "$cpu" "$out/Release/"
  # Side by side: neither takes more than a core.
  DEVICES=cudasim REQUIRE_DEVICES=cudasim sanitized --reporter dot test/ops/everyOp.test.ts test/ops/half.test.ts \
    test/ops/wideShapes.test.ts test/ops/depthwiseShapes.test.ts test/ops/networkShapes.test.ts \
    test/native/graphs.test.ts test/native/programs.test.ts &
  ops=$!
  status=0
  REQUIRE_DEVICES=cpu,cudasim sanitized --reporter dot test/train/simulated.test.ts || status=1
  wait "$ops" || status=1
  exit "$status"
fi

# One build at a time: `npm test` and `npm run demo` may start together.
mkdir -p "$out"
if command -v flock >/dev/null; then
  exec 9>"$out/build.lock"
  flock 9
fi

# Newer than every source, and built with the same flags: nothing to do.
# cuDNN may have been fetched, and CUDA's toolkit installed, since.
flags="sanitize=$sanitize cudnn=$(cat build/cudnn/version 2>/dev/null || true) nvcc=$(command -v nvcc || true)"
# Optional: without it sharp decodes all images.
jpeg=$(compiles $'#include <stdio.h>\n#include <jpeglib.h>\nauto crop = jpeg_crop_scanline;' 2>/dev/null && echo yes || echo no)
flags+=" jpeg=$jpeg"
flags+=" architectures=${DEPTHWISE_CUDA_ARCHITECTURES:-90}"
stamp="$out/built-with"
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$flags" ] && [ -f "$out/Release/depthwise.node" ] &&
  [ -z "$(find CMakeLists.txt native scripts/build-native.sh -newer "$stamp" -print -quit)" ]; then
  say "$out/Release is up to date"
else
  options=(--out "$out" --config Release --log-level warn --parallel "$(nproc)")
  options+=("--CDDEPTHWISE_SANITIZE=$sanitize" "--CDDEPTHWISE_CUDA_ARCHITECTURES=${DEPTHWISE_CUDA_ARCHITECTURES:-90}")
  if command -v ccache >/dev/null; then options+=(--CDCMAKE_CXX_COMPILER_LAUNCHER=ccache); fi
  say "building into $out/Release (a minute or two the first time)"
  started=$SECONDS
  # The time of the start: what is edited during the build is built the next time.
  touch "$out/build-started"
  # Configured each time: files come and go.
  node_modules/.bin/cmake-js configure "${options[@]}" >&2
  node_modules/.bin/cmake-js build "${options[@]}" >&2
  echo "$flags" >"$stamp"
  touch -r "$out/build-started" "$stamp"
  rm "$out/build-started"
  say "built in $((SECONDS - started)) s: $(cd "$out/Release" && echo *.node *.so)"
  if [ "$jpeg" = no ]; then
    rm -f "$out/Release/libdepthwise_images.so"
    say "without libdepthwise_images.so, so that images load more slowly: no headers of libjpeg-turbo (apt install libjpeg-dev)"
  fi
  if [ -z "$sanitize" ] && [ ! -f "$out/Release/libdepthwise_cuda.so" ]; then
    if ! command -v nvcc >/dev/null; then why="no nvcc (CUDA's toolkit)"
    else why="no headers of cuDNN and cuBLAS: scripts/fetch-cudnn.sh fetches them"; fi
    say "without libdepthwise_cuda.so: $why"
  fi
fi

exec 9>&-  # tests may run side by side

if $run_tests; then
  if [ -n "$sanitize" ]; then
    sanitized 'test/native/*.test.ts' test/ops/everyOp.test.ts test/ops/half.test.ts test/ops/wideShapes.test.ts
  else
    node_modules/.bin/mocha 'test/native/*.test.ts'
  fi
fi
