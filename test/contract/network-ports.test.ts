import { describe, expect, test } from "bun:test";
import { readLegacyRules } from "../../src/network/legacy-iptables.ts";
import { parsePort, portsOf, requestedPorts } from "../../src/network/published-ports.ts";

const nothing = { portBindings: {}, exposedPorts: [], publishAll: false };

describe("published ports as they are asked for", () => {
  test("no address means every IPv4 address, and the IPv6 loopback with it", () => {
    const [port] = requestedPorts({ ...nothing, portBindings: { "80/tcp": [{ HostPort: "4000" }] } });
    expect(port).toEqual({
      protocol: "tcp",
      containerPort: 80,
      hostAddress: "0.0.0.0",
      hostPort: 4000,
      hostPortCount: 1,
      everywhere: true,
    });
  });

  test("a range of host ports is a choice", () => {
    const [port] = requestedPorts({ ...nothing, portBindings: { "80": [{ HostPort: "4000-4010" }] } });
    expect(port).toMatchObject({ hostPort: 4000, hostPortCount: 11 });
  });

  test("-P publishes what is exposed and not yet bound", () => {
    const ports = requestedPorts({
      portBindings: { "80/tcp": [{ HostIp: "127.0.0.1", HostPort: "4000" }] },
      exposedPorts: ["80/tcp", "53/udp"],
      publishAll: true,
    });
    expect(ports.map((port) => [port.containerPort, port.hostAddress, port.hostPort])).toEqual([
      [80, "127.0.0.1", 4000],
      [53, "0.0.0.0", 0],
    ]);
  });

  test.each([
    ["0/tcp", 'invalid port "0/tcp"'],
    ["65536", 'invalid port "65536"'],
    ["80/icmp", "invalid proto: icmp"],
    ["80/sctp", "SCTP cannot be published yet"],
    ["80-90/tcp", 'invalid port "80-90/tcp"'],
  ])("port %p is refused", (text, words) => {
    expect(() => parsePort(text)).toThrow(words);
  });

  test.each([
    [{ HostIp: "localhost" }, 'invalid IP address in port binding: "localhost"'],
    [{ HostPort: "70000" }, 'invalid port specification: "70000"'],
    [{ HostPort: "20-10" }, 'invalid port specification: "20-10"'],
    [{ HostPort: "-1" }, 'invalid port specification: "-1"'],
  ])("binding %p is refused", (binding, words) => {
    expect(() => requestedPorts({ ...nothing, portBindings: { "80/tcp": [binding] } })).toThrow(words);
  });

  test("what is only exposed shows as null", () => {
    const published = [{ protocol: "tcp", containerPort: 80, hostAddress: "0.0.0.0", hostPort: 4000 }] as const;
    expect(portsOf(published, ["80/tcp", "443"])).toEqual({
      "80/tcp": [{ HostIp: "0.0.0.0", HostPort: "4000" }],
      "443/tcp": null,
    });
  });
});

describe("the legacy filter's listing", () => {
  const docker = ["-P FORWARD DROP", "-N DOCKER-USER", "-A FORWARD -j DOCKER-USER", "-A FORWARD -o docker0 -j DOCKER"];

  test("a policy of DROP needs rules, in the administrator's chain where Docker made one", () => {
    expect(readLegacyRules(docker.join("\n"))).toEqual({ drops: true, chain: "DOCKER-USER" });
    expect(readLegacyRules("-P FORWARD DROP")).toEqual({ drops: true, chain: "FORWARD" });
  });

  test("so does a last rule that rejects everything; a first that accepts everything does not", () => {
    const reject = "-A FORWARD -j REJECT --reject-with icmp-host-prohibited";
    expect(readLegacyRules(`-P FORWARD ACCEPT\n${reject}`).drops).toBe(true);
    expect(readLegacyRules(`-P FORWARD DROP\n-A FORWARD -j ACCEPT\n${reject}`).drops).toBe(false);
  });

  test("a rule about somebody else's link needs none", () => {
    expect(readLegacyRules("-P FORWARD ACCEPT\n-A FORWARD -i eth9 -j DROP").drops).toBe(false);
  });
});
