import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { hostname as hostName } from "node:os";
import { dirname, join } from "node:path";
import { EngineError, toEngineError } from "../common/index.ts";
import { bootId, closeDescriptor } from "../kernel/index.ts";
import type { Attachment } from "../network/index.ts";
import { startMonitor, type MonitorStart } from "../runtime/index.ts";
import { encodePlan, type Plan, type TracedOp } from "../spec/index.ts";
import { limitsOf, processOf, shmDirectory, specAndPlan } from "./container-spec.ts";
import { publishContainerEvent, cgroupPathOf, type Core } from "./core.ts";
import { watchExit } from "./container-exit.ts";
import { writeHostFiles } from "./host-files.ts";
import type { LiveContainer } from "./live-container.ts";

/** Starts a created or exited container. The caller holds its turn. Whatever fails, nothing is left but the record. */
export async function startContainer(
  core: Core,
  container: LiveContainer,
  options: { consoleSize?: readonly [number, number] } = {},
): Promise<void> {
  const { record } = container;
  await container.teardown;
  clearTimeout(container.restartTimer);
  record.state.restarting = false;
  record.state.stoppedByUser = false;
  try {
    await runContainer(core, container, options);
  } catch (thrown) {
    const error = toEngineError(thrown);
    record.state.phase = record.state.startedAt.startsWith("0001") ? "created" : "exited";
    record.state.error = error.message;
    if (typeof error.data.exitCode === "number") record.state.exitCode = error.data.exitCode;
    core.store.save(record);
    throw error;
  }
}

async function runContainer(
  core: Core,
  container: LiveContainer,
  options: { consoleSize?: readonly [number, number] },
): Promise<void> {
  const { record } = container;
  await using undo = new AsyncDisposableStack();
  const attachment = await attachNetwork(core, container);
  undo.defer(() => core.networks.detach(record.id));
  // The monitor has its own copies from the spawn on; these are closed whatever happens.
  undo.defer(() => closeAll(attachment));
  const prepared = await prepareRun(core, container, { attachment, consoleSize: options.consoleSize });
  undo.defer(() => core.cgroups.remove(cgroupPathOf(core, record)));

  const start = await startMonitor({
    helperPath: core.options.helperPath,
    runDirectory: core.paths.containerRun(record.id),
    plan: prepared,
    descriptors: [...attachment.reserved, ...attachment.relays.map((relay) => relay.descriptor)],
  }).finally(() => closeAll(attachment));
  await commitStart(core, container, { start, plan: prepared });
  undo.move();
}

/** From here on the container proceeds even when the daemon is lost: the record says so before the monitor is told. */
async function commitStart(
  core: Core,
  container: LiveContainer,
  { start, plan }: { start: MonitorStart; plan: Plan },
): Promise<void> {
  const { record } = container;
  try {
    for (const attach of container.pendingAttachments) await attach(core.paths.monitorSocket(record.id));
    container.pendingAttachments.clear();
    record.state.phase = "starting";
    record.state.pid = start.ready.pid;
    record.state.startTime = String(start.ready.startTime);
    record.state.bootId = bootId();
    core.store.save(record);
    await start.go();
  } catch (error) {
    await start.abort();
    throw error;
  } finally {
    container.trace = traceOf(plan, start);
  }
  Object.assign(record.state, {
    phase: "running",
    paused: false,
    oomKilled: false,
    exitCode: 0,
    error: "",
    startedAt: new Date().toISOString(),
  });
  core.store.save(record);
  container.monitor = start.connection;
  watchExit(core, container, start.connection);
  publishContainerEvent(core, record, { action: "start" });
}

async function attachNetwork(core: Core, container: LiveContainer): Promise<Attachment> {
  const { record } = container;
  const endpoint = Object.values(record.endpoints)[0];
  const macAddress = endpoint?.MacAddress || record.config.MacAddress;
  const ipv4Address = endpoint?.IPAMConfig?.IPv4Address;
  const mode = record.host.NetworkMode ?? "bridge";
  if (mode.startsWith("container:")) requireRunning(core, mode);
  const attachment = await core.networks.attach({
    containerId: record.id,
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
  if (other.state.phase !== "running") {
    throw new EngineError("conflict", `cannot join network of a non running container: ${other.id}`);
  }
}

/** Files, control group and plan of this run. */
async function prepareRun(
  core: Core,
  container: LiveContainer,
  run: { attachment: Attachment; consoleSize: readonly [number, number] | undefined },
): Promise<Plan> {
  const { record } = container;
  mkdirSync(core.paths.containerRun(record.id), { recursive: true, mode: 0o700 });
  rmSync(core.paths.exitRecord(record.id), { force: true });
  mkdirSync(shmDirectory(core, record), { recursive: true, mode: 0o700 });
  writeNameFiles(core, container, run.attachment);
  const process = processOf(core, record, run.consoleSize);
  const path = cgroupPathOf(core, record);
  const draft = specAndPlan(core, record, { attachment: run.attachment, cgroupDirectories: [], process });
  const cgroupDirectories = core.cgroups.create(path, limitsOf(record.host, draft.spec.linux.resources?.devices));
  const { spec, plan } = specAndPlan(core, record, { attachment: run.attachment, cgroupDirectories, process });
  const directory = core.paths.container(record.id);
  writeFileSync(join(directory, "config.json"), JSON.stringify(spec));
  writeFileSync(join(directory, "plan"), encodePlan(plan));
  return plan;
}

/** A container in another's network sees that one's files; those of the host's network see the host's names. */
function writeNameFiles(core: Core, { record }: LiveContainer, attachment: Attachment): void {
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
