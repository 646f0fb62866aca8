#!/usr/bin/env bash
# Makes a folder that runs depthwise, its tests and its benchmarks on a machine that has an x86-64 Linux, an NVIDIA driver
# and cuDNN, and nothing else: no Node, no npm packages, no oneDNN, no network. What it is for and how it is used:
# docs/cuda.md. Prints its size, and ends with 1 where that is over the limit.
#
#   npm run bundle -- [folder] [--fast] [--as-built] [--without-cuda]
#
#   folder            default: build/bundle; what is in it is replaced
#   --fast            packs in a fifth of the time, into a quarter more
#   --as-built        takes the native code as it is, and says where sources are newer
#   --without-cuda    also where there is no nvcc: the bundle then has no CUDA backend, and is for trying the bundle itself
set -euo pipefail
cd "$(dirname "$0")/.."

limit_mib=40
architecture=90
out=build/bundle
# Half of it is machine code, which the filter prepares; a window that holds all of it finds what libraries share. lc and pb
# are worth a megabyte here.
pack=(xz --x86 "--lzma2=preset=9e,dict=256MiB,lc=4,pb=0,nice=273" -T1)
cuda=true
build=true
for argument in "$@"; do
  case "$argument" in
    --fast) pack=(xz -2 -T0) limit_mib=52 ;;
    --without-cuda) cuda=false ;;
    --as-built) build=false ;;
    -*) echo "usage: scripts/bundle.sh [folder] [--fast] [--as-built] [--without-cuda]" >&2; exit 2 ;;
    *) out=$argument ;;
  esac
done
say() { echo "bundle: $*" >&2; }
fail() { say "$*"; exit 1; }
for program in xz tar strip sha256sum; do
  command -v "$program" >/dev/null || fail "missing: $program (Debian: xz-utils, tar, binutils, coreutils)"
done

# 1. Native code. Machine code for one architecture.
native=build/Release
if $build; then
  DEPTHWISE_CUDA_ARCHITECTURES=$architecture bash scripts/build-native.sh
elif [ -n "$(find native -newer "$native/depthwise.node" -name '*.[ch]*' -print -quit)" ]; then
  say "some sources are newer than $native"
fi
backends=(libdepthwise_cpu.so libdepthwise_cudasim.so)
if [ -f "$native/libdepthwise_images.so" ]; then backends+=(libdepthwise_images.so); fi
if $cuda; then
  [ -f "$native/libdepthwise_cuda.so" ] ||
    fail "there is no $native/libdepthwise_cuda.so: it needs nvcc, and cuDNN's headers (scripts/fetch-cudnn.sh)"
  backends+=(libdepthwise_cuda.so libdepthwise_cuda.json)
  for library in libdepthwise_cudnn.so libdepthwise_nodriver.so; do
    if [ -f "$native/$library" ]; then backends+=("$library"); fi
  done
fi

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
mkdir -p "$stage/$native"
for file in depthwise.node depthwise_probe libdepthwise_fake.so "${backends[@]}"; do
  cp "$native/$file" "$stage/$native/$file"
  case "$file" in *.json) ;; *) strip --strip-unneeded "$stage/$native/$file" ;; esac
done

# 2. JavaScript, in the same folders as the sources, so that every relative path holds; types are checked elsewhere.
say "compiling TypeScript"
node_modules/.bin/tsc -p tsconfig.json --noEmit false --noCheck --removeComments --rootDir . --outDir "$stage"
ln -s lib "$stage/dist" # what package.json exports
cp -r bin package.json LICENSE "$stage"
mkdir -p "$stage/native"
cp -r native/include "$stage/native"
# What tests and benchmarks read: everything of their folders that is not compiled.
# Not what timm and torchvision have recorded: on a GPU the recordings of Keras hold for the same ops.
copy_data() { # folder
  (cd "$1" && find . -type f ! -name '*.ts' ! -name '*.pyc' \
    ! -path './fixtures/timm/*' ! -path './fixtures/torchvision/*' -print0) |
    tar -C "$1" --null --files-from=- -cf - | tar -C "$stage/$1" -xf -
}
copy_data test
# What the tests that read these print and skip.
printf '%s\n' timm torchvision >"$stage/test/fixtures/left-out.txt"
mkdir -p "$stage/scripts/peers"
cp scripts/peers/*.py "$stage/scripts/peers"
(cd bench && find . -name '*.mjs' -print0 | xargs -0 -I{} cp {} "$stage/bench/{}")
printf '{"extension": ["js"], "fail-zero": true, "timeout": 120000}\n' >"$stage/.mocharc.json"
git rev-parse --short HEAD 2>/dev/null >"$stage/commit" || true
[ -z "$(git status --porcelain -uno 2>/dev/null)" ] || sed -i 's/$/+/' "$stage/commit"

# 3. npm packages: what the package needs, mocha and chai, with all that these need.
# yazl makes archives in tests.
node scripts/bundle/packages.mjs $(node -p 'Object.keys(require("./package.json").dependencies).join(" ")') mocha chai yazl |
  tar -cf - --exclude='*.map' --exclude='*.d.ts' --exclude='*.md' --exclude=browser-entry.js \
    --exclude='node_modules/mocha/mocha*.*s' --exclude='node_modules/mocha/mocha.css' \
    --exclude='node_modules/h5wasm/dist/iife' --exclude='node_modules/h5wasm/dist/node' \
    --exclude='node_modules/h5wasm/src' --exclude='node_modules/h5wasm/test' --files-from=- |
  tar -C "$stage" -xf -

# 4. Node, and the libraries that a bare machine may lack: `run` takes those that it does. libstdc++ and libgcc are not
# among them: cuDNN needs them too.
cp "$(node -p process.execPath)" "$stage/node"
strip "$stage/node"
mkdir "$stage/system"
needed() { ldd "$1" | awk '$3 ~ /^\// { print $3 }'; }
{
  needed "$native/libdepthwise_cpu.so"
  needed "$native/depthwise.node"
  if [ -f "$native/libdepthwise_images.so" ]; then needed "$native/libdepthwise_images.so"; fi
} | sort -u | while read -r path; do
  case "$(basename "$path")" in
    libdnnl.so.* | libOpenCL.so.* | libgomp.so.* | libjpeg.so.*) cp -L "$path" "$stage/system" ;;
  esac
done
strip --strip-unneeded "$stage"/system/*

# 5. One archive, the script that unpacks it, and the page that explains it.
say "packing $(du -sm "$stage" | cut -f1) MiB (a minute or two)"
rm -rf "$out"
mkdir -p "$out"
tar -C "$stage" --sort=name --owner=0 --group=0 --numeric-owner --mtime='2000-01-01 00:00Z' -cf - . |
  "${pack[@]}" >"$out/depthwise.tar.xz"
(cd "$out" && sha256sum depthwise.tar.xz >depthwise.tar.xz.sha256)
cp scripts/bundle/run scripts/bundle/README.md "$out"
chmod +x "$out/run"
bytes=$(du -sb "$out" | cut -f1)
say "unpacked, in MB: $(cd "$stage" && du -sb -- * | sort -rn | awk '{ printf "%s%s %.1f", (NR > 1 ? ", " : ""), $2, $1 / 1e6 }')"
awk -v bytes="$bytes" -v limit="$limit_mib" -v out="$out" 'BEGIN {
  mib = bytes / 1048576
  printf "bundle: %s: %.1f MiB (%.1f MB), limit %d MiB\n", out, mib, bytes / 1e6, limit > "/dev/stderr"
  exit mib > limit
}' || fail "too large"
