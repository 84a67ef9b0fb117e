// `npm run demo`: the main job from one end to the other, offline, in a place of its own. Prints each command before it runs it.
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const root = join(import.meta.dir, "..");
const vitrine = join(root, "dist", "vitrine");
const place = mkdtempSync(join(tmpdir(), "vd-"));
const socket = join(place, "run", "vitrine.sock");
// Its own in everything, so that it runs beside other engines, and beside another demo.
const name = `vd${process.pid}`;
const port = freePort();

if (process.getuid?.() !== 0) {
  console.error("The demo makes namespaces, mounts and a network: run it as root.");
  process.exit(1);
}
if (!existsSync(vitrine)) await import("./setup.ts");

const daemon = Bun.spawn(
  [vitrine, "daemon", "--root", join(place, "root"), "--run", join(place, "run"), "--instance", name, "--bridge", name],
  // Ctrl-C is for the demo, which then takes everything away: the engine must live until that is done.
  { stdio: ["ignore", "ignore", Bun.file(join(place, "daemon.log"))], detached: true },
);
// The command that is under way ends first: two at once would leave something behind.
let interrupted = false;
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => (interrupted = true));

try {
  await untilServed();
  console.log(`# An engine of its own for this demo:  export DOCKER_HOST=unix://${socket}\n`);
  await show("vitrine build -t helloworld examples/helloworld");
  await show(`vitrine run -d --name hello -p ${port}:80 helloworld`);
  await untilAnswered(`http://localhost:${port}`);
  await show("vitrine ps");
  await show(`curl -s http://localhost:${port}`, (page) => page.includes("<h3>Hello World!</h3>"));
  await show("vitrine exec hello cat /app/built.txt", (text) => text.trim() === "built");
  await show("vitrine images");
  await show("vitrine history helloworld");
  await show("vitrine panorama hello");
  await show("vitrine run --rm --trace vitrine/base true");
  await show("vitrine rm -f hello");
  console.log("\nThe engine and everything that the demo made are removed now.");
} catch (error) {
  if (interrupted) process.exit(await cleanUp().then(() => 130));
  console.error(`\nThe demo failed: ${(error as Error).message}`);
  console.error(await Bun.file(join(place, "daemon.log")).text());
  process.exitCode = 1;
} finally {
  await cleanUp();
}

async function cleanUp(): Promise<void> {
  if (daemon.exitCode === null) await command(["rm", "-f", "hello"]).exited;
  daemon.kill("SIGTERM");
  await daemon.exited;
  rmSync(place, { recursive: true, force: true });
}

function freePort(): number {
  const server = Bun.listen({ hostname: "0.0.0.0", port: 0, socket: { data() {} } });
  const { port: free } = server;
  server.stop(true);
  return free;
}

function command(words: readonly string[]): Bun.Subprocess<"ignore", "pipe", "pipe"> {
  return Bun.spawn([vitrine, ...words], {
    cwd: root,
    env: { ...process.env, DOCKER_HOST: `unix://${socket}` },
    stdio: ["ignore", "pipe", "pipe"],
  });
}

/** Prints a command line, runs it, prints what it said; throws when it fails or says the wrong thing. */
async function show(line: string, isRight: (output: string) => boolean = () => true): Promise<void> {
  if (interrupted) throw new Error("interrupted");
  console.log(`$ ${line}`);
  const [program = "", ...words] = line.split(" ");
  const run =
    program === "vitrine" ? command(words) : Bun.spawn([program, ...words], { stdio: ["ignore", "pipe", "pipe"] });
  const [output, errors, status] = await Promise.all([
    new Response(run.stdout).text(),
    new Response(run.stderr).text(),
    run.exited,
  ]);
  process.stdout.write(`${output}${errors}${output.endsWith("\n") ? "" : "\n"}\n`);
  if (status !== 0) throw new Error(`"${line}" ended with ${status}`);
  if (!isRight(output)) throw new Error(`"${line}" did not say what it must`);
}

async function untilServed(): Promise<void> {
  while (daemon.exitCode === null) {
    if (existsSync(socket) && (await command(["version"]).exited) === 0) return;
    await Bun.sleep(20);
  }
  throw new Error("the engine did not start");
}

async function untilAnswered(url: string): Promise<void> {
  for (let attempt = 0; attempt < 250; attempt++) {
    const answer = await fetch(url).catch(() => undefined);
    if (answer?.ok) return;
    await Bun.sleep(20);
  }
  throw new Error(`nothing answers on ${url}`);
}
