// Which files a container's process meets, and which it may write: from the API's fields to mountinfo and what programs get.
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { busyboxEngine } from "../support/busybox-engine.ts";
import {
  ask,
  createContainer,
  execContainer,
  logsOf,
  refusal,
  removeContainer,
  runContainer,
  startContainer,
  waitContainer,
} from "../support/engine-containers.ts";

setDefaultTimeout(60_000);

const engine = busyboxEngine();

/** Type and options (of the mount, of the file system) of each mount point, of /proc/self/mountinfo. */
function mountsOf(mountinfo: string): Map<string, { type: string; options: string[]; superOptions: string[] }> {
  return new Map(
    mountinfo
      .trim()
      .split("\n")
      .map((line) => {
        const [before = "", after = ""] = line.split(" - ");
        const fields = before.split(" ");
        const [type = "", , superOptions = ""] = after.split(" ");
        return [
          fields[4] ?? "",
          { type, options: (fields[5] ?? "").split(","), superOptions: superOptions.split(",") },
        ];
      }),
  );
}

test("the mounts that every container has", async () => {
  const mounts = mountsOf((await runContainer(engine, ["cat", "/proc/self/mountinfo"])).stdout);
  expect(mounts.get("/")?.type).toBe("overlay");
  const safe = ["nosuid", "nodev", "noexec"];
  for (const [target, type, options] of [
    ["/proc", "proc", safe],
    ["/dev", "tmpfs", ["nosuid"]],
    ["/dev/pts", "devpts", ["nosuid", "noexec"]],
    ["/dev/shm", "tmpfs", safe],
    ["/dev/mqueue", "mqueue", safe],
    ["/sys", "sysfs", ["ro", ...safe]],
    ["/proc/sys", "proc", ["ro"]],
    ["/proc/bus", "proc", ["ro"]],
  ] as const) {
    expect([target, mounts.get(target)?.type]).toEqual([target, type]);
    expect(mounts.get(target)?.options).toEqual(expect.arrayContaining([...options]));
  }
  expect([...mounts.keys()]).toEqual(expect.arrayContaining(["/etc/hosts", "/etc/hostname", "/etc/resolv.conf"]));
});

describe("what the kernel tells of the host", () => {
  test("is masked: files are empty, folders have nothing in them", async () => {
    const names = ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/interrupts"].filter(existsSync);
    expect(names.length).toBeGreaterThan(0);
    const { stdout } = await runContainer(engine, `wc -c ${names.join(" ")}; ls /sys/firmware | wc -l`);
    for (const name of names) expect(stdout).toMatch(new RegExp(`^ +0 ${name}$`, "m"));
    expect(stdout).toMatch(/^0$/m);
  });

  test("can be read and not written where it has no namespace", async () => {
    // Opened only: what a value would do to the host is not tried.
    const command =
      "cat /proc/sys/kernel/panic >/dev/null && echo read; (: > /proc/sys/kernel/panic); (: > /proc/sys/vm/swappiness)";
    const { stdout, stderr } = await runContainer(engine, command);
    expect(stdout).toBe("read\n");
    expect(stderr.match(/Read-only file system/g)?.length).toBe(2);
  });

  test("is as the request says: other paths, or none with systempaths=unconfined", async () => {
    const command =
      "wc -c < /proc/uptime; (echo x > /tmp/y) 2>&1; grep -c -E ' /proc/(sys|kcore) ' /proc/self/mountinfo";
    const { stdout } = await runContainer(engine, command, {
      host: { MaskedPaths: ["/proc/uptime"], ReadonlyPaths: ["/tmp"] },
    });
    expect(stdout).toMatch(/^0\n.*Read-only file system\n0\n$/);
    const open = await runContainer(engine, command, { host: { MaskedPaths: [], ReadonlyPaths: [] } });
    expect(open.stdout).toMatch(/^[1-9]\d*\n0\n$/);
  });
});

describe("--read-only, --tmpfs and volumes", () => {
  const write = "for d in / /etc /tmp /run /data /dev/shm; do touch $d/x 2>/dev/null && echo $d; done; true";

  test("nothing may be written but what was asked for and shared memory", async () => {
    const host = { ReadonlyRootfs: true, Tmpfs: { "/run": "" }, Binds: ["/data"] };
    expect((await runContainer(engine, write, { host })).stdout).toBe("/run\n/data\n/dev/shm\n");
    expect((await runContainer(engine, write, { host: { ...host, ReadonlyRootfs: false } })).stdout).toBe(
      "/\n/etc\n/tmp\n/run\n/data\n/dev/shm\n",
    );
  });

  test("a tmpfs has the size, mode and flags that it was given, and is empty again after a restart", async () => {
    const command =
      "stat -c %a /run; busybox df -k /run | tail -n 1; grep ' /run ' /proc/self/mountinfo; ls /run; touch /run/left";
    const id = await startContainer(engine, command, { host: { Tmpfs: { "/run": "rw,exec,size=2m,mode=700" } } });
    await waitContainer(engine, id);
    const { stdout } = await logsOf(engine, id);
    expect(stdout).toMatch(/^700\ntmpfs +2048 /);
    const mount = mountsOf(stdout.split("\n")[2] ?? "").get("/run");
    expect(mount?.options).toEqual(expect.arrayContaining(["nosuid", "nodev"]));
    expect(mount?.options).not.toContain("noexec");
    await ask(engine, "POST", `/containers/${id}/start`);
    await waitContainer(engine, id);
    expect((await logsOf(engine, id)).stdout).not.toContain("left");
    await removeContainer(engine, id);
  });

  test("an exec has the same view", async () => {
    const id = await startContainer(engine, ["sleep", "60"], { host: { ReadonlyRootfs: true } });
    expect((await execContainer(engine, id, "touch /x")).stderr).toContain("Read-only file system");
    await removeContainer(engine, id);
  });
});

describe("--sysctl", () => {
  test("is the value of the container's namespace, and the host's stays", async () => {
    const file = "/proc/sys/kernel/msgmax";
    const before = await Bun.file(file).text();
    const host = { Sysctls: { "kernel.msgmax": "9001", "net.ipv4.ip_default_ttl": "33" }, NetworkMode: "bridge" };
    const command = `cat ${file} /proc/sys/net/ipv4/ip_default_ttl /proc/sys/net/ipv4/ip_unprivileged_port_start`;
    expect((await runContainer(engine, command, { host })).stdout).toBe("9001\n33\n0\n");
    expect(await Bun.file(file).text()).toBe(before);
  });

  test("one that would be the host's is refused, by name, and nothing is left", async () => {
    for (const [name, host] of [
      ["kernel.panic", {}],
      ["net.ipv4.ip_default_ttl", { NetworkMode: "host" }],
      ["kernel.msgmax", { IpcMode: "host" }],
    ] as const) {
      const message = await runContainer(engine, ["true"], { host: { ...host, Sysctls: { [name]: "1" } } }).catch(
        (error: Error) => error.message,
      );
      expect(message).toContain(name);
      expect(message).toContain("namespace");
    }
  });
});

test("--ulimit is what the process and an exec have", async () => {
  const host = {
    Ulimits: [
      { Name: "nofile", Soft: 111, Hard: 222 },
      { Name: "core", Soft: 0, Hard: -1 },
    ],
  };
  const id = await startContainer(engine, ["sleep", "60"], { host });
  const show = "ulimit -S -n; ulimit -H -n; ulimit -S -c; ulimit -H -c";
  expect((await execContainer(engine, id, show)).stdout).toBe("111\n222\n0\nunlimited\n");
  const text = await Bun.file(`/proc/${(await engine.inspect(id)).State.Pid}/limits`).text();
  expect(text).toMatch(/^Max open files +111 +222 /m);
  await removeContainer(engine, id);
  const request = { Image: "busybox", Cmd: ["true"], HostConfig: { Ulimits: [{ Name: "nofile", Soft: 3, Hard: 2 }] } };
  expect(await refusal(engine, "POST", "/containers/create", request)).toContain("3 > 2");
});

test("--workdir is made where the image lacks it; the environment and the program's name are the request's", async () => {
  const { stdout } = await runContainer(engine, "pwd; echo $A-$HOME-$HOSTNAME-$TERM; touch made; ls -ld .", {
    WorkingDir: "/new/folder",
    Env: ["A=one two"],
    Hostname: "box",
  });
  expect(stdout).toMatch(/^\/new\/folder\none two-\/root-box-\ndrwxr-xr-x .*root +root /);
});

test("the snapshot is mounted where its files can be looked at, and only while the container runs", async () => {
  const id = await createContainer(engine, ["sleep", "60"]);
  const merged = (await engine.inspect(id)).GraphDriver.Data?.["MergedDir"] ?? "";
  expect(existsSync(join(merged, "bin/busybox"))).toBe(false);
  await ask(engine, "POST", `/containers/${id}/start`);
  expect(existsSync(join(merged, "bin/busybox"))).toBe(true);
  await execContainer(engine, id, "echo inside > /tmp/note");
  expect(await Bun.file(join(merged, "tmp/note")).text()).toBe("inside\n");
  await ask(engine, "POST", `/containers/${id}/kill`);
  expect(await waitContainer(engine, id)).toBe(137);
  await removeContainer(engine, id);
  expect(existsSync(merged)).toBe(false);
});
