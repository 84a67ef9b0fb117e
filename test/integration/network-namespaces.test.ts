import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { NetlinkSocket, RouteSocket, namespaceInodes } from "../../src/kernel/index.ts";
import { NamespacePool, NamespaceServer } from "../../src/network/index.ts";
import { mountsBelow, newScratch, type Scratch } from "../support/scratch.ts";
import { helperProgram, run, until } from "../support/test-network.ts";

let scratch: Scratch;
let server: NamespaceServer;

beforeAll(() => {
  scratch = newScratch();
  server = new NamespaceServer({ helperPath: helperProgram });
});
afterAll(async () => {
  await server.close();
  await scratch[Symbol.asyncDispose]();
});

const netlink = { family: 16, type: 3, protocol: 0 };

/** Helpers of this process for namespaces. */
function helpers(): number[] {
  const children = readFileSync(`/proc/${process.pid}/task/${process.pid}/children`, "utf8")
    .split(" ")
    .filter(Boolean)
    .map(Number);
  return children.filter((pid) => readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("netns"));
}

describe("a network namespace", () => {
  test("is made at a path with lo up, is looked into from outside, and removed", async () => {
    const path = join(scratch.path, "one");
    await server.create(path);
    expect(run("stat", "-L", "-c", "%i", path).trim()).not.toBe(String(namespaceInodes("self").net));
    using route = new RouteSocket(new NetlinkSocket(await server.socket(path, netlink)));
    expect(route.findLink("lo")).toMatchObject({ up: true, index: 1 });
    expect(run("nsenter", `--net=${path}`, "ip", "-br", "link", "show", "lo")).toContain("LOWER_UP");
    await server.remove(path);
    expect([existsSync(path), mountsBelow(path)]).toEqual([false, []]);
  });

  test("cannot be made where something is, nor where no folder is", async () => {
    const path = join(scratch.path, "twice");
    await server.create(path);
    await expect(server.create(path)).rejects.toMatchObject({ code: "alreadyExists" });
    await expect(server.create(join(scratch.path, "no", "folder"))).rejects.toThrow("no such file or directory");
    await expect(server.socket(join(scratch.path, "nowhere"), netlink)).rejects.toMatchObject({ code: "notFound" });
    await expect(server.create("a\0b")).rejects.toMatchObject({ code: "invalidArgument" });
    await server.remove(path);
    await server.remove(path);
  });

  test("is made by a new helper after the old one died", async () => {
    const [before = 0] = helpers();
    process.kill(before, "SIGKILL");
    await until("the helper to be gone", () => !helpers().includes(before));
    const path = join(scratch.path, "after");
    await server.create(path);
    expect(helpers()).not.toContain(before);
    await server.remove(path);
  });

  test("many are made at once, each its own", async () => {
    const paths = Array.from({ length: 20 }, (_, index) => join(scratch.path, `many-${index}`));
    await Promise.all(paths.map((path) => server.create(path)));
    expect(new Set(paths.map((path) => run("stat", "-L", "-c", "%i", path))).size).toBe(paths.length);
    await Promise.all(paths.map((path) => server.remove(path)));
  });

  test("of a helper that is not there is refused with its path", async () => {
    const broken = new NamespaceServer({ helperPath: "/nonexistent/helper" });
    await expect(broken.create(join(scratch.path, "x"))).rejects.toThrow('helper "/nonexistent/helper"');
    await broken.close();
    const wrong = new NamespaceServer({ helperPath: "/bin/true" });
    await expect(wrong.create(join(scratch.path, "x"))).rejects.toMatchObject({ code: "unavailable" });
    await wrong.close();
  });
});

describe("the pool", () => {
  test("keeps one ready, gives each once, and sweeps what an earlier engine left", async () => {
    const directory = join(scratch.path, "pool");
    const stale = new NamespacePool({ server, directory });
    await stale.start();
    await until("one to be ready", () => mountsBelow(directory).length === 1);
    const left = join(directory, readdirSync(directory)[0] ?? "");
    const inode = () => run("stat", "-L", "-c", "%i", left).trim();
    using held = new RouteSocket(new NetlinkSocket(await server.socket(left, netlink)));
    const before = inode();
    const pool = new NamespacePool({ server, directory });
    await pool.start();
    const first = await pool.take();
    const second = await pool.take();
    expect(second.path).not.toBe(first.path);
    // The number of a namespace that is still in use cannot come again.
    expect(held.findLink("lo")?.up).toBe(true);
    if (existsSync(left)) expect(inode()).not.toBe(before);
    await Promise.all([first.release(), second.release()]);
    await pool.close();
    expect(readdirSync(directory)).toEqual([]);
    expect(mountsBelow(directory)).toEqual([]);
    await stale.close();
  });
});
