import { readFileSync, statSync } from "node:fs";
import { EngineError } from "../common/index.ts";
import { isRepositoryPattern, matchesRepository } from "./server-patterns.ts";

export type RegistryAction = "pull" | "push" | "delete";
export const registryActions: readonly RegistryAction[] = ["pull", "push", "delete"];

/** Who is who, and who may do what. A user of `undefined` is somebody who did not say. */
export interface AccessPolicy {
  /** Whether it is that user's password. */
  verify(user: string, password: string): Promise<boolean>;
  isAllowed(user: string | undefined, repository: string, action: RegistryAction): boolean;
}

export interface AccessFiles {
  /** `user:bcrypt` lines, as `htpasswd -B` writes them; read again when it changes. */
  readonly htpasswdPath: string;
  /** Without it every user may do everything. */
  readonly rulesPath?: string;
  /** Anyone may pull what no rule forbids: everything. */
  readonly anonymousPull?: boolean;
}

interface Rule {
  readonly user: string;
  readonly pattern: string;
  readonly actions: readonly RegistryAction[];
}

/** What an unknown user's password is compared with, so that the time does not tell who exists. */
const nobodysHash = "$2b$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy";

/** Access by files. Throws `invalidArgument`, with file and line, for what cannot be used. */
export class FileAccess implements AccessPolicy {
  #users = new Map<string, string>();
  #usersVersion = "";
  readonly #rules: readonly Rule[];
  /** Passwords that were right, hashed with a key of this process: bcrypt is slow on purpose, and each request asks. */
  readonly #verified = new Map<string, string>();
  readonly #key = crypto.getRandomValues(new Uint8Array(32));

  constructor(private readonly files: AccessFiles) {
    this.#refresh();
    const rules =
      files.rulesPath === undefined
        ? [{ user: "*", pattern: "*", actions: registryActions }]
        : readRules(files.rulesPath);
    this.#rules = files.anonymousPull ? [...rules, { user: "anonymous", pattern: "*", actions: ["pull"] }] : rules;
  }

  async verify(user: string, password: string): Promise<boolean> {
    this.#refresh();
    const hash = this.#users.get(user);
    const proof = new Bun.CryptoHasher("sha256", this.#key).update(`${hash}\0${password}`).digest("hex");
    if (hash !== undefined && this.#verified.get(user) === proof) return true;
    const isRight = await Bun.password.verify(password, hash ?? nobodysHash, "bcrypt");
    if (hash === undefined || !isRight) return false;
    this.#verified.set(user, proof);
    return true;
  }

  isAllowed(user: string | undefined, repository: string, action: RegistryAction): boolean {
    return this.#rules.some(
      (rule) =>
        (rule.user === "anonymous" || (user !== undefined && (rule.user === "*" || rule.user === user))) &&
        rule.actions.includes(action) &&
        matchesRepository(rule.pattern, repository),
    );
  }

  #refresh(): void {
    const { htpasswdPath: path } = this.files;
    const { mtimeMs, size, ino } = statSync(path);
    const version = `${mtimeMs} ${size} ${ino}`;
    if (version === this.#usersVersion) return;
    this.#users = readHtpasswd(path);
    this.#usersVersion = version;
    this.#verified.clear();
  }
}

function readHtpasswd(path: string): Map<string, string> {
  const users = new Map<string, string>();
  for (const { line, where } of linesOf(path)) {
    const colon = line.indexOf(":");
    const hash = line.slice(colon + 1);
    if (colon < 1 || !/^\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}$/.test(hash)) {
      throw new EngineError("invalidArgument", `${where} is no user with a bcrypt hash: write it with htpasswd -B`);
    }
    // The three are one algorithm; the letter tells of old faults in some implementations.
    users.set(line.slice(0, colon), hash.replace(/^\$2y/, "$2b"));
  }
  return users;
}

/** Lines of `USER REPOSITORY ACTIONS`: a name, `*` (whoever logged in) or `anonymous`; see `isRepositoryPattern`; `pull,push,delete`. */
function readRules(path: string): Rule[] {
  return linesOf(path).map(({ line, where }) => {
    const [user = "", pattern = "", list = "", ...rest] = line.split(/\s+/);
    const actions = list.split(",");
    const isPattern = isRepositoryPattern(pattern);
    const isActions = actions.every((action) => (registryActions as readonly string[]).includes(action));
    if (rest.length > 0 || !isPattern || !isActions) {
      throw new EngineError("invalidArgument", `${where} is no rule of the form "USER REPOSITORY pull,push,delete"`);
    }
    return { user, pattern, actions: actions as RegistryAction[] };
  });
}

function linesOf(path: string): { line: string; where: string }[] {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw new EngineError("invalidArgument", `Cannot read "${path}": ${(error as Error).message}`, { cause: error });
  }
  return text
    .split("\n")
    .map((line, index) => ({ line: line.trim(), where: `${path}:${index + 1}` }))
    .filter(({ line }) => line !== "" && !line.startsWith("#"));
}
