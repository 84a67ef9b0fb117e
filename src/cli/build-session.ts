import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { type ApiClient, buildSessions, type SessionOffer } from "../api/client/index.ts";
import { findFolder, readStandardInput, requireDockerfile } from "./build-context.ts";
import type { FlagValues } from "./flag-values.ts";
import { openKeyAgent } from "./key-agent.ts";
import { findLogin, hubServer } from "./registry-credentials.ts";
import { CommandFailure } from "./usage-error.ts";

/** Docker's own limit of a secret. */
const maxSecretBytes = 500 * 1024;

/** A build whose folders the engine asks for. Disposal ends the session and removes what was made for it. */
export interface BuildSession extends Disposable {
  /** Of `POST /build`. */
  readonly query: Readonly<Record<string, string>>;
  readonly sentBytes: number;
}

/**
 * Opens a session for a build of a local folder. Undefined where the context is none, or where the engine takes contexts only as
 * archives. `contexts` are the folders of `--build-context` by name.
 */
export async function openBuildSession(
  engine: ApiClient,
  {
    source,
    flags,
    contexts,
    ...lent
  }: { source: string; flags: FlagValues; contexts: Readonly<Record<string, string>> } & Pick<
    SessionOffer,
    "stores" | "outputs"
  >,
): Promise<BuildSession | undefined> {
  const root = findFolder(source);
  if (root === undefined) return undefined;
  const file = flags.string("file");
  if (file !== "-") requireDockerfile(root, file);
  if (!(await engine.ping()).server.startsWith("Vitrine")) return undefined;
  const secrets = new Map(flags.list("secret").map(parseSecret));
  using undo = new DisposableStack();
  const agents = await openAgents(flags.list("ssh"), undo);
  const dockerfile =
    file === "-" ? await fromStandardInput(undo) : resolve(file === "" ? join(root, "Dockerfile") : file);
  const offer: SessionOffer = {
    ...lent,
    folders: { ...contexts, context: root, dockerfile: dirname(dockerfile) },
    secrets: (id) => secrets.get(id)?.(),
    agents,
    credentials: credentialsOf,
  };
  const { openSession } = await buildSessions();
  const sharedKey = createHash("sha256").update(root).digest("hex");
  const session = undo.use(await openSession(engine, { offer, sharedKey }));
  const kept = undo.move();
  return {
    query: { remote: "client-session", session: session.id, dockerfile: basename(dockerfile) },
    get sentBytes() {
      return session.sentBytes;
    },
    [Symbol.dispose]: () => kept.dispose(),
  };
}

async function fromStandardInput(undo: DisposableStack): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), "vitrine-build-"));
  undo.defer(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, "Dockerfile");
  writeFileSync(path, await readStandardInput());
  return path;
}

/** `id=NAME[,src=PATH|,env=VARIABLE][,type=file|env]`; NAME alone is that variable, or else that file. Read when it is asked for. */
function parseSecret(text: string): [id: string, read: () => Uint8Array | undefined] {
  const fields = new Map<string, string>();
  for (const field of text.split(",")) {
    const equals = field.indexOf("=");
    const name = field.slice(0, equals).toLowerCase();
    if (equals < 0 || !["id", "src", "source", "env", "type"].includes(name)) {
      throw new CommandFailure(`invalid secret "${text}": "${field}" is none of id=, src=, env=, type=`);
    }
    fields.set(name === "source" ? "src" : name, field.slice(equals + 1));
  }
  const id = fields.get("id") ?? "";
  if (id === "") throw new CommandFailure(`invalid secret "${text}": it has no id`);
  const type = fields.get("type");
  if (type !== undefined && type !== "file" && type !== "env") {
    throw new CommandFailure(`unsupported secret type "${type}"; use file or env`);
  }
  const source = fields.get("src");
  // With type=env, src names the variable, as docker has it.
  const variable = fields.get("env") ?? (type === "env" ? (source ?? id) : undefined);
  if (variable !== undefined) return [id, () => fromVariable(variable)];
  if (source === undefined && process.env[id] !== undefined) return [id, () => fromVariable(id)];
  const path = resolve(source ?? id);
  const stat = statSync(path, { throwIfNoEntry: false });
  if (!stat?.isFile()) throw new CommandFailure(`invalid secret "${text}": there is no file "${path}"`);
  if (stat.size > maxSecretBytes) throw new CommandFailure(`secret "${id}" is larger than ${maxSecretBytes} bytes`);
  return [id, () => readFileSync(path)];
}

function fromVariable(name: string): Uint8Array | undefined {
  const value = process.env[name];
  return value === undefined ? undefined : Buffer.from(value);
}

/** `default`, or `ID=SOCKET`, or `ID=KEYFILE[,KEYFILE]`; with nothing behind it the socket of SSH_AUTH_SOCK. */
function parseAgent(text: string): [id: string, paths: readonly string[]] {
  const [id = "", given = process.env["SSH_AUTH_SOCK"] ?? ""] = text.split(/=(.*)/s);
  if (given === "")
    throw new CommandFailure(`invalid empty ssh agent socket for "${text}": make sure SSH_AUTH_SOCK is set`);
  const paths = given.split(",").map((path) => resolve(path));
  for (const path of paths) {
    const stat = statSync(path, { throwIfNoEntry: false });
    if (!stat?.isSocket() && !stat?.isFile()) {
      throw new CommandFailure(`ssh "${text}": "${path}" is neither an agent's socket nor a key's file`);
    }
    if (stat.isSocket() && paths.length > 1) {
      throw new CommandFailure(`ssh "${text}": an agent's socket stands alone, without other paths`);
    }
  }
  return [id === "" ? "default" : id, paths];
}

/** Sockets of agents by id; files of keys get an agent of their own. */
async function openAgents(texts: readonly string[], undo: DisposableStack): Promise<Map<string, string>> {
  const agents = new Map<string, string>();
  for (const [id, paths] of texts.map(parseAgent)) {
    const [only = ""] = paths;
    agents.set(id, statSync(only).isSocket() ? only : undo.use(await openKeyAgent(paths)).path);
  }
  return agents;
}

const hubHosts = new Set(["docker.io", "index.docker.io", "registry-1.docker.io"]);

async function credentialsOf(host: string): Promise<{ username: string; secret: string } | undefined> {
  const login = await findLogin(hubHosts.has(host) ? hubServer : host);
  if (!login) return undefined;
  // Without a user name the secret is a refresh token.
  if (login.identitytoken !== undefined) return { username: "", secret: login.identitytoken };
  return { username: login.username ?? "", secret: login.password ?? "" };
}
