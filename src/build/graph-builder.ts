import { createHash } from "node:crypto";
import type { GraphNode, Operation, OperationId } from "./operation.ts";

/** Collects operations; the same operation twice is one node. */
export class GraphBuilder {
  readonly nodes = new Map<OperationId, GraphNode>();

  /** `byName`: with another name it is another node, for people who are to see both. */
  constructor(readonly options: { readonly byName: boolean } = { byName: false }) {}

  /** The node's id: sha256 of what the operation says, inputs by their ids. */
  add(operation: Operation, about: Omit<GraphNode, "id" | "operation">): OperationId {
    // What may not have taken from the cache gets an id of its own, so that it is not taken for a step that may.
    const marks = [...(about.ignoreCache ? ["ignore cache"] : []), ...(this.options.byName ? [about.name] : [])];
    const said = JSON.stringify([operation, ...marks]);
    const id = `sha256:${createHash("sha256").update(said).digest("hex")}`;
    if (!this.nodes.has(id)) this.nodes.set(id, { id, operation, ...about });
    return id;
  }
}

/** The graph for people and tests: a line an operation, in an order in which they could be done. */
export function graphText(nodes: ReadonlyMap<OperationId, GraphNode>): string {
  const numbers = new Map([...nodes.keys()].map((id, index) => [id, index]));
  const input = (id: OperationId | undefined): string => (id === undefined ? "scratch" : `#${numbers.get(id)}`);
  const lines = [...nodes.values()].map(({ id, operation, name, ignoreCache }) => {
    const { kind, inputs, ...rest } = operation;
    const from = inputs.length > 0 ? ` (${inputs.map(input).join(", ")})` : "";
    return `${input(id)} ${kind}${from} ${name}${ignoreCache ? " [no cache]" : ""}\n    ${JSON.stringify(rest)}`;
  });
  return lines.join("\n");
}
