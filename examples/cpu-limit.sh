#!/bin/sh
# A limit is a file: a busy loop is held to a fifth of a CPU with mkdir and echo, on cgroup v1 and v2. Run it as root.
set -eu

name=cpu-limit-by-hand-$$

share() { # share PID: what it used of one CPU during a second, in percent (a clock tick is 10 ms)
    before=$(ticks "$1")
    sleep 1
    echo $(($(ticks "$1") - before))
}

ticks() { # ticks PID: fields 14 and 15 of its stat, after the name, which may hold spaces
    sed 's/.*) //' "/proc/$1/stat" | { read -r _ _ _ _ _ _ _ _ _ _ _ user system _; echo $((user + system)); }
}

clean() {
    [ -z "${loop:-}" ] || { kill -9 "$loop"; wait "$loop" 2>/dev/null || true; }
    while [ -d "$group" ] && ! rmdir "$group" 2>/dev/null; do sleep 0.05; done
}

if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
    echo "cgroup v2"
    grep -qw cpu /sys/fs/cgroup/cgroup.subtree_control || echo +cpu >/sys/fs/cgroup/cgroup.subtree_control
    group=/sys/fs/cgroup/$name
    files=cpu.max
    limit="20000 100000"
else
    echo "cgroup v1"
    group=$(findmnt -n -t cgroup -O cpu -o TARGET | head -n 1)/$name
    files="cpu.cfs_quota_us cpu.cfs_period_us"
    limit=20000
fi
trap clean EXIT

mkdir "$group"
for file in $files; do echo "$file: $(cat "$group/$file")"; done

sh -c 'while :; do :; done' &
loop=$!
echo "without a limit: $(share $loop) %"

echo "$limit" >"$group/${files%% *}"
echo $loop >"$group/cgroup.procs"
echo "${files%% *}: $(cat "$group/${files%% *}")"
echo "with the limit: $(share $loop) %"
grep throttled "$group/cpu.stat"
