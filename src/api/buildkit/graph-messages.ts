// Types of BuildKit's build graphs (moby/buildkit, solver/pb/ops.proto): as much of them as sources need.
import { createHash } from "node:crypto";
import { EngineError } from "../../common/index.ts";
import { integer, many, manyBytes, mapOf, message, one, text, type Message } from "./protobuf.ts";

/** A build graph in BuildKit's own form: each `def` is an encoded Op; the last one is nobody's and points at the result. */
export interface Definition {
  def: readonly Uint8Array[];
  /** By the digest of the op. */
  metadata: ReadonlyMap<string, Metadata | undefined>;
}
interface Metadata {
  description: ReadonlyMap<string, string>;
}
export const definitionMessage: Message<Definition> = message<Definition>({
  def: manyBytes(1),
  metadata: mapOf(2, (number) => one(number, message<Metadata>({ description: mapOf(2, text) }))),
});

interface Input {
  digest: string;
  index: number;
}
interface Source {
  identifier: string;
  attrs: ReadonlyMap<string, string>;
}
const nothing = message<Record<never, never>>({});
const opMessage = message({
  inputs: many(1, message<Input>({ digest: text(1), index: integer(2) })),
  exec: one(2, nothing),
  source: one(3, message<Source>({ identifier: text(1), attrs: mapOf(2, text) })),
  file: one(4, nothing),
  build: one(5, nothing),
  merge: one(6, nothing),
  diff: one(7, nothing),
});

/** How a result of ours is called in a graph that its client gets, and may send back as what another build starts from. */
const ownScheme = "vitrine-image://";

/** The graph of an image of this engine, by its id: one source. */
export function imageDefinition(imageId: string): Definition {
  const op = opMessage.encode({ source: { identifier: `${ownScheme}${imageId}`, attrs: new Map() } });
  const digest = `sha256:${createHash("sha256").update(op).digest("hex")}`;
  const end = opMessage.encode({ inputs: [{ digest, index: 0 }] });
  const description = new Map([["llb.customname", `image ${imageId}`]]);
  return { def: [op, end], metadata: new Map([[digest, { description }]]) };
}

/**
 * Where the files of a graph come from, as `--build-context` has it: `docker-image://…`, a git URL, `https://…`, `local:NAME`.
 * Undefined for an empty one. Throws unsupported, by name, for a graph that does more than take a source.
 */
export function sourceOf({ def }: Definition): string | undefined {
  const last = def.at(-1);
  if (last === undefined) return undefined;
  const byDigest = new Map(def.map((op) => [`sha256:${createHash("sha256").update(op).digest("hex")}`, op]));
  const [input] = opMessage.decode(last).inputs;
  if (input === undefined) throw new EngineError("invalidArgument", "The build graph has no result");
  const op = byDigest.get(input.digest);
  if (op === undefined) throw new EngineError("invalidArgument", `The build graph has no op ${input.digest}`);
  const { source, ...others } = opMessage.decode(op);
  if (source) return targetOf(source);
  const kind = (["exec", "file", "build", "merge", "diff"] as const).find((name) => others[name] !== undefined);
  const what = `A build graph in BuildKit's own form (LLB) with "${kind ?? "an unknown op"}"`;
  throw new EngineError("unsupported", `${what} is not taken, only one of a source; use a Dockerfile`);
}

/** The source of an identifier, with what its attributes say of it. Throws unsupported for another kind, by name. */
export function targetOf({ identifier, attrs }: Source): string {
  const [, scheme = "", rest = ""] = /^([a-z][a-z0-9+.-]*):\/\/(.*)$/s.exec(identifier) ?? [];
  switch (scheme) {
    case "vitrine-image":
    case "docker-image":
      return `docker-image://${rest}`;
    case "local":
      return `local:${rest}`;
    case "git":
      return gitTarget(rest, attrs);
    case "http":
    case "https":
      return identifier;
    default:
      throw new EngineError(
        "unsupported",
        `the source "${identifier}" is not built; use an image, git, http or a folder`,
      );
  }
}

/** `git://host/path#reference`, whose attribute tells the address in full (moby/buildkit, client/llb/source.go). */
function gitTarget(rest: string, attrs: ReadonlyMap<string, string>): string {
  const [, fragment] = /^[^#]*#(.*)$/s.exec(rest) ?? [];
  const address = attrs.get("git.fullurl") ?? `https://${rest.replace(/#.*$/s, "")}`;
  return fragment === undefined || address.includes("#") ? address : `${address}#${fragment}`;
}
