import { writeFileSync } from "node:fs";
import type { ApiClient, Query } from "../../api/client/index.ts";
import { formatSize } from "../../common/index.ts";
import { parseReference, type ProgressMessage } from "../../spec/index.ts";
import { EngineError } from "../../common/index.ts";
import type { ProgressKind } from "../build-progress.ts";
import {
  buildCaches,
  buildOutputs,
  type BuildCaches,
  type BuildOutputs,
  type NamedAttributes,
} from "../build-outputs.ts";
import { namedContexts } from "../named-contexts.ts";
import type { BuildSession } from "../build-session.ts";
import type { Command, Flag, Invocation } from "../command.ts";
import type { FlagValues } from "../flag-values.ts";
import { print, printError } from "../output.ts";
import { showProgress } from "../progress.ts";
import { CommandFailure } from "../usage-error.ts";

/** Flags that go to the engine as they are, with the API's name of the parameter; it refuses what it has not built. */
const passed: readonly (readonly [flag: Flag, parameter: string])[] = [
  [
    {
      name: "cgroup-parent",
      kind: "string",
      description: "Set the parent cgroup for the RUN instructions during build",
    },
    "cgroupparent",
  ],
  [
    { name: "cpu-period", kind: "int", description: "Limit the CPU CFS (Completely Fair Scheduler) period" },
    "cpuperiod",
  ],
  [{ name: "cpu-quota", kind: "int", description: "Limit the CPU CFS (Completely Fair Scheduler) quota" }, "cpuquota"],
  [{ name: "cpu-shares", short: "c", kind: "int", description: "CPU shares (relative weight)" }, "cpushares"],
  [{ name: "cpuset-cpus", kind: "string", description: "CPUs in which to allow execution (0-3, 0,1)" }, "cpusetcpus"],
  [{ name: "cpuset-mems", kind: "string", description: "MEMs in which to allow execution (0-3, 0,1)" }, "cpusetmems"],
  [
    {
      name: "network",
      kind: "string",
      alias: "net",
      default: "default",
      description: "Set the networking mode for the RUN instructions during build",
    },
    "networkmode",
  ],
  [
    {
      name: "provenance",
      kind: "string",
      description: "Attest how the image was built (true, mode=max, version=v1)",
    },
    "provenance",
  ],
  [{ name: "sbom", kind: "string", description: "Attest what packages the image holds (true)" }, "sbom"],
  [
    {
      name: "platform",
      kind: "string",
      description: "Set target platform for build; several with commas between them",
    },
    "platform",
  ],
  [{ name: "target", kind: "string", description: "Set the target build stage to build." }, "target"],
];

export const command: Command = {
  usage: "build [OPTIONS] PATH | URL | -",
  description: "Build an image from a Dockerfile",
  aliases: ["image build", "build", "builder build"],
  flags: [
    ...passed.map(([flag]) => flag),
    { name: "add-host", kind: "list", description: 'Add a custom host-to-IP mapping ("host:ip")' },
    {
      name: "allow",
      kind: "list",
      description: 'Allow extra privileged entitlement ("network.host", "security.insecure")',
    },
    { name: "build-arg", kind: "list", description: "Set build-time variables" },
    {
      name: "build-context",
      kind: "list",
      description: 'Additional build contexts ("name=path", "name=docker-image://image", "name=URL")',
    },
    {
      name: "cache-from",
      kind: "list",
      description: 'External cache sources (e.g., "user/app:cache", "type=local,src=path/to/dir")',
    },
    {
      name: "cache-to",
      kind: "list",
      description:
        'Cache export destinations (e.g., "type=registry,ref=user/app:cache,mode=max", "type=local,dest=path")',
    },
    {
      name: "debug",
      kind: "bool",
      description: "Open a shell where a RUN failed, in what it left; nothing of it stays",
    },
    { name: "check", kind: "bool", description: "Check the Dockerfile and build nothing" },
    { name: "file", short: "f", kind: "string", description: 'Name of the Dockerfile (Default is "PATH/Dockerfile")' },
    { name: "force-rm", kind: "bool", description: "Always remove intermediate containers" },
    { name: "iidfile", kind: "string", description: "Write the image ID to the file" },
    { name: "load", kind: "bool", description: 'Shorthand for "--output=type=docker"' },
    { name: "metadata-file", kind: "string", description: "Write build result metadata to a file" },
    {
      name: "output",
      short: "o",
      kind: "list",
      description: 'Output destination (format: "type=local,dest=path"; a path; "-")',
    },
    { name: "push", kind: "bool", description: 'Shorthand for "--output=type=registry"' },
    { name: "label", kind: "list", description: "Set metadata for an image" },
    { name: "memory", short: "m", kind: "bytes", description: "Memory limit" },
    {
      name: "memory-swap",
      kind: "bytes",
      description: 'Swap limit equal to memory plus swap: "-1" to enable unlimited swap',
    },
    { name: "no-cache", kind: "bool", description: "Do not use cache when building the image" },
    { name: "no-cache-filter", kind: "list", description: "Do not cache specified stages" },
    {
      name: "progress",
      kind: "string",
      description: 'Set type of progress output ("auto", "plain", "tty", "rawjson", "quiet")',
      check: checkProgress,
    },
    { name: "pull", kind: "bool", description: "Always attempt to pull a newer version of the image" },
    { name: "quiet", short: "q", kind: "bool", description: "Suppress the build output and print image ID on success" },
    {
      name: "reproducible",
      kind: "bool",
      description: "Give what the builder writes the time of SOURCE_DATE_EPOCH, or 1970",
    },
    { name: "rm", kind: "bool", default: true, description: "Remove intermediate containers after a successful build" },
    {
      name: "secret",
      kind: "list",
      description: 'Secret to expose to the build (format: "id=mysecret[,src=/local/secret]")',
    },
    { name: "shm-size", kind: "bytes", description: 'Size of "/dev/shm"' },
    {
      name: "ssh",
      kind: "list",
      description: 'SSH agent socket or keys to expose to the build (format: "default|<id>[=<socket>|<key>[,<key>]]")',
    },
    {
      name: "tag",
      short: "t",
      kind: "list",
      description: 'Name and optionally a tag in the "name:tag" format',
      check: checkTag,
    },
    { name: "ulimit", kind: "list", description: "Ulimit options" },
    { name: "verify", kind: "bool", description: "Build twice and tell what differs, by step and file" },
    { name: "why", kind: "bool", description: "Tell for each step why it was cached or not" },
  ],
  arguments: { min: 1, max: 1 },
  run: buildImage,
};

async function buildImage(invocation: Invocation): Promise<number> {
  const { flags, args, client } = invocation;
  if (flags.bool("check")) return (await import("../check-build.ts")).checkBuild(invocation);
  const engine = await client();
  const debugged = flags.bool("debug")
    ? await (await import("../debug-step.ts")).debugging(invocation)
    : (messages: AsyncIterable<ProgressMessage>): AsyncIterable<ProgressMessage> => messages;
  const { openBuildSession } = await import("../build-session.ts");
  const { folders, others, layouts } = namedContexts(flags.list("build-context"));
  const outputs = buildOutputs(flags);
  const caches = buildCaches(flags);
  const lent = { stores: { ...caches.stores, ...layouts }, outputs: outputs.places };
  using session = await openBuildSession(engine, { source: args[0] ?? "", flags, contexts: folders, ...lent });
  const query = { ...(await parameters(flags)), buildcontexts: others };
  if (session) {
    const query_ = { ...query, ...outputQuery(flags, { outputs, caches }) };
    const lines = debugged(sessionLines(engine, { query: query_, session, flags }));
    return await showBuild(lines, { flags, session, caches });
  }
  refuseWithoutSession(flags, { ...folders, ...layouts });
  const { openContext } = await import("../build-context.ts");
  const context = await openContext(args[0] ?? "", flags.string("file"));
  const messages = engine.lines<ProgressMessage>("POST", "/build", {
    query: { ...query, dockerfile: context.dockerfile, cachefrom: namesOnly(flags.list("cache-from")) },
    upload: flags.bool("quiet") ? context.tar : reported(context.tar),
  });
  return showBuild(debugged(messages), { flags, caches });
}

/** The classic builder takes images by their names. */
function namesOnly(caches: readonly string[]): string | undefined {
  const other = caches.find((text) => text.includes("="));
  if (other !== undefined)
    throw new CommandFailure(`--cache-from "${other}" needs a session, and so a local folder as the context`);
  return caches.length > 0 ? JSON.stringify(caches) : undefined;
}

/** What a session's build is asked beside what any is. */
function outputQuery(flags: FlagValues, { outputs, caches }: { outputs: BuildOutputs; caches: BuildCaches }): Query {
  const { exporters } = outputs;
  const listed = (entries: readonly NamedAttributes[]): string | undefined =>
    entries.length > 0 ? JSON.stringify(entries) : undefined;
  const isFilesOnly = exporters.length > 0 && exporters.every(({ Type }) => !["image", "registry"].includes(Type));
  return {
    outputs: listed(exporters),
    cacheimports: listed(caches.imports),
    cachefrom: namesOnly(flags.list("cache-from").filter((text) => !text.includes("="))),
    cacheto: listed(caches.exports),
    // Names are of the images that outputs make.
    t: exporters.length > 0 ? undefined : flags.list("tag"),
    withoutimage: isFilesOnly || undefined,
  };
}

function checkTag(text: string): void {
  parseReference(text);
}

function checkProgress(text: string): void {
  if (!progressKinds.includes(text))
    throw new EngineError("invalidArgument", `"${text}" is none of ${progressKinds.join(", ")}`);
}

const progressKinds: readonly string[] = ["auto", "plain", "tty", "rawjson", "quiet"];

/** Flags of what only a session's build of version 2 does. */
const needRecords = ["cache-to", "load", "metadata-file", "output", "push"];

/** Which progress is asked for; undefined for the classic text. */
function recordsKind(flags: FlagValues): Exclude<ProgressKind, "auto"> | undefined {
  const asked = flags.optional("progress") as ProgressKind | undefined;
  const isNeeded = needRecords.some((name) => flags.changed(name)) || flags.string("platform").includes(",");
  if (flags.bool("quiet")) return isNeeded ? "quiet" : undefined;
  const kind = asked ?? (isNeeded ? "auto" : undefined);
  return kind === "auto" ? (process.stderr.isTTY ? "tty" : "plain") : kind;
}

function refuseWithoutSession(flags: FlagValues, folders: Readonly<Record<string, string>>): void {
  const needs = [
    ...(flags.string("platform").includes(",") ? ["platform"] : []),
    ...["secret", "ssh", "progress", ...needRecords].filter((name) => flags.changed(name)),
    ...Object.keys(folders).map(() => "build-context"),
  ];
  if (needs.length === 0) return;
  throw new CommandFailure(`--${needs[0]} needs a local folder as the context, and a Vitrine engine that asks for it`);
}

async function* sessionLines(
  engine: ApiClient,
  { query, session, flags }: { query: Query; session: BuildSession; flags: FlagValues },
): AsyncGenerator<ProgressMessage> {
  const version = recordsKind(flags) === undefined ? "1" : "2";
  const messages = engine.lines<ProgressMessage>("POST", "/build", { query: { ...query, ...session.query, version } });
  let told = flags.bool("quiet") || version === "2";
  for await (const message of messages) {
    if (!told) print(`${sendingContext}${formatSize(session.sentBytes)}\n`);
    told = true;
    yield message;
  }
}

/** Prints what the build tells. Answers the command's exit code. */
async function showBuild(
  messages: AsyncIterable<ProgressMessage>,
  { flags, session, caches }: { flags: FlagValues; session?: BuildSession; caches: BuildCaches },
): Promise<number> {
  const quiet = flags.bool("quiet");
  let imageId: string | undefined;
  const noted = async function* (): AsyncGenerator<ProgressMessage> {
    for await (const message of messages) {
      // A quiet build tells the id as text only.
      if (quiet) imageId = /^sha256:[0-9a-f]{64}/.exec(message.stream ?? "")?.[0] ?? imageId;
      yield message;
    }
  };
  const kind = recordsKind(flags);
  try {
    if (kind !== undefined) {
      const { showRecords } = await import("../build-progress.ts");
      const onResult = (answers: Record<string, string>): void => finishOutputs(answers, { flags, session, caches });
      imageId = await showRecords(messages, { kind, onResult });
    } else {
      await showProgress(noted(), {
        aux: (value) => {
          if (typeof value === "object" && value !== null && "ID" in value) imageId = String(value.ID);
        },
      });
    }
  } catch (thrown) {
    if (!(thrown instanceof EngineError) || thrown.data["fromStream"] !== true) throw thrown;
    printError(`${thrown.message}\n`);
    const isFailedCommand = /returned a non-zero code|did not complete successfully/.test(thrown.message);
    if (isFailedCommand && !flags.bool("debug")) printError(debugHint);
    const code = Number(thrown.data["code"]);
    return code > 0 && code < 256 ? code : 1;
  }
  const idFile = flags.string("iidfile");
  if (idFile !== "" && imageId !== undefined) writeFileSync(idFile, imageId);
  return 0;
}

/** Writes what the engine told of the result. */
function finishOutputs(
  answers: Record<string, string>,
  { flags, session, caches }: { flags: FlagValues; session: BuildSession | undefined; caches: BuildCaches },
): void {
  const { "cache.manifest": manifest, ...told } = answers;
  if (manifest !== undefined) caches.finish(manifest);
  const path = flags.string("metadata-file");
  if (path === "") return;
  const metadata = { "buildx.build.ref": `vitrine/vitrine/${session?.query["session"] ?? ""}`, ...told };
  const sorted = Object.fromEntries(Object.entries(metadata).toSorted(([left], [right]) => (left < right ? -1 : 1)));
  writeFileSync(path, JSON.stringify(sorted, null, 2));
}

async function parameters(
  flags: FlagValues,
): Promise<Record<string, string | boolean | readonly string[] | undefined>> {
  const { sizeOf } = await import("../container-request/resources.ts");
  const { parseUlimit } = await import("../container-request/values.ts");
  const map = (texts: readonly string[], missing: (name: string) => string | null): string | undefined => {
    if (texts.length === 0) return undefined;
    const entries = texts.map((text) => {
      const equals = text.indexOf("=");
      return equals < 0 ? [text, missing(text)] : [text.slice(0, equals), text.slice(equals + 1)];
    });
    return JSON.stringify(Object.fromEntries(entries));
  };
  const plain = passed.map(([flag, parameter]) => [parameter, flags.optional(flag.name)] as const);
  const size = (name: string): string | undefined => (flags.changed(name) ? String(sizeOf(flags, name)) : undefined);
  return {
    ...Object.fromEntries(plain),
    t: flags.list("tag"),
    // An argument without a value takes the client's own variable.
    buildargs: map(flags.list("build-arg"), (name) => process.env[name] ?? null),
    labels: map(flags.list("label"), () => ""),
    nocache: flags.bool("no-cache") || undefined,
    pull: flags.bool("pull") || undefined,
    q: flags.bool("quiet") || undefined,
    rm: flags.bool("rm"),
    forcerm: flags.bool("force-rm") || undefined,
    memory: size("memory"),
    memswap: size("memory-swap"),
    ulimits: flags.list("ulimit").length > 0 ? JSON.stringify(flags.list("ulimit").map(parseUlimit)) : undefined,
    extrahosts: flags.list("add-host").length > 0 ? JSON.stringify(flags.list("add-host")) : undefined,
    allow: flags.list("allow"),
    nocachefilter: flags.list("no-cache-filter"),
    // What the client's environment says holds for its builds, as with docker's own.
    sourcedateepoch: process.env["SOURCE_DATE_EPOCH"],
    reproducible: flags.bool("reproducible") || undefined,
    verify: flags.bool("verify") || undefined,
    why: flags.bool("why") || undefined,
    debug: flags.bool("debug") || undefined,
    shmsize: size("shm-size"),
  };
}

const debugHint = "For a shell in what the command left, run the build again with --debug.\n";

const sendingContext = "Sending build context to Docker daemon  ";

/** Says how much has been sent: while it goes on a terminal, else once. */
async function* reported(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let sizeBytes = 0;
  for await (const chunk of source) {
    sizeBytes += chunk.length;
    if (process.stdout.isTTY) print(`\r${sendingContext}${formatSize(sizeBytes)}\x1b[K`);
    yield chunk;
  }
  print(`${process.stdout.isTTY ? "\r" : ""}${sendingContext}${formatSize(sizeBytes)}\n`);
}
