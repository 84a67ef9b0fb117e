import { expect } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { newScratch } from "./scratch.ts";
import { runProgram, waitFor, type TestEngine } from "./test-engine.ts";

const dockerfile = `FROM vitrine/base
RUN echo built > /built && rm /etc/group
COPY hello /hello
CMD ["cat", "/hello"]
`;

/** What people do with images and containers, whatever keeps the layers. */
export async function everyday(engine: TestEngine, driver: string, options: readonly string[]): Promise<void> {
  await using context = newScratch();
  mkdirSync(join(context.path, "c"));
  writeFileSync(join(context.path, "c", "hello"), "hello world\n");
  writeFileSync(join(context.path, "c", "Dockerfile"), dockerfile);
  await engine.must("build", "-q", "-t", "helloworld", join(context.path, "c"));
  expect(await engine.must("run", "--rm", "helloworld")).toBe("hello world");
  const id = await engine.must("run", "-d", "--name", "web", "helloworld", "sleep", "1000");
  expect(
    await engine.must(
      "exec",
      "web",
      "sh",
      "-c",
      "cat /built; test -e /etc/group || echo gone; echo 1 > /new; rm /hello",
    ),
  ).toBe("built\ngone");
  expect((await engine.must("diff", "web")).split("\n").sort()).toEqual(["A /new", "D /hello"]);
  expect((await engine.inspect(id)).GraphDriver.Name).toBe(driver);
  // A container outlives its daemon, and the next one still knows its root.
  await engine.stop("SIGKILL");
  await engine.start(options);
  expect(await engine.must("exec", "web", "cat", "/new")).toBe("1");
  expect(await engine.must("exec", "-u", "root", "web", "id", "-u")).toBe("0");
  await engine.must("restart", "-t", "0", "web");
  expect(await engine.must("exec", "web", "cat", "/new")).toBe("1");
  expect(await engine.must("layers", "web")).toContain(`/${driver}/`);
  expect(await engine.must("info")).toContain(`Storage Driver: ${driver}`);
  // An image of it travels by archive and has the same id again; the engine's own files stayed out.
  const image = (await engine.must("commit", "web", "changed")).trim();
  const archive = join(context.path, "changed.tar");
  await engine.must("save", "-o", archive, "changed");
  await engine.must("rm", "-f", "web");
  await engine.must("rmi", "changed", "helloworld");
  expect(await engine.must("load", "-i", archive)).toContain("changed:latest");
  expect(await engine.must("image", "inspect", "-f", "{{.Id}}", "changed")).toBe(image);
  const look =
    "cat /new; test -e /hello || echo gone; test -s /etc/hostname && echo bound; touch /x 2>&1 | grep -o Read-only";
  expect(await engine.must("run", "--rm", "--read-only", "changed", "sh", "-c", look)).toBe(
    "1\ngone\nbound\nRead-only",
  );
  await engine.must("create", "--name", "still", "changed");
  await engine.must("cp", join(context.path, "c", "hello"), "still:/copied");
  expect(await engine.must("diff", "still")).toBe("A /copied");
  await engine.must("rm", "still");
  await engine.must("rmi", "changed");
  const mounts = async (): Promise<string> => (await runProgram(["findmnt", "-rno", "TARGET"])).stdout;
  await waitFor("the mounts to go", async () => !(await mounts()).includes(`/${driver}/`));
}
