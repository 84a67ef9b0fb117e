import type { BuildRequest, ClassicBuildRequest } from "../../build/index.ts";
import { EngineError } from "../../common/index.ts";
import type { ProgressMessage } from "../../spec/index.ts";
import { buildError, type BuildSource } from "./build-error.ts";
import { ClientSession } from "./client-session.ts";
import { statusResponse } from "./control-messages.ts";
import type { BuildServices } from "./control-service.ts";
import { encodeStatus } from "./status-records.ts";

/** `POST /build` whose context the client holds: the same options, with a session where the tar was. */
export interface SessionBuild {
  readonly sessionId: string;
  /** The name by which `POST /build/cancel` knows it; "" for none. */
  readonly buildId: string;
  /** 1: the classic builder's text. 2: records of progress. */
  readonly version: 1 | 2;
  readonly options: Omit<ClassicBuildRequest, "context" | "credentials">;
}

/** The builds of `POST /build` that have a session. */
export class SessionBuilds {
  readonly #cancels = new Map<string, AbortController>();

  constructor(private readonly services: BuildServices) {}

  async *build({ sessionId, buildId, version, options }: SessionBuild): AsyncGenerator<ProgressMessage> {
    const cancel = new AbortController();
    const signal = options.signal ? AbortSignal.any([options.signal, cancel.signal]) : cancel.signal;
    const { sessions, engine } = this.services;
    if (buildId !== "" && this.#cancels.has(buildId)) {
      throw new EngineError("alreadyExists", `build "${buildId}" is under way already`);
    }
    const session = new ClientSession(await sessions.find(sessionId, signal), this.services.session);
    if (buildId !== "") this.#cancels.set(buildId, cancel);
    try {
      if (version === 1) yield* engine.builds.buildFrom(session, { ...options, signal });
      else yield* this.#records({ ...options, session, signal, dialect: "buildkit" });
    } finally {
      this.#cancels.delete(buildId);
    }
  }

  /** Throws notFound for a build that is not under way. */
  cancel(buildId: string): void {
    const cancel = this.#cancels.get(buildId);
    if (!cancel) throw new EngineError("notFound", `no build "${buildId}" is under way`);
    cancel.abort();
  }

  async *#records(request: BuildRequest): AsyncGenerator<ProgressMessage> {
    const events = this.services.engine.builds.solve(request);
    let source: BuildSource | undefined;
    const next = async (): Promise<Awaited<ReturnType<(typeof events)["next"]>>> =>
      events.next().catch((error: unknown) => Promise.reject(buildError(error, source)));
    for (;;) {
      const { done, value } = await next();
      if (done) {
        if (value.imageId !== undefined) yield { id: "moby.image.id", aux: { ID: value.imageId } };
        return;
      }
      if (value.type === "source") ({ source } = value);
      if (value.type !== "status") continue;
      const record = statusResponse.encode(encodeStatus(value.status, source));
      yield { id: "moby.buildkit.trace", aux: Buffer.from(record).toString("base64") };
    }
  }
}
