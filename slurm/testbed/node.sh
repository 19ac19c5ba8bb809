#!/usr/bin/env bash
# The first process of a node, in namespaces of its own; when it ends, the kernel ends all others of the node.
# node.sh NAME STATE-FOLDER
set -eu
name=$1
TB=$2
HERE=$(dirname "$0")

read -r pid _ </proc/self/stat # its number outside, as this is still the /proc of outside
mount -t proc proc /proc
hostname "$name"
mount --bind "$TB/run/$name.boot" /proc/sys/kernel/random/boot_id # as each boot of each node has its own
mount --bind "$TB/etc/hosts" /etc/hosts
mount --bind "$TB/local/$name" /local
umount --lazy "$TB/shared" 2>/dev/null || true # the host's view of it; a node has one of its own
/usr/bin/python3 "$HERE/lying.py" "$TB/truth" "$TB/shared" "$TB/etc/lies" </dev/null >>"$TB/log/lying-$name.out" 2>&1 &
until mountpoint --quiet "$TB/shared"; do
    kill -0 $! || exit 1
    sleep 0.02
done
echo "$pid" >"$TB/run/$name.pid"
/usr/sbin/slurmd -D -N "$name" -f "$TB/etc/slurm.conf" -L "$TB/log/slurmd-$name.log" &
wait $!
