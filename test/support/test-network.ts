import { Database } from "bun:sqlite";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { Paths, newId } from "../../src/common/index.ts";
import { NetworkService, type AttachRequest, type Attachment, type NetworkInstance } from "../../src/network/index.ts";
import { newScratch } from "./scratch.ts";

const projectRoot = join(import.meta.dir, "..", "..");
/** The helper that `npm ci` compiled. */
export const helperProgram = process.env["VITRINE_HELPER"] ?? join(projectRoot, "dist", "vitrine-helper");
const peerScript = join(projectRoot, "test", "fixtures", "network-peer.ts");
const agentScript = join(projectRoot, "test", "fixtures", "network-agent.ts");

const packages: Readonly<Record<string, string>> = {
  nft: "nftables",
  ip: "iproute2",
  bridge: "iproute2",
  iptables: "iptables",
  "iptables-nft": "iptables",
  "iptables-legacy": "iptables",
  conntrack: "conntrack",
  nsenter: "util-linux",
};

/** Throws a sentence that names the Debian package of each program that is missing: a test never passes by not looking. */
export function needPrograms(...programs: readonly string[]): void {
  const missing = programs.filter((program) => !Bun.which(program)).map((program) => packages[program] ?? program);
  if (missing.length > 0)
    throw new Error(`Install ${[...new Set(missing)].join(", ")}: apt-get install ${missing.join(" ")}`);
}

/** What a command prints. Throws with its error output unless it succeeds. */
export function run(...command: string[]): string {
  const { exitCode, stdout, stderr } = Bun.spawnSync(command);
  if (exitCode !== 0) throw new Error(`${command.join(" ")}: ${stderr.toString()}${stdout.toString()}`);
  return stdout.toString();
}

export function runJson<T>(...command: string[]): T {
  return JSON.parse(run(...command) || "[]") as T;
}

/** Waits until `condition` gives something true; throws with `what` after five seconds. */
export async function until<T>(what: string, condition: () => T | Promise<T>): Promise<T> {
  const deadline = Date.now() + 5000;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > deadline) throw new Error(`Waited in vain for ${what}`);
    await Bun.sleep(10);
  }
}

let count = 0;

/** Names and a subnet that no other test process has. */
export function newInstance(): NetworkInstance {
  const number = count++;
  const name = `vt${process.pid % 100000}x${number}`;
  return { bridgeName: name, tableName: name, subnet: `10.${100 + (process.pid % 100)}.${number % 256}.0/24` };
}

export function attachRequest(change: Partial<AttachRequest> = {}): AttachRequest {
  return {
    containerId: newId(),
    networkMode: "default",
    hostname: "web",
    portBindings: {},
    exposedPorts: [],
    publishAll: false,
    ...change,
  };
}

/** A NetworkService with everything of its own; disposal removes all of it. */
export class TestNetwork implements AsyncDisposable {
  readonly scratch = newScratch();
  readonly paths = new Paths(join(this.scratch.path, "root"), join(this.scratch.path, "run"));
  readonly db = new Database(":memory:");
  readonly service: NetworkService;

  constructor(readonly instance: NetworkInstance = newInstance()) {
    const { paths, db } = this;
    this.service = new NetworkService({ paths, db, instance, helperPath: helperProgram });
  }

  attach(change: Partial<AttachRequest> = {}): Promise<Attachment> {
    return this.service.attach(attachRequest(change));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.service.close({ removeAll: true });
    this.db.close();
    await this.scratch[Symbol.asyncDispose]();
  }
}

/** Path of an attachment's namespace; throws for the host's. */
export function pathOf(attachment: Attachment): string {
  if (attachment.namespace.kind === "host") throw new Error("It is in the host's network namespace");
  return attachment.namespace.path;
}

export function addressOf(attachment: Attachment): string {
  return attachment.settings?.IPAddress ?? "";
}

function inside(namespace: string | undefined): string[] {
  return namespace === undefined ? [] : ["nsenter", `--net=${namespace}`];
}

/** A server inside a namespace (default: the host's) that tells each peer its address. Resolves once it listens. */
export async function serve(options: {
  namespace?: string;
  protocol?: "tcp" | "udp";
  port: number;
}): Promise<AsyncDisposable> {
  const { protocol = "tcp", port } = options;
  const words = [process.execPath, peerScript, "serve", protocol, String(port)];
  const child = Bun.spawn([...inside(options.namespace), ...words], { stdio: ["ignore", "pipe", "inherit"] });
  const { value } = await child.stdout.getReader().read();
  if (!value) throw new Error(`No server listens on port ${port}`);
  return {
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await child.exited;
    },
  };
}

/** What the server of `serve` answers somebody inside a namespace: the address it sees; `timeout`; or an error's name. */
export async function ask(options: {
  namespace?: string;
  protocol?: "tcp" | "udp";
  address: string;
  port: number;
}): Promise<string> {
  const { protocol = "tcp", address, port } = options;
  const words = [process.execPath, peerScript, "ask", protocol, address, String(port)];
  const child = Bun.spawn([...inside(options.namespace), ...words], { stdio: ["ignore", "pipe", "inherit"] });
  return (await new Response(child.stdout).text()).trim();
}

/** A NetworkService in a process of its own inside a named network namespace. `root` outlives it. */
export class NetworkAgent implements AsyncDisposable {
  readonly #child;
  readonly #lines;

  constructor(options: { namespace: string; root: string; instance: NetworkInstance }) {
    const words = [agentScript, options.root, JSON.stringify(options.instance), helperProgram];
    this.#child = Bun.spawn(["ip", "netns", "exec", options.namespace, process.execPath, ...words], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    this.#lines = linesOf(this.#child.stdout);
  }

  async call<T>(method: string, ...parameters: unknown[]): Promise<T> {
    this.#child.stdin.write(`${JSON.stringify({ call: method, with: parameters })}\n`);
    void this.#child.stdin.flush();
    const { value } = await this.#lines.next();
    if (value === undefined) throw new Error(`The agent ended during ${method}`);
    const answer = JSON.parse(value) as { result?: T; error?: string };
    if (answer.error !== undefined) throw new Error(answer.error);
    return answer.result as T;
  }

  attach(change: Partial<AttachRequest> = {}): Promise<Attachment> {
    return this.call<Attachment>("attach", attachRequest(change));
  }

  /** A namespace file of the agent, which is mounted in its mount namespace only. */
  pathOf(attachment: Attachment): string {
    return `/proc/${this.#child.pid}/root${pathOf(attachment)}`;
  }

  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#child.exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode === null && !this.#child.killed) await this.call("close", { removeAll: true });
    await this.kill();
  }
}

async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of stream) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    yield* lines;
  }
}

/** A machine of the test's own: a network namespace with one link to a neighbour's. */
export class TestHost implements AsyncDisposable {
  readonly name = `vt${process.pid}h${count++}`;
  readonly neighbour = `${this.name}n`;
  readonly address = "192.0.2.1";
  readonly neighbourAddress = "192.0.2.2";

  constructor() {
    needPrograms("ip", "nft", "nsenter");
    for (const namespace of [this.name, this.neighbour]) {
      run("ip", "netns", "add", namespace);
      run("ip", "-n", namespace, "link", "set", "lo", "up");
    }
    run("ip", "-n", this.name, "link", "add", "lan0", "type", "veth", "peer", "name", "lan0", "netns", this.neighbour);
    for (const [namespace, address] of [
      [this.name, this.address],
      [this.neighbour, this.neighbourAddress],
    ] as const) {
      run("ip", "-n", namespace, "addr", "add", `${address}/24`, "dev", "lan0");
      run("ip", "-n", namespace, "link", "set", "lan0", "up");
    }
    run("ip", "-n", this.neighbour, "route", "add", "default", "via", this.address);
  }

  get path(): string {
    return `/run/netns/${this.name}`;
  }
  get neighbourPath(): string {
    return `/run/netns/${this.neighbour}`;
  }

  /** Runs a program on this machine. */
  run(...command: string[]): string {
    return run("ip", "netns", "exec", this.name, ...command);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const namespace of [this.name, this.neighbour]) {
      if (existsSync(`/run/netns/${namespace}`)) run("ip", "netns", "del", namespace);
    }
  }
}
