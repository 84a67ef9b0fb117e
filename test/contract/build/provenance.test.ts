import { expect, test } from "bun:test";
import type { ProvenanceFacts } from "../../../src/build/build-request.ts";
import { imageUrl, statement, type InTotoStatement } from "../../../src/image/index.ts";
import {
  parseProvenanceOptions,
  provenancePredicate,
  type ProvenanceBuild,
} from "../../../src/build/provenance-predicate.ts";

const base = "ab".repeat(32);
const facts: ProvenanceFacts = {
  materials: [
    { uri: "https://example.com/app.git#main", digest: `sha1:${"c".repeat(40)}` },
    { uri: "pkg:docker/alpine@3.20?platform=linux%2Famd64", digest: `sha256:${base}` },
    { uri: "https://example.com/app.git#main", digest: `sha1:${"c".repeat(40)}` },
    { uri: "https://example.com/file", digest: "d".repeat(40) },
  ],
  frontend: {
    fileName: "Dockerfile",
    target: "final",
    arguments: { TOKEN: "build-secret", EMPTY: null },
    labels: { owner: "me" },
    noCache: ["one", "two"],
    addHosts: ["db:10.0.0.1"],
    networkMode: "default",
    contexts: { other: "https://user:password@example.com/x.git" },
    pull: false,
    sourceDateEpoch: 1_600_000_000,
    limits: { memory: 1024 },
  },
  dockerfile: { name: "Dockerfile", text: "FROM alpine:3.20\n" },
  startedMs: Date.parse("2024-01-01T00:00:00.500Z"),
  finishedMs: Date.parse("2024-01-01T00:01:00Z"),
};
const build: ProvenanceBuild = {
  invocationId: "run1",
  platform: "linux/amd64",
  locals: ["dockerfile", "context"],
  secrets: [{ id: "npm", optional: false }],
  ssh: [{ id: "default", optional: true }],
  steps: [
    { id: "sha256:1", name: "FROM", inputs: [] },
    { id: "sha256:2", name: "RUN", inputs: ["sha256:1"] },
  ],
};
const subjects = [{ name: "pkg:docker/app@1", digest: `sha256:${"ef".repeat(32)}` }];

function stated(...arguments_: Parameters<typeof provenancePredicate>): InTotoStatement {
  const { predicateType, predicate } = provenancePredicate(...arguments_);
  return statement(predicateType, { subjects, predicate });
}

function say(text: string): InTotoStatement {
  const options = parseProvenanceOptions(text);
  if (!options) throw new Error("It is asked for");
  return JSON.parse(JSON.stringify(stated(facts, { build, options }))) as InTotoStatement;
}

test("the least of a provenance names materials, times and parameters that hide nothing", () => {
  expect(say("true")).toEqual({
    _type: "https://in-toto.io/Statement/v1",
    predicateType: "https://slsa.dev/provenance/v0.2",
    subject: [{ name: "pkg:docker/app@1", digest: { sha256: "ef".repeat(32) } }],
    predicate: {
      builder: { id: "" },
      buildType: "https://mobyproject.org/buildkit@v1",
      materials: [
        { uri: "https://example.com/app.git#main", digest: { sha1: "c".repeat(40) } },
        { uri: "https://example.com/file", digest: { sha1: "d".repeat(40) } },
        { uri: "pkg:docker/alpine@3.20?platform=linux%2Famd64", digest: { sha256: base } },
      ],
      invocation: {
        configSource: { entryPoint: "Dockerfile" },
        parameters: {
          frontend: "dockerfile.v0",
          args: {
            "add-hosts": "db:10.0.0.1",
            "context:other": "https://example.com/x.git",
            "no-cache": "one,two",
            "source-date-epoch": "1600000000",
            target: "final",
          },
          locals: [{ name: "context" }, { name: "dockerfile" }],
        },
        environment: { platform: "linux/amd64" },
      },
      metadata: {
        buildInvocationID: "run1",
        buildStartedOn: "2024-01-01T00:00:00.500Z",
        buildFinishedOn: "2024-01-01T00:01:00.000Z",
        completeness: { parameters: true, environment: true, materials: false },
        reproducible: false,
        "https://mobyproject.org/buildkit@v1#metadata": {},
      },
    },
  });
});

test("the most adds build arguments, labels, the Dockerfile, names of secrets and the graph", () => {
  const { predicate } = say("mode=max,builder-id=https://ci.example.com/7,reproducible=true");
  expect(predicate).toMatchObject({
    builder: { id: "https://ci.example.com/7" },
    invocation: {
      parameters: {
        args: { "build-arg:TOKEN": "build-secret", "label:owner": "me" },
        secrets: [{ id: "npm" }],
        ssh: [{ id: "default", optional: true }],
      },
    },
    buildConfig: {
      llbDefinition: [{ id: "step0" }, { id: "step1", inputs: ["step0:0"] }],
      digestMapping: { "sha256:1": "step0", "sha256:2": "step1" },
    },
    metadata: {
      reproducible: true,
      "https://mobyproject.org/buildkit@v1#metadata": {
        source: { infos: [{ filename: "Dockerfile", language: "Dockerfile", data: btoa("FROM alpine:3.20\n") }] },
      },
    },
  });
  expect(JSON.stringify(say("mode=min"))).not.toContain("build-secret");
  expect(JSON.stringify(say("mode=max"))).not.toContain("password");
});

test("version 1 says the same in its own words", () => {
  const said = say("mode=max,version=v1");
  expect(said.predicateType).toBe("https://slsa.dev/provenance/v1");
  expect(said.predicate).toMatchObject({
    buildDefinition: {
      externalParameters: { configSource: { path: "Dockerfile" }, request: { frontend: "dockerfile.v0" } },
      internalParameters: { builderPlatform: "linux/amd64" },
      resolvedDependencies: [{}, {}, { digest: { sha256: base } }],
    },
    runDetails: { metadata: { invocationId: "run1", buildkit_completeness: { resolvedDependencies: false } } },
  });
});

test("a build of a repository alone has whole materials and says where its Dockerfile comes from", () => {
  const options = parseProvenanceOptions("mode=min");
  if (!options) throw new Error("It is asked for");
  const remote = { uri: "https://example.com/app.git#main", digest: `sha1:${"c".repeat(40)}` };
  const said = provenancePredicate(facts, { options, build: { ...build, locals: [], configSource: remote } });
  expect(said.predicate).toMatchObject({
    invocation: { configSource: { uri: remote.uri, digest: { sha1: "c".repeat(40) }, entryPoint: "Dockerfile" } },
    metadata: { completeness: { materials: true } },
  });
});

test("options are read as buildx writes them, and unknown ones are refused", () => {
  expect(parseProvenanceOptions("false")).toBeUndefined();
  expect(parseProvenanceOptions("disabled=true")).toBeUndefined();
  expect(parseProvenanceOptions("type=provenance,mode=max")?.mode).toBe("max");
  for (const bad of ["mode=most", "version=v2", "what=1", "reproducible=maybe"]) {
    expect(() => parseProvenanceOptions(bad)).toThrow(`invalid provenance option "${bad}"`);
  }
});

test("an image that a build took is named by its package URL", () => {
  const digest = `sha256:${base}`;
  expect(imageUrl("alpine", "linux/amd64")).toBe("pkg:docker/alpine@latest?platform=linux%2Famd64");
  expect(imageUrl("ghcr.io/a/b:1")).toBe("pkg:docker/ghcr.io/a/b@1");
  expect(imageUrl(`localhost:5000/a@${digest}`)).toBe(`pkg:docker/localhost%3A5000/a?digest=${digest}`);
});
