import { CommandFailure } from "./usage-error.ts";
import { readDockerConfig, writeDockerConfig, type DockerConfig } from "./docker-config.ts";

/** The key under which docker keeps what it knows of its hub. */
export const hubServer = "https://index.docker.io/v1/";
/** What helpers say when they have nothing. */
const notFoundWords = "credentials not found in native keychain";
/** The user name that helpers give when the secret is a refresh token. */
const tokenUser = "<token>";

export interface RegistryLogin {
  readonly serveraddress: string;
  readonly username?: string;
  readonly password?: string;
  readonly identitytoken?: string;
}

/** The registry that an image name says, as the config file names it: `localhost:5000/app` is at `localhost:5000`. */
export function serverOfImage(name: string): string {
  const slash = name.indexOf("/");
  const first = slash === -1 ? "" : name.slice(0, slash);
  const isHost = /[.:]/.test(first) || first === "localhost" || first !== first.toLowerCase();
  return isHost && !["docker.io", "index.docker.io"].includes(first) ? first : hubServer;
}

/** What is known of a registry; undefined when nothing. */
export async function findLogin(server: string): Promise<RegistryLogin | undefined> {
  const config = readDockerConfig();
  const helper = helperFor(config, server);
  if (helper !== undefined) return askHelper(helper, server);
  for (const [key, stored] of Object.entries(config.auths ?? {})) {
    if (key !== server && hostOf(key) !== hostOf(server)) continue;
    const [, username = "", password = ""] =
      /^([^:]*):(.*)$/s.exec(Buffer.from(stored.auth ?? "", "base64").toString("utf8")) ?? [];
    if (stored.identitytoken) return { serveraddress: key, username, identitytoken: stored.identitytoken };
    if (username !== "") return { serveraddress: key, username, password: password.replace(/\0+$/, "") };
  }
  return undefined;
}

/** Keeps it where docker would; answers the file's sentence of warning, if the password is in a file. */
export async function storeLogin(login: RegistryLogin): Promise<{ isPlain: boolean }> {
  const config = readDockerConfig();
  const server = login.serveraddress;
  const helper = helperFor(config, server);
  const { username = "", password = "", identitytoken } = login;
  if (helper === undefined) {
    const auth = Buffer.from(`${username}:${identitytoken ? "" : password}`).toString("base64");
    config.auths = { ...config.auths, [server]: { auth, ...(identitytoken ? { identitytoken } : {}) } };
    writeDockerConfig(config);
    return { isPlain: true };
  }
  const Username = identitytoken ? tokenUser : username;
  await runHelper(helper, "store", JSON.stringify({ ServerURL: server, Username, Secret: identitytoken ?? password }));
  config.auths = { ...config.auths, [server]: {} };
  writeDockerConfig(config);
  return { isPlain: false };
}

/** Forgets it; false when nothing was known. */
export async function eraseLogin(server: string): Promise<boolean> {
  const config = readDockerConfig();
  const keys = Object.keys(config.auths ?? {}).filter((key) => key === server || hostOf(key) === hostOf(server));
  const helper = helperFor(config, server);
  if (helper !== undefined) await runHelper(helper, "erase", server);
  if (keys.length === 0) return helper !== undefined;
  for (const key of keys) delete config.auths?.[key];
  writeDockerConfig(config);
  return true;
}

/** The header of a pull or push. */
export async function authHeader(image: string): Promise<Record<string, string>> {
  const login = await findLogin(serverOfImage(image));
  return login ? { "X-Registry-Auth": Buffer.from(JSON.stringify(login)).toString("base64url") } : {};
}

function hostOf(server: string): string {
  return server.replace(/^https?:\/\//, "").replace(/\/.*$/, "");
}

function helperFor(config: DockerConfig, server: string): string | undefined {
  return config.credHelpers?.[server] ?? config.credHelpers?.[hostOf(server)] ?? (config.credsStore || undefined);
}

async function askHelper(helper: string, server: string): Promise<RegistryLogin | undefined> {
  const answer = await runHelper(helper, "get", server);
  if (answer === undefined) return undefined;
  const { Username = "", Secret = "" } = JSON.parse(answer) as { Username?: string; Secret?: string };
  if (Username === tokenUser) return { serveraddress: server, identitytoken: Secret };
  return { serveraddress: server, username: Username, password: Secret };
}

/** docker-credential-helpers' protocol: a word as argument, the rest by standard input and output. Undefined: it has none. */
async function runHelper(helper: string, verb: "get" | "store" | "erase", input: string): Promise<string | undefined> {
  const program = `docker-credential-${helper}`;
  if (!/^[\w.-]+$/.test(helper) || !Bun.which(program)) {
    throw new CommandFailure(
      `error getting credentials - err: exec: "${program}": executable file not found in $PATH, out: \`\``,
    );
  }
  const run = Bun.spawn([program, verb], { stdin: Buffer.from(input), stdout: "pipe", stderr: "inherit" });
  const [output, exitCode] = await Promise.all([new Response(run.stdout).text(), run.exited]);
  if (exitCode === 0) return output;
  if (verb !== "store" && output.includes(notFoundWords)) return undefined;
  throw new CommandFailure(
    `error ${verb === "get" ? "getting" : "storing"} credentials - err: exit status ${exitCode}, out: \`${output.trim()}\``,
  );
}
