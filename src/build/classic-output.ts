import { EngineError, shortId } from "../common/index.ts";
import type { ProgressMessage } from "../spec/index.ts";
import type { OperationId } from "./operation.ts";
import type { BuildEvent, VertexLog } from "./progress.ts";
import type { StepEvent } from "./step-events.ts";

/** What waits for the stages before its own. */
export const maxKeptBytes = 64 * 1024 * 1024;

/** What the request says of containers that steps leave behind. */
export interface ClassicOptions {
  readonly removeIntermediate: boolean;
  readonly forceRemove: boolean;
}

/**
 * Renders a build's events as Docker's classic builder prints them (the wording of Docker Engine 20.10 and 23): step after step in
 * the Dockerfile's order. What a later stage does meanwhile is kept until those before it have ended.
 */
export class ClassicOutput {
  #order: number[] = [];
  readonly #kept = new Map<number, StepEvent[]>();
  readonly #logs = new Map<OperationId, VertexLog[]>();
  readonly #containers = new Map<OperationId, string>();
  readonly #shown = new Set<OperationId>();
  #current: OperationId | undefined;
  #keptBytes = 0;
  // One decoder a stream: a character may be split between two pieces.
  readonly #decoders = { 1: new TextDecoder(), 2: new TextDecoder() };

  constructor(readonly options: ClassicOptions) {}

  *render(event: BuildEvent): Generator<ProgressMessage> {
    switch (event.type) {
      case "line":
        return yield { stream: event.text };
      case "stages":
        this.#order = [...event.stages];
        return;
      case "container":
        this.#containers.set(event.vertex, event.containerId);
        if (this.#current === event.vertex) yield* this.#running(event.vertex);
        return;
      case "status":
        for (const log of event.status.logs) yield* this.#log(log);
        return;
      case "step": {
        const kept = this.#kept.get(event.stage) ?? [];
        kept.push(event.event);
        this.#kept.set(event.stage, kept);
        yield* this.#flush();
      }
    }
  }

  /** The rest of a build that failed: what the step that failed printed, wherever it stands. */
  *finish(): Generator<ProgressMessage> {
    yield* this.#flush();
    if (this.#current !== undefined) yield* this.#removed(this.#current, { failed: true });
    this.#current = undefined;
    while (this.#order.length > 1) {
      this.#order.shift();
      yield* this.#flush();
      if (this.#current !== undefined) yield* this.#removed(this.#current, { failed: true });
      this.#current = undefined;
    }
  }

  *#flush(): Generator<ProgressMessage> {
    for (;;) {
      const [stage] = this.#order;
      const event = stage === undefined ? undefined : this.#kept.get(stage)?.shift();
      if (!event) return;
      if (event.type === "stage") this.#order.shift();
      yield* this.#event(event);
    }
  }

  *#event(event: StepEvent): Generator<ProgressMessage> {
    switch (event.type) {
      case "step":
        return yield { stream: `Step ${event.number}/${event.total} : ${event.title}\n` };
      case "note":
        return yield { stream: event.text };
      case "cached":
        return yield { stream: " ---> Using cache\n" };
      case "container":
        return yield { stream: ` ---> Running in ${shortId(event.id)}\n` };
      case "containerRemoved":
        return yield* this.#removedLine(event.id, { failed: false });
      case "operation":
        this.#current = event.vertex;
        if (this.#containers.has(event.vertex)) yield* this.#running(event.vertex);
        return;
      case "operationDone":
        yield* this.#removed(event.vertex, { failed: false });
        this.#current = undefined;
        return;
      case "image":
        return yield { stream: ` ---> ${shortId(event.id)}\n` };
      case "stage":
        if (event.imageId !== "") yield { aux: { ID: event.imageId } };
    }
  }

  *#running(vertex: OperationId): Generator<ProgressMessage> {
    if (this.#shown.has(vertex)) return;
    this.#shown.add(vertex);
    yield { stream: ` ---> Running in ${shortId(this.#containers.get(vertex) ?? "")}\n` };
    for (const log of this.#logs.get(vertex) ?? []) {
      this.#keptBytes -= log.msg.length;
      yield* this.#text(log);
    }
    this.#logs.delete(vertex);
  }

  *#removed(vertex: OperationId, { failed }: { failed: boolean }): Generator<ProgressMessage> {
    const id = this.#containers.get(vertex);
    if (id === undefined) return;
    this.#containers.delete(vertex);
    yield* this.#removedLine(id, { failed });
  }

  *#removedLine(id: string, { failed }: { failed: boolean }): Generator<ProgressMessage> {
    const { removeIntermediate, forceRemove } = this.options;
    if (forceRemove || (removeIntermediate && !failed)) {
      yield { stream: `Removing intermediate container ${shortId(id)}\n` };
    }
  }

  *#log(log: VertexLog): Generator<ProgressMessage> {
    if (this.#current === log.vertex) return yield* this.#text(log);
    this.#keptBytes += log.msg.length;
    if (this.#keptBytes > maxKeptBytes) {
      const message = `More than ${maxKeptBytes} bytes of output wait for an earlier stage of the Dockerfile to end`;
      throw new EngineError("resourceExhausted", message);
    }
    const kept = this.#logs.get(log.vertex) ?? [];
    kept.push(log);
    this.#logs.set(log.vertex, kept);
  }

  *#text({ stream, msg }: VertexLog): Generator<ProgressMessage> {
    const text = this.#decoders[stream].decode(msg, { stream: true });
    if (text !== "") yield { stream: stream === 1 ? text : `\u001b[91m${text}\u001b[0m` };
  }
}
