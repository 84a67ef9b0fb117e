/** Runs a program to its end with its output thrown away; throws its words when it fails. */
export async function run(words: readonly string[], environment: Readonly<Record<string, string>> = {}): Promise<void> {
  const program = Bun.spawn([...words], {
    env: { ...process.env, ...environment },
    stdio: ["ignore", "ignore", "pipe"],
  });
  const [status, errors] = await Promise.all([program.exited, new Response(program.stderr).text()]);
  if (status !== 0) throw new Error(`${words.join(" ")} ended with ${status}: ${errors.trim().slice(-500)}`);
}

/** docker's own command line against one engine's socket. */
export function docker(socket: string, ...words: string[]): Promise<void> {
  return run(["docker", "-H", `unix://${socket}`, ...words], { DOCKER_BUILDKIT: "0" });
}

export async function capture(...words: string[]): Promise<string> {
  const program = Bun.spawn(words, { stdio: ["ignore", "pipe", "ignore"] });
  const [text] = await Promise.all([new Response(program.stdout).text(), program.exited]);
  return text.trim();
}
