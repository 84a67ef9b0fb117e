import { EngineError } from "../../common/index.ts";
import {
  controlMethods as methods,
  historyEvents,
  type HistoryRecord,
  type SolveRequest,
  type StatusResponse,
  type WireVertex,
} from "./control-messages.ts";
import type { HistoryStore } from "./history-store.ts";
import { serverStreaming, unary, type GrpcMethods } from "./grpc-server.ts";
import { statusMessage, statusOf } from "./grpc-status.ts";
import { timestampOf } from "./status-records.ts";

/** The oldest that are neither pinned nor under way go first. */
const maxRecords = 100;

interface HistoryEvent {
  readonly type: number;
  readonly record: HistoryRecord;
}

/** A build that is being noted. */
export interface HistoryEntry {
  tell(status: StatusResponse): void;
  /** Once. */
  end(outcome: { response: ReadonlyMap<string, string> } | { error: unknown }): void;
}

/** Builds of this engine, those before its last start too: what was asked, when, what was told, and how it ended. */
export class BuildHistory {
  readonly #records = new Map<string, HistoryRecord>();
  readonly #listeners = new Set<(event: HistoryEvent) => void>();

  constructor(private readonly store: HistoryStore) {
    for (const record of store.load()) {
      if (!record.completedAt) {
        record.completedAt = record.createdAt;
        record.error = statusMessage.of({ code: 14, message: "The engine ended while it built" });
        store.save(record);
      }
      this.#records.set(record.ref, record);
    }
  }

  begin(request: SolveRequest): HistoryEntry {
    // Clients mark the calls by which they only ask what is there.
    if (request.internal) return { tell: () => {}, end: () => {} };
    const record = emptyRecord(request);
    this.store.remove(record.ref);
    this.#records.set(record.ref, record);
    this.store.save(record);
    this.#tell({ type: historyEvents.started, record });
    const log = this.store.log(record.ref);
    const steps = new Map<string, WireVertex>();
    return {
      tell: (status) => {
        for (const vertex of status.vertexes) steps.set(vertex.digest, vertex);
        record.numWarnings += status.warnings.length;
        log.add(status);
      },
      end: (outcome) => {
        log.end();
        record.completedAt = timestampOf(Date.now());
        record.numTotalSteps = steps.size;
        record.numCachedSteps = [...steps.values()].filter(({ cached }) => cached).length;
        record.numCompletedSteps = [...steps.values()].filter(({ completed, error }) => completed && !error).length;
        if ("error" in outcome) record.error = statusMessage.of(statusOf(outcome.error));
        else record.exporterResponse = outcome.response;
        this.store.save(record);
        this.#tell({ type: historyEvents.complete, record });
        this.#dropOldest();
      },
    };
  }

  /** What a build told that has ended; undefined for one that is under way or not known. */
  progress(ref: string): Iterable<StatusResponse> | undefined {
    return this.#records.get(ref)?.completedAt ? this.store.read(ref) : undefined;
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
            this.store.remove(ref);
            this.#tell({ type: historyEvents.deleted, record });
          } else {
            record.pinned = pinned;
            this.store.save(record);
          }
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
      if (!record.completedAt || record.pinned) continue;
      this.#records.delete(record.ref);
      this.store.remove(record.ref);
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
