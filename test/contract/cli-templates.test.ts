// The rules of Go's text/template; docker's own `inspect --format` is the oracle where it is installed.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { GoTemplate, goType } from "../../src/cli/go-template/index.ts";
import { inspectZeroValue } from "../../src/cli/inspect-zero-values.ts";
import { type RecordingEngine, recordingEngine } from "../support/recording-engine.ts";

const image = {
  Id: `sha256:${"ab".repeat(32)}`,
  RepoTags: ["one:latest", "two:v1"],
  RepoDigests: [],
  Created: "2026-01-02T03:04:05.000000006Z",
  Author: "",
  Architecture: "amd64",
  Os: "linux",
  Size: 1985512,
  Config: { Env: ["A=b", "C=d"], Cmd: null, Labels: { x: "1", y: "2" }, WorkingDir: "/w" },
  GraphDriver: { Name: "overlay2", Data: { MergedDir: "/m", UpperDir: "/u" } },
  RootFS: { Type: "layers", Layers: ["sha256:1", "sha256:2"] },
};

const templates = [
  "{{.Id}}",
  "{{.Foo}}",
  "{{.Foo",
  "{{.}}x{{",
  "{{json .Config.Env}}",
  "{{.Config.Env}}",
  "{{.Config.Cmd}}",
  "{{json .Config.Cmd}}",
  "{{.Config.Labels}}",
  "{{.Size}}",
  "{{.RootFS.Type | upper}}",
  "{{range .RootFS.Layers}}[{{.}}]{{else}}none{{end}}",
  "{{range .RepoDigests}}[{{.}}]{{else}}none{{end}}",
  "{{range $i, $e := .RepoTags}}{{$i}}={{$e}} {{end}}",
  "{{range $k, $v := .Config.Labels}}{{$k}}={{$v}} {{end}}",
  '{{if eq .Os "linux"}}L{{else if eq .Os "x"}}X{{else}}N{{end}}',
  "{{len .RepoTags}}",
  "{{index .RepoTags 0}}",
  "{{index .RepoTags 5}}",
  '{{index .Config.Labels "x"}}',
  '{{index .Config.Labels "none"}}|',
  '{{index .GraphDriver.Data "MergedDir"}}',
  '{{printf "%-10s|%5d|%q" .Os 3 "a\\"b"}}',
  '{{.Os | printf "%s-%s" "x"}}',
  "{{with .Os}}<{{.}}>{{end}}{{with .Author}}no{{else}}empty{{end}}",
  '{{$x := .Os}}{{$x}}{{$x = "z"}}{{$x}}',
  '{{- /* c */ -}} a {{- "b" -}} c',
  '{{join .RepoTags ","}}',
  '{{split "a,b" ","}}',
  '{{title "abc def"}} {{lower "ABC"}} {{upper "abc"}}',
  '{{pad "x" 1 2}}|{{pad "" 1 2}}|',
  '{{truncate "abcdef" 3}} {{truncate "ab" 3}}',
  '{{and .Os ""}}|{{or "" "d"}}|{{not true}}|{{and 1 2}}',
  "{{foo}}",
  "{{if}}x{{end}}",
  "{{end}}",
  "{{else}}",
  "{{range .RepoTags}}",
  '{{"abc}}',
  '{{define "t"}}T{{.}}{{end}}{{template "t" .Os}}',
  '{{block "b" .Os}}B{{.}}{{end}}',
  "{{(index .RepoTags 0)}}",
  '{{slice "abcdef" 1 3}}',
  '{{print 1 2 "a" 3}} {{println "x"}}',
  '{{html "<a>"}} {{js "it\'s"}} {{urlquery "a b"}}',
  '{{lt 1 2}} {{ge "b" "a"}} {{ne 1 2}} {{eq 1 2 1}}',
  '{{eq 1 "a"}}',
  "{{eq .Os}}",
  "{{$y}}",
  "{{)}}",
  '{{.Os "b"}}',
  "{{nil}}",
  "{{1_000}} {{0x10}} {{1.5}}",
  "{{range 3}}{{.}}{{end}}",
  "{{range .RepoTags}}{{.}}{{break}}{{end}}",
  '{{range .RepoTags}}{{if eq . "one:latest"}}{{continue}}{{end}}{{.}}{{end}}',
  "{{break}}",
  '{{template "no"}}',
  "{{ .Os-}}",
  "{{json .RootFS}}",
  '{{printf "%d" "x"}} {{printf "%s"}}',
  "{{.Os.}}",
  "{{@}}",
  "{{if .Os}}x",
  "{{if .Os}}a{{else}}b{{else}}c{{end}}",
  "{{len 3}}",
  "{{(.GraphDriver).Name}}",
  "{{.A.B.C}}",
  "{{with .Nope}}{{end}}",
  "{{/* a",
];

function ours(source: string): string {
  try {
    return new GoTemplate(source).execute(image, { missingKey: "error", zeroValue: inspectZeroValue });
  } catch (thrown) {
    return `template parsing error: ${(thrown as Error).message}`;
  }
}

let engine: RecordingEngine;
beforeAll(async () => {
  engine = await recordingEngine({ "GET /images/x/json": image });
});
afterAll(() => engine[Symbol.asyncDispose]());

describe("a template prints what docker prints", () => {
  test.each(templates)("%s", async (source) => {
    const docker = await engine.docker("image", "inspect", "--format", source, "x");
    const expected = docker.exitCode === 0 ? docker.stdout.replace(/\n$/, "") : docker.stderr.trim();
    expect(ours(source)).toBe(expected);
  });
});

test("fields, functions, loops and trim marks work without docker to compare with", () => {
  expect(ours('{{.Os}}/{{.Architecture}} {{len .RepoTags}} {{join .RepoTags ","}}')).toBe(
    "linux/amd64 2 one:latest,two:v1",
  );
  expect(ours("a {{- range .RepoTags}} {{.}}{{end -}} b")).toBe("a one:latest two:v1b");
  expect(ours("{{.Foo")).toBe("template parsing error: template: :1: unclosed action");
  expect(ours("{{.Foo}}")).toBe(
    'template parsing error: template: :1:2: executing "" at <.Foo>: map has no entry for key "Foo"',
  );
});

test("a listing's object names its Go type for a field that it has not, and calls methods with arguments", () => {
  const row = { [goType]: "*formatter.ContainerContext", ID: "1", Label: (name: unknown) => `label ${String(name)}` };
  expect(new GoTemplate('{{.ID}} {{.Label "x"}} {{json .}}').execute(row)).toBe('1 label x {"ID":"1"}');
  expect(() => new GoTemplate("{{.Foo}}").execute(row)).toThrow(
    "can't evaluate field Foo in type *formatter.ContainerContext",
  );
});

test("a template cannot call itself for ever", () => {
  expect(() => new GoTemplate('{{define "t"}}{{template "t"}}{{end}}{{template "t"}}').execute({})).toThrow(
    "exceeded maximum template depth",
  );
});
