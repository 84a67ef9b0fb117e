import type { IncomingHttpHeaders } from "node:http";
import * as v from "valibot";
import { EngineError } from "../common/index.ts";
import type { Filters } from "../engine/index.ts";
import { compareVersions } from "./versions.ts";

/** A JSON body larger than this is refused; streams (tars) have the limits of what reads them. */
const maxJsonBytes = 4 * 1024 * 1024;

interface RequestParts {
  readonly method: string;
  readonly parameters: Readonly<Record<string, string | undefined>>;
  /** API version that the path asks for, `1.51`; the newest when it names none. */
  readonly version: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingHttpHeaders;
  readonly body: AsyncIterable<Uint8Array>;
  /** Aborts when the client is gone. */
  readonly signal: AbortSignal;
  /** Whether the client asked to take the connection over (`Connection: Upgrade`). */
  readonly upgrade: boolean;
}

/** One decoded request, independent of the socket that it came by. */
export class ApiRequest {
  readonly query: URLSearchParams;
  readonly body: AsyncIterable<Uint8Array>;
  readonly signal: AbortSignal;

  constructor(private readonly parts: RequestParts) {
    this.query = parts.query;
    this.body = parts.body;
    this.signal = parts.signal;
  }

  /** Whether the client speaks an API older than `version`. */
  isOlderThan(version: string): boolean {
    return compareVersions(this.parts.version, version) < 0;
  }

  parameter(name: string): string {
    const value = this.parts.parameters[name];
    if (value === undefined || value === "") throw new EngineError("invalidArgument", `The path lacks ${name}`);
    return value;
  }

  /** `name` in lower case. */
  header(name: string): string | undefined {
    const value = this.parts.headers[name];
    return typeof value === "string" ? value : value?.[0];
  }

  text(name: string): string | undefined {
    const value = this.query.get(name);
    return value === null || value === "" ? undefined : value;
  }

  /** Docker's rule: absent, empty, `0`, `no`, `false`, `none` are false. */
  flag(name: string, absent = false): boolean {
    const value = this.query.get(name);
    if (value === null) return absent;
    return !["", "0", "no", "false", "none"].includes(value.trim().toLowerCase());
  }

  integer(name: string): number | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    if (!/^-?\d{1,15}$/.test(text)) throw new EngineError("invalidArgument", `${name} "${text}" is not a whole number`);
    return Number(text);
  }

  /** Unix seconds, with a fraction perhaps. 0 counts as absent, as Docker has it. */
  time(name: string): number | undefined {
    const text = this.text(name);
    if (text === undefined || text === "0") return undefined;
    if (!/^\d{1,12}(\.\d{1,9})?$/.test(text))
      throw new EngineError("invalidArgument", `${name} "${text}" is not a time in seconds`);
    return Number(text);
  }

  /** Both forms that Docker takes: `{"label":["a"]}` and the old `{"label":{"a":true}}`. */
  filters(): Filters {
    const text = this.text("filters");
    if (text === undefined) return new Map();
    const invalid = (): never => {
      throw new EngineError("invalidArgument", `invalid filter: "${text.slice(0, 200)}" is not a map of lists`);
    };
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      return invalid();
    }
    if (typeof value !== "object" || value === null || Array.isArray(value)) return invalid();
    return new Map(
      Object.entries(value).map(([name, wanted]: [string, unknown]) => {
        if (Array.isArray(wanted)) return [name, wanted.map(String)];
        if (typeof wanted === "object" && wanted !== null) return [name, Object.keys(wanted)];
        return invalid();
      }),
    );
  }

  async bytes(): Promise<Uint8Array> {
    const chunks: Uint8Array[] = [];
    let size = 0;
    const refuseBeyondLimit = (bytes: number): void => {
      if (bytes <= maxJsonBytes) return;
      throw new EngineError("invalidArgument", `The request body is larger than ${maxJsonBytes} bytes`);
    };
    refuseBeyondLimit(Number(this.parts.headers["content-length"] ?? 0));
    for await (const chunk of this.body) {
      size += chunk.length;
      refuseBeyondLimit(size);
      chunks.push(chunk);
    }
    return Buffer.concat(chunks);
  }

  /** The body checked against a schema; an empty body stands for `{}`. */
  async json<Schema extends v.GenericSchema>(schema: Schema): Promise<v.InferOutput<Schema>> {
    const text = Buffer.from(await this.bytes()).toString("utf8");
    let value: unknown;
    try {
      value = text.trim() === "" ? {} : JSON.parse(text);
    } catch (error) {
      throw new EngineError("invalidArgument", `The request body is not JSON: ${(error as Error).message}`, {
        cause: error,
      });
    }
    if (Array.isArray(value))
      throw new EngineError("invalidArgument", "The request body is a list where the API has an object");
    const result = v.safeParse(schema, value);
    if (result.success) return result.output;
    const issue = result.issues[0];
    throw new EngineError(
      "invalidArgument",
      `The request body's ${v.getDotPath(issue) ?? "value"} is not as the API has it: ${issue.message}`,
    );
  }
}
