import { describe, expect, test } from "bun:test";
import { applyConfigChanges } from "../../src/image/index.ts";

describe("changes to an image config", () => {
  test("every instruction that a commit may carry sets its member", () => {
    const config = applyConfigChanges({ Env: ["PATH=/bin"], WorkingDir: "/srv" }, [
      'CMD ["sh", "-c", "true"]',
      'ENV A=1 B="two words" PATH=$PATH:/x',
      "ENV LEGACY two words",
      "EXPOSE 80 53/udp 8000-8001",
      'LABEL a=b "c d"=e',
      "USER app:app",
      'VOLUME ["/data"]',
      "volume /a /b",
      "WORKDIR sub",
      "ONBUILD RUN make",
      "STOPSIGNAL SIGQUIT",
      "HEALTHCHECK --interval=5s --retries=2 CMD curl -f http://localhost/",
    ]);
    expect(config).toEqual({
      Cmd: ["sh", "-c", "true"],
      Env: ["PATH=/bin:/x", "A=1", "B=two words", "LEGACY=two words"],
      ExposedPorts: { "80/tcp": {}, "53/udp": {}, "8000/tcp": {}, "8001/tcp": {} },
      Labels: { a: "b", "c d": "e" },
      User: "app:app",
      Volumes: { "/data": {}, "/a": {}, "/b": {} },
      WorkingDir: "/srv/sub",
      OnBuild: ["RUN make"],
      StopSignal: "SIGQUIT",
      Healthcheck: { Test: ["CMD-SHELL", "curl -f http://localhost/"], Interval: 5e9, Retries: 2 },
    });
  });

  test("the shell form means /bin/sh -c", () => {
    expect(applyConfigChanges({}, ["CMD echo hi"]).Cmd).toEqual(["/bin/sh", "-c", "echo hi"]);
  });

  test("an entrypoint drops the command that was not made for it", () => {
    expect(applyConfigChanges({ Cmd: ["old"] }, ['ENTRYPOINT ["a"]'])).toEqual({ Entrypoint: ["a"], Cmd: null });
    expect(applyConfigChanges({}, ['CMD ["new"]', 'ENTRYPOINT ["a"]'])).toEqual({ Entrypoint: ["a"], Cmd: ["new"] });
  });

  test("the config given is left as it was", () => {
    const before = { Env: ["A=1"] };
    applyConfigChanges(before, ["ENV A=2"]);
    expect(before).toEqual({ Env: ["A=1"] });
  });

  test("variables are put in, but not within single quotes", () => {
    const config = applyConfigChanges({ Env: ["X=1"] }, [`ENV A="$X" B='$X' C=\${Y:-d} D=\${X:+e}`]);
    expect(config.Env).toEqual(["X=1", "A=1", "B=$X", "C=d", "D=e"]);
  });

  test.each([
    ["RUN true", "run is not a valid change command"],
    ["MAINTAINER me", "maintainer is not a valid change command"],
    ["ENV", "ENV requires at least one argument"],
    ["ENV A", "ENV must have two arguments"],
    ["EXPOSE 0", "Invalid containerPort: 0"],
    ["EXPOSE 80/xyz", "Invalid containerPort: 80/xyz"],
    ["STOPSIGNAL a b", "Invalid signal: a b"],
    ["ONBUILD FROM x", "FROM isn't allowed as an ONBUILD trigger"],
    ["HEALTHCHECK FOO", 'Unknown type "FOO" in HEALTHCHECK (try CMD)'],
    ["HEALTHCHECK --interval=x CMD a", 'The duration "x" of --interval is not valid'],
    ["ENV A=${B%x}", "is not supported"],
    ["LABEL a='b", "single-quote"],
    ["constructor x", "constructor is not a valid change command"],
  ])("%p is refused", (change, message) => {
    expect(() => applyConfigChanges({}, [change])).toThrow(message);
  });
});
