// Containers made by hand-written plans, for tests of the helper alone.
import { closeSync, cpSync, existsSync, mkdirSync, openSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { closeDescriptor, connectUnix, sendDescriptors, socketPair } from "../../src/kernel/index.ts";
import { encodePlan, op, type Op, type PlanSettings } from "../../src/spec/index.ts";
import { encodeFrame, frame, FrameConnection } from "./frames.ts";
import { sanitizedHelper } from "./helper-binary.ts";

/** A root file system of busybox alone, with its applets as links. */
export function makeBusyboxRoot(folder: string): string {
  const root = join(folder, "root");
  for (const name of ["bin", "dev", "proc", "sys", "tmp", "etc"]) mkdirSync(join(root, name), { recursive: true });
  cpSync("/bin/busybox", join(root, "bin/busybox"));
  for (const applet of [
    "sh",
    "cat",
    "echo",
    "sleep",
    "ls",
    "true",
    "stty",
    "head",
    "kill",
    "id",
    "pwd",
    "tty",
    "dd",
    "mount",
    "hostname",
    "yes",
    "env",
    "readlink",
    "test",
    "ps",
    "touch",
    "seq",
    "wc",
  ]) {
    symlinkSync("busybox", join(root, "bin", applet));
  }
  return root;
}

export interface ContainerPlan {
  readonly root: string;
  readonly words: readonly string[];
  readonly environment?: readonly string[];
  readonly terminal?: boolean;
  /** Ops of the monitor before the clone. */
  readonly before?: readonly Op[];
  /** Ops of the child before pivot_root, and after everything else was mounted. */
  readonly inOldRoot?: readonly Op[];
  /** Ops of the child just before `exec`. */
  readonly beforeExec?: readonly Op[];
}

const why = "";

/** A whole start: namespaces, proc, dev, pivot, session, exec, as the engine compiles it but shorter. */
export function containerOps(plan: ContainerPlan): Op[] {
  const { root, words } = plan;
  return [
    ...(plan.before ?? []),
    op("monitor", "clone", ["mnt,pid,uts,ipc,net"], why),
    op("child", "remount", ["/", "rprivate"], why),
    op("child", "bind", [root, root, "rec,rprivate", "", "none"], why),
    op("child", "mount", ["proc", "proc", "/proc", "nosuid,nodev,noexec", "", "", root], why),
    op("child", "mount", ["tmpfs", "tmpfs", "/dev", "nosuid,strictatime", "mode=755,size=64k", "", root], why),
    op("child", "mkdir", ["/dev/pts", "755", "0", "0", root], why),
    op(
      "child",
      "mount",
      ["devpts", "devpts", "/dev/pts", "nosuid,noexec", "newinstance,ptmxmode=0666,mode=0620,gid=5", "", root],
      why,
    ),
    op("child", "mknod", ["/dev/null", "c", "666", "1", "3", "0", "0", root], why),
    op("child", "mknod", ["/dev/zero", "c", "666", "1", "5", "0", "0", root], why),
    ...(plan.inOldRoot ?? []),
    op("child", "pivot-root", [root, "pivot"], why),
    op("child", "sethostname", ["walled"], why),
    ...(plan.terminal ? [op("child", "send-fd", ["pty"], why)] : []),
    op("child", "sync", ["commit"], why),
    op("child", "session", [plan.terminal ? "pty" : "pipes"], why),
    op("child", "close-range", ["3"], why),
    op("child", "chdir", ["/"], why),
    ...(plan.beforeExec ?? []),
    op("child", "exec", [words[0] ?? "", String(words.length), ...words, ...(plan.environment ?? ["PATH=/bin"])], why),
  ];
}

export interface Monitored extends AsyncDisposable {
  readonly start: FrameConnection;
  readonly folder: string;
  readonly socketPath: string;
  readonly logPath: string;
  readonly exitRecordPath: string;
  connect(): Promise<FrameConnection>;
  attach(...streams: string[]): Promise<FrameConnection>;
  exec(ops: readonly Op[], settings?: PlanSettings): Promise<FrameConnection>;
  /** Waits for `ready`, sends `go`, and answers with the pid of `started`. */
  go(): Promise<number>;
  /** What the monitor wrote to its descriptor 2: sanitizers speak there. */
  complaints(): string;
}

export interface StartOptions {
  readonly folder: string;
  readonly ops: readonly Op[];
  readonly settings?: PlanSettings;
  readonly log?: boolean;
  readonly descriptors?: readonly number[];
  /** Another helper than the sanitized one. */
  readonly helper?: string;
  /** Bytes of the plan in place of an encoded one. */
  readonly planBytes?: Uint8Array;
}

let count = 0;

/** Starts a monitor as the daemon does. Disposal kills what is left of the container and checks that no sanitizer spoke. */
export async function startMonitored(options: StartOptions): Promise<Monitored> {
  const helper = options.helper ?? (await sanitizedHelper());
  const folder = join(options.folder, `m${count++}`);
  mkdirSync(folder);
  const paths = { socketPath: join(folder, "s"), logPath: join(folder, "log"), exitRecordPath: join(folder, "exit") };
  const settings = {
    id: "c0ffee",
    socket: paths.socketPath,
    "exit-record": paths.exitRecordPath,
    ...(options.log === false ? {} : { "log-path": paths.logPath }),
    ...options.settings,
  };
  writeFileSync(join(folder, "plan"), options.planBytes ?? encodePlan({ settings, ops: options.ops }));
  const plan = openSync(join(folder, "plan"), "r");
  const complaints = openSync(join(folder, "monitor.log"), "a");
  const [ours, theirs] = socketPair("stream");
  const spawned = Bun.spawn([helper, "monitor"], {
    stdio: ["ignore", "ignore", complaints, plan, theirs, ...(options.descriptors ?? [])],
    env: {},
  });
  closeSync(plan);
  closeSync(complaints);
  closeDescriptor(theirs);
  const start = await FrameConnection.connect({ fd: ours });
  const status = await spawned.exited;
  if (status !== 0) throw new Error(`The monitor's first process exited with ${status}`);
  return monitored({ folder, start, helper, ...paths });
}

function monitored(parts: {
  folder: string;
  start: FrameConnection;
  helper: string;
  socketPath: string;
  logPath: string;
  exitRecordPath: string;
}): Monitored {
  const { folder, start, helper, socketPath } = parts;
  let pid = 0;
  const complaints = () => readFileSync(join(folder, "monitor.log"), "utf8");
  return {
    ...parts,
    complaints,
    connect: () => FrameConnection.connect({ unix: socketPath }),
    async attach(...streams) {
      const client = await FrameConnection.connect({ unix: socketPath });
      client.send(frame.attach, streams);
      await client.next(frame.attached);
      return client;
    },
    exec: (ops, settings = {}) => startSession({ folder, helper, socketPath, ops, settings }),
    async go() {
      await start.next(frame.ready);
      start.send(frame.go);
      pid = Number((await start.next(frame.started)).fields[0]);
      return pid;
    },
    async [Symbol.asyncDispose]() {
      if (pid > 0 && !start.frames.some(({ type }) => type === frame.exited)) {
        start.send(frame.signal, ["9"]);
        await start.until(() => start.closed || start.frames.some(({ type }) => type === frame.exited)).catch(() => {});
      }
      start.close();
      if (complaints().includes("Sanitizer") || complaints().includes("runtime error")) throw new Error(complaints());
    },
  };
}

async function startSession(options: {
  folder: string;
  helper: string;
  socketPath: string;
  ops: readonly Op[];
  settings: PlanSettings;
}): Promise<FrameConnection> {
  const planPath = join(options.folder, `exec-plan-${count++}`);
  writeFileSync(planPath, encodePlan({ settings: options.settings, ops: options.ops }));
  const helper = openSync(options.helper, "r");
  const plan = openSync(planPath, "r");
  const socket = connectUnix(options.socketPath);
  sendDescriptors(socket, encodeFrame(frame.exec, Object.entries(options.settings).flat()), [helper, plan]);
  closeSync(helper);
  closeSync(plan);
  return FrameConnection.connect({ fd: socket });
}

/** A plan of a session in the container: every namespace of init, then the words. */
export function sessionOps(
  words: readonly string[],
  options: { terminal?: boolean; environment?: string[] } = {},
): Op[] {
  return [
    ...["ipc", "uts", "net", "pid", "mnt"].map((type) => op("monitor", "setns", [type, "init"], why)),
    op("monitor", "clone", [""], why),
    ...(options.terminal ? [op("child", "send-fd", ["pty"], why)] : []),
    op("child", "session", [options.terminal ? "pty" : "pipes"], why),
    op("child", "close-range", ["3"], why),
    op("child", "chdir", ["/"], why),
    op(
      "child",
      "exec",
      [words[0] ?? "", String(words.length), ...words, ...(options.environment ?? ["PATH=/bin"])],
      why,
    ),
  ];
}

/** The exit record as `{key: value}`. */
export function readRecord(path: string): Record<string, string> {
  if (!existsSync(path)) return {};
  const lines = readFileSync(path, "utf8").trimEnd().split("\n");
  return Object.fromEntries(lines.map((line) => [line.split(" ")[0] ?? "", line.split(" ").slice(1).join(" ")]));
}

/** Waits until `condition` holds, looking every 10 ms; fails after `timeoutMs` naming `what`. */
export async function eventually(what: string, condition: () => boolean, timeoutMs = 5000): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`It did not come about: ${what}`);
    await Bun.sleep(10);
  }
}
