import { expect, test } from "bun:test";
import { EngineError } from "../../../src/common/index.ts";
import { GraphBuilder } from "../../../src/build/graph-builder.ts";
import type { GraphNode, OperationId } from "../../../src/build/operation.ts";
import { Slots } from "../../../src/build/slots.ts";
import { Solver } from "../../../src/build/solver.ts";

/** A chain or a fan of operations that differ by name. */
function graph(): { builder: GraphBuilder; add: (name: string, ...inputs: OperationId[]) => OperationId } {
  const builder = new GraphBuilder();
  const add = (name: string, ...inputs: OperationId[]): OperationId =>
    builder.add(
      { kind: "file", inputs, actions: [{ type: "makeDirectory", path: name }] },
      { name, ignoreCache: false },
    );
  return { builder, add };
}

/** Works inputs out, then does `work`. */
function solverOf(
  builder: GraphBuilder,
  work: (node: GraphNode, signal: AbortSignal) => Promise<void>,
  signal?: AbortSignal,
): { solver: Solver<string>; done: string[] } {
  const done: string[] = [];
  const solver: Solver<string> = new Solver(
    builder.nodes,
    async (node) => {
      await Promise.all(node.operation.inputs.map((input) => (input === undefined ? "" : solver.solve(input))));
      await work(node, solver.signal);
      done.push(node.name);
      return node.name;
    },
    { signal },
  );
  return { solver, done };
}

test("an operation that two need is done once, after its inputs and before them", async () => {
  const { builder, add } = graph();
  const base = add("base");
  const [left, right] = [add("left", base), add("right", base)];
  const { solver, done } = solverOf(builder, async () => {});
  await Promise.all([solver.solve(left), solver.solve(right)]);
  expect(done[0]).toBe("base");
  expect(done.toSorted()).toEqual(["base", "left", "right"]);
});

test("what does not depend on each other is under way at the same time", async () => {
  const { builder, add } = graph();
  const ids = [add("a"), add("b"), add("c")];
  let under = 0;
  const all = Promise.withResolvers<void>();
  const { solver } = solverOf(builder, async () => {
    // Nobody goes on before all have begun.
    if (++under === ids.length) all.resolve();
    await all.promise;
  });
  expect(await Promise.all(ids.map((id) => solver.solve(id)))).toEqual(["a", "b", "c"]);
});

test("the first failure ends what is under way, and is the one that is told", async () => {
  const { builder, add } = graph();
  const [bad, slow] = [add("bad"), add("slow")];
  let ended = false;
  const { solver } = solverOf(builder, async ({ name }, signal) => {
    if (name === "bad") throw new EngineError("internal", "it broke");
    await new Promise<void>((_, reject) => {
      signal.addEventListener("abort", () => {
        ended = true;
        reject(new EngineError("cancelled", "Build cancelled"));
      });
    });
  });
  const works = [solver.solve(slow), solver.solve(bad)].map((work) => work.catch(() => undefined));
  await Promise.all(works);
  expect(await solver.settle().catch((error: unknown) => (error as Error).message)).toBe("it broke");
  expect(ended).toBe(true);
});

test("nothing that is not asked for is done", async () => {
  const { builder, add } = graph();
  const wanted = add("wanted");
  add("unwanted", wanted);
  const { solver, done } = solverOf(builder, async () => {});
  await solver.solve(wanted);
  await solver.settle();
  expect(done).toEqual(["wanted"]);
});

test("whoever waits for a place leaves the line when the build is cancelled, and the place goes to the next", async () => {
  const slots = new Slots(1);
  const never = new AbortController().signal;
  const first = await slots.take(never);
  const leaving = new AbortController();
  const second = slots.take(leaving.signal).catch((error: unknown) => (error as EngineError).code);
  const third = slots.take(never);
  leaving.abort();
  expect(await second).toBe("cancelled");
  first[Symbol.dispose]();
  (await third)[Symbol.dispose]();
  (await slots.take(never))[Symbol.dispose]();
});
