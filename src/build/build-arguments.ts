import { hostPlatform, platformText } from "../registry/index.ts";
import type { Platform } from "../spec/index.ts";

/** Arguments that need no ARG and leave no trace in an image's history (Dockerfile reference, "Predefined ARGs"). */
const predefined: ReadonlySet<string> = new Set(
  ["HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY"].flatMap((name) => [name, name.toLowerCase()]),
);

/** Arguments of the platform, which a stage gets once it names them in an ARG. */
function platformArguments(targetStage: string, target: Platform): ReadonlyMap<string, string> {
  const values = new Map<string, string>();
  for (const [prefix, platform] of [
    ["BUILD", hostPlatform()],
    ["TARGET", target],
  ] as const) {
    values.set(`${prefix}PLATFORM`, platformText(platform));
    values.set(`${prefix}OS`, platform.os);
    values.set(`${prefix}ARCH`, platform.architecture);
    values.set(`${prefix}VARIANT`, platform.variant ?? "");
    values.set(`${prefix}OSVERSION`, "");
  }
  values.set("TARGETSTAGE", targetStage);
  return values;
}

type Declared = ReadonlyMap<string, string | undefined>;

/** The values of ARG at one point of a Dockerfile. Immutable: `declare` gives the next point's. */
export class BuildArguments {
  private constructor(
    /** `--build-arg`; null takes the client's environment, which the client has put in already. */
    readonly options: Readonly<Record<string, string | null>>,
    readonly meta: Declared,
    readonly declared: Declared,
  ) {}

  /** `targetStage` is the name of the stage that is built. */
  static create(
    options: Readonly<Record<string, string | null>>,
    targetStage = "default",
    target = hostPlatform(),
  ): BuildArguments {
    return new BuildArguments(options, platformArguments(targetStage || "default", target), new Map());
  }

  /** An ARG of a stage. Without a default it takes the value of an ARG before the first FROM. */
  declare(name: string, fallback: string | undefined): BuildArguments {
    return new BuildArguments(this.options, this.meta, new Map([...this.declared, [name, fallback]]));
  }

  /** An ARG before the first FROM. */
  declareMeta(name: string, fallback: string | undefined): BuildArguments {
    const meta = new Map([...this.meta, [name, fallback]]);
    return new BuildArguments(this.options, meta, this.declared);
  }

  /** Whether an ARG before the first FROM names it, or it is of the platform. */
  isDeclaredMeta(name: string): boolean {
    return this.meta.has(name);
  }

  /** What a new stage begins with. */
  forStage(): BuildArguments {
    return new BuildArguments(this.options, this.meta, new Map());
  }

  /** Values that FROM and ARG before it may use. */
  metaValues(): Map<string, string> {
    return this.#values(this.meta);
  }

  /** Values that instructions of the stage may use, but for names that ENV has. Sorted by name. */
  values(environment: ReadonlyMap<string, string>): Map<string, string> {
    const values = [...this.#values(this.declared)].filter(([name]) => !environment.has(name));
    return new Map(values.toSorted(([left], [right]) => (left < right ? -1 : 1)));
  }

  /** Whether a RUN's history entry and cache key tell of it. */
  isRecorded(name: string): boolean {
    return this.declared.has(name) || !predefined.has(name);
  }

  static isPredefined(name: string): boolean {
    return predefined.has(name);
  }

  #values(declared: Declared): Map<string, string> {
    const values = new Map<string, string>();
    for (const name of new Set([...declared.keys(), ...predefined])) {
      const given = Object.hasOwn(this.options, name) ? this.options[name] : undefined;
      const fallback = declared.get(name);
      const value = given ?? fallback ?? (declared.has(name) ? this.meta.get(name) : undefined);
      if (value !== undefined) values.set(name, value);
    }
    return values;
  }
}
