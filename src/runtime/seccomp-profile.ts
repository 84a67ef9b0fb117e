// Which system calls a container may make by default: the decisions of Docker's default profile, grouped by what the calls are for.
import type { SeccompAction, SeccompCondition } from "../spec/index.ts";

/** When a rule of Docker's profile format counts. `caps`: of the container's bounding set; `arches`: Go's names. */
export interface SeccompFilter {
  readonly caps?: readonly string[] | null;
  readonly arches?: readonly string[] | null;
  readonly minKernel?: string;
}

export interface SeccompRule {
  readonly names?: readonly string[] | null;
  /** The old format's single name. */
  readonly name?: string;
  readonly action: SeccompAction;
  readonly errnoRet?: number | null;
  readonly args?: readonly SeccompCondition[] | null;
  readonly includes?: SeccompFilter | null;
  readonly excludes?: SeccompFilter | null;
}

/** Docker's format of `--security-opt seccomp=FILE`, a superset of OCI's `linux.seccomp`. */
export interface SeccompProfile {
  readonly defaultAction: SeccompAction;
  readonly defaultErrnoRet?: number | null;
  readonly archMap?: readonly { readonly architecture: string; readonly subArchitectures?: readonly string[] | null }[];
  readonly architectures?: readonly string[] | null;
  readonly flags?: readonly string[] | null;
  readonly syscalls?: readonly SeccompRule[] | null;
}

/** Calls that every container may make, whatever their arguments. */
const always = [
  // files and directories
  `
  access faccessat faccessat2 open openat openat2 creat close close_range name_to_handle_at read readv pread64 preadv
  preadv2 write writev pwrite64 pwritev pwritev2 lseek _llseek readahead dup dup2 dup3 fcntl fcntl64 flock ioctl stat
  stat64 lstat lstat64 fstat fstat64 fstatat64 newfstatat statx statfs statfs64 fstatfs fstatfs64 statmount listmount
  link linkat symlink symlinkat readlink readlinkat unlink unlinkat rename renameat renameat2 mkdir mkdirat rmdir
  mknod mknodat getcwd chdir fchdir getdents getdents64 chmod fchmod fchmodat fchmodat2 chown chown32 fchown fchown32
  fchownat lchown lchown32 umask utime utimes utimensat utimensat_time64 futimesat truncate truncate64 ftruncate
  ftruncate64 fallocate fadvise64 fadvise64_64 sync syncfs fsync fdatasync sync_file_range copy_file_range sendfile
  sendfile64 splice tee vmsplice getxattr lgetxattr fgetxattr getxattrat setxattr lsetxattr fsetxattr setxattrat
  listxattr llistxattr flistxattr listxattrat removexattr lremovexattr fremovexattr removexattrat inotify_init
  inotify_init1 inotify_add_watch inotify_rm_watch fanotify_mark cachestat
  `,
  // waiting for many things at once
  `
  select _newselect pselect6 pselect6_time64 poll ppoll ppoll_time64 epoll_create epoll_create1 epoll_ctl
  epoll_ctl_old epoll_wait epoll_wait_old epoll_pwait epoll_pwait2 pipe pipe2 eventfd eventfd2 signalfd signalfd4
  timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64 io_setup io_destroy io_submit
  io_cancel io_getevents io_pgetevents io_pgetevents_time64
  `,
  // memory
  `
  brk mmap mmap2 munmap mremap mprotect madvise msync mincore mlock mlock2 mlockall munlock munlockall membarrier
  mseal memfd_create memfd_secret remap_file_pages pkey_alloc pkey_free pkey_mprotect map_shadow_stack shmget shmat
  shmctl shmdt process_mrelease
  `,
  // processes and threads
  `
  fork vfork execve execveat exit exit_group wait4 waitid waitpid kill tkill tgkill pidfd_open pidfd_send_signal
  pause restart_syscall getpid getppid gettid getpgid getpgrp setpgid getsid setsid getcpu set_tid_address
  set_robust_list get_robust_list get_thread_area set_thread_area futex futex_time64 futex_waitv futex_wait
  futex_wake futex_requeue rseq prctl seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self
  rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait
  rt_sigtimedwait_time64 rt_tgsigqueueinfo sigaltstack sigprocmask sigreturn uretprobe riscv_hwprobe
  `,
  // scheduling and limits
  `
  sched_yield sched_getaffinity sched_setaffinity sched_getattr sched_setattr sched_getparam sched_setparam
  sched_getscheduler sched_setscheduler sched_get_priority_max sched_get_priority_min sched_rr_get_interval
  sched_rr_get_interval_time64 getpriority setpriority ioprio_get ioprio_set getrlimit ugetrlimit setrlimit prlimit64
  getrusage times sysinfo uname
  `,
  // identity
  `
  getuid getuid32 geteuid geteuid32 getgid getgid32 getegid getegid32 getresuid getresuid32 getresgid getresgid32
  getgroups getgroups32 setuid setuid32 setgid setgid32 setreuid setreuid32 setregid setregid32 setresuid setresuid32
  setresgid setresgid32 setfsuid setfsuid32 setfsgid setfsgid32 setgroups setgroups32 capget capset getrandom
  `,
  // clocks and timers
  `
  time gettimeofday clock_gettime clock_gettime64 clock_getres clock_getres_time64 clock_nanosleep
  clock_nanosleep_time64 nanosleep adjtimex clock_adjtime clock_adjtime64 alarm getitimer setitimer timer_create
  timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64
  `,
  // sockets (socket(2) itself has conditions below)
  `
  socketcall socketpair bind listen accept accept4 connect shutdown getsockname getpeername getsockopt setsockopt
  send sendto sendmsg sendmmsg recv recvfrom recvmsg recvmmsg recvmmsg_time64
  `,
  // System V and POSIX queues
  `
  ipc msgget msgctl msgrcv msgsnd semget semctl semop semtimedop semtimedop_time64 mq_open mq_unlink mq_notify
  mq_getsetattr mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64
  `,
];

/** Calls that come with a capability: who may do the deed may also ask for it. */
const withCapability: Readonly<Record<string, string>> = {
  CAP_DAC_READ_SEARCH: "open_by_handle_at",
  CAP_SYS_ADMIN: `
    bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr lsm_list_modules
    lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl quotactl_fd setdomainname
    sethostname setns syslog umount umount2 unshare`,
  CAP_SYS_BOOT: "reboot",
  CAP_SYS_CHROOT: "chroot",
  CAP_SYS_MODULE: "delete_module init_module finit_module",
  CAP_SYS_PACCT: "acct",
  CAP_SYS_PTRACE: "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace",
  CAP_SYS_RAWIO: "iopl ioperm",
  CAP_SYS_TIME: "settimeofday stime clock_settime clock_settime64",
  CAP_SYS_TTY_CONFIG: "vhangup",
  CAP_SYS_NICE: "get_mempolicy mbind set_mempolicy set_mempolicy_home_node",
  CAP_SYSLOG: "syslog",
  CAP_BPF: "bpf",
  CAP_PERFMON: "perf_event_open",
};

/** Calls that only some processors have. */
const withArchitecture: readonly (readonly [arches: readonly string[], names: string])[] = [
  [["arm", "arm64"], "arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls"],
  [["amd64", "x32"], "arch_prctl"],
  [["amd64", "x32", "x86"], "modify_ldt"],
];

const errnoNotImplemented = 38;
const addressFamilyAlg = 38;
const addressFamilyVsock = 40;
/** PER_LINUX, PER_LINUX32, either with UNAME26, and 0xffffffff, which only asks (personality(2)). */
const personalities = [0x0, 0x8, 0x20000, 0x20008, 0xffffffff];
/** CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET: none of these bits may be set in clone(2)'s flags. */
const namespaceFlags = 0x7e020000;

function allow(names: string, rest: Omit<SeccompRule, "names" | "action"> = {}): SeccompRule {
  return { names: names.trim().split(/\s+/), action: "SCMP_ACT_ALLOW", ...rest };
}

function when(index: number, op: SeccompCondition["op"], value: number): { args: SeccompCondition[] } {
  return { args: [{ index, value, op }] };
}

/** Everything not named answers EPERM. */
export const defaultSeccompProfile: SeccompProfile = {
  defaultAction: "SCMP_ACT_ERRNO",
  defaultErrnoRet: 1,
  archMap: [
    { architecture: "SCMP_ARCH_X86_64", subArchitectures: ["SCMP_ARCH_X86", "SCMP_ARCH_X32"] },
    { architecture: "SCMP_ARCH_AARCH64", subArchitectures: ["SCMP_ARCH_ARM"] },
  ],
  syscalls: [
    allow(always.join(" ")),
    // Before 4.8 a tracer could change a call after the filter had seen it.
    allow("process_vm_readv process_vm_writev ptrace", { includes: { minKernel: "4.8" } }),
    // All but AF_ALG (kernel crypto) and AF_VSOCK (the hypervisor), which no container needs and no namespace covers.
    allow("socket", when(0, "SCMP_CMP_LT", addressFamilyAlg)),
    allow("socket", when(0, "SCMP_CMP_EQ", addressFamilyAlg + 1)),
    allow("socket", when(0, "SCMP_CMP_GT", addressFamilyVsock)),
    ...personalities.map((value) => allow("personality", when(0, "SCMP_CMP_EQ", value))),
    ...withArchitecture.map(([arches, names]) => allow(names, { includes: { arches } })),
    ...Object.entries(withCapability).map(([capability, names]) => allow(names, { includes: { caps: [capability] } })),
    allow("clone", {
      args: [{ index: 0, value: namespaceFlags, valueTwo: 0, op: "SCMP_CMP_MASKED_EQ" }],
      excludes: { caps: ["CAP_SYS_ADMIN"] },
    }),
    // Its flags are behind a pointer, which a filter cannot read: ENOSYS makes libc fall back to clone.
    {
      names: ["clone3"],
      action: "SCMP_ACT_ERRNO",
      errnoRet: errnoNotImplemented,
      excludes: { caps: ["CAP_SYS_ADMIN"] },
    },
  ],
};
