import type { ContainerCreateRequest, Plan, TracedOp } from "../spec/index.ts";
import { createContainer } from "./container-creation.ts";
import { removeContainer } from "./container-removal.ts";
import { processOf, specAndPlan } from "./container-spec.ts";
import { traceOf } from "./container-start.ts";
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
  const { plan } = specAndPlan(core, record, {
    attachment: mode === "host" ? { namespace: { kind: "host" }, relays: [] } : undefined,
    cgroupDirectories: Object.values(core.cgroups.directories(path)),
    process: processOf(core, record),
  });
  return { plan, ops: container.trace.length > 0 ? container.trace : traceOf(plan) };
}

/** The plan of a container that is not there: it is made, read, and removed again. */
export async function explainRequest(core: Core, request: ContainerCreateRequest): Promise<Explanation> {
  const container = await createContainer(core, undefined, request);
  try {
    return await explainContainer(core, container);
  } finally {
    await container.changes.run(() => removeContainer(core, container, { force: false, volumes: true }));
  }
}
