// The same is done with Docker's own engine and with ours: commits, names, prunes, archives and copies, and what is said and made is compared.
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

test("names are put on, taken away and refused in the same words", async () => {
  const lines = await compare(`
    docker import -c 'LABEL kind=first' -c 'ENTRYPOINT ["sh","-c"]' -c 'USER 5' $ROOT_TAR r:1 2>&1
    docker import -c 'FROM x' $ROOT_TAR wrong:1 2>&1
    docker tag r:1 r:2; docker tag r:1 other/r; docker tag nothing r:3; docker tag r:1 UP; docker tag r:1 r@sha256:$(printf %064d 0)
    docker create --net none --name user r:1 ls
    docker rmi r:1; docker rmi r:2; docker rmi other/r; docker rmi $(docker images -q r:2 | head -n 1)
    docker images --format '{{.Repository}}:{{.Tag}}' --filter reference='*/r' ; docker images -q --filter label=kind=first | wc -l
    docker rm user; docker rmi r nothing:x
    ID=$(docker commit $(docker create --net none other/r ls)); docker rmi $ID; docker rmi -f $ID; docker rmi -f nothing; echo "$?"
    docker rmi other/r; docker rm -f $(docker ps -aq); docker rmi other/r
    docker images --format '{{.Repository}}:{{.Tag}}' --filter label=kind=first`);
  expect(lines.filter((line) => line.includes("conflict")).length).toBeGreaterThan(1);
}, 120_000);

test("prunes take the same, by the same filters", async () => {
  await compare(`
    made() { ID=$(docker create --net none --label $1 base:1 ls); docker commit $ID $2; docker rm $ID; }
    made red; made blue; made green named:1
    prune() { docker image prune -f "$@" | grep -c deleted; }
    prune --filter until=24h; prune --filter label=none; prune --filter label=red; prune --filter label!=green; prune
    prune -a --filter label=green
    docker images --format '{{.Repository}}:{{.Tag}}' --filter label=green
    docker create --net none --name stays base:1 ls; docker image prune -af --filter label=red
    docker container prune -f --filter label=none | grep -c deleted; docker rm stays
    docker system prune -f --filter label=none | tail -n 1; docker system prune -f --volumes --filter until=1h; docker network prune -f`);
}, 120_000);

test("several images are saved and loaded with their names, and what is wrong with an archive is said", async () => {
  await compare(`
    docker tag base:1 one:1; docker tag base:1 one:2; docker tag base:1 two:1
    docker save one two:1 > both.tar; docker save nothing 2>&1 | head -c 200; docker save one:1 nothing 2>&1 | head -c 200
    tar -xOf both.tar manifest.json | grep -o '"RepoTags":[^]]*]'
    docker rmi one:1 one:2 two:1; docker load -i both.tar; docker images --format '{{.Repository}}:{{.Tag}}' --filter reference=one
    ID=$(docker images -q --no-trunc base:1); docker save $ID | tar -xO manifest.json | grep -o '"RepoTags":[^,]*'
    docker rmi one:1 one:2 two:1; docker image ls --digests --format '{{.Repository}} {{.Digest}}' base`);
}, 120_000);

test("a stopped container's volume is reached through a link", async () => {
  await compare(`
    docker run --net none --name linked -v /vol base:1 sh -c 'busybox mkdir /vol/deep; echo in > /vol/deep/file; busybox ln -s /vol/deep /way'
    docker cp linked:/way/file got; cat got; docker cp linked:/vol all; find all | sort; docker cp linked:/way - | tar -t
    echo new > new; docker cp new linked:/way/; docker cp linked:/vol/deep/new - | tar -xO
    docker export linked | tar -t | grep '^vol\\|^way'; docker diff linked; docker rm -v linked`);
}, 120_000);
