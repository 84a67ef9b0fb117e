import { afterAll, beforeAll, expect, test } from "bun:test";
import { TestBuilder } from "../../support/build-fixture.ts";
import { collectMessages } from "../../support/image-fixture.ts";
import { newScratch } from "../../support/scratch.ts";

const scratch = newScratch();
let builder: TestBuilder;

beforeAll(async () => {
  builder = new TestBuilder(scratch.path);
  await builder.importBase();
});

afterAll(async () => {
  builder[Symbol.dispose]();
  await scratch[Symbol.asyncDispose]();
});

const helloworld = [
  {
    name: "Dockerfile",
    text: `FROM test/base
WORKDIR /app
ADD . /app
RUN echo built > /app/built.txt && echo out && echo oops >&2
EXPOSE 80
ENV NAME World
CMD ["bun", "app.ts"]
`,
  },
  { name: "app.ts", text: "hello\n" },
];

/** Ids change from run to run; all else is compared as it is. */
function withoutIds(text: string): string {
  return text.replace(/\b[0-9a-f]{64}\b/g, "<digest>").replace(/\b[0-9a-f]{12}\b/g, "<id>");
}

test("a build prints what Docker's classic builder prints", async () => {
  const { text, image } = await builder.run(helloworld, { tags: ["helloworld", "other:v1"] });
  const output = text.replace(/(out\n|\u001b\[91moops\n\u001b\[0m)+/, "<output>\n");
  expect(withoutIds(output)).toBe(`Step 1/7 : FROM test/base
 ---> <id>
Step 2/7 : WORKDIR /app
 ---> Running in <id>
Removing intermediate container <id>
 ---> <id>
Step 3/7 : ADD . /app
 ---> <id>
Step 4/7 : RUN echo built > /app/built.txt && echo out && echo oops >&2
 ---> Running in <id>
<output>
Removing intermediate container <id>
 ---> <id>
Step 5/7 : EXPOSE 80
 ---> Running in <id>
Removing intermediate container <id>
 ---> <id>
Step 6/7 : ENV NAME World
 ---> Running in <id>
Removing intermediate container <id>
 ---> <id>
Step 7/7 : CMD ["bun", "app.ts"]
 ---> Running in <id>
Removing intermediate container <id>
 ---> <id>
Successfully built <id>
Successfully tagged helloworld:latest
Successfully tagged other:v1
`);
  expect(text).toContain("\u001b[91moops\n\u001b[0m");
  expect(text).toContain(`Successfully built ${image.id.slice(7, 19)}\n`);
  expect(image.repoTags.toSorted()).toEqual(["helloworld:latest", "other:v1"]);
  expect(builder.leftovers()).toEqual([]);
});

test("each step is an image of its own with a history entry, empty where no file changed", async () => {
  const { image } = await builder.run(helloworld);
  const history = image.config.history?.slice(1) ?? [];
  expect(history.map((entry) => [withoutIds(entry.created_by ?? ""), entry.empty_layer ?? false])).toEqual([
    ["/bin/sh -c #(nop) WORKDIR /app", false],
    ["/bin/sh -c #(nop) ADD dir:<digest> in /app ", false],
    ["/bin/sh -c echo built > /app/built.txt && echo out && echo oops >&2", false],
    ["/bin/sh -c #(nop)  EXPOSE 80", true],
    ["/bin/sh -c #(nop)  ENV NAME=World", true],
    ['/bin/sh -c #(nop)  CMD ["bun" "app.ts"]', true],
  ]);
  expect(image.layers.length).toBe(4);
  let ancestors = 0;
  for (let id = image.parent; id !== ""; id = builder.images.get(id).parent) ancestors++;
  expect(ancestors).toBe(6);
});

test("the config says how to run the image, with the members that Docker writes", async () => {
  const { image } = await builder.run(helloworld);
  const { config } = image.config;
  expect(Object.keys(image.config)).toEqual([
    "architecture",
    "config",
    "container",
    "container_config",
    "created",
    "history",
    "os",
    "rootfs",
  ]);
  expect(config).toMatchObject({
    ExposedPorts: { "80/tcp": {} },
    Env: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "NAME=World"],
    Cmd: ["bun", "app.ts"],
    WorkingDir: "/app",
    Entrypoint: null,
    Image: image.parent,
  });
  expect(image.config.container_config?.Cmd).toEqual(["/bin/sh", "-c", "#(nop) ", 'CMD ["bun" "app.ts"]']);
});

test("quiet prints the id alone, and on failure what had been kept back", async () => {
  const messages = await collectMessages(builder.build(helloworld, { quiet: true }));
  expect(messages.map((message) => message.stream)).toEqual([expect.stringMatching(/^sha256:[0-9a-f]{64}\n$/)]);
  const { text, error } = await builder.fail([{ name: "Dockerfile", text: "FROM test/base\nRUN echo why; exit 5\n" }], {
    quiet: true,
  });
  expect(text).toContain("why\n");
  expect(error.data["exitCode"]).toBe(5);
});

test("a RUN that fails says its command and code, and leaves nothing mounted", async () => {
  const { text, error } = await builder.fail([{ name: "Dockerfile", text: "FROM test/base\nRUN touch /x; exit 3\n" }]);
  expect(error.message).toBe("The command '/bin/sh -c touch /x; exit 3' returned a non-zero code: 3");
  expect(error.data["exitCode"]).toBe(3);
  expect(text).not.toContain("Removing intermediate container");
  expect(builder.leftovers()).toEqual([]);
  const forced = await builder.fail([{ name: "Dockerfile", text: 'FROM test/base\nRUN ["sh", "-c", "exit 4"]\n' }], {
    forceRemove: true,
  });
  expect(forced.error.message).toBe("The command 'sh -c exit 4' returned a non-zero code: 4");
  expect(forced.text).toContain("Removing intermediate container");
});

test("a build argument that nothing names is warned of", async () => {
  const files = [{ name: "Dockerfile", text: "ARG META\nFROM test/base\nARG USED\n" }];
  const { text } = await builder.run(files, {
    arguments: { META: "1", USED: "1", LOST: "1", AWAY: "1", HTTP_PROXY: "x" },
  });
  expect(text).toContain("Step 1/3 : ARG META\nStep 2/3 : FROM test/base\n");
  expect(text).toContain("[Warning] One or more build-args [AWAY LOST] were not consumed\n");
});

test("aborting stops the command and leaves nothing behind", async () => {
  const abort = new AbortController();
  const files = [{ name: "Dockerfile", text: "FROM test/base\nRUN echo started; sleep 1000\nRUN echo never\n" }];
  let text = "";
  const run = async (): Promise<void> => {
    for await (const message of builder.build(files, { signal: abort.signal })) {
      text += message.stream ?? "";
      if (message.stream === "started\n") abort.abort();
    }
  };
  const failure = await run().catch((error: unknown) => error);
  expect((failure as Error).message).toBe("Build cancelled");
  expect(text).not.toContain("Step 3/3");
  expect(builder.leftovers()).toEqual([]);
  expect(Bun.spawnSync(["pgrep", "-f", `chroot ${scratch.path}`]).stdout.toString()).toBe("");
});

test("a reader that leaves early ends the build", async () => {
  const files = [{ name: "Dockerfile", text: "FROM test/base\nRUN echo begun; sleep 1000\n" }];
  for await (const message of builder.build(files)) if (message.stream === "begun\n") break;
  expect(builder.leftovers()).toEqual([]);
});
