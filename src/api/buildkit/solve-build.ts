import { frontendOptions, type BuildRequest, type CacheSource, type Entitlement } from "../../build/index.ts";
import { EngineError } from "../../common/index.ts";
import type { Engine } from "../../engine/index.ts";
import { buildError } from "./build-error.ts";
import type { BuildJob, JobResult } from "./build-job.ts";
import type { ClientSession } from "./client-session.ts";
import { cacheImports } from "./solve-request.ts";
import { sourceOf, type Definition } from "./graph-messages.ts";
import { SourceSession } from "./source-session.ts";
import { subrequest } from "./subrequest.ts";

interface SolveServices {
  readonly engine: Engine;
  readonly session: ClientSession;
  readonly job: BuildJob;
  readonly signal: AbortSignal;
  /** A folder of the engine for what a build needs of its own. */
  readonly temporary: string;
}

export interface FrontendSolve {
  readonly frontend: string;
  readonly attributes: ReadonlyMap<string, string>;
  /** In the place of a frontend: a graph in BuildKit's own form. */
  readonly definition: Definition | undefined;
  /** Such graphs that the frontend may start from, by name; undefined is empty. */
  readonly inputs: ReadonlyMap<string, Definition | undefined>;
  readonly entitlements: readonly string[];
  /** Beside those of the attributes. */
  readonly cacheFrom: readonly CacheSource[];
}

/**
 * One run of the Dockerfile frontend for a client's job, or of a graph that is only a source. Throws unsupported for another frontend
 * and for larger graphs of the client.
 */
export async function solveFrontend(solve: FrontendSolve, services: SolveServices): Promise<JobResult> {
  if (solve.frontend === "" && solve.definition) return solveSource(solve.definition, services);
  if (solve.frontend !== "dockerfile.v0") {
    throw new EngineError("unsupported", `frontend "${solve.frontend}" is not built; use the Dockerfile's own`);
  }
  const attributes = plainAttributes(withInputs(solve.attributes, solve.inputs));
  const request = solve.attributes.get("requestid");
  if (request !== undefined) return subrequest(request, attributes, services);
  const cacheFrom = distinct([...solve.cacheFrom, ...cacheImports(solve.attributes)]);
  const entitlements = solve.entitlements.map(entitlement);
  const { session } = services;
  return run({ session, frontend: frontendOptions(attributes), entitlements, cacheFrom }, services);
}

async function run(
  request: Pick<BuildRequest, "session" | "frontend" | "entitlements" | "cacheFrom">,
  services: SolveServices,
): Promise<JobResult> {
  const { cacheTo } = services.job;
  const { signal } = services;
  const events = services.engine.builds.solve({ ...request, dialect: "buildkit", tags: [], cacheTo, signal });
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

/** The files of a source, as a result: what a client wants to look into before it builds. */
async function solveSource(definition: Definition, services: SolveServices): Promise<JobResult> {
  const source = sourceOf(definition);
  if (source === undefined) return { exported: undefined, metadata: new Map() };
  await using session = new SourceSession(services.session, services.temporary);
  const frontend = frontendOptions({ "context:source": source });
  return await run({ session, frontend, entitlements: [], cacheFrom: [] }, services);
}

/** `context:NAME=input:NAME` with what the input is; inputs of the names `context` and `dockerfile` are the build's own. */
function withInputs(
  attributes: ReadonlyMap<string, string>,
  inputs: FrontendSolve["inputs"],
): ReadonlyMap<string, string> {
  const input = (name: string): string => {
    if (!inputs.has(name)) throw new EngineError("invalidArgument", `invalid input "${name}": the client sent none`);
    const definition = inputs.get(name);
    // The name that BuildKit has for an image without anything.
    return (definition && sourceOf(definition)) ?? "docker-image://scratch";
  };
  const named = [...attributes].map(([name, value]): [string, string] => {
    const isInput = name.startsWith("context:") && value.startsWith("input:");
    return [name, isInput ? input(value.slice("input:".length)) : value];
  });
  const context = inputs.has("context") ? input("context") : undefined;
  if (inputs.has("dockerfile") && input("dockerfile") !== context) {
    throw new EngineError("unsupported", 'the input "dockerfile" is not built where it is not the context\'s own');
  }
  return new Map(context === undefined ? named : [...named, ["context", context]]);
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
