// `npm run demo` where there is no network, and beside another engine.
import { expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { projectRoot, runProgram, TestEngine, waitFor } from "../support/test-engine.ts";

setDefaultTimeout(120_000);

const demo = [process.execPath, join(projectRoot, "scripts", "demo.ts")];

/** What a demo of that process number could leave, wherever it could leave it. */
function traces(pid: number): string[] {
  const name = `vd${pid}`;
  const groups = Bun.spawnSync(["find", "/sys/fs/cgroup", "-maxdepth", "3", "-name", name]).stdout.toString();
  const processes = readdirSync("/proc").filter((entry) => /^\d+$/.test(entry) && commandLine(entry).includes(name));
  const links = Bun.spawnSync(["ip", "-o", "link", "show"]).stdout.toString();
  const tables = Bun.spawnSync(["nft", "list", "tables"]).stdout.toString();
  return [groups, links, tables].filter((text) => text.includes(name)).concat(processes);
}

function commandLine(pid: string): string {
  const path = `/proc/${pid}/cmdline`;
  return existsSync(path) ? readFileSync(path, "utf8").replaceAll("\0", " ") : "";
}

const demoFolders = (): string[] => readdirSync(tmpdir()).filter((name) => name.startsWith("vd-"));

test("the demo needs no network: it ends well in a network namespace that has nothing but lo", async () => {
  const before = demoFolders();
  const begin = performance.now();
  const script = `ip link set lo up; echo "pid $$"; exec "$@"`;
  const { stdout, stderr, exitCode } = await runProgram(["unshare", "--net", "sh", "-c", script, "sh", ...demo]);
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
  expect(performance.now() - begin).toBeLessThan(15_000);
  for (const command of ["build -t helloworld", "run -d --name hello", "ps", "images", "panorama hello"])
    expect(stdout).toContain(`$ vitrine ${command}`);
  expect(stdout).toContain("<h3>Hello World!</h3>");
  const pid = Number(/^pid (\d+)$/m.exec(stdout)?.[1]);
  await waitFor("the demo's traces to go", () => traces(pid).length === 0);
  expect(demoFolders().filter((name) => !before.includes(name))).toEqual([]);
});

test("the demo runs beside another engine, whose containers go on, and Ctrl-C ends it without a trace", async () => {
  await using engine = new TestEngine();
  await engine.start();
  await engine.must("run", "-d", "--name", "other", "vitrine/base", "sleep", "1000");
  const running = Bun.spawn(demo, { cwd: projectRoot, stdio: ["ignore", "pipe", "pipe"] });
  let printed = "";
  for await (const chunk of running.stdout) {
    printed += Buffer.from(chunk).toString();
    if (running.exitCode === null && printed.includes("$ vitrine ps")) running.kill("SIGINT");
  }
  expect(await running.exited).toBe(130);
  await waitFor("the demo's traces to go", () => traces(running.pid).length === 0);
  expect((await engine.inspect("other")).State.Running).toBe(true);
});
