// The command line on a real terminal, against the engine: raw mode, window size, detach keys, signals, exit codes.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { startTestEngine, type TestEngine, vitrineCommand } from "../support/test-engine.ts";

let engine: TestEngine;
beforeAll(async () => {
  engine = await startTestEngine();
  await engine.vitrine("image", "from-host", "terminal-test", "sh", "stty", "sleep", "cat");
});
afterAll(() => engine[Symbol.asyncDispose]());

/** A command on a terminal of 77 columns and 33 rows. */
class Session implements AsyncDisposable {
  output = "";
  #wake = (): void => {};
  readonly terminal: Bun.Terminal;
  readonly child: Bun.Subprocess;

  constructor(...words: string[]) {
    this.terminal = new Bun.Terminal({
      cols: 77,
      rows: 33,
      data: (_terminal, data) => {
        this.output += Buffer.from(data).toString();
        this.#wake();
      },
    });
    const host = ["-H", `unix://${engine.socket}`];
    this.child = Bun.spawn([...vitrineCommand, ...host, ...words], { terminal: this.terminal });
  }

  /** Waits until the text has appeared, then types. */
  async answer(text: string, typed: string): Promise<void> {
    await this.sees(text);
    this.terminal.write(typed);
  }

  async sees(text: string): Promise<void> {
    while (!this.output.includes(text)) await new Promise<void>((resolve) => (this.#wake = resolve));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.child.kill();
    await this.child.exited;
    this.terminal.close();
  }
}

test("a shell on a terminal knows the window's size, follows its changes, and gives its exit code", async () => {
  await using session = new Session("run", "-it", "--rm", "terminal-test", "sh");
  await session.answer("# ", "stty size; echo fir''st\n");
  await session.sees("first");
  expect(session.output).toContain("33 77");
  session.terminal.resize(99, 44);
  // The terminal is not the child's controlling one: what the kernel would send then, the test does.
  session.child.kill("SIGWINCH");
  const until = Date.now() + 3000;
  while (!session.output.includes("44 99") && Date.now() < until) {
    session.terminal.write("stty size\n");
    await Bun.sleep(50);
  }
  expect(session.output).toContain("44 99");
  session.terminal.write("exit 5\n");
  expect(await session.child.exited).toBe(5);
});

test("the detach keys leave the container running, and attach comes back to it", async () => {
  {
    await using session = new Session("run", "-it", "--name", "detached", "terminal-test", "sh");
    await session.answer("# ", "\x10\x11");
    expect(await session.child.exited).toBe(0);
  }
  expect((await engine.vitrine("inspect", "-f", "{{.State.Running}}", "detached")).stdout).toBe("true\n");
  await using session = new Session("attach", "detached");
  // The shell drew its prompt for the first client; an empty line makes it draw another.
  session.terminal.write("\n");
  await session.answer("# ", "exit 3\n");
  expect(await session.child.exited).toBe(3);
});

test("without a terminal for the container, a signal to the command reaches the container's process", async () => {
  const script = 'trap "echo caught; exit 9" INT; echo ready; while :; do sleep 0.1; done';
  await using session = new Session("run", "--rm", "--init=false", "terminal-test", "sh", "-c", script);
  await session.sees("ready");
  session.child.kill("SIGINT");
  expect(await session.child.exited).toBe(9);
  expect(session.output).toContain("caught");
});

test("exec opens a terminal of its own and gives the command's exit code", async () => {
  await engine.vitrine("run", "-d", "--name", "for-exec", "terminal-test", "sleep", "1000");
  await using session = new Session("exec", "-it", "for-exec", "sh");
  await session.answer("# ", "exit 6\n");
  expect(await session.child.exited).toBe(6);
});

test("a start that fails ends the command at once, with docker's exit codes", async () => {
  for (const [program, exitCode] of [
    ["nosuch", 127],
    ["/etc", 126],
  ] as const) {
    const failed = await engine.vitrine("run", "terminal-test", program);
    expect(failed.exitCode).toBe(exitCode);
    expect(failed.stderr).toContain("vitrine: Error response from daemon:");
    expect(failed.stderr).toContain("Run 'vitrine run --help' for more information");
  }
});
