import { EngineError } from "../../common/index.ts";
import { controlMethods as methods, historyEvents, type HistoryRecord, type SolveRequest } from "./control-messages.ts";
import { serverStreaming, unary, type GrpcMethods } from "./grpc-server.ts";
import { statusMessage, statusOf } from "./grpc-status.ts";
import { timestampOf } from "./status-records.ts";

/** The oldest that are neither pinned nor under way go first. */
const maxRecords = 100;

interface HistoryEvent {
  readonly type: number;
  readonly record: HistoryRecord;
}

/** The builds of this run of the engine: what was asked, when, and how it ended. */
export class BuildHistory {
  readonly #records = new Map<string, HistoryRecord>();
  readonly #listeners = new Set<(event: HistoryEvent) => void>();

  /** Notes a build; call what it returns once with how it ended. */
  begin(request: SolveRequest): (outcome: { response: ReadonlyMap<string, string> } | { error: unknown }) => void {
    // Clients mark the calls by which they only ask what is there.
    if (request.internal) return () => {};
    const record = emptyRecord(request);
    this.#records.set(record.ref, record);
    this.#tell({ type: historyEvents.started, record });
    return (outcome) => {
      record.completedAt = timestampOf(Date.now());
      if ("error" in outcome) record.error = statusMessage.of(statusOf(outcome.error));
      else record.exporterResponse = outcome.response;
      this.#tell({ type: historyEvents.complete, record });
      this.#dropOldest();
    };
  }

  get methods(): GrpcMethods {
    return {
      [methods.listenBuildHistory.path]: serverStreaming(methods.listenBuildHistory, (request, call) => {
        if (request.filter.length > 0) {
          throw new EngineError("unsupported", `the history filter "${request.filter.join('", "')}" is not built`);
        }
        return this.#listen(request, call.signal);
      }),
      [methods.updateBuildHistory.path]: unary(
        methods.updateBuildHistory,
        ({ ref, pinned, delete: remove, finalize }) => {
          const record = this.#records.get(ref);
          if (!record) throw new EngineError("notFound", `no build "${ref}" in the history`);
          if (finalize) return {};
          if (remove && !record.completedAt) throw new EngineError("conflict", `build "${ref}" is under way`);
          if (remove) {
            this.#records.delete(ref);
            this.#tell({ type: historyEvents.deleted, record });
          } else record.pinned = pinned;
          return {};
        },
      ),
    };
  }

  async *#listen(
    request: { ref: string; activeOnly: boolean; earlyExit: boolean; limit: number },
    signal: AbortSignal,
  ): AsyncGenerator<HistoryEvent> {
    const queue: HistoryEvent[] = [];
    let wake = Promise.withResolvers<void>();
    const take = (event: HistoryEvent): void => {
      queue.push(event);
      wake.resolve();
    };
    const wanted = ({ record }: HistoryEvent): boolean =>
      (request.ref === "" || record.ref === request.ref) && !(request.activeOnly && record.completedAt);
    this.#listeners.add(take);
    const end = (): void => wake.resolve();
    signal.addEventListener("abort", end, { once: true });
    try {
      const known = [...this.#records.values()].map((record) => ({
        type: record.completedAt ? historyEvents.complete : historyEvents.started,
        record,
      }));
      const limit = request.limit > 0 ? request.limit : known.length;
      yield* known.filter(wanted).slice(-limit);
      while (!request.earlyExit && !signal.aborted) {
        for (const event of queue.splice(0)) if (wanted(event)) yield event;
        if (queue.length > 0 || signal.aborted) continue;
        await wake.promise;
        wake = Promise.withResolvers();
      }
    } finally {
      this.#listeners.delete(take);
      signal.removeEventListener("abort", end);
    }
  }

  #tell(event: HistoryEvent): void {
    for (const listener of this.#listeners) listener(event);
  }

  #dropOldest(): void {
    for (const record of this.#records.values()) {
      if (this.#records.size <= maxRecords) return;
      if (record.completedAt && !record.pinned) this.#records.delete(record.ref);
    }
  }
}

function emptyRecord(request: SolveRequest): HistoryRecord {
  return {
    ref: request.ref,
    frontend: request.frontend,
    frontendAttrs: request.frontendAttrs,
    exporters: request.exporters,
    error: undefined,
    createdAt: timestampOf(Date.now()),
    completedAt: undefined,
    exporterResponse: new Map(),
    generation: 0,
    pinned: false,
    numCachedSteps: 0,
    numTotalSteps: 0,
    numCompletedSteps: 0,
    numWarnings: 0,
  };
}
