#!/usr/bin/env bash
# Wrong flags and configuration files end each program with code 2 and a message that names what is wrong.
#   usage: usage_test.sh SERVER [WORKER]
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# refuses TEXT PROGRAM ARG...: exit code 2, TEXT on standard error, nothing on standard output.
refuses() {
  local text=$1 code=0
  shift
  "$@" >"$scratch/out" 2>"$scratch/err" || code=$?
  [[ $code -eq 2 && ! -s $scratch/out ]] && grep -qF -- "$text" "$scratch/err" && return 0
  printf '%s\nexit code %s, expected 2 and: %s\n' "$*" "$code" "$text"
  cat "$scratch/out" "$scratch/err"
  exit 1
}

echo 'no-such-option=3' >"$scratch/unknown.conf"
echo 'log-level=loud' >"$scratch/bad.conf"
for program in "$@"; do
  name=${program##*/}
  "$program" --help | grep -qF -- '--config' || { echo "$name --help does not show the flags"; exit 1; }
  # The worker's --server is not the client's address, which QUANTMOE_SERVER is.
  "$program" --help | grep -oE '^ +--[a-z-]+.*' | while read -r flag rest; do
    case $flag in --help | --version) continue ;; --server) variable=QUANTMOE_WORKER_SERVER ;;
      *) variable=QUANTMOE_$(tr 'a-z-' 'A-Z_' <<<"${flag#--}") ;;
    esac
    [[ $rest == *"Env:$variable)"* ]] || { echo "$name $flag: its environment variable is not $variable"; exit 1; }
  done
  "$program" --version | grep -q '^[0-9]' || { echo "$name --version shows none"; exit 1; }
  data=()
  [[ $name != quantmoe-server ]] || data=(--data-dir "$scratch/data")
  refuses "$name: " "$program" "${data[@]}" --no-such-flag
  refuses "hint: \`$name --help\`" "$program" "${data[@]}" --no-such-flag
  refuses "--config $scratch/unknown.conf: there is no option 'no-such-option'" \
    "$program" "${data[@]}" --config "$scratch/unknown.conf"
  refuses '--log-level' "$program" "${data[@]}" --config "$scratch/bad.conf"
  refuses "$scratch/missing.conf" "$program" "${data[@]}" --config "$scratch/missing.conf"
done

server=$1
refuses '--data-dir is required' "$server"
refuses '--tls-cert and --tls-key belong together' "$server" --data-dir "$scratch/data" --tls-cert "$scratch/x"
refuses 'must be at most half of --lease' "$server" --data-dir "$scratch/data" --lease 4 --heartbeat 3
refuses 'must be host:port' "$server" --data-dir "$scratch/data" --listen 7070
refuses '0.0.0.0:0 is not loopback' "$server" --data-dir "$scratch/data" --listen 0.0.0.0:0
refuses 'reason: INSECURE_LISTENER' "$server" --data-dir "$scratch/data" --worker-listen 0.0.0.0:0
if [[ $# -gt 1 ]]; then
  refuses 'not a duration' "$2" --drain-timeout soon
  refuses '192.0.2.1:7071' "$2" --server 192.0.2.1:7071
  mkdir "$scratch/tmp"
  TMPDIR=$scratch/tmp refuses 'is not auto, cpu, cuda' "$2" --device nonsense
  [[ -z $(ls "$scratch/tmp") ]] || { echo 'a worker that is refused leaves its scratch directory'; exit 1; }
fi
