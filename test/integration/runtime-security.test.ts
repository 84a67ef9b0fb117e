// Who a container's process is and what it may ask of the kernel: from the API's fields to /proc/self/status and the kernel's answers.
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { HostConfig } from "../../src/spec/index.ts";
import { busyboxEngine } from "../support/busybox-engine.ts";
import { execContainer, refusal, removeContainer, runContainer, startContainer } from "../support/engine-containers.ts";
import { syscallProgram } from "../support/syscall-program.ts";

setDefaultTimeout(60_000);

/** Numbers of x86-64; the last is above any that exists. */
const calls = { keyctl: 250, unshare: 272, getpid: 39, setuid: 105, clone3: 435, unborn: 999 };
const errno = { EPERM: 1, EFAULT: 14, EINVAL: 22, ENOSYS: 38 };

const engine = busyboxEngine((root) => {
  for (const [name, number] of Object.entries(calls)) {
    writeFileSync(join(root, "bin", `call-${name}`), syscallProgram(number), { mode: 0o755 });
  }
  writeFileSync(join(root, "bin/root-setuid"), syscallProgram(calls.setuid));
  chmodSync(join(root, "bin/root-setuid"), 0o4755);
});

interface Who {
  readonly User?: string;
  readonly host?: HostConfig;
}

/** Fields of /proc/self/status of a process that the request describes. */
async function statusOf(who: Who): Promise<Record<string, string>> {
  const { stdout } = await runContainer(engine, ["cat", "/proc/self/status"], who);
  return Object.fromEntries(stdout.split("\n").map((line) => line.split(/:\s*/) as [string, string]));
}

/** The bits of capability(7) numbers. */
function mask(...numbers: readonly number[]): string {
  return numbers
    .reduce((bits, number) => bits | (1n << BigInt(number)), 0n)
    .toString(16)
    .padStart(16, "0");
}

const none = mask();

describe("--user and --group-add", () => {
  test("name, number, group and more groups, as the image's files know them", async () => {
    const id = async (who: Who) => (await runContainer(engine, ["id"], who)).stdout.trim();
    expect(await id({})).toBe("uid=0(root) gid=0(root) groups=0(root)");
    expect(await id({ User: "app" })).toBe("uid=1000(app) gid=1000(app) groups=10(wheel),1000(app)");
    expect(await id({ User: "app:wheel" })).toBe("uid=1000(app) gid=10(wheel) groups=10(wheel)");
    expect(await id({ User: "4711:4712" })).toBe("uid=4711 gid=4712 groups=4712");
    expect(await id({ User: "app", host: { GroupAdd: ["777", "root"] } })).toMatch(/groups=.*\b777\b/);
    expect(await id({ User: "app", host: { GroupAdd: ["777", "root"] } })).toMatch(/groups=.*0\(root\)/);
  });

  test("a user without rights has no capability, and what --cap-add gives stays out of its reach", async () => {
    const status = await statusOf({ User: "app", host: { CapAdd: ["NET_ADMIN"] } });
    expect(status).toMatchObject({ CapEff: none, CapPrm: none, CapInh: none, CapAmb: none });
  });

  test("one that the image does not know is refused in Docker's words", async () => {
    const id = await runContainer(engine, ["id"], { User: "nobody-known" }).catch((error: Error) => error.message);
    expect(id).toContain("unable to find user nobody-known: no matching entries in passwd file");
  });
});

describe("--cap-add and --cap-drop", () => {
  test("change Docker's set, which ALL empties or fills", async () => {
    expect((await statusOf({ host: { CapDrop: ["ALL"] } })).CapEff).toBe(none);
    // CHOWN 0, NET_ADMIN 12
    const two = await statusOf({ host: { CapDrop: ["ALL"], CapAdd: ["CHOWN", "CAP_NET_ADMIN"] } });
    expect(two).toMatchObject({ CapEff: mask(0, 12), CapPrm: mask(0, 12), CapBnd: mask(0, 12), CapInh: none });
    const dropped = await statusOf({ host: { CapDrop: ["net_raw"] } });
    expect(dropped.CapEff).toBe("00000000a80405fb");
    const all = await statusOf({ host: { CapAdd: ["ALL"] } });
    expect(all.CapEff).toBe((await statusOf({ host: { Privileged: true } })).CapEff);
  });

  test("decide what works: chown without CHOWN, a mknod without MKNOD", async () => {
    const command =
      "touch /tmp/x; chown 5 /tmp/x 2>/dev/null || echo no chown; mknod /tmp/n c 1 3 2>/dev/null || echo no mknod";
    expect((await runContainer(engine, command.replaceAll("chown 5", "busybox chown 5"))).stdout).toBe("");
    const host = { CapDrop: ["CHOWN", "MKNOD"] };
    expect((await runContainer(engine, command.replaceAll("chown 5", "busybox chown 5"), { host })).stdout).toBe(
      "no chown\nno mknod\n",
    );
  });

  test("hold for an exec too, and exec --privileged has them all", async () => {
    const id = await startContainer(engine, ["sleep", "60"], { host: { CapDrop: ["ALL"], CapAdd: ["CHOWN"] } });
    const { stdout } = await execContainer(engine, id, ["grep", "CapEff", "/proc/self/status"]);
    expect(stdout).toBe(`CapEff:\t${mask(0)}\n`);
    await removeContainer(engine, id);
  });

  test("one that is unknown is refused by name", async () => {
    const request = { Image: "busybox", Cmd: ["true"], HostConfig: { CapAdd: ["FLY"] } };
    expect(await refusal(engine, "POST", "/containers/create", request)).toContain("FLY");
  });
});

test.if(process.arch === "x64")("no-new-privileges: a program that root lends its identity gets none", async () => {
  // setuid(0) works for who is root already.
  expect((await runContainer(engine, ["call-setuid"])).exitCode).toBe(0);
  expect((await runContainer(engine, ["call-setuid"], { User: "app" })).exitCode).toBe(errno.EPERM);
  expect((await runContainer(engine, ["root-setuid"], { User: "app" })).exitCode).toBe(0);
  const host = { SecurityOpt: ["no-new-privileges"] };
  expect((await runContainer(engine, ["root-setuid"], { User: "app", host })).exitCode).toBe(errno.EPERM);
  expect((await statusOf({ User: "app", host })).NoNewPrivs).toBe("1");
});

describe.if(process.arch === "x64")("the seccomp filter", () => {
  const answer = async (name: keyof typeof calls, host: HostConfig = {}) =>
    (await runContainer(engine, [`call-${name}`], { host })).exitCode;

  test("answers EPERM to calls that it knows and does not allow, and lets the others through", async () => {
    expect(await answer("getpid")).toBe(0);
    expect(await answer("keyctl")).toBe(errno.EPERM);
    expect(await answer("unshare", { CapAdd: ["SYS_ADMIN"] })).toBe(0);
    expect(await answer("unshare")).toBe(errno.EPERM);
  });

  test("answers ENOSYS to calls that are newer than it, so that libraries take their older way", async () => {
    expect(await answer("unborn")).toBe(errno.ENOSYS);
    expect(await answer("clone3")).toBe(errno.ENOSYS);
  });

  test("is away with seccomp=unconfined, and in a privileged container", async () => {
    // The kernel itself then says what is wrong with zeros for arguments: KEYCTL_GET_KEYRING_ID of key 0.
    for (const host of [{ SecurityOpt: ["seccomp=unconfined"] }, { Privileged: true }]) {
      expect(await answer("keyctl", host)).toBe(errno.EINVAL);
      expect(await answer("clone3", host)).toBe(errno.EINVAL);
      expect((await statusOf({ host })).Seccomp).toBe("0");
    }
  });

  test("is the one that the request brings", async () => {
    const profile = {
      defaultAction: "SCMP_ACT_ALLOW",
      syscalls: [{ names: ["getpid"], action: "SCMP_ACT_ERRNO", errnoRet: errno.EFAULT }],
    };
    const host = { SecurityOpt: [`seccomp=${JSON.stringify(profile)}`] };
    expect(await answer("getpid", host)).toBe(errno.EFAULT);
    expect(await answer("keyctl", host)).toBe(errno.EINVAL);
  });
});
