import { describe, expect, test } from "bun:test";
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { collectBytes, collectMessages, inPieces, once, openImages, sha256, tarOf } from "../support/image-fixture.ts";
import { newScratch } from "../support/scratch.ts";

describe("importing a tar", () => {
  test("of a folder packed by tar(1) makes an image of one layer with the changed config", async () => {
    await using scratch = newScratch();
    using fixture = openImages(scratch.path);
    const folder = join(scratch.path, "folder");
    mkdirSync(join(folder, "sub"), { recursive: true });
    writeFileSync(join(folder, "sub/file"), "hello\n", { mode: 0o640 });
    symlinkSync("file", join(folder, "sub/link"));
    const tar = Bun.spawnSync(["tar", "-C", folder, "-c", "."]).stdout;
    const messages = await collectMessages(
      fixture.images.import(inPieces(gzipSync(tar)), {
        reference: "made",
        changes: ['CMD ["sh"]', "ENV A=1"],
        message: "by hand",
      }),
    );
    const image = fixture.images.get("made");
    expect(messages).toEqual([{ status: image.id }]);
    expect(image.config).toMatchObject({ config: { Cmd: ["sh"], Env: ["A=1"] }, comment: "by hand", os: "linux" });
    expect((await fixture.images.history("made"))[0]).toMatchObject({ Comment: "by hand", Size: 6 + 4 });
    const packed = await collectBytes(fixture.snapshots.packLayer(image.chainId ?? ""));
    expect(sha256(packed)).toBe(image.layers[0]?.diffId ?? "");
    const listing = Bun.spawnSync(["tar", "-tv"], { stdin: packed }).stdout.toString();
    expect(listing).toMatch(/-rw-r----- .* sub\/file\n/);
    expect(listing).toMatch(/ sub\/link -> file\n/);
  });

  test.each([
    ["../a", {}, /\.\./],
    ["a", { changes: ["RUN true"] }, "run is not a valid change command"],
    ["a", { reference: "A" }, "must be lowercase"],
  ])("with %p and %p is refused and leaves nothing", async (name, extra, message) => {
    await using scratch = newScratch();
    using fixture = openImages(scratch.path);
    const options = { changes: [], message: "", ...extra };
    const tar = await tarOf([{ name, text: "x" }]);
    await expect(collectMessages(fixture.images.import(once(tar), options))).rejects.toThrow(message);
    expect([...fixture.images.list(), ...fixture.snapshots.keys(), ...fixture.snapshots.layers()]).toEqual([]);
  });

  test("cut short is refused and leaves nothing", async () => {
    await using scratch = newScratch();
    using fixture = openImages(scratch.path);
    const tar = await tarOf([{ name: "a", text: "x".repeat(2000) }]);
    const cut = once(tar.subarray(0, 1500));
    await expect(collectMessages(fixture.images.import(cut, { changes: [], message: "" }))).rejects.toThrow();
    expect([...fixture.images.list(), ...fixture.snapshots.keys(), ...fixture.snapshots.layers()]).toEqual([]);
  });
});
