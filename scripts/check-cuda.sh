#!/usr/bin/env bash
# Compiles every kernel of the CUDA backend with nvcc, which needs no GPU, and says what ptxas says: registers, spills to
# memory. Fails where something does not compile, or where a kernel spills that is not known to. Does nothing where all was compiled from these
# sources before; ends with 3 where there is no nvcc.
#
#   scripts/check-cuda.sh [architecture...]      default: all that are shipped, 75 80 86 89 90 100 120
#   build/cuda-check/<file>.cu.log               what ptxas said; scripts/cuda-resources.ts makes the table of it
set -euo pipefail
cd "$(dirname "$0")/.."

say() { echo "cuda: $*" >&2; }
out=build/cuda-check
architectures=("$@")
[ ${#architectures[@]} -gt 0 ] || architectures=(75 80 86 89 90 100 120)
if ! command -v nvcc >/dev/null; then
  say "not checked: there is no nvcc. It comes with NVIDIA's CUDA toolkit (12 or later)"
  exit 3
fi

sources=(native/cuda/*.cu)
flags=(-std=c++17 -O3 "-DDW_BACKEND_NAME=\"cuda\"" -Inative/cuda -Inative/common -Inative/include)
# Of the build: architectures share PTX.
gencode=$(cmake "-DARCHITECTURES=$(IFS=';'; echo "${architectures[*]}")" -P native/cuda/architectures.cmake)
mapfile -t -O "${#flags[@]}" flags <<<"$gencode"
state=$({ nvcc --version; echo "${flags[*]}"; cat "$0"; find native/cuda native/common native/include \
  -name '*.cu' -o -name '*.cuh' -o -name '*.h' | sort | xargs cat; } | sha256sum)
mkdir -p "$out"
if [ "$(cat "$out/state" 2>/dev/null || true)" = "$state" ]; then
  say "up to date: $(cat "$out/summary")"
  exit 0
fi
rm -f "$out"/*.log "$out/state"

# The code of devices alone: what runs on the host is compiled where the backend is built. One file on each core: of what one
# nvcc does for an architecture after the other, little can be done side by side.
compile=$(mktemp)
trap 'rm -f "$compile"' EXIT
{
  echo 'log=$1/$(basename "$2").log object=$1/$(basename "$2").fatbin'
  printf 'nvcc'
  printf ' %q' "${flags[@]}"
  echo ' -Xptxas -v -fatbin "$2" -o "$object" >"$log" 2>&1 && rm "$object" ||'
  echo '  { grep -E "error|warning" "$log" || tail -n 5 "$log"; exit 1; } >&2'
} >"$compile"
started=$SECONDS
printf '%s\0' "${sources[@]}" | xargs -0 -n 1 -P "$(nproc)" bash "$compile" "$out"

node --import tsx scripts/cuda-resources.ts
summary="${#sources[@]} files for sm_${architectures[*]}"
echo "$summary" >"$out/summary"
echo "$state" >"$out/state"
say "compiled $summary in $((SECONDS - started)) s"
