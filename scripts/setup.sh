#!/usr/bin/env bash
# Sets up what is missing to build and run from a source checkout: system packages, npm packages, the native build.
# Says what it does; where everything is there, does nothing. System packages need root or sudo; otherwise the exact
# command to type is printed.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'setup: %s\n' "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }

node -e 'process.exit(Number(process.versions.node.split(".")[0]) >= 20 ? 0 : 1)' ||
  fail "Node 20 or later is needed, this is $(node --version)"

# 1. System packages: a compiler, cmake, oneDNN, which computes on the CPU, and libjpeg-turbo, which decodes images.
packages=()
command -v g++ >/dev/null || packages+=(g++)
command -v make >/dev/null || packages+=(make)
command -v cmake >/dev/null || packages+=(cmake)
if ! printf '#include <oneapi/dnnl/dnnl.hpp>\n' | g++ -E -x c++ - >/dev/null 2>&1; then packages+=(libdnnl-dev); fi
# Only faster with it than without: not asked for where it is all that is missing and cannot be installed here.
jpeg=()
if ! printf '#include <stdio.h>\n#include <jpeglib.h>\n' | g++ -E -x c++ - >/dev/null 2>&1; then jpeg=(libjpeg-dev); fi
can_install() { command -v apt-get >/dev/null && { [ "$(id -u)" = 0 ] || { command -v sudo >/dev/null && sudo -n true 2>/dev/null; }; }; }
if [ ${#jpeg[@]} -gt 0 ] && { [ ${#packages[@]} -gt 0 ] || can_install; }; then packages+=("${jpeg[@]}"); fi
if [ ${#packages[@]} -gt 0 ]; then
  install="apt-get update && apt-get install -y ${packages[*]}"
  if ! command -v apt-get >/dev/null; then
    fail "missing: ${packages[*]} (Debian's names); install them with this system's package manager, then run this again"
  elif [ "$(id -u)" = 0 ]; then
    say "installing ${packages[*]}"
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y "${packages[@]}"; } >build-setup.log 2>&1 ||
      { tail -n 20 build-setup.log >&2; fail "apt-get failed; type: $install"; }
    rm -f build-setup.log
  elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    say "installing ${packages[*]} with sudo"
    sudo sh -c "$install" >/dev/null
  else
    fail "missing: ${packages[*]}. Type: sudo sh -c '$install', then run this again"
  fi
fi

# 2. npm packages, exactly those of the lock file.
if [ ! -f node_modules/.package-lock.json ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
  say 'installing npm packages'
  # The versions of the lock file. Not `npm ci`: it refuses a lock file that does not name the optional packages of every
  # other platform, which it cannot where a registry does not carry them.
  npm install --no-save --no-audit --no-fund --loglevel=error
  touch node_modules/.package-lock.json
fi

# 3. The addon and the CPU backend.
bash scripts/build-native.sh
