import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CommandFailure } from "./usage-error.ts";

/** An agent of ssh (ssh-agent(1)) that holds keys out of files, until disposal. */
export interface KeyAgent extends Disposable {
  readonly path: string;
}

const waitMs = 5000;

/** Throws for a file that is no private key, and for one with a passphrase: nobody is there to be asked. */
export async function openKeyAgent(files: readonly string[]): Promise<KeyAgent> {
  for (const program of ["ssh-agent", "ssh-add", "ssh-keygen"]) {
    if (!Bun.which(program)) throw new CommandFailure(`--ssh with a key's file needs the program "${program}"`);
  }
  for (const file of files) checkKey(file);
  using undo = new DisposableStack();
  const folder = mkdtempSync(join(tmpdir(), "vitrine-agent-"));
  undo.defer(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, "agent.sock");
  const agent = Bun.spawn(["ssh-agent", "-D", "-a", path], { stdin: "ignore", stdout: "ignore", stderr: "ignore" });
  undo.defer(() => agent.kill());
  for (const deadline = Date.now() + waitMs; !existsSync(path); await Bun.sleep(5)) {
    if (agent.exitCode !== null || Date.now() > deadline) throw new CommandFailure("ssh-agent did not start");
  }
  for (const file of files) {
    const env = { ...process.env, SSH_AUTH_SOCK: path };
    const added = Bun.spawnSync(["ssh-add", "-q", file], { env, stdin: "ignore", stdout: "ignore", stderr: "pipe" });
    if (added.exitCode !== 0) throw refused(file, added.stderr.toString());
  }
  const kept = undo.move();
  return { path, [Symbol.dispose]: () => kept.dispose() };
}

function checkKey(file: string): void {
  const read = Bun.spawnSync(["ssh-keygen", "-y", "-P", "", "-f", file], {
    stdin: "ignore",
    stdout: "ignore",
    stderr: "pipe",
  });
  if (read.exitCode === 0) return;
  const why = read.stderr.toString();
  if (/passphrase/i.test(why)) {
    throw new CommandFailure(`ssh key "${file}" has a passphrase: add it to an agent, and name that with --ssh`);
  }
  throw refused(file, why);
}

function refused(file: string, why: string): CommandFailure {
  return new CommandFailure(`ssh key "${file}" cannot be used: ${why.trim().split("\n").at(-1) ?? ""}`);
}
