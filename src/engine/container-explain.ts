import type { ContainerCreateRequest, Plan, TracedOp } from "../spec/index.ts";
import { createContainer } from "./container-creation.ts";
import { removeContainer } from "./container-removal.ts";
import { containerPlan, containerSpec, processOf } from "./container-spec.ts";
import { traceOf } from "./launch.ts";
import { cgroupPathOf, type Core } from "./core.ts";
import type { LiveContainer } from "./live-container.ts";

export interface Explanation {
  readonly plan: Plan;
  readonly ops: readonly TracedOp[];
}

/** The plan of a container that is there: with what each op did, where this daemon started it. */
export async function explainContainer(core: Core, container: LiveContainer): Promise<Explanation> {
  const { record } = container;
  const path = cgroupPathOf(core, record);
  const mode = record.host.NetworkMode ?? "bridge";
  const spec = containerSpec(core, record, {
    namespace: mode === "host" ? { kind: "host" } : undefined,
    process: processOf(core, record),
  });
  const plan = containerPlan(core, record, {
    spec,
    relays: [],
    cgroupDirectories: Object.values(core.cgroups.directories(path)),
  });
  return { plan, ops: container.trace.length > 0 ? container.trace : traceOf(plan) };
}

/** The plan of a container that is not there: it is made, read, and removed again. */
export async function explainRequest(core: Core, request: ContainerCreateRequest): Promise<Explanation> {
  const container = await createContainer(core, request);
  try {
    return await explainContainer(core, container);
  } finally {
    await container.changes.run(() => removeContainer(core, container, { force: false, volumes: true }));
  }
}
