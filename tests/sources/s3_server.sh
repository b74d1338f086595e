#!/usr/bin/env bash
# Starts OpenStack Swift's S3 API, which checks signatures, on loopback.
# usage: s3_server.sh DIR PORT    (takes PORT to PORT + 4; access key test:tester, secret testing; SIGTERM ends it;
#                                  the Swift API with the same user is at /auth/v1.0)
# Exit 77 where Python cannot import swift or there is no memcached: `./dev test` provides both.
set -euo pipefail
readonly dir=$1 port=$2
python3 -c 'import swift.proxy.server, swift.common.middleware.s3api' 2>/dev/null || { echo 'python3 cannot import swift'; exit 77; }
memcached=$(command -v memcached) || { echo 'not installed: memcached'; exit 77; }
readonly memcached

# The entry point of a program of Swift, as its package declares it: MODULE ARG...
readonly swift=(python3 -c 'import importlib, sys; sys.argv[0] = "swift"; module = sys.argv.pop(1); sys.exit(importlib.import_module(module).main())')

mkdir -p "$dir"/etc "$dir"/srv/disk
cd "$dir/etc"

printf '[swift-hash]\nswift_hash_path_prefix = p\nswift_hash_path_suffix = s\n[storage-policy:0]\nname = one\ndefault = yes\n' > swift.conf

python3 - "$port" <<'PY'
import sys
from swift.common.ring import RingBuilder
for number, part in enumerate(("account", "container", "object"), 1):
    builder = RingBuilder(part_power=4, replicas=1, min_part_hours=1)
    port = int(sys.argv[1]) + number
    builder.add_dev({"region": 1, "zone": 1, "ip": "127.0.0.1", "port": port, "device": "disk", "weight": 1, "meta": "",
                     "replication_ip": "127.0.0.1", "replication_port": port})
    builder.rebalance()
    builder.get_ring().save(f"{part}.ring.gz")
PY

storage_part=0
for part in account container object; do
  storage_part=$((storage_part + 1))
  cat > $part.conf <<CONF
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = $((port + storage_part))
user = $(id -un)
swift_dir = $dir/etc
devices = $dir/srv
mount_check = false
workers = 0
disable_fallocate = true
log_level = ERROR
[pipeline:main]
pipeline = $part-server
[app:$part-server]
use = egg:swift#$part
CONF
done

cat > proxy.conf <<CONF
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = $port
user = $(id -un)
swift_dir = $dir/etc
workers = 0
log_level = ERROR
[pipeline:main]
pipeline = catch_errors gatekeeper proxy-logging cache listing_formats s3api tempauth copy slo versioned_writes proxy-logging proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
# The proxy may be up before the others; by default it would not ask them again for a minute.
error_suppression_limit = 1000000
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin
[filter:s3api]
use = egg:swift#s3api
allow_no_owner = true
location = us-east-1
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:$((port + 4))
[filter:versioned_writes]
use = egg:swift#versioned_writes
CONF
for filter in catch_errors gatekeeper proxy-logging:proxy_logging listing_formats copy slo; do
  printf '[filter:%s]\nuse = egg:swift#%s\n' "${filter%%:*}" "${filter##*:}" >> proxy.conf
done

# The servers lead sessions of their own: a signal to the process group does not reach them.
trap 'kill $(jobs -p) 2>/dev/null' EXIT
trap 'exit 0' TERM
LD_LIBRARY_PATH=$(dirname "$memcached") "$memcached" -u nobody -l 127.0.0.1 -p $((port + 4)) >>"$dir/log" 2>&1 &
"${swift[@]}" swift.account.server account.conf >>"$dir/log" 2>&1 &
"${swift[@]}" swift.container.server container.conf >>"$dir/log" 2>&1 &
"${swift[@]}" swift.obj.server object.conf >>"$dir/log" 2>&1 &
"${swift[@]}" swift.proxy.server proxy.conf >>"$dir/log" 2>&1 &
wait
