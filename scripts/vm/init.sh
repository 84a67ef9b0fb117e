#!/bin/busybox sh
# Process 1 of the virtual machine. It runs twice: on the initramfs, where pivot_root must fail, and then as the init of the tmpfs that
# switch_root made the root. The kernel's command line names the test files, or one program, and the token that marks the result.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root NO_COLOR=1 CI=1 VITRINE_VM=1 VITRINE_FROM_SOURCE=1 LANG=C.UTF-8

say() { echo "vm: $*"; }

value_of() { # value_of KEY: what the kernel's command line gives it
    for word in $(cat /proc/cmdline); do
        case $word in "$1"=*) echo "${word#*=}" ;; esac
    done
}

mount_kernel_filesystems() {
    mount -t proc proc /proc
    mount -t sysfs sysfs /sys
    mount -t devtmpfs devtmpfs /dev
    mkdir -p /dev/pts /dev/shm /dev/mqueue
    mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
    mount -t tmpfs -o mode=1777 tmpfs /dev/shm
    mount -t mqueue mqueue /dev/mqueue
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    ln -sfn /proc/self/fd /dev/fd
    ln -sf /proc/self/fd/0 /dev/stdin
    ln -sf /proc/self/fd/1 /dev/stdout
    ln -sf /proc/self/fd/2 /dev/stderr
}

load_modules() {
    while read -r module; do
        busybox insmod "/modules/$module.ko" || say "module $module was not loaded"
    done < /modules/order
}

run_tests() { # run_tests FILES: their output to the console, their exit status in $status
    cd /project || exit
    { bun test --timeout 60000 $(echo "$1" | tr ',' ' ') 2>&1; echo $? > /tmp/status; } | cat
    status=$(cat /tmp/status)
}

run_on_disk() { # run_on_disk PROGRAM: on the initramfs, beside a disk that outlives this machine
    mkdir /disk
    mount -t ext4 /dev/vda /disk || finish 1
    mount -t tmpfs tmpfs /tmp
    mount -t tmpfs -o mode=755 tmpfs /run
    ip link set lo up
    cd /project || exit
    bun "$1" 2>&1
    finish $?
}

finish() { # finish STATUS: tells the host, and ends the machine
    # The line must not be mixed with output that is still on its way.
    sync
    echo
    echo "$(value_of vitrine.token) $1"
    busybox poweroff -f
}

first_stage() {
    mount_kernel_filesystems
    say "kernel $(uname -r) is up after $(cut -d' ' -f1 /proc/uptime) s"
    load_modules
    [ -z "$(value_of vitrine.program)" ] || run_on_disk "$(value_of vitrine.program)"
    run_tests "$(value_of vitrine.first)"
    [ "$status" = 0 ] || finish "$status"
    mkdir /switched
    mount -t tmpfs -o mode=755,size=75% tmpfs /switched
    mkdir /switched/proc /switched/sys /switched/dev
    for entry in /*; do
        case $entry in /proc | /sys | /dev | /switched | /modules) ;; *) busybox cp -a "$entry" /switched/ ;; esac
    done
    umount /sys/fs/cgroup /dev/mqueue /dev/shm /dev/pts /dev /sys
    umount /proc
    exec busybox switch_root /switched /init second
}

second_stage() {
    mount_kernel_filesystems
    mount -t tmpfs -o mode=755 tmpfs /run
    say "the root is a tmpfs after $(cut -d' ' -f1 /proc/uptime) s"
    hostname vitrine-vm
    ip link set lo up
    run_tests "$(value_of vitrine.second)"
    say "tests ended after $(cut -d' ' -f1 /proc/uptime) s"
    finish "$status"
}

if [ "$1" = second ]; then second_stage; else first_stage; fi
