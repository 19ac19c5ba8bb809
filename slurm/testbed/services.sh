# shellcheck shell=bash
# The services of the cluster, each started if it is not running: munge, mariadb, slurmdbd, slurmctld.

sql() { timeout 20 mariadb --no-defaults -S "$TB/run/mariadb.sock" -e "$1"; }

start_munge() {
    alive munged && return
    rm -f "$TB/run/munge.socket"*
    setpriv --reuid=munge --regid=munge --clear-groups /usr/sbin/munged --key-file="$TB/etc/munge.key" \
        --socket="$TB/run/munge.socket" --pid-file="$TB/run/munged.pid" --log-file="$TB/log/munged.log" \
        --seed-file="$TB/munge/seed" --num-threads=4
    waitfor 5 timeout 5 munge -n -S "$TB/run/munge.socket"
}

launch_mariadb() { # and do not wait
    alive mariadb && return
    rm -f "$TB/run/mariadb.pid"
    if [ ! -d "$TB/db/mysql" ]; then
        mariadb-install-db --no-defaults --user=mysql --datadir="$TB/db" --auth-root-authentication-method=socket \
            --skip-test-db >"$TB/log/mariadb-install.log" 2>&1
    fi
    # without --innodb-flush-log-at-trx-commit=2 each job costs a sync of the disk
    daemon mariadb.out setpriv --reuid=mysql --regid=mysql --clear-groups /usr/sbin/mariadbd --no-defaults \
        --datadir="$TB/db" --socket="$TB/run/mariadb.sock" --pid-file="$TB/run/mariadb.pid" --skip-networking \
        --innodb-buffer-pool-size=64M --innodb-log-file-size=16M --innodb-flush-log-at-trx-commit=2 \
        --innodb-lock-wait-timeout=900 --performance-schema=OFF --log-error="$TB/log/mariadb.log"
}

start_slurmdbd() {
    alive slurmdbd && return
    rm -f "$TB/run/slurmdbd.pid"
    waitfor 30 sql "create database if not exists slurm_acct;
        create user if not exists 'slurm'@'localhost' identified by 'slurm';
        grant all on slurm_acct.* to 'slurm'@'localhost'"
    # slurmdbd.conf has no option for a socket; the library reads it from this variable
    daemon slurmdbd.out env MYSQL_UNIX_PORT="$TB/run/mariadb.sock" /usr/sbin/slurmdbd -D
    waitfor 30 timeout 5 sacctmgr -n show cluster
}

accounts() { # what sacctmgr is told: limits are enforced, so whoever submits needs an association
    local user
    echo "add cluster testbed"
    echo "add qos low Priority=1"
    echo "add qos high Priority=100"
    echo "add qos tiny MaxTRESPerUser=cpu=4 MaxJobsPerUser=2 MaxSubmitJobsPerUser=4"
    echo "add account farm,lab Organization=farm"
    echo "add account small Organization=farm GrpJobs=2"          # may run two jobs at a time
    echo "add account spent Organization=farm GrpTRESMins=cpu=0" # has no core hours left
    for user in root nobody $EXTRA_USERS; do
        echo "add user $user DefaultAccount=farm Accounts=farm,lab,small,spent"
        echo "modify user $user set qos=normal,low,high,tiny defaultqos=normal"
    done
    echo quit
}

add_accounts() { # once for a bed, and again when other users are named
    accounts >"$TB/etc/accounts.new"
    cmp -s "$TB/etc/accounts.new" "$TB/etc/accounts" && return
    timeout 60 sacctmgr -i <"$TB/etc/accounts.new" >"$TB/log/accounts.log" 2>&1 || true # it fails for what is there
    mv "$TB/etc/accounts.new" "$TB/etc/accounts"
}

ctld_answers() { timeout 5 scontrol ping | grep -q 'is UP'; }

start_ctld() {
    alive slurmctld && return
    rm -f "$TB/run/slurmctld.pid"
    daemon slurmctld.out /usr/sbin/slurmctld -D -f "$CONF" -L "$TB/log/slurmctld.log"
    waitfor 20 ctld_answers
}
