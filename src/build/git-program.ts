// git(1), run so that neither the repository nor the machine's own settings decide what it does.
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { EngineError } from "../common/index.ts";

/** Bounds of one call of git. */
export interface GitLimits {
  readonly timeoutMs: number;
  /** Of what it prints: lists of references may be long. */
  readonly outputBytes: number;
  /** Of any single file that it writes: a pack, or a file of the repository. */
  readonly fileBytes: number;
}

export const defaultGitLimits: GitLimits = {
  timeoutMs: 30 * 60_000,
  outputBytes: 64 * 1024 ** 2,
  fileBytes: 32 * 1024 ** 3,
};

const debianPackages: Readonly<Record<string, string>> = { git: "git", ssh: "openssh-client" };
const maxErrorCharacters = 2000;
/** Never `file` and `ext`, by which a submodule would read this machine's files or run its programs. */
const networkProtocols = "git:http:https:ssh";

/** What one checkout's calls have in common. */
export interface GitSettings {
  /** A folder of the checkout's own: git's home, with nothing in it. */
  readonly home: string;
  readonly limits: GitLimits;
  /** `http.<url>.extraheader` by name; in the environment, since arguments can be read by all users of the machine. */
  readonly config: Readonly<Record<string, string>>;
  /** Socket of the client's agent, for ssh remotes. */
  readonly sshAgent?: string | undefined;
  /** Hosts' keys are remembered here from their first use on; /etc/ssh/ssh_known_hosts counts too. */
  readonly knownHosts: string;
  readonly signal?: AbortSignal | undefined;
  /** `file` only where a test's server is a folder. */
  readonly protocols?: string;
}

export interface GitCall {
  readonly gitDirectory?: string;
  readonly workTree?: string;
  /** What failed, for people: `fetch "https://…"`. */
  readonly what: string;
}

/** Throws `unavailable`, with the Debian package, unless the program is installed. */
export function requireProgram(program: "git" | "ssh", why: string): string {
  const path = Bun.which(program, { PATH: process.env.PATH ?? "/usr/bin:/bin" });
  if (path !== null) return path;
  throw new EngineError(
    "unavailable",
    `${why} needs the program ${program}, which is not installed here: on Debian it is in the package ${debianPackages[program]}`,
  );
}

/**
 * What git prints. Throws its own last words: `unavailable` when it fails, `cancelled` or the signal's reason when it is given
 * up; the whole group of processes is killed then, since git leaves its work to others.
 */
export async function runGit(settings: GitSettings, args: readonly string[], call: GitCall): Promise<string> {
  const { limits, signal } = settings;
  signal?.throwIfAborted();
  const git = requireProgram("git", "A repository as a source");
  const places = [
    ...(call.workTree === undefined ? [] : ["--work-tree", call.workTree]),
    ...(call.gitDirectory === undefined ? [] : ["--git-dir", call.gitDirectory]),
  ];
  mkdirSync(settings.home, { recursive: true, mode: 0o700 });
  // The mode of what is checked out must not depend on the engine's own umask; ulimit counts blocks of 512 bytes.
  const script = `umask 0022 && ulimit -f ${Math.ceil(limits.fileBytes / 512)} && exec "$@"`;
  const child = Bun.spawn(["/bin/sh", "-c", script, "sh", git, ...places, ...args], {
    cwd: call.workTree ?? settings.home,
    env: environmentOf(settings),
    stdio: ["ignore", "pipe", "pipe"],
    // Its own session: no terminal to ask at, and one signal reaches all that it starts.
    detached: true,
  });
  let stopped: unknown;
  const stop = (why: unknown): void => {
    stopped ??= why;
    killGroup(child.pid);
  };
  const onAbort = (): void => stop(signal?.reason);
  signal?.addEventListener("abort", onAbort, { once: true });
  const seconds = limits.timeoutMs / 1000;
  const timer = setTimeout(
    () => stop(new EngineError("unavailable", `Cannot ${call.what}: not done within ${seconds} s`)),
    limits.timeoutMs,
  );
  const bounded = (stream: ReadableStream<Uint8Array>): Promise<string> =>
    readBounded(stream, limits.outputBytes, () =>
      stop(new EngineError("resourceExhausted", `Cannot ${call.what}: git prints too much`)),
    );
  try {
    const [output, errors, status] = await Promise.all([bounded(child.stdout), bounded(child.stderr), child.exited]);
    if (stopped !== undefined) throw stopped;
    if (status !== 0)
      throw new EngineError("unavailable", `Cannot ${call.what}: ${lastWords(errors, settings)}`, { data: { status } });
    return output;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", onAbort);
  }
}

function environmentOf(settings: GitSettings): Record<string, string> {
  const config: Readonly<Record<string, string>> = {
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "core.autocrlf": "false",
    "credential.helper": "",
    "fetch.recurseSubmodules": "false",
    "gc.auto": "0",
    "init.defaultBranch": "master",
    "protocol.ext.allow": "never",
    "safe.directory": "*",
    ...settings.config,
  };
  const environment: Record<string, string> = {
    PATH: process.env.PATH ?? "/usr/bin:/bin",
    HOME: settings.home,
    LC_ALL: "C",
    GIT_ALLOW_PROTOCOL: settings.protocols ?? networkProtocols,
    GIT_ASKPASS: "/bin/false",
    GIT_ATTR_NOSYSTEM: "1",
    GIT_CONFIG_GLOBAL: "/dev/null",
    GIT_CONFIG_NOSYSTEM: "1",
    GIT_CONFIG_COUNT: String(Object.keys(config).length),
    GIT_SSH_COMMAND: sshCommand(settings),
    GIT_SSH_VARIANT: "ssh",
    GIT_TERMINAL_PROMPT: "0",
    SSH_ASKPASS: "/bin/false",
  };
  for (const [index, [name, value]] of Object.entries(config).entries()) {
    environment[`GIT_CONFIG_KEY_${index}`] = name;
    environment[`GIT_CONFIG_VALUE_${index}`] = value;
  }
  for (const name of ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"].flatMap((name) => [
    name,
    name.toLowerCase(),
  ])) {
    const value = process.env[name];
    if (value !== undefined) environment[name] = value;
  }
  if (settings.sshAgent !== undefined) environment.SSH_AUTH_SOCK = settings.sshAgent;
  return environment;
}

/** Only the agent's keys, nobody's configuration, no questions; a key that changed is refused. */
function sshCommand({ knownHosts }: GitSettings): string {
  const options = [
    "BatchMode=yes",
    "ClearAllForwardings=yes",
    "ConnectTimeout=30",
    "GlobalKnownHostsFile=/etc/ssh/ssh_known_hosts",
    "IdentityFile=none",
    "PermitLocalCommand=no",
    "StrictHostKeyChecking=accept-new",
    `UserKnownHostsFile=${knownHosts}`,
  ];
  return `ssh -F /dev/null ${options.map((option) => `-o '${option.replaceAll("'", "'\\''")}'`).join(" ")}`;
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // It has ended already.
  }
}

async function readBounded(
  stream: ReadableStream<Uint8Array>,
  maxBytes: number,
  onTooMuch: () => void,
): Promise<string> {
  const chunks: Uint8Array[] = [];
  let sizeBytes = 0;
  for await (const chunk of stream) {
    sizeBytes += chunk.length;
    if (sizeBytes > maxBytes) onTooMuch();
    else chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

/** git's errors, without its hints and without what authorises. */
function lastWords(errors: string, { config, home }: GitSettings): string {
  const lines = errors
    .split(/[\r\n]+/)
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("hint:"));
  const telling = lines.filter((line) => /^(fatal|error|remote|ssh|Host key|.*denied)/i.test(line));
  let text = (telling.length > 0 ? telling : lines).join("; ").slice(-maxErrorCharacters);
  for (const secret of Object.values(config)) if (secret.length > 8) text = text.replaceAll(secret, "…");
  text = text.replaceAll(/:\/\/[^/@\s]*@/g, "://").replaceAll(join(home, ".."), "…");
  return text === "" ? "git failed and said nothing" : text;
}
