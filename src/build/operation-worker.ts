import { createHash } from "node:crypto";
import { EngineError } from "../common/index.ts";
import type { CacheRecord } from "./build-cache.ts";
import { cancelled } from "./cancelled.ts";
import { execKey, runExec } from "./exec-worker.ts";
import { fileKey, runFile, type FileKey } from "./file-worker.ts";
import type { ExecOperation, FileOperation, GraphNode, MergeOperation, OperationId } from "./operation.ts";
import type { Component, Solved, WorkContext, Made } from "./work-context.ts";

/** Carries out operations, or finds what they made before; the solver's worker. */
export class OperationWorker {
  constructor(readonly context: WorkContext) {}

  async work(node: GraphNode): Promise<Solved> {
    const { operation } = node;
    if (this.context.signal.aborted) throw cancelled();
    if (operation.kind === "image") {
      const top = operation.layers.at(-1);
      this.context.hold.add(top);
      return { ...nothing, top, cached: true };
    }
    const end = this.context.progress.begin(node);
    try {
      const solved = await this.#layers(node);
      end({ cached: solved.cached });
      return solved;
    } catch (error) {
      const told = this.context.signal.aborted && !isOwnFailure(error) ? cancelled() : error;
      end({ cached: false, error: told });
      throw told;
    }
  }

  async #layers(node: GraphNode): Promise<Solved> {
    const { operation } = node;
    switch (operation.kind) {
      case "file":
        return this.#file(node, operation);
      case "exec":
        return this.#exec(node, operation);
      case "merge":
        return this.#merge(operation);
      default:
        // A folder is opened by whoever takes files from it, and told of here.
        await (await this.context.trees.remote(node)).open();
        return nothing;
    }
  }

  async #file(node: GraphNode, operation: FileOperation): Promise<Solved> {
    const base = await this.#top(operation.inputs[0]);
    const { components, details, copies, digests } = await fileKey(this.context, operation, base);
    return this.#keyed(node, { components, details, digests }, () =>
      runFile(this.context, { operation, base, copies }),
    );
  }

  async #exec(node: GraphNode, operation: ExecOperation): Promise<Solved> {
    const base = await this.#top(operation.inputs[0]);
    const components = await execKey(this.context, operation, base);
    return this.#keyed(node, { components, details: [], digests: [] }, () =>
      runExec(this.context, { node, operation, base }),
    );
  }

  async #merge(operation: MergeOperation): Promise<Solved> {
    const { snapshots, solver, hold, layers } = this.context;
    const [first, ...rest] = await Promise.all(operation.inputs.map((input) => solver.solve(input)));
    let top = first?.top;
    await layers.need(top);
    for (const layered of rest) {
      if (layered.top === undefined) continue;
      await layers.need(layered.top);
      for (const layer of snapshots.chain(layered.top).toReversed()) {
        // The chain that is there already is taken as it is, without its archive.
        const applied = await snapshots.apply(top, snapshots.packLayer(layer.chainId), { diffId: layer.diffId });
        hold.add(applied.chainId);
        top = applied.chainId;
      }
    }
    const sourceDigests = rest.flatMap((solved) => solved.sourceDigests);
    const cached = rest.every((solved) => solved.cached);
    const [{ createdMs } = nothing] = rest;
    const components: Component[] = rest.flatMap((solved) => solved.components);
    return { top, cached, createdMs, containerId: "", sourceDigests, components };
  }

  async #top(input: OperationId | undefined): Promise<string | undefined> {
    return input === undefined ? undefined : (await this.context.solver.solve(input)).top;
  }

  async #keyed(
    node: GraphNode,
    { components, details, digests }: Pick<FileKey, "components" | "details" | "digests">,
    make: () => Promise<Made>,
  ): Promise<Solved> {
    const { inFlight, signal } = this.context;
    const epoch = this.context.epoch ?? null;
    const key = createHash("sha256")
      .update(JSON.stringify([node.operation.kind, components, epoch]))
      .digest("hex");
    const solved = (record: CacheRecord, cached: boolean): Solved => {
      const top = record.top === "" ? undefined : record.top;
      this.context.hold.add(top);
      this.context.used.set(key, record);
      const { createdMs, containerId } = record;
      return { top, cached, createdMs, containerId, sourceDigests: digests, components: [...components, ...details] };
    };
    if (node.ignoreCache) return solved(await this.#make(node, key, make), false);
    for (;;) {
      const known = this.#find(key, node) ?? this.#findInHistory(key, node, digests);
      if (known) return solved(known, true);
      const running = inFlight.get(key);
      if (!running) break;
      try {
        return solved(await untilAborted(running, signal), true);
      } catch (error) {
        // The other build was cancelled: its work is taken over.
        if (signal.aborted || !(error instanceof EngineError) || error.code !== "cancelled") throw error;
      }
    }
    const work = this.#make(node, key, make);
    work.catch(() => undefined);
    inFlight.set(key, work);
    try {
      return solved(await work, false);
    } finally {
      inFlight.delete(key);
    }
  }

  #find(key: string, { operation, name }: GraphNode): CacheRecord | undefined {
    const { cache, snapshots, layers } = this.context;
    const record = cache.find(key);
    if (!record || (record.top !== "" && !snapshots.layer(record.top))) {
      return layers.find(key, { kind: operation.kind, description: name });
    }
    cache.use(key);
    return record;
  }

  /** What an image of `--cache-from` has; from then on it is in the cache by its key. */
  #findInHistory(key: string, { id, operation, name }: GraphNode, digests: readonly string[]): CacheRecord | undefined {
    const match = this.context.histories.find(id, digests);
    if (!match) return undefined;
    const { top = "", entry } = match;
    const createdMs = Date.parse(entry.created ?? "") || Date.now();
    const about = { kind: operation.kind, description: name, sizeBytes: 0, containerId: "" };
    const record: CacheRecord = { key, ...about, top, createdMs, usedMs: Date.now(), uses: 1 };
    this.context.cache.put(record);
    return record;
  }

  async #make(node: GraphNode, key: string, make: () => Promise<Made>): Promise<CacheRecord> {
    const { cache, hold, layers, signal, slots, snapshots } = this.context;
    using _slot = await slots.take(signal);
    const base = node.operation.inputs[0];
    const below = await this.#top(base);
    await layers.need(below);
    const { top, containerId } = await make();
    hold.add(top);
    const sizeBytes = top === undefined || top === below ? 0 : (snapshots.layer(top)?.sizeBytes ?? 0);
    const now = Date.now();
    const { operation, name: description } = node;
    const record = { key, kind: operation.kind, description, top: top ?? "", sizeBytes, containerId };
    const complete = { ...record, createdMs: now, usedMs: now, uses: 1 };
    cache.put(complete);
    return complete;
  }
}

const nothing: Solved = {
  top: undefined,
  cached: false,
  createdMs: 0,
  containerId: "",
  sourceDigests: [],
  components: [],
};

function isOwnFailure(error: unknown): boolean {
  return error instanceof EngineError && error.code !== "cancelled";
}

function untilAborted<Result>(work: Promise<Result>, signal: AbortSignal): Promise<Result> {
  return new Promise((resolve, reject) => {
    const leave = (): void => reject(cancelled());
    if (signal.aborted) return leave();
    signal.addEventListener("abort", leave, { once: true });
    void work.then(resolve, reject).finally(() => signal.removeEventListener("abort", leave));
  });
}
