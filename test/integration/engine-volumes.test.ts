import { afterAll, beforeAll, expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { newScratch } from "../support/scratch.ts";
import { runProgram, startTestEngine, type TestEngine } from "../support/test-engine.ts";

let engine: TestEngine;
const host = newScratch();

beforeAll(async () => {
  engine = await startTestEngine();
  const context = join(host.path, "context");
  mkdirSync(context);
  const lines = [
    "FROM vitrine/base",
    "RUN mkdir /seed && echo planted > /seed/file && chown -R 12:34 /seed && chmod 750 /seed && ln -s file /seed/link",
    "VOLUME /seed",
    "VOLUME /plain",
  ];
  writeFileSync(join(context, "Dockerfile"), `${lines.join("\n")}\n`);
  await engine.must("build", "-t", "seeded", context);
}, 60_000);

afterAll(async () => {
  await engine[Symbol.asyncDispose]();
  await host[Symbol.asyncDispose]();
}, 60_000);

const sourceOf = async (container: string, destination: string): Promise<string> => {
  const mount = (await engine.inspect(container)).Mounts.find((one) => one.Destination === destination);
  return mount?.Source ?? "";
};

test("an anonymous volume has a name of 64 digits and an empty folder on the host, and the container writes into it", async () => {
  await engine.must("run", "-d", "--name", "anonymous", "-v", "/test", "vitrine/base", "sleep", "1000");
  const [name = ""] = (await engine.must("volume", "ls", "-q")).split("\n");
  expect(name).toMatch(/^[0-9a-f]{64}$/);
  const folder = join(engine.root, "volumes", name, "_data");
  expect(readdirSync(folder)).toEqual([]);
  await engine.must("exec", "anonymous", "touch", "/test/inside");
  expect(readdirSync(folder)).toEqual(["inside"]);
});

test("the mount point of a volume is an empty folder in the read-write layer, and stays so while it is mounted", async () => {
  const { Data } = (await engine.inspect("anonymous")).GraphDriver;
  expect(readdirSync(join(Data?.UpperDir ?? "", "test"))).toEqual([]);
  expect(readdirSync(join(Data?.MergedDir ?? "", "test"))).toEqual([]);
});

test("rm -v takes anonymous volumes along, and without -v they stay", async () => {
  await engine.must("rm", "-f", "-v", "anonymous");
  expect(await engine.must("volume", "ls", "-q")).toBe("");
  await engine.must("run", "--name", "kept", "-v", "/test", "vitrine/base", "true");
  await engine.must("rm", "kept");
  const left = await engine.must("volume", "ls", "-q");
  expect(left).toMatch(/^[0-9a-f]{64}$/);
  await engine.must("volume", "rm", left);
  await engine.must("run", "--rm", "-v", "/test", "vitrine/base", "true");
  expect(await engine.must("volume", "ls", "-q")).toBe("");
});

test("a new volume over a folder of the image receives what it holds, with owners, modes and links", async () => {
  await engine.must("run", "-d", "--name", "seeded", "seeded", "sleep", "1000");
  const folder = await sourceOf("seeded", "/seed");
  expect(readFileSync(join(folder, "file"), "utf8")).toBe("planted\n");
  const { uid, gid, mode } = statSync(folder);
  expect([uid, gid, mode & 0o777]).toEqual([12, 34, 0o750]);
  expect((await runProgram(["readlink", join(folder, "link")])).stdout).toBe("file\n");
  expect(readdirSync(await sourceOf("seeded", "/plain"))).toEqual([]);
  await engine.must("rm", "-f", "-v", "seeded");
});

test("a volume that holds something, one with nocopy, and a bind are left as they are", async () => {
  await engine.must("volume", "create", "full");
  await engine.must("run", "--rm", "-v", "full:/full", "vitrine/base", "sh", "-c", "echo mine > /full/mine");
  expect(await engine.must("run", "--rm", "-v", "full:/seed", "seeded", "ls", "/seed")).toBe("mine");
  expect(await engine.must("run", "--rm", "-v", "fresh:/seed:nocopy", "seeded", "ls", "/seed")).toBe("");
  const folder = join(host.path, "bound");
  mkdirSync(folder);
  expect(await engine.must("run", "--rm", "-v", `${folder}:/seed`, "seeded", "ls", "/seed")).toBe("");
  await engine.must("volume", "rm", "full", "fresh");
});

test("a bind is seen in the container's mounts and not in the host's, and a missing folder of -v is made", async () => {
  const folder = join(host.path, "made");
  await engine.must("run", "-d", "--name", "bound", "-v", `${folder}:/test`, "vitrine/base", "sleep", "1000");
  expect(existsSync(folder)).toBe(true);
  const pid = (await engine.inspect("bound")).State.Pid;
  const line = readFileSync(`/proc/${pid}/mountinfo`, "utf8")
    .split("\n")
    .find((one) => one.split(" ")[4] === "/test");
  expect(line?.split(" ")[3]?.endsWith(folder)).toBe(true);
  expect(readFileSync("/proc/self/mountinfo", "utf8")).not.toContain(`${folder} `);
  await engine.must("rm", "-f", "bound");
  const missing = await engine.vitrine(
    "run",
    "--rm",
    "--mount",
    `type=bind,src=${host.path}/none,dst=/x`,
    "vitrine/base",
    "true",
  );
  expect([missing.exitCode, missing.stderr]).toEqual([125, expect.stringContaining("bind source path does not exist")]);
});

test("one file is bound over one file", async () => {
  const file = join(host.path, "motd");
  writeFileSync(file, "of the host\n");
  expect(await engine.must("run", "--rm", "-v", `${file}:/etc/motd:ro`, "vitrine/base", "cat", "/etc/motd")).toBe(
    "of the host",
  );
});

test("a link in the image at the mount point leads nowhere outside of the container", async () => {
  const context = join(host.path, "link-context");
  mkdirSync(context);
  const escape = join(host.path, "outside");
  mkdirSync(escape);
  writeFileSync(join(context, "Dockerfile"), `FROM vitrine/base\nRUN ln -s ${escape} /link\n`);
  await engine.must("build", "-t", "linked", context);
  await engine.must("run", "--rm", "-v", "inside:/link/deeper", "linked", "touch", "/link/deeper/file");
  expect(readdirSync(escape)).toEqual([]);
  await engine.must("volume", "rm", "inside");
});

test("a volume in use is not removed, and the sentence names its container", async () => {
  await engine.must("run", "-d", "--name", "user", "-v", "used:/data", "vitrine/base", "sleep", "1000");
  const { Id } = await engine.inspect("user");
  const refused = await engine.vitrine("volume", "rm", "used");
  expect(refused.stderr).toContain(`remove used: volume is in use - [${Id}]`);
  await engine.must("rm", "-f", "user");
  await engine.must("volume", "rm", "used");
});

test("hosts, hostname and resolv.conf are files of the engine, changed in place and left out of diff", async () => {
  await engine.must("run", "-d", "--name", "named", "vitrine/base", "sleep", "1000");
  const { HostnamePath } = await engine.inspect("named");
  await engine.must("exec", "named", "sh", "-c", "echo other > /etc/hostname");
  expect(readFileSync(HostnamePath, "utf8")).toBe("other\n");
  expect(await engine.must("diff", "named")).toBe("");
  await engine.must("rm", "-f", "named");
});

test("what a request for a mount cannot mean is refused with the value", async () => {
  for (const [specification, words] of [
    ["relative/path:/x", "includes invalid characters for a local volume name"],
    ["/a:relative", "mount path must be absolute"],
    ["/a:/", "destination can't be '/'"],
    ["/a:/b:sideways", "invalid mode: sideways"],
    ["/a:/b:ro,rw", "invalid mode: ro,rw"],
    ["a:b:c:d", "invalid"],
  ] as const) {
    const answer = await engine.api("POST", "/containers/create", {
      Image: "vitrine/base",
      HostConfig: { Binds: [specification] },
    });
    expect([specification, answer.status, ((await answer.json()) as { message: string }).message]).toEqual([
      specification,
      400,
      expect.stringContaining(words),
    ]);
  }
});
