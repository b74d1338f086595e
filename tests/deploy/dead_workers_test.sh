#!/usr/bin/env bash
# ./dev demo whose workers die ends within seconds, says so with the ends of their logs, and leaves no process behind.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
fail() { printf '%s\n' "$output"; echo "$1"; exit 1; }
# Every worker ends at its first result, as a SIGKILL would end it.
output=$(QUANTMOE_CRASH_AT=before-complete timeout 120 ./dev demo 2>&1)
status=$?
[[ $status -eq 1 ]] || fail "exit code $status, not 1"
grep -q 'dev: no worker is left: 2 of 2 ended; the job: no worker is connected; .* died while running' <<<"$output" ||
  fail 'it does not say why the job waits'
grep -q 'waits: no worker is connected' <<<"$output" || fail 'the watch did not say so'
grep -q -- '--- the end of .*worker-2.log' <<<"$output" || fail 'the ends of the logs are missing'
directory=$(sed -n 's/.*logs in \(build\/demo\/[^ ]*\)$/\1/p' <<<"$output" | head -n 1)
[[ -n $directory ]] || fail 'no directory was named'
left=$(find /proc/[0-9]*/fd -lname "$PWD/$directory/*" 2>/dev/null || true)  # it fails on processes that end meanwhile
[[ -z $left ]] || fail "these still run: $left"
rm -rf "$directory"
