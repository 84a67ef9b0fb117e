// An exec operation: RUN with its mounts.
import { EngineError, newId } from "../common/index.ts";
import type { ImageRunConfig } from "../spec/index.ts";
import { clampTimes } from "./clamp-times.ts";
import { requireRunnable } from "./build-platform.ts";
import { cancelled } from "./cancelled.ts";
import { openMounts } from "./exec-mounts.ts";
import { cleanMountPoints, missingMountPoints } from "./mount-points.ts";
import { removeSnapshot } from "./mounted-snapshot.ts";
import type { ExecOperation, GraphNode } from "./operation.ts";
import type { Component, WorkContext, Made } from "./work-context.ts";

/** What a RUN depends on: all that it sees but secrets, agents and what its cache mounts hold. */
export async function execKey(
  context: WorkContext,
  operation: ExecOperation,
  base: string | undefined,
): Promise<Component[]> {
  const { command, environment, workingDirectory, user, network, security, hosts } = operation;
  const components: Component[] = [
    ["base", base ?? "scratch"],
    ["command", JSON.stringify(command)],
    ...environment.map((entry): Component => {
      const at = entry.indexOf("=");
      return at < 0 ? [`variable ${entry}`, ""] : [`variable ${entry.slice(0, at)}`, entry.slice(at + 1)];
    }),
    ["directory", workingDirectory],
    ["user", user],
    ["network", network],
    ["security", security],
  ];
  if (hosts.length > 0) components.push(["hosts", hosts.join(" ")]);
  for (const mount of operation.mounts) {
    const { target = "" } = mount;
    components.push([`mount ${target}`, JSON.stringify({ ...mount, input: undefined })]);
    if (mount.type === "bind" && mount.input !== undefined) {
      components.push([`files at ${target}`, await digestOfInput(context, operation, mount)]);
    }
  }
  return components;
}

async function digestOfInput(
  { solver, trees, signal }: WorkContext,
  operation: ExecOperation,
  mount: { input: number | undefined; source: string },
): Promise<string> {
  const id = mount.input === undefined ? undefined : operation.inputs[mount.input];
  if (id === undefined) return "nothing";
  const node = solver.node(id);
  if (["local", "http", "git"].includes(node.operation.kind)) {
    const remote = await trees.remote(node);
    await solver.solve(id);
    if (remote.digest !== undefined) return remote.digest;
    const { tree } = await remote.open();
    return (await tree.resolve(mount.source, { signal })).map(({ digest }) => digest).join(",");
  }
  const { top } = await solver.solve(id);
  return top ?? "nothing";
}

/** Runs the command on a snapshot and makes a layer of what it changed. */
export async function runExec(
  context: WorkContext,
  { node, operation, base }: { node: GraphNode; operation: ExecOperation; base: string | undefined },
): Promise<Made> {
  const { snapshots, progress, signal, epoch } = context;
  requireRunnable(operation.platform);
  const containerId = newId();
  await using mounts = await openMounts(context, operation, containerId);
  progress.container(node.id, containerId);
  try {
    await snapshots.prepare(containerId, base, { hostFiles: true });
    const missing = missingMountPoints(snapshots, base, mounts.targets);
    const config: ImageRunConfig = {
      User: operation.user,
      WorkingDir: operation.workingDirectory,
      Env: [...operation.environment, ...operation.quietEnvironment, ...mounts.environment],
      Cmd: [...operation.command],
      Entrypoint: null,
      Healthcheck: { Test: ["NONE"] },
    };
    const step = { id: containerId, snapshotKey: containerId, config, command: [...operation.command] };
    const { exitCode } = await context.executor.run(
      {
        ...step,
        networkMode: operation.network,
        mounts: mounts.mounts,
        hosts: operation.hosts,
        limits: context.limits,
        privileged: operation.security === "insecure",
        signal,
      },
      ({ stream, data }) => progress.log(node.id, stream === "stdout" ? 1 : 2, data),
    );
    if (signal.aborted) throw cancelled();
    if (exitCode !== 0) {
      const failedImage = await keepFailed(context, { operation, base, snapshotKey: containerId });
      throw failure(operation.command, exitCode, failedImage);
    }
    cleanMountPoints(snapshots.diffDirectory(containerId), missing);
    if (epoch !== undefined) clampTimes(snapshots.diffDirectory(containerId), epoch);
    const layer = await snapshots.commit(containerId, { lasting: false });
    return { top: layer?.chainId ?? base, containerId };
  } finally {
    await removeSnapshot(snapshots, containerId);
  }
}

/** The image of what the command left, for a client that wants to look into it. */
async function keepFailed(
  { keepFailed, snapshots, hold }: WorkContext,
  { operation, base, snapshotKey }: { operation: ExecOperation; base: string | undefined; snapshotKey: string },
): Promise<string | undefined> {
  if (!keepFailed) return undefined;
  const layer = await snapshots.commit(snapshotKey, { lasting: false });
  hold.add(layer?.chainId);
  return await keepFailed({ ...operation, top: layer?.chainId ?? base });
}

function failure(command: readonly string[], exitCode: number, failedImage: string | undefined): EngineError {
  const message = `The command '${command.join(" ")}' returned a non-zero code: ${exitCode}`;
  return new EngineError("internal", message, { data: { exitCode, command, failedImage } });
}
