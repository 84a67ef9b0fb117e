// Images made of containers, seen through the API and with tar(1), find(1) and getfattr(1).
import { afterAll, beforeAll, expect, test } from "bun:test";
import { join } from "node:path";
import { importBusybox } from "../support/busybox-image.ts";
import {
  ask,
  createContainer,
  execContainer,
  refusal,
  startContainer,
  waitContainer,
} from "../support/engine-containers.ts";
import { runProgram, startTestEngine, waitFor, type TestEngine } from "../support/test-engine.ts";
import type { EventMessage, ImageConfig, ImageInspect } from "../../src/spec/index.ts";

let engine: TestEngine;
let sleeper = "";

beforeAll(async () => {
  engine = await startTestEngine();
  await importBusybox(engine);
  sleeper = await startContainer(engine, ["sleep", "1000"], { name: "sleeper" });
}, 30_000);
afterAll(() => engine[Symbol.asyncDispose](), 30_000);

async function commit(query: string, body?: unknown): Promise<string> {
  return (await ask<{ Id: string }>(engine, "POST", `/commit?${query}`, body)).Id;
}

const image = (name: string): Promise<ImageInspect> => ask(engine, "GET", `/images/${name}/json`);

async function configOf(id: string): Promise<ImageConfig> {
  return (await Bun.file(join(engine.root, "content/blobs/sha256", id.replace("sha256:", ""))).json()) as ImageConfig;
}

/** What the top layer's archive lists, as `save` writes it and tar(1) reads it. */
async function topLayer(name: string): Promise<string[]> {
  const response = await engine.api("GET", `/images/${name}/get`);
  const archive = new Uint8Array(await response.arrayBuffer());
  const folder = join(engine.scratch.path, `saved-${crypto.randomUUID()}`);
  await runProgram(["mkdir", folder]);
  Bun.spawnSync(["tar", "-x", "-C", folder], { stdin: archive });
  const [manifest] = (await Bun.file(join(folder, "manifest.json")).json()) as { Layers: string[] }[];
  const { stdout } = await runProgram(["tar", "-tf", join(folder, manifest?.Layers.at(-1) ?? "")]);
  return stdout.split("\n").filter(Boolean).sort();
}

test("the read-write layer becomes a layer: whiteouts and opaque directories too, the engine's own files and volumes not", async () => {
  const before = await image("busybox");
  const id = await startContainer(
    engine,
    `busybox mkdir /made && echo new > /made/file && touch /data/inside && busybox rm /bin/wc &&
     echo 10.0.0.1 other >> /etc/hosts && echo other > /etc/hostname && echo '# other' >> /etc/resolv.conf`,
    { Volumes: { "/data": {} } },
  );
  expect(await waitContainer(engine, id)).toBe(0);
  const made = await commit(`container=${id}&repo=made&tag=v2`);
  const after = await image("made:v2");
  expect(after.Id).toBe(made);
  expect(after.RootFS.Layers).toEqual([...(before.RootFS.Layers ?? []), expect.stringMatching(/^sha256:/)]);
  expect(await topLayer("made:v2")).toEqual(["bin/", "bin/.wh.wc", "data/", "made/", "made/file"]);
  expect(after.Parent).toBe(before.Id);
  expect(after.Config.Volumes).toEqual({ "/data": {} });
  await ask(engine, "DELETE", `/containers/${id}?v=1`);
  const run = await startContainer(engine, "cat /made/file && ls /data | wc -l; ls /bin/wc", { Image: "made:v2" });
  expect(await waitContainer(engine, run)).not.toBe(0);
  await ask(engine, "DELETE", `/containers/${run}?v=1`);
});

test("a working directory that the image lacks is there once the container is made, and so in what is committed", async () => {
  const id = await createContainer(engine, ["true"], { WorkingDir: "/made/for work/../it" });
  expect(await ask(engine, "GET", `/containers/${id}/changes`)).toEqual([
    { Path: "/made", Kind: 1 },
    { Path: "/made/it", Kind: 1 },
  ]);
  await commit(`container=${id}&repo=worked`);
  expect(await topLayer("worked")).toEqual(["made/", "made/it/"]);
  const file = await refusal(engine, "POST", "/containers/create", {
    Image: "busybox",
    Cmd: ["true"],
    WorkingDir: "/bin/busybox",
  });
  expect(file).toBe("Cannot mkdir: /bin/busybox is not a directory");
});

test("a directory that was deleted and made anew hides the image's, in the layer as in the container", async () => {
  await importBusybox(engine, "withdir", (root) =>
    Bun.spawnSync(["sh", "-c", `mkdir ${root}/dir; touch ${root}/dir/old`]),
  );
  const id = await startContainer(engine, "busybox rm -r /dir; busybox mkdir /dir; touch /dir/new", {
    Image: "withdir",
  });
  await waitContainer(engine, id);
  await commit(`container=${id}&repo=opaque`);
  expect(await topLayer("opaque")).toEqual(["dir/", "dir/.wh..wh..opq", "dir/new"]);
  const upper = (await image("opaque")).GraphDriver.Data?.["UpperDir"] ?? "";
  const { stdout } = await runProgram([
    "getfattr",
    "--absolute-names",
    "--only-values",
    "-n",
    "trusted.overlay.opaque",
    join(upper, "dir"),
  ]);
  expect(stdout).toBe("y");
});

test("config and history are written as docker commit writes them", async () => {
  const id = await createContainer(engine, ["sleep", "5"], {
    Env: ["A=1"],
    ExposedPorts: { "80/tcp": {} },
    Labels: { kept: "yes" },
    WorkingDir: "/tmp",
  });
  const changes = ["ENV B=2", 'CMD ["echo", "hello"]', "LABEL added=too", "EXPOSE 90/udp", "USER app", "VOLUME /v"];
  const query = new URLSearchParams({ container: id, repo: "changed", author: "Ann <a@b.c>", comment: "why not" });
  for (const change of changes) query.append("changes", change);
  const config = await configOf(await commit(query.toString()));
  expect(Object.keys(config)).toEqual(
    "architecture author config container container_config created history os rootfs".split(" "),
  );
  expect(config).toMatchObject({
    author: "Ann <a@b.c>",
    container: id,
    config: {
      User: "app",
      Env: ["A=1", "B=2"],
      Cmd: ["echo", "hello"],
      ExposedPorts: { "80/tcp": {}, "90/udp": {} },
      Labels: { kept: "yes", added: "too" },
      Volumes: { "/v": {} },
      WorkingDir: "/tmp",
      Image: "busybox",
    },
    container_config: { Cmd: ["sleep", "5"], Env: ["A=1"] },
  });
  expect(config.history?.length).toBe(2);
  expect(config.history?.at(-1)).toEqual({
    created: config.created ?? "",
    author: "Ann <a@b.c>",
    created_by: "sleep 5",
    comment: "why not",
    empty_layer: true,
  });
  const shown = await image("changed");
  expect([shown.Author, shown.Comment, shown.Container]).toEqual(["Ann <a@b.c>", "why not", id]);
  expect(shown.RootFS.Layers).toEqual((await image("busybox")).RootFS.Layers);
});

test("an import that says nothing of itself is named by its source, as docker does", async () => {
  const history = await ask<{ Comment: string }[]>(engine, "GET", "/images/busybox/history");
  expect(history.map(({ Comment }) => Comment)).toEqual(["Imported from -"]);
});

test("a config in the body stands in for the container's, which fills what it leaves open", async () => {
  const id = await createContainer(engine, ["sleep", "5"], { Env: ["A=1"], WorkingDir: "/tmp" });
  const made = await commit(`container=${id}`, { Cmd: ["ls"], Env: ["B=2"] });
  expect((await configOf(made)).config).toMatchObject({ Cmd: ["ls"], Env: ["B=2", "A=1"], WorkingDir: "/tmp" });
  expect((await image(made)).RepoTags).toEqual([]);
});

test("a running container stands still meanwhile unless that is not wanted, and events tell all of it", async () => {
  expect((await execContainer(engine, sleeper, ["touch", "/by-exec"])).exitCode).toBe(0);
  const events = async (query: string): Promise<EventMessage[]> => {
    const since = Date.now() / 1000 - 0.001;
    await commit(`container=sleeper&${query}`);
    const until = Date.now() / 1000 + 0.001;
    const response = await engine.api("GET", `/events?since=${since.toFixed(3)}&until=${until.toFixed(3)}`);
    const text = await response.text();
    return (
      text
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line) as EventMessage)
        // The end of the exec before may fall into the same millisecond.
        .filter((event) => !event.Action.startsWith("exec"))
    );
  };
  const paused = await events("repo=still&tag=1&comment=c");
  expect(paused.map((event) => event.Action)).toEqual(["pause", "unpause", "tag", "commit"]);
  const { Actor, from } = paused.at(-1) ?? {};
  expect(from).toBe("busybox");
  expect(Actor?.Attributes).toMatchObject({
    comment: "c",
    imageID: (await image("still:1")).Id,
    imageRef: "still:1",
    name: "sleeper",
    image: "busybox",
  });
  expect((await events("repo=still&tag=2&pause=0")).map((event) => event.Action)).toEqual(["tag", "commit"]);
  expect((await image("still:2")).RootFS).toEqual((await image("still:1")).RootFS);
  expect(await topLayer("still:1")).toEqual(["by-exec"]);
  expect((await engine.inspect(sleeper)).State).toMatchObject({ Running: true, Paused: false });
});

test("a paused container stays paused", async () => {
  await ask(engine, "POST", `/containers/${sleeper}/pause`);
  await commit(`container=${sleeper}`);
  expect((await engine.inspect(sleeper)).State.Paused).toBe(true);
  await ask(engine, "POST", `/containers/${sleeper}/unpause`);
});

test.each([
  ["changes=RUN%20true", "run is not a valid change command"],
  ["changes=EXPOSE%20x", "Invalid containerPort: x"],
  ["repo=UP", "must be lowercase"],
  ["repo=a&tag=%20", "invalid reference format"],
  ["repo=a@sha256:" + "0".repeat(64), "digest reference"],
])("%s is refused before anything is made", async (query, words) => {
  const images = async (): Promise<unknown[]> => ask(engine, "GET", "/images/json?all=1");
  const before = await images();
  expect(await refusal(engine, "POST", `/commit?container=${sleeper}&${query}`)).toContain(words);
  expect(await images()).toEqual(before);
  expect((await engine.inspect(sleeper)).State.Paused).toBe(false);
});

test("what was committed is saved and loaded with its id, here and by layer digest", async () => {
  const id = await startContainer(
    engine,
    "busybox mkdir -p /a/b && echo x > /a/b/c && busybox ln /a/b/c /a/d && mknod /a/n c 1 3",
  );
  await waitContainer(engine, id);
  const made = await commit(`container=${id}&repo=travels`);
  const archive = new Uint8Array(
    await (await engine.api("GET", "/images/get?names=travels&names=busybox")).arrayBuffer(),
  );
  await ask(engine, "DELETE", `/containers/${id}`);
  await ask(engine, "DELETE", "/images/travels");
  const loaded = await fetch("http://engine/images/load", { unix: engine.socket, method: "POST", body: archive });
  expect(await loaded.text()).toContain("Loaded image: travels:latest");
  expect((await image("travels")).Id).toBe(made);
});

test("the command lines of vitrine and docker commit with changes, message and author", async () => {
  for (const client of ["vitrine", "docker"] as const) {
    const outcome = await engine[client](
      "commit",
      "-m",
      "by hand",
      "-a",
      "Ann",
      "-c",
      "ENV X=y",
      "-c",
      'CMD ["true"]',
      "sleeper",
      `by-${client}:v1`,
    );
    expect(outcome).toMatchObject({ exitCode: 0, stderr: "" });
    const made = await image(`by-${client}:v1`);
    expect(outcome.stdout).toBe(`${made.Id}\n`);
    expect([made.Author, made.Comment, made.Config.Cmd]).toEqual(["Ann", "by hand", ["true"]]);
    expect(made.Config.Env).toContain("X=y");
    expect((await engine[client]("commit", "--pause=false", "sleeper")).exitCode).toBe(0);
  }
  await waitFor("it to run", async () => !(await engine.inspect(sleeper)).State.Paused);
});
