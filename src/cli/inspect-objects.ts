import { type ApiClient, isEngineRefusal, pathPart } from "../api/client/index.ts";
import type { FlagValues } from "./flag-values.ts";
import { inspectZeroValue } from "./inspect-zero-values.ts";
import { describeFailure } from "./each-argument.ts";
import { print, printError } from "./output.ts";

export type ObjectType = "container" | "image" | "volume" | "network";

const objectPaths: Readonly<Record<ObjectType, (name: string) => string>> = {
  container: (name) => `/containers/${pathPart(name)}/json`,
  image: (name) => `/images/${pathPart(name)}/json`,
  volume: (name) => `/volumes/${pathPart(name)}`,
  network: (name) => `/networks/${pathPart(name)}`,
};

export interface InspectRequest {
  readonly names: readonly string[];
  /** The first type that knows the name counts. */
  readonly types: readonly ObjectType[];
  readonly flags: FlagValues;
  readonly size?: boolean;
  /** Of an image that is here for several: an object of OCI in JSON. */
  readonly platform?: string | undefined;
}

/**
 * Prints the objects as a JSON list, or each by `--format`; those not found are told at the end, with exit code 1, as
 * docker does it.
 */
export async function inspectObjects(engine: ApiClient, request: InspectRequest): Promise<number> {
  const format = request.flags.string("format");
  const render = await renderer(format);
  const found: unknown[] = [];
  const failures: string[] = [];
  for (const name of request.names) {
    try {
      const object = await findObject(engine, name, request);
      if (render) print(`${render(object)}\n`);
      else found.push(object);
    } catch (thrown) {
      failures.push(describeFailure(thrown));
      const { TemplateError } = await import("./go-template/index.ts");
      if (!(thrown instanceof TemplateError)) continue;
      failures[failures.length - 1] = `template parsing error: ${thrown.message}`;
      break;
    }
  }
  if (!render) print(`${JSON.stringify(found, undefined, 4)}\n`);
  // docker ends the line that a failing object has begun.
  if (render && failures.length > 0) print("\n");
  for (const failure of failures) printError(`${failure}\n`);
  return failures.length > 0 ? 1 : 0;
}

async function renderer(format: string): Promise<((object: unknown) => string) | undefined> {
  if (format === "") return undefined;
  const { GoTemplate, TemplateError, toJson } = await import("./go-template/index.ts");
  if (format === "json") return (object) => toJson(object);
  try {
    const template = new GoTemplate(format);
    return (object) => template.execute(object, { missingKey: "error", zeroValue: inspectZeroValue });
  } catch (thrown) {
    if (!(thrown instanceof TemplateError)) throw thrown;
    const { UsageError } = await import("./usage-error.ts");
    // 64 is docker's exit code for a format that cannot be parsed.
    throw new UsageError(`template parsing error: ${thrown.message}`, 64);
  }
}

async function findObject(engine: ApiClient, name: string, request: InspectRequest): Promise<unknown> {
  for (const type of request.types) {
    try {
      const query =
        type === "container"
          ? { size: request.size || undefined }
          : { platform: type === "image" ? request.platform : undefined };
      return await engine.get<unknown>(objectPaths[type](name), query);
    } catch (thrown) {
      const absent = isEngineRefusal(thrown) && /^(notFound|invalidArgument)$/.test(thrown.code);
      if (!absent || request.types.length === 1) throw thrown;
    }
  }
  throw new Error(`Error: No such object: ${name}`);
}
