import { existsSync, readdirSync, rmSync } from "node:fs";
import { mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { toEngineError } from "../common/index.ts";
import { bootId, isAlive, readMounts, unmount } from "../kernel/index.ts";
import { MonitorConnection, readExitRecord } from "../runtime/index.ts";
import { giveBack, lostMonitor, recordExit, watchExit } from "./container-exit.ts";
import { giveUpStorage } from "./container-removal.ts";
import { startContainer } from "./container-start.ts";
import { cgroupPathOf, type Core } from "./core.ts";
import { adoptForeignRun } from "./foreign-monitor.ts";
import type { LiveContainer } from "./live-container.ts";

/** A container that ran when the machine went down has no exit code of its own. */
const lostExitCode = 255;
/** A monitor that was writing its record when we looked: it is given this long. */
const recordPatienceMs = 3000;

/**
 * Makes memory, database and kernel agree after a start of the daemon, however the last one ended: containers that run are taken
 * up again, ends that were missed are recorded, and what belongs to nobody is removed.
 */
export async function recover(core: Core): Promise<void> {
  for (const container of core.containers.all()) await recoverContainer(core, container);
  await sweep(core);
}

/** Restart policies apply once everything else is in order; an end that recovery itself recorded has its restart coming already. */
export function restartAfterRecovery(core: Core): void {
  for (const container of core.containers.all()) {
    if (!isToBeRestarted(container)) continue;
    void container.changes
      .run(async () => {
        if (isToBeRestarted(container)) await startContainer(core, container);
      })
      .catch((error: unknown) =>
        core.options.log("warning", `Cannot restart ${container.record.id}: ${toEngineError(error).message}`),
      );
  }
}

function isToBeRestarted({ record, restartTimer }: LiveContainer): boolean {
  const { phase, stoppedByUser, restarting } = record.state;
  if (phase !== "exited" || restartTimer !== undefined) return false;
  const policy = record.host.RestartPolicy?.Name;
  return (
    policy === "always" || (policy === "unless-stopped" && !stoppedByUser) || (policy === "on-failure" && restarting)
  );
}

async function recoverContainer(core: Core, container: LiveContainer): Promise<void> {
  const { record } = container;
  switch (record.state.phase) {
    case "starting":
    case "running":
      await recoverRun(core, container);
      return;
    case "removing":
      await giveBack(core, record);
      await giveUpStorage(core, container, {
        volumes: record.state.removingVolumes ?? record.host.AutoRemove ?? false,
      });
      return;
    case "exited":
      if (record.host.AutoRemove) await giveUpStorage(core, container, { volumes: true });
      return;
    default:
  }
}

async function recoverRun(core: Core, container: LiveContainer): Promise<void> {
  const { record } = container;
  const { state } = record;
  if (state.bootId === bootId() && (await reconnect(core, container))) return;
  const exit = state.bootId === bootId() ? await awaitExitRecord(core, container) : undefined;
  if (!exit && state.phase === "starting" && state.bootId === bootId()) {
    // The daemon was lost before it gave leave: the monitor undid everything, and the container never ran.
    Object.assign(state, { phase: state.startedAt.startsWith("0001") ? "created" : "exited", pid: 0 });
    record.network = undefined;
    core.store.save(record);
    await giveBack(core, record);
    return;
  }
  const lost = state.bootId === bootId() ? lostMonitor() : { ...lostMonitor(), exitCode: lostExitCode };
  recordExit(core, container, exit ?? lost);
  await container.teardown;
}

async function reconnect(core: Core, container: LiveContainer): Promise<boolean> {
  const { record } = container;
  const { state } = record;
  const identity = { pid: state.pid, startTime: Number(state.startTime), bootId: state.bootId };
  const socket = core.paths.monitorSocket(record.id);
  if (!isAlive(identity) || !existsSync(socket)) return false;
  try {
    const monitor = await MonitorConnection.connect(socket);
    await monitor.subscribe();
    container.monitor = monitor;
  } catch (error) {
    const refusal = toEngineError(error);
    if (refusal.code !== "unsupported") {
      core.options.log("warning", `Cannot reach the monitor of ${record.id}: ${refusal.message}`);
      return false;
    }
    adoptForeignRun(core, container, refusal);
  }
  if (state.phase === "starting") {
    Object.assign(state, { phase: "running", paused: false, error: "", startedAt: new Date().toISOString() });
    core.store.save(record);
  }
  if (container.monitor) watchExit(core, container, container.monitor);
  return true;
}

async function awaitExitRecord(core: Core, container: LiveContainer): Promise<ReturnType<typeof readExitRecord>> {
  const path = core.paths.exitRecord(container.record.id);
  const deadline = Date.now() + recordPatienceMs;
  for (;;) {
    const monitorLives = await answers(core.paths.monitorSocket(container.record.id));
    // Read after the question: a monitor that has just gone wrote its record before.
    const record = readExitRecord(path);
    if (record || !monitorLives || Date.now() > deadline) return record;
    await Bun.sleep(20);
  }
}

async function answers(socketPath: string): Promise<boolean> {
  if (!existsSync(socketPath)) return false;
  try {
    using _connection = await MonitorConnection.connect(socketPath);
    return true;
  } catch {
    return false;
  }
}

/** What a crash left: control groups, run directories, mounts, snapshots, directories and volumes that no record names. */
async function sweep(core: Core): Promise<void> {
  const records = core.store.all();
  const running = new Set(records.filter((record) => record.state.phase === "running").map((record) => record.id));
  const known = new Set(records.map((record) => record.id));
  const attempt = async (what: string, work: () => Promise<void>): Promise<void> => {
    await work().catch((error: unknown) =>
      core.options.log("warning", `Clean-up of ${what}: ${toEngineError(error).message}`),
    );
  };
  await attempt("networks", () => core.networks.reconcile(running));
  await attempt("control groups", () => sweepCgroups(core, running));
  await attempt("mounts", async () => sweepMounts(core, running));
  await attempt("run directories", async () => sweepRunDirectories(core, running));
  await attempt("snapshots", () => sweepSnapshots(core, known));
  await attempt("container directories", () => sweepDirectories(core, known));
  await attempt("volumes", () => core.volumes.sweep((id) => known.has(id)));
  await attempt("images", async () => void (await core.images.collect()));
  await attempt("trash", () => emptyTrash(core));
}

async function sweepCgroups(core: Core, running: ReadonlySet<string>): Promise<void> {
  const root = `/${core.options.instance}`;
  for (const path of core.cgroups.list(root)) {
    const name = path.slice(path.lastIndexOf("/") + 1);
    if (name === "monitors" || running.has(name)) continue;
    await core.cgroups.killAll(path);
    await core.cgroups.remove(path);
  }
  // Those with a parent of their own are elsewhere.
  for (const record of core.store.all()) {
    if (!record.host.CgroupParent || running.has(record.id)) continue;
    await core.cgroups.killAll(cgroupPathOf(core, record));
    await core.cgroups.remove(cgroupPathOf(core, record));
  }
}

/** Mounts below our own directories whose container does not run, innermost first. */
function sweepMounts(core: Core, running: ReadonlySet<string>): void {
  const ours = [`${core.paths.root}/`, `${core.paths.run}/`];
  const kept = [...running].flatMap((id) => [
    core.snapshots.mergedDirectory(id),
    core.paths.container(id),
    core.paths.containerRun(id),
  ]);
  const stale = readMounts()
    .map((mount) => mount.target)
    .filter((target) => ours.some((prefix) => target.startsWith(prefix)))
    .filter((target) => !target.startsWith(`${core.paths.volumes}/`))
    .filter((target) => !kept.some((prefix) => target === prefix || target.startsWith(`${prefix}/`)))
    // The pool's namespaces are network's own to sweep.
    .filter((target) => !target.startsWith(`${join(core.paths.run, "netns")}/`));
  for (const target of stale.reverse()) unmount(target, { lazy: true });
}

function sweepRunDirectories(core: Core, running: ReadonlySet<string>): void {
  const kept = new Set([...running].map((id) => core.paths.containerRun(id)));
  for (const entry of readdirSync(core.paths.run, { withFileTypes: true })) {
    const path = join(core.paths.run, entry.name);
    if (entry.isDirectory() && /^[0-9a-f]{24}$/.test(entry.name) && !kept.has(path))
      rmSync(path, { recursive: true, force: true });
  }
}

async function sweepSnapshots(core: Core, known: ReadonlySet<string>): Promise<void> {
  for (const key of core.snapshots.keys()) if (!known.has(key)) await core.snapshots.remove(key);
}

async function sweepDirectories(core: Core, known: ReadonlySet<string>): Promise<void> {
  const folder = join(core.paths.root, "containers");
  await mkdir(folder, { recursive: true, mode: 0o710 });
  for (const id of await readdir(folder))
    if (!known.has(id)) await rm(join(folder, id), { recursive: true, force: true });
}

async function emptyTrash(core: Core): Promise<void> {
  for (const folder of [core.paths.trash, core.paths.temporary]) {
    for (const name of await readdir(folder).catch(() => [] as string[]))
      await rm(join(folder, name), { recursive: true, force: true });
  }
}
