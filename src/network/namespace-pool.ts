import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { NetlinkSocket, RouteSocket, netlinkProtocol, socketFamily, socketType } from "../kernel/index.ts";
import type { NamespaceServer } from "./namespace-server.ts";

/** A fresh network namespace, `lo` up, nobody in it. Who takes it binds it where it shall live, then calls `release`. */
export interface PreparedNamespace {
  /** Where it is mounted until `release`. */
  readonly path: string;
  /** Its links, from outside. */
  readonly route: RouteSocket;
  /** Closes `route` and removes `path`, in the background: without another mount the namespace is gone. */
  release(): Promise<void>;
}

/**
 * Prepared namespaces, made before they are needed since making one can wait for the whole machine's network lock. `take` gives
 * each one once; none comes back. `deep` (1) are kept ready and refilled in the background after each `take`.
 */
export class NamespacePool {
  readonly #server: NamespaceServer;
  readonly #directory: string;
  readonly #deep: number;
  readonly #ready: PreparedNamespace[] = [];
  #making: Promise<void> | undefined;
  #closed = false;
  #number = 0;

  constructor(options: { server: NamespaceServer; directory: string; deep?: number }) {
    this.#server = options.server;
    this.#directory = options.directory;
    this.#deep = options.deep ?? 1;
  }

  /** Removes what an earlier engine left here, and begins to fill. */
  async start(): Promise<void> {
    mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
    await this.#sweep();
    this.#refill();
  }

  async take(): Promise<PreparedNamespace> {
    const prepared = this.#ready.pop();
    if (prepared) {
      this.#refill();
      return prepared;
    }
    // One that is being made is nearer than one not yet begun.
    if (this.#making) {
      await this.#making;
      const made = this.#ready.pop();
      if (made) {
        this.#refill();
        return made;
      }
    }
    return this.#make();
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#making;
    await Promise.all(this.#ready.splice(0).map((prepared) => prepared.release()));
    if (existsSync(this.#directory)) await this.#sweep();
  }

  #refill(): void {
    if (this.#closed || this.#making || this.#ready.length >= this.#deep) return;
    this.#making = this.#make()
      .then((prepared) => void this.#ready.push(prepared))
      // A failure shows at the next `take`, which then makes its own and tells the reason.
      .catch(() => undefined)
      .finally(() => {
        this.#making = undefined;
      });
  }

  async #make(): Promise<PreparedNamespace> {
    const path = join(this.#directory, `${process.pid}-${this.#number++}`);
    await this.#server.create(path);
    try {
      const options = { family: socketFamily.netlink, type: socketType.raw, protocol: netlinkProtocol.route };
      const route = new RouteSocket(new NetlinkSocket(await this.#server.socket(path, options)));
      const release = async () => {
        route[Symbol.dispose]();
        await this.#server.remove(path);
      };
      return { path, route, release };
    } catch (thrown) {
      await this.#server.remove(path);
      throw thrown;
    }
  }

  async #sweep(): Promise<void> {
    await Promise.all(readdirSync(this.#directory).map((name) => this.#server.remove(join(this.#directory, name))));
  }
}
