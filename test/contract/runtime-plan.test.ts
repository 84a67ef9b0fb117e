import { describe, expect, test } from "bun:test";
import { compileExecPlan, compilePlan, encodeOciSpec, type SpecInput, toOciSpec } from "../../src/runtime/index.ts";
import {
  type HostConfig,
  type OciSpec,
  type Plan,
  type ProcessSpec,
  decodePlan,
  encodePlan,
} from "../../src/spec/index.ts";

const fresh = { kind: "new" } as const;
const host = { kind: "host" } as const;

const process_: ProcessSpec = {
  args: ["sleep", "1"],
  env: ["PATH=/bin"],
  cwd: "/app",
  user: { uid: 0, gid: 0, groups: [0, 10], home: "/root" },
  terminal: false,
};

function spec(hostConfig: HostConfig = {}, input: Partial<SpecInput> = {}): OciSpec {
  return toOciSpec({
    id: "c0ffee",
    config: {},
    host: hostConfig,
    rootPath: "/v/merged",
    mounts: [],
    hostname: "box",
    namespaces: {
      mnt: fresh,
      pid: fresh,
      ipc: fresh,
      uts: fresh,
      net: { kind: "path", path: "/run/netns" },
      cgroup: host,
      user: host,
    },
    cgroupPath: "/vitrine/c0ffee",
    cgroupVersion: "v2",
    process: process_,
    ...input,
  });
}

function plan(made: OciSpec, groups: readonly string[] = ["/sys/fs/cgroup/vitrine/c0ffee"]): Plan {
  return compilePlan(made, {
    rootMounts: [
      {
        type: "overlay",
        source: "overlay",
        target: "/v/merged",
        options: ["lowerdir=l/A:l/B", "upperdir=u", "workdir=w"],
        workingDirectory: "/v",
      },
    ],
    settings: { id: "c0ffee" },
    cgroupDirectories: groups,
    pivot: "pivot",
    isFile: (path) => path.endsWith("hosts"),
  });
}

/** One op a line; the filter by its length, since it is thousands of digits. */
function lines({ ops }: Plan, names?: readonly string[]): string {
  return ops
    .filter(({ name }) => !names || names.includes(name))
    .map(({ actor, name, arguments: args }) =>
      `${actor} ${name} ${args.map((text) => (text.length > 400 ? `<${text.length}>` : JSON.stringify(text))).join(" ")}`.trimEnd(),
    )
    .join("\n");
}

const bind = (source: string, target: string, ...options: string[]) => ({ type: "bind", source, target, options });

const ofProcess = (name: string) => ({ kind: "path", path: `/proc/7/ns/${name}` }) as const;

describe("the plan of a container", () => {
  test("in the order of the design, with nothing asked for", () => {
    const shown = lines(plan(spec()))
      .split("\n")
      .filter((line) => !/ mask "|mknod|symlink/.test(line))
      .join("\n");
    expect(shown).toMatchInlineSnapshot(`
      "monitor mount "overlay" "overlay" "/v/merged" "" "lowerdir=l/A:l/B,upperdir=u,workdir=w" "/v" ""
      monitor clone "mnt,uts,pid,ipc"
      child setns "net" "/run/netns"
      child join-cgroup "/sys/fs/cgroup/vitrine/c0ffee"
      child remount "/" "rprivate"
      child mount "proc" "proc" "/proc" "nosuid,noexec,nodev" "" "" "/v/merged"
      child mount "tmpfs" "tmpfs" "/dev" "nosuid,strictatime" "mode=755,size=65536k" "" "/v/merged"
      child mount "devpts" "devpts" "/dev/pts" "nosuid,noexec" "newinstance,ptmxmode=0666,mode=0620,gid=5" "" "/v/merged"
      child mount "sysfs" "sysfs" "/sys" "nosuid,noexec,nodev,ro" "" "" "/v/merged"
      child mount "cgroup2" "cgroup2" "/sys/fs/cgroup" "nosuid,noexec,nodev,ro" "" "" "/v/merged"
      child mount "mqueue" "mqueue" "/dev/mqueue" "nosuid,noexec,nodev" "" "" "/v/merged"
      child mount "tmpfs" "shm" "/dev/shm" "nosuid,noexec,nodev" "mode=1777,size=67108864" "" "/v/merged"
      child pivot-root "/v/merged" "pivot"
      child sethostname "box"
      child sysctl "net.ipv4.ip_unprivileged_port_start" "0"
      child sysctl "net.ipv4.ping_group_range" "0 2147483647"
      child read-only-path "/proc/bus"
      child read-only-path "/proc/fs"
      child read-only-path "/proc/irq"
      child read-only-path "/proc/sys"
      child read-only-path "/proc/sysrq-trigger"
      child mkdir "/app" "755" "0" "0" ""
      child oom-score "0"
      child keyring "_ses.c0ffee"
      child sync "commit"
      child session "pipes"
      child umask "022"
      child groups "0,10"
      child capabilities "keep" "00000000a80425fb" "00000000a80425fb" "00000000a80425fb" "0000000000000000" "0000000000000000"
      child user "0" "0"
      child seccomp <5984> "spec-allow"
      child capabilities "final" "00000000a80425fb" "00000000a80425fb" "00000000a80425fb" "0000000000000000" "0000000000000000"
      child close-range "3"
      child chdir "/app"
      child exec "sleep" "2" "sleep" "1" "PATH=/bin""
    `);
  });
  test("hides what the kernel tells of the host, and makes six devices and five links", () => {
    const made = plan(spec());
    const masked = made.ops.filter(({ name }) => name === "mask").map((op) => op.arguments[0] ?? "");
    expect(masked.filter((path) => !path.includes("thermal_throttle"))).toMatchInlineSnapshot(`
      [
        "/proc/acpi",
        "/proc/asound",
        "/proc/interrupts",
        "/proc/kcore",
        "/proc/keys",
        "/proc/latency_stats",
        "/proc/sched_debug",
        "/proc/scsi",
        "/proc/timer_list",
        "/proc/timer_stats",
        "/sys/devices/virtual/powercap",
        "/sys/firmware",
      ]
    `);
    expect(lines(made, ["mknod", "symlink"])).toMatchInlineSnapshot(`
      "child mknod "/dev/null" "c" "666" "1" "3" "0" "0" "/v/merged"
      child mknod "/dev/zero" "c" "666" "1" "5" "0" "0" "/v/merged"
      child mknod "/dev/full" "c" "666" "1" "7" "0" "0" "/v/merged"
      child mknod "/dev/random" "c" "666" "1" "8" "0" "0" "/v/merged"
      child mknod "/dev/urandom" "c" "666" "1" "9" "0" "0" "/v/merged"
      child mknod "/dev/tty" "c" "666" "5" "0" "0" "0" "/v/merged"
      child symlink "/proc/self/fd" "/dev/fd" "/v/merged"
      child symlink "/proc/self/fd/0" "/dev/stdin" "/v/merged"
      child symlink "/proc/self/fd/1" "/dev/stdout" "/v/merged"
      child symlink "/proc/self/fd/2" "/dev/stderr" "/v/merged"
      child symlink "pts/ptmx" "/dev/ptmx" "/v/merged""
    `);
  });
  test("every op has a reason, and the bytes hold the same ops", () => {
    const made = plan(spec({ Privileged: true }, { process: { ...process_, terminal: true } }));
    expect(made.ops.filter(({ reason }) => reason.length < 10)).toEqual([]);
    expect(lines(decodePlan(encodePlan(made)))).toBe(lines(made));
  });
  test("volumes come after the defaults, parents first, files onto files; the user's /dev/shm replaces ours", () => {
    const mounts = [
      bind("/srv/deep", "/data/a/b", "rbind", "rprivate", "ro"),
      bind("/srv/data", "/data", "rbind"),
      bind("/c/hosts", "/etc/hosts", "rbind", "rprivate"),
      bind("/c/shm", "/dev/shm", "bind", "rprivate"),
    ];
    const made = plan(spec({ Tmpfs: { "/run": "size=1m,exec,mode=700" } }, { mounts }));
    expect(lines(made, ["mount", "bind"]).split("\n").slice(6).join("\n")).toMatchInlineSnapshot(`
      "child mount "mqueue" "mqueue" "/dev/mqueue" "nosuid,noexec,nodev" "" "" "/v/merged"
      child bind "/srv/data" "/data" "rec,rprivate" "/v/merged" "dir"
      child mount "tmpfs" "tmpfs" "/run" "nosuid,nodev" "size=1m,mode=700" "" "/v/merged"
      child bind "/c/hosts" "/etc/hosts" "rec,rprivate" "/v/merged" "file"
      child bind "/c/shm" "/dev/shm" "rprivate" "/v/merged" "dir"
      child bind "/srv/deep" "/data/a/b" "rec,ro,rprivate" "/v/merged" "dir""
    `);
  });
  test("a volume that shares its mounts makes the root a mount of its own first", () => {
    const mounts = [{ type: "bind", source: "/srv", target: "/srv", options: ["rbind", "rshared"] }];
    expect(lines(plan(spec({}, { mounts })), ["remount", "bind"])).toMatchInlineSnapshot(`
      "child remount "/" "rshared"
      child remount "/v/merged" "private"
      child bind "/v/merged" "/v/merged" "rec,rprivate" "" "none"
      child bind "/srv" "/srv" "rec,rshared" "/v/merged" "dir""
    `);
  });
  test("a terminal is made in the container's devpts and bound to its console", () => {
    const made = plan(spec({}, { process: { ...process_, terminal: true } }));
    expect(lines(made, ["send-fd", "session"]) + "\n" + lines(made, ["bind"])).toMatchInlineSnapshot(`
      "child send-fd "pty"
      child session "pty"
      child bind "/dev/pts/0" "/dev/console" "rprivate" "" "file""
    `);
  });
  test("modes host and container:ID", () => {
    const namespaces = {
      mnt: fresh,
      pid: ofProcess("pid"),
      ipc: ofProcess("ipc"),
      uts: host,
      net: host,
      cgroup: fresh,
      user: host,
    } as const;
    const made = plan(spec({ NetworkMode: "host" }, { namespaces }));
    expect(lines(made, ["clone", "setns", "unshare", "sethostname", "sysctl"])).toMatchInlineSnapshot(`
      "monitor setns "pid" "/proc/7/ns/pid"
      monitor clone "mnt"
      child setns "ipc" "/proc/7/ns/ipc"
      child unshare "cgroup""
    `);
  });
  test("cgroup v1 binds the container's group of each controller, and seals the place", () => {
    const directories = ["/sys/fs/cgroup/memory/vitrine/c0ffee", "/sys/fs/cgroup/cpu,cpuacct/vitrine/c0ffee"];
    const made = plan(spec({}, { cgroupVersion: "v1" }), directories);
    const shown = lines(made)
      .split("\n")
      .filter((line) => line.includes("cgroup"));
    expect(shown.join("\n")).toMatchInlineSnapshot(`
      "child join-cgroup "/sys/fs/cgroup/memory/vitrine/c0ffee"
      child join-cgroup "/sys/fs/cgroup/cpu,cpuacct/vitrine/c0ffee"
      child mount "tmpfs" "tmpfs" "/sys/fs/cgroup" "nosuid,noexec,nodev" "mode=755" "" "/v/merged"
      child bind "/sys/fs/cgroup/memory/vitrine/c0ffee" "/sys/fs/cgroup/memory" "nosuid,noexec,nodev,ro,rprivate" "/v/merged" "dir"
      child bind "/sys/fs/cgroup/cpu,cpuacct/vitrine/c0ffee" "/sys/fs/cgroup/cpu,cpuacct" "nosuid,noexec,nodev,ro,rprivate" "/v/merged" "dir"
      child symlink "cpu,cpuacct" "/sys/fs/cgroup/cpu" "/v/merged"
      child symlink "cpu,cpuacct" "/sys/fs/cgroup/cpuacct" "/v/merged"
      child remount "/sys/fs/cgroup" "ro,nosuid,nodev,noexec""
    `);
  });
  test("a user, no-new-privileges, limits, --read-only and --no-pivot", () => {
    const user = { uid: 1000, gid: 1000, groups: [1000], home: "/" };
    const hostConfig: HostConfig = {
      SecurityOpt: ["no-new-privileges"],
      Ulimits: [{ Name: "nofile", Soft: 10, Hard: -1 }],
      ReadonlyRootfs: true,
      OomScoreAdj: 500,
      CapDrop: ["ALL"],
      CapAdd: ["chown"],
    };
    const made = compilePlan(spec(hostConfig, { process: { ...process_, user } }), {
      rootMounts: [],
      settings: {},
      cgroupDirectories: [],
      pivot: "chroot",
    });
    const names = [
      "pivot-root",
      "remount",
      "rlimit",
      "oom-score",
      "groups",
      "user",
      "capabilities",
      "no-new-privs",
      "seccomp",
    ];
    expect(lines(made, names)).toMatchInlineSnapshot(`
      "child remount "/" "rprivate"
      child pivot-root "/v/merged" "chroot"
      child remount "/" "ro"
      child oom-score "500"
      child rlimit "nofile" "10" "unlimited"
      child groups "1000"
      child capabilities "keep" "0000000000000001" "0000000000000000" "0000000000000000" "0000000000000000" "0000000000000000"
      child user "1000" "1000"
      child capabilities "final" "0000000000000001" "0000000000000000" "0000000000000000" "0000000000000000" "0000000000000000"
      child no-new-privs
      child seccomp <6048> "spec-allow""
    `);
  });
  test("an exec joins groups and namespaces, then takes the same tail", () => {
    const made = compileExecPlan(
      spec(),
      { ...process_, args: ["id"], terminal: true },
      { settings: { id: "c0ffee" }, cgroupDirectories: ["/sys/fs/cgroup/vitrine/c0ffee"] },
    );
    expect(lines(made)).toMatchInlineSnapshot(`
      "monitor join-cgroup "/sys/fs/cgroup/vitrine/c0ffee"
      monitor setns "ipc" "init"
      monitor setns "uts" "init"
      monitor setns "net" "init"
      monitor setns "pid" "init"
      monitor setns "mnt" "init"
      monitor clone ""
      child oom-score "0"
      child keyring "_ses.c0ffee"
      child send-fd "pty"
      child session "pty"
      child umask "022"
      child groups "0,10"
      child capabilities "keep" "00000000a80425fb" "00000000a80425fb" "00000000a80425fb" "0000000000000000" "0000000000000000"
      child user "0" "0"
      child seccomp <5984> "spec-allow"
      child capabilities "final" "00000000a80425fb" "00000000a80425fb" "00000000a80425fb" "0000000000000000" "0000000000000000"
      child close-range "3"
      child chdir "/app"
      child exec "id" "1" "id" "PATH=/bin""
    `);
  });
  test("a start is compiled in under a millisecond once it is warm", () => {
    for (let round = 0; round < 20; round++) plan(spec());
    const begin = performance.now();
    for (let round = 0; round < 50; round++) plan(spec());
    console.info(`    spec and plan: ${((performance.now() - begin) / 50).toFixed(3)} ms`);
  });
});

describe("the OCI spec", () => {
  test("has the shapes that the published schema asks for", () => {
    const made = spec({
      Ulimits: [{ Name: "core", Soft: -1, Hard: -1 }],
      Memory: 1e8,
      NanoCpus: 5e8,
      PidsLimit: 9,
      Init: false,
    });
    const text = encodeOciSpec(made);
    const decoded = JSON.parse(text) as OciSpec;
    expect(text).toContain('{"type":"RLIMIT_CORE","soft":18446744073709551615,"hard":18446744073709551615}');
    expect(decoded.ociVersion).toMatch(/^\d+\.\d+\.\d+$/);
    expect(
      decoded.linux.namespaces.every(({ type }) =>
        ["mount", "pid", "network", "uts", "ipc", "user", "cgroup"].includes(type),
      ),
    ).toBe(true);
    expect(decoded.linux.devices.every(({ fileMode, type }) => fileMode <= 0o777 && /^[cbup]$/.test(type))).toBe(true);
    expect(["private", "slave", "shared", "unbindable"]).toContain(decoded.linux.rootfsPropagation);
    expect(
      decoded.linux.seccomp?.syscalls.every(({ names, action }) => names.length > 0 && action.startsWith("SCMP_ACT_")),
    ).toBe(true);
    expect(decoded.process.rlimits?.every(({ type }) => /^RLIMIT_[A-Z]+$/.test(type))).toBe(true);
    expect(decoded.linux.resources).toMatchObject({
      memory: { limit: 1e8, swap: 2e8 },
      cpu: { quota: 50_000, period: 100_000 },
      pids: { limit: 9 },
    });
  });
  test("a privileged container has no masks, no filter, every device and every capability", () => {
    const made = spec({ Privileged: true });
    expect(made.linux).toMatchObject({ maskedPaths: [], readonlyPaths: [] });
    expect(made.linux.seccomp).toBeUndefined();
    expect(made.linux.resources.devices).toEqual([{ allow: true, access: "rwm" }]);
    expect(made.process.capabilities.bounding).toContain("CAP_SYS_ADMIN");
    expect(made.mounts.find(({ destination }) => destination === "/sys")?.options).not.toContain("ro");
  });
  test("devices by path, by folder, and by rule", () => {
    const device = { PathOnHost: "/dev/zero", PathInContainer: "/dev/nought", CgroupPermissions: "r" };
    const made = spec({ Devices: [device], DeviceCgroupRules: ["c 10:* rw"] });
    expect(made.linux.devices.find(({ path }) => path === "/dev/nought")).toMatchObject({
      type: "c",
      major: 1,
      minor: 5,
    });
    expect(made.linux.resources.devices?.slice(-2)).toEqual([
      { allow: true, type: "c", major: 1, minor: 5, access: "r" },
      { allow: true, type: "c", major: 10, access: "rw" },
    ]);
  });
});

const refusal = (hostConfig: HostConfig, input: Partial<SpecInput> = {}): string => {
  try {
    plan(spec(hostConfig, input));
  } catch (error) {
    return (error as Error).message;
  }
  return "not refused";
};

describe("what is refused, each with its value", () => {
  test("capabilities, security options, devices, limits", () => {
    expect(refusal({ CapAdd: ["SYS_MAGIC"] })).toBe('invalid CapAdd: unknown capability: "SYS_MAGIC"');
    expect(refusal({ SecurityOpt: ["nonsense"] })).toBe('invalid --security-opt 1: "nonsense"');
    expect(refusal({ SecurityOpt: ["apparmor=docker-default"] })).toContain("AppArmor profiles are not supported");
    expect(refusal({ SecurityOpt: ["apparmor=unconfined", "label=disable"] })).toBe("not refused");
    expect(refusal({ SecurityOpt: ["seccomp={"] })).toContain("Decoding seccomp profile failed");
    expect(refusal({ SecurityOpt: ['seccomp={"defaultAction":"SCMP_ACT_ALLOW","syscalls":[3]}'] })).toContain(
      "an entry of syscalls has the wrong type",
    );
    expect(
      refusal({ Devices: [{ PathOnHost: "/dev/nope", PathInContainer: "/dev/nope", CgroupPermissions: "rwm" }] }),
    ).toBe('error gathering device information while adding custom device "/dev/nope": no such file or directory');
    expect(refusal({ DeviceCgroupRules: ["c 1 rwm"] })).toBe("invalid device cgroup rule format: 'c 1 rwm'");
    expect(refusal({ Ulimits: [{ Name: "wishes", Soft: 3, Hard: 3 }] })).toBe("invalid ulimit type: wishes");
    expect(refusal({ Ulimits: [{ Name: "nofile", Soft: 9, Hard: 3 }] })).toContain("9 > 3");
    expect(refusal({ Tmpfs: { "/run": "upperdir=/etc" } })).toBe('Invalid tmpfs option "upperdir=/etc"');
  });
  test("kernel parameters that would change the host", () => {
    expect(refusal({ Sysctls: { "vm.swappiness": "1" } })).toBe(
      'sysctl "vm.swappiness=1" is not in a separate kernel namespace',
    );
    expect(refusal({ Sysctls: { "net/../vm/swappiness": "1" } })).toContain("is not the name of a kernel parameter");
    const namespaces = { mnt: fresh, pid: fresh, ipc: host, uts: fresh, net: host, cgroup: host, user: host } as const;
    expect(refusal({ Sysctls: { "net.core.somaxconn": "1" } }, { namespaces })).toContain("hosts network namespace");
    expect(refusal({ Sysctls: { "kernel.msgmax": "1" } }, { namespaces })).toContain("hosts ipc namespace");
  });
  test("what is not built, by its name", () => {
    expect(refusal({ Init: true })).toContain("--init is not built yet");
    const namespaces = {
      mnt: fresh,
      pid: fresh,
      ipc: fresh,
      uts: fresh,
      net: fresh,
      cgroup: host,
      user: fresh,
    } as const;
    expect(refusal({}, { namespaces })).toContain("userns-remap");
    expect(refusal({}, { process: { ...process_, cwd: "app" } })).toBe(
      "the working directory 'app' is invalid, it needs to be an absolute path",
    );
  });
});
