# SPDX-License-Identifier: LGPL-2.1-or-later
# Sourced by scripts/test and .ci/run: steps that are all done even if one fails, and one tally of
# them.  Each step ends with a line "N passed, N failed, N skipped" (as tests/qemu-iotests/check and
# scripts/test do), or counts as one test.
# shellcheck shell=bash

STEP_LOG=$(mktemp)
STEP_TIMES=
STEP_FAILURES=
PASSED=0 FAILED=0 SKIPPED=0
trap 'rm -f "$STEP_LOG"' EXIT

# last_tally: the three numbers of the last such line of the log; nothing if there is none.
last_tally() {
    sed -nE 's/^([0-9]+) passed, ([0-9]+) failed, ([0-9]+) skipped$/\1 \2 \3/p' "$STEP_LOG" |
        tail -n 1
}

# what_failed: of the log of a step that failed, what its tests say; its end, if they say nothing.
# Told again at the end of all steps, which is where people look, and what is kept of a long log.
what_failed() {
    local said
    said=$(awk '/^What failed:$/ { exit }
                /^fail  / { left = 40 }
                /^(pass|skip)  / { left = 0 }
                /^ *[0-9]+\/[0-9]+ .* (FAIL|TIMEOUT|ERROR) / || /^not ok / { left = left > 1 ? left : 1 }
                left-- > 0' "$STEP_LOG")
    printf '%s\n' "${said:-$(tail -n 20 "$STEP_LOG")}"
}

# step TITLE COMMAND...
step() {
    local title=$1 begin=$SECONDS status=0 passed failed skipped
    shift
    printf '\n=== %s\n' "$title"
    "$@" 2>&1 | tee "$STEP_LOG"
    status=${PIPESTATUS[0]}
    read -r passed failed skipped <<<"$(last_tally)"
    if [ -z "$passed" ]; then
        passed=$((status == 0)) failed=0 skipped=0
    fi
    # A step may fail although no test of it did (nothing could be built, say).
    [ "$status" = 0 ] || [ "$failed" != 0 ] || failed=1
    [ "$failed" = 0 ] || STEP_FAILURES+="--- $title"$'\n'$(what_failed)$'\n'
    PASSED=$((PASSED + passed)) FAILED=$((FAILED + failed)) SKIPPED=$((SKIPPED + skipped))
    STEP_TIMES+=$(printf '%5d s  %s: %d passed, %d failed, %d skipped' \
        $((SECONDS - begin)) "$title" "$passed" "$failed" "$skipped")$'\n'
}

# Says what failed and how each step went; the last line is the sum.  Fails if anything did.
end_of_steps() {
    [ -z "$STEP_FAILURES" ] || printf '\nWhat failed:\n%s' "$STEP_FAILURES"
    printf '\n%s' "$STEP_TIMES"
    echo "$PASSED passed, $FAILED failed, $SKIPPED skipped"
    [ "$FAILED" = 0 ]
}
