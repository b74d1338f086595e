#!/usr/bin/env bash
# The scrape configuration and the alert rules are valid, and every alert fires on the series that should fire it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../deploy"
command -v promtool >/dev/null || { echo "promtool is not installed: skipped"; exit 77; }

promtool check config prometheus.yml
promtool test rules alerts_test.yml
while read -r alert; do
  for case in fires 'stays silent'; do
    grep -qF -- "- name: $alert $case" alerts_test.yml || { echo "no test that $alert $case"; exit 1; }
  done
done < <(sed -n 's/^ *- alert: //p' alerts.yml)

# Every alert leads to a heading that exists.
while read -r anchor; do
  sed -n 's/^##* //p' ../docs/operations.md | tr 'A-Z ' 'a-z-' | grep -qx "$anchor" || { echo "no section for #$anchor"; exit 1; }
done < <(sed -n 's/.*runbook: docs\/operations.md#//p' alerts.yml | sort -u)
