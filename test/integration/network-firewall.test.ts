import { describe, expect, test } from "bun:test";
import {
  NetworkAgent,
  TestHost,
  addressOf,
  ask,
  attachRequest,
  needPrograms,
  newInstance,
  run,
  serve,
  until,
} from "../support/test-network.ts";
import { newScratch } from "../support/scratch.ts";

interface Machine extends AsyncDisposable {
  readonly host: TestHost;
  readonly agent: NetworkAgent;
  readonly bridge: string;
  readonly table: string;
  readonly subnet: string;
}

/** A machine whose firewall and switches are its own, prepared before its engine starts. */
async function newMachine(prepare: (host: TestHost) => void = () => undefined): Promise<Machine> {
  const host = new TestHost();
  const scratch = newScratch();
  prepare(host);
  const instance = newInstance();
  const agent = new NetworkAgent({ namespace: host.name, root: scratch.path, instance });
  return {
    host,
    agent,
    bridge: instance.bridgeName,
    table: instance.tableName,
    subnet: instance.subnet ?? "",
    async [Symbol.asyncDispose]() {
      await agent[Symbol.asyncDispose]();
      await host[Symbol.asyncDispose]();
      await scratch[Symbol.asyncDispose]();
    },
  };
}

const published = { portBindings: { "80/tcp": [{ HostPort: "8080" }] } };

/** From a neighbour to a published port, from a container to the neighbour, between containers, and hairpin. */
async function expectAllWays({ host, agent }: Machine): Promise<void> {
  const [web, other] = [await agent.attach(published), await agent.attach()];
  await using _web = await serve({ namespace: agent.pathOf(web), port: 80 });
  await using _neighbour = await serve({ namespace: host.neighbourPath, port: 99 });
  const ways = {
    publishedToNeighbour: ask({ namespace: host.neighbourPath, address: host.address, port: 8080 }),
    outside: ask({ namespace: agent.pathOf(web), address: host.neighbourAddress, port: 99 }),
    between: ask({ namespace: agent.pathOf(other), address: addressOf(web), port: 80 }),
    betweenByHost: ask({ namespace: agent.pathOf(other), address: host.address, port: 8080 }),
    hairpin: ask({ namespace: agent.pathOf(web), address: host.address, port: 8080 }),
    localhost: ask({ namespace: host.path, address: "127.0.0.1", port: 8080 }),
  };
  const gateway = web.settings?.Gateway ?? "";
  expect(
    Object.fromEntries(await Promise.all(Object.entries(ways).map(async ([way, answer]) => [way, await answer]))),
  ).toEqual({
    publishedToNeighbour: host.neighbourAddress,
    outside: host.address,
    between: addressOf(other),
    betweenByHost: gateway,
    hairpin: gateway,
    localhost: gateway,
  });
}

describe.each(["0", "1"])("with bridge-nf-call-iptables=%s", (value) => {
  const setBridgeFilter = (host: TestHost) =>
    host.run(
      "sh",
      "-c",
      `[ ! -e /proc/sys/net/bridge ] || echo ${value} > /proc/sys/net/bridge/bridge-nf-call-iptables`,
    );

  test("a firewall without rules lets every way work", async () => {
    await using machine = await newMachine(setBridgeFilter);
    await expectAllWays(machine);
    expect(machine.host.run("nft", "list", "ruleset")).not.toContain(`vitrine ${machine.table}`);
  });

  test("a FORWARD policy of DROP gets two tagged rules, which go at the end", async () => {
    needPrograms("iptables-nft");
    await using machine = await newMachine((host) => {
      setBridgeFilter(host);
      host.run("iptables-nft", "-P", "FORWARD", "DROP");
    });
    const { host, agent, bridge } = machine;
    await expectAllWays(machine);
    const rules = host.run("iptables-nft", "-S", "FORWARD");
    expect(rules).toMatch(new RegExp(`-A FORWARD -o ${bridge} .*-j ACCEPT`));
    expect(rules).toMatch(new RegExp(`-A FORWARD -i ${bridge} .*-j ACCEPT`));
    expect(JSON.stringify(await agent.call("status"))).toContain("ip filter FORWARD accepts what");
    await agent.call("close", { removeAll: true });
    expect(host.run("iptables-nft", "-S", "FORWARD")).toBe("-P FORWARD DROP\n");
    await agent.kill();
  });
});

describe("another firewall", () => {
  test("with Docker's chain for the administrator gets the rules there, and nowhere else", async () => {
    needPrograms("iptables-nft");
    await using machine = await newMachine((host) => {
      host.run("iptables-nft", "-P", "FORWARD", "DROP");
      host.run("iptables-nft", "-N", "DOCKER-USER");
      host.run("iptables-nft", "-A", "DOCKER-USER", "-j", "RETURN");
      host.run("iptables-nft", "-A", "FORWARD", "-j", "DOCKER-USER");
    });
    await expectAllWays(machine);
    const rules = machine.host.run("iptables-nft", "-S").split("\n");
    expect(rules.filter((rule) => rule.startsWith("-A FORWARD"))).toEqual(["-A FORWARD -j DOCKER-USER"]);
    expect(rules.filter((rule) => rule.includes(machine.bridge))).toHaveLength(2);
    expect(rules.filter((rule) => rule.startsWith("-A DOCKER-USER")).at(-1)).toBe("-A DOCKER-USER -j RETURN");
  });

  test("of the kernel's legacy filter gets them by its own program", async () => {
    needPrograms("iptables-legacy");
    await using machine = await newMachine((host) => host.run("iptables-legacy", "-P", "FORWARD", "DROP"));
    const { host, agent, bridge } = machine;
    await expectAllWays(machine);
    const rules = host
      .run("iptables-legacy", "-S", "FORWARD")
      .split("\n")
      .filter((rule) => rule.includes(bridge));
    expect(rules).toHaveLength(2);
    expect(JSON.stringify(await agent.call("status"))).toContain("iptables-legacy filter FORWARD accepts");
    await agent.call("close", { removeAll: true });
    expect(host.run("iptables-legacy", "-S", "FORWARD")).toBe("-P FORWARD DROP\n");
    await agent.kill();
  });

  test("that rejects everything in a chain it jumps to, as firewalld's, gets them in its base chain", async () => {
    const rules =
      "add table inet fw; add chain inet fw last; add rule inet fw last reject; " +
      "add chain inet fw forward { type filter hook forward priority 10; }; " +
      "add rule inet fw forward ct state established accept; add rule inet fw forward jump last";
    await using machine = await newMachine((host) => host.run("nft", rules));
    await expectAllWays(machine);
    expect(machine.host.run("nft", "list", "chain", "inet", "fw", "forward").match(/comment "vitrine/g)).toHaveLength(
      2,
    );
  });

  test("that accepts everything, or drops only what concerns other links, is left alone", async () => {
    const rules =
      "add table ip fw; add chain ip fw forward { type filter hook forward priority 0; policy drop; }; " +
      'add rule ip fw forward iifname "other0" drop; add rule ip fw forward accept';
    await using machine = await newMachine((host) => host.run("nft", rules));
    await expectAllWays(machine);
    expect(machine.host.run("nft", "list", "table", "ip", "fw")).not.toContain("vitrine");
    expect(JSON.stringify(await machine.agent.call("status"))).not.toContain("Foreign");
  });

  test("that is reloaded gets them again, and so does our own table when somebody flushes everything", async () => {
    const load =
      "flush ruleset; add table ip fw; add chain ip fw forward { type filter hook forward priority 0; policy drop; }";
    await using machine = await newMachine((host) => host.run("nft", load));
    await machine.agent.call("start");
    const web = await machine.agent.attach(published);
    machine.host.run("nft", load);
    // Before the flush is even noticed.
    const early = await machine.agent.attach({ portBindings: { "80/tcp": [{ HostPort: "8081" }] } });
    const ruleset = () => machine.host.run("nft", "list", "ruleset");
    expect(ruleset()).toContain(`tcp . 8081 : ${addressOf(early)} . 80`);
    await until("the rules to be put back", () => ruleset().match(/comment "vitrine/g)?.length === 2);
    expect(ruleset()).toContain(`tcp . 8080 : ${addressOf(web)} . 80`);
    await using _server = await serve({ namespace: machine.agent.pathOf(web), port: 80 });
    const { neighbourPath: namespace, neighbourAddress, address } = machine.host;
    expect(await ask({ namespace, address, port: 8080 })).toBe(neighbourAddress);
  });

  test("that stops dropping loses them again", async () => {
    const chain = (policy: string) =>
      `add table ip fw; add chain ip fw forward { type filter hook forward priority 0; policy ${policy}; }`;
    await using machine = await newMachine((host) => host.run("nft", chain("drop")));
    await machine.agent.call("start");
    expect(machine.host.run("nft", "list", "table", "ip", "fw")).toContain("vitrine");
    machine.host.run("nft", chain("accept"));
    await until(
      "the rules to be taken back",
      () => !machine.host.run("nft", "list", "table", "ip", "fw").includes("vitrine"),
    );
  });
});

describe("forwarding", () => {
  const forwarding = (host: TestHost) => host.run("cat", "/proc/sys/net/ipv4/ip_forward").trim();
  const switchTo = (value: string) => (host: TestHost) =>
    host.run("sh", "-c", `echo ${value} > /proc/sys/net/ipv4/ip_forward`);

  /** A third machine behind another link of the host. */
  function addOtherLink(host: TestHost): string {
    const name = `${host.name}o`;
    run("ip", "netns", "add", name);
    run("ip", "-n", host.name, "link", "add", "other0", "type", "veth", "peer", "name", "eth0", "netns", name);
    run("ip", "-n", host.name, "addr", "add", "198.51.100.1/24", "dev", "other0");
    run("ip", "-n", host.name, "link", "set", "other0", "up");
    run("ip", "-n", name, "addr", "add", "198.51.100.2/24", "dev", "eth0");
    run("ip", "-n", name, "link", "set", "eth0", "up");
    run("ip", "-n", name, "route", "add", "default", "via", "198.51.100.1");
    return name;
  }

  test.each([
    ["0", "timeout"],
    ["1", "192.0.2.2"],
  ])("that was %s stays so for other links (%s), and is put back", async (value, answer) => {
    await using machine = await newMachine(switchTo(value));
    const { host, agent } = machine;
    const other = addOtherLink(host);
    try {
      await agent.call("start");
      expect(forwarding(host)).toBe("1");
      await expectAllWays(machine);
      await using _server = await serve({ namespace: `/run/netns/${other}`, port: 99 });
      expect(await ask({ namespace: host.neighbourPath, address: "198.51.100.2", port: 99 })).toBe(answer);
      expect(JSON.stringify(await agent.call("status")).includes("switched on by this engine")).toBe(value === "0");
      await agent.call("close", { removeAll: true });
      expect(forwarding(host)).toBe(value);
      await agent.kill();
    } finally {
      run("ip", "netns", "del", other);
    }
  });

  test("is kept on, and shut for others, as long as one of two engines is there", async () => {
    await using machine = await newMachine(switchTo("0"));
    await using scratch = newScratch();
    const second = new NetworkAgent({ namespace: machine.host.name, root: scratch.path, instance: newInstance() });
    await machine.agent.call("start");
    await second.call("start");
    const guards = () => machine.host.run("nft", "list", "ruleset").match(/chain guard_forwarding/g)?.length ?? 0;
    expect([guards(), forwarding(machine.host)]).toEqual([2, "1"]);
    await machine.agent.call("close", { removeAll: true });
    await machine.agent.kill();
    expect([guards(), forwarding(machine.host)]).toEqual([1, "1"]);
    await second.call("close", { removeAll: true });
    await second.kill();
    expect([guards(), forwarding(machine.host)]).toEqual([0, "0"]);
  });
});

describe("from outside", () => {
  test("a container's ports that are not published are out of reach, also by its own address", async () => {
    await using machine = await newMachine();
    const { host, agent, subnet } = machine;
    run("ip", "-n", host.neighbour, "route", "add", subnet, "via", host.address);
    const web = await agent.attach();
    await using _server = await serve({ namespace: agent.pathOf(web), port: 80 });
    expect(await ask({ namespace: host.neighbourPath, address: addressOf(web), port: 80 })).toBe("timeout");
    expect(await ask({ namespace: host.path, address: addressOf(web), port: 80 })).toBe(web.settings?.Gateway ?? "");
  });

  test("a port that is published on localhost cannot be reached by a neighbour who addresses 127.0.0.1 to us", async () => {
    await using machine = await newMachine();
    const { host, agent } = machine;
    const web = await agent.attach({ portBindings: { "80/tcp": [{ HostIp: "127.0.0.1", HostPort: "8080" }] } });
    await using _server = await serve({ namespace: agent.pathOf(web), port: 80 });
    run("ip", "netns", "exec", host.neighbour, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet");
    run("ip", "-n", host.neighbour, "addr", "del", "127.0.0.1/8", "dev", "lo");
    run(
      "ip",
      "-n",
      host.neighbour,
      "route",
      "add",
      "127.0.0.1",
      "via",
      host.address,
      "dev",
      "lan0",
      "src",
      host.neighbourAddress,
    );
    run("ip", "-n", host.neighbour, "route", "flush", "table", "local", "127.0.0.0/8");
    expect(await ask({ namespace: host.path, address: "127.0.0.1", port: 8080 })).toBe(web.settings?.Gateway ?? "");
    expect(await ask({ namespace: host.neighbourPath, address: "127.0.0.1", port: 8080 })).toBe("timeout");
    const counted = host.run("nft", "list", "chain", "ip", machine.table, "raw_prerouting");
    expect(counted).toContain('iifname != "lo" ip daddr 127.0.0.0/8 drop');
  });
});

test("a killed engine's successor takes over what lives and removes what does not", async () => {
  await using host = new TestHost();
  await using scratch = newScratch();
  const instance = newInstance();
  const options = { namespace: host.name, root: scratch.path, instance };
  const first = new NetworkAgent(options);
  const [alive, dead] = [
    attachRequest(published),
    attachRequest({ portBindings: { "80/tcp": [{ HostPort: "8081" }] } }),
  ];
  const kept = await first.call<Awaited<ReturnType<NetworkAgent["attach"]>>>("attach", alive);
  await first.call("attach", dead);
  // What holds the living container's namespace, as its processes would.
  await using _server = await serve({ namespace: first.pathOf(kept), port: 80 });
  await first.kill();

  await using second = new NetworkAgent(options);
  await second.call("reconcile", alive.containerId);
  expect(await second.call<unknown>("attachmentOf", alive.containerId)).toEqual({ ...kept, reserved: [], relays: [] });
  expect(await second.call<unknown>("attachmentOf", dead.containerId)).toBeNull();
  const ports = () => host.run("ip", "-br", "link", "show", "master", instance.bridgeName).trim().split("\n");
  await until("the dead container's link to go", () => ports().length === 1);
  const table = host.run("nft", "list", "table", "ip", instance.tableName);
  expect(table).toContain("tcp . 8080");
  expect(table).not.toContain("tcp . 8081");
  expect(await ask({ namespace: host.path, address: "127.0.0.1", port: 8080 })).toBe(kept.settings?.Gateway ?? "");
  const next = await second.attach();
  expect(addressOf(next)).not.toBe(addressOf(kept));
});
