#!/usr/bin/env bash
# Compiles every kernel of the CUDA backend with nvcc for every architecture that is shipped, which needs no GPU, and says
# what ptxas says: registers, spills to memory. Fails where something does not compile. Does nothing where all was compiled
# from these sources before; ends with 3 where there is no nvcc.
#
#   scripts/check-cuda.sh [architecture...]      default: 75 80 86 89 90 100 120
#   build/cuda-check/kernels.txt                 one line for each kernel and architecture
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
flags=(-std=c++17 -O3 "-DDW_BACKEND_NAME=\"cuda\"" -Inative/cuda -Inative/common -Inative/include -Xcompiler=-Wall)
state=$({ nvcc --version; echo "${architectures[*]} ${flags[*]}"; cat "$0"; find native/cuda native/common native/include \
  -name '*.cu' -o -name '*.cuh' -o -name '*.h' | sort | xargs cat; } | sha256sum)
mkdir -p "$out"
if [ "$(cat "$out/state" 2>/dev/null || true)" = "$state" ]; then
  say "up to date: $(cat "$out/summary")"
  exit 0
fi

codes=()
for architecture in "${architectures[@]}"; do
  codes+=("-gencode=arch=compute_$architecture,code=sm_$architecture")
done

compile() { # source
  nvcc "${flags[@]}" "${codes[@]}" --threads 2 -Xptxas -v -c "$1" -o "$out/$(basename "$1").o" >"$out/$(basename "$1").log" 2>&1 ||
    { grep -E "error|warning" "$out/$(basename "$1").log" >&2 || tail -n 5 "$out/$(basename "$1").log" >&2; return 1; }
  rm "$out/$(basename "$1").o"
}
export -f compile

started=$SECONDS
for source in "${sources[@]}"; do
  compile "$source"
done

# "Compiling entry function 'name' for 'sm_90'", "… bytes spill stores, … bytes spill loads", "Used 32 registers, …".
cat "$out"/*.log | c++filt | awk '
  /Compiling entry function/ {
    name = $0; sub(/.*entry function ./, "", name); sub(/. for .sm_[0-9a-z]*.$/, "", name)
    architecture = $0; sub(/.* for ./, "", architecture); sub(/.$/, "", architecture)
  }
  /spill stores/ { spills = 0; for (i = 1; i < NF; i++) if ($(i + 1) == "bytes" && $(i + 2) == "spill") spills += $i }
  /Used [0-9]+ registers/ { for (i = 1; i < NF; i++) if ($i == "Used") print architecture, $(i + 1), spills, name }
' | sort >"$out/kernels.txt"

for architecture in "${architectures[@]}"; do
  awk -v architecture="sm_$architecture" '
    $1 == architecture { kernels++; if ($2 > most) most = $2; if ($3 > 0) spilling++ }
    END { printf "cuda: %s: %d kernels, at most %d registers, %d with spills\n", architecture, kernels, most, spilling }
  ' "$out/kernels.txt" >&2
done
awk '$3 > 0 { print "cuda: spills " $3 " bytes: " $0 }' "$out/kernels.txt" | cut -c1-200 >&2
summary="$(wc -l <"$out/kernels.txt") kernels of ${#sources[@]} files for ${#architectures[@]} architectures"
echo "$summary" >"$out/summary"
echo "$state" >"$out/state"
say "compiled $summary in $((SECONDS - started)) s"
