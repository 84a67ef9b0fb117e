import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { gzipSync } from "node:zlib";
import type { ImageRunConfig } from "../../../src/spec/index.ts";
import { TestBuilder, type TestBuildOptions } from "../../support/build-fixture.ts";
import { inPieces, once, tarOf, type TestFile } from "../../support/image-fixture.ts";
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

function run(dockerfile: string, options: TestBuildOptions = {}, files: readonly TestFile[] = []) {
  return builder.run([...files, { name: options.fileName ?? "Dockerfile", text: dockerfile }], options);
}

async function configOf(dockerfile: string, options: TestBuildOptions = {}): Promise<ImageRunConfig> {
  return (await run(dockerfile, options)).image.config.config ?? {};
}

async function refusal(dockerfile: string, options: TestBuildOptions = {}): Promise<string> {
  const { error } = await builder.fail([{ name: "Dockerfile", text: dockerfile }], options);
  expect(builder.leftovers()).toEqual([]);
  return error.message;
}

describe("what an image says of how to run it", () => {
  test("ENTRYPOINT drops an inherited CMD and keeps one of its own stage", async () => {
    await run("FROM test/base\nCMD inherited\n", { tags: ["test/cmd"] });
    expect(await configOf('FROM test/cmd\nENTRYPOINT ["e"]\n')).toMatchObject({ Entrypoint: ["e"], Cmd: null });
    expect(await configOf('FROM test/cmd\nCMD ["own"]\nENTRYPOINT e f\n')).toMatchObject({
      Entrypoint: ["/bin/sh", "-c", "e f"],
      Cmd: ["own"],
    });
    expect(await configOf("FROM test/cmd\n")).toMatchObject({ Cmd: ["/bin/sh", "-c", "inherited"] });
  });

  test("SHELL is the shell of what follows", async () => {
    const { image } = await run('FROM test/base\nSHELL ["/bin/sh", "-eu", "-c"]\nRUN echo $0\nCMD x\n');
    expect(image.config.config).toMatchObject({ Shell: ["/bin/sh", "-eu", "-c"], Cmd: ["/bin/sh", "-eu", "-c", "x"] });
    expect(image.config.history?.map((entry) => entry.created_by).slice(1)).toEqual([
      "/bin/sh -eu -c #(nop)  SHELL [/bin/sh -eu -c]",
      "/bin/sh -eu -c echo $0",
      '/bin/sh -eu -c #(nop)  CMD ["/bin/sh" "-eu" "-c" "x"]',
    ]);
  });

  test("every other instruction lands in its member, and in Docker's words in the history", async () => {
    const { image } = await run(`FROM test/base
ENV A=1 B="two words" PATH=/bin
ENV A=2
LABEL l1=x l2="$A b"
EXPOSE 80 53/udp 8000-8001
VOLUME /v "/w"
USER app
STOPSIGNAL SIGUSR1
HEALTHCHECK --interval=90s --retries=2 CMD check || exit 1
MAINTAINER A <a@example.org>
ONBUILD RUN true
`);
    expect(image.config.author).toBe("A <a@example.org>");
    expect(image.config.config).toMatchObject({
      Env: ["PATH=/bin", "A=2", "B=two words"],
      Labels: { l1: "x", l2: "2 b" },
      ExposedPorts: { "53/udp": {}, "80/tcp": {}, "8000/tcp": {}, "8001/tcp": {} },
      Volumes: { "/v": {}, "/w": {} },
      User: "app",
      StopSignal: "SIGUSR1",
      Healthcheck: { Test: ["CMD-SHELL", "check || exit 1"], Interval: 90_000_000_000, Retries: 2 },
      OnBuild: ["RUN true"],
    });
    expect(image.config.history?.map((entry) => entry.created_by?.replace("/bin/sh -c #(nop)  ", "")).slice(1)).toEqual(
      [
        "ENV A=1 B=two words PATH=/bin",
        "ENV A=2",
        "LABEL l1=x l2=2 b",
        "EXPOSE 53/udp 80 8000-8001",
        "VOLUME [/v /w]",
        "USER app",
        "STOPSIGNAL SIGUSR1",
        "HEALTHCHECK &{Test:[CMD-SHELL check || exit 1] Interval:1m30s Timeout:0s StartPeriod:0s StartInterval:0s Retries:2}",
        "MAINTAINER A <a@example.org>",
        "ONBUILD RUN true",
      ],
    );
  });

  test("labels of the request come last, as they are written", async () => {
    const labels = { z: "$A", a: "'q'" };
    expect((await configOf("FROM test/base\nLABEL a=file\n", { labels })).Labels).toEqual({ a: "'q'", z: "$A" });
  });
});

describe("RUN", () => {
  test("has the directory, user, variables and arguments of its place", async () => {
    await run("FROM test/base\nARG V=1\nENV E=2\nUSER app\nWORKDIR /srv\nRUN echo $V$E > /tmp/seen\n");
    const step = builder.executor.steps.at(-1);
    expect(step?.config).toMatchObject({ User: "app", WorkingDir: "/srv", Entrypoint: null });
    expect(step?.config.Env).toContain("V=1");
    expect(step?.config.Env).toContain("E=2");
    expect(step?.command).toEqual(["/bin/sh", "-c", "echo $V$E > /tmp/seen"]);
    expect(step?.networkMode).toBe("default");
  });

  test("takes a heredoc as its script, or beside a command as the shell's", async () => {
    const { image } = await run(`FROM test/base
RUN <<EOF
echo one > /one
echo "$PATH" > /path
EOF
RUN cat <<-A > /two && cat <<B > /three
	two
	A
three
B
`);
    expect(await builder.look(image, "cat", "{}/one", "{}/two", "{}/three")).toBe("one\ntwo\nthree\n");
    expect(await builder.look(image, "cat", "{}/path")).toContain("/bin");
  });

  test("that changes no file makes no layer", async () => {
    const { image } = await run("FROM test/base\nRUN true\n");
    expect(image.layers).toHaveLength(1);
    expect(image.config.history?.at(-1)?.empty_layer).toBe(true);
  });

  test("keeps what a container only needs for running out of the image", async () => {
    const { image } = await run("FROM test/base\nRUN echo x > /file\n");
    const names = (await builder.look(image, "ls", "-A", "{}")).split("\n");
    expect(names).toEqual([..."bin etc file lib tmp usr".split(" "), ""]);
  });
});

describe("stages", () => {
  const staged = `ARG TAG=latest
FROM test/base:\${TAG} AS Build
ARG TAG
ARG TARGETARCH
WORKDIR /out
RUN echo "$TAG $TARGETARCH" > made && chown 7:8 made && mkdir tree && echo deep > tree/file
FROM scratch AS empty
LABEL only=label
FROM scratch
COPY --from=build /out/made /
COPY --from=0 --chown=1:2 /out/tree /tree
COPY --from=test/base /etc/passwd /users
`;

  test("are copied from by name, by number, and from an image; owners stay unless --chown says otherwise", async () => {
    const { image, text } = await run(staged);
    expect(text).not.toContain("AS empty");
    expect(text).toContain("Step 7/10 : FROM scratch\n ---> \n");
    const found = await builder.look(image, "find", "{}", "-mindepth", "1", "-printf", "%P %U:%G\n");
    expect(found.trim().split("\n").toSorted()).toEqual(["made 7:8", "tree 1:2", "tree/file 1:2", "users 0:0"]);
    expect(await builder.look(image, "cat", "{}/made")).toMatch(/^latest (amd64|arm64)\n$/);
    expect(image.layers).toHaveLength(3);
    expect(builder.leftovers()).toEqual([]);
  });

  test("end at the target", async () => {
    const { text, image } = await run(staged, { target: "EMPTY" });
    expect(text).toContain("Step 3/3 : LABEL only=label\n");
    expect(image.layers).toEqual([]);
    expect(await refusal(staged, { target: "nope" })).toBe("failed to reach build target nope in Dockerfile");
    expect(await refusal(staged, { target: "EMTPY" })).toBe(
      "failed to reach build target EMTPY in Dockerfile (did you mean EMPTY?)",
    );
  });

  test("may begin with another stage, and do its ONBUILD triggers", async () => {
    await run("FROM test/base\nONBUILD RUN echo triggered > /t\nONBUILD ENV T=1\n", { tags: ["test/onbuild"] });
    const { text, image } = await run("FROM test/onbuild AS a\nFROM a\nRUN cat /t\n");
    expect(text).toContain("Step 1/3 : FROM test/onbuild AS a\n# Executing 2 build triggers\n ---> Running in ");
    expect(text).toContain("triggered\n");
    expect(image.config.config?.OnBuild).toBe(null);
    expect(image.config.config?.Env).toContain("T=1");
  });
});

describe("the context", () => {
  const dockerfile = { name: "Dockerfile", text: "FROM test/base\nCOPY f /f\n" };

  test("may be compressed, come in small pieces, and name another Dockerfile", async () => {
    const tar = await tarOf([{ name: "f", text: "1" }, { name: "docker/" }, { ...dockerfile, name: "docker/My.file" }]);
    let last = "";
    const context = inPieces(gzipSync(tar), 100);
    for await (const message of builder.buildContext(context, { fileName: "docker/My.file" })) {
      last = message.stream ?? last;
    }
    expect(last).toStartWith("Successfully built ");
  });

  test("is refused without its Dockerfile, and when it is damaged, and leaves nothing behind", async () => {
    const missing = await refusal("FROM test/base\n", { fileName: "Other" });
    expect(missing).toBe("Cannot locate specified Dockerfile: Other");
    const tar = await tarOf([dockerfile, { name: "f", text: "x".repeat(5000) }]);
    const cut = async (): Promise<void> => {
      for await (const _ of builder.buildContext(once(tar.subarray(0, 2500))));
    };
    expect(await cut().catch((error: unknown) => error)).toBeInstanceOf(Error);
    expect(builder.leftovers()).toEqual([]);
  });

  test("cannot reach the host by a Dockerfile that is a symlink", async () => {
    const { error } = await builder.fail([{ name: "Dockerfile", linkTo: "/etc/hostname" }]);
    expect(error.message).toBe("Cannot locate specified Dockerfile: Dockerfile");
  });
});

/** The refused line, with the caret below its column. */
function shown(line: number, text: string, column = 1): string {
  return `Dockerfile:${line}:${column}\n   ${line} | ${text}\n     | ${" ".repeat(column - 1)}^`;
}

describe("what is wrong or not built is refused before or at its step", () => {
  const base = "FROM test/base\n";
  const table: [dockerfile: string, message: string][] = [
    [
      "FORM x\n",
      `dockerfile parse error on line 1: unknown instruction: FORM (did you mean FROM?)\n${shown(1, "FORM x")}`,
    ],
    ["FROM scratch\n", "No image was generated. Is your Dockerfile empty?"],
    ["FROM no/such:1\n", "No such image: no/such:1"],
    [
      "FROM test/base AS build\nFROM scratch\nCOPY --from=biuld /a /\n",
      "No such image: biuld:latest (did you mean the stage build?)",
    ],
    ["# check=error=true\nFROM test/base AS Base\nRUN false\n", "lint violation found for rules: StageNameCasing"],
    [
      "ARG X\nFROM $X\n",
      `dockerfile parse error on line 2: base name ($X) should not be blank\n${shown(2, "FROM $X")}`,
    ],
    [
      `${base}COPY --from=0 a b\n`,
      `dockerfile parse error on line 2: circular dependency detected on stage: stage-0 (stage-0 → stage-0)\n${shown(2, "COPY --from=0 a b", 6)}`,
    ],
    [`${base}ENV A=\${x?boo}\n`, `failed to process "\${x?boo}": x: boo\n${shown(2, "ENV A=${x?boo}")}`],
    [`${base}EXPOSE 80/xyz\n`, `Invalid proto: xyz\n${shown(2, "EXPOSE 80/xyz")}`],
    [`${base}EXPOSE 99999\n`, `Invalid containerPort: 99999\n${shown(2, "EXPOSE 99999")}`],
    [`${base}STOPSIGNAL zzz\n`, `Invalid signal: zzz\n${shown(2, "STOPSIGNAL zzz")}`],
    [
      "FROM --platform=windows/amd64 test/base\n",
      `The platform "windows/amd64" cannot be built here: its system is not Linux\n${shown(1, "FROM --platform=windows/amd64 test/base")}`,
    ],
    [
      `${base}RUN --security=insecure true\n`,
      `security.insecure is not allowed: the build must be given it with --allow security.insecure\n${shown(2, "RUN --security=insecure true")}`,
    ],
    [`${base}RUN --mount=type=secret,id=s,required true\n`, "secret s: not found"],
  ];
  for (const [dockerfile, message] of table) {
    test(JSON.stringify(dockerfile), async () => {
      expect(await refusal(dockerfile)).toBe(message);
    });
  }

  test("a tag that is no reference, before anything is done", async () => {
    expect(await refusal(base, { tags: ["Upper"] })).toContain("must be lowercase");
  });
});
