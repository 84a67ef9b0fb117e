import type { Duplex } from "node:stream";
import { EngineError } from "../../common/index.ts";
import { GrpcClient } from "./grpc-client.ts";

/** A connected client, as it introduced itself. */
export interface ConnectedSession {
  readonly id: string;
  /** Tells this client's folders from others'. */
  readonly sharedKey: string;
  readonly client: GrpcClient;
  offers(path: string): boolean;
}

export interface SessionIntroduction {
  readonly id: string;
  readonly sharedKey: string;
  /** Paths of the methods that it serves. */
  readonly methods: readonly string[];
}

/** A build may name its session before the session's own connection is there. */
const arrivalMs = 5000;

/** The sessions whose connections are open. */
export class SessionRegistry {
  readonly #sessions = new Map<string, ConnectedSession>();
  readonly #arrivals = new Map<string, Set<() => void>>();

  /** Serves one session until its connection closes. Throws conflict for an id that is in use. */
  async attach(introduction: SessionIntroduction, connection: Duplex): Promise<void> {
    this.check(introduction);
    const { id, sharedKey } = introduction;
    const methods = new Set(introduction.methods.map((path) => path.toLowerCase()));
    const client = new GrpcClient(connection);
    this.#sessions.set(id, { id, sharedKey, client, offers: (path) => methods.has(path.toLowerCase()) });
    for (const tell of this.#arrivals.get(id) ?? []) tell();
    try {
      await client.closed;
    } finally {
      this.#sessions.delete(id);
      client.close();
      connection.destroy();
    }
  }

  /** Throws before a connection is taken over for nothing. */
  check({ id }: SessionIntroduction): void {
    if (id === "") throw new EngineError("invalidArgument", "The session has no X-Docker-Expose-Session-Uuid");
    if (this.#sessions.has(id)) throw new EngineError("conflict", `session ${id} already exists`);
  }

  /** Waits a few seconds for a session that is about to connect. Throws notFound. */
  async find(name: string, signal?: AbortSignal): Promise<ConnectedSession> {
    // Some clients put a prefix before the id, to tell vertices apart.
    const id = name.slice(name.indexOf(":") + 1);
    if (!this.#sessions.has(id)) await this.#arrival(id, signal);
    const session = this.#sessions.get(id);
    if (!session) throw new EngineError("notFound", `no active session for ${id}: the build's client is gone`);
    return session;
  }

  async #arrival(id: string, signal: AbortSignal | undefined): Promise<void> {
    const arrived = Promise.withResolvers<void>();
    const waiting = this.#arrivals.get(id) ?? new Set();
    this.#arrivals.set(id, waiting.add(arrived.resolve));
    const timer = setTimeout(arrived.resolve, arrivalMs);
    signal?.addEventListener("abort", () => arrived.resolve(), { once: true });
    await arrived.promise;
    clearTimeout(timer);
    waiting.delete(arrived.resolve);
    if (waiting.size === 0) this.#arrivals.delete(id);
  }
}
