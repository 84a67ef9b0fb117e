import { mkdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { dirname, join } from "node:path";
import { freePort } from "./free-port.ts";

const environment = {
  PATH: process.env.PATH ?? "",
  GIT_AUTHOR_NAME: "A",
  GIT_AUTHOR_EMAIL: "a@example.com",
  GIT_AUTHOR_DATE: "2020-01-01T10:00:00Z",
  GIT_COMMITTER_NAME: "A",
  GIT_COMMITTER_EMAIL: "a@example.com",
  GIT_COMMITTER_DATE: "2020-01-01T10:00:00Z",
  GIT_CONFIG_GLOBAL: "/dev/null",
  GIT_CONFIG_NOSYSTEM: "1",
  GIT_ALLOW_PROTOCOL: "file:http",
};

/** Runs git(1) in a repository; its output without the last newline. */
export function git(folder: string, ...args: string[]): string {
  const run = Bun.spawnSync(["git", "-c", "init.defaultBranch=main", "-C", folder, ...args], { env: environment });
  if (run.exitCode !== 0) throw new Error(`git ${args.join(" ")} failed: ${run.stderr.toString()}`);
  return run.stdout.toString().trimEnd();
}

/** Writes files and commits them, in a repository that is made where there is none; returns the commit. */
export function commit(folder: string, files: Readonly<Record<string, string>>): string {
  mkdirSync(folder, { recursive: true });
  if (!Bun.file(join(folder, ".git/HEAD")).size) git(folder, "init", "--quiet");
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
  git(folder, "add", "--all");
  git(folder, "commit", "--quiet", "--allow-empty", "-m", "change");
  return git(folder, "rev-parse", "HEAD");
}

export interface GitServer extends AsyncDisposable {
  /** `http://127.0.0.1:port`; repositories are folders below the served one, with `.git` behind their name. */
  readonly url: string;
  readonly authorizations: (string | undefined)[];
  /** When set, what a request must be authorised by. */
  password: string | undefined;
}

/** git's own http-backend(1) behind a small CGI server. `name.git` is the folder `name` that `commit` made. */
export async function serveGit(folder: string): Promise<GitServer> {
  const server = createServer((request, response) => {
    served.authorizations.push(request.headers.authorization);
    if (served.password !== undefined && request.headers.authorization !== served.password) {
      response.writeHead(401, { "WWW-Authenticate": 'Basic realm="git"' }).end();
      return;
    }
    const { pathname, searchParams } = new URL(request.url ?? "/", "http://x");
    const child = Bun.spawn(["git", "http-backend"], {
      env: {
        ...environment,
        GIT_PROJECT_ROOT: folder,
        GIT_HTTP_EXPORT_ALL: "1",
        PATH_INFO: pathname.replace(/^(.*?)\.git\//, "$1/.git/"),
        QUERY_STRING: searchParams.toString(),
        REQUEST_METHOD: request.method ?? "GET",
        CONTENT_TYPE: request.headers["content-type"] ?? "",
        HTTP_CONTENT_ENCODING: request.headers["content-encoding"] ?? "",
        GIT_PROTOCOL: String(request.headers["git-protocol"] ?? ""),
        REMOTE_ADDR: "127.0.0.1",
      },
      stdio: [new Response(request as unknown as ReadableStream), "pipe", "ignore"],
    });
    new Response(child.stdout).bytes().then(
      (bytes) => {
        const output = Buffer.from(bytes);
        const end = output.indexOf("\r\n\r\n");
        const headers = output
          .subarray(0, end)
          .toString()
          .split("\r\n")
          .map((line) => line.split(": ", 2) as [string, string]);
        const status = headers.find(([name]) => name === "Status")?.[1] ?? "200";
        for (const [name, value] of headers) if (name !== "Status") response.setHeader(name, value);
        response.writeHead(Number.parseInt(status, 10)).end(output.subarray(end + 4));
      },
      () => response.destroy(),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const served: GitServer = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    authorizations: [],
    password: undefined,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return served;
}

/** git-daemon(1) on a free loopback port: `git://127.0.0.1:port/name/.git`. */
export async function serveGitDaemon(folder: string): Promise<AsyncDisposable & { url: string }> {
  const port = await freePort();
  const child = Bun.spawn(
    [
      "git",
      "daemon",
      "--reuseaddr",
      "--export-all",
      "--verbose",
      "--listen=127.0.0.1",
      `--port=${port}`,
      `--base-path=${folder}`,
      folder,
    ],
    { env: environment, stdio: ["ignore", "ignore", "pipe"], detached: true },
  );
  // It says "Ready to rumble" once it listens.
  const reader = child.stderr.getReader();
  for (let text = ""; !text.includes("Ready to rumble");) {
    const { done, value } = await reader.read();
    if (done) throw new Error(`git daemon ended: ${text}`);
    text += Buffer.from(value).toString();
  }
  return {
    url: `git://127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      process.kill(-child.pid, "SIGTERM");
      await child.exited;
    },
  };
}
