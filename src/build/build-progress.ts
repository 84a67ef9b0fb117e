import { toEngineError } from "../common/index.ts";
import { buildkitSentence } from "./step-failure.ts";
import type { EventQueue } from "./event-queue.ts";
import type { GraphNode, OperationId } from "./operation.ts";
import type { BuildEvent, BuildStatus, Vertex } from "./progress.ts";
import type { StepEvent } from "./step-events.ts";

const nothing: BuildStatus = { vertexes: [], statuses: [], logs: [], warnings: [] };

/** Tells a build's reader what its operations do. */
export class BuildProgress {
  constructor(readonly queue: EventQueue) {}

  /** Says that an operation begins; the returned function that it ended. */
  begin({ id, operation, name }: GraphNode): (end: { cached: boolean; error?: unknown }) => void {
    const startedMs = Date.now();
    const inputs = operation.inputs.flatMap((input: OperationId | undefined) => input ?? []);
    const vertex: Vertex = { digest: id, inputs, name, cached: false, startedMs };
    this.#vertex(vertex);
    return ({ cached, error }) => {
      const completed = { ...vertex, cached, completedMs: Date.now() };
      this.#vertex(error === undefined ? completed : { ...completed, error: buildkitSentence(toEngineError(error)) });
    };
  }

  /** A promise where the writer should wait. */
  log(vertex: OperationId, stream: 1 | 2, data: Uint8Array): void | Promise<void> {
    const msg = Uint8Array.from(data);
    const log = { vertex, timestampMs: Date.now(), stream, msg };
    return this.queue.push({ type: "status", status: { ...nothing, logs: [log] } }, msg.length);
  }

  warn(vertex: OperationId, short: string): void {
    const warning = { vertex, level: 1, short, detail: [], url: "", file: "", range: [] };
    void this.queue.push({ type: "status", status: { ...nothing, warnings: [warning] } });
  }

  /** The container in which an operation runs. */
  container(vertex: OperationId, containerId: string): void {
    void this.queue.push({ type: "container", vertex, containerId });
  }

  /** For whoever renders steps in the Dockerfile's order. */
  step(stage: number, event: StepEvent): void {
    void this.queue.push({ type: "step", stage, event });
  }

  tell(event: BuildEvent): void {
    void this.queue.push(event);
  }

  #vertex(vertex: Vertex): void {
    void this.queue.push({ type: "status", status: { ...nothing, vertexes: [vertex] } });
  }
}
