#!/usr/bin/env bash
# Runs all tests: most of them one after the other, and beside them, at the lowest priority, those that compute for minutes
# and measure no time. Ends with the counts of both, as mocha writes them. After scripts/setup.sh.
#
#   scripts/test.sh [options of mocha]      e.g. --grep resume
set -uo pipefail
cd "$(dirname "$0")/.."

# What takes minutes, mostly outside JavaScript, and asks nothing of the clock.
beside=(test/cudnn/plans.test.ts test/native/programs.test.ts test/ops/depthwiseShapes.test.ts)

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'kill "$first" "$other" 2>/dev/null; wait; exit 130' INT
trap 'kill "$first" "$other" 2>/dev/null; wait; exit 143' TERM
ignored=()
for file in "${beside[@]}"; do ignored+=(--ignore "$file"); done

# With --grep, all that it finds may be in one of the two.
nice -n 19 node_modules/.bin/mocha --no-fail-zero "${beside[@]}" "$@" >"$folder/beside" 2>&1 &
other=$!
node_modules/.bin/mocha --no-fail-zero 'test/**/*.test.ts' "${ignored[@]}" "$@" > >(tee "$folder/first") 2>&1 &
first=$!
status=0
wait "$first" || status=$?
wait "$other" || status=$?
wait  # for tee
cat "$folder/beside"

sum() { sed 's/\x1b\[[0-9;]*m//g' "$folder/first" "$folder/beside" | awk -v what="$1" '$2 == what && $1 ~ /^[0-9]+$/ { n += $1 } END { print n + 0 }'; }
passing=$(sum passing) failing=$(sum failing) pending=$(sum pending)
printf '\n  %d passing\n  %d pending\n  %d failing\n' "$passing" "$pending" "$failing"
if [ $((passing + failing)) -eq 0 ]; then echo 'no test was run' >&2; status=1; fi
exit "$status"
