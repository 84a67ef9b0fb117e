export {
  availableCapabilities,
  capabilitiesOf,
  capabilityMask,
  defaultCapabilities,
  resolveCapabilities,
} from "./capabilities.ts";
export { compileExecPlan, type ExecPlanContext } from "./compile-exec-plan.ts";
export { compilePlan, type PlanOptions as PlanContext } from "./compile-plan.ts";
export type { ExecSession, StartedProcess } from "./exec-session.ts";
export { readExitRecord, type ExitRecord, type StoredExitRecord } from "./exit-record.ts";
export { monitorProtocol, type OpReport } from "./frames.ts";
export { splitMountOptions, tmpfsOptions } from "./mount-options.ts";
export { MonitorConnection, type AttachStreams, type MonitorHello } from "./monitor-connection.ts";
export { encodeOciSpec, toOciSpec, type NamespaceChoice, type SpecInput } from "./oci-spec.ts";
export type { LogPosition, OutputEvent } from "./output-queue.ts";
export { planFailure } from "./plan-failure.ts";
export { LogNames } from "./log-files.ts";
export { LogReader, readLog, type ReadLogOptions } from "./read-log.ts";
export type { LogRecord } from "./log-line.ts";
export { parseDeviceRule } from "./host-devices.ts";
export { resolveRlimits } from "./rlimits.ts";
export { parseSecurityOptions } from "./security-options.ts";
export { resolveUser, type UserRequest } from "./resolve-user.ts";
export type { RootView } from "./root-file.ts";
export { compileSeccomp } from "./seccomp.ts";
export { defaultSeccompProfile, type SeccompProfile } from "./seccomp-profile.ts";
export { startMonitor, type MonitorOptions, type MonitorStart } from "./start-monitor.ts";
