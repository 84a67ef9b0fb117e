import { createHash } from "node:crypto";
import { linkSync, mkdirSync, rmSync, utimesSync } from "node:fs";
import { join } from "node:path";
import { EngineError, newId, type Paths } from "../common/index.ts";
import type { Snapshotter } from "../snapshot/index.ts";
import type { BuildCache } from "./build-cache.ts";
import { parseGitReference } from "./git-reference.ts";
import { httpAuthorization } from "./http-authorization.ts";
import { parseHttpUrl, shownUrl } from "./http-request.ts";
import { gitOrigin, type ContextOrigin } from "./remote-session.ts";
import { gitAuthorization, type GitSource } from "./git-source.ts";
import type { HttpSource } from "./http-source.ts";
import type { LazyLayers } from "./lazy-layers.ts";
import { MountedSnapshot } from "./mounted-snapshot.ts";
import type { GitOperation, GraphNode, HttpOperation } from "./operation.ts";
import type { BuildSession } from "./session.ts";
import { createIgnoreRules } from "../spec/index.ts";
import { SourceTree, type DigestMemory, type SourceTreeOptions } from "./source-tree.ts";

/** A folder that operations copy from or mount. */
export interface InputTree {
  readonly tree: SourceTree;
  /** On this machine. */
  readonly root: string;
  /** Whether writes into it are nobody's: a snapshot of its own. */
  readonly isPrivate: boolean;
}

/** Files from elsewhere. */
export interface RemoteTree {
  /** Of all its files, known before they are brought; undefined where each selection has its own. */
  readonly digest: string | undefined;
  open(): Promise<InputTree>;
}

/** What opening a folder needs. */
export interface InputSources {
  readonly session: BuildSession;
  readonly snapshots: Snapshotter;
  readonly cache: BuildCache;
  readonly layers: LazyLayers;
  readonly http: HttpSource;
  readonly git: GitSource;
  readonly paths: Paths;
  readonly signal: AbortSignal;
  /** What came from elsewhere, for provenance; each is added once it is known. */
  readonly materials: ContextOrigin[];
}

/** The folders of one build, each opened once and all closed together by disposal. */
export class InputTrees implements AsyncDisposable {
  readonly #disposal = new AsyncDisposableStack();
  readonly #opened = new Map<string, Promise<unknown>>();

  constructor(readonly sources: InputSources) {}

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.allSettled(this.#opened.values());
    await this.#disposal.disposeAsync();
  }

  /** What a `local`, `http` or `git` operation brings. */
  remote({ id, operation }: GraphNode): Promise<RemoteTree> {
    return this.#once(id, async () => {
      switch (operation.kind) {
        case "local": {
          const { session, signal } = this.sources;
          const open = async (): Promise<InputTree> => {
            const { exclude, name } = operation;
            const tree = this.#disposal.use(await session.files(name, { exclude, signal }));
            const { state, isOwn } = tree;
            const memory = state === undefined ? undefined : this.sources.cache.kept.of(state);
            const rules = createIgnoreRules(exclude);
            const ignores = (path: string): boolean => rules.ignores(path);
            return this.#tree(tree.root, { isContext: true, isPrivate: false, isOwn, memory, ignores });
          };
          return { digest: undefined, open: () => this.#once(`open ${id}`, open) };
        }
        case "http":
          return this.#http(operation);
        case "git":
          return this.#git(operation);
        default:
          throw new EngineError("internal", `An operation of kind "${operation.kind}" brings no folder`);
      }
    });
  }

  /** The files of a chain of layers. */
  layers(top: string | undefined): Promise<InputTree> {
    return this.#once(`layers ${top ?? ""}`, async () => {
      const { snapshots, cache } = this.sources;
      await this.sources.layers.need(top);
      const snapshot = this.#disposal.use(await MountedSnapshot.create(snapshots, top));
      const memory = top === undefined ? undefined : memoryOf(cache, top);
      return this.#tree(snapshot.root, { isContext: false, isPrivate: true, memory });
    });
  }

  /** Layers' digests hold for as long as the layers do, so that a copy that is known needs no mount. */
  knownDigest(top: string | undefined, path: string): string | undefined {
    if (top === undefined) return undefined;
    return this.sources.cache.pathDigest(top, path) ?? this.sources.layers.pathDigest(top, path);
  }

  #once<Opened>(id: string, open: () => Promise<Opened>): Promise<Opened> {
    const known = this.#opened.get(id);
    if (known) return known as Promise<Opened>;
    const opening = open();
    opening.catch(() => undefined);
    this.#opened.set(id, opening);
    return opening;
  }

  #tree(root: string, { isPrivate, ...options }: SourceTreeOptions & { isPrivate: boolean }): InputTree {
    const tree = this.#disposal.use(new SourceTree(root, options));
    return { tree, root, isPrivate };
  }

  async #http(operation: HttpOperation): Promise<RemoteTree> {
    const { http, paths, signal, materials, session } = this.sources;
    const authorization = await httpAuthorization(operation.url, (id) => session.secret(id));
    const download = this.#disposal.use(await http.open({ ...operation, authorization }, signal));
    materials.push({ uri: shownUrl(parseHttpUrl(operation.url).url), digest: download.digest });
    const digest = createHash("sha256").update(`${download.digest} ${download.fileName}`).digest("hex");
    const open = async (): Promise<InputTree> => {
      const root = join(paths.temporary, `build-${newId().slice(0, 16)}`);
      mkdirSync(root, { mode: 0o700 });
      this.#disposal.defer(() => rmSync(root, { recursive: true, force: true }));
      const file = await download.file(signal);
      const place = join(root, download.fileName);
      linkSync(file, place);
      // Docker gives what it fetches the server's time, or none.
      const time = (download.lastModifiedMs ?? 0) / 1000;
      utimesSync(place, time, time);
      return this.#tree(root, { isContext: false, isPrivate: false });
    };
    return { digest: `file:${digest}`, open: () => this.#once(`open ${operation.url} ${digest}`, open) };
  }

  async #git({ url, keepGitDirectory, checksum }: GitOperation): Promise<RemoteTree> {
    const { git, session, signal, materials } = this.sources;
    const reference = parseGitReference(url, { isContext: true });
    if (!reference) throw new EngineError("invalidArgument", `"${url}" names no git repository`);
    const authorization = await gitAuthorization(reference, (id) => session.secret(id));
    const agent = reference.scheme === "ssh" ? await session.ssh("default") : undefined;
    if (agent) this.#disposal.use(agent);
    const request = { reference, keepGitDirectory, checksum, signal, authorization, sshAgent: agent?.path };
    const found = await git.find(request);
    materials.push(gitOrigin(reference, found.commit));
    const digest = createHash("sha256").update(found.key).digest("hex");
    const open = async (): Promise<InputTree> => {
      const checkout = this.#disposal.use(await git.checkout(request, found));
      return this.#tree(checkout.root, { isContext: false, isPrivate: false });
    };
    return { digest: `dir:${digest}`, open: () => this.#once(`open ${url} ${digest}`, open) };
  }
}

function memoryOf(cache: BuildCache, top: string): DigestMemory {
  return {
    get: (path) => {
      const digest = cache.pathDigest(top, path);
      return digest === undefined ? undefined : { digest };
    },
    set: (path, { digest }) => cache.recordPathDigest(top, { path, digest }),
  };
}
