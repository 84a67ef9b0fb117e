// Image references, by the grammar and the normalisation of github.com/distribution/reference, which every client shares.
import { EngineError } from "../common/index.ts";

/** `domain` and `path` are normalised: `busybox` is `docker.io` and `library/busybox`. `digest` is `sha256:…`. */
export interface Reference {
  readonly domain: string;
  readonly path: string;
  readonly tag?: string;
  readonly digest?: string;
}

export const defaultDomain = "docker.io";
export const defaultTag = "latest";
const legacyDefaultDomain = "index.docker.io";
const officialPrefix = "library/";
const maxNameLength = 255;
const maxTextLength = 2048;

const domainName =
  "(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])(?:\\.(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]))*";
const domain = `(?:${domainName}|\\[[a-fA-F0-9:]+\\])(?::[0-9]+)?`;
const component = "[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*";
const name = `${component}(?:/${component})*`;
const tag = "\\w[\\w.-]{0,127}";
const digest = "[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}";
const pattern = new RegExp(`^(${domain})/(${name})(?::(${tag}))?(?:@(${digest}))?$`);
const tagPattern = new RegExp(`^${tag}$`);

/**
 * Parses what people write: `busybox`, `user/app:v1`, `host:5000/a/b@sha256:…`. No tag is added; see `withDefaultTag`.
 * Throws invalidArgument with Docker's words.
 */
export function parseReference(text: string): Reference {
  if (text.length > maxTextLength) throw invalid("invalid reference format");
  if (/^[0-9a-f]{64}$/.test(text)) {
    throw invalid(`invalid repository name (${text}), cannot specify 64-byte hexadecimal strings`);
  }
  const split = splitDomain(text);
  const bareName = split.remainder.replace(/[:@].*$/s, "");
  if (bareName !== bareName.toLowerCase()) {
    throw invalid(`invalid reference format: repository name (${bareName}) must be lowercase`);
  }
  const match = pattern.exec(`${split.domain}/${split.remainder}`);
  if (!match) throw invalid("invalid reference format");
  const [, domainPart = "", path = "", tagPart, digestPart] = match;
  if (path.length > maxNameLength) throw invalid(`repository name must not be more than ${maxNameLength} characters`);
  if (digestPart !== undefined) checkDigest(digestPart);
  return {
    domain: domainPart,
    path,
    ...(tagPart === undefined ? {} : { tag: tagPart }),
    ...(digestPart === undefined ? {} : { digest: digestPart }),
  };
}

/** The first component is a host only when it looks like one: a dot, a colon, `localhost`, or upper case in it. */
function splitDomain(text: string): { domain: string; remainder: string } {
  const slash = text.indexOf("/");
  const first = slash === -1 ? "" : text.slice(0, slash);
  const isHost = /[.:]/.test(first) || first === "localhost" || first !== first.toLowerCase();
  let domainPart = slash !== -1 && isHost ? first : defaultDomain;
  let remainder = slash !== -1 && isHost ? text.slice(slash + 1) : text;
  if (domainPart === legacyDefaultDomain) domainPart = defaultDomain;
  if (domainPart === defaultDomain && !remainder.includes("/")) remainder = officialPrefix + remainder;
  return { domain: domainPart, remainder };
}

function checkDigest(text: string): void {
  const [algorithm, hex = ""] = text.split(":");
  if (algorithm !== "sha256") throw invalid(`unsupported digest algorithm: "${text}" is not sha256`);
  if (!/^[0-9a-f]{64}$/.test(hex)) throw invalid("invalid checksum digest length");
}

function invalid(message: string): EngineError {
  return new EngineError("invalidArgument", message);
}

/** Whether `text` may be a tag by itself. */
export function isTag(text: string): boolean {
  return tagPattern.test(text);
}

/** `domain/path`: what names a repository in storage and on the wire. */
export function repositoryName(reference: Reference): string {
  return `${reference.domain}/${reference.path}`;
}

/** The repository as people write it: without `docker.io/` and `library/`. */
export function familiarName(reference: Reference): string {
  if (reference.domain !== defaultDomain) return repositoryName(reference);
  const { path } = reference;
  const short = path.startsWith(officialPrefix) ? path.slice(officialPrefix.length) : path;
  return short.includes("/") ? path : short;
}

/** The whole reference as people write it. */
export function familiarString(reference: Reference): string {
  return `${familiarName(reference)}${suffix(reference)}`;
}

/** The whole reference with its domain: `docker.io/library/busybox:latest`. */
export function canonicalString(reference: Reference): string {
  return `${repositoryName(reference)}${suffix(reference)}`;
}

function suffix({ tag: tagPart, digest: digestPart }: Reference): string {
  return `${tagPart === undefined ? "" : `:${tagPart}`}${digestPart === undefined ? "" : `@${digestPart}`}`;
}

/** Adds `latest` to a reference that has neither tag nor digest. */
export function withDefaultTag(reference: Reference): Reference {
  if (reference.tag !== undefined || reference.digest !== undefined) return reference;
  return { ...reference, tag: defaultTag };
}
