import { frontendOptions, type CacheSource, type Entitlement } from "../../build/index.ts";
import { EngineError } from "../../common/index.ts";
import type { Engine } from "../../engine/index.ts";
import { buildError } from "./build-error.ts";
import type { BuildJob, JobResult } from "./build-job.ts";
import type { ClientSession } from "./client-session.ts";
import { cacheImports } from "./solve-request.ts";
import { lintRequest } from "./lint-request.ts";

export interface FrontendSolve {
  readonly frontend: string;
  readonly attributes: ReadonlyMap<string, string>;
  /** Graphs in BuildKit's own form, by name. */
  readonly definitions: number;
  readonly inputs: readonly string[];
  readonly entitlements: readonly string[];
  /** Beside those of the attributes. */
  readonly cacheFrom: readonly CacheSource[];
}

/** One run of the Dockerfile frontend for a client's job. Throws unsupported for another frontend and for graphs of the client. */
export async function solveFrontend(
  solve: FrontendSolve,
  services: { engine: Engine; session: ClientSession; job: BuildJob; signal: AbortSignal },
): Promise<JobResult> {
  if (solve.definitions > 0) {
    throw new EngineError("unsupported", "A build graph in BuildKit's own form (LLB) is not taken; use a Dockerfile");
  }
  if (solve.frontend !== "dockerfile.v0") {
    throw new EngineError("unsupported", `frontend "${solve.frontend}" is not built; use the Dockerfile's own`);
  }
  if (solve.inputs.length > 0) {
    throw new EngineError("unsupported", `frontend inputs "${solve.inputs.join('", "')}" are not built yet`);
  }
  const request = solve.attributes.get("requestid");
  if (request === "frontend.lint") return lintRequest(plainAttributes(solve.attributes), services);
  if (request !== undefined) throw new EngineError("unsupported", `the frontend's "${request}" is not built yet`);
  const events = services.engine.builds.solve({
    session: services.session,
    frontend: frontendOptions(plainAttributes(solve.attributes)),
    dialect: "buildkit",
    tags: [],
    entitlements: solve.entitlements.map(entitlement),
    cacheFrom: distinct([...solve.cacheFrom, ...cacheImports(solve.attributes)]),
    cacheTo: services.job.cacheTo,
    signal: services.signal,
  });
  try {
    for (;;) {
      const { done, value } = await events.next();
      if (done) return { exported: value, metadata: new Map() };
      if (value.type === "status") services.job.tell(value.status);
      if (value.type === "source") services.job.source = value.source;
    }
  } catch (error) {
    throw buildError(error, services.job.source);
  }
}

/** Clients name the same cache to the solve and to the frontend. */
function distinct(sources: readonly CacheSource[]): CacheSource[] {
  return [...new Map(sources.map((source) => [JSON.stringify(source), source])).values()];
}

/** What clients say of themselves, and of where the Dockerfile comes from, is no option of the build. */
const notOptions =
  /^(vcs:|frontend\.caps$|local-sessionid:|build-arg:BUILDKIT_SYNTAX$|localdir:|dockerfilekey$|contextkey$|requestid$)/;

function plainAttributes(attributes: ReadonlyMap<string, string>): Record<string, string> {
  return Object.fromEntries([...attributes].filter(([name]) => !notOptions.test(name)));
}

function entitlement(name: string): Entitlement {
  if (name === "network.host" || name === "security.insecure") return name;
  throw new EngineError("unsupported", `entitlement "${name}" is not known`);
}
