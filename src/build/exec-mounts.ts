import { chmodSync, chownSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { resolveInRoot } from "../archive/index.ts";
import { EngineError } from "../common/index.ts";
import { closeFd, openDirectory, openFlags, openInRoot, statFd } from "../kernel/index.ts";
import { FileCopier } from "./copy-files.ts";
import type { StepMount } from "./executor.ts";
import type { InputTree } from "./input-trees.ts";
import { MountedSnapshot } from "./mounted-snapshot.ts";
import type { ExecMount, ExecOperation } from "./operation.ts";
import type { SecretMount, SshMount } from "./run-mounts.ts";
import type { WorkContext } from "./work-context.ts";

/** What a RUN's mounts are on this machine; disposal gives all of it back. */
export interface OpenMounts extends AsyncDisposable {
  readonly mounts: readonly StepMount[];
  /** Paths in the container. */
  readonly targets: readonly string[];
  /** `NAME=value`: secrets as variables, and where the agent is. */
  readonly environment: readonly string[];
}

export async function openMounts(
  context: WorkContext,
  operation: ExecOperation,
  containerId: string,
): Promise<OpenMounts> {
  await using undo = new AsyncDisposableStack();
  // On the run state's file system, which is memory: a secret should not reach a disk.
  const place = join(context.paths.run, `build-${containerId.slice(0, 16)}`);
  undo.defer(() => rmSync(place, { recursive: true, force: true }));
  const opening: Opening = { context, operation, undo, place, mounts: [], environment: [] };
  for (const mount of operation.mounts) await openOne(opening, mount);
  const close = undo.move();
  const { mounts, environment } = opening;
  const targets = mounts.map(({ target }) => target);
  return { mounts, targets, environment, [Symbol.asyncDispose]: () => close.disposeAsync() };
}

interface Opening {
  readonly context: WorkContext;
  readonly operation: ExecOperation;
  readonly undo: AsyncDisposableStack;
  readonly place: string;
  readonly mounts: StepMount[];
  readonly environment: string[];
}

async function openOne(opening: Opening, mount: ExecMount): Promise<void> {
  const { mounts } = opening;
  switch (mount.type) {
    case "tmpfs": {
      const size = mount.sizeBytes === undefined ? {} : { sizeBytes: mount.sizeBytes };
      mounts.push({ type: "tmpfs", target: mount.target, writable: !mount.readOnly, ...size });
      return;
    }
    case "secret":
      return openSecret(opening, mount);
    case "ssh":
      return openAgent(opening, mount);
    case "cache": {
      const { context, operation, undo } = opening;
      const id = mount.input === undefined ? undefined : operation.inputs[mount.input];
      const fill = async (folder: string): Promise<void> => {
        if (id !== undefined) await copyInto(context, { id, source: mount.source }, folder);
      };
      const seed = id === undefined ? "" : `${id} ${mount.source}`;
      const taken = undo.use(await context.cacheMounts.take({ mount, seed, signal: context.signal, fill }));
      const { target, readOnly } = mount;
      mounts.push({ type: "bind", source: taken.path, target, writable: !readOnly, isFile: false });
      return;
    }
    case "bind":
      return openBind(opening, mount);
  }
}

async function openBind(opening: Opening, mount: Extract<ExecMount, { type: "bind" }>): Promise<void> {
  const { context, operation, undo, mounts } = opening;
  const { target, readOnly, source } = mount;
  const id = mount.input === undefined ? undefined : operation.inputs[mount.input];
  if (id === undefined || !readOnly) {
    // What is written is lost: it goes to a snapshot that is thrown away.
    const snapshot = undo.use(await MountedSnapshot.create(context.snapshots, undefined));
    const name = id === undefined ? undefined : await copyInto(context, { id, source }, snapshot.root);
    const path = name === undefined ? snapshot.root : join(snapshot.root, name);
    mounts.push({ type: "bind", source: path, target, writable: !readOnly, isFile: name !== undefined });
    return;
  }
  const { tree, root } = await openInput(context, id);
  const path = resolveInRoot(tree.rootFd, source, { follow: true });
  const fd = openInRoot(tree.rootFd, path, { flags: openFlags.path });
  const isFile = statFd(fd).type !== "directory";
  closeFd(fd);
  mounts.push({ type: "bind", source: join(root, path), target, writable: false, isFile });
}

async function openInput({ solver, trees }: WorkContext, id: string): Promise<InputTree> {
  const node = solver.node(id);
  const solved = await solver.solve(id);
  if (["local", "http", "git"].includes(node.operation.kind)) return (await trees.remote(node)).open();
  return trees.layers(solved.top);
}

/** Copies a folder's contents into a folder, or one file, whose name is returned. */
async function copyInto(
  context: WorkContext,
  { id, source }: { id: string; source: string },
  folder: string,
): Promise<string | undefined> {
  const { tree } = await openInput(context, id);
  const path = source.replace(/^\/+/, "") || ".";
  const from = openInRoot(tree.rootFd, path, { flags: openFlags.readOnly | openFlags.nonBlock });
  const to = openDirectory(folder);
  try {
    const stat = statFd(from);
    const copier = new FileCopier(to, { owner: undefined, mode: undefined, signal: context.signal });
    if (stat.type === "directory") {
      await copier.copyDirectory(from, "/");
      return undefined;
    }
    if (stat.type !== "file") throw new EngineError("invalidArgument", `"${source}" is a ${stat.type}, not a file`);
    await copier.copyFile(from, stat, `/${basename(path)}`);
    return basename(path);
  } finally {
    closeFd(to);
    closeFd(from);
  }
}

async function openSecret(opening: Opening, mount: SecretMount): Promise<void> {
  const { context, place, mounts, environment } = opening;
  const value = await context.session.secret(mount.id);
  if (value === undefined) {
    if (!mount.required) return;
    throw new EngineError("notFound", `secret ${mount.id}: not found`);
  }
  if (mount.env !== undefined) environment.push(`${mount.env}=${Buffer.from(value).toString("utf8")}`);
  const { target, mode, uid, gid } = mount;
  if (target === undefined) return;
  mkdirSync(place, { recursive: true, mode: 0o700 });
  const source = join(place, `secret-${mounts.length}`);
  writeFileSync(source, value, { mode: 0o600 });
  chownSync(source, uid, gid);
  chmodSync(source, mode);
  mounts.push({ type: "bind", source, target, writable: false, isFile: true });
}

async function openAgent(opening: Opening, mount: SshMount): Promise<void> {
  const { context, undo, mounts, environment } = opening;
  const agent = await context.session.ssh(mount.id);
  if (!agent) {
    if (!mount.required) return;
    throw new EngineError("notFound", `unset ssh forward key ${mount.id}: build with --ssh ${mount.id}`);
  }
  undo.use(agent);
  chownSync(agent.path, mount.uid, mount.gid);
  chmodSync(agent.path, mount.mode);
  mounts.push({ type: "bind", source: agent.path, target: mount.target, writable: true, isFile: true });
  if (!environment.some((entry) => entry.startsWith("SSH_AUTH_SOCK="))) {
    environment.push(`SSH_AUTH_SOCK=${mount.target}`);
  }
}
