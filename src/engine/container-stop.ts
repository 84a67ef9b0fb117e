import { EngineError } from "../common/index.ts";
import { publishContainerEvent, cgroupPathOf, type Core } from "./core.ts";
import { signalForeignRun } from "./foreign-monitor.ts";
import type { LiveContainer } from "./live-container.ts";
import { parseSignal } from "./signals.ts";

const defaultStopTimeoutSeconds = 10;
const killSignal = 9;
/** How long a killed process may take to go: it may be in an uninterruptible sleep on a slow disk. */
const killPatienceMs = 10_000;

/** Asks, waits, then kills. The caller holds no turn: the exit must be able to be recorded meanwhile. */
export async function stopContainer(
  core: Core,
  container: LiveContainer,
  options: { signal?: string; timeoutSeconds?: number },
): Promise<void> {
  const { record } = container;
  if (record.state.restarting) {
    clearTimeout(container.restartTimer);
    record.state.restarting = false;
    record.state.stoppedByUser = true;
    core.store.save(record);
    container.announceExit({ exitCode: record.state.exitCode }, { restarting: false });
    return;
  }
  if (record.state.phase !== "running") throw new EngineError("notModified", `Container ${record.name} is not running`);
  record.state.stoppedByUser = true;
  core.store.save(record);
  const signal = parseSignal(options.signal ?? record.config.StopSignal ?? "SIGTERM");
  const timeoutSeconds = options.timeoutSeconds ?? record.config.StopTimeout ?? defaultStopTimeoutSeconds;
  const stopped = container.nextStop();
  if (record.state.paused) await unpause(core, container);
  await sendSignal(core, container, signal);
  if (timeoutSeconds < 0) await stopped;
  else if (!(await settlesWithin(stopped, timeoutSeconds * 1000))) await killAndWait(core, container, stopped);
  publishContainerEvent(core, record, { action: "stop" });
}

/** Kills now; resolves when the end is recorded. */
export async function killAndWait(core: Core, container: LiveContainer, stopped: Promise<unknown>): Promise<void> {
  if (container.record.state.paused) await unpause(core, container);
  await sendSignal(core, container, killSignal);
  if (await settlesWithin(stopped, killPatienceMs)) return;
  await core.cgroups.killAll(cgroupPathOf(core, container.record));
  if (!(await settlesWithin(stopped, killPatienceMs))) {
    throw new EngineError(
      "unavailable",
      `Container ${container.record.name} does not end after SIGKILL: a process of it hangs in the kernel`,
    );
  }
}

/** `kill`: any signal. A frozen container is thawed for one that ends it, or the signal would wait for ever. */
export async function killContainer(core: Core, container: LiveContainer, text: string): Promise<void> {
  const { record } = container;
  const signal = parseSignal(text);
  if (record.state.phase !== "running") {
    throw new EngineError("conflict", `Cannot kill container: ${record.name}: container ${record.id} is not running`);
  }
  if (signal === killSignal) {
    record.state.stoppedByUser = true;
    core.store.save(record);
    if (record.state.paused) await unpause(core, container);
  }
  await sendSignal(core, container, signal);
  publishContainerEvent(core, record, { action: "kill", attributes: { signal: String(signal) } });
}

async function sendSignal(core: Core, container: LiveContainer, signal: number): Promise<void> {
  try {
    if (container.monitorRefusal) signalForeignRun(container, signal);
    else await container.monitor?.signal(signal);
  } catch (error) {
    // It ended on its own just now: its exit is on its way.
    core.options.log("debug", `Signal ${signal} to ${container.record.id}: ${(error as Error).message}`);
  }
}

export async function pause(core: Core, container: LiveContainer): Promise<void> {
  const { record } = container;
  if (record.state.phase !== "running") throw new EngineError("conflict", `Container ${record.id} is not running`);
  if (record.state.paused) throw new EngineError("conflict", `Container ${record.id} is already paused`);
  await core.cgroups.freeze(cgroupPathOf(core, record));
  record.state.paused = true;
  core.store.save(record);
  publishContainerEvent(core, record, { action: "pause" });
}

export async function unpause(core: Core, container: LiveContainer): Promise<void> {
  const { record } = container;
  if (!record.state.paused) throw new EngineError("conflict", `Container ${record.id} is not paused`);
  await core.cgroups.thaw(cgroupPathOf(core, record));
  record.state.paused = false;
  core.store.save(record);
  publishContainerEvent(core, record, { action: "unpause" });
}

async function settlesWithin(promise: Promise<unknown>, timeoutMs: number): Promise<boolean> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const timeout = new Promise<false>((resolve) => {
    timer = setTimeout(() => resolve(false), timeoutMs);
  });
  try {
    return await Promise.race([promise.then(() => true), timeout]);
  } finally {
    clearTimeout(timer);
  }
}

/** Nothing of it runs any more, or will again. The caller holds its turn. */
export async function endContainer(core: Core, container: LiveContainer): Promise<void> {
  const { state } = container.record;
  clearTimeout(container.restartTimer);
  state.restarting = false;
  if (state.phase !== "running") return;
  state.stoppedByUser = true;
  await killAndWait(core, container, container.nextStop());
}
