// Requests that cannot be met: Docker's status codes and words, nothing left behind, and the daemon goes on.
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { connect } from "node:net";
import { Hijacked, exchange } from "../support/api-client.ts";
import { engineLeftAsItWas } from "../support/busybox-engine.ts";
import { waitFor } from "../support/test-engine.ts";

setDefaultTimeout(60_000);

const engine = engineLeftAsItWas();

async function ask(method: string, path: string, body?: unknown): Promise<{ status: number; message: string }> {
  const response = await engine.api(method, path, body);
  const text = await response.text();
  return { status: response.status, message: text.startsWith('{"message"') ? String(JSON.parse(text).message) : text };
}

async function create(request: Record<string, unknown> = {}, name = ""): Promise<string> {
  const path = `/containers/create${name && `?name=${name}`}`;
  const { status, message } = await ask("POST", path, { Image: "busybox", Cmd: ["sleep", "1000"], ...request });
  expect({ status, message }).toMatchObject({ status: 201 });
  return (JSON.parse(message) as { Id: string }).Id;
}

const remove = (id: string) => ask("DELETE", `/containers/${id}?force=1&v=1`);
const start = (id: string) => ask("POST", `/containers/${id}/start`);

describe("a container cannot be made", () => {
  const refusals: readonly (readonly [what: string, body: unknown, status: number, words: string])[] = [
    ["of an unknown image", { Image: "nope" }, 404, "No such image: nope:latest"],
    ["of a malformed image name", { Image: "Upper" }, 400, "must be lowercase"],
    ["without an image", {}, 400, "image"],
    ["from a list", [], 400, "list"],
    ["from null", null, 400, "null"],
    ["with a wrong type", { Image: "busybox", Env: "A=b" }, 400, "Env"],
    ["with a wrong type deep down", { Image: "busybox", HostConfig: { Memory: "12" } }, 400, "HostConfig.Memory"],
    ["without a command", { Image: "busybox" }, 400, "no command specified"],
    [
      "with a relative working directory",
      { Image: "busybox", Cmd: ["x"], WorkingDir: "rel" },
      400,
      "needs to be an absolute path",
    ],
    ["with an unknown stop signal", { Image: "busybox", Cmd: ["x"], StopSignal: "SIGFOO" }, 400, "SIGFOO"],
    ["with a malformed port", { Image: "busybox", Cmd: ["x"], ExposedPorts: { "x/tcp": {} } }, 400, "x/tcp"],
    [
      "with a malformed MAC address",
      { Image: "busybox", Cmd: ["x"], MacAddress: "zz" },
      400,
      "invalid MAC address: zz",
    ],
  ];
  for (const [what, body, status, words] of refusals) {
    test(what, async () => {
      const answer = await ask("POST", "/containers/create", body);
      expect(answer).toEqual({ status, message: expect.stringContaining(words) });
    });
  }

  const hostRefusals: readonly (readonly [config: Record<string, unknown>, status: number, words: string])[] = [
    [{ Memory: 1 }, 400, "Minimum memory limit allowed is 6MB"],
    [{ IpcMode: "bogus" }, 400, "invalid IPC mode: bogus"],
    [{ PidMode: "bogus" }, 400, "invalid PID mode: bogus"],
    [{ UTSMode: "bogus" }, 400, "invalid UTS mode: bogus"],
    [{ CgroupnsMode: "bogus" }, 400, "bogus"],
    [{ RestartPolicy: { Name: "sometimes" } }, 400, "sometimes"],
    [
      { AutoRemove: true, RestartPolicy: { Name: "always" } },
      400,
      "can't create 'AutoRemove' container with restart policy",
    ],
    [{ SecurityOpt: ["bogus=1"] }, 400, 'invalid --security-opt 2: "bogus=1"'],
    [{ CapAdd: ["NOT_A_CAP"] }, 400, 'unknown capability: "NOT_A_CAP"'],
    [{ Ulimits: [{ Name: "bogus", Soft: 1, Hard: 1 }] }, 400, "invalid ulimit type: bogus"],
    [{ DeviceCgroupRules: ["bogus"] }, 400, "invalid device cgroup rule format: 'bogus'"],
    [{ OomScoreAdj: 5000 }, 400, "range for oom score adj is [-1000, 1000]"],
    [{ ShmSize: -1 }, 400, "SHM size can not be less than 0"],
    [{ CpusetCpus: "x" }, 400, "Invalid value x for cpuset cpus"],
    [{ CgroupParent: "/../../x" }, 400, "invalid cgroup parent"],
    [{ PortBindings: { "80/xyz": [{ HostPort: "1" }] } }, 400, "xyz"],
    [{ PortBindings: { "80/tcp": [{ HostPort: "99999" }] } }, 400, "99999"],
    [{ PortBindings: { "80/tcp": [{ HostIp: "nope", HostPort: "1" }] } }, 400, "nope"],
    [{ LogConfig: { Type: "syslog" } }, 400, "no log driver named 'syslog' is registered"],
    [{ LogConfig: { Type: "json-file", Config: { "max-size": "x" } } }, 400, 'invalid value for max-size: "x"'],
    [
      { LogConfig: { Type: "json-file", Config: { bogus: "x" } } },
      400,
      "unknown log opt 'bogus' for json-file log driver",
    ],
    [{ LogConfig: { Type: "json-file", Config: { labels: "x" } } }, 501, '"labels"'],
    [{ Binds: ["a:b"] }, 400, "invalid volume specification: 'a:b'"],
    [{ Binds: ["/:/x:bogus"] }, 400, "invalid mode: bogus"],
    [{ Binds: ["one:/x", "two:/x"] }, 400, "Duplicate mount point: /x"],
    [
      { Mounts: [{ Type: "bind", Source: "/no/such", Target: "/x" }] },
      400,
      "bind source path does not exist: /no/such",
    ],
    [{ ExtraHosts: ["x"] }, 400, 'bad format for add-host: "x"'],
    [{ VolumesFrom: ["x"] }, 501, "VolumesFrom"],
    [{ Dns: ["1.1.1.1"] }, 501, "Dns"],
    [{ BlkioDeviceReadBps: [{ Path: "/dev/sda", Rate: 5 }] }, 501, "BlkioDeviceReadBps"],
    [{ Annotations: { a: "b" } }, 501, "Annotations"],
    [{ NetworkMode: "container:nobody" }, 404, "No such container: nobody"],
  ];
  for (const [config, status, words] of hostRefusals) {
    test(`with HostConfig ${JSON.stringify(config)}`, async () => {
      const answer = await ask("POST", "/containers/create", {
        Image: "busybox",
        Cmd: ["true"],
        Volumes: { "/anonymous": {} },
        HostConfig: config,
      });
      expect(answer).toEqual({ status, message: expect.stringContaining(words) });
    });
  }

  test("whose working directory is a file", async () => {
    const answer = await ask("POST", "/containers/create", {
      Image: "busybox",
      Cmd: ["true"],
      WorkingDir: "/etc/passwd",
    });
    expect(answer).toEqual({ status: 400, message: "Cannot mkdir: /etc/passwd is not a directory" });
  });

  test("for another platform than its image's", async () => {
    const request = { Image: "busybox", Cmd: ["true"] };
    const answer = await ask("POST", "/containers/create?platform=linux/riscv64", request);
    expect(answer).toEqual({ status: 404, message: expect.stringContaining("wanted linux/riscv64, actual: linux/") });
  });

  test("under a name that is malformed or taken, by create or by rename", async () => {
    const id = await create({}, "taken");
    const other = await create();
    const taken = {
      status: 409,
      message: `Conflict. The container name "/taken" is already in use by container "${id}". You have to remove (or rename) that container to be able to reuse that name.`,
    };
    expect(await ask("POST", "/containers/create?name=taken", { Image: "busybox", Cmd: ["x"] })).toEqual(taken);
    expect(await ask("POST", `/containers/${other}/rename?name=taken`)).toEqual(taken);
    const malformed = { status: 400, message: expect.stringContaining("Invalid container name (-x)") };
    expect(await ask("POST", "/containers/create?name=-x", { Image: "busybox", Cmd: ["x"] })).toEqual(malformed);
    expect(await ask("POST", `/containers/${other}/rename?name=-x`)).toEqual(malformed);
    for (const one of [id, other]) await remove(one);
  });
});

describe("a container cannot be started", () => {
  const failures: readonly (readonly [what: string, request: Record<string, unknown>, words: RegExp, exit: number])[] =
    [
      ["whose command is not found", { Cmd: ["no-such"] }, /exec: "no-such": executable file not found in \$PATH/, 127],
      [
        "whose command is a path that is not there",
        { Cmd: ["/no/such"] },
        /\/no\/such.*no such file or directory/,
        127,
      ],
      ["whose command is not executable", { Cmd: ["/etc/passwd"] }, /permission denied/, 126],
      ["whose command is a directory", { Cmd: ["/etc"] }, /permission denied|is a directory/, 126],
      ["whose user is unknown", { Cmd: ["true"], User: "nobodyxyz" }, /unable to find user nobodyxyz/, 125],
    ];
  for (const [what, request, words, exit] of failures) {
    test(what, async () => {
      const id = await create(request);
      const answer = await start(id);
      expect([400, 500]).toContain(answer.status);
      expect(answer.message).toMatch(words);
      expect((await engine.inspect(id)).State).toMatchObject({ Status: "created", Running: false, Pid: 0 });
      const cli = await engine.docker("start", "-a", id);
      expect(cli.exitCode).toBe(1);
      expect((await remove(id)).status).toBe(204);
      const { Cmd, User, WorkingDir } = request as { Cmd: string[]; User?: string; WorkingDir?: string };
      const flags = [...(User ? ["-u", User] : []), ...(WorkingDir ? ["-w", WorkingDir] : [])];
      const run = await engine.docker("run", "--rm", ...flags, "busybox", ...Cmd);
      expect(run.stderr).toMatch(words);
      expect(run.exitCode).toBe(exit);
    });
  }

  test("while its port is taken; it stays created, nothing leaks, and it starts once the port is free", async () => {
    const server = Bun.listen({ hostname: "0.0.0.0", port: 0, socket: { data() {} } });
    const bindings = { PortBindings: { "80/tcp": [{ HostPort: String(server.port) }] } };
    const quiet = await create();
    const calm = (await settled()).length;
    const id = await create({ HostConfig: bindings });
    const refused = await start(id);
    expect(refused.status).toBe(500);
    expect(refused.message).toMatch(
      new RegExp(
        `driver failed programming external connectivity on endpoint .*Bind for 0\\.0\\.0\\.0:${server.port} failed: port is already allocated`,
      ),
    );
    expect((await engine.inspect(id)).State.Status).toBe("created");
    await remove(quiet);
    expect((await settled()).length).toBe(calm);
    const cli = await engine.docker("run", "--name", "porty", "-p", `${server.port}:80`, "busybox", "true");
    expect(cli.exitCode).toBe(125);
    expect((await engine.inspect("porty")).State.Status).toBe("created");
    await remove("porty");
    server.stop(true);
    expect(await start(id)).toEqual({ status: 204, message: "" });
    await remove(id);
  });

  async function settled(): Promise<string[]> {
    const { tracesOf } = await import("../support/engine-traces.ts");
    let last = -1;
    await waitFor("the engine to be at rest", async () => {
      const now = tracesOf(engine).length;
      const same = now === last;
      last = now;
      await Bun.sleep(100);
      return same;
    });
    return tracesOf(engine);
  }
});

describe("other requests that are refused", () => {
  const refusals: readonly (readonly [request: string, status: number, words: string])[] = [
    ["GET /containers/zz/json", 404, "No such container: zz"],
    ["POST /containers/zz/start", 404, "No such container: zz"],
    ["DELETE /containers/zz", 404, "No such container: zz"],
    ["GET /containers/json?filters=x", 400, "invalid filter"],
    ['GET /containers/json?filters={"bogus":["x"]}', 400, "invalid filter 'bogus'"],
    ['GET /containers/json?filters={"status":["bogus"]}', 400, "invalid filter 'status=bogus'"],
    ['GET /containers/json?filters={"name":5}', 400, "invalid filter"],
    ["GET /containers/json?limit=x", 400, "limit"],
    ['GET /images/json?filters={"bogus":["x"]}', 400, "invalid filter 'bogus'"],
    ['GET /volumes?filters={"bogus":["x"]}', 400, "invalid filter 'bogus'"],
    ['POST /volumes/prune?filters={"bogus":["x"]}', 400, "invalid filter 'bogus'"],
    ['GET /networks?filters={"bogus":["x"]}', 400, "invalid filter 'bogus'"],
    ['GET /events?until=1&filters={"bogus":["x"]}', 400, "invalid filter 'bogus'"],
    ['POST /containers/prune?filters={"bogus":["x"]}', 400, "invalid filter 'bogus'"],
    ["GET /exec/zz/json", 404, "No such exec instance: zz"],
    ["POST /commit?container=zz", 404, "No such container: zz"],
    ["POST /commit", 400, "the container to commit must be named"],
    ["GET /volumes/zz", 404, "get zz: no such volume"],
    ["GET /networks/zz", 404, "network zz not found"],
    ["DELETE /images/zz", 404, "No such image: zz:latest"],
    ["POST /images/busybox/tag?repo=UP", 400, "must be lowercase"],
    ["POST /images/create?fromImage=127.0.0.1:1/zz&tag=x", 503, "127.0.0.1:1/v2/zz/manifests/x"],
    ["POST /images/create?fromImage=UP&tag=x", 400, "must be lowercase"],
    ["POST /images/zz/push?tag=x", 404, "An image does not exist locally with the tag: zz"],
    ["GET /distribution/127.0.0.1:1/zz/json", 503, "127.0.0.1:1/v2/zz/manifests/latest"],
    ["POST /build?remote=ftp://x", 400, "ftp://x"],
    ["GET /v1.23/info", 400, "client version 1.23 is too old. Minimum supported API version is 1.24"],
    ["GET /v1.99/info", 400, "client version 1.99 is too new. Maximum supported API version is 1.51"],
    ["GET /nope", 404, "page not found"],
    ["PATCH /containers/json", 404, "page not found"],
    ["POST /networks/create", 501, "networks"],
    ["GET /services", 501, "Swarm"],
  ];
  for (const [request, status, words] of refusals) {
    test(request, async () => {
      const [method = "", path = ""] = request.split(/ (.*)/);
      expect(await ask(method, path)).toEqual({ status, message: expect.stringContaining(words) });
    });
  }

  test("of a container in the wrong state", async () => {
    const id = await create({}, "stately");
    expect(await ask("POST", `/containers/${id}/kill`)).toMatchObject({
      status: 409,
      message: expect.stringContaining("is not running"),
    });
    expect((await ask("POST", `/containers/${id}/stop`)).status).toBe(304);
    expect((await ask("POST", `/containers/${id}/pause`)).status).toBe(409);
    expect((await ask("POST", `/containers/${id}/exec`, { Cmd: ["true"] })).status).toBe(409);
    expect((await start(id)).status).toBe(204);
    expect((await start(id)).status).toBe(304);
    expect(await ask("POST", `/containers/${id}/kill?signal=FOO`)).toEqual({
      status: 400,
      message: "Invalid signal: FOO",
    });
    expect(await ask("POST", `/containers/${id}/kill?signal=99`)).toEqual({
      status: 400,
      message: "Invalid signal: 99",
    });
    expect((await ask("POST", `/containers/${id}/stop?t=x`)).status).toBe(400);
    expect((await ask("POST", `/containers/${id}/unpause`)).status).toBe(409);
    expect((await ask("POST", `/containers/${id}/resize?h=1&w=99999`)).status).toBe(400);
    expect((await ask("GET", `/containers/${id}/logs`)).message).toBe(
      "Bad parameters: you must choose at least one stream",
    );
    expect((await ask("POST", `/containers/${id}/wait?condition=x`)).status).toBe(400);
    expect((await ask("POST", `/containers/${id}/exec`, { Cmd: [] })).message).toBe("No exec command specified");
    expect(await ask("DELETE", `/containers/${id}`)).toEqual({
      status: 409,
      message:
        'cannot remove container "/stately": container is running: Stop the container before attempting removal or force remove',
    });
    expect(await ask("DELETE", "/images/busybox")).toMatchObject({
      status: 409,
      message: expect.stringContaining("is using its referenced image"),
    });
    await remove(id);
  });

  test("of a volume that is in use", async () => {
    const id = await create({ HostConfig: { Binds: ["used:/data"] } });
    expect(await ask("DELETE", "/volumes/used")).toEqual({
      status: 409,
      message: `remove used: volume is in use - [${id}]`,
    });
    await remove(id);
    expect((await ask("DELETE", "/volumes/used")).status).toBe(204);
  });

  test("docker's command line ends with 125, 126, 127 and 128+n", async () => {
    const exit = async (...words: string[]): Promise<number> => (await engine.docker(...words)).exitCode;
    expect(await exit("run", "--rm", "--pull=never", "no-such-image", "true")).toBe(125);
    expect(await exit("run", "--rm", "--ipc=bogus", "busybox", "true")).toBe(125);
    expect(await exit("run", "--rm", "busybox", "/etc/passwd")).toBe(126);
    expect(await exit("run", "--rm", "busybox", "no-such")).toBe(127);
    expect(await exit("run", "--rm", "busybox", "sh", "-c", "sh -c 'kill -TERM $$'; exit $?")).toBe(143);
    const id = await create();
    await start(id);
    expect(await exit("exec", id, "no-such")).toBe(127);
    expect(await exit("exec", id, "/etc/passwd")).toBe(126);
    expect(await exit("exec", "-w", "/no/such", id, "true")).toBe(127);
    expect(await exit("exec", "-u", "nobodyxyz", id, "true")).toBe(126);
    expect(await exit("exec", id, "sh", "-c", "exit 42")).toBe(42);
    await remove(id);
  });
});

describe("connections that do not keep to HTTP", () => {
  const firstLine = (text: string): string => text.split("\r\n")[0] ?? "";

  test("headers and bodies that are too large, and words that are no request, are refused", async () => {
    const large = await exchange(
      engine.socket,
      `GET /_ping HTTP/1.1\r\nHost: x\r\nX: ${"y".repeat(70_000)}\r\n\r\n`,
      (text) => text.includes("\r\n\r\n"),
    );
    expect(firstLine(large)).toBe("HTTP/1.1 431 Request Header Fields Too Large");
    expect(firstLine(await exchange(engine.socket, "BOGUS\r\n\r\n", (text) => text.includes("\r\n\r\n")))).toBe(
      "HTTP/1.1 400 Bad Request",
    );
    const body = await ask("POST", "/containers/create", { Image: "busybox", Env: [`X=${"y".repeat(5_000_000)}`] });
    expect(body).toEqual({ status: 400, message: expect.stringContaining("larger than 4194304 bytes") });
    const declared = await exchange(
      engine.socket,
      "POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 999999999999\r\n\r\n{",
      (text) => text.includes("larger than"),
    );
    expect(firstLine(declared)).toBe("HTTP/1.1 400 Bad Request");
  });

  test("half a request, and clients that go away in the middle, do no harm", async () => {
    const halves = [
      "GET /_pi",
      "POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
      "POST /build HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
    ];
    for (const half of halves) {
      const socket = connect(engine.socket);
      await new Promise<void>((resolve) => socket.write(half, () => resolve()));
      socket.destroy();
    }
    const id = await create({ Cmd: ["sh", "-c", "while true; do echo x; sleep 0.01; done"], OpenStdin: true });
    await start(id);
    const connections = await countConnections();
    for (let round = 0; round < 5; round++) {
      const attached = await Hijacked.open(engine, `/containers/${id}/attach?stream=1&stdin=1&stdout=1`);
      const paths = [
        `/containers/${id}/logs?follow=1&stdout=1`,
        "/events",
        `/containers/${id}/stats`,
        `/containers/${id}/wait?condition=removed`,
      ];
      const gone = new AbortController();
      const open = paths.map((path) =>
        fetch(`http://engine${path}`, {
          unix: engine.socket,
          signal: gone.signal,
          method: path.includes("wait") ? "POST" : "GET",
        })
          .then((response) => response.body?.getReader().read())
          .catch(() => {}),
      );
      await Promise.race([Promise.all(open), Bun.sleep(100)]);
      attached.socket.destroy();
      gone.abort();
      await Promise.all(open);
    }
    await waitFor("the engine to let go of them", async () => (await countConnections()) <= connections);
    expect((await engine.inspect(id)).State.Running).toBe(true);
    await remove(id);
  });

  /** Descriptors of the daemon that are sockets. */
  async function countConnections(): Promise<number> {
    const list = Bun.spawnSync(["sh", "-c", `ls -l /proc/${engine.pid}/fd | grep -c socket:`]);
    return Number(list.stdout.toString());
  }
});

describe("two clients at once", () => {
  test("that remove the same container: it goes once, nobody hangs, and nobody is told of a failure inside", async () => {
    const id = await create();
    await start(id);
    const answers = await Promise.all(Array.from({ length: 5 }, () => remove(id)));
    expect(answers.filter(({ status }) => status === 204).length).toBeGreaterThan(0);
    for (const { status } of answers) expect([204, 404, 409]).toContain(status);
    expect((await ask("GET", `/containers/${id}/json`)).status).toBe(404);
  });

  test("that start the same container: it runs once", async () => {
    const id = await create();
    const answers = await Promise.all(Array.from({ length: 5 }, () => start(id)));
    expect(answers.map(({ status }) => status).sort()).toEqual([204, 304, 304, 304, 304]);
    await remove(id);
  });

  test("that want the same name: one gets it", async () => {
    const answers = await Promise.all(
      Array.from({ length: 5 }, () =>
        ask("POST", "/containers/create?name=wanted", { Image: "busybox", Cmd: ["true"] }),
      ),
    );
    expect(answers.map(({ status }) => status).sort()).toEqual([201, 409, 409, 409, 409]);
    await remove("wanted");
  });

  test("that start, stop, kill and remove at once in any order leave nothing", async () => {
    for (let round = 0; round < 5; round++) {
      const id = await create({ HostConfig: { PortBindings: { "80/tcp": [{ HostPort: "" }] } } });
      const answers = await Promise.all([
        start(id),
        ask("POST", `/containers/${id}/kill`),
        start(id),
        ask("POST", `/containers/${id}/stop?t=0`),
        ask("POST", `/containers/${id}/restart?t=0`),
        remove(id),
      ]);
      for (const answer of answers) expect(answer).not.toMatchObject({ status: 500 });
      await remove(id);
    }
  });
});
