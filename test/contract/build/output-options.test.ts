import { expect, test } from "bun:test";
import { exporterOptions } from "../../../src/build/exporter-options.ts";
import { parseBuildOutput, type BuildOutput } from "../../../src/spec/index.ts";

test("an output is read in each of docker's forms", () => {
  const forms: [text: string, meaning: BuildOutput][] = [
    ["out", { type: "local", destination: "out", attributes: {} }],
    ["-", { type: "tar", destination: "-", attributes: {} }],
    ["type=local,dest=out", { type: "local", destination: "out", attributes: {} }],
    ["type=tar", { type: "tar", destination: "-", attributes: {} }],
    ["type=oci,dest=app.tar,name=app", { type: "oci", destination: "app.tar", attributes: { name: "app" } }],
    [
      'type=image,"name=a,b",push=true',
      { type: "image", destination: undefined, attributes: { name: "a,b", push: "true" } },
    ],
    ["type=docker", { type: "docker", destination: undefined, attributes: {} }],
  ];
  for (const [text, meaning] of forms) expect([text, parseBuildOutput(text)]).toEqual([text, meaning]);
});

test("an output that means nothing is refused", () => {
  const refused: [text: string, words: string][] = [
    ["dest=out,x=1", "type is required for output"],
    ["type=zip,dest=x", 'invalid output type "zip": it is one of docker, image, local, oci, registry, tar'],
    ["type=local", "dest is required for local exporter"],
    ["type=local,dest=-", "dest cannot be stdout for local exporter"],
    ["type=registry,dest=x", "dest is not supported by the registry exporter"],
    ["type=local,dest", "invalid value dest"],
    ['type="local"x', "a quote stands in a field"],
  ];
  for (const [text, words] of refused) expect(() => parseBuildOutput(text)).toThrow(words);
});

test("attributes of an exporter are followed or refused by name", () => {
  expect(exporterOptions({ type: "registry", attributes: { name: "a,b,a" } })).toEqual({
    type: "registry",
    names: ["a", "b"],
    push: true,
    attestationPrefix: "",
  });
  expect(
    exporterOptions({ type: "tar", attributes: { "platform-split": "false", "attestation-prefix": "x-" } }),
  ).toMatchObject({
    push: false,
    attestationPrefix: "x-",
  });
  const refused: [type: "image" | "local" | "oci", attributes: Record<string, string>, words: string][] = [
    ["image", { compression: "estargz" }, 'The exporter "image" does not know compression=estargz'],
    ["image", { "push-by-digest": "true" }, 'The exporter "image" does not know push-by-digest=true'],
    ["image", { push: "true" }, "tag is needed when pushing to registry"],
    ["image", { push: "maybe", name: "a" }, 'non-bool value "maybe" specified for push'],
    ["local", { name: "a" }, 'The exporter "local" does not know name=a'],
    ["local", { "attestation-prefix": "../" }, "may not hold a slash"],
    ["oci", { "annotation.x": "1" }, 'The exporter "oci" does not know annotation.x=1'],
  ];
  for (const [type, attributes, words] of refused) expect(() => exporterOptions({ type, attributes })).toThrow(words);
});
