import { posix } from "node:path";
import { EngineError } from "../common/index.ts";

/** A repository and what of it is meant: Docker's `remote#reference:folder`, or the same as a query. */
export interface GitReference {
  /** As git(1) takes it, without fragment and query; may hold a user and a password. */
  readonly remote: string;
  readonly scheme: "http" | "https" | "ssh" | "git";
  /** `host` or `host:port`, in lower case. */
  readonly host: string;
  /** Branch, tag, `refs/…` or commit; undefined is the remote's default branch. */
  readonly reference: string | undefined;
  /** Folder inside the repository, clean and relative; undefined is all of it. */
  readonly folder: string | undefined;
  /** Beginning of the commit's id that must be found. */
  readonly checksum: string | undefined;
  /** Undefined: what the instruction says. */
  readonly keepGitDirectory: boolean | undefined;
  readonly submodules: boolean;
  /** `commit`: every file has the commit's time. */
  readonly mtime: "checkout" | "commit";
  /** The checksum is a whole commit and is trusted: the remote's own names are not asked. */
  readonly fetchByCommit: boolean;
}

const schemes = ["http", "https", "ssh", "git"];
const commitForm = /^([0-9a-f]{40}|[0-9a-f]{64})$/;
/** `[user@]host:path`, as ssh's own copy program has it; the user tells it from an image's name. */
const scpForm = /^([A-Za-z0-9._-]+)@(\[[0-9a-fA-F:]+\]|[A-Za-z0-9][A-Za-z0-9._-]*):([^#?]*)(\?[^#]*)?(#.*)?$/s;

/** Whether the text is a commit's whole id: it cannot move. */
export function isCommitId(text: string): boolean {
  return commitForm.test(text);
}

/**
 * Reads the forms that Docker knows: `https://host/path.git`, `git://…`, `ssh://…`, `user@host:path`, `github.com/…` (contexts
 * only), each with `#reference:folder` or `?ref=&subdir=&checksum=&tag=&branch=&submodules=&keep-git-dir=&mtime=&fetch-by-commit=`.
 * Undefined for anything else: an http URL is a repository when its path ends with `.git`. Throws `invalidArgument` for a
 * repository that is asked for in a way that means nothing or could mean an option to git.
 */
export function parseGitReference(text: string, options: { isContext?: boolean } = {}): GitReference | undefined {
  const located = locate(text, options.isContext === true);
  if (!located) return undefined;
  const { remote, scheme, host, query, fragment } = located;
  const asked = readQuery(text, query);
  const [fragmentReference = "", ...rest] = fragment.split(":");
  const reference = agree(text, "ref", [fragmentReference, asked.ref, asked.tag, asked.branch]);
  const folder = agree(text, "subdir", [cleanFolder(rest.join(":")), cleanFolder(asked.subdir ?? "")]);
  const checksum = agree(text, "checksum", [asked.checksum, asked.commit]);
  if (reference?.startsWith("-")) throw invalid(text, `invalid git ref "${reference}"`);
  if (reference !== undefined && /[\s\p{Cc}~^:?*[\\]|\.\./u.test(reference))
    throw invalid(text, `invalid git ref "${reference}"`);
  if (checksum !== undefined) checkCommitPrefix(text, checksum);
  const mtime = asked.mtime ?? "checkout";
  if (mtime !== "checkout" && mtime !== "commit") {
    throw invalid(text, `invalid mtime value: "${mtime}" (must be "checkout" or "commit")`);
  }
  const fetchByCommit = boolean(text, "fetch-by-commit", asked) ?? false;
  if (fetchByCommit && !isCommitId(checksum ?? reference ?? "")) {
    throw invalid(text, "fetch-by-commit requires a full commit SHA checksum");
  }
  return {
    remote,
    scheme,
    host,
    reference,
    folder,
    checksum,
    keepGitDirectory: boolean(text, "keep-git-dir", asked),
    submodules: boolean(text, "submodules", asked) ?? true,
    mtime,
    fetchByCommit,
  };
}

/** Throws `invalidArgument` for what no commit's id begins with. */
export function checkCommitPrefix(text: string, checksum: string): void {
  if (!/^[0-9a-f]{1,64}$/.test(checksum)) {
    throw invalid(text, `invalid checksum ${checksum} for Git URL, expected hex commit hash`);
  }
}

/** The remote without a user and a password, for people, provenance and the kept `.git`. */
export function shownRemote(remote: string): string {
  if (!URL.canParse(remote)) return remote;
  const url = new URL(remote);
  if (url.password === "" && (url.username === "" || url.protocol === "ssh:")) return remote;
  url.username = url.protocol === "ssh:" ? url.username : "";
  url.password = "";
  return url.href;
}

interface Located {
  readonly remote: string;
  readonly scheme: GitReference["scheme"];
  readonly host: string;
  readonly query: URLSearchParams;
  readonly fragment: string;
}

function locate(text: string, isContext: boolean): Located | undefined {
  if (isContext && text.startsWith("github.com/"))
    return locate(`https://${text}`, false) ?? locateAny(`https://${text}`);
  const scheme = /^([a-zA-Z0-9]+):\/\//.exec(text)?.[1]?.toLowerCase();
  if (scheme === undefined) return locateByCopyForm(text);
  if (!schemes.includes(scheme)) return undefined;
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url) return undefined;
  if ((scheme === "http" || scheme === "https") && !url.pathname.endsWith(".git")) return undefined;
  return locateAny(text);
}

function locateAny(text: string): Located {
  const url = new URL(text);
  const scheme = url.protocol.slice(0, -1) as GitReference["scheme"];
  const { search, hash } = url;
  url.search = url.hash = "";
  // ssh would take such a host, or such a user, for an option.
  if (url.hostname === "" || url.hostname.startsWith("-") || decodeURIComponent(url.username).startsWith("-")) {
    throw invalid(text, `invalid host "${url.hostname}"`);
  }
  return {
    remote: url.href,
    scheme,
    host: url.host.toLowerCase(),
    query: new URLSearchParams(search),
    fragment: decodeURIComponent(hash.slice(1)),
  };
}

function locateByCopyForm(text: string): Located | undefined {
  const [, user, host = "", path = "", query = "", fragment = ""] = scpForm.exec(text) ?? [];
  if (user === undefined) return undefined;
  if (user.startsWith("-") || path === "" || path.startsWith("-")) throw invalid(text, "it names no repository");
  return {
    remote: `${user}@${host}:${path}`,
    scheme: "ssh",
    host: host.toLowerCase(),
    query: new URLSearchParams(query),
    fragment: fragment.slice(1),
  };
}

const queryNames = [
  "ref",
  "tag",
  "branch",
  "subdir",
  "checksum",
  "commit",
  "keep-git-dir",
  "submodules",
  "mtime",
  "fetch-by-commit",
] as const;
type QueryName = (typeof queryNames)[number];
type Query = Partial<Record<QueryName, string>>;
const mayBeEmpty: readonly string[] = ["submodules", "keep-git-dir", "fetch-by-commit"];

/** Docker's words in refusals. */
function readQuery(text: string, query: URLSearchParams): Query {
  const asked: Query = {};
  for (const [name, value] of query) {
    const known = queryNames.find((candidate) => candidate === name);
    if (known === undefined) throw invalid(text, `unexpected query "${name}"`);
    if (asked[known] !== undefined) throw invalid(text, `query "${name}" has multiple values`);
    if (value === "" && !mayBeEmpty.includes(name)) throw invalid(text, `query "${name}" has no value`);
    asked[known] = value;
  }
  if (asked.tag !== undefined && asked.branch !== undefined) throw invalid(text, "branch conflicts with tag");
  if (asked.tag !== undefined) asked.tag = withPrefix(asked.tag, "refs/tags/");
  if (asked.branch !== undefined) asked.branch = withPrefix(asked.branch, "refs/heads/");
  return asked;
}

function withPrefix(name: string, prefix: string): string {
  return name.startsWith(prefix) ? name : prefix + name;
}

/** The one value that several places give. */
function agree(text: string, what: string, values: readonly (string | undefined)[]): string | undefined {
  const given = [...new Set(values.filter((value) => value !== undefined && value !== ""))];
  const [first, second] = given;
  if (second !== undefined) throw invalid(text, `${what} conflicts: "${first}" vs "${second}"`);
  return first;
}

function boolean(
  text: string,
  name: "keep-git-dir" | "submodules" | "fetch-by-commit",
  asked: Query,
): boolean | undefined {
  const value = asked[name];
  if (value === undefined) return undefined;
  if (["", "1", "t", "T", "true", "TRUE", "True"].includes(value)) return true;
  if (["0", "f", "F", "false", "FALSE", "False"].includes(value)) return false;
  throw invalid(text, `invalid ${name} value: "${value}"`);
}

/** As if the repository were the whole world: `..` leads nowhere above it. */
function cleanFolder(folder: string): string | undefined {
  const clean = posix.join("/", folder).replace(/^\/+/, "").replace(/\/+$/, "");
  return clean === "" ? undefined : clean;
}

function invalid(text: string, why: string): EngineError {
  return new EngineError("invalidArgument", `"${shownRemote(text)}": ${why}`);
}
