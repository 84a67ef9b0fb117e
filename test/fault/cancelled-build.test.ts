// Builds that are cancelled at sampled moments, commands that do not want to end, a disk that fills: the machine is as it was.
import { expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { busyboxEngine } from "../support/busybox-engine.ts";
import { importBusybox } from "../support/busybox-image.ts";
import { newLoopVolume } from "../support/loop-volume.ts";
import { mountsBelow, newScratch } from "../support/scratch.ts";
import { TestEngine, vitrineCommand, waitFor } from "../support/test-engine.ts";

setDefaultTimeout(120_000);

const engine = busyboxEngine();

/** What a build has only while it goes on; `mark` is in the command lines of what it runs. */
function traces(of: TestEngine, mark: string): string[] {
  const unpacked = readdirSync(join(of.root, "tmp")).filter((name) => name.startsWith("build-"));
  const snapshots = readdirSync(join(of.root, "overlay2")).filter((name) => name.endsWith("-init"));
  const secrets = readdirSync(of.run).filter((name) => name.startsWith("build-"));
  const running = Bun.spawnSync(["pgrep", "-f", mark]).stdout.toString().split("\n").filter(Boolean);
  const mounts = mountsBelow(of.root).filter((target) => target !== of.root);
  return [...unpacked, ...snapshots, ...secrets, ...running, ...mounts];
}

async function expectNothingLeft(of: TestEngine, mark: string): Promise<void> {
  await waitFor("nothing of the build to be left", () => traces(of, mark).length === 0, 20_000).catch(() => {});
  expect(traces(of, mark)).toEqual([]);
}

function contextIn(folder: string, lines: readonly string[]): string {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "Dockerfile"), `${lines.join("\n")}\n`);
  writeFileSync(join(folder, "file"), "content\n");
  return folder;
}

function start(of: TestEngine, ...words: string[]): Bun.Subprocess<"ignore", "pipe", "pipe"> {
  return Bun.spawn([...vitrineCommand, "-H", `unix://${of.socket}`, "build", ...words], {
    stdio: ["ignore", "pipe", "pipe"],
  });
}

async function until(stream: ReadableStream<Uint8Array>, text: string): Promise<void> {
  let seen = "";
  for await (const chunk of stream) {
    seen += Buffer.from(chunk).toString();
    if (seen.includes(text)) return;
  }
  throw new Error(`"${text}" was not told:\n${seen}`);
}

for (const [what, words] of [
  ["classic text", []],
  ["records", ["--progress", "plain"]],
] as const) {
  test(`Ctrl-C at sampled moments of a build with ${what} leaves nothing, and the next build works`, async () => {
    await using scratch = newScratch();
    const mark = `sleep 86${what.length}1`;
    const context = contextIn(scratch.path, [
      "FROM busybox AS one",
      "COPY file /file",
      "RUN --mount=type=cache,target=/c echo 1 > /c/x; cp /c/x /one",
      "FROM busybox",
      "COPY --from=one /one /one",
      "RUN --mount=type=bind,from=one,target=/m cat /m/one",
      `RUN ${mark}`,
    ]);
    // From the first connection to the command that does not end.
    for (const afterMs of [20, 90, 160, 230, 300, 400, 600]) {
      const build = start(engine, "--no-cache", ...words, context);
      const ended = Promise.all([new Response(build.stdout).text(), new Response(build.stderr).text()]);
      await Promise.race([build.exited, Bun.sleep(afterMs)]);
      build.kill("SIGINT");
      await Promise.all([build.exited, ended]);
      expect(build.exitCode).not.toBe(0);
      await expectNothingLeft(engine, mark);
    }
    contextIn(scratch.path, ["FROM busybox", "RUN echo well"]);
    expect(await engine.must("build", "--no-cache", scratch.path)).toContain("well\n");
  });
}

for (const [what, command] of [
  ["takes no notice of signals", "trap '' TERM INT HUP QUIT; echo begun; while :; do sleep 8722; done"],
  [
    "forks without end",
    "i=0; while :; do sleep 8722 & i=$((i+1)); [ $i = 100 ] && echo begun; [ $i -ge 100 ] && sleep 0.05; done",
  ],
  ["leaves its session and its parents", "(setsid sh -c 'sleep 8722 & sleep 8722' &); sleep 1; echo begun; sleep 8722"],
] as const) {
  test(`a command that ${what} ends with its build`, async () => {
    await using scratch = newScratch();
    const context = contextIn(scratch.path, ["FROM busybox", `RUN ${command}`]);
    const build = start(engine, context);
    await until(build.stdout, "\nbegun\n");
    build.kill("SIGINT");
    await build.exited;
    await expectNothingLeft(engine, "sleep 8722");
  });
}

test("a command that fills the disk fails by saying so, and the next build has the room again", async () => {
  await using volume = newLoopVolume(["mkfs.ext4", "-q"], 96);
  await using full = new TestEngine();
  mkdirSync(full.root);
  expect(Bun.spawnSync(["mount", "--bind", volume.path, full.root]).exitCode).toBe(0);
  await full.start();
  await importBusybox(full, "busybox");
  await using scratch = newScratch();
  contextIn(scratch.path, ["FROM busybox", "RUN head -c 200000000 /dev/zero > /big; echo 8723 > /more"]);
  const { exitCode, stdout, stderr } = await full.vitrine("build", scratch.path);
  expect(exitCode).not.toBe(0);
  expect(stdout + stderr).toMatch(/no space left/i);
  await expectNothingLeft(full, "8723");
  contextIn(scratch.path, ["FROM busybox", "RUN head -c 20000000 /dev/zero > /fits && echo fits"]);
  expect(await full.must("build", scratch.path)).toContain("fits\n");
});

test("builds that write one cache mount at once: shared ones see each other, locked ones wait, private ones are apart", async () => {
  await using scratch = newScratch();
  const outcome = async (sharing: string): Promise<string> => {
    const mount = `--mount=type=cache,id=faults-${sharing},sharing=${sharing},target=/c`;
    // What is shared stays until both have seen it.
    const last = sharing === "shared" ? "true" : "rm /c/$ME";
    const count = "n=$(ls /c | wc -l)";
    const script = `echo in > /c/$ME; ${count}; i=0; while [ $i -lt 15 ] && [ $n -lt 2 ]; do sleep 0.1; i=$((i+1)); ${count}; done; echo saw $n; ${last}`;
    const both = ["a", "b"].map(async (name) => {
      const context = contextIn(join(scratch.path, sharing, name), [
        "FROM busybox",
        `RUN ${mount} ME=${name}; ${script}`,
      ]);
      return (await engine.must("build", "--no-cache", context)).match(/saw \d/)?.[0] ?? "nothing";
    });
    return (await Promise.all(both)).join(", ");
  };
  expect(await outcome("shared")).toBe("saw 2, saw 2");
  expect(await outcome("locked")).toBe("saw 1, saw 1");
  expect(await outcome("private")).toBe("saw 1, saw 1");
});
