import { existsSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { mountsBelow } from "./scratch.ts";
import { waitFor, type TestEngine } from "./test-engine.ts";

/**
 * Everything on this machine that belongs to one engine, as sorted lines, found with tools that are not the engine's: mounts, links,
 * addresses and elements of its firewall table, control groups and the processes in them, directories of root and run. What has a new
 * random name each time (a prepared network namespace) is counted only.
 */
export function tracesOf(engine: TestEngine): string[] {
  return [
    ...mountsBelow(engine.scratch.path).map((target) => `mount ${anonymous(engine, target)}`),
    ...linesOf(engine),
    ...firewallOf(engine),
    ...groupsOf(engine),
    ...directoriesOf(engine),
  ].sort();
}

/**
 * The traces of an engine without containers whose bridge is up and whose next namespace is prepared: runs one container, kills the
 * daemon and starts it again. What is there then must be there after every test.
 */
export async function settledTraces(engine: TestEngine, image = "busybox"): Promise<string[]> {
  const made = await engine.api("POST", "/containers/create", { Image: image, Cmd: ["true"] });
  const { Id } = (await made.json()) as { Id: string };
  await engine.api("POST", `/containers/${Id}/start`);
  await engine.api("DELETE", `/containers/${Id}?force=1&v=1`);
  await engine.stop("SIGKILL");
  await engine.start();
  await waitFor("a prepared namespace", () => tracesOf(engine).includes("mount /run/netns/*"));
  return tracesOf(engine);
}

/** Waits until the traces are those of before; throws the difference. Deleting goes on in the background, hence the wait. */
export async function expectTraces(engine: TestEngine, before: readonly string[]): Promise<void> {
  const difference = (): string[] => {
    const now = tracesOf(engine);
    const more = now.filter((line) => !before.includes(line)).map((line) => `left: ${line}`);
    return [...more, ...before.filter((line) => !now.includes(line)).map((line) => `gone: ${line}`)];
  };
  try {
    await waitFor("nothing to be left", () => difference().length === 0, 10_000);
  } catch {
    throw new Error(`The machine is not as it was:\n${difference().join("\n")}\n${engine.log.slice(-3000)}`);
  }
}

function anonymous(engine: TestEngine, path: string): string {
  return path.replace(engine.scratch.path, "").replace(/^(\/run\/netns\/).*/, "$1*");
}

/** A veth has the bridge as its master from the moment it exists. */
function linesOf(engine: TestEngine): string[] {
  const links = JSON.parse(runText("ip", "-j", "link", "show")) as { ifname: string; master?: string }[];
  return links
    .filter((link) => link.master === engine.bridge || link.ifname === engine.bridge)
    .map((link) => (link.ifname === engine.bridge ? "bridge" : `link ${link.ifname}`));
}

function firewallOf(engine: TestEngine): string[] {
  const text = runText("nft", "list", "table", "ip", engine.instance);
  return text
    .split("\n")
    .map((line) => `nft ${line.trim()}`)
    .filter((line) => line !== "nft ");
}

function groupsOf(engine: TestEngine): string[] {
  const hierarchies = ["/sys/fs/cgroup", ...readdirSync("/sys/fs/cgroup").map((name) => join("/sys/fs/cgroup", name))];
  const below = (path: string, shown: string): string[] => {
    if (!existsSync(path)) return [];
    const processes = readText(join(path, "cgroup.procs")).split("\n").filter(Boolean);
    const children = readdirSync(path, { withFileTypes: true }).filter((entry) => entry.isDirectory());
    return [
      ...children.map((child) => `cgroup ${shown}/${child.name}`),
      ...processes.map(() => `process in ${shown}`),
      ...children.flatMap((child) => below(join(path, child.name), `${shown}/${child.name}`)),
    ];
  };
  return [...new Set(hierarchies.flatMap((path) => below(join(path, engine.instance), "")))];
}

/** Names two levels deep; the database's own files come and go. */
function directoriesOf(engine: TestEngine): string[] {
  const lines: string[] = [];
  const list = (path: string, depth: number): void => {
    if (!existsSync(path)) return;
    for (const entry of readdirSync(path, { withFileTypes: true })) {
      const child = join(path, entry.name);
      if (entry.name.startsWith("engine.db")) continue;
      lines.push(`path ${anonymous(engine, child)}`);
      if (entry.isDirectory() && depth > 0) list(child, depth - 1);
    }
  };
  list(engine.root, 1);
  list(join(engine.root, "overlay2", "l"), 0);
  list(engine.run, 1);
  return [...new Set(lines)];
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

function runText(...command: string[]): string {
  return Bun.spawnSync(command, { stderr: "ignore" }).stdout.toString();
}
