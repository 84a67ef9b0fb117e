import { join } from "node:path";
import { mountsBelow, newScratch } from "../test/support/scratch.ts";
import { startTestEngine, type TestEngine } from "../test/support/test-engine.ts";
import { startDockerd, type DockerdPeer } from "./dockerd-peer.ts";
import { startPodman, type PodmanPeer } from "./podman-peer.ts";
import { docker, run } from "./programs.ts";

/** The image that all of them run: busybox with the folders of a Linux system, made by our engine and loaded into the others. */
export const image = "bench";
export const trueCommand = ["busybox", "true"];

/** The engines of one run of the benchmarks. A peer that is missing is a sentence that says why. */
export interface Stage extends AsyncDisposable {
  readonly engine: TestEngine;
  readonly dockerd: DockerdPeer | string;
  readonly podman: PodmanPeer | string;
  /** A folder for what a benchmark writes. */
  readonly folder: string;
}

export async function setStage(): Promise<Stage> {
  const cleanUp = new AsyncDisposableStack();
  try {
    const scratch = cleanUp.use(newScratch("vb-"));
    cleanUp.defer(() => unmountBelow(scratch.path));
    const engine = cleanUp.use(await startTestEngine());
    await engine.must("image", "from-host", image, "busybox");
    const archive = join(scratch.path, "bench.tar");
    await docker(engine.socket, "save", "-o", archive, image);
    const dockerd = await startDockerd();
    if (typeof dockerd !== "string") {
      cleanUp.use(dockerd);
      await docker(dockerd.socket, "load", "-i", archive);
    }
    const podman = await startPodman(archive);
    if (typeof podman !== "string") cleanUp.use(podman);
    return { engine, dockerd, podman, folder: scratch.path, [Symbol.asyncDispose]: () => cleanUp.disposeAsync() };
  } catch (error) {
    await cleanUp.disposeAsync();
    throw error;
  }
}

async function unmountBelow(folder: string): Promise<void> {
  for (const mount of mountsBelow(folder)) await run(["umount", "-l", mount]);
}

/** A successful answer's JSON (undefined when it has none); throws the engine's words otherwise. */
export async function must(answer: Promise<Response>): Promise<unknown> {
  const response = await answer;
  const text = await response.text();
  if (!response.ok) throw new Error(text);
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** A request of the Docker Engine API to any of the engines. */
export async function api(
  socket: string,
  request: `${"GET" | "POST" | "DELETE"} /${string}`,
  body?: unknown,
): Promise<Record<string, unknown>> {
  const [method = "", path] = request.split(" ");
  const options = { unix: socket, method, headers: { "Content-Type": "application/json" } };
  const answer = await must(
    fetch(`http://engine${path}`, body === undefined ? options : { ...options, body: JSON.stringify(body) }),
  );
  return (answer ?? {}) as Record<string, unknown>;
}

/** Creates and starts a container; its id. */
export async function startContainer(socket: string, request: Record<string, unknown>): Promise<string> {
  const { Id } = await api(socket, "POST /containers/create", { Image: image, ...request });
  await api(socket, `POST /containers/${String(Id)}/start`);
  return String(Id);
}
