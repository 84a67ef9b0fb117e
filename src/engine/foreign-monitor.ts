import { existsSync } from "node:fs";
import type { EngineError } from "../common/index.ts";
import { isAlive, signalProcess } from "../kernel/index.ts";
import { readExitRecord, type MonitorConnection, type StoredExitRecord } from "../runtime/index.ts";
import { lostMonitor, recordExit } from "./container-exit.ts";
import type { ContainerRecord } from "./container-record.ts";
import type { Core } from "./core.ts";
import { notRunning, type LiveContainer } from "./live-container.ts";

const lookMs = 100;
/** Between the death of the container's process and the record of it. */
const recordPatienceMs = 3000;

function identityOf({ state }: ContainerRecord): Parameters<typeof isAlive>[0] {
  return { pid: state.pid, startTime: Number(state.startTime), bootId: state.bootId };
}

/**
 * Takes up a container whose monitor this engine cannot talk to: another release's, with another protocol. What needs no words still
 * works: it is listed, its log is read, the kernel takes signals for its process, and its end is seen and read from its exit record.
 */
export function adoptForeignRun(core: Core, container: LiveContainer, refusal: EngineError): void {
  const { record } = container;
  container.monitorRefusal = refusal;
  core.options.log("warning", `${record.id} goes on without exec, attach and resize: ${refusal.message}`);
  void watchForeignRun(core, container, refusal);
}

async function watchForeignRun(core: Core, container: LiveContainer, refusal: EngineError): Promise<void> {
  const { record } = container;
  const identity = identityOf(record);
  while (isAlive(identity)) await Bun.sleep(lookMs);
  const exit = await endOf(core, record);
  if (container.monitorRefusal !== refusal) return;
  container.monitorRefusal = undefined;
  recordExit(core, container, exit ?? lostMonitor());
}

async function endOf(core: Core, record: ContainerRecord): Promise<StoredExitRecord | undefined> {
  const deadline = Date.now() + recordPatienceMs;
  for (;;) {
    const isListening = existsSync(core.paths.monitorSocket(record.id));
    // Read after the question: a monitor writes its record before it unlinks its socket.
    const exit = readExitRecord(core.paths.exitRecord(record.id));
    if (exit || !isListening || Date.now() > deadline) return exit;
    await Bun.sleep(20);
  }
}

/** False when the process is gone. */
export function signalForeignRun({ record }: LiveContainer, signal: number): boolean {
  return signalProcess(identityOf(record), signal);
}

/** The monitor of a running container. Throws conflict when it does not run, unsupported when the monitor is another release's. */
export function monitorOf(container: LiveContainer): MonitorConnection {
  if (container.monitor) return container.monitor;
  throw container.monitorRefusal ?? notRunning(container);
}
