#!/bin/sh
# Checks that the CPU plug-in compiles against other oneDNN headers than the installed ones, 3.x above all.
#
#   scripts/check-onednn3.sh <folder that has oneapi/dnnl/dnnl.hpp>
#
# PyTorch's CPU wheel carries such headers in torch/include. Nothing is linked or run.
set -eu
if [ $# -ne 1 ] || [ ! -f "$1/oneapi/dnnl/dnnl.hpp" ]; then
  echo "usage: $0 <folder that has oneapi/dnnl/dnnl.hpp>" >&2
  exit 2
fi
cpu=$(cd "$(dirname "$0")/.." && pwd)/native/cpu
for source in "$cpu"/*.cc; do
  "${CXX:-g++}" -std=c++20 -fsyntax-only -fopenmp -Wall -Wextra -I"$1" -I"$cpu" -I"$cpu/../include" "$source"
done
version=$(printf '#include <oneapi/dnnl/dnnl_version.h>\nDNNL_VERSION_MAJOR.DNNL_VERSION_MINOR\n' |
  "${CXX:-g++}" -x c++ -E -P -I"$1" - | tail -n 1 | tr -d ' ')
echo "native/cpu compiles against oneDNN $version"
