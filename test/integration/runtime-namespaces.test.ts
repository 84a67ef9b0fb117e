// Which walls a container has, and which it shares: the modes of the API, seen in /proc/PID/ns and from inside.
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readFileSync, readlinkSync, rmSync, statSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { busyboxEngine } from "../support/busybox-engine.ts";
import { control, groupPaths, limitsAreV2 } from "../support/control-files.ts";
import {
  ask,
  createContainer,
  execContainer,
  refusal,
  removeContainer,
  runContainer,
  startContainer,
} from "../support/engine-containers.ts";
import { waitFor } from "../support/test-engine.ts";

setDefaultTimeout(60_000);

const engine = busyboxEngine();

const kinds = ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"] as const;
type Kind = (typeof kinds)[number];

async function pidOf(id: string): Promise<number> {
  return (await engine.inspect(id)).State.Pid;
}

/** The kinds of namespace that two processes share. */
function shared(one: number | "self", other: number | "self"): Kind[] {
  const inode = (pid: number | "self", kind: Kind) => readlinkSync(`/proc/${pid}/ns/${kind}`);
  return kinds.filter((kind) => inode(one, kind) === inode(other, kind));
}

describe("a container", () => {
  test("has namespaces of its own, but for the host's users, and on cgroup v1 the host's view of groups", async () => {
    const id = await startContainer(engine, ["sleep", "60"]);
    expect(shared(await pidOf(id), "self")).toEqual(limitsAreV2 ? ["user"] : ["cgroup", "user"]);
    expect((await execContainer(engine, id, "cat /proc/1/comm; hostname")).stdout).toBe(`sleep\n${id.slice(0, 12)}\n`);
    await removeContainer(engine, id);
  });

  test("sees / as its group with --cgroupns=private, and its path on the host with host", async () => {
    const groups = async (mode: "private" | "host") => {
      const id = await startContainer(engine, ["sleep", "60"], { host: { CgroupnsMode: mode } });
      const { stdout } = await execContainer(engine, id, ["cat", "/proc/1/cgroup"]);
      const outside = [...new Set(groupPaths(await pidOf(id)).values())];
      expect(outside).toEqual([`/${engine.instance}/${id}`]);
      expect(shared(await pidOf(id), "self").includes("cgroup")).toBe(mode === "host");
      await removeContainer(engine, id);
      return {
        inside: [
          ...new Set(
            stdout
              .trim()
              .split("\n")
              .map((line) => line.split(":")[2]),
          ),
        ],
        outside,
      };
    };
    expect((await groups("private")).inside).toEqual(["/"]);
    const { inside, outside } = await groups("host");
    expect(inside).toEqual(outside);
  });

  test("finds its own limits at /sys/fs/cgroup, which it cannot change", async () => {
    const command =
      "cd /sys/fs/cgroup; cat pids/pids.max pids.max 2>/dev/null; mkdir x pids/x; echo 5 > pids/pids.max; echo 5 > pids.max";
    const { stdout, stderr } = await runContainer(engine, command, {
      host: { PidsLimit: 77, CgroupnsMode: "private" },
    });
    expect(stdout).toBe("77\n");
    expect(stderr.match(/Read-only file system/g)?.length).toBeGreaterThanOrEqual(2);
  });
});

describe("--pid", () => {
  test("host: it sees the host's processes by the host's numbers", async () => {
    const id = await startContainer(engine, ["sleep", "60"], { host: { PidMode: "host" } });
    const pid = await pidOf(id);
    expect(shared(pid, "self")).toContain("pid");
    const { stdout } = await execContainer(engine, id, `readlink /proc/self; cat /proc/${pid}/comm`);
    expect(Number(stdout.split("\n")[0])).toBeGreaterThan(1);
    expect(stdout.split("\n")[1]).toBe("sleep");
    // Nothing of it outlives its first process, though no pid namespace ends with that.
    await execContainer(engine, id, "(sleep 61 > /dev/null 2>&1 &) &");
    const all = control(pid, "cgroup.procs").split("\n");
    expect(all.length).toBe(2);
    await ask(engine, "POST", `/containers/${id}/kill`);
    await waitFor("the end", async () => !(await engine.inspect(id)).State.Running);
    await removeContainer(engine, id);
    const lives = (one: string) =>
      existsSync(`/proc/${one}`) && !/^State:\tZ/m.test(readFileSync(`/proc/${one}/status`, "utf8"));
    expect(all.filter(lives)).toEqual([]);
  });

  test("container:ID: each sees the other's processes, and nothing else is shared", async () => {
    const first = await startContainer(engine, ["sleep", "60"], { name: "first" });
    const second = await startContainer(engine, ["sleep", "61"], { host: { PidMode: "container:first" } });
    const pids = await Promise.all([first, second].map(pidOf));
    expect(shared(pids[0] ?? 0, pids[1] ?? 0).filter((kind) => !["user", "cgroup"].includes(kind))).toEqual(["pid"]);
    expect((await execContainer(engine, second, ["ps", "-o", "pid,args"])).stdout).toMatch(/^ +1 sleep 60$/m);
    expect((await execContainer(engine, first, ["ps", "-o", "args"])).stdout).toContain("sleep 61\n");
    await Promise.all([second, first].map((id) => removeContainer(engine, id)));
  });

  test("one that does not run cannot be joined, and one that is not there is named", async () => {
    const down = await createContainer(engine, ["true"]);
    const id = await createContainer(engine, ["true"], { host: { PidMode: `container:${down}` } });
    expect(await refusal(engine, "POST", `/containers/${id}/start`)).toContain(down);
    const request = { Image: "busybox", Cmd: ["true"], HostConfig: { PidMode: "container:nobody" } };
    expect(await refusal(engine, "POST", "/containers/create", request)).toContain("nobody");
    await Promise.all([id, down].map((one) => removeContainer(engine, one)));
  });
});

describe("--ipc", () => {
  test("container:ID: one shared memory, by /dev/shm and by the namespace", async () => {
    const first = await startContainer(engine, ["sleep", "60"], { host: { IpcMode: "shareable" } });
    const second = await startContainer(engine, ["sleep", "60"], { host: { IpcMode: `container:${first}` } });
    const [one = 0, other = 0] = await Promise.all([first, second].map(pidOf));
    expect(shared(one, other)).toContain("ipc");
    await execContainer(engine, first, "echo shared > /dev/shm/x");
    expect((await execContainer(engine, second, ["cat", "/dev/shm/x"])).stdout).toBe("shared\n");
    await Promise.all([second, first].map((id) => removeContainer(engine, id)));
  });

  test("host: the host's /dev/shm; private: one of its own; none: none", async () => {
    const file = `/dev/shm/${engine.instance}`;
    writeFileSync(file, "of the host\n");
    try {
      const show = `cat ${file} || echo missing; grep -c ' /dev/shm ' /proc/mounts`;
      const host = await runContainer(engine, show, { host: { IpcMode: "host" } });
      expect(host.stdout).toBe("of the host\n1\n");
      expect((await runContainer(engine, show)).stdout).toBe("missing\n1\n");
      expect((await runContainer(engine, show, { host: { IpcMode: "none" } })).stdout).toBe("missing\n0\n");
    } finally {
      rmSync(file);
    }
  });
});

test("--uts host: the host's name, which it cannot change; else a name of its own, and a domain", async () => {
  const shared = await runContainer(engine, "hostname; hostname changed", { host: { UTSMode: "host" } });
  expect(shared.stdout).toBe(`${hostname()}\n`);
  expect(shared.stderr).not.toBe("");
  const own = await runContainer(engine, "hostname; cat /proc/sys/kernel/domainname /etc/hostname", {
    Hostname: "walled",
    Domainname: "example.org",
  });
  expect(own.stdout).toBe("walled\nexample.org\nwalled\n");
  expect(Bun.spawnSync(["hostname"]).stdout.toString().trim()).toBe(hostname());
});

test("--net host and container:ID share interfaces, none has lo alone", async () => {
  const first = await startContainer(engine, ["sleep", "60"]);
  const second = await startContainer(engine, ["sleep", "60"], { host: { NetworkMode: `container:${first}` } });
  const third = await startContainer(engine, ["sleep", "60"], { host: { NetworkMode: "host" } });
  const [one = 0, two = 0, three = 0] = await Promise.all([first, second, third].map(pidOf));
  expect(shared(one, two)).toContain("net");
  expect(shared(one, three)).not.toContain("net");
  expect(shared(three, "self")).toContain("net");
  expect((await execContainer(engine, first, ["ls", "/sys/class/net"])).stdout).toBe("lo\n");
  // A /sys shows the namespace that it was mounted in.
  expect(statSync(`/proc/${three}/root/sys/class/net/lo`).ino).toBe(statSync("/sys/class/net/lo").ino);
  await Promise.all([third, second, first].map((id) => removeContainer(engine, id)));
});
