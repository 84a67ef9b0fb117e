// A Dockerfile's graph as text: what becomes an operation, from what, and what is never asked for.
import { expect, test } from "bun:test";
import { createGraph, type BuildPlan, type GraphInput } from "../../../src/build/create-graph.ts";
import type { BaseImage } from "../../../src/build/config-state.ts";
import { defaultFrontendOptions } from "../../../src/build/frontend-options.ts";
import { graphText } from "../../../src/build/graph-builder.ts";
import { parseDockerfile } from "../../../src/build/parse-dockerfile.ts";
import { stageSources } from "../../../src/build/stage-sources.ts";

function image(reference: string, onBuild?: string[]): BaseImage {
  const config = { Env: ["PATH=/bin"], ...(onBuild ? { OnBuild: onBuild } : {}) };
  const layers = [`sha256:${reference}`];
  const rootfs = { type: "layers" as const, diff_ids: layers };
  return {
    reference,
    imageId: `id of ${reference}`,
    layers,
    config: { architecture: "amd64", os: "linux", config, rootfs },
  };
}

const images = new Map(
  [image("base"), image("other"), image("trigger", ["COPY --from=other /a /b"])].map((one) => [one.reference, one]),
);

function plan(text: string, options: Partial<GraphInput["options"]> = {}): BuildPlan {
  return createGraph({
    dockerfile: parseDockerfile(text, { fileName: "Dockerfile" }),
    options: { ...defaultFrontendOptions, ...options },
    images,
    exclude: ["ignored"],
    entitlements: [],
  });
}

/** A line an operation, without what it says. */
function shape(text: string, options: Partial<GraphInput["options"]> = {}): string[] {
  return graphText(plan(text, options).nodes)
    .split("\n")
    .filter((line) => !line.startsWith(" "));
}

test("an instruction that changes files is an operation on the one before; others are none", () => {
  expect(shape("FROM base\nENV A=1\nWORKDIR /w\nCOPY f /f\nRUN make\nCMD x\n")).toEqual([
    "#0 image [stage-0] FROM base",
    "#1 file (#0) [2/4] WORKDIR /w",
    "#2 local [internal] load build context",
    "#3 file (#1, #2) [3/4] COPY f /f",
    "#4 exec (#3) [4/4] RUN make",
  ]);
});

test("what the target does not need is not in the graph, and what comes later in the file may be", () => {
  const text =
    "FROM base AS a\nCOPY --from=c /x /x\nFROM base AS b\nRUN unneeded\nFROM other AS c\nRUN needed\nFROM a\n";
  expect(shape(text).map((line) => line.replace(/^#\d+ /, ""))).toEqual([
    "image [a] FROM base",
    "image [c] FROM other",
    "exec (#1) [c 2/2] RUN needed",
    "file (#0, #2) [a 2/2] COPY --from=c /x /x",
  ]);
  expect(shape(text, { target: "c" })).toHaveLength(2);
});

test("the same operation in two stages is one", () => {
  const text = "FROM base AS a\nRUN same\nFROM base AS b\nRUN same\nFROM a\nCOPY --from=b /x /x\n";
  expect(shape(text).filter((line) => line.includes(" exec "))).toHaveLength(1);
});

test("--link is a layer on nothing that is merged onto the stage", () => {
  expect(shape("FROM base\nCOPY --link f /f\n").slice(1)).toEqual([
    "#1 local [internal] load build context",
    "#2 file (scratch, #1) [2/2] COPY --link f /f",
    "#3 merge (#0, #2) [2/2] COPY --link f /f",
  ]);
});

test("triggers of the base come first, with what they copy from", () => {
  const text = "FROM trigger\nRUN after\n";
  const { missing } = stageSources(
    parseDockerfile(text, { fileName: "Dockerfile" }),
    defaultFrontendOptions,
    new Map(),
  );
  expect(missing).toEqual(["trigger"]);
  expect(shape(text)).toEqual([
    "#0 image [stage-0] FROM trigger",
    "#1 image [stage-0] FROM other",
    "#2 file (#0, #1) [2/3] COPY --from=other /a /b",
    "#3 exec (#2) [3/3] RUN after",
  ]);
});

test("a mount's files are inputs, its secrets are not, and predefined arguments stay out of what is recorded", () => {
  const text = `FROM base
ARG HERE=1
RUN --mount=type=bind,from=other,target=/o --mount=type=secret,id=s --network=none build it
`;
  const { nodes } = plan(text, { arguments: { HTTP_PROXY: "http://proxy" } });
  const node = [...nodes.values()].at(-1);
  expect(node?.operation).toMatchObject({
    kind: "exec",
    command: ["/bin/sh", "-c", "build it"],
    environment: ["PATH=/bin", "HERE=1"],
    quietEnvironment: ["HTTP_PROXY=http://proxy"],
    network: "none",
    mounts: [
      { type: "bind", target: "/o", input: 1, readOnly: true },
      { type: "secret", target: "/run/secrets/s", required: false },
    ],
  });
  expect(node?.operation.inputs).toHaveLength(2);
});

test("a changed argument changes the operations that may use it, and no other", () => {
  const text = "FROM base\nRUN one\nARG A\nRUN two\n";
  const ids = (value: string): string[] => [...plan(text, { arguments: { A: value } }).nodes.keys()];
  const [first, second] = [ids("1"), ids("2")];
  expect(second.map((id, index) => id === first[index])).toEqual([true, true, false]);
});

test("named contexts stand before images and stages", () => {
  const contexts = { base: "docker-image://other", files: "https://example.org/file" };
  expect(
    shape("FROM base\nCOPY --from=files file /\n", { contexts }).map((line) => line.split(" ").slice(1, 3)),
  ).toEqual([
    ["image", "[stage-0]"],
    ["http", "[context"],
    ["file", "(#0,"],
  ]);
});

test("no-cache of one stage leaves the others cached", () => {
  const text = "FROM base AS a\nRUN one\nFROM base AS b\nCOPY --from=a /x /x\nRUN two\n";
  const { nodes } = plan(text, { noCache: ["a"] });
  const ignoring = [...nodes.values()].filter(({ ignoreCache }) => ignoreCache).map(({ name }) => name);
  expect(ignoring).toEqual(["[a 2/2] RUN one"]);
});
