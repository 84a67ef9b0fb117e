import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { EngineError, newId, type Paths } from "../common/index.ts";
import { checkoutGit, type GitCheckout } from "./git-checkout.ts";
import { defaultGitLimits, requireProgram, runGit, type GitLimits, type GitSettings } from "./git-program.ts";
import { headerSecret, type SecretLookup } from "./http-authorization.ts";
import { checkCommitPrefix, isCommitId, shownRemote, type GitReference } from "./git-reference.ts";

/** A repository that a build takes files from, with what the instruction and the client add to its name. */
export interface GitRequest {
  readonly reference: GitReference;
  /** ADD's --keep-git-dir; the reference's own word wins. */
  readonly keepGitDirectory?: boolean;
  /** ADD's --checksum: how the commit's id begins. */
  readonly checksum?: string | undefined;
  /** Value of an `Authorization` header, see `gitAuthorization`. */
  readonly authorization?: string | undefined;
  /** Socket of an agent that the client forwards; ssh remotes need one. */
  readonly sshAgent?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What a reference means at the remote now. */
export interface GitFound {
  /** Id of the commit. */
  readonly commit: string;
  /** `refs/heads/…` or `refs/tags/…` by which the remote knows it; undefined where the commit itself was named. */
  readonly name: string | undefined;
  /** Id of an annotated tag's own object. */
  readonly tag: string | undefined;
  /** Equal keys have equal files. */
  readonly key: string;
}

/**
 * Files of git repositories, by the program git. `find` asks the remote what a name means, which is what a build's cache is keyed
 * by; `checkout` brings the commit's files, shallow where the server can. Nothing of the user's or the machine's settings, no
 * hook, no local path and no question is part of it; submodules come by the same rules.
 *
 *     const found = await source.find(request);
 *     await using checkout = await source.checkout(request, found);
 */
export class GitSource {
  readonly #paths: Paths;
  readonly #limits: GitLimits;
  readonly #protocols: string | undefined;

  /** `protocols` (git's GIT_ALLOW_PROTOCOL): for tests whose server is a folder. */
  constructor(options: { paths: Paths; limits?: Partial<GitLimits>; protocols?: string }) {
    this.#paths = options.paths;
    this.#limits = { ...defaultGitLimits, ...options.limits };
    this.#protocols = options.protocols;
  }

  /** Throws `notFound` for a name that the repository does not have, `invalidArgument` for another commit than the checksum's. */
  async find(request: GitRequest): Promise<GitFound> {
    const { reference } = request;
    const checksum = checksumOf(request);
    if (reference.reference !== undefined && isCommitId(reference.reference)) {
      return found(request, { commit: checked(reference.reference, checksum), name: undefined, tag: undefined });
    }
    if (reference.fetchByCommit) return found(request, { commit: checksum ?? "", name: undefined, tag: undefined });
    const place = this.#place();
    try {
      const settings = this.#settings(request, place);
      const answer = await this.#ask(settings, reference);
      const { commit, tag } = answer;
      if (checksum !== undefined && !commit.startsWith(checksum) && tag?.startsWith(checksum) !== true) {
        checked(commit, checksum);
      }
      return found(request, answer);
    } finally {
      rmSync(place, { recursive: true, force: true });
    }
  }

  /** The files of a commit that was found, in a folder that disposal deletes. */
  async checkout(request: GitRequest, { commit, name }: GitFound): Promise<GitCheckout> {
    const { reference } = request;
    const place = this.#place();
    const remove = async (): Promise<void> => rmSync(place, { recursive: true, force: true });
    try {
      mkdirSync(place, { mode: 0o700 });
      const checkout = await checkoutGit(this.#settings(request, place), {
        place,
        remote: shownRemote(reference.remote),
        commit,
        name,
        folder: reference.folder,
        keepGitDirectory: keepsGitDirectory(request),
        submodules: reference.submodules,
        mtime: reference.mtime,
      });
      return { ...checkout, [Symbol.asyncDispose]: remove };
    } catch (error) {
      await remove();
      throw error;
    }
  }

  async #ask(settings: GitSettings, { remote, reference }: GitReference): Promise<Omit<GitFound, "key">> {
    const shown = shownRemote(remote);
    const call = { what: `ask "${shown}" for its references` };
    if (reference === undefined) {
      const lines = parseLines(await runGit(settings, ["ls-remote", "--symref", "--", shown, "HEAD"], call));
      const name = lines.find(([value, of]) => of === "HEAD" && value.startsWith("ref: "))?.[0].slice("ref: ".length);
      const commit = lines.find(([value, of]) => of === "HEAD" && isCommitId(value))?.[0];
      if (commit === undefined) throw new EngineError("notFound", `The repository "${shown}" has no default branch`);
      return { commit, name: name?.startsWith("refs/") === true ? name : undefined, tag: undefined };
    }
    const lines = parseLines(await runGit(settings, ["ls-remote", "--", shown, reference, `${reference}^{}`], call));
    const values = new Map(lines.map(([value, of]) => [of, value]));
    // A branch is preferred to a tag of the same name, as git-checkout does.
    for (const name of [
      `refs/${strip(reference, "refs/")}`,
      `refs/heads/${strip(reference, "refs/heads/")}`,
      `refs/tags/${strip(reference, "refs/tags/")}`,
    ]) {
      const value = values.get(name);
      if (value === undefined || !isCommitId(value)) continue;
      const commit = values.get(`${name}^{}`);
      return commit === undefined ? { commit: value, name, tag: undefined } : { commit, name, tag: value };
    }
    throw new EngineError("notFound", `repository "${shown}" does not contain ref ${reference}`);
  }

  #settings(request: GitRequest, place: string): GitSettings {
    const { reference, sshAgent, signal } = request;
    if (reference.scheme === "ssh") {
      requireProgram("ssh", `The remote "${reference.remote}"`);
      if (sshAgent === undefined) {
        const why = "it is asked by ssh, and the client forwards no agent: build with --ssh default";
        throw new EngineError("invalidArgument", `Cannot fetch "${reference.remote}": ${why}`);
      }
    }
    const authorization = request.authorization ?? authorizationOf(reference);
    const header =
      authorization === undefined
        ? {}
        : { [`http.${scopeOf(reference)}.extraHeader`]: `Authorization: ${authorization}` };
    return {
      home: join(place, "home"),
      limits: this.#limits,
      config: header,
      sshAgent: reference.scheme === "ssh" ? sshAgent : undefined,
      knownHosts: join(this.#paths.root, "ssh_known_hosts"),
      signal,
      ...(this.#protocols === undefined ? {} : { protocols: this.#protocols }),
    };
  }

  #place(): string {
    return join(this.#paths.temporary, `build-git-${newId().slice(0, 16)}`);
  }
}

/**
 * What the client's secrets say of a remote, in BuildKit's names: GIT_AUTH_HEADER is the header's value, GIT_AUTH_TOKEN a token;
 * with `.host` behind it, for that host only. Undefined: nothing is known, or the remote is not asked by http.
 */
export async function gitAuthorization(
  { scheme, host }: GitReference,
  secret: SecretLookup,
): Promise<string | undefined> {
  if (scheme !== "http" && scheme !== "https") return undefined;
  const names = ["GIT_AUTH_HEADER", "GIT_AUTH_TOKEN"];
  for (const name of [...names.map((name) => `${name}.${host}`), ...names]) {
    const text = await headerSecret(name, secret);
    if (text === undefined) continue;
    return name.startsWith("GIT_AUTH_TOKEN") ? `basic ${base64(`x-access-token:${text}`)}` : text;
  }
  return undefined;
}

/** A user and a password in the URL go as a header: arguments of a program can be read by every user of the machine. */
function authorizationOf({ remote, scheme }: GitReference): string | undefined {
  if (scheme !== "http" && scheme !== "https") return undefined;
  const { username, password } = new URL(remote);
  if (username === "" && password === "") return undefined;
  return `Basic ${base64(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`)}`;
}

/** A token is for its repository; for GitHub's, also for others there, as submodules are. */
function scopeOf({ remote }: GitReference): string {
  const shown = shownRemote(remote);
  return ["https://github.com/", "https://www.github.com/"].find((prefix) => shown.startsWith(prefix)) ?? shown;
}

function keepsGitDirectory({ reference, keepGitDirectory }: GitRequest): boolean {
  return (reference.keepGitDirectory ?? keepGitDirectory ?? false) && reference.folder === undefined;
}

function checksumOf({ reference, checksum }: GitRequest): string | undefined {
  if (checksum === undefined || checksum === "") return reference.checksum;
  checkCommitPrefix(reference.remote, checksum);
  if (reference.checksum !== undefined && reference.checksum !== checksum) {
    throw new EngineError("invalidArgument", `checksum conflicts: "${checksum}" vs "${reference.checksum}"`);
  }
  return checksum;
}

function checked(commit: string, checksum: string | undefined): string {
  if (checksum === undefined || commit.startsWith(checksum)) return commit;
  throw new EngineError("invalidArgument", `expected checksum to match ${checksum}, got ${commit}`);
}

/** The same commit is other files with its `.git`, which holds the name and the tag too. */
function found(request: GitRequest, answer: Omit<GitFound, "key">): GitFound {
  const { folder, submodules, mtime } = request.reference;
  const key = [
    answer.commit,
    keepsGitDirectory(request) ? `.git#${answer.name ?? ""}#${answer.tag ?? ""}` : "",
    folder === undefined ? "" : `:${folder}`,
    submodules ? "" : "(skip-submodules)",
    mtime === "commit" ? "(mtime=commit)" : "",
  ].join("");
  return { ...answer, key };
}

function parseLines(output: string): [value: string, name: string][] {
  return output
    .split("\n")
    .filter((line) => line.includes("\t"))
    .map((line) => line.split("\t", 2) as [string, string]);
}

function strip(text: string, prefix: string): string {
  return text.startsWith(prefix) ? text.slice(prefix.length) : text;
}

function base64(text: string): string {
  return Buffer.from(text).toString("base64");
}
