import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { networkInterfaces } from "node:os";
import { closeDescriptor } from "../../src/kernel/index.ts";
import type { AttachRequest, Attachment } from "../../src/network/index.ts";
import {
  TestNetwork,
  addressOf,
  ask,
  attachRequest,
  needPrograms,
  pathOf,
  run,
  runJson,
  serve,
  until,
} from "../support/test-network.ts";

let network: TestNetwork;
let web: Attachment;
let webPort: number;
let neighbour: Attachment;
const servers: AsyncDisposable[] = [];

beforeAll(async () => {
  needPrograms("ip", "nft", "nsenter", "conntrack");
  network = new TestNetwork();
  const any = [{ HostPort: "" }];
  [web, neighbour] = [await network.attach({ portBindings: { "80/tcp": any, "53/udp": any } }), await network.attach()];
  webPort = hostPort(web, "80/tcp");
  servers.push(await serve({ namespace: pathOf(web), port: 80 }));
  servers.push(await serve({ namespace: pathOf(web), protocol: "udp", port: 53 }));
});
afterAll(async () => {
  for (const server of servers) await server[Symbol.asyncDispose]();
  closeDescriptors(web);
  await network[Symbol.asyncDispose]();
});

function hostPort(attachment: Attachment, port: string): number {
  return Number(attachment.ports[port]?.[0]?.HostPort);
}

function closeDescriptors(attachment: Attachment): void {
  for (const descriptor of attachment.reserved.splice(0)) closeDescriptor(descriptor);
  for (const relay of attachment.relays.splice(0)) closeDescriptor(relay.descriptor);
}

/** An IPv4 address of the host that is not its loopback. */
function hostAddress(): string {
  const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  const found = all.find(({ family, internal, cidr }) => family === "IPv4" && !internal && cidr !== `${gateway()}/24`);
  return found?.address ?? gateway();
}

function gateway(): string {
  return web.settings?.Gateway ?? "";
}

/** Attaches, hands the attachment to `use`, and takes it back. */
async function withAttached(
  change: Partial<AttachRequest>,
  use: (attachment: Attachment) => Promise<void>,
): Promise<void> {
  const request = attachRequest(change);
  const attachment = await network.service.attach(request);
  try {
    await use(attachment);
  } finally {
    closeDescriptors(attachment);
    await network.service.detach(request.containerId);
  }
}

describe("a published TCP port answers", () => {
  test("on localhost, as coming from the bridge", async () => {
    expect(await ask({ address: "127.0.0.1", port: webPort })).toBe(gateway());
  });

  test("on the host's addresses, as coming from there", async () => {
    expect(await ask({ address: hostAddress(), port: webPort })).toBe(hostAddress());
    expect(await ask({ address: gateway(), port: webPort })).toBe(gateway());
  });

  test("other containers, by the host's address and by its own", async () => {
    expect(await ask({ namespace: pathOf(neighbour), address: hostAddress(), port: webPort })).toBe(gateway());
    expect(await ask({ namespace: pathOf(neighbour), address: addressOf(web), port: 80 })).toBe(addressOf(neighbour));
  });

  test("the container itself, by the host's address (hairpin)", async () => {
    expect(await ask({ namespace: pathOf(web), address: hostAddress(), port: webPort })).toBe(gateway());
  });

  test("the host directly, by the container's address", async () => {
    expect(await ask({ address: addressOf(web), port: 80 })).toBe(gateway());
  });
});

describe("a published UDP port answers", () => {
  test("on localhost, on the host's address, and to containers", async () => {
    const port = hostPort(web, "53/udp");
    expect(await ask({ protocol: "udp", address: "127.0.0.1", port })).toBe(gateway());
    expect(await ask({ protocol: "udp", address: hostAddress(), port })).toBe(hostAddress());
    expect(await ask({ protocol: "udp", namespace: pathOf(neighbour), address: hostAddress(), port })).toBe(gateway());
    expect(await ask({ protocol: "udp", namespace: pathOf(web), address: hostAddress(), port })).toBe(gateway());
  });

  test("also to a client that asked before the port was published", async () => {
    const answers: string[] = [];
    const client = await Bun.udpSocket({
      connect: { hostname: hostAddress(), port: 24_454 },
      socket: { data: (_socket, data) => void answers.push(data.toString()), error: () => undefined },
    });
    const flows = () => run("conntrack", "-L", "-p", "udp", "--dport", "24454").split("\n").filter(Boolean);
    // Nobody is there: the kernel follows it as a flow that is not translated.
    client.send("too early");
    await until("the flow to be followed", () => flows().length > 0);
    await withAttached({ portBindings: { "53/udp": [{ HostPort: "24454" }] } }, async (attachment) => {
      expect(flows()).toEqual([]);
      await using _server = await serve({ namespace: pathOf(attachment), protocol: "udp", port: 53 });
      client.send("again");
      await until("an answer", () => answers.length > 0);
    });
    client.close();
    expect(answers).toEqual([hostAddress()]);
  });
});

describe("where a port is published", () => {
  test("on one address only, the others do not answer", async () => {
    const binding = { HostIp: "127.0.0.1", HostPort: "" };
    await withAttached({ portBindings: { "80/tcp": [binding] } }, async (attachment) => {
      await using _server = await serve({ namespace: pathOf(attachment), port: 80 });
      const port = hostPort(attachment, "80/tcp");
      expect(attachment.ports["80/tcp"]).toEqual([{ HostIp: "127.0.0.1", HostPort: String(port) }]);
      expect(await ask({ address: "127.0.0.1", port })).toBe(gateway());
      expect(await ask({ address: hostAddress(), port })).toBe("ECONNREFUSED");
      expect(await ask({ namespace: pathOf(neighbour), address: hostAddress(), port })).toBe("ECONNREFUSED");
    });
  });

  test("one port may lead to different containers on different addresses", async () => {
    const bind = (HostIp: string) => ({ portBindings: { "80/tcp": [{ HostIp, HostPort: "24455" }] } });
    await withAttached(bind("127.0.0.1"), async (one) => {
      await withAttached(bind("127.0.0.2"), async (two) => {
        await using _first = await serve({ namespace: pathOf(one), port: 80 });
        expect(await ask({ address: "127.0.0.1", port: 24_455 })).toBe(gateway());
        expect(await ask({ address: "127.0.0.2", port: 24_455 })).toBe("ECONNREFUSED");
        expect(pathOf(two)).not.toBe(pathOf(one));
      });
    });
  });

  test("every address means the IPv6 loopback too, by a listening socket that leads to the container", () => {
    expect(web.relays).toEqual([{ descriptor: expect.any(Number), address: addressOf(web), port: 80 }]);
    const listening = runJson<unknown>(
      "sh",
      "-c",
      `ss -Hltn6 'sport = :${webPort}' 2>/dev/null | grep -c '\\[::1\\]' || true`,
    );
    expect(listening).toBe(1);
  });

  test("an IPv6 address is relayed alone", async () => {
    await withAttached({ portBindings: { "80/tcp": [{ HostIp: "::1", HostPort: "24456" }] } }, async (attachment) => {
      expect([attachment.reserved.length, attachment.relays.length]).toEqual([0, 1]);
      expect(attachment.ports["80/tcp"]).toEqual([{ HostIp: "::1", HostPort: "24456" }]);
    });
  });

  test("no port means a free one of the range for such ports; -P publishes what is exposed", async () => {
    await withAttached({ exposedPorts: ["80/tcp", "53/udp"], publishAll: true }, async (attachment) => {
      const [low = 0, high = 0] = run("cat", "/proc/sys/net/ipv4/ip_local_port_range").split(/\s+/).map(Number);
      for (const key of ["80/tcp", "53/udp"]) {
        expect(hostPort(attachment, key)).toBeGreaterThanOrEqual(low);
        expect(hostPort(attachment, key)).toBeLessThanOrEqual(high);
      }
    });
  });

  test("the rules stay the same: only elements of two maps come and go", async () => {
    const rules = () => {
      const { nftables } = runJson<{ nftables: Record<string, { elem?: unknown[] }>[] }>(
        "nft",
        "-j",
        "list",
        "table",
        "ip",
        network.instance.tableName,
      );
      return {
        rules: nftables.filter((item) => item["rule"]),
        elements: nftables.flatMap((item) => item["map"]?.elem ?? []),
      };
    };
    const before = rules();
    await withAttached(
      { portBindings: { "80/tcp": [{ HostIp: "127.0.0.1", HostPort: "24457" }, { HostPort: "24458" }] } },
      async () => {
        const during = rules();
        expect(during.rules).toEqual(before.rules);
        expect(during.elements.length).toBe(before.elements.length + 2);
      },
    );
    expect(rules()).toEqual(before);
  });
});

describe("a taken port", () => {
  test("is refused with Docker's words, by another container or a program of the host, and leaves nothing", async () => {
    const words = new RegExp(
      `^driver failed programming external connectivity on endpoint web \\([0-9a-f]{64}\\): Bind for 0.0.0.0:${webPort} failed: port is already allocated$`,
    );
    const request = attachRequest({
      containerName: "web",
      portBindings: { "80/tcp": [{ HostPort: String(webPort) }] },
    });
    const links = run("ip", "-br", "link");
    await expect(network.service.attach(request)).rejects.toMatchObject({
      code: "unavailable",
      message: expect.stringMatching(words),
    });
    expect(network.service.attachmentOf(request.containerId)).toBeUndefined();
    const listener = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data: () => undefined } });
    const taken = [{ HostPort: "" }, { HostPort: String(listener.port) }];
    await expect(network.attach({ portBindings: { "80/tcp": taken } })).rejects.toThrow("port is already allocated");
    listener.stop(true);
    // Links of the tests before this one may still be on their way out.
    const more = run("ip", "-br", "link")
      .split("\n")
      .filter((line) => !links.includes(line));
    expect(more).toEqual([]);
  });

  test("in a range is passed over", async () => {
    const listener = Bun.listen({ hostname: "0.0.0.0", port: 24_460, socket: { data: () => undefined } });
    await withAttached({ portBindings: { "80/tcp": [{ HostPort: "24460-24462" }] } }, async (attachment) => {
      expect(hostPort(attachment, "80/tcp")).toBe(24_461);
    });
    listener.stop(true);
  });

  test("is reserved: a program of the host cannot have it, even with SO_REUSEADDR", () => {
    expect(() => Bun.listen({ hostname: "0.0.0.0", port: webPort, socket: { data: () => undefined } })).toThrow();
    expect(run("ss", "-Hltn4", `sport = :${webPort}`)).toBe("");
  });

  test("that only has connections closed a moment ago is not taken", async () => {
    const listener = Bun.listen({
      hostname: "127.0.0.1",
      port: 0,
      socket: { open: (socket) => void socket.end(), data: () => undefined },
    });
    await new Promise<void>((resolve, reject) => {
      const socket = { close: () => resolve(), data: () => undefined };
      Bun.connect({ hostname: "127.0.0.1", port: listener.port, socket }).catch(reject);
    });
    const { port } = listener;
    listener.stop(true);
    await until(
      "the closed connection to linger",
      () => run("ss", "-Htan", "state", "time-wait", `sport = :${port}`) !== "",
    );
    await withAttached({ portBindings: { "80/tcp": [{ HostPort: String(port) }] } }, async (attachment) => {
      await using _server = await serve({ namespace: pathOf(attachment), port: 80 });
      expect(await ask({ address: "127.0.0.1", port })).toBe(gateway());
    });
  });

  test("on an address that the host does not have is refused with the cause", async () => {
    const binding = { HostIp: "198.51.100.77", HostPort: "24463" };
    await expect(network.attach({ portBindings: { "80/tcp": [binding] } })).rejects.toThrow(
      /Bind for 198\.51\.100\.77:24463 failed: .*cannot assign requested address/,
    );
  });
});

test("connections are forgotten with the container, its own and those to its ports", async () => {
  const flowsOf = (address: string) =>
    run("conntrack", "-L")
      .split("\n")
      .filter((line) => line.includes(`=${address} `));
  let address = "";
  await withAttached({ portBindings: { "80/tcp": [{ HostPort: "24464" }] } }, async (attachment) => {
    address = addressOf(attachment);
    await using _server = await serve({ namespace: pathOf(attachment), port: 80 });
    await ask({ address: "127.0.0.1", port: 24_464 });
    await ask({ namespace: pathOf(attachment), address: addressOf(web), port: 80 });
    expect(flowsOf(address).length).toBeGreaterThan(0);
  });
  // Until then nobody else is given the address.
  await withAttached({}, async (next) => {
    expect(addressOf(next) !== address || flowsOf(address).length === 0).toBe(true);
  });
  await until("the connections to be forgotten", () => flowsOf(address).length === 0);
});
