import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { BuildSession, FilesOptions, LocalTree, SshSocket } from "../../build/index.ts";

/** A client's session with a Dockerfile of ours, which makes a result of the files of the context `source`. */
export class SourceSession implements BuildSession, AsyncDisposable {
  readonly #folder: string;

  constructor(
    private readonly session: BuildSession,
    temporary: string,
  ) {
    this.#folder = mkdtempSync(join(temporary, "source-"));
    writeFileSync(join(this.#folder, "Dockerfile"), "FROM scratch\nCOPY --from=source / /\n");
  }

  async files(name: string, options?: FilesOptions): Promise<LocalTree> {
    if (name !== "dockerfile" && name !== "context") return this.session.files(name, options);
    return { root: this.#folder, [Symbol.asyncDispose]: async () => {} };
  }

  secret(id: string): Promise<Uint8Array | undefined> {
    return this.session.secret(id);
  }

  ssh(id: string): Promise<SshSocket | undefined> {
    return this.session.ssh(id);
  }

  credentials(host: string): ReturnType<BuildSession["credentials"]> {
    return this.session.credentials(host);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
