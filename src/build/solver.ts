import { EngineError } from "../common/index.ts";
import type { GraphNode, OperationId } from "./operation.ts";
import { stepFailure } from "./step-failure.ts";

/**
 * Works out operations of a graph, each once, as soon as it is asked for: whoever needs the results of others asks for them. The
 * first failure aborts `signal`, so that what is under way ends; `settle` waits for that and throws the failure.
 *
 *     const solver = new Solver(nodes, (node) => work(node), { signal });
 *     const result = await solver.solve(id);
 *     await solver.settle();
 */
export class Solver<Result> {
  readonly #abort = new AbortController();
  readonly #works = new Map<OperationId, Promise<Result>>();
  #failure: { error: unknown } | undefined;

  constructor(
    readonly nodes: ReadonlyMap<OperationId, GraphNode>,
    readonly work: (node: GraphNode) => Promise<Result>,
    options: { signal?: AbortSignal | undefined },
  ) {
    const { signal } = options;
    if (signal?.aborted) this.#abort.abort();
    signal?.addEventListener("abort", () => this.#abort.abort(), { once: true });
  }

  /** Aborted at the first failure, or by whoever gave a signal. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  node(id: OperationId): GraphNode {
    const node = this.nodes.get(id);
    if (!node) throw new EngineError("internal", `The build graph has no operation "${id}"`);
    return node;
  }

  solve(id: OperationId): Promise<Result> {
    const known = this.#works.get(id);
    if (known) return known;
    const work = this.#begin(this.node(id));
    this.#works.set(id, work);
    // Whoever asked hears of it; that nobody listens at this moment is no fault of the process.
    work.catch(() => undefined);
    return work;
  }

  async #begin(node: GraphNode): Promise<Result> {
    try {
      return await this.work(node);
    } catch (thrown) {
      const error = stepFailure(thrown, node);
      this.fail(error);
      throw error;
    }
  }

  /** Ends everything that is under way; the first error is the one that `settle` throws. */
  fail(error: unknown): void {
    this.#failure ??= { error };
    this.#abort.abort();
  }

  /** Resolves when nothing is under way any more. Throws the first failure. */
  async settle(): Promise<void> {
    for (let count = -1; count !== this.#works.size;) {
      count = this.#works.size;
      await Promise.allSettled(this.#works.values());
    }
    if (this.#failure) throw this.#failure.error;
  }
}
