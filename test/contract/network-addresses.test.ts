import { describe, expect, test } from "bun:test";
import {
  chooseSubnet,
  formatSubnet,
  gatewayOf,
  isHostOf,
  lowestFreeAddress,
  macAddressOf,
  overlaps,
  parseSubnet,
} from "../../src/network/subnet.ts";
import { forOwnNamespace } from "../../src/network/resolv-conf.ts";

describe("subnets", () => {
  test("bits beyond the prefix are dropped", () => {
    expect(formatSubnet(parseSubnet("172.17.5.9/16"))).toBe("172.17.0.0/16");
    expect(formatSubnet(parseSubnet("255.255.255.255/30"))).toBe("255.255.255.252/30");
  });

  test.each(["172.17.0.0", "172.17.0.0/", "172.17.0.0/33", "172.17.0.0/31", "300.1.1.1/8", "fd00::/64", "a/b"])(
    "%p is refused with its value quoted",
    (text) => {
      expect(() => parseSubnet(text)).toThrow(`invalid subnet "${text}"`);
    },
  );

  test("Docker's own subnet is chosen where the host has nothing in it", () => {
    expect(formatSubnet(chooseSubnet([parseSubnet("10.0.0.0/8")]))).toBe("172.17.0.0/16");
  });

  test("the next one is chosen where a host route lies in or around it", () => {
    expect(formatSubnet(chooseSubnet([parseSubnet("172.17.4.0/24")]))).toBe("172.18.0.0/16");
    expect(formatSubnet(chooseSubnet([parseSubnet("172.16.0.0/12")]))).toBe("192.168.0.0/20");
  });

  test("a host that is in all of them gets Docker's words", () => {
    expect(() => chooseSubnet([parseSubnet("172.16.0.0/12"), parseSubnet("192.168.0.0/16")])).toThrow(
      "could not find an available, non-overlapping IPv4 address pool",
    );
  });

  test("neighbours do not overlap, and a part overlaps its whole", () => {
    expect(overlaps(parseSubnet("10.0.0.0/25"), parseSubnet("10.0.0.128/25"))).toBe(false);
    expect(overlaps(parseSubnet("10.0.0.128/25"), parseSubnet("10.0.0.0/24"))).toBe(true);
  });
});

describe("addresses", () => {
  const subnet = parseSubnet("10.1.2.0/29");

  test("the gateway is the first host, and containers get the lowest that is free after it", () => {
    expect(gatewayOf(subnet)).toBe("10.1.2.1");
    expect(lowestFreeAddress(subnet, new Set())).toBe("10.1.2.2");
    expect(lowestFreeAddress(subnet, new Set(["10.1.2.2", "10.1.2.4"]))).toBe("10.1.2.3");
  });

  test("the broadcast address is never given: a full subnet is refused", () => {
    const all = new Set(["10.1.2.2", "10.1.2.3", "10.1.2.4", "10.1.2.5", "10.1.2.6"]);
    expect(() => lowestFreeAddress(subnet, all)).toThrow("no available IPv4 addresses");
  });

  test("only hosts after the gateway may be asked for", () => {
    const asked = ["10.1.2.0", "10.1.2.1", "10.1.2.2", "10.1.2.6", "10.1.2.7", "10.1.3.2", "x"];
    expect(asked.filter((address) => isHostOf(subnet, address))).toEqual(["10.1.2.2", "10.1.2.6"]);
  });

  test("a MAC address is 02:42 and the address's octets", () => {
    expect(macAddressOf("172.17.0.255")).toBe("02:42:ac:11:00:ff");
  });
});

describe("resolv.conf of an own network namespace", () => {
  test("servers on loopback, and IPv6 ones, are left out", () => {
    const text =
      "# made by hand\nnameserver 127.0.0.53\nnameserver 9.9.9.9\nnameserver fe80::1%eth0\nsearch example.org\n";
    expect(forOwnNamespace(text)).toBe("nameserver 9.9.9.9\nsearch example.org\n");
  });

  test("when no server is left, Docker's public ones stand in", () => {
    expect(forOwnNamespace("nameserver 127.0.0.1\noptions ndots:2\n")).toBe(
      "nameserver 8.8.8.8\nnameserver 8.8.4.4\noptions ndots:2\n",
    );
  });
});
