import { afterAll, beforeAll, expect, test } from "bun:test";
import { attestOptions } from "../../../src/build/attest-options.ts";
import { frontendOptions } from "../../../src/build/frontend-options.ts";
import { TestBuilder } from "../../support/build-fixture.ts";
import { newScratch, type Scratch } from "../../support/scratch.ts";

const spdx = "https://spdx.dev/Document";
let scratch: Scratch;
let builder: TestBuilder;

beforeAll(async () => {
  scratch = newScratch();
  builder = new TestBuilder(scratch.path);
  await builder.importBase();
}, 30_000);

afterAll(async () => {
  builder[Symbol.dispose]();
  await scratch[Symbol.asyncDispose]();
});

const dockerfile = {
  name: "Dockerfile",
  text: "FROM test/base\nARG SECRET\nCOPY status /var/lib/dpkg/status\nRUN --mount=type=secret,id=key true\n",
};
const status = { name: "status", text: "Package: bash\nVersion: 5.2\nArchitecture: amd64\n" };

test("--sbom and --provenance are kept with the image that was built, and an image without them has none", async () => {
  const attest = attestOptions({ sbom: "true", provenance: "mode=max" });
  const { image } = await builder.run([dockerfile, status], {
    attest,
    tags: ["app:v1"],
    arguments: { SECRET: "hidden" },
  });
  expect(builder.images.attestations(image.id).map(({ predicateType }) => predicateType)).toEqual([
    "https://slsa.dev/provenance/v0.2",
    spdx,
  ]);
  const document = builder.images.attestedPredicate(image.id, spdx) as { name: string; packages: { name: string }[] };
  expect([document.name, ...document.packages.map(({ name }) => name)]).toEqual(["app:v1", "app:v1", "bash"]);
  const provenance = builder.images.attestedPredicate(image.id, "https://slsa.dev/provenance/v0.2");
  expect(provenance).toMatchObject({
    materials: [
      { uri: "pkg:docker/test/base@latest", digest: { sha256: builder.images.get("test/base").id.slice(7) } },
    ],
    invocation: {
      configSource: { entryPoint: "Dockerfile" },
      parameters: {
        args: { "build-arg:SECRET": "hidden" },
        secrets: [{ id: "key", optional: true }],
        locals: [{ name: "context" }, { name: "dockerfile" }],
      },
    },
  });
  const graph = (provenance as { buildConfig: { llbDefinition: { id: string; inputs?: string[] }[] } }).buildConfig
    .llbDefinition;
  const ids = graph.map(({ id }) => id);
  expect(graph.flatMap(({ inputs = [] }) => inputs).every((input) => ids.includes(input.replace(":0", "")))).toBe(true);

  const plain = await builder.run([{ name: "Dockerfile", text: "FROM test/base\nENV A=b\n" }]);
  expect(builder.images.attestations(plain.image.id)).toEqual([]);
  expect(builder.leftovers()).toEqual([]);
});

test("what is asked for is read as docker and buildx say it, and a scanner in an image is refused by name", () => {
  expect(frontendOptions({ "attest:sbom": "", "attest:provenance": "mode=min,inline-only=true" }).attest).toMatchObject(
    {
      sbom: true,
      provenance: { mode: "min", version: "v0.2" },
    },
  );
  expect(frontendOptions({}).attest).toBeUndefined();
  expect(
    frontendOptions({ "attest:provenance": "disabled=true", "attest:sbom": "disabled=true" }).attest,
  ).toBeUndefined();
  expect(() => frontendOptions({ "attest:sbom": "generator=docker/scout" })).toThrow("leave the generator out");
  expect(() => frontendOptions({ "attest:other": "" })).toThrow(
    'The frontend attribute "attest:other" is not built yet',
  );
});
