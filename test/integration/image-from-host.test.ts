import { describe, expect, test } from "bun:test";
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { collectMessages, collectBytes, openImages, sha256, type ImageFixture } from "../support/image-fixture.ts";
import { newScratch } from "../support/scratch.ts";

/** The image's files, mounted as a container's would be by mount(8); unmounted with the scratch folder. */
async function mountImage({ images, snapshots }: ImageFixture, reference: string): Promise<string> {
  const key = `test-${reference.replace(/\W/g, "-")}`;
  await snapshots.prepare(key, images.get(reference).chainId, { hostFiles: false });
  for (const mount of snapshots.mounts(key)) {
    const command = ["mount", "-t", mount.type, "-o", mount.options.join(","), mount.source, mount.target];
    const result = Bun.spawnSync(command, { cwd: mount.workingDirectory ?? "/" });
    expect(result.stderr.toString()).toBe("");
  }
  return snapshots.mergedDirectory(key);
}

function chroot(root: string, ...command: string[]): { output: string; error: string; exitCode: number } {
  const env = { PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" };
  const result = Bun.spawnSync(["chroot", root, ...command], { env });
  return { output: result.stdout.toString(), error: result.stderr.toString(), exitCode: result.exitCode };
}

describe("an image of programs of the host", () => {
  test("is a root file system: bash and ls run in it after a chroot", async () => {
    await using scratch = newScratch();
    using fixture = openImages(scratch.path);
    const messages = await collectMessages(fixture.images.fromHost("hand:made", ["bash", "ls", "/bin/sh"]));
    const image = fixture.images.get("hand:made");
    expect(messages.at(-1)?.status).toBe(image.id);
    expect(image.layers).toHaveLength(1);
    expect(image.config.config).toMatchObject({ Cmd: ["bash"] });
    const root = await mountImage(fixture, "hand:made");
    expect(chroot(root, "/bin/bash", "-c", "echo $BASH_VERSION; ls -d /tmp").output).toMatch(/^\d+\..*\n\/tmp\n$/);
    expect(chroot(root, "ls", "-ld", "/tmp").output).toStartWith("drwxrwxrwt");
    expect(chroot(root, "cat", "/etc/passwd").exitCode).toBe(127);
    expect(lstatSync(join(root, "bin")).isSymbolicLink()).toBe(lstatSync("/bin").isSymbolicLink());
  });

  test("has the same id when it is made again, and its layer packs to its diffID", async () => {
    await using scratch = newScratch();
    using fixture = openImages(scratch.path);
    await collectMessages(fixture.images.fromHost("a", ["true"]));
    await collectMessages(fixture.images.fromHost("b", ["true"]));
    const image = fixture.images.get("a");
    expect(fixture.images.get("b").layers).toEqual(image.layers);
    expect(sha256(await collectBytes(fixture.snapshots.packLayer(image.chainId ?? "")))).toBe(
      image.layers[0]?.diffId ?? "",
    );
  });

  test("keeps modes, times, set-user-id bits and links", async () => {
    await using scratch = newScratch();
    using fixture = openImages(scratch.path);
    const program = join(scratch.path, "own");
    writeFileSync(program, "#!/bin/sh\necho own\n");
    chmodSync(program, 0o4755);
    await collectMessages(fixture.images.fromHost("x", [program, "awk", "umount"]));
    const root = await mountImage(fixture, "x");
    expect(statSync(join(root, program)).mode & 0o7777).toBe(0o4755);
    for (const name of ["usr/bin/awk", "etc/alternatives/awk"]) {
      if (existsSync(`/${name}`)) expect(readlinkSync(join(root, name))).toBe(readlinkSync(`/${name}`));
    }
    const [here, there] = [statSync(join(root, "bin/umount")), statSync("/bin/umount")];
    expect([here.mode, here.size, Math.floor(here.mtimeMs / 1000)]).toEqual([
      there.mode,
      there.size,
      Math.floor(there.mtimeMs / 1000),
    ]);
    expect(chroot(root, program).output).toBe("own\n");
  });

  test.each(["-Wl,--enable-new-dtags", "-Wl,--disable-new-dtags"])(
    "brings libraries that a program finds by $ORIGIN, with linker option %p, and those need by theirs",
    async (option) => {
      await using scratch = newScratch();
      using fixture = openImages(scratch.path);
      const library = join(scratch.path, "lib");
      const program = join(scratch.path, "bin/program");
      mkdirSync(library);
      mkdirSync(join(scratch.path, "bin"));
      writeFileSync(join(scratch.path, "low.c"), "int low(void) { return 42; }");
      writeFileSync(join(scratch.path, "high.c"), "int low(void); int high(void) { return low(); }");
      writeFileSync(join(scratch.path, "main.c"), "int high(void); int main(void) { return high(); }");
      const origin = (path: string): string[] => [`-Wl,-rpath,$ORIGIN${path}`, option];
      const cc = (...words: string[]): void => {
        expect(Bun.spawnSync(["cc", ...words], { cwd: scratch.path }).stderr.toString()).toBe("");
      };
      cc("-shared", "-o", "lib/liblow.so.1", "low.c", "-Wl,-soname,liblow.so.1");
      // DT_RPATH is inherited from the program; with DT_RUNPATH each library needs its own.
      const inherited = option.includes("enable") ? origin("") : [];
      cc("-shared", "-o", "lib/libhigh.so", "high.c", "lib/liblow.so.1", "-Wl,-soname,libhigh.so", ...inherited);
      cc("-o", "bin/program", "main.c", "lib/libhigh.so", "-Llib", "-Wl,-rpath-link,lib", ...origin("/../lib"));
      await collectMessages(fixture.images.fromHost("own", [program]));
      const root = await mountImage(fixture, "own");
      // The linker asks /proc where the program lies.
      Bun.spawnSync(["mount", "-t", "proc", "proc", join(root, "proc")]);
      expect(chroot(root, program)).toMatchObject({ error: "", exitCode: 42 });
    },
  );

  test.each([
    [["bash", "no-such-program"], 'The program "no-such-program" is not on this host'],
    [[], "No program was named"],
    [["/etc"], "not an executable file"],
  ])("of %p is refused and leaves nothing", async (programs, message) => {
    await using scratch = newScratch();
    using fixture = openImages(scratch.path);
    await expect(collectMessages(fixture.images.fromHost("x", programs))).rejects.toThrow(message);
    expect([...fixture.images.list(), ...fixture.snapshots.keys(), ...fixture.snapshots.layers()]).toEqual([]);
  });
});

describe("the embedded images", () => {
  test("are made on first use, once, and vitrine/bun is vitrine/base and one layer", async () => {
    await using scratch = newScratch();
    using fixture = openImages(scratch.path);
    const { images } = fixture;
    expect(await images.ensureEmbedded("busybox")).toBe(false);
    expect(await images.ensureEmbedded("vitrine/base:other")).toBe(false);
    expect(images.list()).toEqual([]);
    const both = await Promise.all([
      images.ensureEmbedded("vitrine/base"),
      images.ensureEmbedded("vitrine/bun:latest"),
    ]);
    expect(both).toEqual([true, true]);
    const [base, bun] = [images.get("vitrine/base"), images.get("vitrine/bun")];
    expect(bun.layers.slice(0, -1)).toEqual(base.layers);
    expect(bun.parent).toBe(base.id);
    expect((await images.history("vitrine/bun")).map((item) => item.Tags)).toEqual([
      ["vitrine/bun:latest"],
      ["vitrine/base:latest"],
    ]);

    const root = await mountImage(fixture, "vitrine/bun");
    expect(chroot(root, "bun", "--version").output.trim()).toBe(Bun.version);
    for (const command of [
      "sh",
      "ls",
      "ip -V",
      "mount --version",
      "hostname",
      "grep -V",
      "tar --version",
      "sed --version",
    ]) {
      expect(
        chroot(root, "sh", "-c", `command -v ${command.split(" ")[0]} && ${command} >/dev/null </dev/null`).error,
      ).not.toContain("not found");
    }
    expect(chroot(root, "id", "-un").output).toBe("root\n");
    expect(chroot(root, "ls", "/proc").output).toBe("");
    expect(readFileSync(join(root, "etc/nsswitch.conf"), "utf8")).toContain("hosts: files dns");
  });

  test("have the same id in another engine's root", async () => {
    const ids: string[] = [];
    for (let round = 0; round < 2; round++) {
      await using scratch = newScratch();
      using fixture = openImages(scratch.path);
      await fixture.images.ensureEmbedded("vitrine/base");
      ids.push(fixture.images.get("vitrine/base").id);
    }
    expect(ids[0]).toBe(ids[1] ?? "");
  });

  test("vitrine/bun without the executable is refused by its path", async () => {
    await using scratch = newScratch();
    using fixture = openImages(scratch.path, "/nonexistent/bun");
    await expect(fixture.images.ensureEmbedded("vitrine/bun")).rejects.toThrow('"/nonexistent/bun"');
  });
});
