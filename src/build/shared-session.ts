import type { CachePlace } from "./cache-place.ts";
import type { BuildSession, FilesOptions, LocalTree } from "./session.ts";

/** A client's session for several builds at once: a folder is brought once, and kept until disposal. */
export class SharedSession implements BuildSession, AsyncDisposable {
  readonly #disposal = new AsyncDisposableStack();
  readonly #trees = new Map<string, Promise<LocalTree>>();

  constructor(
    private readonly session: BuildSession,
    private readonly signal: AbortSignal,
  ) {}

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.allSettled(this.#trees.values());
    await this.#disposal.disposeAsync();
  }

  async files(name: string, options: FilesOptions = {}): Promise<LocalTree> {
    const { signal: _, ...selection } = options;
    const key = JSON.stringify([name, selection]);
    const known = this.#trees.get(key);
    const opening = known ?? this.#open(name, selection);
    if (!known) this.#trees.set(key, opening);
    const { root, state } = await opening;
    return { root, ...(state === undefined ? {} : { state }), [Symbol.asyncDispose]: async () => {} };
  }

  async #open(name: string, selection: Omit<FilesOptions, "signal">): Promise<LocalTree> {
    return this.#disposal.use(await this.session.files(name, { ...selection, signal: this.signal }));
  }

  secret(id: string): ReturnType<BuildSession["secret"]> {
    return this.session.secret(id);
  }

  ssh(id: string): ReturnType<BuildSession["ssh"]> {
    return this.session.ssh(id);
  }

  async cacheFolder(...asked: Parameters<NonNullable<BuildSession["cacheFolder"]>>): Promise<CachePlace | undefined> {
    return this.session.cacheFolder?.(...asked);
  }

  credentials(host: string): ReturnType<BuildSession["credentials"]> {
    return this.session.credentials(host);
  }
}
