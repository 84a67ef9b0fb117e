import { EngineError } from "../common/index.ts";

/** A unit of work whose result depends on the results of others. */
export interface Vertex {
  readonly id: string;
  /** Ids of the vertices whose results it takes, in order. */
  readonly inputs: readonly string[];
}

/** Works one vertex out of the results of its inputs, telling what it does. */
export type Worker<Node extends Vertex, Result, Event> = (
  vertex: Node,
  inputs: readonly Result[],
) => AsyncGenerator<Event, Result>;

/**
 * Works a graph out with one worker: of the vertices whose inputs are there, the one that stands first is next. Gives every
 * event as it comes and returns all results by vertex id. The first failure ends it.
 */
export async function* solve<Node extends Vertex, Result, Event>(
  graph: readonly Node[],
  worker: Worker<Node, Result, Event>,
): AsyncGenerator<Event, ReadonlyMap<string, Result>> {
  const results = new Map<string, Result>();
  const waiting = [...graph];
  while (waiting.length > 0) {
    const at = waiting.findIndex((vertex) => vertex.inputs.every((input) => results.has(input)));
    const [vertex] = at < 0 ? [] : waiting.splice(at, 1);
    if (!vertex) throw new EngineError("internal", `The build graph has a cycle at "${waiting[0]?.id ?? ""}"`);
    const inputs = vertex.inputs.map((input) => results.get(input) as Result);
    results.set(vertex.id, yield* worker(vertex, inputs));
  }
  return results;
}
