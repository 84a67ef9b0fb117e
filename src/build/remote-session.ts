import { closeSync, mkdirSync, openSync, rmSync } from "node:fs";
import { copyFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { EngineError, newId, type Paths } from "../common/index.ts";
import type { Trash } from "../snapshot/index.ts";
import type { CachePlace } from "./cache-place.ts";
import { archiveKind } from "./archive-kind.ts";
import { parseGitReference, shownRemote, type GitReference } from "./git-reference.ts";
import { gitAuthorization, type GitSource } from "./git-source.ts";
import { httpAuthorization } from "./http-authorization.ts";
import { parseHttpUrl, shownUrl } from "./http-request.ts";
import type { HttpSource } from "./http-source.ts";
import type { BuildSession, FilesOptions, LocalTree, SshSocket } from "./session.ts";
import { readDescriptor } from "./source-tree.ts";
import { dockerfileLimits } from "./source-lines.ts";
import { applyIgnoreRules, TarSession } from "./tar-session.ts";

/** Where a build's context and Dockerfile came from, for provenance. */
export interface ContextOrigin {
  readonly uri: string;
  /** `sha256:<hex>`, or `sha1:<hex>` of a commit. */
  readonly digest: string;
}

export interface RemoteContextOptions {
  /** The client's: it keeps what is secret, and other folders. */
  readonly session: BuildSession;
  readonly http: HttpSource;
  readonly git: GitSource;
  readonly paths: Paths;
  readonly trash: Trash;
  /** What a Dockerfile that comes alone is called. */
  readonly fileName: string;
  readonly keepGitDirectory: boolean;
  readonly signal: AbortSignal;
}

/**
 * The session of a build whose context the client only names: a git repository, or the URL of a tar or of a Dockerfile. Folders
 * `context` and `dockerfile` are what came from there; all else is the client's. Disposal deletes what came.
 */
export class RemoteSession implements BuildSession, AsyncDisposable {
  readonly #disposal: AsyncDisposableStack;
  readonly #session: BuildSession;
  readonly #root: string;

  private constructor(
    readonly origin: ContextOrigin,
    parts: { disposal: AsyncDisposableStack; session: BuildSession; root: string },
  ) {
    this.#disposal = parts.disposal;
    this.#session = parts.session;
    this.#root = parts.root;
  }

  /** Throws `invalidArgument` for what is neither, and what the server says. */
  static async open(url: string, options: RemoteContextOptions): Promise<RemoteSession> {
    const { session } = options;
    await using disposal = new AsyncDisposableStack();
    const reference = parseGitReference(url, { isContext: true });
    let opened: { root: string; origin: ContextOrigin };
    if (reference) opened = await openRepository(disposal, reference, options);
    else if (/^https?:\/\//i.test(url)) opened = await openDownload(disposal, url, options);
    else
      throw new EngineError(
        "invalidArgument",
        `unable to prepare context: "${url}" is no git repository and no http URL`,
      );
    const { root, origin } = opened;
    return new RemoteSession(origin, { disposal: disposal.move(), session, root });
  }

  async files(name: string, options: FilesOptions = {}): Promise<LocalTree> {
    if (name !== "context" && name !== "dockerfile") return this.#session.files(name, options);
    applyIgnoreRules(this.#root, options.exclude ?? []);
    return { root: this.#root, [Symbol.asyncDispose]: async () => {} };
  }

  secret(id: string): Promise<Uint8Array | undefined> {
    return this.#session.secret(id);
  }

  ssh(id: string): Promise<SshSocket | undefined> {
    return this.#session.ssh(id);
  }

  credentials(host: string): ReturnType<BuildSession["credentials"]> {
    return this.#session.credentials(host);
  }

  async cacheFolder(...asked: Parameters<NonNullable<BuildSession["cacheFolder"]>>): Promise<CachePlace | undefined> {
    return this.#session.cacheFolder?.(...asked);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#disposal.disposeAsync();
  }
}

async function openRepository(
  disposal: AsyncDisposableStack,
  reference: GitReference,
  { git, session, keepGitDirectory, signal }: RemoteContextOptions,
): Promise<{ root: string; origin: ContextOrigin }> {
  const authorization = await gitAuthorization(reference, (id) => session.secret(id));
  const agent = reference.scheme === "ssh" ? await session.ssh("default") : undefined;
  if (agent) disposal.use(agent);
  const request = { reference, keepGitDirectory, authorization, sshAgent: agent?.path, signal };
  const found = await git.find(request);
  const { root } = disposal.use(await git.checkout(request, found));
  return { root, origin: gitOrigin(reference, found.commit) };
}

/** `https://host/path.git#reference:folder` and the commit. */
export function gitOrigin({ remote, reference, folder }: GitReference, commit: string): ContextOrigin {
  const fragment = [reference ?? "", ...(folder === undefined ? [] : [folder])].join(":");
  const uri = `${shownRemote(remote)}${fragment === "" ? "" : `#${fragment}`}`;
  return { uri, digest: `${commit.length === 64 ? "sha256" : "sha1"}:${commit}` };
}

/** A tar, perhaps compressed, is the context; anything else is a Dockerfile and all that the context holds. */
async function openDownload(
  disposal: AsyncDisposableStack,
  url: string,
  { http, session, paths, trash, fileName, signal }: RemoteContextOptions,
): Promise<{ root: string; origin: ContextOrigin }> {
  const authorization = await httpAuthorization(url, (id) => session.secret(id));
  const download = disposal.use(await http.open({ url, authorization }, signal));
  const path = await download.file(signal);
  const shown = shownUrl(parseHttpUrl(url).url);
  const origin = { uri: shown, digest: download.digest };
  const fd = openSync(path, "r");
  try {
    if ((await archiveKind(fd, download.fileName)) !== undefined) {
      const unpacked = disposal.use(await TarSession.open(readDescriptor(fd), { paths, trash, signal }));
      return { root: (await unpacked.files("context")).root, origin };
    }
  } finally {
    closeSync(fd);
  }
  const { size } = await stat(path);
  if (size > dockerfileLimits.sizeBytes) {
    const why = `it is no tar archive, and larger than the ${dockerfileLimits.sizeBytes} bytes of a Dockerfile`;
    throw new EngineError("invalidArgument", `unable to prepare context from "${shown}": ${why}`);
  }
  const root = join(paths.temporary, `build-${newId().slice(0, 16)}`);
  mkdirSync(root, { mode: 0o700 });
  disposal.defer(() => rmSync(root, { recursive: true, force: true }));
  const name = fileName === "" || fileName.includes("/") || fileName.startsWith(".") ? "Dockerfile" : fileName;
  await copyFile(path, join(root, name));
  return { root, origin };
}
