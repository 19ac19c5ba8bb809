# shellcheck shell=bash
# From nothing to a cluster and back.

PACKAGES=(slurm-wlm slurmctld slurmd slurmdbd slurm-client slurm-wlm-basic-plugins slurm-wlm-mysql-plugin munge
    mariadb-server iproute2 procps fuse3 python3-pyfuse3)

SERVICES=(munged mariadb slurmdbd slurmctld host) # host: its view of the shared folder

missing() {
    local package
    for package in "${PACKAGES[@]}"; do
        dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q '^install ok installed' || echo "$package"
    done
}

check() {
    local owner
    [ -f /etc/debian_version ] || die "it is made of Debian's packages, and this is no Debian"
    [ -c /dev/fuse ] || die "it needs /dev/fuse for the folder that its nodes share"
    owner=$(bridge_owner || true)
    [ "${owner:-$TB}" = "$TB" ] || die "another one is up in $owner: take it down first (TB=$owner make slurm-down)"
    check_way
    [ -n "$owner" ] || rm -f "$TB"/run/*.pid # they are of before this machine was started
}

announce() {
    cat >&2 <<TEXT
This machine becomes a SLURM cluster of $NODES nodes:
  packages   ${*:-all needed are installed}
  network    bridge $BRIDGE ($NET.1), network namespaces slurm-n1 ... slurm-n$NODES
  folders    $TB, mounts below it, /local, links in /etc/slurm unless you have files there
  processes  munged, mariadbd, slurmdbd, slurmctld, and a slurmd for each node
\`make slurm-down\` takes all of it away again, but the packages.
TEXT
}

install_packages() {
    [ $# -gt 0 ] || return 0
    exec 9>/run/terp-apt.lock # tests install other servers, perhaps now (tests/storage/services.py)
    flock 9
    local guard=/usr/sbin/policy-rc.d mine=""
    if [ ! -e "$guard" ]; then # Debian's own services of these packages shall not start
        printf '#!/bin/sh\nexit 101\n' >"$guard"
        chmod 755 "$guard"
        mine=yes
    fi
    log "installing $*"
    local failed=""
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"; } \
        >"$TB/log/apt.log" 2>&1 || failed=yes
    [ -z "$mine" ] || rm -f "$guard"
    exec 9>&-
    [ -z "$failed" ] || die "apt-get failed: $(tail -n 5 "$TB/log/apt.log")"
}

check_way() { # slurm, munge and mysql must get to the state folder
    local folder=$TB
    while folder=$(dirname "$folder") && [ "$folder" != / ]; do
        [ ! -d "$folder" ] || [[ $(stat -c %A "$folder") == *[xt] ]] ||
            die "only root gets through $folder to $TB: choose another place, as in TB=/tmp/bed make slurm-up"
    done
}

make_folders() {
    shared_serves || end_shared # whoever looks at a mount that nobody serves fails, or waits for ever
    mkdir -p "$TB"/{etc,state,spool,db,munge,local,truth,shared,scratch} /local
    chown munge: "$TB/munge"
    chown mysql: "$TB/db"
    chown slurm: "$TB/state"
    chmod 711 "$TB/munge"
    chmod 1777 "$TB/run" "$TB/log" "$TB/truth"
    touch "$TB/etc/lies"
}

fill_in() { # fill_in TEMPLATE: its @NAMES@
    local proc=$PROC params=UsePss
    [ "$proc" = cgroup ] || params=OverMemoryKill,UsePss # slurmd looks at memory itself where the kernel is not asked
    sed -e "s|@TB@|$TB|g" -e "s|@HOST@|$(hostname -s)|g" -e "s|@NET@|$NET|g" -e "s|@CPUS@|$CPUS|g" -e "s|@MEM@|$MEM|g" \
        -e "s|@LAST@|$NODES|g" -e "s|@THIN@|$((NODES > 1 ? NODES - 1 : 1))|g" -e "s|@PROC@|$proc|g" \
        -e "s|@TASK@|$([ "$proc" = cgroup ] && echo cgroup || echo none)|g" -e "s|@GATHER@|$params|g" "$HERE/etc/$1"
}

write_config() {
    local name
    fill_in slurm.conf >"$CONF"
    for name in $(node_names); do
        echo "NodeName=$name NodeAddr=$NET.$((10 + ${name#n})) Port=6818" >>"$CONF"
    done
    fill_in partitions.conf >>"$CONF"
    fill_in cgroup.conf >"$TB/etc/cgroup.conf"
    [ -f "$TB/etc/slurmdbd.conf" ] || install -o slurm -m 600 /dev/null "$TB/etc/slurmdbd.conf"
    fill_in slurmdbd.conf >"$TB/etc/slurmdbd.conf"
    if [ ! -f "$TB/etc/munge.key" ]; then
        install -o munge -g munge -m 600 /dev/null "$TB/etc/munge.key"
        dd if=/dev/urandom of="$TB/etc/munge.key" bs=128 count=1 status=none
    fi
    cat >"$TB/env.sh" <<TEXT
export SLURM_CONF=$CONF
export SLURM_TESTBED=$TB SLURM_TESTBED_HOST=$NET.1 SLURM_TESTBED_SHARED=$TB/shared SLURM_TESTBED_SCRATCH=$TB/scratch
TEXT
    # shellcheck disable=SC2016
    printf ': "${%s:=%s}"\n' PROC "$PROC" NODES "$NODES" CPUS "$CPUS" MEM "$MEM" NET "$NET" SCRATCH "$SCRATCH" \
        EXTRA_USERS "$EXTRA_USERS" >"$TB/params"
}

link_config() { # so that a bare `sbatch` works too; never over a file that is another's
    local name
    [ ! -e /etc/slurm/slurm.conf ] || [ -L /etc/slurm/slurm.conf ] || return 0
    mkdir -p /etc/slurm
    for name in slurm.conf cgroup.conf; do ln -sfn "$TB/etc/$name" "/etc/slurm/$name"; done
}

unlink_config() {
    local name
    for name in slurm.conf cgroup.conf slurmdbd.conf; do
        [ "$(readlink "/etc/slurm/$name")" != "$TB/etc/$name" ] || rm -f "/etc/slurm/$name"
    done
}

all_nodes_idle() {
    [ "$(timeout 5 sinfo -h -N -t idle,mix,alloc -o %N | sort -u | wc -l)" = "$NODES" ]
}

running() {
    local part
    for part in "${SERVICES[@]}" $(node_names); do alive "$part" || return 1; done
}

up() {
    local begun=$EPOCHREALTIME packages name
    check
    if running && shared_serves && all_nodes_idle; then
        log "it is up"
        ready
        return
    fi
    mapfile -t packages < <(missing)
    announce "${packages[@]}"
    # with control groups nothing of a job is left, and too much memory is OUT_OF_MEMORY, as on real sites
    PROC=${PROC:-$([ -w /sys/fs/cgroup/freezer ] && [ -w /sys/fs/cgroup/memory ] && echo cgroup || echo pgid)}
    mkdir -p "$TB/log" "$TB/run"
    install_packages "${packages[@]}"
    make_folders
    write_config
    link_config
    launch_mariadb
    net_up
    start_munge
    start_scratch
    start_shared
    for name in $(node_names); do switch_on "$name"; done
    start_slurmdbd
    add_accounts
    start_ctld
    waitfor 10 shared_serves
    waitfor 30 all_nodes_idle
    log "up in $(awk "BEGIN { printf \"%.1f\", $EPOCHREALTIME - $begun }") s"
    ready
}

ready() {
    cat >&2 <<TEXT
Use it:   source $TB/env.sh; sinfo; srun -N4 -p preempt hostname
Shared:   $TB/shared on this host and on all nodes; small scratch: $TB/scratch; /local on each node
Faults:   $HERE/testbed.sh help
End:      make slurm-down
TEXT
}

cancel_jobs() {
    alive slurmctld || return 0
    local end=$((SECONDS + 8))
    timeout 10 squeue -h -o %A | sort -u | timeout 10 xargs -r scancel 2>/dev/null || true
    while [ -n "$(timeout 5 squeue -h -t R,CG 2>/dev/null)" ] && [ "$SECONDS" -lt "$end" ]; do sleep 0.1; done
}

down() {
    local name mount
    [ -d "$TB" ] || die "there is none in $TB"
    [ "$(bridge_owner || true)" = "$TB" ] || rm -f "$TB"/run/*.pid # they are of before this machine was started
    cancel_jobs
    stop 15 slurmctld # before its nodes, or it waits for them
    for name in $(node_names); do kill_node "$name"; done
    stop 10 slurmdbd
    for mount in shared scratch; do umount --lazy "$TB/$mount" 2>/dev/null || true; done
    stop 20 mariadb munged host
    net_down
    for name in $(node_names); do forget_cgroups "$name"; done
    unlink_config
    rmdir /local 2>/dev/null || true
    [ "${1:-}" != --purge ] || rm -rf "$TB"
    log "down"
}

status() { # its answer is also its exit code
    local part
    [ -f "$TB/params" ] || die "there is none in $TB; make slurm-up makes it"
    for part in "${SERVICES[@]}" $(node_names); do
        if alive "$part"; then echo "$part: up, process $(pid_of "$part")"; else echo "$part: down"; fi
    done
    echo "lies: $(cat "$TB/etc/lies")"
    running || return 3
    timeout 10 sinfo
    timeout 10 squeue
}
