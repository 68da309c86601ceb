#!/bin/bash
# Runs a real systemd as PID 1 of a container-like root, with one service: Caddy, by the unit that Caddy's package
# ships. In a mount namespace of its own: systemd.sh DIR EXECUTABLE ENVIRONMENT-FILE. The root is this machine's with
# a layer of its own above it, DIR is /var/lib/caddy there, and the network is this machine's.
set -euo pipefail
dir=$1 exe=$2 environment=$3

if [ "${4:-}" != inside ]; then
	mount --make-rprivate /
	work=$(mktemp -d)
	mount -t tmpfs tmpfs "$work"
	mkdir "$work/cgroup" "$work/layer" "$work/work" "$work/root"
	# A branch of the hierarchy for this systemd alone, which its cgroup namespace makes the root of.
	mount -t cgroup2 cgroup2 "$work/cgroup"
	branch=$work/cgroup/evergreen-$$
	mkdir "$branch"
	echo $$ > "$branch/cgroup.procs"
	export work
	exec unshare --cgroup --mount --pid --fork --kill-child --ipc --uts "$0" "$dir" "$exe" "$environment" inside
fi

mount -t overlay overlay -o "lowerdir=/,upperdir=$work/layer,workdir=$work/work" "$work/root"
cd "$work/root"
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount --rbind /dev dev
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
mkdir -p var/lib/caddy usr/bin etc/caddy run/systemd/system
mount --bind "$dir" var/lib/caddy
install -m 755 "$exe" usr/bin/caddy
install -m 644 "$dir/Caddyfile" etc/caddy/Caddyfile
grep -q '^caddy:' etc/passwd || echo 'caddy:x:977:977::/var/lib/caddy:/usr/sbin/nologin' >> etc/passwd
grep -q '^caddy:' etc/group || echo 'caddy:x:977:' >> etc/group
install -m 644 "$environment" etc/caddy/environment
cat > run/systemd/system/caddy.service <<'UNIT'
# As https://github.com/caddyserver/dist has it, but for the environment, and for the log, which the test reads.
[Unit]
Description=Caddy
DefaultDependencies=no

[Service]
Type=notify
User=caddy
Group=caddy
EnvironmentFile=/etc/caddy/environment
ExecStart=/usr/bin/caddy run --environ --config /etc/caddy/Caddyfile
ExecReload=/usr/bin/caddy reload --config /etc/caddy/Caddyfile --force
TimeoutStopSec=5s
LimitNOFILE=1048576
PrivateTmp=true
ProtectSystem=full
AmbientCapabilities=CAP_NET_ADMIN CAP_NET_BIND_SERVICE
StandardOutput=append:/var/lib/caddy/caddy.log
StandardError=append:/var/lib/caddy/caddy.log
UNIT
cat > run/systemd/system/evergreen.target <<'UNIT'
[Unit]
Description=Caddy alone
Wants=caddy.service
UNIT
# What a machine's own services would do is not wanted here.
export container=evergreen
exec chroot . /lib/systemd/systemd --unit=evergreen.target --log-target=console --show-status=no
