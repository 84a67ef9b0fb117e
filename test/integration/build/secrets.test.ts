// What the client of a build lends: secrets and agents, for as long as the command runs and no longer.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  defaultFrontendOptions,
  type BuildResult,
  type BuildSession,
  type BuildStatus,
  type ExecutorStep,
} from "../../../src/build/index.ts";
import { EngineError } from "../../../src/common/index.ts";
import { TestBuilder } from "../../support/build-fixture.ts";
import { newScratch } from "../../support/scratch.ts";

const scratch = newScratch();
let builder: TestBuilder;
/** The step as it was while its command ran, with what its mounts held. */
let seen: { step: ExecutorStep; contents: Record<string, string>; modes: Record<string, string> } | undefined;

beforeAll(async () => {
  builder = new TestBuilder(scratch.path);
  await builder.importBase();
  const run = builder.executor.run.bind(builder.executor);
  builder.executor.run = async (step, onOutput) => {
    const files = step.mounts.flatMap((mount) => (mount.type === "bind" && mount.isFile ? [mount] : []));
    const regular = files.filter(({ source }) => statSync(source).isFile());
    seen = {
      step,
      contents: Object.fromEntries(regular.map(({ source, target }) => [target, readFileSync(source, "utf8")])),
      modes: Object.fromEntries(
        files.map(({ source, target }) => [target, (statSync(source).mode & 0o777).toString(8)]),
      ),
    };
    return run(step, onOutput);
  };
});

afterAll(async () => {
  builder[Symbol.dispose]();
  await scratch[Symbol.asyncDispose]();
});

let count = 0;

function sessionOf(dockerfile: string, secrets: Readonly<Record<string, string>>, agent?: string): BuildSession {
  const root = join(scratch.path, `client-${++count}`);
  mkdirSync(root);
  writeFileSync(join(root, "Dockerfile"), dockerfile);
  return {
    files: async () => ({ root, [Symbol.asyncDispose]: async () => {} }),
    secret: async (id) => (secrets[id] === undefined ? undefined : Buffer.from(secrets[id])),
    ssh: async (id) =>
      agent === undefined || id !== "default" ? undefined : { path: agent, [Symbol.asyncDispose]: async () => {} },
    credentials: async () => undefined,
  };
}

async function build(session: BuildSession): Promise<{ result: BuildResult; statuses: BuildStatus[] }> {
  const statuses: BuildStatus[] = [];
  const events = builder.builder.solve({
    session,
    frontend: defaultFrontendOptions,
    dialect: "buildkit",
    tags: [],
    entitlements: [],
  });
  for (;;) {
    const { done, value } = await events.next();
    if (done) return { result: value, statuses };
    if (value.type === "status") statuses.push(value.status);
  }
}

test("a secret is a file and a variable while the command runs, and in no layer, key or config", async () => {
  const dockerfile = `FROM test/base
RUN --mount=type=secret,id=token,mode=0440 --mount=type=secret,id=key,env=KEY,target=/k true
`;
  const { result } = await build(sessionOf(dockerfile, { token: "hidden", key: "private" }));
  expect(seen?.contents).toEqual({ "/run/secrets/token": "hidden", "/k": "private" });
  expect(seen?.modes).toEqual({ "/run/secrets/token": "440", "/k": "400" });
  expect(seen?.step.config.Env).toContain("KEY=private");
  for (const mount of seen?.step.mounts ?? []) if (mount.type === "bind") expect(existsSync(mount.source)).toBe(false);
  expect(JSON.stringify(result.config)).not.toContain("private");
  // Another value gives the same key.
  seen = undefined;
  const { statuses } = await build(sessionOf(dockerfile, { token: "other", key: "other" }));
  expect(seen).toBeUndefined();
  expect(statuses.flatMap(({ vertexes }) => vertexes).some(({ cached, name }) => cached && name.includes("RUN"))).toBe(
    true,
  );
});

test("a secret that is missing is an error only where it is required", async () => {
  await build(sessionOf("FROM test/base\nRUN --mount=type=secret,id=none echo optional\n", {}));
  expect(seen?.step.mounts).toEqual([]);
  const required = sessionOf("FROM test/base\nRUN --mount=type=secret,id=none,required echo required\n", {});
  const error = await build(required).catch((thrown: unknown) => thrown);
  expect((error as EngineError).message).toBe("secret none: not found");
  expect(builder.leftovers()).toEqual([]);
});

test("an agent's socket is where SSH_AUTH_SOCK says", async () => {
  const path = join(scratch.path, "agent.sock");
  using _agent = Bun.listen({ unix: path, socket: { data: () => {} } });
  await build(sessionOf("FROM test/base\nRUN --mount=type=ssh echo agent\n", {}, path));
  expect(seen?.step.mounts).toEqual([
    { type: "bind", source: path, target: "/run/buildkit/ssh_agent.0", writable: true, isFile: true },
  ]);
  expect(seen?.step.config.Env).toContain("SSH_AUTH_SOCK=/run/buildkit/ssh_agent.0");
});

test("in BuildKit's dialect there is one image, with BuildKit's history, and every vertex begins and ends", async () => {
  const { result, statuses } = await build(
    sessionOf('FROM test/base\nENV A=1\nWORKDIR /w\nRUN echo x > y\nEXPOSE 80\nCMD ["x"]\n', {}),
  );
  const history = result.config.history?.slice(1) ?? [];
  expect(history.map(({ created_by, empty_layer, comment }) => [created_by, empty_layer ?? false, comment])).toEqual([
    ["ENV A=1", true, "buildkit.dockerfile.v0"],
    ["WORKDIR /w", false, "buildkit.dockerfile.v0"],
    ["RUN /bin/sh -c echo x > y # buildkit", false, "buildkit.dockerfile.v0"],
    ["EXPOSE map[80/tcp:{}]", true, "buildkit.dockerfile.v0"],
    ['CMD ["x"]', true, "buildkit.dockerfile.v0"],
  ]);
  expect(result.config.config).toEqual({
    ExposedPorts: { "80/tcp": {} },
    Env: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "A=1"],
    Cmd: ["x"],
    WorkingDir: "/w",
  });
  const vertices = new Map(statuses.flatMap(({ vertexes }) => vertexes).map((vertex) => [vertex.digest, vertex]));
  expect([...vertices.values()].map(({ name }) => name)).toEqual(["[2/3] WORKDIR /w", "[3/3] RUN echo x > y"]);
  for (const { startedMs, completedMs } of vertices.values())
    expect(completedMs).toBeGreaterThanOrEqual(startedMs ?? Infinity);
  expect(builder.images.get(result.imageId ?? "").parent).toBe("");
});
