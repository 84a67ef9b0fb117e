import type { HealthConfig, HealthcheckResult, HealthState } from "../spec/index.ts";
import { isRunning, type ContainerRecord } from "./container-record.ts";
import { publishContainerEvent, type Core } from "./core.ts";
import type { Execs } from "./exec-service.ts";
import { probeCommand, runProbe, timerMs } from "./health-probe.ts";

const second = 1e9;
const defaultInterval = 30 * second;
const defaultTimeout = 30 * second;
const defaultStartInterval = 5 * second;
const defaultRetries = 3;
const keptResults = 5;

/**
 * Probes the containers that have a health check, from their start to their end. It follows their events, so that whatever starts,
 * freezes or ends a container need not know of health. Rules and defaults are moby's (daemon/health.go).
 */
export class HealthChecks implements Disposable {
  readonly #probing = new Map<string, AbortController>();
  readonly #unsubscribe: () => void;

  constructor(
    private readonly core: Core,
    private readonly execs: Execs,
  ) {
    this.#unsubscribe = core.events.subscribe(({ Type, Action, Actor }) => {
      if (Type === "container") this.#follow(Actor.ID, Action);
    });
  }

  /** Goes on with containers that an earlier daemon started: what it found out still holds. */
  resume(): void {
    for (const record of this.core.store.all()) if (isRunning(record) && !record.state.paused) this.#begin(record);
  }

  [Symbol.dispose](): void {
    this.#unsubscribe();
    for (const probing of this.#probing.values()) probing.abort();
    this.#probing.clear();
  }

  #follow(id: string, action: string): void {
    const record = this.core.store.all().find((one) => one.id === id);
    if (!record || !probeCommand(record.config)) return;
    switch (action) {
      case "start":
        record.state.health = { Status: "starting", FailingStreak: 0, Log: record.state.health?.Log ?? [] };
        this.core.store.save(record);
        return this.#begin(record);
      case "unpause":
        return this.#begin(record);
      case "die":
      case "pause":
        return this.#end(record);
      default:
    }
  }

  #begin(record: ContainerRecord): void {
    const command = probeCommand(record.config);
    if (!command) return;
    record.state.health ??= { Status: "starting", FailingStreak: 0, Log: [] };
    this.#probing.get(record.id)?.abort();
    const probing = new AbortController();
    this.#probing.set(record.id, probing);
    void this.#probe(record, { command, signal: probing.signal });
  }

  /** As in Docker: what nobody looks after is not healthy. */
  #end(record: ContainerRecord): void {
    this.#probing.get(record.id)?.abort();
    this.#probing.delete(record.id);
    if (!record.state.health) return;
    record.state.health.Status = "unhealthy";
    this.core.store.save(record);
  }

  async #probe(
    record: ContainerRecord,
    { command, signal }: { command: readonly string[]; signal: AbortSignal },
  ): Promise<void> {
    const config = record.config.Healthcheck ?? {};
    for (;;) {
      await pause(intervalOf(record, config), signal);
      if (signal.aborted) return;
      const timeoutNs = config.Timeout || defaultTimeout;
      const result = await runProbe(this.execs, { containerId: record.id, command, timeoutNs, signal });
      if (signal.aborted) return;
      this.#take(record, result);
    }
  }

  #take(record: ContainerRecord, result: HealthcheckResult): void {
    const before = record.state.health;
    if (!before) return;
    const after = nextHealth(before, result, {
      config: record.config.Healthcheck ?? {},
      startedAt: record.state.startedAt,
    });
    record.state.health = after;
    this.core.store.save(record);
    if (after.Status !== before.Status)
      publishContainerEvent(this.core, record, { action: `health_status: ${after.Status}` });
  }
}

/** What a result makes of a container's health. Failures in the start period count only once a probe has succeeded. */
export function nextHealth(
  health: HealthState,
  result: HealthcheckResult,
  { config, startedAt }: { config: HealthConfig; startedAt: string },
): HealthState {
  const Log = [...health.Log, result].slice(-keptResults);
  if (result.ExitCode === 0) return { Status: "healthy", FailingStreak: 0, Log };
  const ranMs = Date.parse(result.Start) - Date.parse(startedAt);
  if (health.Status === "starting" && ranMs < (config.StartPeriod ?? 0) / 1e6) return { ...health, Log };
  const FailingStreak = health.FailingStreak + 1;
  const isUnhealthy = FailingStreak >= (config.Retries || defaultRetries);
  return { Status: isUnhealthy ? "unhealthy" : health.Status, FailingStreak, Log };
}

/** Nanoseconds to the next probe: shorter ones while the container starts, if it has a start period. */
function intervalOf({ state }: ContainerRecord, config: HealthConfig): number {
  const ranMs = Date.now() - Date.parse(state.startedAt);
  const isStarting = state.health?.Status === "starting" && ranMs < (config.StartPeriod ?? 0) / 1e6;
  return isStarting ? config.StartInterval || defaultStartInterval : config.Interval || defaultInterval;
}

function pause(durationNs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(done, timerMs(durationNs));
    signal.addEventListener("abort", done, { once: true });
    function done(): void {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    }
  });
}
