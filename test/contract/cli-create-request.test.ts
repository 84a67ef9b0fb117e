// Docker's own CLI is the oracle: for the same arguments both must send the same body, or refuse with the same words.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { command } from "../../src/cli/commands/create.ts";
import { toCreateRequest } from "../../src/cli/container-request/index.ts";
import { parseCommand } from "../../src/cli/parse-command.ts";
import { type RecordingEngine, recordingEngine } from "../support/recording-engine.ts";
import { newScratch, type Scratch } from "../support/scratch.ts";

const accepted = [
  "busybox",
  "-it --rm busybox sh -c x",
  "-i -a stdout busybox",
  "-a stdin -a STDERR busybox",
  "-p 80:80 -p 127.0.0.1:90:91/udp -p 8000-8002:9000-9002 -p 5000-5010:80/tcp -p 99 -p [::1]:1:2 -P busybox",
  "-p=80:80 -p81:82 --rm=false -it=false busybox",
  "-p published=80,target=90,protocol=udp busybox",
  "--expose 80 --expose 90-92/udp busybox",
  "-v /a:/b -v vol:/c:ro -v /d busybox",
  "--mount type=bind,source=/a,target=/b,readonly,bind-propagation=rshared busybox",
  "--mount type=volume,src=v,dst=/c,volume-nocopy,volume-label=a=b,volume-opt=o=p,volume-driver=local busybox",
  "--mount type=tmpfs,target=/t,tmpfs-size=10m,tmpfs-mode=1770 busybox",
  "--tmpfs /run --tmpfs /x:rw,size=1m busybox",
  "-e A=b -e VITRINE_TEST_SET -e VITRINE_TEST_UNSET --env-file ENVFILE busybox",
  "-l a=b -l c --label-file LABELFILE busybox",
  "--net host --pid host --ipc host --uts host --cgroupns private --userns host busybox",
  "--net container:abc busybox",
  "--network none busybox",
  "--network mynet --network-alias al --ip 10.0.0.2 --ip6 fe80::1 --link a:b --mac-address 02:42:ac:11:00:02 busybox",
  "--network name=mynet,alias=x,alias=y,ip=10.0.0.3,driver-opt=a=b,mac-address=02:42:ac:11:00:03 busybox",
  "--network a --network b busybox",
  "--link a:b busybox",
  "--cpus 1.5 --cpu-period 100000 --cpu-quota 20000 -c 512 --cpuset-cpus 0-1 --cpuset-mems 0 busybox",
  "-m 500M --memory-swap -1 --memory-reservation 100m --pids-limit 10 --blkio-weight 300 busybox",
  "--memory 1g --memory-swappiness 60 --oom-kill-disable --oom-score-adj -100 --shm-size 64m busybox",
  "--cpu-rt-period 1000 --cpu-rt-runtime 100 busybox",
  "--ulimit nofile=1024:2048 --ulimit core=0 --ulimit nproc=-1 --sysctl net.x=1 busybox",
  "--device /dev/null --device /dev/zero:/dev/z:r --device /dev/a:rw busybox",
  "--cap-add NET_ADMIN --cap-drop all --cap-add sys_time --privileged --read-only busybox",
  "--cap-add all --cap-drop CAP_NET_RAW busybox",
  "--security-opt no-new-privileges --security-opt seccomp=unconfined --security-opt label:disable busybox",
  "--security-opt seccomp=PROFILE --security-opt systempaths=unconfined busybox",
  "--restart always busybox",
  "--restart on-failure:3 busybox",
  "--init --log-driver none --stop-signal TERM --stop-timeout 5 busybox",
  "--init=false --log-driver json-file --log-opt max-size=1m busybox",
  "--dns 1.1.1.1 --dns-search example.com --dns-search . --dns-option ndots:1 busybox",
  "--add-host a:1.2.3.4 --add-host b=::1 --add-host c:host-gateway busybox",
  "--group-add 10 --cgroup-parent /x --volumes-from a --volumes-from b:ro --volume-driver local busybox",
  "--health-cmd true --health-interval 5s --health-retries 3 --health-timeout 1m30s --health-start-period 1s busybox",
  "--no-healthcheck busybox",
  "--runtime runc --storage-opt size=1G --annotation a=b --hostname h --domainname d -u 1:2 -w /w busybox",
  "--entrypoint /bin/sh busybox -c ls",
  "--entrypoint= busybox -c ls",
  "-- busybox -x",
  "busybox -it --rm",
];

const refused = [
  "--foo busybox",
  "-Z busybox",
  "--name",
  "-p",
  "--security-opt foo busybox",
  "--restart on-failure:x busybox",
  "--restart always --rm busybox",
  "--log-driver none --log-opt a=b busybox",
  "--dns foo busybox",
  "--add-host foo busybox",
  "--no-healthcheck --health-cmd x busybox",
  "--health-interval -1s busybox",
  "--health-interval 5 busybox",
  "--health-interval 5x busybox",
  "--storage-opt foo busybox",
  "--pid foo busybox",
  "--uts foo busybox",
  "--cgroupns foo busybox",
  "--ulimit foo busybox",
  "--ulimit foo=1 busybox",
  "--ulimit nofile=2:1 busybox",
  "--mount foo busybox",
  "--mount type=bind busybox",
  "--mount type=bind,source=/a,target=/b,volume-nocopy busybox",
  "--mount type=bind,foo=bar busybox",
  "-a foo busybox",
  "-v /a:/b:/c:/d busybox",
  "-p foo busybox",
  "-p 80-81:90-92 busybox",
  "-p 1.2.3:80:80 busybox",
  "-p 70000 busybox",
  "-p 99999:80 busybox",
  "--expose foo busybox",
  "--device foo busybox",
  "--device /dev/a:/dev/b:x busybox",
  "--mac-address foo busybox",
  "--link a:b:c busybox",
  "--memory-swappiness 101 busybox",
  "--env-file NOSUCHFILE busybox",
  "-e =x busybox",
  "--cpus x busybox",
  "--blkio-weight -1 busybox",
  "--oom-score-adj x busybox",
  "--rm=maybe busybox",
  "-m abc busybox",
  "-m 1x busybox",
  "--sysctl a busybox",
  "--network bridge --network-alias x busybox",
];

let engine: RecordingEngine;
let scratch: Scratch;
beforeAll(async () => {
  scratch = newScratch();
  engine = await recordingEngine({ "POST /containers/create": { Id: "f".repeat(64), Warnings: [] } });
  writeFileSync(join(scratch.path, "env"), "A=1\n# comment\nVITRINE_TEST_UNSET\nVITRINE_TEST_SET\n");
  writeFileSync(join(scratch.path, "labels"), "l1=v1\nl2\n");
  writeFileSync(join(scratch.path, "profile.json"), '{"defaultAction": "SCMP_ACT_ALLOW"}\n');
  process.env["VITRINE_TEST_SET"] = "bar";
});
afterAll(async () => {
  await engine[Symbol.asyncDispose]();
  await scratch[Symbol.asyncDispose]();
});

function argumentsOf(line: string): string[] {
  const files = { ENVFILE: "env", LABELFILE: "labels", PROFILE: "profile.json" };
  let text = line;
  for (const [word, name] of Object.entries(files)) text = text.replace(word, join(scratch.path, name));
  return text.split(" ");
}

/** The body our CLI would send, or its refusal's first line. */
function ours(argv: readonly string[]): { body?: unknown; failure?: string } {
  try {
    const { flags, args } = parseCommand(command, argv, "vitrine create");
    return { body: toCreateRequest(flags, args) };
  } catch (thrown) {
    return { failure: (thrown as Error).message };
  }
}

/** Values in which Go's zero and an absent field are the same to the engine. */
function comparable(value: unknown, key = ""): unknown {
  if (Array.isArray(value)) {
    const list = value.map((item) => comparable(item) ?? item);
    // docker's CLI keeps these in a map: their order is by chance.
    return list.length === 0 ? undefined : /^(Binds|Env)$/.test(key) ? list.sort() : list;
  }
  if (typeof value !== "object" || value === null) return value || undefined;
  const keepEmpty = /^(ExposedPorts|Volumes|Tmpfs|Labels|Sysctls|PortBindings)$/.test(key);
  const entries = Object.entries(value)
    .map(([name, item]) => [name, keepEmpty ? item : comparable(item, name)] as const)
    .filter(([, item]) => item !== undefined);
  return entries.length === 0 ? undefined : Object.fromEntries(entries);
}

describe("the create request is what docker's CLI sends", () => {
  test.each(accepted)("for: create %s", async (line) => {
    const argv = argumentsOf(line);
    engine.calls.length = 0;
    const { stderr } = await engine.docker("create", ...argv);
    expect(stderr).toBe("");
    const sent = engine.calls.find((call) => call.path === "/containers/create")?.body;
    expect(comparable(ours(argv).body)).toEqual(comparable(sent));
  });

  test.each(refused)("refuses as docker's CLI does: create %s", async (line) => {
    const argv = argumentsOf(line);
    const { stderr, exitCode } = await engine.docker("create", ...argv);
    expect(exitCode).toBe(125);
    expect(ours(argv).failure).toBe(stderr.split("\n")[0]?.replace(/^docker: /, ""));
  });
});

test("flags after the image belong to the container", () => {
  expect(ours(["--rm", "busybox", "ls", "--rm=false", "-x"]).body).toMatchObject({
    Image: "busybox",
    Cmd: ["ls", "--rm=false", "-x"],
    HostConfig: { AutoRemove: true },
  });
});

test("a flag that does not exist is refused by name", () => {
  expect(ours(["--gpus", "all", "busybox"]).failure).toBe("unknown flag: --gpus (did you mean --cpus?)");
});
