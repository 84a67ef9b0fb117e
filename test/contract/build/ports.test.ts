import { describe, expect, test } from "bun:test";
import { parseExposedPorts } from "../../../src/build/index.ts";

// A word of EXPOSE and the ports that it means; an Error's text where it is refused.
const table: [word: string, result: readonly string[] | Error][] = [
  ["80", ["80/tcp"]],
  ["80/udp", ["80/udp"]],
  ["80/TCP", ["80/tcp"]],
  ["9000/sctp", ["9000/sctp"]],
  ["80/", ["80/tcp"]],
  ["7000-7002/udp", ["7000/udp", "7001/udp", "7002/udp"]],
  ["5-5", ["5/tcp"]],
  ["8080:80", ["80/tcp"]],
  ["127.0.0.1:8080:80", ["80/tcp"]],
  ["127.0.0.1::80", ["80/tcp"]],
  ["[::1]:8080:80/udp", ["80/udp"]],
  ["8000-8010:80", ["80/tcp"]],
  ["8000-8001:80-81", ["80/tcp", "81/tcp"]],
  ["", new Error("No port specified: <empty>")],
  ["/tcp", new Error("No port specified: /tcp<empty>")],
  ["80/xyz", new Error("Invalid proto: xyz")],
  ["http", new Error("Invalid containerPort: http")],
  ["-1", new Error("Invalid containerPort: -1")],
  ["65536", new Error("Invalid containerPort: 65536")],
  ["90-80", new Error("Invalid containerPort: 90-80")],
  ["1-2-3", new Error("Invalid containerPort: 1-2-3")],
  ["http:80", new Error("Invalid hostPort: http")],
  ["localhost:80:80", new Error("Invalid ip address: localhost")],
  ["8000-8005:80-81", new Error("Invalid ranges specified for container and host Ports: 80-81 and 8000-8005")],
];

describe("a port of EXPOSE", () => {
  for (const [word, result] of table) {
    test(`${JSON.stringify(word)} ${result instanceof Error ? "is refused" : `is ${result.join(" ")}`}`, () => {
      if (result instanceof Error) expect(() => parseExposedPorts([word])).toThrow(result.message);
      else expect(parseExposedPorts([word])).toEqual([...result]);
    });
  }
});
