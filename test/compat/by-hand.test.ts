// Every command of the spine, typed as a person would, once with vitrine and once with docker's own client.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { newScratch } from "../support/scratch.ts";
import { runProgram, startTestEngine, waitFor, type Outcome, type TestEngine } from "../support/test-engine.ts";

let engine: TestEngine;
const files = newScratch();

beforeAll(async () => {
  engine = await startTestEngine();
  await engine.must("build", "-t", "helloworld", "examples/helloworld");
}, 60_000);

afterAll(async () => {
  await engine[Symbol.asyncDispose]();
  await files[Symbol.asyncDispose]();
}, 60_000);

const mark = crypto.randomUUID().slice(0, 8);

describe.each(["vitrine", "docker"] as const)("with %s", (client) => {
  const run = (...words: string[]): Promise<Outcome> => engine[client](...words);
  /** Runs, expects success, and answers stdout without its last newline. */
  const must = async (...words: string[]): Promise<string> => {
    const outcome = await run(...words);
    if (outcome.exitCode !== 0)
      throw new Error(
        `${client} ${words.join(" ")}: ${outcome.exitCode}\n${outcome.stdout}${outcome.stderr}\n${engine.log}`,
      );
    return outcome.stdout.replace(/\n$/, "");
  };
  const name = (suffix: string): string => `${client}-${suffix}`;
  const port = 43_000 + (process.pid % 1000) + (client === "docker" ? 1000 : 0);

  test("build prints each step with its image, and tags the result", async () => {
    const output = await must("build", "--no-cache", "-t", name("built"), "examples/helloworld");
    expect(output).toContain("Sending build context to Docker daemon");
    expect(output).toContain("Step 1/7 : FROM vitrine/bun");
    expect(output).toMatch(/Step 4\/7 : RUN echo built > \/app\/built\.txt\n ---> Running in [0-9a-f]{12}\n/);
    expect(output).toMatch(/Removing intermediate container [0-9a-f]{12}\n ---> [0-9a-f]{12}\n/);
    expect(output).toMatch(/Successfully built [0-9a-f]{12}\n/);
    expect(output).toContain(`Successfully tagged ${name("built")}:latest`);
  });

  test("images, image inspect and history show the layers", async () => {
    expect(await must("images")).toMatch(/helloworld +latest +[0-9a-f]{12}/);
    const [image] = JSON.parse(await must("image", "inspect", "helloworld"));
    expect(image.RootFS.Layers.length).toBeGreaterThanOrEqual(4);
    const { LowerDir, UpperDir, WorkDir, MergedDir } = image.GraphDriver.Data;
    for (const directory of [...LowerDir.split(":"), UpperDir]) expect(existsSync(directory)).toBe(true);
    expect([WorkDir, MergedDir].every((path) => path.startsWith(join(engine.root, "overlay2")))).toBe(true);
    expect(await must("history", "helloworld")).toContain("CMD");
  });

  test("run -d -p publishes the page on localhost and on the container's address", async () => {
    const id = await must("run", "-d", "--name", name("web"), "-p", `${port}:80`, "helloworld");
    expect(id).toMatch(/^[0-9a-f]{64}$/);
    await waitFor(
      "the page",
      async () => (await runProgram(["curl", "-sf", `http://localhost:${port}`])).exitCode === 0,
    );
    const page = await runProgram(["curl", "-s", `http://localhost:${port}`]);
    expect(page.stdout).toBe(`<h3>Hello World!</h3><b>Hostname:</b> ${id.slice(0, 12)}<br/>`);
    const address = await must("inspect", "--format", "{{.NetworkSettings.IPAddress}}", name("web"));
    expect((await runProgram(["curl", "-s", `http://${address}:80`])).stdout).toBe(page.stdout);
    expect(await must("ps", "-a")).toMatch(
      new RegExp(
        `${id.slice(0, 12)} +helloworld +"bun app.ts" .* Up .* 0\\.0\\.0\\.0:${port}->80/tcp.* ${name("web")}`,
      ),
    );
  });

  test("the process has namespaces and a control group of its own", async () => {
    const pid = await must("inspect", "--format", "{{.State.Pid}}", name("web"));
    for (const namespace of ["ipc", "mnt", "net", "pid", "uts"]) {
      expect(readlinkSync(`/proc/${pid}/ns/${namespace}`)).not.toBe(readlinkSync(`/proc/self/ns/${namespace}`));
    }
    expect(readlinkSync(`/proc/${pid}/ns/user`)).toBe(readlinkSync("/proc/self/ns/user"));
    const id = await must("inspect", "--format", "{{.Id}}", name("web"));
    expect(readFileSync(`/proc/${pid}/cgroup`, "utf8")).toContain(`/${engine.instance}/${id}`);
    const address = await must("inspect", "--format", "{{.NetworkSettings.IPAddress}}", name("web"));
    expect((await runProgram(["nsenter", `--net=/proc/${pid}/ns/net`, "ip", "addr"])).stdout).toContain(
      `inet ${address}/`,
    );
  });

  test("--net container:ID shows the same interfaces, --net host the host's", async () => {
    const address = await must("inspect", "--format", "{{.NetworkSettings.IPAddress}}", name("web"));
    expect(await must("run", "--rm", "--net", `container:${name("web")}`, "vitrine/base", "ip", "addr")).toContain(
      `inet ${address}/`,
    );
    expect(await must("run", "--rm", "--net", "host", "vitrine/base", "ip", "addr")).toContain(engine.bridge);
  });

  test("exec, logs, top and stats look inside", async () => {
    expect(await must("exec", name("web"), "cat", "/app/built.txt")).toBe("built");
    expect((await run("exec", name("web"), "sh", "-c", "exit 9")).exitCode).toBe(9);
    expect(await must("logs", name("web"))).toBe("Listening on port 80");
    expect(await must("top", name("web"))).toMatch(/PID[\s\S]*bun app\.ts/);
    expect(await must("stats", "--no-stream", name("web"))).toMatch(
      new RegExp(`${name("web")} +[\\d.]+% +[\\d.]+MiB / `),
    );
  });

  test("cp brings files out and in", async () => {
    await must("cp", `${name("web")}:/app/built.txt`, join(files.path, `${client}.txt`));
    expect(readFileSync(join(files.path, `${client}.txt`), "utf8")).toBe("built\n");
    writeFileSync(join(files.path, "in.txt"), mark);
    await must("cp", join(files.path, "in.txt"), `${name("web")}:/tmp/`);
    expect(await must("exec", name("web"), "cat", "/tmp/in.txt")).toBe(mark);
  });

  test("-v shares a named volume and a folder of the host", async () => {
    await must("run", "--rm", "-v", `${name("data")}:/data`, "vitrine/base", "sh", "-c", "echo kept > /data/file");
    expect(await must("run", "--rm", "-v", `${name("data")}:/data`, "vitrine/base", "cat", "/data/file")).toBe("kept");
    expect(await must("volume", "ls")).toMatch(new RegExp(`local +${name("data")}`));
    const folder = join(files.path, `${client}-srv`);
    mkdirSync(folder);
    writeFileSync(join(folder, "file"), "of the host");
    expect(await must("run", "--rm", "-v", `${folder}:/srv:ro`, "vitrine/base", "cat", "/srv/file")).toBe(
      "of the host",
    );
    const refused = await run("run", "--rm", "-v", `${folder}:/srv:ro`, "vitrine/base", "touch", "/srv/new");
    expect(refused.stderr).toContain("Read-only file system");
    await must("volume", "rm", name("data"));
  });

  test("run ends with the exit code of its process", async () => {
    expect((await run("run", "--rm", "vitrine/base", "sh", "-c", "exit 7")).exitCode).toBe(7);
    expect((await run("run", "--rm", "vitrine/base", "sh", "-c", "sh -c 'kill -9 $$'; exit $?")).exitCode).toBe(137);
    expect((await run("run", "--rm", "vitrine/base", "no-such-program")).exitCode).toBe(127);
    expect((await run("run", "--rm", "vitrine/base", "/etc/passwd")).exitCode).toBe(126);
    expect((await run("run", "--rm", "no-such-image-at-all", "true")).exitCode).toBe(125);
  });

  test("pause, unpause, rename, restart, kill, wait, stop and rm do what they say", async () => {
    await must("pause", name("web"));
    expect(await must("inspect", "--format", "{{.State.Status}}", name("web"))).toBe("paused");
    await must("unpause", name("web"));
    await must("rename", name("web"), name("renamed"));
    await must("restart", "-t", "2", name("renamed"));
    expect(await must("inspect", "--format", "{{.State.Running}}", name("renamed"))).toBe("true");
    const waiting = must("wait", name("renamed"));
    await must("kill", name("renamed"));
    expect(await waiting).toBe("137");
    await must("start", name("renamed"));
    // Before its handler is there, PID 1 would not see the signal.
    const listening = async (): Promise<boolean> =>
      (await run("logs", "--tail", "1", "--since", "2s", name("renamed"))).stdout.includes("Listening");
    await waitFor("the program to listen again", listening);
    await must("stop", name("renamed"));
    expect(await must("inspect", "--format", "{{.State.Status}}", name("renamed"))).toBe("exited");
    await must("rm", name("renamed"));
    expect((await run("inspect", name("renamed"))).exitCode).not.toBe(0);
  });

  test("rmi, info and version answer", async () => {
    expect(await must("rmi", name("built"))).toContain(`Untagged: ${name("built")}:latest`);
    const info = await must("info");
    for (const line of [
      "Storage Driver: overlay2",
      "Backing Filesystem:",
      "Supports d_type: true",
      "Cgroup Driver:",
      "Swarm: inactive",
      `Root Dir: ${engine.root}`,
    ]) {
      expect(info).toContain(line);
    }
    expect(await must("version")).toContain("Server");
  });
});
