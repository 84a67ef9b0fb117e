import { describe, expect, test } from "bun:test";
import { canonicalString, familiarName, familiarString, parseReference, withDefaultTag } from "../../src/spec/index.ts";

const hex = "a".repeat(64);
const digest = `sha256:${hex}`;

describe("a reference", () => {
  test.each([
    ["busybox", "docker.io/library/busybox", "busybox:latest"],
    ["user/app:v1", "docker.io/user/app:v1", "user/app:v1"],
    ["docker.io/busybox:1", "docker.io/library/busybox:1", "busybox:1"],
    ["index.docker.io/busybox", "docker.io/library/busybox", "busybox:latest"],
    ["localhost/a", "localhost/a", "localhost/a:latest"],
    ["localhost:5000/a/b:t", "localhost:5000/a/b:t", "localhost:5000/a/b:t"],
    ["[::1]:5000/a", "[::1]:5000/a", "[::1]:5000/a:latest"],
    ["Host/a", "Host/a", "Host/a:latest"],
    ["quay.io/a__b/c-d.e", "quay.io/a__b/c-d.e", "quay.io/a__b/c-d.e:latest"],
    [`a@${digest}`, `docker.io/library/a@${digest}`, `a@${digest}`],
    [`a:t@${digest}`, `docker.io/library/a:t@${digest}`, `a:t@${digest}`],
    ["library/a/b", "docker.io/library/a/b", "library/a/b:latest"],
  ])("%s is %s and is shown as %s", (text, canonical, familiar) => {
    const reference = parseReference(text);
    expect(canonicalString(reference)).toBe(canonical);
    expect(familiarString(withDefaultTag(reference))).toBe(familiar);
  });

  test("its name alone leaves out tag, digest, docker.io and library", () => {
    expect(familiarName(parseReference("docker.io/library/busybox:1"))).toBe("busybox");
    expect(familiarName(parseReference("x.io/library/busybox:1"))).toBe("x.io/library/busybox");
  });

  test.each([
    ["", "invalid reference format"],
    ["a b", "invalid reference format"],
    ["-a", "invalid reference format"],
    ["a//b", "invalid reference format"],
    ["a:", "invalid reference format"],
    ["a:b:c/d", "invalid reference format"],
    [`a:${"t".repeat(129)}`, "invalid reference format"],
    ["a@sha256:abc", "invalid reference format"],
    ["a\nb", "invalid reference format"],
    ["../a", "invalid reference format"],
    ["Busybox", "invalid reference format: repository name (library/Busybox) must be lowercase"],
    [`a@sha512:${hex}`, `unsupported digest algorithm: "sha512:${hex}" is not sha256`],
    [`a@sha256:${"a".repeat(40)}`, "invalid checksum digest length"],
    [hex, `invalid repository name (${hex}), cannot specify 64-byte hexadecimal strings`],
    [`a/${"b".repeat(256)}`, "repository name must not be more than 255 characters"],
  ])("%p is refused", (text, message) => {
    expect(() => parseReference(text)).toThrow(message);
  });
});
