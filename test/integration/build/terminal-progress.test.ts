// A build's progress on a real terminal, seen as its screen shows it.
import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { busyboxEngine } from "../../support/busybox-engine.ts";
import { newScratch } from "../../support/scratch.ts";
import { vitrineCommand, waitFor } from "../../support/test-engine.ts";

const engine = busyboxEngine();

/** What stands on a terminal after these bytes: lines, the cursor's way up, and the clearing of all below it are known. */
function screen(bytes: string): string[] {
  const lines: string[] = [""];
  let row = 0;
  for (const [part] of bytes.matchAll(/\x1b\[(\d*)([A-Za-z])|\r|\n|[^\x1b\r\n]+/g)) {
    const control = /^\x1b\[(\d*)([A-Za-z])$/.exec(part);
    if (control?.[2] === "A") row = Math.max(0, row - Number(control[1] || 1));
    else if (control?.[2] === "J") lines.splice(row, Infinity, "");
    else if (control) throw new Error(`The screen does not know ${JSON.stringify(part)}`);
    else if (part === "\n") lines[(row += 1)] ??= "";
    else if (part !== "\r") lines[row] += part;
  }
  return lines;
}

class BuildOnTerminal implements AsyncDisposable {
  bytes = "";
  readonly terminal: Bun.Terminal;
  readonly child: Bun.Subprocess;

  constructor(folder: string, dockerfile: string) {
    writeFileSync(join(folder, "Dockerfile"), dockerfile);
    this.terminal = new Bun.Terminal({
      cols: 70,
      rows: 30,
      data: (_, data) => void (this.bytes += Buffer.from(data).toString()),
    });
    const words = ["-H", `unix://${engine.socket}`, "build", "--no-cache", "--progress", "tty", "-t", "drawn", folder];
    this.child = Bun.spawn([...vitrineCommand, ...words], { terminal: this.terminal });
  }

  get screen(): string[] {
    return screen(this.bytes);
  }

  shows(text: string): Promise<void> {
    return waitFor(`"${text}" on the screen`, () => this.screen.some((line) => line.includes(text)), 15_000);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.child.kill();
    await this.child.exited;
    this.terminal.close();
  }
}

test("steps are drawn over while they run, their output below them, and each stands once at the end", async () => {
  await using scratch = newScratch();
  const wait = `until test -e /go; do sleep 0.1; i=$((i+1)); test $i -lt 20 || touch /go; done`;
  await using build = new BuildOnTerminal(scratch.path, `FROM busybox\nRUN echo what-it-says; ${wait}\n`);
  await build.shows("=> => # what-it-says");
  expect(build.screen[0]).toMatch(/^\[\+\] Building \d+\.\ds \(\d+\/\d+\)$/);
  expect(await build.child.exited).toBe(0);
  await build.shows("FINISHED");
  expect(build.bytes.match(/Building/g)?.length).toBeGreaterThan(5);
  const lines = build.screen;
  expect(lines.filter((line) => line.includes("Building"))).toHaveLength(1);
  expect(lines.filter((line) => line.includes("[2/2] RUN"))).toHaveLength(1);
  expect(lines.join("\n")).not.toContain("=> => #");
  expect(lines[0]).toMatch(/^\[\+\] Building \d+\.\ds \((\d+)\/\1\) FINISHED$/);
  for (const line of lines.filter((one) => one.startsWith(" =>"))) expect(line).toMatch(/^(?=.{69}$).* \d+\.\ds$/);
});

test("lines are one column shorter than the terminal is by then", async () => {
  await using scratch = newScratch();
  await using build = new BuildOnTerminal(
    scratch.path,
    `FROM busybox\nRUN : ${"x".repeat(120)}; echo ready; sleep 8641\n`,
  );
  await build.shows("# ready");
  expect(Math.max(...build.screen.map((line) => line.length))).toBe(69);
  build.terminal.resize(100, 30);
  // The terminal is not the child's controlling one: what the kernel would send then, the test does.
  build.child.kill("SIGWINCH");
  await waitFor("wider lines", () => Math.max(...build.screen.map((line) => line.length)) === 99, 5000);
});

test("a step that fails is drawn as one, and what it printed is left below", async () => {
  await using scratch = newScratch();
  await using build = new BuildOnTerminal(scratch.path, "FROM busybox\nRUN echo its-last-words; exit 3\n");
  expect(await build.child.exited).not.toBe(0);
  await build.shows("------");
  const lines = build.screen;
  expect(lines.some((line) => line.startsWith(" => ERROR [2/2] RUN"))).toBe(true);
  expect(lines).toContain("its-last-words");
});

test("Ctrl-C ends it at once with its last picture whole, and no process of the step stays", async () => {
  await using scratch = newScratch();
  await using build = new BuildOnTerminal(scratch.path, "FROM busybox\nRUN echo begun; sleep 8642\n");
  await build.shows("# begun");
  build.child.kill("SIGINT");
  expect(await build.child.exited).not.toBe(0);
  expect(build.screen.filter((line) => line.includes("Building"))).toHaveLength(1);
  expect(build.bytes.endsWith("\n")).toBe(true);
  const running = (): string => Bun.spawnSync(["pgrep", "-f", "sleep 8642"]).stdout.toString();
  await waitFor("the step's process to end", () => running() === "", 10_000);
});
