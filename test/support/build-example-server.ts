import { join } from "node:path";
import { commit, serveGit } from "./git-server.ts";

/** Serves what examples of builds add from elsewhere: `{{server}}/file.txt`, `{{server}}/archive.tar` and the repository `{{git}}`. */
export interface ExampleServer extends AsyncDisposable {
  /** A word of a command line with the servers' addresses in it. */
  fill(text: string): string;
  /** Takes the addresses, which are new each time, out of a text. */
  hide(text: string): string;
}

export async function serveExamples(folder: string): Promise<ExampleServer> {
  commit(join(folder, "repo"), { README: "read me\n", "src/one.txt": "one\n" });
  const tar = join(folder, "archive.tar");
  Bun.spawnSync(["tar", "--mtime=@0", "--owner=0", "--group=0", "-C", join(folder, "repo"), "-cf", tar, "src"]);
  const archive = await Bun.file(tar).bytes();
  const files: Record<string, string | Uint8Array<ArrayBuffer>> = {
    "/file.txt": "from the web\n",
    "/archive.tar": archive,
  };
  const web = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch({ url }) {
      const body = files[new URL(url).pathname];
      const headers = { "Last-Modified": "Thu, 01 Jan 2015 00:00:00 GMT" };
      return body === undefined ? new Response("", { status: 404 }) : new Response(body, { headers });
    },
  });
  const repositories = await serveGit(folder);
  const names = { "{{server}}": `http://127.0.0.1:${web.port}`, "{{git}}": `${repositories.url}/repo.git` };
  const replace = (text: string, from: 0 | 1): string =>
    Object.entries(names).reduce((done, pair) => done.replaceAll(pair[from], pair[1 - from] ?? ""), text);
  return {
    fill: (text) => replace(text, 0),
    hide: (text) => replace(text, 1),
    async [Symbol.asyncDispose]() {
      await web.stop(true);
      await repositories[Symbol.asyncDispose]();
    },
  };
}
