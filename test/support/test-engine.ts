import { closeSync, existsSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { newScratch } from "./scratch.ts";

export const projectRoot = join(import.meta.dir, "..", "..");
export const vitrineProgram = join(projectRoot, "dist", "vitrine");
/** The engine and the command line as people have them; with VITRINE_FROM_SOURCE set, run from src/ without compiling first. */
export const vitrineCommand: readonly string[] = process.env.VITRINE_FROM_SOURCE
  ? [process.execPath, join(projectRoot, "src", "main.ts")]
  : [vitrineProgram];
const dockerProgram = Bun.which("docker") ?? "";

export interface Outcome {
  readonly stdout: string;
  readonly stderr: string;
  readonly exitCode: number;
}

let count = 0;

/**
 * A daemon with a root, a socket, a bridge and a subnet of its own, so that it runs beside any other engine.
 *
 *     await using engine = await startTestEngine();
 *     const { stdout } = await engine.vitrine("run", "--rm", "vitrine/base", "echo", "hello");
 *
 * Disposal removes every container, stops the daemon, and unmounts and deletes what is left.
 */
export class TestEngine implements AsyncDisposable {
  #daemon: Bun.Subprocess | undefined;
  readonly scratch = newScratch();
  readonly #number = (process.pid % 200) + 20 + (count++ % 30);
  readonly instance = `vt${process.pid}-${count}`;
  readonly bridge = `vt${process.pid}b${count}`;
  readonly subnet = `10.${this.#number}.${(Math.floor(process.pid / 200) * 10 + count) % 250}.0/24`;

  get root(): string {
    return join(this.scratch.path, "root");
  }
  get run(): string {
    return join(this.scratch.path, "run");
  }
  get socket(): string {
    return join(this.run, "vitrine.sock");
  }
  get log(): string {
    return existsSync(join(this.scratch.path, "log")) ? readFileSync(join(this.scratch.path, "log"), "utf8") : "";
  }
  /** The daemon's process; throws when it does not run. */
  get pid(): number {
    if (!this.#daemon) throw new Error("The daemon does not run");
    return this.#daemon.pid;
  }

  async start(extra: readonly string[] = []): Promise<void> {
    const words = [
      "--root",
      this.root,
      "--run",
      this.run,
      "--instance",
      this.instance,
      "--bridge",
      this.bridge,
      "--bip",
      this.subnet,
      ...extra,
    ];
    const log = openSync(join(this.scratch.path, "log"), "a");
    const daemon = Bun.spawn([...vitrineCommand, "daemon", ...words], {
      stdio: ["ignore", "ignore", log],
    });
    closeSync(log);
    this.#daemon = daemon;
    await waitFor("the daemon to answer", async () => {
      if (daemon.exitCode !== null) throw new Error(`The daemon ended with ${daemon.exitCode}:\n${this.log}`);
      return existsSync(this.socket) && (await this.api("GET", "/_ping").catch(() => undefined))?.status === 200;
    });
  }

  /** Ends the daemon with a signal and waits until it is gone. */
  async stop(signal: "SIGTERM" | "SIGKILL" = "SIGTERM"): Promise<void> {
    const daemon = this.#daemon;
    this.#daemon = undefined;
    daemon?.kill(signal);
    await daemon?.exited;
  }

  api(method: string, path: string, body?: unknown): Promise<Response> {
    return fetch(`http://engine${path}`, {
      unix: this.socket,
      method,
      ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } }),
    });
  }

  vitrine(...words: string[]): Promise<Outcome> {
    return runProgram([...vitrineCommand, ...words], { DOCKER_HOST: `unix://${this.socket}` });
  }

  docker(...words: string[]): Promise<Outcome> {
    if (dockerProgram === "")
      throw new Error("docker's command line is not on this machine: apt-get install docker.io");
    return runProgram([dockerProgram, "-H", `unix://${this.socket}`, ...words], { DOCKER_BUILDKIT: "0" });
  }

  /** As `vitrine`, and throws with all that was said when it fails. Answers stdout without its last newline. */
  async must(...words: string[]): Promise<string> {
    const outcome = await this.vitrine(...words);
    if (outcome.exitCode !== 0)
      throw new Error(
        `vitrine ${words.join(" ")} ended with ${outcome.exitCode}:\n${outcome.stdout}${outcome.stderr}\n${this.log}`,
      );
    return outcome.stdout.replace(/\n$/, "");
  }

  async inspect(id: string): Promise<import("../../src/spec/index.ts").ContainerInspect> {
    const response = await this.api("GET", `/containers/${id}/json`);
    if (!response.ok) throw new Error(await response.text());
    return (await response.json()) as import("../../src/spec/index.ts").ContainerInspect;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#daemon) await this.start().catch(() => {});
    if (this.#daemon) {
      const list = (await (await this.api("GET", "/containers/json?all=1")).json()) as { Id: string }[];
      await Promise.all(list.map(({ Id }) => this.api("DELETE", `/containers/${Id}?force=1&v=1`)));
    }
    await this.stop();
    await this.scratch[Symbol.asyncDispose]();
  }
}

export async function startTestEngine(extra: readonly string[] = []): Promise<TestEngine> {
  const engine = new TestEngine();
  await engine.start(extra);
  return engine;
}

export async function runProgram(
  command: readonly string[],
  environment: Record<string, string> = {},
): Promise<Outcome> {
  const run = Bun.spawn([...command], {
    cwd: projectRoot,
    env: { ...process.env, ...environment },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const [stdout, stderr, exitCode] = await Promise.all([
    new Response(run.stdout).text(),
    new Response(run.stderr).text(),
    run.exited,
  ]);
  return { stdout, stderr, exitCode };
}

/** Asks until it is so; throws what was waited for after `timeoutMs`. */
export async function waitFor(what: string, isSo: () => Promise<boolean> | boolean, timeoutMs = 15_000): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!(await isSo())) {
    if (Date.now() > deadline) throw new Error(`Waited ${timeoutMs} ms for ${what}`);
    await Bun.sleep(10);
  }
}
