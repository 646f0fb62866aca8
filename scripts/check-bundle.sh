#!/usr/bin/env bash
# Tries a bundle of scripts/bundle.sh as a machine would that has nothing: in an empty environment, and, where this may
# be hidden (root, mount namespaces), without Node, oneDNN, OpenCL, libgomp and this repository. Ops have to be right on
# the CPU and on the simulation of CUDA; benchmarks have to run; a GPU that is not there has to be said, by exit code 3.
#
#   scripts/check-bundle.sh [folder]        default: build/bundle
set -euo pipefail
cd "$(dirname "$0")/.."

bundle=$(realpath "${1:-build/bundle}")
[ -f "$bundle/run" ] || { echo "there is no bundle in $bundle: npm run bundle" >&2; exit 1; }
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cp -r "$bundle" "$place/bundle"
mkdir "$place/empty" "$place/home" "$place/tmp"

cat >"$place/inside.sh" <<'INSIDE'
set -uo pipefail
cd "$1"
failed=0
hidden=$(node --version 2>/dev/null || echo hidden)
echo "== Node: $hidden; libdnnl: $([ -s /usr/lib/x86_64-linux-gnu/libdnnl.so.2 ] && echo visible || echo hidden)"
check() { # name, expected exit code, words of run…
  local name=$1 expected=$2 code
  shift 2
  bash ./bundle/run "$@" >said 2>&1 </dev/null
  code=$?
  if [ "$code" = "$expected" ]; then
    echo "ok: $name: $(tail -n 1 said | cut -c1-300)"
  else
    echo "WRONG: $name: exit code $code, expected $expected"
    tail -n 20 said
    failed=1
  fi
}
ops=conv2d,depthwiseAffine,depthwiseAffineGrad,maxPool,batchNormFinalize,softmaxCrossEntropy,momentumUpdate
check 'doctor' 0 depthwise doctor
check 'ops on the CPU' 0 ops cpu --device cpu --ops "$ops"
check 'ops on the simulation of CUDA' 0 ops cudasim --device cudasim --ops "$ops"
check 'training on the CPU' 0 train train --device cpu --size 71 --batch 2 --precision fp32 --rounds 1 --steps 1 --settle 0 --warmup 1 --peers none
check 'inference on the CPU' 0 infer infer --device cpu --size 71 --batch 2 --precision fp32 --rounds 1 --steps 1 --settle 0 --warmup 1 --peers none
check 'kernels on the CPU' 0 kernels kernels --device cpu --size 71 --batch 1 --precision fp32
check 'tests by hand' 0 mocha test/core/philox.test.js
check 'run test on the CPU' 0 test cpu-test --device cpu --ops conv2d
check 'run bench on the CPU' 0 bench bench --device cpu --size 71 --batch 2 --precision fp32 --rounds 1 --steps 1 --settle 0 --warmup 1 --peers none
for phase in test bench ops goals train infer kernels inception; do check "$phase without a GPU" 3 "$phase" none; done
check 'a phase that there is not' 2 dance
for file in cpu-test/ops.md bench/train.md bench/infer.md cpu/ops.md cpu/ops.json cpu/ops.log train/train.md kernels/kernels.json; do
  [ -s "$file" ] || { echo "WRONG: there is no $file"; failed=1; }
done
exit $failed
INSIDE

run=(env -i PATH=/usr/bin:/bin "HOME=$place/home" "TMPDIR=$place/tmp" CUDA_VISIBLE_DEVICES= bash "$place/inside.sh" "$place")
if [ "$(id -u)" = 0 ] && unshare --mount true 2>/dev/null; then
  # A file can be covered by another, a folder by another: within this process's own view of the disk. The loader's cache
  # would still name what is covered.
  cover='for path in /etc/ld.so.cache /usr/bin/node /usr/local/bin/node /usr/lib/*/libdnnl.so* /usr/lib/*/libOpenCL.so* /usr/lib/*/libgomp.so*; do
    [ -f "$path" ] && mount --bind "$2" "$path"; done
    mount --bind "$1" "$3"; shift 3; exec "$@"'
  touch "$place/nothing"
  mkdir -p "$place/tmp"
  unshare --mount bash -c "$cover" cover "$place/empty" "$place/nothing" "$PWD" "${run[@]}"
else
  echo "check-bundle: not root: Node and oneDNN of this machine stay in sight" >&2
  "${run[@]}"
fi
