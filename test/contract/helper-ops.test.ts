import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { op, type Op } from "../../src/spec/index.ts";
import { frame } from "../support/frames.ts";
import { sanitizedHelper } from "../support/helper-binary.ts";
import { containerOps, makeBusyboxRoot, startMonitored, type ContainerPlan } from "../support/monitored.ts";
import { newScratch } from "../support/scratch.ts";

const scratch = newScratch();
const folder = scratch.path;
let root = "";
beforeAll(async () => {
  await sanitizedHelper();
  root = makeBusyboxRoot(folder);
}, 60_000);
afterAll(() => scratch[Symbol.asyncDispose]());

interface Outcome {
  readonly output: string;
  readonly exitCode: string;
  readonly failed: readonly string[] | undefined;
  /** `index: errno detail` of ops that said something. */
  readonly remarks: Record<number, [string, string]>;
}

/** Runs a script in a container whose plan has more ops, to its end. */
async function outcome(script: string, more: Partial<ContainerPlan> = {}): Promise<Outcome> {
  const ops = containerOps({ root, words: ["sh", "-c", script], ...more });
  await using container = await startMonitored({ folder, ops });
  await container.start.until(() =>
    container.start.frames.some(({ type }) => type === frame.ready || type === frame.failed),
  );
  container.start.send(frame.attach, ["stdout", "stderr"]);
  container.start.send(frame.go);
  await container.start.untilClosed();
  const of = (type: number) => container.start.frames.find((one) => one.type === type)?.fields;
  const reports = container.start.frames.filter(({ type }) => type === frame.report).flatMap(({ fields }) => fields);
  const remarks: Record<number, [string, string]> = {};
  for (let at = 0; at < reports.length; at += 4) {
    if (reports[at + 1] !== "0" || reports[at + 3])
      remarks[Number(reports[at])] = [reports[at + 1] ?? "", reports[at + 3] ?? ""];
  }
  const output = container.start.text(frame.stdout) + container.start.text(frame.stderr);
  return { output, exitCode: of(frame.exited)?.[0] ?? "", failed: of(frame.failed), remarks };
}

const child = <Name extends Op["name"]>(name: Name, ...args: Parameters<typeof op<Name>>[2]) =>
  op("child", name, args, "");

describe("paths in a root", () => {
  test("links of an image cannot lead a mount, a bind, a node or a directory out of it", async () => {
    const outside = join(folder, "outside");
    mkdirSync(outside);
    for (const [text, name] of [
      [outside, "absolute"],
      ["../../../../../../..", "up"],
      [`${outside}/dangling`, "dangling"],
    ] as const) {
      rmSync(join(root, name), { force: true });
      symlinkSync(text, join(root, name));
    }
    writeFileSync(join(folder, "source"), "from the host\n");
    const { output, failed } = await outcome(`cat ${outside}/file ${outside}/dangling/deep; ls ${outside}`, {
      inOldRoot: [
        child("mkdir", "/absolute/made", "700", "1", "2", root),
        child("bind", join(folder, "source"), "/absolute/file", "ro", root, "file"),
        child("mknod", "/absolute/zero", "c", "600", "1", "5", "3", "4", root),
        child("symlink", "text", "/absolute/link", root),
        child("mount", "tmpfs", "tmpfs", `/up/up${outside}/made`, "", "", "", root),
        child("bind", join(folder, "source"), "/dangling/deep", "", root, "file"),
      ],
    });
    expect(failed).toBeUndefined();
    expect(output).toBe("from the host\nfrom the host\ndangling\nfile\nlink\nmade\nzero\n");
    expect(existsSync(join(outside, "file"))).toBe(false);
    const inside = join(root, outside);
    expect(statSync(join(inside, "made"))).toMatchObject({ uid: 1, gid: 2, mode: 0o40700 });
    expect(lstatSync(join(inside, "zero"))).toMatchObject({ uid: 3, gid: 4, rdev: 0x105, mode: 0o20600 });
    expect(readlinkSync(join(inside, "link"))).toBe("text");
  });

  test("a magic link is refused", async () => {
    const { failed } = await outcome("true", {
      inOldRoot: [child("bind", join(folder, "source"), "/proc/self/cwd/x", "", root, "file")],
    });
    expect(failed?.[1]).toBe("40");
  });

  test("a loop of dangling links ends", async () => {
    symlinkSync("ring-b/x", join(root, "ring-a"));
    symlinkSync("ring-a/x", join(root, "ring-b"));
    const { failed } = await outcome("true", { inOldRoot: [child("mkdir", "/ring-a/y", "755", "0", "0", root)] });
    expect(failed?.[1]).toBe("40");
  });

  test("what is there already is kept: directories, links, equal nodes", async () => {
    mkdirSync(join(root, "kept"), { recursive: true, mode: 0o711 });
    const { failed, remarks } = await outcome("true", {
      inOldRoot: [
        child("mkdir", "/kept", "700", "9", "9", root),
        child("mknod", "/dev/null", "c", "666", "1", "3", "0", "0", root),
        child("symlink", "else", "/bin/sh", root),
      ],
    });
    expect(failed).toBeUndefined();
    expect(Object.values(remarks).filter(([number]) => number === "0")).toHaveLength(3);
    expect(statSync(join(root, "kept"))).toMatchObject({ uid: 0, mode: 0o40711 });
    expect(readlinkSync(join(root, "bin/sh"))).toBe("busybox");
  });
});

test("a read-only bind is read-only, a recursive one in its submounts too", async () => {
  const source = join(folder, "tree");
  mkdirSync(join(source, "sub"), { recursive: true });
  const { output } = await outcome("touch /one/x; touch /one/sub/x && echo open; touch /two/sub/x", {
    inOldRoot: [
      child("mount", "tmpfs", "tmpfs", join(source, "sub"), "", "", "", ""),
      child("bind", source, "/one", "rec,ro,rprivate", root, "dir"),
      child("bind", source, "/two", "rec,rro,rprivate", root, "dir"),
    ],
  });
  expect(output.split("\n").filter((line) => line.includes("Read-only"))).toHaveLength(2);
  expect(output).toContain("open\n");
});

test("masked directories are empty and read-only, masked files are /dev/null, absent ones are no error", async () => {
  mkdirSync(join(root, "secret/inner"), { recursive: true });
  mkdirSync(join(root, "secret2"), { recursive: true });
  writeFileSync(join(root, "secret/inner/x"), "x");
  writeFileSync(join(root, "secret.txt"), "secret");
  const script =
    "ls /secret /secret2; touch /secret/y; touch /secret2/y; cat /secret.txt; echo lost > /secret.txt; ls -l /secret.txt; echo 1 > /proc/sys/kernel/hostname";
  const { output, failed, remarks } = await outcome(script, {
    beforeExec: [
      child("mask", "/secret"),
      child("mask", "/secret2"),
      child("mask", "/secret.txt"),
      child("mask", "/absent"),
      child("read-only-path", "/proc/sys"),
      child("read-only-path", "/absent/too"),
    ],
  });
  expect(failed).toBeUndefined();
  expect(Object.values(remarks)).toEqual([
    ["0", "absent"],
    ["0", "absent"],
  ]);
  expect(output).not.toContain("secret\n");
  expect(output.match(/Read-only file system/g)).toHaveLength(3);
  expect(output).toMatch(/^crw.*1, +3 .*\/secret\.txt$/m);
  expect(readFileSync(join(root, "secret.txt"), "utf8")).toBe("secret");
});

test("a /dev/null that is a file masks nothing: the start fails", async () => {
  const bare = containerOps({ root, words: ["true"], beforeExec: [child("mask", "/bin/busybox")] });
  const ops = bare.filter(({ arguments: [path] }) => path !== "/dev/null");
  ops.splice(
    ops.findIndex(({ name }) => name === "pivot-root"),
    0,
    child("bind", join(folder, "source"), "/dev/null", "", root, "file"),
  );
  await using container = await startMonitored({ folder, ops });
  await container.start.next(frame.ready);
  container.start.send(frame.go);
  expect((await container.start.next(frame.failed)).fields[1]).toBe("19");
});

test("sysctls are written through a verified procfs, by dotted or slashed key", async () => {
  const { output } = await outcome("cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/shmmni", {
    beforeExec: [child("sysctl", "net.ipv4.ip_unprivileged_port_start", "0"), child("sysctl", "kernel/shmmni", "77")],
  });
  expect(output).toBe("0\n77\n");
  const escaped = await outcome("true", { beforeExec: [child("sysctl", "../self/comm", "x")] });
  expect(escaped.failed?.[1]).not.toBe("0");
  const fake = containerOps({ root, words: ["true"], beforeExec: [child("sysctl", "kernel.shmmni", "1")] });
  await using container = await startMonitored({
    folder,
    ops: fake.filter(({ arguments: [type] }) => type !== "proc"),
  });
  await container.start.next(frame.ready);
  container.start.send(frame.go);
  expect((await container.start.next(frame.failed)).fields[1]).toBe("18");
});

test("limits are set; a hard limit that this host cannot raise is kept and reported", async () => {
  const { output, failed } = await outcome("ulimit -n; ulimit -Hn; ulimit -c", {
    beforeExec: [child("rlimit", "nofile", "100", "200"), child("rlimit", "core", "0", "0")],
  });
  expect(failed).toBeUndefined();
  expect(output).toBe("100\n200\n0\n");
  const raised = await outcome("true", {
    beforeExec: [
      child("rlimit", "nofile", "10", "20"),
      child("capabilities", "final", "0", "0", "0", "0", "0"),
      child("rlimit", "nofile", "30", "unlimited"),
    ],
  });
  expect(Object.values(raised.remarks)).toContainEqual(["1", "hard limit kept at 20"]);
  expect(raised.exitCode).toBe("0");
});

const identity = (uid: string, gid: string, mask: string): Op[] => [
  child("groups", "7,8"),
  child("capabilities", "keep", mask, mask, mask, "0", "0"),
  child("user", uid, gid),
];

test("a user keeps no capability but those of the plan, and owns its standard streams", async () => {
  const script =
    "id; grep -E 'Cap|NoNewPrivs' /proc/self/status; ls -ln /proc/self/fd/1 >/dev/null; echo again > /dev/stdout";
  const { output, failed } = await outcome(script.replace("grep -E 'Cap|NoNewPrivs'", "cat"), {
    inOldRoot: [child("symlink", "/proc/self/fd/1", "/dev/stdout", root)],
    beforeExec: [
      ...identity("1000", "1001", "400"),
      child("capabilities", "final", "400", "0", "0", "0", "0"),
      child("no-new-privs"),
      child("umask", "027"),
    ],
  });
  expect(failed).toBeUndefined();
  expect(output).toMatch(/^uid=1000 gid=1001 groups=7,8/);
  expect(output).toMatch(/CapPrm:\t0000000000000000/);
  expect(output).toMatch(/CapBnd:\t0000000000000400/);
  expect(output).toMatch(/NoNewPrivs:\t1/);
  expect(output).toMatch(/Umask:\t0027/);
  expect(output).toMatch(/again\n$/);
});

test("root keeps exactly the plan's capabilities, and ambient ones where asked", async () => {
  const { output } = await outcome("cat /proc/self/status", {
    beforeExec: [...identity("0", "0", "20"), child("capabilities", "final", "20", "20", "20", "20", "20")],
  });
  for (const set of ["Inh", "Prm", "Eff", "Bnd", "Amb"]) expect(output).toContain(`Cap${set}:\t0000000000000020`);
});

/** allow everything but the call of that number, which answers EPERM: ld nr; jeq; ret errno 1; ret allow */
function forbid(call: number): string {
  const instruction = (code: number, jt: number, jf: number, k: number) => {
    const bytes = Buffer.alloc(8);
    bytes.writeUInt16LE(code, 0);
    bytes[2] = jt;
    bytes[3] = jf;
    bytes.writeUInt32LE(k, 4);
    return bytes.toString("hex");
  };
  return [
    instruction(0x20, 0, 0, 0),
    instruction(0x15, 0, 1, call),
    instruction(0x06, 0, 0, 0x00050001),
    instruction(0x06, 0, 0, 0x7fff0000),
  ].join("");
}

test("a seccomp filter is on when the program runs, with and without no-new-privs", async () => {
  const sethostname = process.arch === "arm64" ? 161 : 170;
  for (const guards of [
    [child("no-new-privs"), child("seccomp", forbid(sethostname), "")],
    [child("seccomp", forbid(sethostname), "log")],
  ]) {
    const { output } = await outcome("hostname other; hostname", { beforeExec: guards });
    expect(output).toContain("not permitted");
    expect(output).toContain("walled\n");
  }
  const malformed = await outcome("true", { beforeExec: [child("seccomp", "0102", "")] });
  expect(malformed.failed?.[1]).toBe("22");
});

test("a working directory reached through a leaked descriptor is refused", async () => {
  const { failed } = await outcome("true", { beforeExec: [child("chdir", "/proc/self/fd/9")] });
  expect(failed?.[1]).toBe("2");
});

test("--no-pivot moves the root onto / and enters it", async () => {
  const ops = containerOps({ root, words: ["sh", "-c", "ls /; pwd"] }).map((one) =>
    one.name === "pivot-root" ? child("pivot-root", root, "chroot") : one,
  );
  await using container = await startMonitored({ folder, ops });
  await container.start.next(frame.ready);
  container.start.send(frame.attach, ["stdout", "stderr"]);
  await container.go();
  await container.start.untilClosed();
  expect(container.start.text(frame.stdout)).toMatch(/bin\n[^]*proc\n[^]*\/\n$/);
});

test("a user namespace is mapped by the monitor while the child waits", async () => {
  const ops = containerOps({ root, words: ["sh", "-c", "id -u; cat /proc/self/uid_map"] });
  const at = ops.findIndex(({ name }) => name === "clone");
  ops.splice(
    at,
    1,
    op("monitor", "clone", ["mnt,pid,uts,ipc,net,user"], ""),
    op("monitor", "write-map", ["uid", "0 0 1\n1 100000 10"], ""),
    op("monitor", "write-map", ["gid", "0 0 1\n1 100000 10"], ""),
    op("monitor", "oom-score", ["500"], ""),
    child("sync", "maps"),
    child("user", "0", "0"),
  );
  const withoutNodes = ops.filter(({ name }) => name !== "mknod");
  await using container = await startMonitored({ folder, ops: withoutNodes });
  await container.start.next(frame.ready);
  container.start.send(frame.attach, ["stdout", "stderr"]);
  await container.go();
  await container.start.untilClosed();
  expect(container.start.text(frame.stdout)).toMatch(/^0\n\s+0\s+0\s+1\n\s+1\s+100000\s+10\n/);
});

test("a container can be born in another's pid namespace", async () => {
  await using first = await startMonitored({ folder, ops: containerOps({ root, words: ["sleep", "60"] }) });
  const pid = await first.go();
  const ops = containerOps({
    root,
    words: ["sh", "-c", "readlink /proc/self/ns/pid"],
    before: [op("monitor", "setns", ["pid", `/proc/${pid}/ns/pid`], "")],
  }).map((one) => (one.name === "clone" ? op("monitor", "clone", ["mnt,uts,ipc,net"], "") : one));
  await using second = await startMonitored({ folder, ops });
  await second.start.next(frame.ready);
  second.start.send(frame.attach, ["stdout", "stderr"]);
  const other = await second.go();
  await second.start.untilClosed();
  expect(other).toBeGreaterThan(0);
  expect(second.start.text(frame.stdout).trim()).toBe(readlinkSync(`/proc/${pid}/ns/pid`));
});
