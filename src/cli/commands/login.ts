import { createInterface } from "node:readline/promises";
import type { ApiClient } from "../../api/client/index.ts";
import { readText } from "../../api/client/index.ts";
import type { Command, Invocation } from "../command.ts";
import { dockerConfigPath } from "../docker-config.ts";
import { print, printError, printLine } from "../output.ts";
import { findLogin, hubServer, storeLogin, type RegistryLogin } from "../registry-credentials.ts";
import { rawTerminal } from "../terminal.ts";
import { CommandFailure } from "../usage-error.ts";

const maxPasswordBytes = 64 * 1024;

export const command: Command = {
  usage: "login [OPTIONS] [SERVER]",
  description: "Authenticate to a registry",
  details: "If no server is specified, Docker Hub is meant.",
  flags: [
    { name: "username", short: "u", kind: "string", description: "Username" },
    { name: "password", short: "p", kind: "string", description: "Password" },
    { name: "password-stdin", kind: "bool", description: "Take the password from stdin" },
  ],
  arguments: { min: 0, max: 1 },
  run: login,
};

async function login({ flags, args, client }: Invocation): Promise<number> {
  const server = serverName(args[0]);
  const given = { username: flags.string("username"), password: flags.string("password") };
  if (given.password !== "") {
    printError("WARNING! Using --password via the CLI is insecure. Use --password-stdin.\n");
    if (flags.bool("password-stdin"))
      throw new CommandFailure("--password and --password-stdin are mutually exclusive");
  }
  if (flags.bool("password-stdin")) {
    if (given.username === "") throw new CommandFailure("Must provide --username with --password-stdin");
    given.password = (await readText(process.stdin as AsyncIterable<Uint8Array>, maxPasswordBytes)).replace(
      /\r?\n$/,
      "",
    );
  }
  const engine = await client();
  const known = given.username === "" && given.password === "" ? await findLogin(server) : undefined;
  if (known && (await tryKnown(engine, known))) return 0;
  const typed = await ask(given, known?.username);
  await confirm(engine, { serveraddress: server, ...typed });
  return 0;
}

async function tryKnown(engine: ApiClient, known: RegistryLogin): Promise<boolean> {
  printLine("Authenticating with existing credentials...");
  try {
    await confirm(engine, known);
    return true;
  } catch (thrown) {
    printError(`Login did not succeed, error: ${(thrown as Error).message}\n`);
    return false;
  }
}

async function confirm(engine: ApiClient, login: RegistryLogin): Promise<void> {
  const answer = await engine.post<{ Status?: string; IdentityToken?: string }>("/auth", { body: login });
  const { isPlain } = await storeLogin({
    ...login,
    ...(answer.IdentityToken ? { identitytoken: answer.IdentityToken } : {}),
  });
  if (isPlain) {
    printError(
      `WARNING! Your password will be stored unencrypted in ${dockerConfigPath()}.\nConfigure a credential helper to remove this warning. See\nhttps://docs.docker.com/engine/reference/commandline/login/#credentials-store\n\n`,
    );
  }
  printLine(answer.Status ?? "Login Succeeded");
}

async function ask(
  given: { username: string; password: string },
  usual = "",
): Promise<{ username: string; password: string }> {
  if ((given.username === "" || given.password === "") && !process.stdin.isTTY) {
    throw new CommandFailure("Error: Cannot perform an interactive login from a non TTY device");
  }
  const username = given.username || (await askLine(usual === "" ? "Username: " : `Username (${usual}): `)) || usual;
  if (username === "") throw new CommandFailure("Error: Non-null Username Required");
  const password = given.password || (await askHidden("Password: "));
  if (password === "") throw new CommandFailure("Error: Password Required");
  return { username, password };
}

async function askLine(question: string): Promise<string> {
  const terminal = createInterface({ input: process.stdin, output: process.stdout });
  try {
    return (await terminal.question(question)).trim();
  } finally {
    terminal.close();
  }
}

/** The terminal echoes nothing meanwhile; Ctrl-C gives up. */
async function askHidden(question: string): Promise<string> {
  print(question);
  using _raw = await rawTerminal();
  const bytes: number[] = [];
  for await (const chunk of process.stdin) {
    for (const byte of chunk as Buffer) {
      if (byte === 3) throw new CommandFailure("");
      if (byte === 13 || byte === 10 || byte === 4) {
        print("\r\n");
        return Buffer.from(bytes).toString("utf8");
      }
      if (byte === 127 || byte === 8) bytes.pop();
      else bytes.push(byte);
    }
  }
  return Buffer.from(bytes).toString("utf8");
}

/** As the config file has it. */
export function serverName(text = ""): string {
  const host = text.replace(/^https?:\/\//, "").replace(/\/.*$/, "");
  return ["", "docker.io", "index.docker.io", "registry-1.docker.io"].includes(host) ? hubServer : host;
}
