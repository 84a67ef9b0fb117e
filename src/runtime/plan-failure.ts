import { EngineError, type ErrorCode } from "../common/index.ts";
import { errnoName, errnoText } from "../kernel/index.ts";
import type { Op } from "../spec/index.ts";

/** Exit codes of a start that failed, as a shell has them. */
const exitNotFound = 127;
const exitNotExecutable = 126;
const exitEngine = 125;

const maxShownArgumentLength = 80;

/** What is known of a failure beside op and errno. */
export interface FailureContext {
  readonly index?: number;
  /** The helper's own words. */
  readonly detail?: string;
  readonly data?: Readonly<Record<string, unknown>>;
}

/**
 * The error of a plan whose op failed: one sentence with Docker's words where clients look for them ("executable file not found",
 * "permission denied", "no such file or directory"), the op's name and its errno. `data` holds
 * `{op, arguments, errno, errnoName, exitCode, index?, detail?}`.
 */
export function planFailure(op: Op, errno: number, context: FailureContext = {}): EngineError {
  const words = errnoText(errno);
  const { what, code, exitCode } = describe(op, { errno, words });
  const message = `unable to start container process: ${what} (${op.actor}: ${op.name}, ${errnoName(errno)})`;
  return new EngineError(code, message, {
    data: {
      op: op.name,
      arguments: op.arguments.map(shorten),
      errno,
      errnoName: errnoName(errno),
      exitCode,
      ...(context.index !== undefined && { index: context.index }),
      ...(context.detail && { detail: context.detail }),
      ...context.data,
    },
  });
}

interface Description {
  readonly what: string;
  readonly code: ErrorCode;
  readonly exitCode: number;
}

function describe(op: Op, { errno, words }: { errno: number; words: string }): Description {
  const name = errnoName(errno);
  const [first = "", second = ""] = op.arguments;
  // dockerd takes these as the request's fault: the container's configuration names something that is not so.
  const invalid = { code: "invalidArgument" as const, exitCode: exitCodeOf(name) };
  switch (op.name) {
    case "exec":
      return { ...invalid, what: execWords(first, { name, words }) };
    case "chdir":
      return { ...invalid, what: `chdir to cwd (${JSON.stringify(first)}) failed: ${words}` };
    case "mkdir":
      return { ...invalid, what: `cannot make the working directory ${JSON.stringify(first)}: ${words}` };
    case "bind":
      return { ...invalid, what: bindWords(op, { name, words }) };
    case "pivot-root":
      return { code: "internal", exitCode: exitEngine, what: pivotWords(op, { name, words }) };
    case "mount":
      return {
        code: "internal",
        exitCode: exitEngine,
        what: `error mounting ${JSON.stringify(second)} to ${JSON.stringify(op.arguments[2] ?? "")}: ${words}`,
      };
    case "mount-program":
      return {
        code: "internal",
        exitCode: exitEngine,
        what: `error mounting ${JSON.stringify(second)} by ${JSON.stringify(first)}: ${words}`,
      };
    default:
      return {
        code: "internal",
        exitCode: exitEngine,
        what: `${op.name} ${op.arguments.map(shorten).join(" ")}`.trimEnd() + ` failed: ${words}`,
      };
  }
}

function exitCodeOf(name: string): number {
  return name === "ENOENT" || name === "ENOTDIR" ? exitNotFound : exitNotExecutable;
}

function execWords(program: string, { name, words }: { name: string; words: string }): string {
  const quoted = JSON.stringify(program);
  if (name === "ENOENT" && !program.includes("/")) return `exec: ${quoted}: executable file not found in $PATH`;
  if (name === "ENOENT") return `exec: ${quoted}: stat ${program}: no such file or directory`;
  return `exec: ${quoted}: ${words}`;
}

function bindWords(op: Op, { name, words }: { name: string; words: string }): string {
  const [source = "", target = ""] = op.arguments;
  const what = `error mounting ${JSON.stringify(source)} to rootfs at ${JSON.stringify(target)}: ${words}`;
  if (name !== "ENOTDIR") return what;
  return `${what}: Are you trying to mount a directory onto a file (or vice-versa)? Check if the specified host path exists and is the expected type`;
}

/** pivot_root(2): EINVAL also where the present root is the initramfs, which cannot be unmounted. */
function pivotWords(op: Op, { name, words }: { name: string; words: string }): string {
  const [root = "", method = ""] = op.arguments;
  const what = `cannot change the root to ${JSON.stringify(root)}: ${words}`;
  if (name !== "EINVAL" || method !== "pivot") return what;
  return `${what}: a host that runs on its initramfs has a root that cannot be exchanged, so the daemon needs --no-pivot there`;
}

function shorten(text: string): string {
  return text.length <= maxShownArgumentLength ? text : `${text.slice(0, maxShownArgumentLength)}…`;
}
