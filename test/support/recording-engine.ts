import { join } from "node:path";
import { newScratch, type Scratch } from "./scratch.ts";

/** What a client sent: method, path without the version, query and JSON body. */
export interface RecordedCall {
  readonly method: string;
  readonly path: string;
  readonly query: string;
  readonly body: unknown;
}

/** An HTTP server on a unix socket that answers with given JSON and records what clients send: docker's CLI and ours. */
export interface RecordingEngine extends AsyncDisposable {
  readonly host: string;
  readonly calls: RecordedCall[];
  /** Runs docker's CLI against it. */
  docker(...args: string[]): Promise<{ exitCode: number; stdout: string; stderr: string }>;
}

/** `answers` maps `GET /containers/json` to the JSON of a 200; everything else is Docker's 404. */
export async function recordingEngine(answers: Readonly<Record<string, unknown>>): Promise<RecordingEngine> {
  const scratch: Scratch = newScratch();
  const socket = join(scratch.path, "engine.sock");
  const calls: RecordedCall[] = [];
  const server = Bun.serve({
    unix: socket,
    async fetch(request) {
      const url = new URL(request.url);
      const path = url.pathname.replace(/^\/v1\.\d+/, "");
      if (path === "/_ping") return new Response("OK", { headers: { "Api-Version": "1.51", Ostype: "linux" } });
      const text = await request.text();
      calls.push({ method: request.method, path, query: url.search, body: text === "" ? undefined : JSON.parse(text) });
      const answer = answers[`${request.method} ${path}`];
      if (answer === undefined) return Response.json({ message: `No such object: ${path}` }, { status: 404 });
      return Response.json(answer, { status: path.endsWith("/create") ? 201 : 200 });
    },
  });
  return {
    host: `unix://${socket}`,
    calls,
    docker: (...args) => runDocker(`unix://${socket}`, args, scratch.path),
    async [Symbol.asyncDispose]() {
      await server.stop(true);
      await scratch[Symbol.asyncDispose]();
    },
  };
}

async function runDocker(
  host: string,
  args: readonly string[],
  home: string,
): Promise<{ exitCode: number; stdout: string; stderr: string }> {
  const environment = { ...process.env, HOME: home, DOCKER_CONFIG: home, TZ: "UTC" };
  const docker = Bun.spawn(["docker", "-H", host, ...args], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    env: environment,
  });
  const [stdout, stderr, exitCode] = await Promise.all([
    new Response(docker.stdout).text(),
    new Response(docker.stderr).text(),
    docker.exited,
  ]);
  return { exitCode, stdout, stderr };
}
