import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { hostname as hostName } from "node:os";
import { join } from "node:path";
import { EngineError } from "../common/index.ts";
import { closeDescriptor, isAlive } from "../kernel/index.ts";
import type { Attachment } from "../network/index.ts";
import { encodeOciSpec, startMonitor, type MonitorStart } from "../runtime/index.ts";
import { encodePlan, type Plan, type TracedOp } from "../spec/index.ts";
import { identityOf, type ContainerRecord } from "./container-record.ts";
import { containerPlan, containerSpec, limitsOf, processOf, shmDirectory } from "./container-spec.ts";
import { cgroupPathOf, type Core } from "./core.ts";
import { writeHostFiles } from "./host-files.ts";
import { unmountRun, whenUnmounted } from "./mounted-snapshot.ts";

/** A monitor whose child has done everything but run the container's program: it waits for `start.go()`. */
export interface Launch {
  readonly start: MonitorStart;
  readonly plan: Plan;
}

/**
 * Network, control group, files and monitor of one run; the record's network is filled in. What a later failure or end gives back is in
 * `giveBack`. When this throws, nothing is left.
 */
export async function launch(
  core: Core,
  record: ContainerRecord,
  options: { consoleSize?: readonly [number, number] } = {},
): Promise<Launch> {
  await using undo = new AsyncDisposableStack();
  // Last: the network's namespace is mounted in there.
  undo.defer(() => rmSync(core.paths.containerRun(record.id), { recursive: true, force: true }));
  const attachment = await attachNetwork(core, record);
  undo.defer(() => core.networks.detach(record.id));
  undo.defer(() => closeAll(attachment));
  await whenUnmounted(core, record.id);
  undo.defer(() => core.cgroups.remove(cgroupPathOf(core, record)));
  undo.defer(() => unmountRun(core, record, { monitorIsGone: true }));
  const plan = prepareRun(core, record, { attachment, consoleSize: options.consoleSize });
  const start = await startMonitor({
    helperPath: core.options.helperPath,
    runDirectory: core.paths.containerRun(record.id),
    plan,
    descriptors: [...attachment.reserved, ...attachment.relays.map((relay) => relay.descriptor)],
  });
  undo.defer(() => start.abort());
  requireJoinedAlive(core, record);
  // The monitor has its own copies of the ports' descriptors from here on.
  closeAll(attachment);
  undo.move();
  return { start, plan };
}

async function attachNetwork(core: Core, record: ContainerRecord): Promise<Attachment> {
  const endpoint = Object.values(record.endpoints)[0];
  const macAddress = endpoint?.MacAddress || record.config.MacAddress;
  const ipv4Address = endpoint?.IPAMConfig?.IPv4Address;
  const mode = record.host.NetworkMode ?? "bridge";
  if (mode.startsWith("container:")) requireRunning(core, mode);
  const attachment = await core.networks.attach({
    containerId: record.id,
    containerName: record.name,
    networkMode: mode,
    hostname: record.config.Hostname ?? "",
    portBindings: record.host.PortBindings ?? {},
    exposedPorts: Object.keys(record.config.ExposedPorts ?? {}),
    publishAll: record.host.PublishAllPorts ?? false,
    ...(macAddress ? { macAddress } : {}),
    ...(ipv4Address ? { ipv4Address } : {}),
  });
  const { networkName, sandboxKey, settings, ports } = attachment;
  record.network = { networkName, sandboxKey, settings, ports };
  return attachment;
}

function requireRunning(core: Core, mode: string): void {
  const other = core.store.get(mode.slice("container:".length));
  if (other.state.phase !== "running" || !isAlive(identityOf(other))) {
    throw new EngineError("conflict", `cannot join network of a non running container: ${other.id}`);
  }
}

/**
 * The namespaces of other containers were entered by process number. Whoever is alive now, under the identity that the record has, had
 * that number all the time; else it may have been a stranger's, and the start is given up.
 */
function requireJoinedAlive(core: Core, { host }: ContainerRecord): void {
  for (const mode of [host.PidMode, host.IpcMode, host.NetworkMode]) {
    if (mode?.startsWith("container:")) requireRunning(core, mode);
  }
}

/** Files, control group and plan of this run. */
function prepareRun(
  core: Core,
  record: ContainerRecord,
  run: { attachment: Attachment; consoleSize: readonly [number, number] | undefined },
): Plan {
  mkdirSync(core.paths.containerRun(record.id), { recursive: true, mode: 0o700 });
  rmSync(core.paths.exitRecord(record.id), { force: true });
  mkdirSync(shmDirectory(core, record), { recursive: true, mode: 0o700 });
  writeNameFiles(core, record, run.attachment);
  const process = processOf(core, record, run.consoleSize);
  const path = cgroupPathOf(core, record);
  const spec = containerSpec(core, record, { namespace: run.attachment.namespace, process });
  const cgroupDirectories = core.cgroups.create(path, limitsOf(record.host, spec.linux.resources?.devices));
  const plan = containerPlan(core, record, { spec, relays: run.attachment.relays, cgroupDirectories });
  const directory = core.paths.container(record.id);
  writeFileSync(join(directory, "config.json"), encodeOciSpec(spec));
  writeFileSync(join(directory, "plan"), encodePlan(plan));
  return plan;
}

/** A container in another's network sees that one's files; those of the host's network see the host's names. */
function writeNameFiles(core: Core, record: ContainerRecord, attachment: Attachment): void {
  const mode = record.host.NetworkMode ?? "bridge";
  const hostNetwork = mode === "host";
  writeHostFiles(core.paths, {
    id: record.id,
    hostname: record.config.Hostname || (hostNetwork ? hostName() : ""),
    domainname: record.config.Domainname ?? "",
    resolvConf: core.networks.resolvConf(mode),
    hosts: attachment.hosts,
    extraHosts: record.host.ExtraHosts ?? [],
  });
}

function closeAll(attachment: Attachment): void {
  for (const descriptor of attachment.reserved.splice(0)) closeDescriptor(descriptor);
  for (const relay of attachment.relays.splice(0)) closeDescriptor(relay.descriptor);
}

/** The plan's ops with what each returned and took. */
export function traceOf(plan: Plan, start?: Pick<MonitorStart, "reports">): TracedOp[] {
  const reports = new Map(start?.reports().map((report) => [report.index, report]));
  return plan.ops.map((op, index) => {
    const report = reports.get(index);
    return {
      index,
      actor: op.actor,
      name: op.name,
      arguments: op.arguments,
      reason: op.reason,
      ...(report ? { errno: report.errno, nanoseconds: report.nanoseconds } : {}),
    };
  });
}
