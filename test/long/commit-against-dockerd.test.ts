// The same container is committed by Docker's own engine and by ours: what the two images say, and what the layers hold, is compared.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { startDockerd, type DockerdPeer } from "../../bench/dockerd-peer.ts";
import { makeBusyboxRoot } from "../support/busybox-container.ts";
import { newScratch } from "../support/scratch.ts";
import { runProgram, startTestEngine, type TestEngine } from "../support/test-engine.ts";

let peer: DockerdPeer;
let engine: TestEngine;
const files = newScratch();

beforeAll(async () => {
  const started = await startDockerd();
  if (typeof started === "string") throw new Error(started);
  peer = started;
  engine = await startTestEngine();
  const { lower } = makeBusyboxRoot(files.path);
  mkdirSync(join(lower, "dir"));
  writeFileSync(join(lower, "dir/old"), "old\n");
  symlinkSync("/dir", join(lower, "link"));
  await runProgram(["tar", "-C", lower, "-cf", join(files.path, "root.tar"), "."]);
}, 120_000);

afterAll(async () => {
  await peer[Symbol.asyncDispose]();
  await engine[Symbol.asyncDispose]();
  await files[Symbol.asyncDispose]();
}, 120_000);

/** What a script with docker's command line prints, `$A` being the folder of the tar and a folder of its own. */
async function say(socket: string, script: string): Promise<string[]> {
  const folder = join(files.path, crypto.randomUUID());
  mkdirSync(folder);
  const { stdout, stderr } = await runProgram(
    ["timeout", "-s", "KILL", "60", "bash", "-c", `cd ${folder}\n${script}`],
    {
      DOCKER_HOST: `unix://${socket}`,
      DOCKER_CLI_HINTS: "false",
      ROOT_TAR: join(files.path, "root.tar"),
    },
  );
  // The client's own log tells of a race within it.
  const lines = `${stdout}${stderr}`.split("\n").filter((line) => !line.startsWith("time="));
  return lines.map((line) => line.replaceAll(/[0-9a-f]{64}|[0-9a-f]{12}/g, "ID")).sort();
}

async function compare(script: string): Promise<string[]> {
  const [theirs, ours] = [await say(peer.socket, script), await say(engine.socket, script)];
  expect(ours).toEqual(theirs);
  return ours;
}

test("config, history, changed files and the layer's archive are the same", async () => {
  const lines = await compare(`
    docker import -c 'CMD ["sh"]' -c 'ENV A=b' -m imported $ROOT_TAR base:1 2>&1
    docker run --net none --name one -v /vol -e X=y -h box base:1 sh -c '
      echo a > /new; busybox rm /dir/old; touch /vol/inside; busybox mkdir -p /m/n; busybox rm -r /dir; busybox mkdir /dir; echo b >> /etc/hosts' 2>&1
    docker diff one
    docker commit -m msg -a me -c 'ENV Q=r' -c 'EXPOSE 80' -c 'CMD ["ls","/"]' one made:1
    docker commit one
    docker image inspect made:1 --format '{{json .Config}} {{.Comment}} {{.Author}} {{.Architecture}} {{.Os}} {{len .RootFS.Layers}}'
    docker image inspect made:1 --format '{{json .ContainerConfig}}'
    docker history --no-trunc --format '{{.CreatedBy}}|{{.Comment}}|{{.Size}}' made:1
    docker save made:1 | tar -x
    tar -tf $(grep -o 'Layers":\\[[^]]*' manifest.json | grep -o '[^",]*\\(layer.tar\\|blobs/[^",]*\\)' | tail -n 1)`);
  expect(lines).toContain("dir/.wh..wh..opq");
  expect(lines).not.toContain("etc/hosts");
}, 120_000);

test("a container that changed nothing adds an empty entry, and what is wrong is refused in the same words", async () => {
  await compare(`
    docker create --net none --name two base:1 ls /nix
    docker commit two same:1
    docker history --format '{{.CreatedBy}}|{{.Size}}' same:1
    docker image inspect same:1 --format '{{len .RootFS.Layers}}'
    docker commit -c 'ENTRYPOINT ["/e"]' two ent:1
    docker image inspect ent:1 --format '{{json .Config.Entrypoint}} {{json .Config.Cmd}}'
    for change in 'RUN x' FOO 'ENV' 'EXPOSE x'; do docker commit -c "$change" two; done
    docker commit nope; docker commit two UP; docker commit two a:b:c`);
}, 120_000);

test("files are copied in and out by the same rules", async () => {
  const lines = await compare(`
    docker create --net none --name three base:1 ls
    names() { tar -t | sort; }
    for path in /dir /dir/ /dir/. /link /link/ /dir/old; do echo "$path:"; docker cp three:$path - | names; done
    docker cp -L three:/link - | names
    docker cp three:/none - ; docker cp three:/dir new; docker cp three:/dir new; docker cp three:/dir/. other; find new other
    echo file > file; chown 1234:5678 file; mkdir folder; echo in > folder/in; ln -s folder flink
    docker cp file three:/plain; docker cp -a file three:/arch; docker cp file three:/link/through; docker cp folder three:/
    docker cp folder/. three:/made; docker cp flink three:/fl; docker cp -L flink three:/fl2; docker cp file three:/dir/old/
    tar -c file folder | docker cp - three:/tmp
    docker diff three
    docker export three | tar -tv --numeric-owner | awk '{print $1,$2,$6,$7,$8}' | grep -v bin/`);
  expect(lines).toContain("A /dir/through");
  expect(lines).toContain("-rw-r--r-- 1234/5678 arch  ");
}, 120_000);
