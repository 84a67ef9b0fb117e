import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { resolveUser, type RootView } from "../../src/runtime/index.ts";
import { newScratch, type Scratch } from "../support/scratch.ts";

let scratch: Scratch;
let plain: string;

const passwd =
  "root:x:0:0:root:/root:/bin/sh\n# comment\nbroken\napp:x:1000:1001::/home/app:/bin/sh\n1234:x:77:78::/:/bin/sh\n";
const group = "root:x:0:\nwheel:x:10:root,app\napp:x:1001:\nvideo:x:44:app,root\n";

beforeAll(() => {
  scratch = newScratch();
  plain = newRoot("plain", { "etc/passwd": passwd, "etc/group": group });
});
afterAll(() => scratch[Symbol.asyncDispose]());

function newRoot(name: string, files: Record<string, string>): string {
  const root = join(scratch.path, name);
  mkdirSync(root, { recursive: true });
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(join(root, path, ".."), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  return root;
}

const resolve = (root: RootView, user: string, groupAdd: string[] = []) => resolveUser(root, { user, groupAdd });

describe("a user by Docker's rules", () => {
  test("nobody named is root with root's groups; a name brings its groups; a number may be unknown", () => {
    expect(resolve(plain, "")).toEqual({ uid: 0, gid: 0, groups: [0, 10, 44], home: "/root" });
    expect(resolve(plain, "app")).toEqual({ uid: 1000, gid: 1001, groups: [10, 44, 1001], home: "/home/app" });
    expect(resolve(plain, "1000")).toEqual({ uid: 1000, gid: 1001, groups: [10, 44, 1001], home: "/home/app" });
    expect(resolve(plain, "5000")).toEqual({ uid: 5000, gid: 0, groups: [0], home: "/" });
    expect(resolve(plain, "1234")).toMatchObject({ uid: 77, gid: 78 });
  });
  test("a group that is named takes the place of the user's own", () => {
    expect(resolve(plain, "app:wheel")).toMatchObject({ uid: 1000, gid: 10, groups: [10] });
    expect(resolve(plain, "5000:6000", ["video", "7"])).toMatchObject({ uid: 5000, gid: 6000, groups: [7, 44, 6000] });
  });
  test("what is not there is refused in Docker's words", () => {
    expect(() => resolve(plain, "nobody")).toThrow("unable to find user nobody: no matching entries in passwd file");
    expect(() => resolve(plain, "app:none")).toThrow("unable to find group none: no matching entries in group file");
    expect(() => resolve(plain, "", ["none"])).toThrow("Unable to find group none: no matching entries in group file");
    expect(() => resolve(plain, "4294967295")).toThrow("must be in range 0-2147483647");
  });
  test("an image without the files knows numbers only", () => {
    const empty = newRoot("empty", {});
    expect(resolve(empty, "")).toEqual({ uid: 0, gid: 0, groups: [0], home: "/" });
    expect(() => resolve(empty, "app")).toThrow("no matching entries in passwd file");
  });
});

describe("where the files are looked for", () => {
  test("links stay inside the root, in a mounted root and in layers alike", () => {
    const outside = newRoot("outside", { "etc/passwd": "evil:x:0:0::/:/bin/sh\n" });
    const root = newRoot("links", { "usr/share/passwd": "inside:x:5:5::/:/bin/sh\n" });
    mkdirSync(join(root, "real"));
    symlinkSync("/real", join(root, "etc"));
    symlinkSync("../../../../../../usr/share/passwd", join(root, "real/passwd"));
    for (const view of [root, [root]]) {
      expect(resolve(view, "inside")).toMatchObject({ uid: 5 });
      expect(() => resolve(view, "evil")).toThrow("no matching entries");
    }
    const escaping = newRoot("escaping", {});
    mkdirSync(join(escaping, "etc"));
    symlinkSync(join(outside, "etc/passwd"), join(escaping, "etc/passwd"));
    for (const view of [escaping, [escaping]]) expect(() => resolve(view, "evil")).toThrow("no matching entries");
  });
  test("a fifo or a directory in a file's place is as good as none, and nobody waits for it", () => {
    const root = newRoot("fifo", {});
    mkdirSync(join(root, "etc/group"), { recursive: true });
    Bun.spawnSync(["mkfifo", join(root, "etc/passwd")]);
    for (const view of [root, [root]]) expect(resolve(view, "0")).toMatchObject({ uid: 0, groups: [0] });
  });
  test("upper layers win; whiteouts and opaque directories hide what is below", () => {
    const lower = newRoot("lower", { "etc/passwd": "low:x:1:1::/:/bin/sh\n", "etc/group": "lows:x:9:low\n" });
    const upper = newRoot("upper", { "etc/passwd": "up:x:2:2::/:/bin/sh\n" });
    expect(resolve([upper, lower], "up")).toMatchObject({ uid: 2 });
    expect(() => resolve([upper, lower], "low")).toThrow("no matching entries");
    expect(resolve([lower], "low")).toMatchObject({ groups: [1, 9] });
    const whiteout = newRoot("whiteout", {});
    mkdirSync(join(whiteout, "etc"));
    Bun.spawnSync(["mknod", join(whiteout, "etc/passwd"), "c", "0", "0"]);
    expect(() => resolve([whiteout, lower], "low")).toThrow("no matching entries");
    const opaque = newRoot("opaque", {});
    mkdirSync(join(opaque, "etc"));
    Bun.spawnSync(["setfattr", "-n", "trusted.overlay.opaque", "-v", "y", join(opaque, "etc")]);
    expect(() => resolve([opaque, lower], "low")).toThrow("no matching entries");
    const hidden = newRoot("hidden", { etc: "a file\n" });
    expect(() => resolve([hidden, lower], "low")).toThrow("no matching entries");
  });
});
