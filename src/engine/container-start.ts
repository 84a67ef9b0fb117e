import { EngineError, toEngineError } from "../common/index.ts";
import { bootId } from "../kernel/index.ts";
import { giveBack, watchExit } from "./container-exit.ts";
import { publishContainerEvent, type Core } from "./core.ts";
import { launch, traceOf, type Launch } from "./launch.ts";
import type { LiveContainer } from "./live-container.ts";

/** Starts a created or exited container. The caller holds its turn. Whatever fails, nothing is left but the record. */
export async function startContainer(
  core: Core,
  container: LiveContainer,
  options: { consoleSize?: readonly [number, number] } = {},
): Promise<void> {
  const { record } = container;
  requireStartable(core, container);
  await container.teardown;
  clearTimeout(container.restartTimer);
  record.state.restarting = false;
  record.state.stoppedByUser = false;
  try {
    await runContainer(core, container, options);
  } catch (thrown) {
    const error = toEngineError(thrown);
    record.state.phase = record.state.startedAt.startsWith("0001") ? "created" : "exited";
    record.state.error = error.message;
    if (typeof error.data.exitCode === "number") record.state.exitCode = error.data.exitCode;
    core.store.save(record);
    container.announceStartFailure({ exitCode: record.state.exitCode, error: error.message });
    throw error;
  }
}

/** What was true before the turn was waited for need not be true now: nothing may run twice, or after its removal. */
function requireStartable(core: Core, container: LiveContainer): void {
  const { id, state } = container.record;
  if (!core.containers.has(container)) throw new EngineError("notFound", `No such container: ${id}`);
  if (state.phase === "created" || state.phase === "exited") return;
  throw new EngineError("conflict", `Container ${id} is ${state.phase} and cannot be started`);
}

async function runContainer(
  core: Core,
  container: LiveContainer,
  options: { consoleSize?: readonly [number, number] },
): Promise<void> {
  const { record } = container;
  const launched = await launch(core, record, options);
  try {
    await commitStart(core, container, { ...launched, consoleSize: options.consoleSize });
  } catch (error) {
    await launched.start.abort();
    record.network = undefined;
    await giveBack(core, record);
    throw error;
  }
}

/** From here on the container proceeds even when the daemon is lost: the record says so before the monitor is told. */
async function commitStart(
  core: Core,
  container: LiveContainer,
  { start, plan, consoleSize }: Launch & { readonly consoleSize: readonly [number, number] | undefined },
): Promise<void> {
  const { record } = container;
  try {
    for (const attach of container.pendingAttachments) await attach(core.paths.monitorSocket(record.id));
    container.pendingAttachments.clear();
    if (record.config.Tty && consoleSize)
      await start.connection.resize({ rows: consoleSize[0], columns: consoleSize[1] });
    record.state.phase = "starting";
    record.state.pid = start.ready.pid;
    record.state.startTime = String(start.ready.startTime);
    record.state.bootId = bootId();
    core.store.save(record);
    await start.go();
  } finally {
    container.trace = traceOf(plan, start);
  }
  Object.assign(record.state, {
    phase: "running",
    paused: false,
    oomKilled: false,
    exitCode: 0,
    error: "",
    startedAt: new Date().toISOString(),
  });
  core.store.save(record);
  container.monitor = start.connection;
  watchExit(core, container, start.connection);
  publishContainerEvent(core, record, { action: "start" });
}
