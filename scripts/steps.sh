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

# what_failed: of the log of a step that failed, what its tests say, of long ones the begin and the
# end; the log's end, if they say nothing.  Told again at the end of all steps, which is where people
# look, and what is kept of a long log.
what_failed() {
    local said
    said=$(awk -v first=10 -v last=40 '
        function told(    i, from) {
            from = n > first + last ? n - last + 1 : first + 1
            for (i = 1; i <= n && i <= first; i++) print line[i]
            if (from > first + 1) print "    ... " from - first - 1 " lines left out"
            for (i = from; i <= n; i++) print line[i]
            n = 0
        }
        /^What failed:$/ { exit }
        /^(fail|pass|skip)  / || /^daemon: / { told(); inside = /^fail/ }
        inside { line[++n] = $0 }
        !inside && (/^ *[0-9]+\/[0-9]+ .* (FAIL|TIMEOUT|ERROR) / || /^not ok /)
        END { told() }' "$STEP_LOG")
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
