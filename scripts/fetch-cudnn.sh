#!/usr/bin/env bash
# Fetches cuDNN and cuBLAS from PyPI into build/cudnn: headers to build against, and libraries to plan with. Does nothing
# where they are there. About 1.2 GB on disk. Where it cannot, it says why and ends with 1; nothing depends on it but the
# plans for described devices, whose tests are then skipped with a reason.
set -euo pipefail
cd "$(dirname "$0")/.."

folder=build/cudnn
cudnn=9.24.0.43 # the version of the recorded plans in test/fixtures and bench/results

if [ "$(cat "$folder/version" 2>/dev/null || true)" = "$cudnn" ]; then
  echo "cudnn: $folder has cuDNN $cudnn" >&2
  exit 0
fi
if ! python3 -m pip --version >/dev/null 2>&1; then
  echo "cudnn: not fetched: there is no pip. Install it with: apt-get install python3-pip" >&2
  exit 1
fi
rm -rf "$folder"
mkdir -p build
# The wheels carry nothing of Python's: --target is enough, without an environment. cuDNN opens cuBLAS by name.
if ! PIP_ROOT_USER_ACTION=ignore python3 -m pip install --quiet --no-deps --disable-pip-version-check --retries 2 --timeout 20 \
  --target "$folder" "nvidia-cudnn-cu13==$cudnn" nvidia-cublas >build/fetch-cudnn.log 2>&1; then
  tail -n 3 build/fetch-cudnn.log >&2
  echo "cudnn: not fetched: pip could not install nvidia-cudnn-cu13 $cudnn and nvidia-cublas (build/fetch-cudnn.log)" >&2
  rm -rf "$folder"
  exit 1
fi
echo "$cudnn" >"$folder/version"
echo "cudnn: fetched cuDNN $cudnn into $folder" >&2
