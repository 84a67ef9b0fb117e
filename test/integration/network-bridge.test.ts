import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { mountsBelow } from "../support/scratch.ts";
import {
  TestNetwork,
  addressOf,
  attachRequest,
  needPrograms,
  newInstance,
  pathOf,
  run,
  runJson,
  until,
} from "../support/test-network.ts";

interface IpLink {
  ifname: string;
  address: string;
  operstate: string;
  mtu: number;
  flags: string[];
  master?: string;
  addr_info: { family: string; local: string; prefixlen: number }[];
}

let network: TestNetwork;

beforeAll(async () => {
  needPrograms("ip", "nft", "nsenter");
  network = new TestNetwork();
  await network.service.start();
});
afterAll(async () => {
  await network[Symbol.asyncDispose]();
});

function linksIn(namespace: string): IpLink[] {
  return runJson<IpLink[]>("nsenter", `--net=${namespace}`, "ip", "-j", "addr");
}

describe("a container on the bridge", () => {
  test("has eth0 with address, MAC and a default route by the bridge, and no IPv6 address", async () => {
    const attachment = await network.attach();
    const subnet = (network.instance.subnet ?? "").replace(/0\/24$/, "");
    expect(attachment.settings).toMatchObject({ IPAddress: `${subnet}2`, Gateway: `${subnet}1`, IPPrefixLen: 24 });
    const links = linksIn(pathOf(attachment));
    expect(links.map((link) => link.ifname)).toEqual(expect.arrayContaining(["lo", "eth0"]));
    const eth0 = links.find((link) => link.ifname === "eth0");
    expect(eth0?.addr_info.map((info) => `${info.local}/${info.prefixlen}`)).toEqual([`${subnet}2/24`]);
    const octets = `${subnet}2`.split(".").map((octet) => Number(octet).toString(16).padStart(2, "0"));
    expect(eth0?.address).toBe(`02:42:${octets.join(":")}`);
    expect(attachment.settings?.MacAddress).toBe(eth0?.address ?? "");
    expect(links.find((link) => link.ifname === "lo")?.flags).toContain("UP");
    const routes = runJson<{ dst: string; gateway?: string }[]>(
      "nsenter",
      `--net=${pathOf(attachment)}`,
      "ip",
      "-j",
      "route",
    );
    expect(routes.find((route) => route.dst === "default")?.gateway).toBe(`${subnet}1`);
    expect(attachment.hosts).toEqual([{ address: `${subnet}2`, name: "web" }]);
  });

  test("is a port of the bridge, in hairpin mode", async () => {
    needPrograms("bridge");
    await network.attach();
    const ports = runJson<{ master?: string; hairpin?: boolean; state: string }[]>("bridge", "-j", "-d", "link");
    const ours = ports.filter((port) => port.master === network.instance.bridgeName);
    expect(ours.length).toBeGreaterThan(0);
    for (const port of ours) expect(port).toMatchObject({ hairpin: true });
  });

  test("leaves its address to the next one, and no link, file or mount", async () => {
    const request = attachRequest();
    const first = await network.service.attach(request);
    const index = linksIn(pathOf(first)).length;
    expect(index).toBeGreaterThan(1);
    await network.service.detach(request.containerId);
    expect(existsSync(pathOf(first))).toBe(false);
    const second = await network.attach();
    expect(addressOf(second)).toBe(addressOf(first));
    await network.service.detach(request.containerId);
  });

  test("never gets a namespace that another had", async () => {
    const inodes = new Set<string>();
    for (let round = 0; round < 3; round++) {
      const request = attachRequest();
      const attachment = await network.service.attach(request);
      inodes.add(run("stat", "-L", "-c", "%i", pathOf(attachment)));
      await network.attach({ networkMode: "none" });
    }
    expect(inodes.size).toBe(3);
  });

  test("has the MAC and the address that it asks for, or is told why not", async () => {
    const subnet = (network.instance.subnet ?? "").replace(/0\/24$/, "");
    const attachment = await network.attach({ macAddress: "02:AA:bb:00:00:01", ipv4Address: `${subnet}200` });
    const eth0 = linksIn(pathOf(attachment)).find((link) => link.ifname === "eth0");
    expect([eth0?.address, eth0?.addr_info[0]?.local]).toEqual(["02:aa:bb:00:00:01", `${subnet}200`]);
    await expect(network.attach({ ipv4Address: `${subnet}200` })).rejects.toThrow("Address already in use");
    await expect(network.attach({ ipv4Address: "10.0.0.2" })).rejects.toThrow(
      "invalid address 10.0.0.2: It does not belong to",
    );
  });

  test("that cannot be connected leaves nothing behind", async () => {
    const before = {
      links: runJson<IpLink[]>("ip", "-j", "addr").length,
      mounts: mountsBelow(network.paths.run).length,
    };
    const request = attachRequest({ macAddress: "ff:ff:ff:ff:ff:ff", portBindings: { "80/tcp": [{ HostPort: "" }] } });
    await expect(network.service.attach(request)).rejects.toThrow("Cannot create veth");
    await until("the failed attempt to be undone", () => mountsBelow(network.paths.run).length <= before.mounts);
    // Links of the tests before this one may still be on their way out.
    await until("no link to be left of it", () => runJson<IpLink[]>("ip", "-j", "addr").length <= before.links);
    expect(network.service.attachmentOf(request.containerId)).toBeUndefined();
    expect(existsSync(network.paths.networkNamespace(request.containerId))).toBe(false);
  });

  test("is found again in the database, and in network inspect by its id", async () => {
    const request = attachRequest({ containerName: "/web" });
    const attachment = await network.service.attach(request);
    expect(network.service.attachmentOf(request.containerId)).toEqual({ ...attachment, reserved: [], relays: [] });
    const { IPAddress, EndpointID, MacAddress } = attachment.settings ?? {};
    expect(network.service.inspect("bridge").Containers[request.containerId]).toEqual({
      Name: "web",
      EndpointID: EndpointID ?? "",
      MacAddress: MacAddress ?? "",
      IPv4Address: `${IPAddress}/24`,
      IPv6Address: "",
    });
  });
});

describe("other network modes", () => {
  test("none is a namespace with lo only", async () => {
    const attachment = await network.attach({ networkMode: "none" });
    expect(
      linksIn(pathOf(attachment))
        .filter((link) => link.flags.includes("UP"))
        .map((link) => link.ifname),
    ).toEqual(["lo"]);
    expect(attachment).toMatchObject({ networkName: "none", ports: {}, hosts: [] });
  });

  test("host is the host's, and its ports are not published", async () => {
    const attachment = await network.attach({ networkMode: "host", portBindings: { "80/tcp": [{ HostPort: "1" }] } });
    expect(attachment).toMatchObject({ namespace: { kind: "host" }, networkName: "host", ports: {}, reserved: [] });
  });

  test("container:ID is the other's namespace, which outlives the one that came later", async () => {
    const owner = attachRequest();
    const attachment = await network.service.attach(owner);
    const guest = attachRequest({ networkMode: `container:${owner.containerId}` });
    const shared = await network.service.attach(guest);
    expect([shared.namespace, shared.hosts]).toEqual([attachment.namespace, attachment.hosts]);
    expect(shared.settings).toBeUndefined();
    await network.service.detach(guest.containerId);
    expect(linksIn(pathOf(attachment)).some((link) => link.ifname === "eth0")).toBe(true);
  });

  test("an unknown container or network is refused with its name", async () => {
    await expect(network.attach({ networkMode: "container:nobody" })).rejects.toThrow(
      "cannot join network of a non running container: nobody",
    );
    await expect(network.attach({ networkMode: "mynet" })).rejects.toThrow("network mynet not found");
    expect(() => network.service.inspect("mynet")).toThrow("network mynet not found");
  });

  test("detaching what is not attached is well", async () => {
    await network.service.detach("0".repeat(64));
  });
});

describe("beside other engines", () => {
  test("a bridge and a table whose names are taken get the next number", async () => {
    const other = new TestNetwork({ ...network.instance, subnet: newInstance().subnet ?? "" });
    try {
      await other.service.start();
      const taken = network.instance.bridgeName;
      const { Options } = other.service.inspect("bridge");
      expect(Options["com.docker.network.bridge.name"]).not.toBe(taken);
      expect(existsSync(`/sys/class/net/${Options["com.docker.network.bridge.name"]}`)).toBe(true);
      expect(run("nft", "list", "tables").match(new RegExp(`${taken.slice(0, -1)}`, "g"))?.length).toBeGreaterThan(1);
    } finally {
      await other[Symbol.asyncDispose]();
    }
    expect(existsSync(`/sys/class/net/${network.instance.bridgeName}`)).toBe(true);
  });

  test("a subnet that the host has already is refused with both", () => {
    const other = new TestNetwork({ ...newInstance(), subnet: network.instance.subnet ?? "" });
    return other.service
      .start()
      .then(() => expect.unreachable())
      .catch((error: unknown) => expect(String(error)).toMatch(/subnet ".*" overlaps .*, which the host has already/))
      .finally(() => other[Symbol.asyncDispose]());
  });

  test("without a wish, a subnet is chosen in which the host has no route", async () => {
    const { bridgeName, tableName } = newInstance();
    const other = new TestNetwork({ bridgeName, tableName });
    try {
      const before = run("ip", "route");
      await other.service.start();
      const [config] = other.service.inspect("bridge").IPAM.Config;
      expect(config?.Subnet).toMatch(/^(172\.(1[7-9]|2\d|3[01])\.0\.0\/16|192\.168\.\d+\.0\/20)$/);
      expect(before).not.toContain(config?.Subnet ?? "");
    } finally {
      await other[Symbol.asyncDispose]();
    }
  });
});

test("closing with removeAll leaves no link, table, mount or file", async () => {
  const instance = newInstance();
  const other = new TestNetwork(instance);
  await other.attach({ portBindings: { "80/tcp": [{ HostPort: "" }] } });
  await other.attach({ networkMode: "none" });
  await other.service.close({ removeAll: true });
  expect(run("ip", "-br", "link")).not.toContain(instance.bridgeName);
  expect(run("nft", "list", "tables")).not.toContain(instance.tableName);
  expect(mountsBelow(other.scratch.path)).toEqual([]);
  expect(readFileSync("/proc/self/mountinfo", "utf8")).not.toContain(other.scratch.path);
  await other.scratch[Symbol.asyncDispose]();
});
