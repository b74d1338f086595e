#!/usr/bin/env bash
# ./dev demo ends well, names an artifact that is complete, and leaves no process behind.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
output=$(./dev demo)
artifact=$(sed -n 's/^artifact: //p' <<<"$output")
[[ -f $artifact/artifact.json && -f $artifact/config.json ]] || { printf '%s\n' "$output"; echo "no artifact in '$artifact'"; exit 1; }
./dev run quantmoe artifact verify "$artifact"
directory=${artifact#"$PWD/build/demo/"}
directory=build/demo/${directory%%/*}
# Server and workers alike hold their logs there open; only the server has the directory among its arguments.
left=$(find /proc/[0-9]*/fd -lname "$PWD/$directory/*" 2>/dev/null || true)  # it fails on processes that end meanwhile
[[ -z $left ]] || { printf '%s\n' "$left"; echo "these still run"; exit 1; }
rm -rf "$directory"
