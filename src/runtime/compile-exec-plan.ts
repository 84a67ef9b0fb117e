import type { OciSpec, Op, Plan, PlanSettings, ProcessSpec } from "../spec/index.ts";
import { op } from "../spec/index.ts";
import { availableCapabilities } from "./capabilities.ts";
import { namespaceNames } from "./compile-plan.ts";
import { toOciProcess } from "./oci-spec.ts";
import { execOps, identityOps, limitOps, sessionOps } from "./plan-tail.ts";

export interface ExecPlanContext {
  readonly settings: PlanSettings;
  /** As for the container's start. */
  readonly cgroupDirectories: readonly string[];
}

/** The view of files comes last: after it no path of the host leads anywhere. */
const order = ["user", "ipc", "uts", "network", "cgroup", "pid", "mount"] as const;

/**
 * The operations that run one more process in a running container: it joins the groups and every namespace that the container does
 * not share with the host, then takes the same tail as the container's own process.
 */
export function compileExecPlan(spec: OciSpec, process: ProcessSpec, context: ExecPlanContext): Plan {
  const capabilities = process.privileged ? availableCapabilities() : spec.process.capabilities.bounding;
  const tail = {
    ...toOciProcess(process, capabilities),
    rlimits: spec.process.rlimits ?? [],
    noNewPrivileges: spec.process.noNewPrivileges ?? false,
    oomScoreAdj: spec.process.oomScoreAdj ?? 0,
  };
  const present = new Set(spec.linux.namespaces.map(({ type }) => type));
  const ops: Op[] = [
    ...context.cgroupDirectories.map((directory) =>
      op(
        "monitor",
        "join-cgroup",
        [directory],
        "First of all: whatever it does from here on counts against the container's limits",
      ),
    ),
    ...order
      .filter((type) => present.has(type))
      .map((type) => op("monitor", "setns", [namespaceNames[type], "init"], joinReason(type))),
    op(
      "monitor",
      "clone",
      [""],
      "A process is born in there; only one that is born after the setns has the container's process numbers",
    ),
    ...limitOps(tail, `_ses.${context.settings["id"] ?? ""}`),
    ...(tail.terminal
      ? [op("child", "send-fd", ["pty"], "A terminal of the container's own devpts; the monitor gets the other end")]
      : []),
    ...sessionOps(tail),
    ...identityOps(tail, spec.linux.seccomp),
    ...execOps(tail),
  ];
  return { settings: context.settings, ops };
}

function joinReason(type: (typeof order)[number]): string {
  return type === "pid"
    ? "A pid namespace is entered by being born in it: the next child will be"
    : `It sees what the container's first process sees (${namespaceNames[type]})`;
}
