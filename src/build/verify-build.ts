import type { BuildEvent } from "./progress.ts";
import type { BuildRequest, BuildResult } from "./build-request.ts";
import type { Builder } from "./builder.ts";
import { compareFolders } from "./compare-layers.ts";

/** Differing paths of one step that are told; the rest is counted. */
const maxShown = 20;

/** What differs between two builds of the same, step by step. */
export interface StepDifference {
  /** As the history has it. */
  readonly step: string;
  /** `/path: content`, a sentence each. */
  readonly differences: readonly string[];
}

/**
 * Builds a second time without the cache and compares with a first result: the layers of each step, and the config. The events are
 * those of the second build. A step whose layer stands on another one's difference is compared by its own files all the same.
 */
export async function* verifyBuild(
  builder: Builder,
  request: BuildRequest,
  first: BuildResult,
): AsyncGenerator<BuildEvent, StepDifference[]> {
  const again = { ...request, tags: [], frontend: { ...request.frontend, noCache: true } };
  const second = yield* builder.solve(again);
  return differences(builder, first, second);
}

async function differences(builder: Builder, first: BuildResult, second: BuildResult): Promise<StepDifference[]> {
  const { snapshots } = builder.services;
  const steps = (first.config.history ?? []).filter(({ empty_layer }) => !empty_layer);
  const found: StepDifference[] = [];
  const count = Math.max(first.layers.length, second.layers.length);
  for (let index = 0; index < count; index++) {
    const [one, other] = [first.layers[index], second.layers[index]];
    const step = steps[index]?.created_by ?? `layer ${index + 1}`;
    if (one === undefined || other === undefined) {
      found.push({ step, differences: [`only one of the builds made a layer here`] });
      continue;
    }
    if (snapshots.layer(one)?.diffId === snapshots.layer(other)?.diffId) continue;
    const files = await compareFolders(snapshots.layerDirectory(one), snapshots.layerDirectory(other));
    const shown = files.slice(0, maxShown).map(({ path, what }) => `${path}: ${what}`);
    const rest = files.length - shown.length;
    found.push({ step, differences: rest > 0 ? [...shown, `and ${rest} more`] : shown });
  }
  const told = configDifferences(first, second);
  return told.length > 0 ? [...found, { step: "config", differences: told }] : found;
}

/** Members of the config that differ; the digests of layers are told by the layers. */
function configDifferences(first: BuildResult, second: BuildResult): string[] {
  const members = (result: BuildResult): Map<string, string> =>
    new Map(
      Object.entries(result.config)
        .filter(([name]) => name !== "rootfs")
        .map(([name, value]) => [name, JSON.stringify(value)]),
    );
  const [left, right] = [members(first), members(second)];
  const names = [...new Set([...left.keys(), ...right.keys()])].filter((name) => left.get(name) !== right.get(name));
  return names.map((name) => `${name}: not the same`);
}

/** A line for people each. */
export function verifyLines(found: readonly StepDifference[]): string[] {
  if (found.length === 0) return ["Verified: both builds gave the same bytes\n"];
  return [
    "The second build differs:\n",
    ...found.flatMap(({ step, differences: told }) => [`  ${step}\n`, ...told.map((sentence) => `    ${sentence}\n`)]),
  ];
}
