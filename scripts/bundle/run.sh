#!/usr/bin/env bash
# Runs depthwise from this bundle, on a machine without Node. Unpacks it at the first call, which takes some seconds.
#
#   ./run.sh ops|train|infer|kernels|inception [outdir] [options]     a phase of at most nine minutes; README.md says what it does
#   ./run.sh depthwise <command> …                          the command line: ./run.sh depthwise doctor
#   ./run.sh mocha <files> …                                tests: DEVICES=cuda ./run.sh mocha test/ops/half.test.js
#   ./run.sh node <words> …                                 Node, in the folder of the compiled code
#
# Results go to outdir, else to $OUT, else to ./out. PyTorch, for comparison, is taken from `python3`, or from the
# interpreter that DEPTHWISE_PYTHON names. The bundle unpacks into TMPDIR (/tmp), or below DEPTHWISE_BUNDLE_DIR.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
usage() { awk 'NR > 1 && /^#/ { sub(/^# ?/, ""); print; next } NR > 1 { exit }' "${BASH_SOURCE[0]}"; }
say() { echo "run.sh: $*" >&2; }
[ $# -gt 0 ] || { usage; exit 2; }
what=$1
shift

archive=$here/depthwise.tar.xz
read -r sum _ <"$archive.sha256"
home=${DEPTHWISE_BUNDLE_DIR:-${TMPDIR:-/tmp}}/depthwise-bundle-$(id -u)-${sum:0:12}

# Libraries that this machine lacks; where it has its own, those are used.
link_libraries() { # folder of the unpacked bundle
  local known name
  known=$({ /sbin/ldconfig -p || ldconfig -p; } 2>/dev/null || true)
  mkdir "$1/libraries"
  for name in $(cd "$1/system" && echo *); do
    case "$known" in *"$name "*) ;; *) ln -s "../system/$name" "$1/libraries/$name" ;; esac
  done
}

if [ ! -e "$home/libraries" ]; then
  say "unpacking into $home"
  (cd "$here" && sha256sum --quiet -c depthwise.tar.xz.sha256) >&2 || { say "depthwise.tar.xz is damaged"; exit 1; }
  mkdir -p "$(dirname "$home")"
  fresh=$(mktemp -d "$home.XXXXXX")
  if command -v xz >/dev/null && command -v tar >/dev/null; then
    tar -xJf "$archive" -C "$fresh"
  elif command -v python3 >/dev/null; then
    python3 -c 'import sys, tarfile
archive = tarfile.open(sys.argv[1])
archive.extractall(sys.argv[2], **({"filter": "tar"} if hasattr(tarfile, "tar_filter") else {}))' "$archive" "$fresh"
  else
    say "neither xz and tar nor python3 are here to unpack $archive"
    exit 1
  fi
  link_libraries "$fresh"
  # Two first calls at the same time: one of them wins.
  mv -T "$fresh" "$home" 2>/dev/null || rm -rf "$fresh"
fi

if [ -n "$(ls -A "$home/libraries")" ]; then
  export LD_LIBRARY_PATH=$home/libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
fi
case "$what" in
  ops | train | infer | kernels | inception)
    out=${OUT:-./out}
    if [ $# -gt 0 ] && [[ $1 != -* ]]; then
      out=$1
      shift
    fi
    exec "$home/node" "$home/bench/gpu.js" "$what" --out "$out" "$@"
    ;;
  depthwise) exec "$home/node" "$home/bin/depthwise.js" "$@" ;;
  node) cd "$home" && exec ./node "$@" ;;
  mocha) cd "$home" && exec ./node node_modules/mocha/bin/mocha.js "$@" ;;
  -h | --help | help) usage ;;
  *)
    say "there is no phase $what"
    usage >&2
    exit 2
    ;;
esac
