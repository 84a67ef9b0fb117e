import { rmSync } from "node:fs";
import { toEngineError } from "../common/index.ts";
import type { MonitorConnection } from "../runtime/index.ts";
import type { ContainerRecord } from "./container-record.ts";
import { removeContainer } from "./container-removal.ts";
import { startContainer } from "./container-start.ts";
import { cgroupPathOf, publishContainerEvent, type Core } from "./core.ts";
import type { LiveContainer } from "./live-container.ts";
import { unmountRun } from "./mounted-snapshot.ts";

/** What is known of an end: from the monitor's word, its exit record, or by inference after a reboot. */
export interface ExitFacts {
  readonly exitCode: number;
  readonly oomKilled: boolean;
  /** RFC 3339 */
  readonly finishedAt: string;
  /** The monitor was killed: nobody undoes its mounts. */
  readonly monitorIsGone?: boolean;
}

const firstRestartDelayMs = 100;
const maxRestartDelayMs = 60_000;
/** A run of this length counts as well: the back-off begins again. */
const stableRunMs = 10_000;

/** Told by the monitor once; a connection that ends without a word means that the monitor was killed, and init with it. */
export function watchExit(core: Core, container: LiveContainer, monitor: MonitorConnection): void {
  void monitor.exited.then((exit) => {
    if (container.monitor !== monitor) return;
    recordExit(core, container, exit ?? lostMonitor());
  });
}

/** Whatever the container did before, it died by the monitor's death. */
export function lostMonitor(): ExitFacts {
  return { exitCode: 137, oomKilled: false, finishedAt: new Date().toISOString(), monitorIsGone: true };
}

/** Writes the end down, tells whoever waits, gives back what the run held, and restarts or removes as asked. */
export function recordExit(core: Core, container: LiveContainer, facts: ExitFacts): void {
  const { record } = container;
  const { state } = record;
  container.monitor?.close();
  container.monitor = undefined;
  const ranMs = Date.parse(facts.finishedAt) - Date.parse(state.startedAt);
  const restarting = shouldRestart(record, facts);
  Object.assign(state, {
    phase: "exited",
    paused: false,
    restarting,
    oomKilled: facts.oomKilled,
    exitCode: facts.exitCode,
    finishedAt: facts.finishedAt,
    pid: 0,
  });
  record.network = undefined;
  core.store.save(record);
  if (facts.oomKilled) publishContainerEvent(core, record, { action: "oom" });
  publishContainerEvent(core, record, {
    action: "die",
    attributes: { exitCode: String(facts.exitCode), execDuration: String(Math.max(0, Math.floor(ranMs / 1000))) },
  });
  container.teardown = giveBack(core, record, { monitorIsGone: facts.monitorIsGone ?? false });
  container.announceExit({ exitCode: facts.exitCode }, { restarting });
  if (restarting) scheduleRestart(core, container, ranMs);
  else if (record.host.AutoRemove) void autoRemove(core, container);
}

/** Network, mounts (unless they are undone), control group and run directory of a run that is over. Goes on over failures and logs them. */
export async function giveBack(
  core: Core,
  record: ContainerRecord,
  options: { monitorIsGone: boolean; isUnmounted?: boolean } = { monitorIsGone: false },
): Promise<void> {
  const attempts = await Promise.allSettled([
    core.networks.detach(record.id),
    removeGroup(core, record, options),
    options.isUnmounted ? undefined : unmountRun(core, record, options),
  ]);
  rmSync(core.paths.containerRun(record.id), { recursive: true, force: true });
  for (const attempt of attempts) {
    if (attempt.status === "rejected")
      core.options.log("warning", `Teardown of ${record.id}: ${toEngineError(attempt.reason).message}`);
  }
}

/**
 * Only a pid namespace of its own takes every process along when the first one ends: where there is none, the group is what they have in
 * common. And a first process that changed its user does not die with its monitor (PR_SET_PDEATHSIG): it is killed here.
 */
async function removeGroup(
  core: Core,
  record: ContainerRecord,
  { monitorIsGone }: { monitorIsGone: boolean },
): Promise<void> {
  const path = cgroupPathOf(core, record);
  if (record.host.PidMode || monitorIsGone) await core.cgroups.killAll(path);
  await core.cgroups.remove(path);
}

function shouldRestart(record: ContainerRecord, { exitCode }: ExitFacts): boolean {
  if (record.state.stoppedByUser || record.state.phase === "removing") return false;
  const policy = record.host.RestartPolicy;
  switch (policy?.Name) {
    case "always":
    case "unless-stopped":
      return true;
    case "on-failure": {
      const limit = policy.MaximumRetryCount ?? 0;
      return exitCode !== 0 && (limit === 0 || record.restartCount < limit);
    }
    default:
      return false;
  }
}

function scheduleRestart(core: Core, container: LiveContainer, ranMs: number): void {
  const grown = Math.min(container.restartDelayMs * 2, maxRestartDelayMs);
  container.restartDelayMs = ranMs >= stableRunMs || grown === 0 ? firstRestartDelayMs : grown;
  container.restartTimer = setTimeout(() => {
    void container.changes.run(async () => {
      const { record } = container;
      if (!record.state.restarting) return;
      record.restartCount++;
      try {
        await startContainer(core, container);
      } catch (error) {
        core.options.log("warning", `Cannot restart ${record.id}: ${toEngineError(error).message}`);
        container.announceExit({ exitCode: record.state.exitCode, error: record.state.error }, { restarting: false });
      }
    });
  }, container.restartDelayMs);
}

async function autoRemove(core: Core, container: LiveContainer): Promise<void> {
  try {
    await container.untilRead();
    await container.changes.run(() => removeContainer(core, container, { force: false, volumes: true }));
  } catch (error) {
    core.options.log("error", `Cannot remove ${container.record.id} after its end: ${toEngineError(error).message}`);
  }
}
