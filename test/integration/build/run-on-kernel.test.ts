// RUN through the program and its daemon: mounts, limits, entitlements, stages at once, and what a killed build leaves.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { mountsBelow } from "../../support/scratch.ts";
import { startTestEngine, vitrineCommand, type Outcome, type TestEngine } from "../../support/test-engine.ts";

let engine: TestEngine;

beforeAll(async () => {
  engine = await startTestEngine();
  await engine.must("run", "--rm", "vitrine/base", "true");
}, 60_000);

afterAll(async () => {
  await engine[Symbol.asyncDispose]();
}, 60_000);

let count = 0;

function folder(dockerfile: string, files: Readonly<Record<string, string>> = {}): string {
  const root = join(engine.scratch.path, `context-${++count}`);
  for (const [path, text] of Object.entries({ ...files, Dockerfile: `FROM vitrine/base\n${dockerfile}\n` })) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  return root;
}

function build(root: string, ...flags: string[]): Promise<Outcome> {
  return engine.vitrine("build", ...flags, root);
}

async function built(
  dockerfile: string,
  files: Readonly<Record<string, string>> = {},
  ...flags: string[]
): Promise<string> {
  const { stdout, stderr, exitCode } = await build(folder(dockerfile, files), ...flags);
  expect({ stderr, exitCode, stdout: exitCode === 0 ? "" : stdout }).toEqual({ stderr: "", exitCode: 0, stdout: "" });
  return stdout;
}

describe("RUN --mount", () => {
  test("keeps a cache between builds, out of the image, and each id for itself", async () => {
    const step = (name: string, id: string): string =>
      `RUN --mount=type=cache,id=${id},target=/store ls /store > /before; touch /store/${name}; cat /before`;
    await built(step("one", "a"), {}, "-t", "cached");
    expect(await built(step("two", "a"))).toContain("\none\n");
    expect(await built(step("three", "b"))).not.toContain("\none\n");
    expect(await engine.must("run", "--rm", "cached", "ls", "/")).not.toContain("store");
  });

  test("gives files of the context and of stages, which cannot be written or are thrown away", async () => {
    const text = await built(
      `RUN --mount=type=bind,target=/src cat /src/file && ! touch /src/other
RUN --mount=type=bind,source=file,target=/one,rw cat /one || true
RUN --mount=type=bind,target=/src,rw touch /src/written && ls /src
RUN --mount=type=bind,target=/src ls /src > /listed && cat /listed`,
      { file: "of the context\n" },
    );
    expect(text).toContain("of the context\n");
    expect(text.split("Step 5/5")[1]).not.toContain("written");
  });

  test("with a changed file runs again, and not with another", async () => {
    const dockerfile = "RUN --mount=type=bind,source=used,target=/used cat /used";
    await built(dockerfile, { used: "1", other: "1" });
    expect(await built(dockerfile, { used: "1", other: "2" })).toContain("Using cache");
    expect(await built(dockerfile, { used: "2", other: "2" })).not.toContain("Using cache");
  });

  test("gives memory that nothing keeps", async () => {
    const text = await built(
      "RUN --mount=type=tmpfs,target=/memory,size=1m grep ' /memory ' /proc/mounts; touch /memory/x",
    );
    expect(text).toMatch(/tmpfs \/memory tmpfs .*size=1024k/);
  });
});

test("a heredoc that names its program is run by it", async () => {
  const script = "RUN <<EOF\n#!/bin/cat\nread by cat\nEOF";
  expect(await built(script)).toContain("read by cat\n");
});

test("limits, hosts and entitlements reach the command", async () => {
  const limits = ["--memory", "64m", "--ulimit", "nofile=77:99", "--shm-size", "2m", "--add-host", "other:10.1.2.3"];
  const text = await built("RUN ulimit -n; ulimit -Hn; df -k /dev/shm | tail -n 1; cat /etc/hosts", {}, ...limits);
  expect(text).toContain("77\n");
  expect(text).toContain("99\n");
  expect(text).toMatch(/ 2048 /);
  expect(text).toMatch(/10\.1\.2\.3\s+other/);
  const insecure = folder("RUN --security=insecure grep CapEff /proc/self/status");
  expect((await build(insecure)).stderr).toContain("security.insecure is not allowed");
  const { stdout } = await build(insecure, "--allow", "security.insecure");
  expect(stdout).toMatch(/CapEff:\s+0000003fffffffff|CapEff:\s+000001ffffffffff|CapEff:\s+000001f/);
});

test("stages that need nothing of each other run at once", async () => {
  // Each waits for a sign of the other, which only a shared folder can carry.
  const wait = (own: string, other: string): string =>
    `RUN --mount=type=cache,id=meet,target=/meet touch /meet/${own}; for i in $(seq 200); do [ -e /meet/${other} ] && exit 0; sleep 0.05; done; exit 1`;
  const text = await built(
    `${wait("left", "right")}\nFROM vitrine/base AS b\n${wait("right", "left")}\nRUN touch /b\nFROM vitrine/base\nCOPY --from=0 /etc/passwd /a\nCOPY --from=b /b /b`,
  );
  expect(text).toContain("Successfully built");
});

test("a stage that the target does not need is not run", async () => {
  const text = await built(
    "RUN false\nFROM vitrine/base AS wanted\nRUN true\nFROM wanted\nRUN false",
    {},
    "--target",
    "wanted",
  );
  expect(text).toContain("Step 2/2");
});

test("a client that leaves ends the command, and nothing is left mounted or running", async () => {
  const root = folder("RUN --mount=type=cache,target=/c echo begun; sleep 1234");
  const child = Bun.spawn([...vitrineCommand, "-H", `unix://${engine.socket}`, "build", root], { stdout: "pipe" });
  let text = "";
  for await (const chunk of child.stdout) {
    text += Buffer.from(chunk).toString();
    if (text.includes("begun")) break;
  }
  child.kill("SIGINT");
  await child.exited;
  const left = (): string[] => [
    ...mountsBelow(engine.root),
    ...readdirSync(join(engine.root, "tmp")).filter((name) => name.startsWith("build-")),
    ...Bun.spawnSync(["pgrep", "-f", "sleep 1234"]).stdout.toString().split("\n").filter(Boolean),
  ];
  for (let tries = 0; left().length > 0 && tries < 400; tries++) await Bun.sleep(25);
  expect(left()).toEqual([]);
});

test("--why and `why` name the file that changed", async () => {
  const dockerfile = "COPY . /all/\nRUN cat /all/b";
  await built(dockerfile, { a: "1", b: "1" }, "-t", "reasons");
  const again = await built(dockerfile, { a: "1", b: "1" }, "-t", "reasons", "--why");
  expect(again).toContain("Step 2: cached: COPY . /all/");
  const changed = await built(dockerfile, { a: "1", b: "2" }, "-t", "reasons", "--why");
  expect(changed).toMatch(/Step 2: ran: COPY \. \/all\/\n    file b changed \([0-9a-f]{12} → [0-9a-f]{12}\)\nStep 3/);
  expect(changed).toContain("Step 3: ran: RUN cat /all/b\n    an earlier step or the base image gave other files");
  expect(await engine.must("why", "reasons")).toContain("file b changed");
});

test("prune tells what it forgot, and system df shows the cache", async () => {
  await built("RUN echo prunable > /prunable");
  expect(await engine.must("system", "df")).toMatch(/Build Cache +[1-9]/);
  const kept = await engine.must("builder", "prune", "-af", "--keep-storage", "1g");
  expect(kept).toBe("Total reclaimed space: 0B");
  expect(await engine.must("builder", "prune", "-af", "--filter", "unused-for=1h")).toBe("Total reclaimed space: 0B");
  expect(await engine.must("builder", "prune", "-af")).toContain("Deleted build cache objects:\n");
  expect(await engine.must("system", "df")).toMatch(/Build Cache +0/);
  expect(await built("RUN echo prunable > /prunable")).not.toContain("Using cache");
});

test("with --reproducible the same image has the same id after everything was forgotten", async () => {
  const id = async (): Promise<string> => {
    const text = await built(
      "COPY f /f\nWORKDIR /w\nRUN echo x > /x\nENV A=1",
      { f: "1" },
      "--reproducible",
      "-t",
      "same",
    );
    return /Successfully built (\w+)/.exec(text)?.[1] ?? text;
  };
  const first = await id();
  await engine.must("rmi", "-f", "same");
  await engine.must("builder", "prune", "-af");
  expect(await id()).toBe(first);
});

test("--verify builds twice and names the step and the file that differ", async () => {
  const same = await built("COPY f /f\nRUN echo x > /x", { f: "1" }, "--reproducible", "--verify");
  expect(same).toEndWith("Verified: both builds gave the same bytes\n");
  const text = await built(
    "RUN echo same > /same\nRUN cat /proc/sys/kernel/random/uuid > /random",
    {},
    "--reproducible",
    "--verify",
  );
  expect(text.split("The second build differs:\n")[1]).toBe(
    "  /bin/sh -c cat /proc/sys/kernel/random/uuid > /random\n    /random: content\n",
  );
});
